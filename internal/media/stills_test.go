package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"testing"

	"github.com/bep/imagemeta"
)

// --- HEIF

// buildHEIF has an image, Exif and XMP as items, in mdat or (Exif) in idat.
func buildHEIF(brand string, exif, xmp []byte, inline bool) []byte {
	image := []byte("the bytes of an image.")
	exif = append(be32(6), append([]byte("Exif\x00\x00"), exif...)...)
	infe := func(id uint16, kind, tail string) []byte {
		return full("infe", 2, binary.BigEndian.AppendUint16(nil, id), []byte{0, 0}, []byte(kind), []byte(tail))
	}
	ftyp := mkbox("ftyp", []byte(brand+"\x00\x00\x00\x00mif1"))
	build := func(data uint32) []byte {
		item := func(id, method uint16, off, n int) []byte {
			b := binary.BigEndian.AppendUint16(nil, id)
			b = binary.BigEndian.AppendUint16(b, method)
			b = append(b, 0, 0, 0, 1)
			return append(b, be32(uint32(off), uint32(n))...)
		}
		d := int(data)
		exifItem, mdat, idat := item(2, 0, d+len(image), len(exif)), bytes.Join([][]byte{image, exif, xmp}, nil), []byte{}
		xmpAt := d + len(image) + len(exif)
		if inline {
			exifItem, mdat, idat = item(2, 1, 0, len(exif)), append(bytes.Clone(image), xmp...), exif
			xmpAt -= len(exif)
		}
		meta := full("meta", 0, handler("pict"), full("pitm", 0, []byte{0, 1}),
			full("iinf", 0, []byte{0, 3}, infe(1, "hvc1", "\x00"), infe(2, "Exif", "\x00"),
				infe(3, "mime", "\x00application/rdf+xml\x00")),
			mkbox("idat", idat),
			full("iloc", 1, []byte{0x44, 0, 0, 3}, item(1, 0, d, len(image)), exifItem, item(3, 0, xmpAt, len(xmp))))
		return bytes.Join([][]byte{ftyp, meta, mkbox("mdat", mdat)}, nil)
	}
	head := len(build(0)) - len(image) - len(xmp)
	if !inline {
		head -= len(exif)
	}
	return build(uint32(head))
}

func TestHEIF(t *testing.T) {
	be := byteOrder(binary.BigEndian)
	for name, brand := range map[string]string{"HEIC": "heic", "AVIF": "avif"} {
		for _, inline := range []bool{false, true} {
			plain := buildHEIF(brand, buildTIFF(be, cameraDir(be, false)), packet(`xmp:Rating="5"`, ""), inline)
			same(t, plain, clean(t, plain))
			file := buildHEIF(brand, buildTIFF(be, cameraDir(be, true)), placePacket(), inline)
			if Sniff(file) != HEIF {
				t.Fatal(Sniff(file))
			}
			out := clean(t, file)
			for _, keep := range []string{"Model 9", `xmp:Rating="5"`, "the bytes of an image.", "2025:03:01 12:30:00"} {
				if len(out) != len(file) || !bytes.Contains(out, []byte(keep)) {
					t.Errorf("%s: %q is gone", name, keep)
				}
			}
			if bytes.Contains(out, []byte("Guangzhou")) {
				t.Error("the town is still there")
			}
			for n := range file {
				if _, err := Clean(file[:n]); err == nil {
					t.Fatalf("cut to %d bytes it passes", n)
				}
			}
		}
	}
	// An item that claims the structure of the file is no item.
	file := buildHEIF("heic", buildTIFF(be, cameraDir(be, true)), placePacket(), false)
	start := bytes.Index(file, []byte("the bytes of an image."))
	if _, err := Clean(bytes.Replace(file, be32(uint32(start)), be32(8), 1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an item over the file's own boxes: %v", err)
	}
	// Metadata of another type, and an item whose kind nobody knows, are zeroed.
	for _, kinds := range [][2]string{{"Exif", "geo1"}, {"application/rdf+xml", "application/geo+xml"}} {
		out := clean(t, bytes.Replace(file, []byte(kinds[0]), []byte(kinds[1]), 1))
		if !bytes.Contains(out, []byte("the bytes of an image.")) {
			t.Error("the image is gone")
		}
	}
}

// --- WebP

func riffChunk(kind string, data []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(data))), data...)
	if len(data)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func buildWebP(chunks ...[]byte) []byte {
	b := bytes.Join(chunks, nil)
	return append(append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(b)+4)), "WEBP"...), b...)
}

