package codec

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestBase64(t *testing.T) {
	gz := string(mustEncode(t, Gzip, sample))
	std := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	raw := func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }
	url := func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }
	urlRaw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	const high = `{"a":"~~~???>>>"}` // uses the characters that differ
	if !strings.ContainsAny(std(high), "+/") || len(high)%3 == 0 {
		t.Fatal("the sample does not tell the spellings apart")
	}
	lines := std(sample)[:76] + "\r\n" + std(sample)[76:] + "\r\n"
	for _, tt := range []struct {
		name, text string
		want       Base64
		decoded    string
	}{
		{"JSON", std(sample), Std, sample},
		{"an array", std(`[1,2,3]`), Std, `[1,2,3]`},
		{"JSON after white space", std(" \r\n\t" + sample), Std, " \r\n\t" + sample},
		{"JSON after much white space", std(strings.Repeat(" ", 99) + sample), Std, strings.Repeat(" ", 99) + sample},
		{"JSON after a byte order mark", std("\ufeff{}{}"), Std, "\ufeff{}{}"},
		{"JSON in GBK", std("{ \"\xd0\xd5\xc3\xfb\":1}"), Std, "{ \"\xd0\xd5\xc3\xfb\":1}"},
		{"an array in GBK", std("[[\"\xd0\xd5\xc3\xfb\"]]"), Std, "[[\"\xd0\xd5\xc3\xfb\"]]"},
		{"gzip", std(gz), Std, gz},
		{"zlib", std(string(mustEncode(t, Deflate, sample))), Std, string(mustEncode(t, Deflate, sample))},
		{"zstd", std(string(mustEncode(t, Zstd, sample))), Std, string(mustEncode(t, Zstd, sample))},
		{"text", std("13800138000"), Std, "13800138000"},
		{"Chinese text", std("北京市海淀区中关村"), Std, "北京市海淀区中关村"},
		{"text whose head ends within a character", std("a北京市海淀区"), Std, "a北京市海淀区"},
		{"text whose head ends within another", std("ab北京市海淀区"), Std, "ab北京市海淀区"},
		{"a JPEG", std("\xff\xd8\xff\xe0\x00\x10JFIF"), Std, "\xff\xd8\xff\xe0\x00\x10JFIF"},
		{"a HEIF image", std("\x00\x00\x00\x18ftypheic"), Std, "\x00\x00\x00\x18ftypheic"},
		{"the alphabets: std", std(high), Std, high},
		{"the alphabets: raw std", raw(high), StdRaw, high},
		{"the alphabets: URL", url(high), URL, high},
		{"the alphabets: raw URL", urlRaw(high), URLRaw, high},
		{"nothing tells the alphabet, unpadded", urlRaw(`{"a":1}`), URLRaw, `{"a":1}`},
		{"nothing tells the alphabet, no padding needed", std(`{"a":12}x`), Std, `{"a":12}x`},
		{"both alphabets", strings.Replace(std(high), "/", "_", 1), Std, high},
		{"a form made spaces of +", strings.ReplaceAll(std(high), "+", " "), Std, high},
		{"a space at the end that was a +", "e30gICAgICA ", Std, "{}      >"},
		{"lines", lines, Std, sample},
		{"spaces and tabs around", "  " + std(sample) + " \t\n", Std, sample},
		{"too much padding", std(`{"a":1}`) + "==", Std, `{"a":1}`},
		{"too little padding", strings.TrimSuffix(std(`{"a":1}`), "="), Std, `{"a":1}`},
		{"bits left over", "eyJhIjoxfR==", Std, `{"a":1}`},
		{"a character left over", "eyJhIjoxfSA9A", URLRaw, `{"a":1} =`},
	} {
		b, ok := SniffBase64([]byte(tt.text))
		if !ok || b != tt.want {
			t.Errorf("%s: %q: %d, %v, want %d", tt.name, tt.text, b, ok, tt.want)
			continue
		}
		got, err := b.Decode([]byte("kept "), []byte(tt.text))
		if err != nil || string(got) != "kept "+tt.decoded {
			t.Errorf("%s: %q: %q, %v, want %q", tt.name, tt.text, got, err, tt.decoded)
		}
	}
}

func TestSniffBase64OfWhatIsNot(t *testing.T) {
	for _, text := range []string{
		"", "a", "abcd", "MTIz", "========", "        ", "\n\n\n\n\n\n\n\n\n",
		"username", "https://example.com/a?b=c", sample, "hello world, this is text",
		"2024-01-02T03:04:05Z", "8d777f385d3dfec8815d20f7496026dc", "860123456789012",
		"550e8400-e29b-41d4-a716-446655440000", "d41d8cd9_8f00-b204e9800998ecf8",
		base64.StdEncoding.EncodeToString([]byte(sample)) + ";",
		"data:image/png;base64,iVBORw0KGgo=",
		base64.StdEncoding.EncodeToString([]byte("\x08\x96\x01\x12\x07testing")), // protobuf
		base64.StdEncoding.EncodeToString([]byte("{\x80\x01\xff\x00\x07abcd")),   // random, but for its first byte
		"a\x00b\x00c\x00d\x00", "北京市海淀区",
	} {
		if b, ok := SniffBase64([]byte(text)); ok {
			got, _ := b.Decode(nil, []byte(text))
			t.Errorf("%q passes for base64 of %q", text, got)
		}
	}
}

