package codec

import (
	"bytes"
	"mime"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	contentDisposition = "Content-Disposition"
	contentLength      = "Content-Length"
)

// parseHeader reads the lines of a part's header and what they say of the part,
// whose offsets are known.
func (p *Part) parseHeader(lines []byte) error {
	if !utf8.Valid(lines) {
		return ErrMultipart // in other charsets a second byte may look like '\' or '|'
	}
	p.Header = make(textproto.MIMEHeader, 2)
	for line := range bytes.SplitSeq(lines, crlf) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || bytes.ContainsFunc(value, isControl) {
			return ErrMultipart
		}
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		if _, twice := p.Header[key]; twice {
			return ErrMultipart
		}
		p.Header[key] = []string{string(bytes.Trim(value, " \t"))}
	}
	if !p.parseDisposition(p.Header.Get(contentDisposition)) {
		return ErrMultipart
	}
	if s, ok := p.Header[contentLength]; ok && s[0] != strconv.Itoa(p.BodyEnd-p.BodyStart) {
		return ErrMultipart // those who believe it read another content
	}
	if s, ok := p.Header["Content-Type"]; ok {
		var err error
		if p.ContentType, _, err = mime.ParseMediaType(s[0]); err != nil || !strings.Contains(p.ContentType, "/") {
			return ErrMultipart
		}
	}
	p.Transfer = strings.ToLower(p.Header.Get("Content-Transfer-Encoding"))
	return nil
}

// parseDisposition reads a Content-Disposition (RFC 7578, section 4.2), which
// has no other parameters than the name and the filename.
func (p *Part) parseDisposition(s string) (ok bool) {
	kind, rest, _ := strings.Cut(s, ";")
	if !strings.EqualFold(strings.TrimRight(kind, " \t"), "form-data") {
		return false
	}
	seen := make(map[string]string, 2)
	for rest = strings.TrimLeft(rest, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		var name, value string
		if name, rest, ok = strings.Cut(rest, "="); !ok {
			return false
		}
		if value, rest, ok = cutValue(rest); !ok {
			return false
		}
		name = strings.ToLower(name)
		if _, twice := seen[name]; twice {
			return false
		}
		seen[name] = value
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ";"); !ok {
			return false
		}
	}
	p.Name = seen["name"]
	p.FileName, p.HasFile = seen["filename"]
	known := 1
	if p.HasFile {
		known++
	}
	if extended, ok := seen["filename*"]; ok {
		if !p.HasFile || !saysTheSame(extended, p.FileName) {
			return false
		}
		known++
	}
	return p.Name != "" && strings.Trim(p.Name, " ") == p.Name && len(seen) == known
}

// cutValue takes the value of a parameter, quoted or a token, off the front of
// s. It refuses what receivers undo differently: escapes, encoded words (RFC
// 2047), a semicolon that some take for the end, and quotes of the wrong kind.
func cutValue(s string) (value, rest string, ok bool) {
	if quoted, is := strings.CutPrefix(s, `"`); is {
		if value, rest, ok = strings.Cut(quoted, `"`); !ok {
			return "", "", false
		}
		return value, rest, !strings.ContainsAny(value, `\;`) && !strings.Contains(value, "=?")
	}
	n := strings.IndexAny(s, "; \t")
	if n < 0 {
		n = len(s)
	}
	value, rest = s[:n], s[n:]
	return value, rest, isToken([]byte(value)) && value[0] != '\''
}

// saysTheSame reports whether extended, the value of a filename* (RFC 8187),
// decodes to name. Some clients send both, though RFC 7578 forbids it.
func saysTheSame(extended, name string) bool {
	charset, rest, ok := strings.Cut(extended, "'")
	if !ok || !strings.EqualFold(charset, "utf-8") {
		return false
	}
	_, rest, ok = strings.Cut(rest, "'")
	if !ok {
		return false
	}
	decoded, err := url.PathUnescape(rest)
	return err == nil && decoded == name
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// isToken reports whether b is a token (RFC 9110, section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
