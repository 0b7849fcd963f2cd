package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Base64 is how a text is spelled in base64 (RFC 4648): with which alphabet,
// and padded or not.
type Base64 uint8

// The spellings. A text that uses none of the characters by which the alphabets
// differ counts as Std where it is padded or needs no padding, and as URLRaw
// otherwise, since it is the URL alphabet that usually goes without.
const (
	Std    Base64 = iota // + and /, padded
	StdRaw               // + and /
	URL                  // - and _, padded
	URLRaw               // - and _
)

var base64Encodings = [...]*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding}

const (
	minBase64  = 8  // characters; what is shorter holds nothing of a person
	base64Head = 12 // characters that are decoded first: enough to tell text from chance
)

// The kinds of characters in a base64 text, as lenient decoders take them.
const (
	noBase64 = iota
	anyBase64
	stdBase64
	urlBase64
	padBase64
	skipBase64 // line breaks and tabs
)

var base64Kinds = func() (kinds [256]uint8) {
	for c := range kinds {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			kinds[c] = anyBase64
		case c == '+', c == '/', c == ' ':
			kinds[c] = stdBase64
		case c == '-', c == '_':
			kinds[c] = urlBase64
		case c == '=':
			kinds[c] = padBase64
		case c == '\r', c == '\n', c == '\t':
			kinds[c] = skipBase64
		}
	}
	return kinds
}()

// SniffBase64 says how text is spelled as base64, if it can be and is worth
// being decoded in full: if it has no other characters, and what its head
// decodes to begins like something to look into: text, and JSON with it, gzip,
// zlib, zstd, or an image. Of what is not base64 it reads little more than the
// first 12 characters. A word may pass for base64 that it is not; what it
// decodes to is then of no interest to anyone.
//
// It is as lenient as decoders are, since what a receiver reads must not be
// missed: both alphabets, even in one text; line breaks and tabs anywhere, as
// in MIME; padding or none, or too much of it; spaces around it. A space inside
// is the '+' that a form made of it. ok says nothing of what follows the
// padding: [Base64.Decode] may still find that the text is none to its end, and
// then the text is one that nobody can vouch for.
//
// Decoders that skip every foreign character are not followed: to them all text
// is base64.
func SniffBase64(text []byte) (b Base64, ok bool) {
	text = trimBase64(text)
	if len(text) < minBase64 || !mayBegin(text) || !worthDecoding(text) {
		return 0, false
	}
	var seen [skipBase64 + 1]int
	for _, c := range text {
		kind := base64Kinds[c]
		if kind == noBase64 {
			return 0, false
		}
		seen[kind]++
	}
	n := seen[anyBase64] + seen[stdBase64] + seen[urlBase64]
	padded := seen[padBase64] > 0 || n%4 == 0
	switch {
	case n < minBase64-2: // 2 of the 8 may be padding
		return 0, false
	case seen[stdBase64] > 0 && seen[padBase64] == 0 && n%4 != 0:
		return StdRaw, true
	case seen[stdBase64] == 0 && seen[urlBase64] > 0 && seen[padBase64] > 0:
		return URL, true
	case seen[stdBase64] == 0 && (seen[urlBase64] > 0 || !padded):
		return URLRaw, true
	}
	return Std, true
}

// trimBase64 takes white space away at the ends, where it says nothing. Spaces at the end stay if they make whole groups of four characters
// of an unpadded text: then each was a '+'.
func trimBase64(text []byte) []byte {
	if n := len(text); n == 0 || text[0] > ' ' && text[n-1] > ' ' {
		return text // as most are
	}
	text = bytes.Trim(bytes.TrimLeft(text, " "), "\r\n\t")
	if bare := bytes.TrimRight(text, " \r\n\t"); len(bare) < len(text) {
		n, all := 0, 0
		for i, c := range text {
			if base64Kinds[c] != skipBase64 {
				all++
				if i < len(bare) {
					n++
				}
			}
		}
		if n%4 == 0 || all%4 != 0 || bare[len(bare)-1] == '=' {
			text = bare
		}
	}
	return text
}

// mayBegin is false only for a text, of 8 bytes or more, that is not worth
// decoding. It tells so by the first two characters, which decode to a byte and
// half of the next, and most words begin like nothing at all; and of what begins
// beyond ASCII, as numbers and many identifiers do, by the first four.
func mayBegin(text []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	x := binary.LittleEndian.Uint64(text)
	if pads := x ^ '='*ones; ((x-' '*ones)&^x|(pads-ones)&^pads)&highs != 0 {
		return true // line breaks or padding among them
	}
	if text[6] == 'Z' && text[7] == '0' {
		return true // as the "ftyp" of HEIF and AVIF has it, whatever comes before
	}
	a, b := base64Bits[text[0]], base64Bits[text[1]]
	if a == noBits || b == noBits {
		return false
	}
	return base64Begins[a]>>b&1 != 0 && mayBeUTF8(a, b, base64Bits[text[2]], base64Bits[text[3]])
}

// mayBeUTF8 is false only where four characters, of these bits, decode to a byte
// beyond ASCII, of no image, that UTF-8 has not before the two that follow.
func mayBeUTF8(a, b, c, d uint8) bool {
	first := a<<2 | b>>4
	if first < 0x80 || first == imageHeads[0][0] || first == imageHeads[1][0] || c == noBits || d == noBits {
		return true
	}
	second, third := b<<4|c>>2, c<<6|d
	switch {
	case second&0xc0 != 0x80:
		return false
	case first < 0xe0:
		return third&0xc0 != 0x80
	}
	return third&0xc0 == 0x80
}