// What looks like base64 and is none to its end is not passed off as read.
func TestBase64DecodeErrors(t *testing.T) {
	for _, text := range []string{
		"eyJhIjoxfQ==eyJhIjoxfQ==", "eyJhIjox=A==", "eyJh!joxfQ==", "=eyJhIjoxfQ",
	} {
		if got, err := Std.Decode([]byte("kept"), []byte(text)); !errors.Is(err, ErrBase64) || string(got) != "kept" {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, ok := SniffBase64([]byte("eyJhIjoxfQ==eyJhIjoxfQ==")); !ok {
		t.Error("what follows padding hides the base64 before it")
	}
}

// TestMayBegin: what is worth decoding is never passed over by its first two
// characters.
func TestMayBegin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_ =\r\n\t.{"
	heads := append([]string{"\x1f\x8b\x08", "x\x9c\xed", "\x28\xb5\x2f\xfd", "\x5a\x2a\x4d\x18", "\x00\x00\x00\x18ftypavif", "值", "\ufeff{\"", "[{", " {}"}, imageHeads[:]...)
	worth := 0
	for range 200_000 {
		text := make([]byte, minBase64+r.IntN(20))
		for i := range text {
			text[i] = letters[r.IntN(len(letters))]
		}
		if r.IntN(2) == 0 {
			made := append([]byte(heads[r.IntN(len(heads))]), text...)
			text = Base64(r.IntN(len(base64Encodings))).Encode(nil, made[:6+r.IntN(len(made)-5)])
			for range r.IntN(3) {
				text = slices.Insert(text, r.IntN(len(text)), "\r\n\t"[r.IntN(3)])
			}
		}
		if worthDecoding(text) {
			worth++
			if !mayBegin(text) {
				t.Fatalf("%q is passed over", text)
			}
		}
	}
	if worth < 50_000 {
		t.Errorf("only %d texts were worth decoding", worth)
	}
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{sample, "13800138000", "\xff\xd8\xff\xe0abcdefgh", strings.Repeat("~?>", 30)} {
		for b := range Base64(4) {
			f.Add(b.Encode(nil, []byte(s)))
		}
	}
	f.Add([]byte(" eyJh IjoxfQ== "))
	f.Add([]byte("eyJh\r\nIjoxfQ"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, ok := SniffBase64(text)
		decoded, err := b.Decode(nil, text)
		// What the standard library reads and is worth it must not be missed.
		for _, e := range base64Encodings {
			n, stdErr := e.Decode(make([]byte, len(text)), text)
			if stdErr != nil || n < 6 {
				continue
			}
			want := make([]byte, n)
			if _, stdErr = e.Decode(want, text); stdErr == nil && (err != nil || !bytes.Equal(decoded, want)) {
				t.Fatalf("%q: %q, %v; the standard library reads %q", text, decoded, err, want)
			}
			if !ok && (isJSON(want) || isText(want)) && len(bytes.TrimLeft(want, " \r\n\t")) > 0 {
				t.Fatalf("%q: missed %q", text, want)
			}
		}
		if !ok || err != nil {
			return
		}
		again := b.Encode(nil, decoded)
		back, err := b.Decode(nil, again)
		if err != nil || !bytes.Equal(back, decoded) {
			t.Fatalf("%q as %q: %q, %v, want %q", text, again, back, err, decoded)
		}
	})
}

// Whatever can be encoded is found again in the same spelling.
func FuzzBase64RoundTrip(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("{\"a\":\"~~~???>>>\"}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		src = append([]byte(`{"a":"`), src...)
		for b := range Base64(4) {
			text := b.Encode(nil, src)
			as, ok := SniffBase64(text)
			if !isText(src[:min(len(src), 18)]) {
				continue
			}
			got, err := as.Decode(nil, text)
			if !ok || err != nil || !bytes.Equal(got, src) || !bytes.Equal(as.Encode(nil, got), text) {
				t.Fatalf("%q, spelled %d, is taken for %d (%v): %q, %v", text, b, as, ok, got, err)
			}
		}
	})
}

func BenchmarkBase64(b *testing.B) {
	src := []byte(strings.Repeat(sample, 600))
	text := Std.Encode(nil, src)
	buf := make([]byte, 0, 2*len(src))
	b.Run("Sniff", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			SniffBase64(text)
		}
	})
	b.Run("Sniff/not", func(b *testing.B) {
		for b.Loop() {
			SniffBase64([]byte("8d777f385d3dfec8815d20f7496026dc"))
		}
	})
	b.Run("Decode", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_, _ = Std.Decode(buf, text)
		}
	})
}
