package codec

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
)

// Encoding is a content coding of HTTP (RFC 9110, section 8.4.1). The zero
// value is Identity.
type Encoding uint8

// The encodings. Deflate is zlib (RFC 1950), as the RFC has it, and on decoding
// also the raw deflate (RFC 1951) that some clients send under its name;
// RawDeflate is that alone: see [Encoding.As].
const (
	Identity Encoding = iota
	Gzip
	Deflate
	Zstd
	Brotli
	RawDeflate
	encodings // how many there are
)

var encodingNames = [encodings]string{"identity", "gzip", "deflate", "zstd", "br", "deflate"}

// String returns the name of e in a Content-Encoding field.
func (e Encoding) String() string {
	if e >= encodings {
		return "unknown"
	}
	return encodingNames[e]
}

// ParseEncodings reads the Content-Encoding fields of a message. "identity"
// and empty members do not count; "x-gzip" is gzip, whatever the case of the
// letters. Several that count, and any that is not known, are ErrEncoding.
func ParseEncodings(fields []string) (Encoding, error) {
	e := Identity
	for _, field := range fields {
		for name := range strings.SplitSeq(field, ",") {
			next := Identity
			switch strings.ToLower(strings.Trim(name, " \t")) {
			case "", "identity":
				continue
			case "gzip", "x-gzip":
				next = Gzip
			case "deflate":
				next = Deflate
			case "zstd":
				next = Zstd
			case "br":
				next = Brotli
			}
			if next == Identity || e != Identity {
				return Identity, ErrEncoding
			}
			e = next
		}
	}
	return e, nil
}

// As returns how data that begins with head spells e: RawDeflate for a Deflate
// without the zlib header, otherwise e. A receiver that is sent raw deflate may
// read nothing else, so what is encoded anew for it should be spelled as it
// came.
func (e Encoding) As(head []byte) Encoding {
	if e == Deflate && !zlibHeader(head) {
		return RawDeflate
	}
	return e
}

// SniffEncoding tells an encoding by its magic number: gzip, zlib (Deflate) or
// zstd, and Identity for everything else. Three bytes of head are enough for
// gzip and zlib, four for zstd. Brotli and raw deflate have no magic number.
//
// Two bytes that make a zlib header also begin some texts ("hC", "8O", "x^"):
// the answer Deflate is a guess until the data has been decoded.
func SniffEncoding(head []byte) Encoding {
	switch {
	case len(head) >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8:
		return Gzip
	case len(head) >= 4 && zstdMagic(binary.LittleEndian.Uint32(head)):
		return Zstd
	case len(head) >= 3 && zlibHeader(head) && head[2]>>1&3 != 3: // there is no block type 3
		return Deflate
	}
	return Identity
}

// zstdMagic reports whether a zstd frame begins with magic, or one that
// decoders skip (RFC 8878, sections 3.1.1 and 3.1.2).
func zstdMagic(magic uint32) bool {
	return magic == 0xfd2fb528 || magic&^0xf == 0x184d2a50
}

// zlibHeader reports whether head begins with a zlib header (RFC 1950, section
// 2.2) that needs no dictionary.
func zlibHeader(head []byte) bool {
	return len(head) >= 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 &&
		head[1]&0x20 == 0 && binary.BigEndian.Uint16(head)%31 == 0
}

// Decode appends the decoded form of src to dst. More than limit decoded bytes
// are ErrTooLarge, found out without allocating for more than the limit; bytes
// after the end and damaged or truncated data, an empty src among them, are
// ErrCorrupt. On an error dst comes back as it was.
//
// Several gzip members or zstd frames in a row are one text, as RFC 1952 and
// RFC 8878 say, under the one limit. Dictionaries, and zstd windows over 8 MiB
// (RFC 9659), are ErrCorrupt. What a decoder skips is not kept: see the package
// comment.
func (e Encoding) Decode(dst, src []byte, limit int) ([]byte, error) {
	if e == Identity {
		if len(src) > limit {
			return dst, ErrTooLarge
		}
		return append(dst, src...), nil
	}
	d, err := newDecoder(e)
	if err != nil {
		return dst, err
	}
	defer d.release()
	d.bytes.Reset(src)
	d.reset(&d.bytes)
	return readAll(dst, d, limit, 4*len(src))
}

// readAll appends to dst what r holds, at most limit bytes. It expects about
// guess of them.
func readAll(dst []byte, r io.Reader, limit, guess int) ([]byte, error) {
	limit = min(max(limit, 0), math.MaxInt-len(dst))
	out := slices.Grow(dst, min(limit, max(guess, 512)))
	for end := len(dst) + limit; ; {
		var probe [1]byte // asks whether anything follows a full out
		free := probe[:]
		if len(out) < end {
			if len(out) == cap(out) {
				out = grow(out, end)
			}
			free = out[len(out):min(cap(out), end)]
		}
		n, err := r.Read(free)
		if n > 0 && len(out) == end {
			return dst, ErrTooLarge
		}
		out = out[:len(out)+n]
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return dst, err
		}
	}
}

// grow doubles the capacity of b, up to end.
func grow(b []byte, end int) []byte {
	grown := make([]byte, len(b), min(2*len(b)+512, end))
	copy(grown, b)
	return grown
}

// Encode appends the encoded form of src to dst. On an error dst comes back as
// it was.
func (e Encoding) Encode(dst, src []byte) ([]byte, error) {
	if e == Identity {
		return append(dst, src...), nil
	}
	c, err := newEncoder(e)
	if err != nil {
		return dst, err
	}
	return c.encode(dst, src)
}
