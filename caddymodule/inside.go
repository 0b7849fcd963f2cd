package caddymodule

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/consentgate/consentgate/internal/codec"
	"github.com/consentgate/consentgate/internal/media"
	"github.com/consentgate/consentgate/internal/payload"
)

// opener opens what clients wrap their data in: base64, data URLs, and what is
// compressed inside them.
type opener struct{}

// dataURL begins an address that holds its content (RFC 2397).
var dataURL = []byte("data:")

// maxDataType bounds what stands between "data:" and the comma.
const maxDataType = 256

// Possible implements payload.Opener.
func (opener) Possible(text []byte) bool {
	if _, ok := codec.SniffBase64(withoutTail(text)); ok {
		return true
	}
	if len(claims(text)) > 0 || masked(text) {
		return true
	}
	return codec.SniffEncoding(text) != codec.Identity || dataHead(text) > 0
}

// Open implements payload.Opener.
func (opener) Open(dst, text []byte, limit int) (out []byte, seal payload.Seal, o payload.Opening) {
	if n := dataHead(text); n > 0 {
		b, ok := codec.SniffBase64(text[n:])
		if !ok && !masked(text[n:]) {
			return dst, nil, payload.Unopened // percent-encoded text, or nothing to look into
		}
		out, err := b.Decode(dst, text[n:])
		if err != nil || len(out)-len(dst) > limit {
			return dst, nil, payload.Sealed
		}
		return out, dataSeal{head: bytes.Clone(text[:n]), b: b}, payload.Opened
	}
	if part := claims(text); len(part) > 0 {
		out, err := codec.URLRaw.Decode(dst, part)
		switch {
		case err != nil:
			return dst, nil, payload.Sealed
		case len(out)-len(dst) > limit:
			return dst, nil, payload.Burst
		}
		return out, signed{}, payload.Opened
	}
	if e := codec.SniffEncoding(text); e != codec.Identity && !isText(text) {
		out, err := e.Decode(dst, text, limit)
		switch {
		case err == nil:
			return out, encodingSeal(e), payload.Opened
		case e != codec.Deflate || errors.Is(err, codec.ErrTooLarge) || inflates(text):
			return dst, nil, payload.Burst
		}
		// Much looks like zlib by its first two bytes.
	}
	whole := text
	text = withoutTail(text)
	b, ok := codec.SniffBase64(text)
	if !ok && !masked(text) {
		return dst, nil, payload.Unopened
	}
	out, err := b.Decode(dst, text)
	switch {
	case err == nil && len(out)-len(dst) <= limit && !telling(out[len(dst):]):
		made := out[len(dst):]
		if len(text) < minMasked || unmasked(made) == nil && !isUTF16(made) && (!readable(made) || isHex(text)) {
			return dst, nil, payload.Unopened // a token or a word, which decodes to something, as all do
		}
		return dst, nil, payload.Sealed
	case err == nil && len(out)-len(dst) <= limit:
		return out, dataSeal{b: b, tail: bytes.Clone(whole[len(text):])}, payload.Opened
	case err == nil:
		return dst, nil, payload.Burst
	case len(text) < minSealed:
		return dst, nil, payload.Unopened // a word that begins like base64
	}
	// A query may begin like base64. Some decoders read as far as the padding,
	// so what stands before it must be nothing to look into.
	head, _, padded := bytes.Cut(text, []byte("="))
	if out, err := b.Decode(nil, head); padded && (err != nil || !looksLikeJSON(out) && codec.SniffEncoding(out) == codec.Identity) {
		return dst, nil, payload.Unopened
	}
	return dst, nil, payload.Sealed
}

// maxTail bounds what may stand behind base64 that some decoders then skip.
const maxTail = 4

// withoutTail returns text without the few bytes at its end that no base64 has.
func withoutTail(text []byte) []byte {
	for n := 0; n < maxTail && len(text) > 0; n++ {
		c := text[len(text)-1]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '=' || c == '+' || c == '/' || c == '-' || c == '_' {
			break
		}
		text = text[:len(text)-1]
	}
	return text
}

// isHex reports whether a text is nothing but hexadecimal digits, as digests are.
// What base64 makes of JSON, or of anything compressed, never is.
func isHex(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// telling reports whether bytes are something to look into: a text, or of a codec
// or a format that is known.
func telling(b []byte) bool {
	switch codec.SniffEncoding(b) {
	case codec.Identity:
	case codec.Deflate:
		if inflates(b) {
			return true
		}
	default:
		return true
	}
	return media.Sniff(b) != media.None || isText(b)
}

// inflates reports whether what looks like zlib by its first two bytes goes on as
// zlib, at least for a while.
func inflates(b []byte) bool {
	r, err := codec.Deflate.NewReader(bytes.NewReader(b))
	if err != nil {
		return false
	}
	defer r.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(r, head)
	return n > 0 && (err == nil || errors.Is(err, io.ErrUnexpectedEOF))
}

// minReadable is how many bytes must be nearly a text for that not to be chance.
const minReadable = 24

// readable reports whether bytes are a text but for a few of them. Few bytes must
// begin like JSON for it, and may then be odder: a member of a phone number has
// no more than some twenty.
func readable(b []byte) bool {
	few := 8
	if bytes.HasPrefix(b, []byte(`{"`)) || bytes.HasPrefix(b, []byte(`["`)) || bytes.HasPrefix(b, []byte(`[{`)) {
		few = 4
	} else if len(b) < minReadable {
		return false
	}
	odd := 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError || r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			odd++
		}
		i += n
	}
	return few*odd <= len(b)
}

