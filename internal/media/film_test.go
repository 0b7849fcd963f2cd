package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func mkbox(kind string, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+8)), kind...), b...)
}

func full(kind string, version byte, body ...[]byte) []byte {
	return mkbox(kind, append([][]byte{{version, 0, 0, 0}}, body...)...)
}

func be32(v ...uint32) (out []byte) {
	for _, x := range v {
		out = binary.BigEndian.AppendUint32(out, x)
	}
	return out
}

func handler(kind string) []byte {
	return full("hdlr", 0, be32(0), []byte(kind), be32(0, 0, 0), []byte("a handler\x00"))
}

// track is one of samples of 16 bytes in one chunk.
func track(kind string, chunk, samples uint32, more ...[]byte) []byte {
	return mkbox("trak", append([][]byte{full("tkhd", 0, make([]byte, 80)), mkbox("mdia",
		full("mdhd", 0, make([]byte, 20)), handler(kind), mkbox("minf", full("vmhd", 0, make([]byte, 8)),
			mkbox("stbl", full("stsd", 0, be32(1), mkbox("avc1", make([]byte, 78))),
				full("stts", 0, be32(1, samples, 1)), full("stsc", 0, be32(1, 1, samples, 1)),
				full("stsz", 0, be32(16, samples)), full("stco", 0, be32(1, chunk)))))}, more...)...)
}

var (
	videoSamples = []byte("pixels 0pixels 1pixels 2pixels 3")
	placeSamples = []byte(latitudeText + "N......." + longitudeText + "E......")
)

// buildFilm has a track of video, one of another kind behind it, and more within moov.
func buildFilm(kind string, more ...[]byte) []byte {
	ftyp := mkbox("ftyp", []byte("isom\x00\x00\x02\x00isommp42heic"))
	data := uint32(len(ftyp) + 8)
	mdat := mkbox("mdat", videoSamples, placeSamples)
	moov := [][]byte{full("mvhd", 0, make([]byte, 96)), track("vide", data, 2)}
	if kind != "" {
		moov = append(moov, track(kind, data+32, uint32(len(placeSamples)/16)))
	} else {
		mdat = mkbox("mdat", videoSamples)
	}
	return bytes.Join([][]byte{ftyp, mdat, mkbox("moov", append(moov, more...)...)}, nil)
}

func xyz() []byte {
	return mkbox("\xa9xyz", []byte{0, 18, 0x15, 0xc7}, []byte("+"+latitudeText+"+"+longitudeText+"/"))
}

func quickTimeKeys() []byte {
	key := func(s string) []byte { return mkbox("mdta", []byte(s)) }
	item := func(i uint32, s string) []byte {
		return mkbox(string(be32(i)), mkbox("data", be32(1, 0), []byte(s)))
	}
	return mkbox("meta", handler("mdta"),
		full("keys", 0, be32(3), key("com.apple.quicktime.make"), key("com.apple.quicktime.location.ISO6709"),
			key("com.apple.quicktime.creationdate")),
		mkbox("ilst", item(1, "Maker"), item(2, "+"+latitudeText+"+"+longitudeText+"+021.000/"),
			item(3, "2025-03-01T12:30:00+0800")))
}

func TestFilmWithoutPlaceIsTheVerySlice(t *testing.T) {
	for name, file := range map[string][]byte{
		"one track":     buildFilm(""),
		"a time code":   bytes.ReplaceAll(buildFilm("tmcd"), placeSamples, videoSamples),
		"tags":          buildFilm("", mkbox("udta", mkbox("\xa9nam", []byte("\x00\x04\x15\xc7Film")), be32(0))),
		"user data, QT": buildFilm("", mkbox("udta", mkbox("name", []byte("Film")))),
	} {
		t.Run(name, func(t *testing.T) { same(t, file, clean(t, file)) })
	}
}