// base64Begins has, by the first character, a bit for each second one with which
// something begins that is worth decoding.
var base64Begins = func() (begins [64]uint64) {
	for first := range 256 {
		for second := range 256 {
			if beginsWell(byte(first), byte(second)) {
				begins[first>>2] |= 1 << (first&3<<4 | second>>4)
			}
		}
	}
	return begins
}()

// beginsWell reports whether text, an encoding or an image may begin with two
// bytes. JSON begins like text.
func beginsWell(a, b byte) bool {
	for _, magic := range imageHeads {
		if a == magic[0] && b == magic[1] {
			return true
		}
	}
	return a == 0x1f && b == 0x8b || zlibHeader([]byte{a, b}) || a == 0x28 && b == 0xb5 || a&0xf0 == 0x50 && b == 0x2a ||
		isText([]byte{a, b})
}

// worthDecoding decodes the head of text and reports whether it begins like
// something that can hold personal data.
func worthDecoding(text []byte) bool {
	var head [base64Head / 4 * 3]byte
	var group uint32
	chars, n := 0, 0
chars:
	for i := 0; i < len(text) && n < len(head); i++ {
		c := text[i]
		bits := base64Bits[c]
		if bits == noBits {
			switch base64Kinds[c] {
			case skipBase64:
				continue
			case noBase64:
				return false
			}
			break chars // padding
		}
		group = group<<6 | uint32(bits)
		if chars++; chars%4 == 0 {
			head[n], head[n+1], head[n+2] = byte(group>>16), byte(group>>8), byte(group)
			n += 3
		}
	}
	switch chars % 4 { // one character alone is less than a byte
	case 2:
		head[n] = byte(group >> 4)
		n++
	case 3:
		head[n], head[n+1] = byte(group>>10), byte(group>>2)
		n += 2
	}
	got := head[:n]
	return n > 0 && (isText(got) || SniffEncoding(got) != Identity || isImage(got) || isJSON(got))
}

const noBits = 0xff

// base64Bits are the six bits that a character stands for, in either alphabet.
var base64Bits = func() (bits [256]uint8) {
	const standards = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for c := range bits {
		bits[c] = noBits
		if i := strings.IndexByte(standards, standard(byte(c))); i >= 0 {
			bits[c] = uint8(i)
		}
	}
	return bits
}()

// standard returns what stands for c in the standard alphabet.
func standard(c byte) byte {
	switch c {
	case '-', ' ':
		return '+'
	case '_':
		return '/'
	}
	return c
}

// whole takes a last character away that alone in its group is less than a byte.
func whole(b []byte) []byte {
	if len(b)%4 == 1 {
		return b[:len(b)-1]
	}
	return b
}

var imageHeads = [...]string{"\xff\xd8\xff", "\x89PNG", "GIF8", "RIFF", "II*\x00", "MM\x00*"}

func isImage(head []byte) bool {
	for _, magic := range imageHeads {
		if head[0] == magic[0] && bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return len(head) >= 8 && string(head[4:8]) == "ftyp" // HEIF and AVIF
}

// isJSON reports whether head begins like an object or an array, of text in
// whatever charset. One byte would not do: every hundredth random identifier
// has it.
func isJSON(head []byte) bool {
	const space = " \t\r\n"
	switch head[0] {
	case '{', '[', ' ', '\t', '\r', '\n', 0xef:
	default:
		return false // most are known by their first byte
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), space)
	if len(head) < 2 || head[0] != '{' && head[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(head[1:], space)
	return len(next) == 0 || bytes.IndexByte([]byte(`"{}[]`), next[0]) >= 0
}

// isText reports whether head is UTF-8, perhaps cut off, without control
// characters but white space.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, n := rune(head[0]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(head)
		}
		switch {
		case r == utf8.RuneError && n == 1:
			return !utf8.FullRune(head)
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return false
		}
		head = head[n:]
	}
	return true
}

// Decode appends what src, as SniffBase64 takes it, decodes to. Bits left over
// at the end are ignored, as decoders do. Anything but padding and white space
// after padding, and characters that are none of base64, are ErrBase64; dst
// then comes back as it was.
//
// It reads all the spellings, whichever b is: b is for [Base64.Encode].
func (b Base64) Decode(dst, src []byte) ([]byte, error) {
	text := bytes.TrimRight(trimBase64(src), "=\r\n\t")
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		// As most are spelled, and at the library's speed. It would skip line
		// breaks, but a count of whole groups must not see them.
		if out, err := base64.RawStdEncoding.AppendDecode(dst, whole(text)); err == nil {
			return out, nil
		}
	}
	chars := make([]byte, 0, len(text))
	for _, c := range text {
		switch base64Kinds[c] {
		case noBase64, padBase64:
			return dst, ErrBase64
		case skipBase64:
		default:
			chars = append(chars, standard(c))
		}
	}
	out, err := base64.RawStdEncoding.AppendDecode(dst, whole(chars))
	if err != nil {
		return dst, ErrBase64
	}
	return out, nil
}

// Encode appends src in the spelling b, without line breaks.
func (b Base64) Encode(dst, src []byte) []byte {
	return base64Encodings[b&3].AppendEncode(dst, src)
}
