package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"image"
	"image/png"
	"testing"

	"github.com/bep/imagemeta"
)

func deflated(t testing.TB, s []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pixels(t testing.TB, b []byte) image.Image {
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPNGChunks(t *testing.T) {
	be := byteOrder(binary.BigEndian)
	comment := chunk("tEXt", []byte("Comment\x00a red flower"))
	for name, c := range map[string]struct {
		in   []byte
		same bool   // the chunk arrives as it is
		has  string // else what is left of it; nothing: it is cut
	}{
		"a comment":               {in: comment, same: true},
		"a compressed comment":    {in: chunk("zTXt", []byte("Comment\x00\x00"), deflated(t, []byte("a flower"))), same: true},
		"an international one":    {in: chunk("iTXt", []byte("Title\x00\x00\x00en\x00Title\x00a flower")), same: true},
		"gamma":                   {in: chunk("gAMA", []byte{0, 0, 0xb1, 0x8f}), same: true},
		"Exif without a place":    {in: chunk("eXIf", buildTIFF(be, cameraDir(be, false))), same: true},
		"Exif":                    {in: chunk("eXIf", buildTIFF(be, cameraDir(be, true))), has: "Model 9"},
		"XMP":                     {in: chunk("iTXt", []byte(pngXMP+"\x00\x00\x00\x00\x00"), placePacket()), has: `xmp:Rating="5"`},
		"compressed XMP":          {in: chunk("iTXt", []byte(pngXMP+"\x00\x01\x00\x00\x00"), deflated(t, placePacket()))},
		"compressed, harmless":    {in: chunk("iTXt", []byte(pngXMP+"\x00\x01\x00\x00\x00"), deflated(t, packet("", ""))), same: true},
		"raw profile exif":        {in: chunk("zTXt", []byte("Raw profile type exif\x00\x00"), deflated(t, []byte("\nexif\n2\n4949")))},
		"raw profile APP1":        {in: chunk("tEXt", []byte("Raw profile type APP1\x00\ngeneric\n2\n4949"))},
		"a coordinate in a text":  {in: chunk("tEXt", []byte("Comment\x00"+latitudeText+", "+longitudeText))},
		"compressed":              {in: chunk("zTXt", []byte("Comment\x00\x00"), deflated(t, []byte("Latitude: "+latitudeText)))},
		"a keyword":               {in: chunk("tEXt", []byte("exif:GPSLatitude\x0023/1"))},
		"a translated keyword":    {in: chunk("iTXt", []byte("Note\x00\x00\x00zh\x00经度\x00113"))},
		"behind the stream":       {in: chunk("zTXt", []byte("Comment\x00\x00"), deflated(t, []byte("a flower")), []byte(latitudeText))},
		"no zlib":                 {in: chunk("zTXt", []byte("Comment\x00\x00no stream"))},
		"a bomb":                  {in: chunk("zTXt", []byte("Comment\x00\x00"), deflated(t, make([]byte, maxText+1)))},
		"content credentials":     {in: chunk("caBX", []byte("stds.exif"))},
		"a chunk nobody knows":    {in: chunk("plCe", []byte(latitudeText))},
		"a text without its zero": {in: chunk("tEXt", []byte("Comment"))},
	} {
		t.Run(name, func(t *testing.T) {
			plain := plainPNG(t)
			file := withChunks(plain, c.in, comment)
			out := clean(t, file)
			switch {
			case c.same:
				same(t, file, out)
			case c.has == "":
				if !bytes.Equal(out, withChunks(plain, comment)) {
					t.Error("more or less than the chunk went")
				}
			case len(out) != len(file) || !bytes.Contains(out, []byte(c.has)):
				t.Errorf("%q is gone", c.has)
			}
			if a, b := pixels(t, file), pixels(t, out); !bytes.Equal(a.(*image.RGBA).Pix, b.(*image.RGBA).Pix) {
				t.Error("the pixels changed")
			}
		})
	}
}

func TestPNGExifForAnotherReader(t *testing.T) {
	be := byteOrder(binary.BigEndian)
	file := withChunks(plainPNG(t), chunk("eXIf", buildTIFF(be, cameraDir(be, true))))
	if tags(t, file, imagemeta.PNG)["EXIF GPSLatitude"] == nil {
		t.Fatal("the fixture holds no place")
	}
	got := tags(t, clean(t, file), imagemeta.PNG)
	if got["EXIF GPSLatitude"] != nil || got["EXIF Orientation"] == nil {
		t.Errorf("%v", got)
	}
}

func TestPNGBehindItsEnd(t *testing.T) {
	plain := plainPNG(t)
	if out := clean(t, append(bytes.Clone(plain), plain...)); !bytes.Equal(out, plain) {
		t.Error("what stands behind IEND is still there")
	}
}

func TestPNGMalformed(t *testing.T) {
	plain := plainPNG(t)
	for n := range len(plain) {
		if _, err := Clean(plain[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes", n)
		}
	}
	for i := 8; i < len(plain); i++ {
		bad := bytes.Clone(plain)
		bad[i] ^= 0x10
		if _, err := Clean(bad); !errors.Is(err, ErrMalformed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}
