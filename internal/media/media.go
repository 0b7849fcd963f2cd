// Package media takes out of photos and videos what tells where they were made, or whose device made them: POLICY.md
// 1.3, category location.media. It edits the bytes of the file and never decodes an image, so what is no metadata
// arrives byte for byte. It is our own because the readers and writers of metadata that exist rewrite the whole block,
// or trust the lengths that it claims; here an edit keeps its length, and what cannot be read is taken out.
// It must never know whose file it is, and nothing of a file's content leaves it in an error.
package media

import (
	"bytes"
	"errors"
	"fmt"
)

// Format is a container whose metadata the package knows.
type Format uint8

// None is everything that the package does not know; Clean refuses it.
const (
	None      Format = iota
	JPEG             // ITU-T T.81, with Exif, XMP, Photoshop and MPF segments
	PNG              // W3C PNG 3rd edition, APNG
	WebP             // RFC 9649
	HEIF             // ISO/IEC 23008-12: HEIC, AVIF
	GIF              // GIF87a, GIF89a
	TIFF             // TIFF 6.0 and what is built on it, such as DNG
	QuickTime        // ISO/IEC 14496-12: MP4, MOV, M4A, 3GP
)

var formatNames = [...]string{"none", "jpeg", "png", "webp", "heif", "gif", "tiff", "quicktime"}

// String is the format's name in lower case.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return formatNames[None]
}

var (
	// ErrMalformed says that the file contradicts itself: a length runs past its end, a chain loops, an end is missing.
	ErrMalformed = errors.New("media: malformed")
	// ErrUnsupported says that the format, or a part of it that may hold a place, is not known here.
	ErrUnsupported = errors.New("media: unsupported")
)

func malformed(off int) error   { return fmt.Errorf("%w at offset %d", ErrMalformed, off) }
func unsupported(off int) error { return fmt.Errorf("%w at offset %d", ErrUnsupported, off) }

const pngSignature = "\x89PNG\r\n\x1a\n"

// SniffLength is how many bytes of a file's head are enough for Sniff.
const SniffLength = 64

// Sniff tells the format by the magic numbers of the head, never by a name or a type; SniffLength bytes suffice.
func Sniff(head []byte) Format {
	at := func(off int, s string) bool { return len(head) >= off+len(s) && string(head[off:off+len(s)]) == s }
	switch {
	case at(0, "\xff\xd8\xff"):
		return JPEG
	case at(0, pngSignature):
		return PNG
	case at(0, "RIFF") && at(8, "WEBP"):
		return WebP
	case at(0, "GIF87a"), at(0, "GIF89a"):
		return GIF
	case at(0, "II*\x00"), at(0, "MM\x00*"), at(0, "II+\x00"), at(0, "MM\x00+"):
		return TIFF
	case at(4, "ftyp"):
		return sniffBrand(head)
	case at(0, "\x00\x00"):
		// Before ftyp there was none; such films begin with one of these.
		for _, t := range []string{"moov", "mdat", "wide", "free", "skip", "pnot"} {
			if at(4, t) {
				return QuickTime
			}
		}
	}
	return None
}

// Brands of ISO/IEC 23008-12, HEIC and AVIF.
var heifBrands = map[string]bool{
	"mif1": true, "mif2": true, "msf1": true, "heic": true, "heix": true, "heim": true, "heis": true, "hevc": true,
	"hevx": true, "hevm": true, "hevs": true, "avif": true, "avis": true, "miaf": true, "avci": true, "avcs": true,
}

// sniffBrand looks at the major brand only: films name image brands among those that they are compatible with.
func sniffBrand(head []byte) Format {
	if len(head) >= 12 && heifBrands[string(head[8:12])] {
		return HEIF
	}
	return QuickTime
}

// Clean returns src as it is (the same slice) where it holds no location, else a copy without it. Everything that is
// not metadata stays byte for byte. It never changes src. The error is ErrMalformed or ErrUnsupported with an offset,
// in bytes from the start; it means that it cannot be said what the file holds, and the caller then drops the file.
func Clean(src []byte) ([]byte, error) {
	out := src
	for range maxPasses {
		next, err := cleanOnce(out)
		if err != nil {
			return nil, err
		}
		if len(next) == len(out) && (len(out) == 0 || &next[0] == &out[0]) {
			return out, nil
		}
		out = next
	}
	return nil, malformed(0)
}

// What was cleaned is read again: an edit on a file whose parts overlap may bring to light what was hidden. A file that
// does not come to rest is none that a camera wrote.
const maxPasses = 4

func cleanOnce(src []byte) ([]byte, error) {
	c := newCanvas(src)
	all := span{0, len(src)}
	var err error
	switch Sniff(src) {
	case JPEG:
		err = c.jpegFile(all)
	case PNG:
		err = c.png()
	case WebP:
		err = c.webp()
	case GIF:
		err = c.gif()
	case TIFF:
		err = c.tiff(all, 0, false)
	case HEIF, QuickTime:
		err = c.filmFile(all)
	default:
		return nil, unsupported(0)
	}
	if err != nil {
		return nil, err
	}
	return c.result(), nil
}

// zeroed tells whether b holds nothing.
func zeroed(b []byte) bool { return filled(b, 0) }

func filled(b []byte, with byte) bool {
	return len(b) == 0 || b[0] == with && bytes.Equal(b[1:], b[:len(b)-1])
}