func TestWebP(t *testing.T) {
	le := byteOrder(binary.LittleEndian)
	head := riffChunk("VP8X", []byte{vp8xExif | vp8xXMP, 0, 0, 0, 39, 0, 0, 23, 0, 0})
	pixels := riffChunk("VP8L", []byte("the pixels of it"))
	exif := func(place bool) []byte { return riffChunk("EXIF", buildTIFF(le, cameraDir(le, place))) }

	plain := buildWebP(head, pixels, exif(false), riffChunk("XMP ", packet("", "")))
	same(t, plain, clean(t, plain))

	file := buildWebP(head, riffChunk("GEO ", []byte(latitudeText)), pixels, exif(true), riffChunk("XMP ", placePacket()))
	if tags(t, file, imagemeta.WebP)["EXIF GPSLatitude"] == nil {
		t.Fatal("the fixture holds no place")
	}
	out := clean(t, append(bytes.Clone(file), file...))
	if got := tags(t, out, imagemeta.WebP); got["EXIF GPSLatitude"] != nil || got["EXIF Orientation"] == nil || got["XMP City"] != nil {
		t.Errorf("%v", got)
	}
	if int(binary.LittleEndian.Uint32(out[4:])) != len(out)-8 || !bytes.Contains(out, pixels) || bytes.Contains(out, []byte("GEO ")) {
		t.Error("the length is wrong, or the wrong chunk went")
	}
	for n := range file {
		if _, err := Clean(file[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes", n)
		}
	}
	if out := clean(t, buildWebP(head, pixels)); out[20] != 0 {
		t.Error("the flags claim what is not there")
	}
}

// --- GIF

func gifExt(label byte, text string) []byte {
	out := []byte{gifExtension, label}
	for len(text) > 255 {
		out, text = append(append(out, 255), text[:255]...), text[255:]
	}
	return append(append(append(out, byte(len(text))), text...), 0)
}

func TestGIF(t *testing.T) {
	var b bytes.Buffer
	m := image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.Black, color.White})
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{m, m}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	plain := b.Bytes()
	head := 13 + colourTable(plain[10])
	with := func(ext []byte) []byte { return bytes.Join([][]byte{plain[:head], ext, plain[head:]}, nil) }
	same(t, plain, clean(t, plain))

	comment := with(gifExt(gifComment, "a comment"))
	same(t, comment, clean(t, comment))
	if out := clean(t, with(gifExt(gifComment, "at "+latitudeText+", "+longitudeText))); !bytes.Equal(out, plain) {
		t.Error("the comment is still there")
	}
	if out := clean(t, with(append(gifExt(gifApplication, "PLACES  1.0")[:14], 4, 'h', 'e', 'r', 'e', 0))); !bytes.Equal(out, plain) {
		t.Error("the unknown extension is still there")
	}
	xmp := bytes.Join([][]byte{{gifExtension, gifApplication}, []byte("\x0bXMP DataXMP"), placePacket(), gifXMPTail}, nil)
	out := clean(t, with(xmp))
	if len(out) != len(with(xmp)) || !bytes.Contains(out, []byte(`xmp:Rating="5"`)) {
		t.Error("more than the place went")
	}
	got, err := gif.DecodeAll(bytes.NewReader(out))
	if err != nil || len(got.Image) != 2 || !bytes.Equal(got.Image[0].Pix, m.Pix) {
		t.Errorf("the pixels changed: %v", err)
	}
	if out := clean(t, append(bytes.Clone(plain), latitudeText...)); !bytes.Equal(out, plain) {
		t.Error("what stands behind the trailer is still there")
	}
	for n := range comment {
		if _, err := Clean(comment[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes", n)
		}
	}
}

// --- TIFF

func TestTIFF(t *testing.T) {
	for name, o := range map[string]byteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
		pixels := bytes.Repeat([]byte{7}, 64)
		build := func(place bool, more ...field) []byte {
			dir := append([]field{short(o, 0x0100, 8), short(o, 0x0101, 8), long(o, tagStripOffsets, 0), long(o, tagStripByteCounts, 64)},
				cameraDir(o, place)...)
			dir = append(dir, more...)
			at := len(buildTIFF(o, dir))
			o.PutUint32(dir[2].data, uint32(at))
			return append(buildTIFF(o, dir), pixels...)
		}
		plain := build(false)
		same(t, plain, clean(t, plain))
		file := build(true, blob(tagXMP, placePacket()), rationals(o, 0x8482, latitude...))
		if tags(t, file, imagemeta.TIFF)["EXIF GPSLatitude"] == nil {
			t.Fatal("the fixture holds no place")
		}
		out := clean(t, file)
		if got := tags(t, out, imagemeta.TIFF); got["EXIF GPSLatitude"] != nil || got["EXIF Orientation"] == nil {
			t.Errorf("%s: %v", name, got)
		}
		if len(out) != len(file) || !bytes.HasSuffix(out, pixels) {
			t.Error("the pixels changed")
		}
		for n := range file {
			if _, err := Clean(file[:n]); err == nil {
				t.Fatalf("cut to %d bytes it passes", n)
			}
		}
		// A chain that loops, and a strip that runs past the end.
		loop := buildTIFF(o, []field{text(0x010f, "Maker")})
		o.PutUint32(loop[8+2+entrySize:], 8)
		for _, bad := range [][]byte{loop, bytes.Replace(file, o.AppendUint32(nil, 64), o.AppendUint32(nil, 1<<30), 1)} {
			if _, err := Clean(bad); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := Clean([]byte("II+\x00\x08\x00\x00\x00")); !errors.Is(err, ErrUnsupported) {
		t.Errorf("BigTIFF: %v", err)
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	for _, s := range []string{"", "\xff\xd8", "%PDF-1.7", "RIFF\x04\x00\x00\x00WAVE", "not a picture at all"} {
		if _, err := Clean([]byte(s)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
