package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"
)

// The place that must not survive, as rationals of Exif and as text.
var (
	latitude  = []uint32{23, 1, 6, 1, 23832, 1000}
	longitude = []uint32{113, 1, 19, 1, 28056, 1000}
)

const (
	latitudeText  = "23.10662"
	longitudeText = "113.32446"
)

// needles are what of the place stands in a file: the seconds and their denominator in both byte orders, and the text.
func needles() [][]byte {
	var out [][]byte
	for _, o := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, v := range [][]uint32{latitude, longitude} {
			out = append(out, o.AppendUint32(o.AppendUint32(nil, v[4]), v[5]))
		}
	}
	return append(out, []byte(latitudeText), []byte(longitudeText))
}

func placeLess(t testing.TB, out []byte) {
	t.Helper()
	for _, n := range needles() {
		if i := bytes.Index(out, n); i >= 0 {
			t.Fatalf("place %q is still there, at %d", n, i)
		}
	}
}

// A field is an entry of a directory to be built; a dir points at another.
type field struct {
	tag   uint16
	typ   uint16
	count uint32
	data  []byte
	dir   []field
}

func text(tag uint16, s string) field {
	return field{tag: tag, typ: typeASCII, count: uint32(len(s) + 1), data: append([]byte(s), 0)}
}

func blob(tag uint16, b []byte) field {
	return field{tag: tag, typ: typeUndefined, count: uint32(len(b)), data: b}
}

func short(o byteOrder, tag, v uint16) field {
	return field{tag: tag, typ: typeShort, count: 1, data: o.AppendUint16(nil, v)}
}

func long(o byteOrder, tag uint16, v uint32) field {
	return field{tag: tag, typ: typeLong, count: 1, data: o.AppendUint32(nil, v)}
}

func rationals(o byteOrder, tag uint16, v ...uint32) field {
	f := field{tag: tag, typ: 5, count: uint32(len(v) / 2)}
	for _, x := range v {
		f.data = o.AppendUint32(f.data, x)
	}
	return f
}

// buildTIFF lays out directories one after another, each with its values and children behind it.
func buildTIFF(o byteOrder, chain ...[]field) []byte {
	out := []byte("II*\x00")
	if o == byteOrder(binary.BigEndian) {
		out = []byte("MM\x00*")
	}
	out = o.AppendUint32(out, 8)
	link := 4
	for _, dir := range chain {
		o.PutUint32(out[link:], uint32(len(out)))
		out, link = appendDir(o, out, dir)
	}
	return out
}

func appendDir(o byteOrder, out []byte, dir []field) (_ []byte, next int) {
	start := len(out)
	out = o.AppendUint16(out, uint16(len(dir)))
	out = append(out, make([]byte, len(dir)*entrySize+4)...)
	for i, f := range dir {
		at := start + 2 + i*entrySize
		if f.dir != nil {
			f.typ, f.count = typeLong, 1
			f.data = o.AppendUint32(nil, uint32(len(out)))
			out, _ = appendDir(o, out, f.dir)
		}
		o.PutUint16(out[at:], f.tag)
		o.PutUint16(out[at+2:], f.typ)
		o.PutUint32(out[at+4:], f.count)
		if len(f.data) <= 4 {
			copy(out[at+8:], f.data)
			continue
		}
		if len(out)%2 == 1 {
			out = append(out, 0)
		}
		o.PutUint32(out[at+8:], uint32(len(out)))
		out = append(out, f.data...)
	}
	return out, start + 2 + len(dir)*entrySize
}

func gpsDir(o byteOrder) []field {
	return []field{
		{tag: 0, typ: typeByte, count: 4, data: []byte{2, 3, 0, 0}},
		text(1, "N"), rationals(o, 2, latitude...), text(3, "E"), rationals(o, 4, longitude...),
		rationals(o, 6, 21, 1), text(0x1d, "2025:03:01"),
	}
}

// cameraDir is what a phone writes, without or with a place and what else has to go.
func cameraDir(o byteOrder, place bool) []field {
	exif := []field{
		rationals(o, 0x829a, 1, 250), text(0x9003, "2025:03:01 12:30:00"), text(0x9011, "+08:00"),
	}
	dir := []field{text(0x010f, "Maker"), text(0x0110, "Model 9"), short(o, 0x0112, 6)}
	if place {
		exif = append(exif,
			blob(0x927c, append([]byte("MAKER\x00"), rationals(o, 0, latitude...).data...)),
			blob(0x9286, []byte("ASCII\x00\x00\x00"+latitudeText+","+longitudeText)),
			text(0xa431, "SN-000123456"))
	}
	dir = append(dir, field{tag: tagExif, dir: exif})
	if place {
		dir = append(dir, field{tag: tagGPS, dir: gpsDir(o)})
	}
	return dir
}

func picture() image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, 40, 24))
	for y := range 24 {
		for x := range 40 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x * 6), uint8(y * 10), uint8(x * y), 255})
		}
	}
	return m
}

func plainJPEG(t testing.TB) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func plainPNG(t testing.TB) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func segment(marker byte, payload ...[]byte) []byte {
	b := bytes.Join(payload, nil)
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(b)+2)), b...)
}

// withSegments puts segments after SOI.
func withSegments(photo []byte, segments ...[]byte) []byte {
	return bytes.Join(append(append([][]byte{photo[:2]}, segments...), photo[2:]), nil)
}

func chunk(kind string, data ...[]byte) []byte {
	b := bytes.Join(data, nil)
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), kind...)
	out = append(out, b...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// withChunks puts chunks after IHDR.
func withChunks(picture []byte, chunks ...[]byte) []byte {
	const head = 8 + 25
	return bytes.Join(append(append([][]byte{picture[:head]}, chunks...), picture[head:]), nil)
}

const xmpHead = `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">` +
	`<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" ` +
	`xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" ` +
	`xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" `
const xmpTail = `</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`

func packet(attributes, elements string) []byte {
	return []byte(xmpHead + attributes + ">" + elements + xmpTail)
}

func placePacket() []byte {
	return packet(`xmp:Rating="5" exif:GPSLatitude = "`+latitudeText+`N" photoshop:City='Guangzhou'`,
		`<exif:GPSLongitude>`+longitudeText+`</exif:GPSLongitude><xmp:CreateDate>2025-03-01T12:30:00</xmp:CreateDate>`)
}
