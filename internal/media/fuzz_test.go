package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// fuzzClean holds what must be true whatever the file is.
func fuzzClean(t *testing.T, src []byte) []byte {
	t.Helper()
	before := bytes.Clone(src)
	out, err := Clean(src)
	if !bytes.Equal(before, src) {
		t.Fatal("the input was changed")
	}
	if err != nil {
		if out != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("%d bytes and %v", len(out), err)
		}
		return nil
	}
	if len(out) > len(src) || Sniff(out) != Sniff(src) {
		t.Fatalf("%d bytes of %v became %d of %v", len(src), Sniff(src), len(out), Sniff(out))
	}
	again, err := Clean(out)
	if err != nil {
		t.Fatalf("output is refused: %v", err)
	}
	same(t, out, again)
	return out
}

func seeds(t testing.TB) map[Format][]byte {
	le, be := byteOrder(binary.LittleEndian), byteOrder(binary.BigEndian)
	exif := buildTIFF(le, cameraDir(le, true))
	return map[Format][]byte{
		JPEG: append(withSegments(plainJPEG(t), segment(0xe1, []byte("Exif\x00\x00"), exif),
			segment(0xe1, []byte(idXMP), placePacket())), buildFilm("", mkbox("udta", xyz()))...),
		PNG:       withChunks(plainPNG(t), chunk("eXIf", exif), chunk("iTXt", []byte(pngXMP+"\x00\x00\x00\x00\x00"), placePacket())),
		WebP:      buildWebP(riffChunk("VP8X", make([]byte, 10)), riffChunk("VP8L", []byte("pixels")), riffChunk("EXIF", exif)),
		HEIF:      buildHEIF("heic", exif, placePacket(), true),
		TIFF:      buildTIFF(be, cameraDir(be, true)),
		QuickTime: buildFilm("camm", quickTimeKeys(), mkbox("udta", xyz())),
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Add([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"))
	f.Fuzz(func(t *testing.T, src []byte) { fuzzClean(t, src) })
}

// FuzzExifBlock breaks a block of Exif.
func FuzzExifBlock(f *testing.F) {
	le, be := byteOrder(binary.LittleEndian), byteOrder(binary.BigEndian)
	f.Add(buildTIFF(le, cameraDir(le, true)))
	f.Add(buildTIFF(be, cameraDir(be, true)))
	photo := plainJPEG(f)
	f.Fuzz(func(t *testing.T, block []byte) {
		if len(block) < 60000 {
			fuzzClean(t, withSegments(photo, segment(0xe1, []byte("Exif\x00\x00"), block)))
		}
	})
}

// FuzzPlace builds files of each format around a text, whose rest the fuzzer chooses, and looks for the place.
func FuzzPlace(f *testing.F) {
	f.Add("a note", "Guangzhou")
	f.Add("<&>\x00\"", "\xff\xd8\xff")
	f.Fuzz(func(t *testing.T, note, town string) {
		if len(note)+len(town) > 2000 || strings.Contains(note+town, latitudeText) || strings.Contains(note+town, longitudeText) {
			return
		}
		for _, o := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
			block := buildTIFF(o, append(cameraDir(o, true), text(0x010e, note), rationals(o, 0x8482, latitude...)))
			xmp := packet(`photoshop:City="`+town+`" exif:GPSLatitude="`+latitudeText+`N"`, "<dc:title>"+note+"</dc:title>")
			for _, file := range [][]byte{
				withSegments(plainJPEG(t), segment(0xe1, []byte("Exif\x00\x00"), block), segment(0xe1, []byte(idXMP), xmp)),
				withChunks(plainPNG(t), chunk("eXIf", block), chunk("iTXt", []byte(pngXMP+"\x00\x00\x00\x00\x00"), xmp)),
				buildWebP(riffChunk("VP8L", []byte("pixels")), riffChunk("EXIF", block), riffChunk("XMP ", xmp)),
				buildHEIF("heic", block, xmp, false), buildHEIF("avif", block, xmp, true), block,
				buildFilm("camm", quickTimeKeys(), mkbox("udta", xyz(), mkbox("\xa9nam", []byte(note)))),
			} {
				if out := fuzzClean(t, file); out != nil {
					placeLess(t, out)
				}
			}
		}
	})
}

// TestExifBlockBitByBit flips each bit of a block of Exif: a place whose pointer went astray must go all the same.
func TestExifBlockBitByBit(t *testing.T) {
	be := byteOrder(binary.BigEndian)
	photo, dir := plainJPEG(t), cameraDir(be, true)
	last := len(dir) - 1
	first := append([]field{dir[last]}, dir[:last]...)
	for _, block := range [][]byte{buildTIFF(be, dir), buildTIFF(be, first)} {
		for i := range block {
			for bit := range 8 {
				bad := bytes.Clone(block)
				bad[i] ^= 1 << bit
				out := fuzzClean(t, withSegments(photo, segment(0xe1, []byte("Exif\x00\x00"), bad)))
				for _, n := range needles()[2:4] {
					if bytes.Contains(out, n) {
						t.Errorf("bit %d of byte %d: the place is still there", bit, i)
					}
				}
			}
		}
	}
}

// A file that makes every entry point at one long value, or every image hold another, costs no more than a constant
// times its length.
func TestTimeIsLinear(t *testing.T) {
	le := byteOrder(binary.LittleEndian)
	hostile := func(n int) []byte {
		var dir []field
		for range n {
			dir = append(dir, long(le, tagXMP, 0))
		}
		packet := packet("", strings.Repeat("<a>text</a>", n))
		b := append(buildTIFF(le, dir), packet...)
		for i := range n {
			at := 8 + 2 + i*entrySize
			le.PutUint16(b[at+2:], typeByte)
			le.PutUint32(b[at+4:], uint32(len(packet)))
			le.PutUint32(b[at+8:], uint32(len(b)-len(packet)))
		}
		return b
	}
	// Some megabytes: a square would take until the test is killed.
	const n = 1 << 19
	for _, file := range map[string][]byte{
		"one value": hostile(20000),
		"images":    append(plainJPEG(t), bytes.Repeat([]byte("\xff\xd8\xff\xd9"), n)...),
		"boxes":     append(buildFilm(""), bytes.Repeat(mkbox("free"), n)...),
		"zeroes":    append(plainJPEG(t), make([]byte, 8*n)...),
		"comments":  append([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00"), bytes.Repeat([]byte{0x21, 0xfe, 1, 'g', 0}, n)...),
	} {
		_, _ = Clean(file)
	}
	if _, err := Clean(hostile(20000)); !errors.Is(err, ErrMalformed) {
		t.Errorf("the budget has no end: %v", err)
	}
}

func BenchmarkClean(b *testing.B) {
	for f, s := range seeds(b) {
		b.Run(fmt.Sprint(f), func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Clean(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