// isUTF16 reports whether bytes are likely UTF-16: they begin with a bracket or a
// quote of two bytes, or enough of them are zero.
func isUTF16(b []byte) bool {
	return len(b) > 3 && b[1] == 0 && b[3] == 0 && bytes.IndexByte([]byte(`{["`), b[0]) >= 0 ||
		4*bytes.Count(b, []byte{0}) >= len(b) ||
		(bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))) && 8*bytes.Count(b, []byte{0}) >= len(b)
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }) < 0
}

// The marks with which texts begin in UTF-8 and UTF-16.
var byteOrderMarks = []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"}

// masked reports whether a text in base64 may decode to a text that begins with
// a byte order mark or with control characters, and so does not look like one.
// It looks at a few characters only.
func masked(text []byte) bool {
	if len(text) < 12 {
		return false
	}
	switch c := text[0]; {
	case (string(text[:2]) == "ew" || string(text[:2]) == "Ww" || string(text[:2]) == "Ig") && text[2] >= 'A' && text[2] <= 'D':
		return true // a bracket or a quote in UTF-16
	case c >= 'A' && c <= 'H', c == '/', c == '_', c == '7':
	default:
		return false
	}
	var head [9]byte
	n, err := base64.StdEncoding.Decode(head[:], text[:12])
	if err != nil {
		if n, err = base64.URLEncoding.Decode(head[:], text[:12]); err != nil {
			return false
		}
	}
	begun := head[:n]
	for cut := 0; cut < utf8.UTFMax-1 && !utf8.Valid(begun); cut++ {
		begun = begun[:len(begun)-1] // a character is cut off
	}
	return unmasked(begun) != nil || isUTF16(head[:n])
}

// unmasked returns the text that hides among a few control characters or behind a
// byte order mark; nil where there is none, or where nothing hides it.
func unmasked(b []byte) []byte {
	text := b
	for _, mark := range byteOrderMarks {
		text = bytes.TrimPrefix(text, []byte(mark))
	}
	if !utf8.Valid(text) {
		return nil
	}
	text = bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, text)
	if len(text) == len(b) || len(text) < max(4, len(b)*3/4-3) {
		return nil
	}
	return text
}

// claims returns the second part of a JSON Web Token (RFC 7519), in base64url;
// nil for what is none.
func claims(text []byte) []byte {
	if len(text) < minMasked || text[0] != 'e' && text[0] != 'I' { // '{', or white space before it
		return nil
	}
	parts := bytes.SplitN(text, []byte("."), 4)
	if len(parts) != 3 {
		return nil
	}
	for _, part := range parts[:2] {
		if head, err := codec.URLRaw.Decode(nil, part[:len(part)/4*4]); err != nil || !looksLikeJSON(head) {
			return nil
		}
	}
	return parts[1]
}

// signed is what cannot be changed: what it holds goes, or it goes whole.
type signed struct{}

// Seal implements payload.Seal.
func (signed) Seal(dst, _ []byte) ([]byte, error) { return dst, errSigned }

var errSigned = errors.New("a signed text cannot be changed")

// minMasked is how long base64 must be to hold a member that hides.
const minMasked = 16

// minSealed is how long a text must be to be taken for damaged base64, rather
// than for a word that happens to begin like it.
const minSealed = 32

// dataHead returns how much of text is the head of a data URL in base64, up to
// the comma; 0 where it is none.
func dataHead(text []byte) int {
	if len(text) < len(dataURL) || text[0]|0x20 != 'd' || !bytes.EqualFold(text[:len(dataURL)], dataURL) {
		return 0
	}
	n := bytes.IndexByte(text[:min(len(text), maxDataType)], ',') + 1
	if n == 0 || !bytes.Contains(bytes.ToLower(text[:n]), []byte(";base64")) {
		return 0
	}
	return n
}

type encodingSeal codec.Encoding

// Seal implements payload.Seal.
func (e encodingSeal) Seal(dst, text []byte) ([]byte, error) {
	return codec.Encoding(e).Encode(dst, text)
}

// dataSeal is base64, with what stood before and behind it.
type dataSeal struct {
	head []byte
	b    codec.Base64
	tail []byte
}

// Seal implements payload.Seal.
func (d dataSeal) Seal(dst, text []byte) ([]byte, error) {
	return append(d.b.Encode(append(dst, d.head...), text), d.tail...), nil
}

// cleaner takes the place out of photos and films.
type cleaner struct{}

// Known implements payload.Cleaner.
func (cleaner) Known(head []byte) bool { return media.Sniff(head) != media.None }

// Clean implements payload.Cleaner.
func (cleaner) Clean(src []byte) ([]byte, error) { return media.Clean(src) }

// Interface guards
var (
	_ payload.Opener  = opener{}
	_ payload.Cleaner = cleaner{}
)