func TestFilmIsCleanedInPlace(t *testing.T) {
	loci := full("loci", 0, []byte("\x15\xc7Guangzhou\x00\x00"), be32(113<<16, 23<<16, 0), []byte("earth\x00\x00"))
	for name, c := range map[string]struct {
		file  []byte
		gone  string
		keeps string
	}{
		"©xyz":            {buildFilm("", mkbox("udta", xyz(), mkbox("\xa9nam", []byte("\x00\x04\x15\xc7Film")))), "xyz", "Film"},
		"loci":            {buildFilm("", mkbox("udta", loci)), "Guangzhou", "mvhd"},
		"a vendor's item": {buildFilm("", mkbox("udta", mkbox("GPMF", []byte(latitudeText)))), "GPMF", "mvhd"},
		"keys":            {buildFilm("", quickTimeKeys()), "+021.000", "2025-03-01T12:30:00+0800"},
		"keys of a track": {buildFilm("", track("vide", 36, 2, quickTimeKeys())), "+021.000", "Maker"},
		"camm":            {buildFilm("camm"), "E......", "pixels 3"},
		"gpmd":            {buildFilm("meta"), "E......", "pixels 3"},
		"subtitles":       {buildFilm("text", mkbox("udta", xyz())), "xyz", "pixels 3"},
		"XMP": {append(buildFilm(""), mkbox("uuid", []byte(uuidXMP), placePacket())...), "Guangzhou",
			`xmp:Rating="5"`},
		"another uuid":        {append(buildFilm(""), mkbox("uuid", []byte("0123456789abcdef"+latitudeText))...), "0123456789", "mvhd"},
		"a box nobody knows":  {append(buildFilm(""), mkbox("sefd", []byte(latitudeText))...), "sefd", "mvhd"},
		"what an editor left": {append(buildFilm(""), mkbox("free", xyz())...), "xyz", "mvhd"},
		"an iTunes tag": {buildFilm("", mkbox("udta", full("meta", 0, handler("mdir"), mkbox("ilst",
			mkbox("\xa9nam", mkbox("data", be32(1, 0), []byte("Film"))),
			mkbox("ownr", mkbox("data", be32(1, 0), []byte("Somebody"))))))), "Somebody", "Film"},
	} {
		t.Run(name, func(t *testing.T) {
			out := clean(t, c.file)
			if len(out) != len(c.file) {
				t.Fatalf("length %d, was %d", len(out), len(c.file))
			}
			if !bytes.Contains(c.file, []byte(c.gone)) || bytes.Contains(out, []byte(c.gone)) {
				t.Errorf("%q is not gone", c.gone)
			}
			if !bytes.Contains(out, []byte(c.keeps)) || !bytes.Contains(out, videoSamples) {
				t.Errorf("%q or the pixels are gone", c.keeps)
			}
		})
	}
}

func TestFilmKeepsSubtitlesOfNoPlace(t *testing.T) {
	file := bytes.ReplaceAll(buildFilm("text"), placeSamples, []byte(strings.Repeat("a line of words.", 2)))
	same(t, file, clean(t, file))
}

func TestFilmTrailers(t *testing.T) {
	film := buildFilm("", mkbox("udta", xyz()))
	out := clean(t, append(bytes.Clone(film), "SEFH"+latitudeText+"SEFT"...))
	if len(out) != len(film) {
		t.Errorf("%d bytes, the film has %d", len(out), len(film))
	}
	photo := plainJPEG(t)
	for name, c := range map[string]struct {
		trailer []byte
		keeps   int
	}{
		"motion photo":              {film, len(film)},
		"with a vendor's directory": {append(bytes.Clone(film), "....SEFH"+longitudeText+"SEFT"...), len(film)},
		"cut short":                 {film[:len(film)-9], 0},
	} {
		out := clean(t, append(bytes.Clone(photo), c.trailer...))
		if !bytes.HasPrefix(out, photo) || len(out) != len(photo)+c.keeps {
			t.Errorf("%s: %d bytes behind the photo, want %d", name, len(out)-len(photo), c.keeps)
		}
	}
}

func TestFilmRefused(t *testing.T) {
	file := buildFilm("camm", quickTimeKeys())
	for n := range file {
		if _, err := Clean(file[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes", n)
		}
	}
	header := uint32(bytes.Index(file, []byte("mvhd")) + 20)
	early := bytes.Replace(file, full("stco", 0, be32(1, 36+32)), full("stco", 0, be32(1, header)), 1)
	ftyp := file[:28]
	first := func(data uint32) []byte {
		return append(bytes.Clone(ftyp), mkbox("moov", full("mvhd", 0, make([]byte, 96)), track("vide", data, 2))...)
	}
	streamed := first(uint32(len(first(0)) + 8))
	if whole := append(bytes.Clone(streamed), mkbox("mdat", videoSamples)...); !bytes.Equal(clean(t, whole), whole) {
		t.Error("a film whose data comes last changed")
	}
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"compressed":               {buildFilm("", mkbox("cmov", []byte("zlib"))), ErrUnsupported},
		"metadata in fragments":    {buildFilm("meta", mkbox("mvex")), ErrUnsupported},
		"samples that are no data": {early, ErrMalformed},
		"more samples than sizes":  {bytes.ReplaceAll(file, be32(1, 1, 2, 1), be32(1, 1, 99, 1)), ErrMalformed},
		"no data":                  {streamed, ErrMalformed},
		"data in free space":       {append(bytes.Clone(streamed), mkbox("free", videoSamples)...), ErrMalformed},
		"no movie":                 {mkbox("ftyp", []byte("isom\x00\x00\x02\x00")), ErrMalformed},
	} {
		if bytes.Equal(c.file, file) {
			t.Fatalf("%s: the fixture did not change", name)
		}
		if _, err := Clean(c.file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
