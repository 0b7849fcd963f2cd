package payload

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// isUTF7 reports whether a text holds a brace or a quote in UTF-7 (RFC 2152),
// alone or with another character behind it, which nobody writes by chance.
func isUTF7(text []byte) bool {
	for _, sign := range []string{"+AHs-", "+ACI-", "+AHsA", "+ACIA"} {
		if bytes.Contains(text, []byte(sign)) {
			return true
		}
	}
	return false
}

// isMultipart reports whether a text is a multipart form (RFC 7578) inside a value.
// Without the header that names its boundary nobody reads it for sure.
func isMultipart(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	if !bytes.HasPrefix(text, []byte("--")) {
		return false
	}
	for line := range bytes.Lines(text) {
		const name = "content-disposition:"
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// opensLikeJSON reports whether a text that is not JSON begins so much like it
// that it must have been meant to be: with a member, or with elements of which
// one is an object or of a codec.
func (s *Scan) opensLikeJSON(text []byte) bool {
	if bytes.Contains(text, []byte(`\u`)) {
		text = undone(text)
	}
	if text[0] == '"' {
		// A text in quotes, however often.
		text = bytes.TrimLeft(text, "\"\\ \t\r\n")
		if len(text) == 0 || text[0] != '{' && text[0] != '[' {
			return false
		}
		return len(text) > 1 && bytes.IndexByte([]byte("\"'\\{["), text[1]) >= 0 || s.opensLikeJSON(text)
	}
	if text[0] == '[' {
		if i := bytes.IndexByte(text, '{'); i >= 0 && s.opensLikeJSON(text[i:]) {
			return true
		}
		op := s.m.spec.Inside.Opener
		for piece := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '"' || r == '\'' }) {
			if op != nil && len(piece) >= minWrapped && op.Possible(piece) {
				return true
			}
		}
		return false
	}
	rest := bytes.TrimLeft(text[1:], " \t\r\n")
	quoted := len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'')
	if quoted {
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return bytes.IndexByte(rest, ':') > 0
		}
		rest = rest[end+2:]
	} else {
		// Keys without quotes, as JSON5 has them; not "{name} said".
		n := 0
		for n < len(rest) && wordByte(rest[n]) {
			n++
		}
		if n == 0 || bytes.IndexByte(rest, '}') < 0 {
			return false
		}
		rest = rest[n:]
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && (rest[0] == ':' || rest[0] == '=')
}

// minWrapped is how long a text of a codec must be to be told from a word.
const minWrapped = 16

// names reports whether something in a text that is nearly JSON reads like a key
// that a category claims: in quotes, of which the second may be missing where there
// are braces, or behind a brace or a comma there, and with ':' or '=' after it.
func (s *Scan) names(text []byte) bool {
	if bytes.IndexByte(text, ':') < 0 && bytes.IndexByte(text, '=') < 0 {
		return false
	}
	if bytes.Contains(text, []byte(`\u`)) {
		text = undone(text)
	}
	braces := bytes.IndexByte(text, '{') >= 0
	// What PHP's serialize makes has the values behind a semicolon.
	serialized := braces && bytes.Contains(text, []byte("s:"))
	before := byte(0) // the last byte that is no white space
	for i := 0; i < len(text); {
		c := text[i]
		if !wordByte(c) {
			if c > ' ' && c != '\\' {
				before = c
			}
			i++
			continue
		}
		start := i
		for i < len(text) && (wordByte(text[i]) || text[i] == ' ') {
			i++
		}
		word := bytes.TrimRight(text[start:i], " ")
		after := i
		quoted := false
		for after < len(text) && strings.IndexByte(" \t\r\n\\\"'", text[after]) >= 0 {
			quoted = quoted || text[after] == '"' || text[after] == '\''
			after++
		}
		opened := before == '"' || before == '\''
		if after < len(text) && (text[after] == ':' || text[after] == '=' || text[after] == ';' && serialized) && len(word) <= DefaultLimits.Key &&
			(opened && (quoted || braces) || braces && !opened && (before == '{' || before == ',' || before == '(')) {
			e := s.m.lookup(word)
			if e.class() != 0 && e.role()&roleKey == 0 || e.suffixes() != 0 {
				return true
			}
			if e.role()&rolePairName != 0 && s.namesPair(text[after+1:]) {
				return true
			}
		}
		before = 'a'
	}
	return false
}

// namesPair reports whether a text begins with a word in quotes that is a key
// which a category claims: the name of a pair.
func (s *Scan) namesPair(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n\\\"'")
	n := 0
	for n < len(text) && (wordByte(text[n]) || text[n] == ' ') {
		n++
	}
	e := s.m.lookup(text[:n])
	return e.class() != 0 && e.role()&roleKey == 0 || e.suffixes() != 0
}

// namesField reports whether a word before a '=' is a key that a category
// claims.
func (s *Scan) namesField(text []byte) bool {
	start := 0
	for i, c := range text {
		switch {
		case c == '=' && i > start && i-start <= DefaultLimits.Key:
			if e := s.m.lookup(text[start:i]); e.class() != 0 || e.suffixes() != 0 {
				return true
			}
			start = i + 1
		case !wordByte(c) && c != ' ':
			start = i + 1
		}
	}
	return false
}

// undone returns text with the escapes of JSON for single characters undone.
func undone(text []byte) (out []byte) {
	for i := 0; i < len(text); {
		if text[i] == '\\' && i+6 <= len(text) && text[i+1] == 'u' {
			if r, ok := hex4(text, i+2); ok {
				if !utf16.IsSurrogate(r) {
					out = utf8.AppendRune(out, r)
				}
				i += 6
				continue
			}
		}
		out = append(out, text[i])
		i++
	}
	return out
}

func wordByte(c byte) bool {
	return c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$' || c == '@' || c == '#'
}
