package codec

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	stdzlib "compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var compressed = []Encoding{Gzip, Deflate, RawDeflate, Zstd, Brotli}

const sample = `{"batch":[{"userId":"u-1","properties":{"price":12.5,"name":"茶"}},{"userId":"u-2","properties":{"price":12.5}}]}`

func mustEncode(t testing.TB, e Encoding, text string) []byte {
	t.Helper()
	b, err := e.Encode(nil, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseEncodings(t *testing.T) {
	for _, tt := range []struct {
		fields string // separated by |
		want   Encoding
		err    error
	}{
		{"", Identity, nil},
		{"identity", Identity, nil},
		{" , ,identity|", Identity, nil},
		{"gzip", Gzip, nil},
		{"x-gzip", Gzip, nil},
		{" GZip\t", Gzip, nil},
		{"identity, gzip,", Gzip, nil},
		{"identity|gzip", Gzip, nil},
		{"deflate", Deflate, nil},
		{"zstd", Zstd, nil},
		{"br", Brotli, nil},
		{"gzip, gzip", Identity, ErrEncoding},
		{"gzip|br", Identity, ErrEncoding},
		{"compress", Identity, ErrEncoding},
		{"gzip, aws-chunked", Identity, ErrEncoding},
		{"aws-chunked", Identity, ErrEncoding},
		{"gzip;q=1", Identity, ErrEncoding},
		{"gzip gzip", Identity, ErrEncoding},
		{"*", Identity, ErrEncoding},
	} {
		if got, err := ParseEncodings(strings.Split(tt.fields, "|")); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %v, %v, want %v, %v", tt.fields, got, err, tt.want, tt.err)
		}
	}
}

func TestSniffEncoding(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		want       Encoding
	}{
		{"gzip", string(mustEncode(t, Gzip, sample)), Gzip},
		{"zlib", string(mustEncode(t, Deflate, sample)), Deflate},
		{"zstd", string(mustEncode(t, Zstd, sample)), Zstd},
		{"a skippable zstd frame", "\x5a\x2a\x4d\x18\x00\x00\x00\x00", Zstd},
		{"zlib of another level", "x\x01\x01", Deflate},
		{"zlib with a wrong checksum", "x\x9d\x01", Identity},
		{"zlib with a dictionary", "x\xbb\x01", Identity},
		{"zlib with no such block", "x\x9c\x07", Identity},
		{"gzip with no such method", "\x1f\x8b\x07", Identity},
		{"cut off", "\x1f\x8b", Identity},
		{"nothing", "", Identity},
		{"JSON", sample, Identity},
		{"brotli", string(mustEncode(t, Brotli, sample)), Identity},
	} {
		if got := SniffEncoding([]byte(tt.head)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEncodingRoundTrip(t *testing.T) {
	for _, e := range append(compressed, Identity) {
		for _, text := range []string{"", "x", sample, strings.Repeat(sample, 20_000)} {
			b, err := e.Encode([]byte("before "), []byte(text))
			if err != nil || !bytes.HasPrefix(b, []byte("before ")) {
				t.Fatalf("%v: %v", e, err)
			}
			b = b[len("before "):]
			if len(text) > 100_000 && e != Identity && len(b) > len(text)/10 {
				t.Errorf("%v: %d bytes became %d", e, len(text), len(b))
			}
			got, err := e.Decode([]byte("kept "), b, len(text))
			if err != nil || string(got) != "kept "+text {
				t.Errorf("%v: %d bytes did not come back: %v", e, len(text), err)
			}
			if got, err := e.Decode([]byte("kept "), b, math.MaxInt); err != nil || string(got) != "kept "+text {
				t.Errorf("%v: without a limit: %v", e, err)
			}
			if text == "" {
				continue
			}
			if got, err := e.Decode([]byte("kept "), b, len(text)-1); !errors.Is(err, ErrTooLarge) || string(got) != "kept " {
				t.Errorf("%v: one byte over the limit: %q, %v", e, got, err)
			}
		}
	}
	if _, err := encodings.Encode(nil, nil); !errors.Is(err, ErrEncoding) {
		t.Error("an unknown encoding encodes")
	}
	if _, err := encodings.Decode(nil, nil, 1); !errors.Is(err, ErrEncoding) {
		t.Error("an unknown encoding decodes")
	}
}

// What is written here is what another implementation reads.
func TestEncodeForOthers(t *testing.T) {
	readers := map[Encoding]func(io.Reader) (io.Reader, error){
		Gzip:       func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
		Deflate:    func(r io.Reader) (io.Reader, error) { return stdzlib.NewReader(r) },
		RawDeflate: func(r io.Reader) (io.Reader, error) { return stdflate.NewReader(r), nil },
	}
	for e, open := range readers {
		r, err := open(bytes.NewReader(mustEncode(t, e, sample)))
		if err != nil {
			t.Fatal(e, err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != sample {
			t.Errorf("%v: %q, %v", e, got, err)
		}
	}
}

func TestRawDeflate(t *testing.T) {
	raw, zlib := mustEncode(t, RawDeflate, sample), mustEncode(t, Deflate, sample)
	for _, b := range [][]byte{raw, zlib} {
		if got, err := Deflate.Decode(nil, b, 1000); err != nil || string(got) != sample {
			t.Errorf("Deflate: %q, %v", got, err)
		}
	}
	if Deflate.As(raw) != RawDeflate || Deflate.As(zlib) != Deflate || Gzip.As(raw) != Gzip {
		t.Error("As does not tell raw deflate from zlib")
	}
	if _, err := RawDeflate.Decode(nil, zlib, 1000); !errors.Is(err, ErrCorrupt) {
		t.Errorf("RawDeflate reads zlib: %v", err)
	}
}

func TestDecodeRefusesWhatIsNotWhole(t *testing.T) {
	for _, e := range compressed {
		whole := mustEncode(t, e, sample)
		for n := range whole {
			if got, err := e.Decode([]byte("kept"), whole[:n], 1000); !errors.Is(err, ErrCorrupt) || string(got) != "kept" {
				t.Errorf("%v: the first %d of %d bytes: %q, %v", e, n, len(whole), got, err)
			}
		}
		for _, tail := range []string{"\x00", "x", "xy", "xyz", "trailing", strings.Repeat("\x00", 9000)} {
			if _, err := e.Decode(nil, append(bytes.Clone(whole), tail...), 1000); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v: followed by %d bytes: %v", e, len(tail), err)
			}
		}
		if got, err := e.Decode(nil, whole, 1000); err != nil || string(got) != sample {
			t.Errorf("%v: after all these: %q, %v", e, got, err)
		}
	}
}

func TestDecodeFindsDamage(t *testing.T) {
	for _, e := range []Encoding{Gzip, Deflate, Zstd} { // those with a checksum
		whole := mustEncode(t, e, sample)
		for n := range whole {
			b := bytes.Clone(whole)
			b[n] ^= 0x10
			if got, err := e.Decode(nil, b, 1000); err == nil && string(got) != sample {
				t.Errorf("%v: byte %d damaged: %q", e, n, got)
			}
		}
	}
}

func TestDecodeSeveralMembers(t *testing.T) {
	for _, e := range []Encoding{Gzip, Zstd} {
		b := append(mustEncode(t, e, "one,"), mustEncode(t, e, "two")...)
		if got, err := e.Decode(nil, b, 7); err != nil || string(got) != "one,two" {
			t.Errorf("%v: %q, %v", e, got, err)
		}
		if _, err := e.Decode(nil, b, 6); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: over the limit in the second: %v", e, err)
		}
	}
	for _, e := range []Encoding{Deflate, RawDeflate, Brotli} {
		b := append(mustEncode(t, e, "one,"), mustEncode(t, e, "two")...)
		if _, err := e.Decode(nil, b, 1000); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v has no second member: %v", e, err)
		}
	}
}

func TestDecodeSkipsWhatIsNoText(t *testing.T) {
	var b bytes.Buffer
	w := stdgzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "zhang.json", "imei 860123456789012", []byte("x")
	_, _ = io.WriteString(w, sample)
	_ = w.Close()
	if got, err := Gzip.Decode(nil, b.Bytes(), 1000); err != nil || string(got) != sample {
		t.Errorf("a gzip header with everything: %q, %v", got, err)
	}
	frame := append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00imei"), mustEncode(t, Zstd, sample)...)
	if got, err := Zstd.Decode(nil, frame, 1000); err != nil || string(got) != sample {
		t.Errorf("a skippable zstd frame: %q, %v", got, err)
	}
}

func TestZstdBounds(t *testing.T) {
	for _, tt := range []struct {
		name string
		opt  zstd.EOption
		want error
	}{
		{"a window of 8 MiB", zstd.WithWindowSize(8 << 20), nil},
		{"a window of 16 MiB", zstd.WithWindowSize(16 << 20), ErrCorrupt},
		{"a dictionary", zstd.WithEncoderDictRaw(7, []byte(strings.Repeat(sample, 3))), ErrCorrupt},
	} {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, tt.opt, zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		// Written in two, so that the frame does not say how long the text is.
		_, _ = io.WriteString(w, sample)
		_ = w.Flush()
		_, _ = io.WriteString(w, sample)
		_ = w.Close()
		if _, err := Zstd.Decode(nil, b.Bytes(), 1000); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// bomb returns the beginning of 1 GiB of zeros, encoded: all but the end, which
// must not be reached. A MiB that follows another of the same is encoded as that
// one was, so that one is made and repeated.
func bomb(t *testing.T, e Encoding) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := e.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	start := 0
	for range 3 {
		start = b.Len()
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	out := bytes.Clone(b.Bytes())
	return append(out, bytes.Repeat(out[start:], 1<<10-3)...)
}

func TestDecompressionBomb(t *testing.T) {
	const limit = 1 << 20
	for _, e := range compressed {
		t.Run(e.String(), func(t *testing.T) {
			b := bomb(t, e)
			r, err := e.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.CopyN(io.Discard, r, 16*limit); err != nil { // the whole takes long under the race detector
				t.Fatalf("no bomb: %v after %d bytes", err, n)
			}
			_ = r.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = e.Decode(nil, b, limit)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%d bytes of a bomb: %v", len(b), err)
			}
			// The output doubles up to the limit; the rest is the window of a
			// decoder that the pool may have let go.
			used := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes that decode to 1 GiB: %d bytes allocated", len(b), used)
			if used > 4*limit+2*maxWindow {
				t.Errorf("allocated %d bytes for a limit of %d", used, limit)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range compressed {
		f.Add(uint8(e), mustEncode(f, e, sample))
	}
	f.Fuzz(func(t *testing.T, n uint8, src []byte) {
		e := Encoding(n % uint8(encodings))
		const limit = 1 << 16
		got, err := e.Decode(nil, src, limit)
		if err != nil {
			if got != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%v: %d bytes and %v", e, len(got), err)
			}
			return
		}
		if len(got) > limit {
			t.Fatalf("%v: %d bytes over the limit", e, len(got))
		}
		again, err := e.Encode(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := e.Decode(nil, again, limit); err != nil || !bytes.Equal(back, got) {
			t.Fatalf("%v: does not come back: %v", e, err)
		}
	})
}

// events returns about n bytes of events that differ as those of real clients
// do.
func events(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := []byte("[")
	for len(b) < n {
		b = fmt.Appendf(b, `{"distinct_id":"%016x","time":%d,"type":"track","event":"view_%d","properties":{"$os":"Android","$screen_width":%d,"price":%.2f,"title":"商品 %d"}},`,
			random.Uint64(), 1_700_000_000_000+random.Int64N(1e9), random.IntN(40), 720+random.IntN(4)*360, random.Float64()*100, random.IntN(1e6))
	}
	b[len(b)-1] = ']'
	return b
}

func BenchmarkEncoding(b *testing.B) {
	text := events(64 << 10)
	for _, e := range []Encoding{Gzip, Deflate, Zstd, Brotli} {
		encoded, err := e.Encode(nil, text)
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 0, 2*len(text))
		b.Run("Decode/"+e.String(), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = e.Decode(buf, encoded, len(text))
			}
		})
		b.Run("Encode/"+e.String(), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = e.Encode(buf, text)
			}
			b.ReportMetric(float64(len(text))/float64(len(encoded)), "ratio")
		})
	}
}
