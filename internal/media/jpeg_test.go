package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"
	"testing"

	"github.com/bep/imagemeta"
)

// tags reads metadata with a reader that is not ours.
func tags(t testing.TB, file []byte, format imagemeta.ImageFormat) map[string]any {
	t.Helper()
	out := map[string]any{}
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(file), ImageFormat: format,
		Sources:         imagemeta.EXIF | imagemeta.IPTC | imagemeta.XMP,
		ShouldHandleTag: func(imagemeta.TagInfo) bool { return true },
		HandleTag: func(i imagemeta.TagInfo) error {
			out[i.Source.String()+" "+i.Tag] = i.Value
			return nil
		},
	})
	if err != nil {
		t.Fatalf("independent reader: %v", err)
	}
	return out
}

func clean(t testing.TB, src []byte) []byte {
	t.Helper()
	before := bytes.Clone(src)
	out, err := Clean(src)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, src) {
		t.Fatal("the input was changed")
	}
	again, err := Clean(out)
	if err != nil {
		t.Fatalf("output is refused: %v", err)
	}
	same(t, out, again)
	placeLess(t, out)
	return out
}

// same says that b is the very slice a.
func same(t testing.TB, a, b []byte) {
	t.Helper()
	if len(a) != len(b) || &a[0] != &b[0] {
		t.Fatal("not the very slice")
	}
}

func TestJPEGWithoutPlaceIsTheVerySlice(t *testing.T) {
	for name, o := range map[string]byteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
		photo := withSegments(plainJPEG(t),
			segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")),
			segment(0xe1, []byte("Exif\x00\x00"), buildTIFF(o, cameraDir(o, false))),
			segment(0xe1, []byte(idXMP), packet(`xmp:Rating="5"`, "")),
			segment(0xe2, []byte("ICC_PROFILE\x00\x01\x01profile")),
			segment(0xfe, []byte("a comment")))
		t.Run(name, func(t *testing.T) { same(t, photo, clean(t, photo)) })
	}
}

func TestJPEGExifKeepsAllButThePlace(t *testing.T) {
	for name, o := range map[string]byteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			thumb := withSegments(plainJPEG(t), segment(0xe1, []byte("Exif\x00\x00"), buildTIFF(o, cameraDir(o, true))))
			dirs := [][]field{cameraDir(o, true), {
				short(o, 0x0103, 6), long(o, tagThumbnail, 0), long(o, tagThumbnailLength, uint32(len(thumb)))}}
			head := buildTIFF(o, dirs...)
			o.PutUint32(dirs[1][1].data, uint32(len(head)))
			block := append(buildTIFF(o, dirs...), thumb...)
			photo := withSegments(plainJPEG(t), segment(0xe1, []byte("Exif\x00\x00"), block))

			before := tags(t, photo, imagemeta.JPEG)
			if before["EXIF GPSLatitude"] == nil || before["EXIF MakerNoteApple"] == nil {
				t.Fatalf("the fixture holds no place: %v", before)
			}
			out := clean(t, photo)
			if len(out) != len(photo) {
				t.Fatalf("length %d, was %d", len(out), len(photo))
			}
			after := tags(t, out, imagemeta.JPEG)
			for tag, v := range before {
				gone := tag == "EXIF MakerNoteApple" || tag == "EXIF UserComment" || tag == "EXIF SerialNumber" ||
					tag == "EXIF BodySerialNumber" || bytes.HasPrefix([]byte(tag), []byte("EXIF GPS"))
				switch got := after[tag]; {
				case gone && got != nil:
					t.Errorf("%s is still there", tag)
				case !gone && tag != "EXIF ThumbnailOffset" && !equalValue(got, v):
					t.Errorf("%s is %v, was %v", tag, got, v)
				}
			}
			if after["EXIF Orientation"] == nil || after["EXIF Model"] == nil {
				t.Error("the camera went too")
			}
			// Everything behind the segment of Exif is what it was.
			rest := plainJPEG(t)[2:]
			if !bytes.HasSuffix(out, rest) {
				t.Error("something that is no metadata changed")
			}
			small := out[len(out)-len(rest)-len(thumb) : len(out)-len(rest)]
			if _, err := jpeg.Decode(bytes.NewReader(small)); err != nil {
				t.Errorf("thumbnail: %v", err)
			}
			if !bytes.HasSuffix(small, rest) {
				t.Error("the thumbnail's pixels changed")
			}
		})
	}
}

