package deid

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestPseudonymsKeepTheShapeOfIdentifiers(t *testing.T) {
	tr := make1(t, "pseudonym")
	for _, x := range []struct{ says, in, shape string }{
		{"a UUID", "6d92078a-8246-4ba4-ae5b-76104861e7dc", `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		{"a UUID in upper case", "6D92078A-8246-4BA4-AE5B-76104861E7DC", `^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`},
		{"a UUID with a time in it becomes one without", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		{"16 hex digits, an Android id", "a3f5c1d2e4b60718", `^[0-9a-f]{16}$`},
		{"32 hex digits, an MD5", "0CC175B9C0F1B6A831C399E269772661", `^[0-9A-F]{32}$`},
		{"40 hex digits, a SHA-1", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", `^[0-9a-f]{40}$`},
		{"64 hex digits, a SHA-256", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", `^[0-9a-f]{64}$`},
		{"a MAC address", "3c:5a:b4:01:02:03", `^[0-9a-f][26ae](:[0-9a-f]{2}){5}$`},
		{"a MAC address with hyphens", "3C-5A-B4-01-02-03", `^[0-9A-F][26AE](-[0-9A-F]{2}){5}$`},
		{"a phone number", "13812345678", `^[A-Za-z0-9_-]{22}$`},
		{"an address of mail", "zhang@example.cn", `^[A-Za-z0-9_-]{22}$`},
		{"a MAC address with mixed separators is a text", "3c:5a:b4-01:02:03", `^[A-Za-z0-9_-]{22}$`},
		{"a UUID with other separators is a text", "6d92078a:8246:4ba4:ae5b:76104861e7dc", `^[A-Za-z0-9_-]{22}$`},
		{"36 other characters are a text", strings.Repeat("x", 36), `^[A-Za-z0-9_-]{22}$`},
		{"a long text", strings.Repeat("长", 1<<18), `^[A-Za-z0-9_-]{22}$`},
	} {
		t.Run(x.says, func(t *testing.T) {
			out, now := apply(t, tr, x.in, payload.String)
			if !regexp.MustCompile(x.shape).MatchString(out) || now != payload.String || out == x.in {
				t.Errorf("%.80q became %q of kind %d", x.in, out, now)
			}
		})
	}
}

// Without the version and variant of RFC 9562, none are set: over many values,
// other ones turn up.
func TestUUIDsWithoutAVersionGetNone(t *testing.T) {
	tr, versions := make1(t, "pseudonym"), map[byte]bool{}
	for i := range 200 {
		in := "6d92078a-8246-0ba4-ae5b-7610486" + strconv.Itoa(10000+i)
		out, _ := apply(t, tr, in, payload.String)
		versions[out[14]] = true
	}
	if len(versions) != 16 {
		t.Errorf("versions are %v", versions)
	}
}

func TestPseudonymsOfNumbersAreNumbersThatADoubleHolds(t *testing.T) {
	tr := make1(t, "pseudonym")
	for _, in := range []string{"1", "-17", "860123456789012", "18446744073709551615", "1.5", strings.Repeat("9", 1000)} {
		out, now := apply(t, tr, in, payload.Number)
		f, err := strconv.ParseFloat(out, 64)
		back, _ := json.Marshal(f)
		if now != payload.Number || err != nil || len(out) != 15 || out[0] == '0' || string(back) != out {
			t.Errorf("%.40s became %q of kind %d", in, out, now)
		}
	}
}

func TestSpellingsOfOneIdentifierHaveOnePseudonym(t *testing.T) {
	tr := make1(t, "pseudonym")
	for _, x := range []struct {
		a, b string
		kind payload.Kind
	}{
		{"6d92078a-8246-4ba4-ae5b-76104861e7dc", "6D92078A-8246-4BA4-AE5B-76104861E7DC", payload.String},
		{"6d92078a-8246-4ba4-ae5b-76104861e7dc", "6d92078A-8246-4ba4-ae5b-76104861e7dc", payload.String},
		{"a3f5c1d2e4b60718", "A3F5C1D2E4B60718", payload.String},
		{"3c:5a:b4:01:02:03", "3C-5A-B4-01-02-03", payload.String},
		{"860123456789012", "8.60123456789012E14", payload.Number},
		{"860123456789012", "860123456789012.0", payload.Number},
	} {
		a, _ := apply(t, tr, x.a, x.kind)
		b, _ := apply(t, tr, x.b, x.kind)
		if a == unfit || !strings.EqualFold(strings.ReplaceAll(a, ":", "-"), b) {
			t.Errorf("%s became %s, %s became %s", x.a, a, x.b, b)
		}
	}
	a, _ := apply(t, tr, "zhang", payload.String)
	b, _ := apply(t, tr, "Zhang", payload.String)
	if a == b {
		t.Error("the case of other texts is part of them")
	}
}

func TestPseudonymsOfDifferentSpacesCannotBeJoined(t *testing.T) {
	const id = "13812345678"
	pseudonym := func(use string, env Env, key string) string {
		tr, err := newFromYAML(t, use, env)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := applyWith(t, tr, id, payload.String, &payload.Params{Key: []byte(key)})
		return out
	}
	joined := "{pseudonym: {join: phone}}"
	seen := map[string]string{}
	for what, out := range map[string]string{
		"one":                          pseudonym("pseudonym", Env{"adx", "identity.phone"}, "k1"),
		"another category":             pseudonym("pseudonym", Env{"adx", "account.name"}, "k1"),
		"another recipient":            pseudonym("pseudonym", Env{"dsp", "identity.phone"}, "k1"),
		"another subject":              pseudonym("pseudonym", Env{"adx", "identity.phone"}, "k2"),
		"names that run together":      pseudonym("pseudonym", Env{"adxi", "dentity.phone"}, "k1"),
		"a join":                       pseudonym(joined, Env{"adx", "identity.phone"}, "k1"),
		"a category named as a join":   pseudonym("pseudonym", Env{"adx", "phone"}, "k1"),
		"another recipient's join":     pseudonym(joined, Env{"dsp", "identity.phone"}, "k1"),
		"a long key":                   pseudonym("pseudonym", Env{"adx", "identity.phone"}, strings.Repeat("k", 65)),
		"a key with the same 64 bytes": pseudonym("pseudonym", Env{"adx", "identity.phone"}, strings.Repeat("k", 64)),
	} {
		if other, found := seen[out]; found {
			t.Errorf("%s and %s have the same pseudonym %s", what, other, out)
		}
		seen[out] = what
	}
	if a, b := pseudonym(joined, Env{"adx", "identity.phone"}, "k1"), pseudonym(joined, Env{"adx", "account.name"}, "k1"); a != b {
		t.Errorf("what the policy joins got %s and %s", a, b)
	}
}

func TestWithoutAKeyThereIsNoPseudonym(t *testing.T) {
	tr := make1(t, "pseudonym")
	for _, p := range []*payload.Params{nil, {}, {Key: []byte{}}} {
		for _, kind := range []payload.Kind{payload.String, payload.Number} {
			if out, _ := applyWith(t, tr, "860123456789012", kind, p); out != unfit {
				t.Errorf("got %q", out)
			}
		}
	}
}

func TestWhatStandsForNoIdentifierGetsNoPseudonym(t *testing.T) {
	tr := make1(t, "pseudonym")
	for _, in := range []string{
		"", "0", "000000000000000", "null", "NULL", "(null)", "unknown", "undefined", "none", "-1",
		"00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff", "0000000000000000",
		strings.Repeat("0", 64), "00:00:00:00:00:00", "FF-FF-FF-FF-FF-FF", "02:00:00:00:00:00",
		"9774d56d682e549c", "9774D56D682E549C",
		"d41d8cd98f00b204e9800998ecf8427e", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		if out, _ := apply(t, tr, in, payload.String); out != unfit {
			t.Errorf("%q became %q", in, out)
		}
	}
	for _, in := range []string{"0", "-0.0", "0e7", "-1"} {
		if out, _ := apply(t, tr, in, payload.Number); out != unfit {
			t.Errorf("%s became %q", in, out)
		}
	}
	for _, in := range []string{"a", "00", "01", "11111111111"} {
		out, _ := apply(t, tr, in, payload.String)
		if want := strings.Trim(in, "0") == ""; (out == unfit) != want {
			t.Errorf("%q became %q", in, out)
		}
	}
}

// The mill's HMAC is that of the standard library.
func TestPseudonymIsHMAC(t *testing.T) {
	tr := make1(t, "pseudonym").(pseudonym)
	for _, n := range []int{1, 32, 63, 64, 65, 200} {
		key := bytes.Repeat([]byte{'k'}, n)
		mac := hmac.New(sha256.New, key)
		mac.Write(tr.space[:])
		mac.Write([]byte("s" + "13812345678"))
		want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
		if got, _ := applyWith(t, tr, "13812345678", payload.String, &payload.Params{Key: key}); got != want {
			t.Errorf("with a key of %d bytes: %s, want %s", n, got, want)
		}
	}
}

// Partners keep pseudonyms, so a release must not change them by accident.
func TestPseudonymsStayTheSameFromReleaseToRelease(t *testing.T) {
	tr := make1(t, "pseudonym")
	for in, want := range map[string]string{
		"6D92078A-8246-4BA4-AE5B-76104861E7DC": "E517151C-36FE-4B1E-BF96-5DA6D34DFA7E",
		"a3f5c1d2e4b60718":                     "8b143a3fe8f76b5a",
		"3c:5a:b4:01:02:03":                    "aa:6b:e3:45:eb:a8",
		"13812345678":                          "ts-OrYT-As70dRG9TGdxKQ",
	} {
		if got, _ := apply(t, tr, in, payload.String); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got, _ := apply(t, tr, "860123456789012", payload.Number); got != "930760906146211" {
		t.Errorf("number: got %q", got)
	}
}

func TestManyGoroutinesMayMakePseudonyms(t *testing.T) {
	tr := make1(t, "pseudonym")
	var wg sync.WaitGroup
	for i := range 8 {
		id := "1381234567" + strconv.Itoa(i)
		want, _ := apply(t, tr, id, payload.String)
		wg.Go(func() {
			for range 200 {
				if out, _, _ := tr.Append(nil, []byte(id), payload.String, &testParams); string(out) != want {
					t.Errorf("%s became %s, and alone %s", id, out, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestPseudonymsAllocateNothing(t *testing.T) {
	tr := make1(t, "pseudonym")
	dst := make([]byte, 0, 128)
	for _, in := range []string{"6D92078A-8246-4BA4-AE5B-76104861E7DC", "13812345678", "3c:5a:b4:01:02:03"} {
		text := []byte(in)
		// Under the race detector a pool forgets at random.
		if n := testing.AllocsPerRun(1000, func() { tr.Append(dst, text, payload.String, &testParams) }); n > 2 {
			t.Errorf("%s: %v allocations", in, n)
		}
	}
}

func TestSubjectKeysAreDerivedByHKDF(t *testing.T) {
	root, salt := []byte("root secret of 32 bytes or longer"), []byte("salt")
	key := SubjectKey(root, "adx", 7, salt)
	// RFC 5869 by hand: extract, then one block of expand.
	extract := hmac.New(sha256.New, salt)
	extract.Write(root)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write([]byte("consentgate deid subject key v1\x00\x00\x00\x00\x07adx\x01"))
	if want := expand.Sum(nil); !bytes.Equal(key, want) {
		t.Errorf("got %s, want %s", hex.EncodeToString(key), hex.EncodeToString(want))
	}
	for what, other := range map[string][]byte{
		"root":      SubjectKey([]byte("another root"), "adx", 7, salt),
		"recipient": SubjectKey(root, "dsp", 7, salt),
		"per value": SubjectKey(root, "adx:1", 7, salt),
		"epoch":     SubjectKey(root, "adx", 8, salt),
		"salt":      SubjectKey(root, "adx", 7, []byte("pepper")),
	} {
		if len(other) != 32 || bytes.Equal(key, other) {
			t.Errorf("another %s gives %x", what, other)
		}
	}
}

func TestWithoutRootRecipientOrSaltThereIsNoKey(t *testing.T) {
	some := []byte("x")
	for _, key := range [][]byte{SubjectKey(nil, "adx", 1, some), SubjectKey(some, "", 1, some), SubjectKey(some, "adx", 1, nil), SubjectKey(some, "adx", 1, []byte{})} {
		if key != nil {
			t.Errorf("got %x", key)
		}
	}
}

func FuzzPseudonym(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	tr := make1(f, "pseudonym")
	f.Fuzz(func(t *testing.T, s string) {
		out, _ := apply(t, tr, s, payload.String)
		if out == unfit {
			return
		}
		if len(s) >= 6 && strings.Contains(strings.ToLower(out), strings.ToLower(s)) {
			t.Fatalf("%q became %q", s, out)
		}
		if len(out) != 22 && len(out) != len(s) {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

func BenchmarkPseudonym(b *testing.B) {
	tr := make1(b, "pseudonym")
	for _, in := range []string{"6D92078A-8246-4BA4-AE5B-76104861E7DC", "a3f5c1d2e4b60718", "3c:5a:b4:01:02:03", "13812345678"} {
		b.Run(in, func(b *testing.B) { benchmark(b, tr, []byte(in)) })
	}
}

func BenchmarkSubjectKey(b *testing.B) {
	root, salt := make([]byte, 32), make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		SubjectKey(root, "adx", 1, salt)
	}
}
