package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// bySortedMaps recomputes a hash as an auditor would, by other code than the
// gateway's: encoding/json sorts the members of maps.
func bySortedMaps(t testing.TB, e Entry) string {
	t.Helper()
	b, err := EncodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	delete(m, "hash")
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		t.Fatal(err)
	}
	// encoding/json escapes these two whatever it is told.
	s := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(out.String())
	sum := sha256.Sum256([]byte(strings.TrimSuffix(s, "\n")))
	return hex.EncodeToString(sum[:])
}

// chainOf is a ledger of n entries.
func chainOf(t testing.TB, n int) []Entry {
	t.Helper()
	var s State
	var entries []Entry
	for i := range n {
		event := []byte(`{"grants":[{"purpose":"media.geotag","status":"granted"}],"policy_version":"2022-03-09"}`)
		e, err := appendEntry(&s, "AAAAAAAAAAAAAAAAAAAAAA", EntryDecision, "2022-03-09", event, time.Unix(1e9+int64(i), 5e6))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestTheHashIsThatOfTheCanonicalEntry(t *testing.T) {
	e := chainOf(t, 2)[1]
	const canonical = `{"at":"2001-09-09T01:46:41.005Z",` +
		`"event":{"grants":[{"purpose":"media.geotag","status":"granted"}],"policy_version":"2022-03-09"},` +
		`"policy_version":"2022-03-09","prev":"PREV","seq":2,"subject":"AAAAAAAAAAAAAAAAAAAAAA","type":"decision"}`
	sum := sha256.Sum256([]byte(strings.Replace(canonical, "PREV", e.Prev, 1)))
	if want := hex.EncodeToString(sum[:]); e.Hash != want {
		t.Errorf("hash %s, want %s", e.Hash, want)
	}
	if got := bySortedMaps(t, e); e.Hash != got {
		t.Errorf("hash %s, recomputed %s", e.Hash, got)
	}
	// Computed by the lines of Python in Entry's documentation. It must never
	// change: ledgers outlive programs.
	if e.Hash != "26f5ea6320e377bf00324794040bb32f0cb86b50dfee98bbbc9dd003e7c9a192" {
		t.Errorf("the hash of a known entry is now %s", e.Hash)
	}
}

func TestAnEntryDecodesToWhatWasEncoded(t *testing.T) {
	for _, e := range chainOf(t, 3) {
		b, err := EncodeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeEntry(b); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %+v, %v", got, err)
		}
		// As the API serves it, and as an auditor may have laid it out.
		var laidOut bytes.Buffer
		if b, err = json.Marshal(e); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&laidOut, b, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeEntry(laidOut.Bytes()); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("laid out: got %+v, %v", got, err)
		}
	}
}

func TestADamagedEntryIsAnError(t *testing.T) {
	b, err := EncodeEntry(chainOf(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	whole := string(b)
	for name, in := range map[string]string{
		"nothing":                  "",
		"null":                     "null",
		"cut short":                whole[:len(whole)-1],
		"two of them":              whole + whole,
		"another answer":           strings.Replace(whole, "granted", "denied", 1),
		"another time":             strings.Replace(whole, "2001", "2002", 1),
		"the time in another zone": strings.Replace(whole, "01:46:40.005Z", "02:46:40.005+01:00", 1),
		"a member too many":        strings.Replace(whole, `"prev"`, `"more":1,"prev"`, 1),
		"a member twice":           strings.Replace(whole, `"prev":""`, `"prev":"","prev":""`, 1),
		"a member of another type": strings.Replace(whole, `"seq":1`, `"seq":"1"`, 1),
		"a number too large":       strings.Replace(whole, `"seq":1`, `"seq":9007199254740993`, 1),
		"no hash":                  strings.Replace(whole, `"hash"`, `"hush"`, 1),
		"no subject":               strings.Replace(whole, `"subject":"AAAAAAAAAAAAAAAAAAAAAA",`, ``, 1),
	} {
		if e, err := DecodeEntry([]byte(in)); !errors.Is(err, ErrCorrupt) || !reflect.DeepEqual(e, Entry{}) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestVerifyChainSaysWhereItBreaks(t *testing.T) {
	rehash := func(e *Entry) { e.Hash, _ = e.computeHash() }
	for _, test := range []struct {
		name   string
		tamper func(c []Entry) []Entry
		want   string // empty: unbroken
	}{
		{"nothing", func(c []Entry) []Entry { return nil }, ""},
		{"a whole ledger", func(c []Entry) []Entry { return c }, ""},
		{"a page from the middle", func(c []Entry) []Entry { return c[2:4] }, ""},
		{"an answer changed", func(c []Entry) []Entry { c[2].Event = []byte(`{}`); return c }, "entry 3: its content"},
		{"an answer changed and hashed again", func(c []Entry) []Entry { c[2].Event = []byte(`{}`); rehash(&c[2]); return c }, "entry 4: it does not name"},
		{"an entry taken out", func(c []Entry) []Entry { return append(c[:2:2], c[3:]...) }, "entry 4: it follows entry 2"},
		{"an entry twice", func(c []Entry) []Entry { return append(c[:2:2], c[1:]...) }, "entry 2: it follows entry 2"},
		{"the first taken out and the second put in its place", func(c []Entry) []Entry {
			c = c[1:]
			c[0].Seq = 1
			rehash(&c[0])
			return c
		}, "entry 1: it is the first"},
		{"a later entry without one before it", func(c []Entry) []Entry { c = c[1:]; c[0].Prev = ""; rehash(&c[0]); return c }, "entry 2: it names none"},
		{"another subject's entry", func(c []Entry) []Entry { c[4].Subject = "B"; rehash(&c[4]); return c }, "entry 5: it is of another subject"},
		{"no hash at all", func(c []Entry) []Entry { c[0].Hash = ""; return c }, "entry 1: its content"},
	} {
		err := VerifyChain(test.tamper(chainOf(t, 5)))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	b, _ := EncodeEntry(chainOf(f, 1)[0])
	f.Add(b)
	f.Add([]byte(`{"at":"2001-09-09T01:46:40Z","event":{},"hash":"","policy_version":"","prev":"","seq":1,"subject":"","type":""}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := DecodeEntry(in)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) || !reflect.DeepEqual(e, Entry{}) {
				t.Fatalf("%+v, %v", e, err)
			}
			return
		}
		out, err := EncodeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeEntry(out); err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%s: %+v, %v", out, again, err)
		}
	})
}
