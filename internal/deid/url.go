package deid

import (
	"bytes"
	"net/netip"
	"unicode"
	"unicode/utf8"

	"github.com/consentgate/consentgate/internal/payload"
)

var urlDefinition = definition{
	Doc: Doc{
		Name:     "url",
		Summary:  "Keeps a web address's scheme, host and path; user name, password, query, fragment and the parameters of path segments (;jsessionid=…) go.",
		Bare:     true,
		Examples: []string{"url"},
	},
	build: func(values, Env) (payload.Transformer, error) { return url{}, nil },
}

// url keeps "https://host:port/path", "//host/path" and "/path" (RFC 3986).
// The scheme must be http or https: what stands behind others (data:,
// javascript:, mailto:, intent:) is content and not a place. A reference that
// begins with neither a scheme nor a slash does not fit either, since most
// texts could be one.
//
// Readers disagree about what is not quite a URL: browsers turn a backslash
// into a slash and skip tabs and line ends, so that two readers see two hosts.
// Before the query these, white space, and other characters that RFC 3986
// does not allow make the value unfit; white space around it is cut off. A
// question mark or a hash that is percent-encoded, once or many times over,
// ends the path as a plain one does, since it mostly belongs to a URL within
// the path.
type url struct{}

func (url) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String || !utf8.Valid(text) {
		return dst, kind, false
	}
	text = bytes.TrimFunc(text, func(r rune) bool { return r <= ' ' })
	if end := bytes.IndexAny(text, "?#"); end >= 0 {
		text = text[:end]
	}
	if bytes.IndexFunc(text, ambiguous) >= 0 {
		return dst, kind, false
	}
	if !bytes.HasPrefix(text, []byte("/")) {
		colon := bytes.IndexByte(text, ':')
		if colon < 0 {
			return dst, kind, false
		}
		switch scheme := text[:colon]; {
		case bytes.EqualFold(scheme, []byte("http")):
			dst = append(dst, "http:"...)
		case bytes.EqualFold(scheme, []byte("https")):
			dst = append(dst, "https:"...)
		default:
			return dst, kind, false
		}
		text = text[colon+1:]
		if !bytes.HasPrefix(text, []byte("//")) {
			return dst, kind, false
		}
	}
	hasHost := bytes.HasPrefix(text, []byte("//"))
	if hasHost {
		text = text[2:]
		slash := bytes.IndexByte(text, '/')
		if slash < 0 {
			slash = len(text)
		}
		authority := text[:slash]
		text = text[slash:]
		if at := bytes.LastIndexByte(authority, '@'); at >= 0 {
			authority = authority[at+1:]
		}
		var ok bool
		if dst, ok = appendHost(append(dst, "//"...), authority); !ok {
			return dst, kind, false
		}
	}
	start := len(dst)
	dst, ok := appendPath(dst, text)
	if !hasHost && bytes.HasPrefix(dst[start:], []byte("//")) {
		// "/;v=1/b" without its parameter would name a host.
		return dst, kind, false
	}
	return dst, kind, ok
}

// ambiguous says whether readers of URLs disagree about what r means.
func ambiguous(r rune) bool {
	return r <= ' ' || r == '\\' || r == 0x7f
}

// appendHost appends a host with its port, if it has one.
func appendHost(dst, authority []byte) ([]byte, bool) {
	host, port := authority, []byte(nil)
	if colon := bytes.LastIndexByte(authority, ':'); colon > bytes.LastIndexByte(authority, ']') {
		host, port = authority[:colon], authority[colon+1:]
	}
	if len(host) == 0 || len(host) > 255 || len(port) > 5 {
		return dst, false
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(string(bytes.Trim(host, "[]")))
		if err != nil || !addr.Is6() || addr.Zone() != "" || host[len(host)-1] != ']' {
			return dst, false
		}
	} else {
		for _, r := range string(host) {
			// Marks belong to the letters of many scripts.
			if r != '-' && r != '.' && r != '_' && !unicode.In(r, unicode.L, unicode.Nd, unicode.M) {
				return dst, false
			}
		}
	}
	dst = append(dst, host...)
	if len(port) == 0 {
		return dst, true
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return dst, false
		}
	}
	return append(append(dst, ':'), port...), true
}

// appendPath appends a path without the parameters of its segments, up to an
// encoded question mark or hash.
func appendPath(dst, path []byte) ([]byte, bool) {
	parameters := false
	for i := 0; i < len(path); {
		c, size := path[i], 1
		switch {
		case c == '/':
			parameters = false
		case c == ';':
			parameters = true
		case c == '%':
			var decoded byte
			var ok bool
			if decoded, size, ok = unescape(path[i:]); !ok {
				return dst, false
			}
			if decoded == '?' || decoded == '#' {
				return dst, true
			}
			parameters = parameters || decoded == ';'
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRune(path[i:]); !unicode.IsGraphic(r) || unicode.IsSpace(r) {
				return dst, false
			}
		case !pathByte(c):
			return dst, false
		}
		if !parameters {
			dst = append(dst, path[i:i+size]...)
		}
		i += size
	}
	return dst, true
}

// unescape decodes the percent-encoded byte at the start of text, and again as
// long as it decodes to a percent sign that begins another. size is the length
// of all that.
func unescape(text []byte) (decoded byte, size int, ok bool) {
	if len(text) < 3 {
		return 0, 0, false
	}
	high, low := unhex(text[1]), unhex(text[2])
	if high < 0 || low < 0 {
		return 0, 0, false
	}
	decoded, size = byte(high<<4|low), 3
	for decoded == '%' && len(text) >= size+2 {
		high, low = unhex(text[size]), unhex(text[size+1])
		if high < 0 || low < 0 {
			break
		}
		decoded, size = byte(high<<4|low), size+2
	}
	return decoded, size, true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// pathByte says whether a byte of ASCII may stand in a path: pchar of RFC 3986
// without the percent sign and the semicolon, which have meanings here.
func pathByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return bytes.IndexByte([]byte("-._~!$&'()*+,=:@"), c) >= 0
}
