package payload

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unescape appends what the inside of a string literal, which is valid, stands
// for. lone reports a surrogate without its other half; it becomes U+FFFD.
func unescape(dst, raw []byte) (out []byte, lone bool) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(raw, i)
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low, ok = hex4(raw, i+2)
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				} else {
					r, lone = utf8.RuneError, true
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, lone
}

// appendQuoted appends text, which is valid UTF-8, as a string literal.
func appendQuoted(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// scalar returns the text and the kind of the scalar raw. The text may stand in
// *scratch. ok is false for a string with a lone surrogate, which has no text.
func scalar(raw []byte, scratch *[]byte) (text []byte, k Kind, ok bool) {
	switch raw[0] {
	case '"':
		raw = raw[1 : len(raw)-1]
		for _, c := range raw {
			if c == '\\' {
				var lone bool
				*scratch, lone = unescape((*scratch)[:0], raw)
				return *scratch, String, !lone
			}
		}
		return raw, String, true
	case 't', 'f':
		return raw, Bool, true
	case 'n':
		return raw, NullValue, true
	}
	return raw, Number, true
}

// appendScalar appends text as a scalar of kind k. What claims to be a number
// or a word and is none becomes a string, so that the document stays JSON.
func appendScalar(dst, text []byte, k Kind) []byte {
	switch k {
	case Number:
		if len(text) > 0 && (text[0] == '-' || text[0]-'0' <= 9) {
			if end, err := numberEnd(text, 0); err == nil && end == len(text) {
				return append(dst, text...)
			}
		}
	case Bool, NullValue:
		switch string(text) {
		case "true", "false", "null":
			return append(dst, text...)
		}
	}
	return appendQuoted(dst, text)
}