func equalValue(a, b any) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func TestJPEGSegments(t *testing.T) {
	iim := func(set byte, value string) []byte {
		return append([]byte{0x1c, 2, set, 0, byte(len(value))}, value...)
	}
	resource := func(id uint16, data []byte) []byte {
		b := binary.BigEndian.AppendUint16([]byte("8BIM"), id)
		b = binary.BigEndian.AppendUint32(append(b, 0, 0), uint32(len(data)))
		if b = append(b, data...); len(data)%2 == 1 {
			b = append(b, 0)
		}
		return b
	}
	extended := func(off int, whole, part string) []byte {
		b := append([]byte(idXMPMore), "0123456789ABCDEF0123456789ABCDEF"...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(whole)))
		return segment(0xe1, append(binary.BigEndian.AppendUint32(b, uint32(off)), part...))
	}
	far := string(packet("", `<exif:GPSLatitude>`+latitudeText+`</exif:GPSLatitude>`))
	harmless := string(packet(`xmp:Label="red"`, ""))
	le := byteOrder(binary.LittleEndian)
	for name, c := range map[string]struct {
		in, keeps [][]byte
		gone      []string
	}{
		"XMP": {
			in:    [][]byte{segment(0xe1, []byte(idXMP), placePacket())},
			keeps: [][]byte{[]byte(`xmp:Rating="5"`), []byte("<xmp:CreateDate>2025-03-01T12:30:00</xmp:CreateDate>")},
			gone:  []string{"Guangzhou", "GPSL", "City"},
		},
		"XMP that is no XML": {
			in:   [][]byte{segment(0xe1, []byte(idXMP), placePacket()[:560])},
			gone: []string{"Guangzhou"},
		},
		"XMP with an image of its own": {
			in:   [][]byte{segment(0xe1, []byte(idXMP), packet("", "<xmp:Image>/9j/4AAQSkZJRg</xmp:Image>"))},
			gone: []string{"/9j/"},
		},
		"XMP that names in one attribute what another holds": {
			in: [][]byte{segment(0xe1, []byte(idXMP),
				packet("", `<Item name="Latitude" value="23:06:23.8"/><Item name="ISO" value="100"/>`))},
			keeps: [][]byte{[]byte(`<Item name="ISO" value="100"/>`)},
			gone:  []string{"23:06:23.8"},
		},
		"extended XMP across segments": {
			in: [][]byte{extended(0, far, far[:len(far)-90]), extended(len(far)-90, far, far[len(far)-90:])},
		},
		"extended XMP without a place": {
			in:    [][]byte{extended(0, harmless, harmless[:100]), extended(100, harmless, harmless[100:])},
			keeps: [][]byte{[]byte(harmless[:100]), []byte(harmless[100:])},
		},
		"IPTC": {
			in: [][]byte{segment(0xed, []byte(idPhotoshop), resource(0x03ed, []byte("resolution")),
				resource(irbIPTC, bytes.Join([][]byte{
					iim(80, "A byline"), iim(90, "Guangzhou"), iim(92, "Tianhe"), iim(95, "Guangdong"), iim(100, "CHN"),
					iim(101, "China mainland"), iim(26, "CN-44"), iim(27, "Canton Tower"), iim(120, "A caption")}, nil)))},
			keeps: [][]byte{iim(80, "A byline"), iim(120, "A caption"), resource(0x03ed, []byte("resolution"))},
			gone:  []string{"Guangzhou", "Tianhe", "Guangdong", "CHN", "China", "CN-44", "Canton"},
		},
		"the digest of what was there": {
			in: [][]byte{segment(0xed, []byte(idPhotoshop), resource(irbDigest, []byte("a digest of 16 b")),
				resource(irbIPTC, iim(90, "Guangzhou")))},
			gone: []string{"Guangzhou", "a digest of"},
		},
		"Exif and XMP within Photoshop's": {
			in: [][]byte{segment(0xed, []byte(idPhotoshop), resource(irbExif1, buildTIFF(le, cameraDir(le, true))),
				resource(irbXMP, placePacket()))},
			keeps: [][]byte{[]byte("Model 9"), []byte(`xmp:Rating="5"`)},
		},
		"Photoshop's cut short": {
			in:   [][]byte{segment(0xed, []byte(idPhotoshop), resource(irbXMP, placePacket())[:560])},
			gone: []string{"Guangzhou"},
		},
		"Exif that cannot be read": {
			in:   [][]byte{segment(0xe1, []byte("Exif\x00\x00"), buildTIFF(le, cameraDir(le, true))[10:])},
			gone: []string{"Model 9"},
		},
		"a segment of a vendor": {
			in:   [][]byte{segment(0xe6, []byte("GoPro\x00"), gpsDir(le)[2].data, []byte("GPS5"))},
			gone: []string{"GoPro"},
		},
		"behind a thumbnail's end": {
			in:    [][]byte{segment(0xe0, []byte("JFXX\x00\x10"), plainJPEG(t), []byte("at "+latitudeText))},
			keeps: [][]byte{append([]byte("JFXX\x00\x10"), plainJPEG(t)...)},
			gone:  []string{"at "},
		},
		"a comment": {
			in:   [][]byte{segment(0xfe, []byte("taken at "+latitudeText+", "+longitudeText))},
			gone: []string{"taken"},
		},
		"adobe's colour transform": {
			in:    [][]byte{segment(0xee, []byte("Adobe\x00\x64\x00\x00\x00\x00\x01"))},
			keeps: [][]byte{segment(0xee, []byte("Adobe\x00\x64\x00\x00\x00\x00\x01"))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			photo := withSegments(plainJPEG(t), c.in...)
			out := clean(t, photo)
			for _, k := range c.keeps {
				if !bytes.Contains(out, k) {
					t.Errorf("%q is gone", k)
				}
			}
			for _, g := range c.gone {
				if !bytes.Contains(photo, []byte(g)) || bytes.Contains(out, []byte(g)) {
					t.Errorf("%q is not gone", g)
				}
			}
			if len(out) != len(photo) || !bytes.HasSuffix(out, plainJPEG(t)[2:]) {
				t.Error("something that is no metadata changed")
			}
		})
	}
}

