package caddymodule

import (
	"bytes"
	"errors"
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
	if _, ok := codec.SniffBase64(text); ok {
		return true
	}
	if len(claims(text)) > 0 || wide(text) {
		return true
	}
	return codec.SniffEncoding(text) != codec.Identity || dataHead(text) > 0
}

// Open implements payload.Opener.
func (opener) Open(dst, text []byte, limit int) (out []byte, seal payload.Seal, o payload.Opening) {
	if n := dataHead(text); n > 0 {
		b, ok := codec.SniffBase64(text[n:])
		if !ok {
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
		if err != nil || len(out)-len(dst) > limit {
			return dst, nil, payload.Unopened
		}
		return out, signed{}, payload.Opened
	}
	if e := codec.SniffEncoding(text); e != codec.Identity {
		out, err := e.Decode(dst, text, limit)
		switch {
		case err == nil:
			return out, encodingSeal(e), payload.Opened
		case e != codec.Deflate || errors.Is(err, codec.ErrTooLarge) || !utf8.Valid(text):
			return dst, nil, payload.Burst
		}
		// Some texts look like zlib by their first two bytes.
	}
	b, ok := codec.SniffBase64(text)
	if !ok && !wide(text) {
		return dst, nil, payload.Unopened
	}
	out, err := b.Decode(dst, text)
	switch {
	case err == nil && len(out)-len(dst) <= limit:
		return out, base64Seal(b), payload.Opened
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

// wide reports whether a text in base64 decodes to what begins like UTF-16: with
// a byte order mark, or with a bracket and a NUL.
func wide(text []byte) bool {
	if len(text) < 8 {
		return false
	}
	switch string(text[:3]) {
	case "//4", "/v8", "ewA", "WwA", "AHs", "AFs", "__4", "_v8":
		return true
	}
	return false
}

// claims returns the second part of a JSON Web Token (RFC 7519), in base64url;
// nil for what is none.
func claims(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("eyJ")) {
		return nil
	}
	parts := bytes.SplitN(text, []byte("."), 4)
	if len(parts) != 3 || !bytes.HasPrefix(parts[1], []byte("eyJ")) {
		return nil
	}
	return parts[1]
}

// signed is what cannot be changed: what it holds goes, or it goes whole.
type signed struct{}

// Seal implements payload.Seal.
func (signed) Seal(dst, _ []byte) ([]byte, error) { return dst, errSigned }

var errSigned = errors.New("a signed text cannot be changed")

// minSealed is how long a text must be to be taken for damaged base64, rather
// than for a word that happens to begin like it.
const minSealed = 32

// dataHead returns how much of text is the head of a data URL in base64, up to
// the comma; 0 where it is none.
func dataHead(text []byte) int {
	if len(text) < len(dataURL) || !bytes.EqualFold(text[:len(dataURL)], dataURL) {
		return 0
	}
	n := bytes.IndexByte(text[:min(len(text), maxDataType)], ',') + 1
	if n == 0 || !bytes.Contains(bytes.ToLower(text[:n]), []byte(";base64")) {
		return 0
	}
	return n
}

type base64Seal codec.Base64

// Seal implements payload.Seal.
func (b base64Seal) Seal(dst, text []byte) ([]byte, error) {
	return codec.Base64(b).Encode(dst, text), nil
}

type encodingSeal codec.Encoding

// Seal implements payload.Seal.
func (e encodingSeal) Seal(dst, text []byte) ([]byte, error) {
	return codec.Encoding(e).Encode(dst, text)
}

type dataSeal struct {
	head []byte
	b    codec.Base64
}

// Seal implements payload.Seal.
func (d dataSeal) Seal(dst, text []byte) ([]byte, error) {
	return d.b.Encode(append(dst, d.head...), text), nil
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