func TestJPEGBehindItsEnd(t *testing.T) {
	le := byteOrder(binary.LittleEndian)
	exif := segment(0xe1, []byte("Exif\x00\x00"), buildTIFF(le, cameraDir(le, true)))
	photo, second := plainJPEG(t), withSegments(plainJPEG(t), exif)
	for name, c := range map[string]struct {
		trailer []byte
		keeps   int // bytes of the trailer
	}{
		"another image is cleaned": {second, len(second)},
		"padding and an image":     {append(make([]byte, 7), second...), 7 + len(second)},
		"zeroes stay":              {make([]byte, 9), 9},
		"a vendor's block goes":    {[]byte("SEFH" + latitudeText + "SEFT"), 0},
		"an image cut short goes":  {second[:len(second)-40], 0},
		"and what follows one":     {append(bytes.Clone(second), "PK\x03\x04"...), len(second)},
	} {
		t.Run(name, func(t *testing.T) {
			out := clean(t, append(bytes.Clone(photo), c.trailer...))
			if !bytes.HasPrefix(out, photo) || len(out) != len(photo)+c.keeps {
				t.Errorf("%d bytes behind the end, want %d", len(out)-len(photo), c.keeps)
			}
		})
	}
}

func TestJPEGMalformed(t *testing.T) {
	photo := withSegments(plainJPEG(t), segment(0xe1, []byte(idXMP), placePacket()))
	for n := range len(photo) - 1 {
		if out, err := Clean(photo[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes as %d", n, len(out))
		}
	}
	long := bytes.Clone(photo)
	long[4], long[5] = 0xff, 0xff
	if _, err := Clean(long); !errors.Is(err, ErrMalformed) {
		t.Errorf("a lying length: %v", err)
	}
}
