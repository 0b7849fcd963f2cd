package deliver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/outbox"
)

// What a partner gets, in each format, is in testdata/posts.txt.
func TestAPartnerGetsThesePosts(t *testing.T) {
	var out strings.Builder
	for _, f := range []struct {
		name   string
		format Format
		keyed  bool
		gzip   bool
	}{
		{"NDJSON", NDJSON, false, false},
		{"NDJSON, keyed", NDJSON, true, false},
		{"NDJSON, gzip", NDJSON, false, true},
		{"array", Array, false, false},
		{"array, keyed", Array, true, false},
		{"single", Single, false, false},
		{"single, keyed", Single, true, false},
	} {
		inWorld(t, func(w *world) {
			w.partner.Format, w.partner.Keyed, w.partner.Gzip = f.format, f.keyed, f.gzip
			w.partner.URLs = []string{"http://user:pass@partner.test/events?site=7"}
			w.partner.Header = http.Header{"x-partner-id": {"42"}}
			w.serve(func(http.ResponseWriter, posted) int { return 200 })
			w.append("s", `{"id":"a", "n":1.0}`, "{\r\n  \"id\": \"b\",\n  \"text\": \"\\u2028 \\ud800\"\n}")
			w.start()
			w.drain()
			fmt.Fprintf(&out, "# %s\n\n", f.name)
			for _, p := range w.got() {
				fmt.Fprintf(&out, "POST %s\n", p.path)
				for _, name := range slices.Sorted(maps.Keys(p.header)) {
					value := strings.Join(p.header[name], ", ")
					if f.gzip && name == "Content-Length" {
						value = "(that of the compressed body)"
					}
					fmt.Fprintf(&out, "%s: %s\n", name, value)
				}
				fmt.Fprintf(&out, "\n%s\n", p.body)
			}
		})
	}
	golden(t, "testdata/posts.txt", out.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s (%v) is not what came:\n%s", file, err, got)
	}
}

// tricky are JSON texts whose bytes a careless writer would change.
var tricky = []string{
	`"` + "\u2028\u2029" + `"`, `"\u2028"`, `"\ud800"`, `"\udc00\ud800x"`, "\"\xff\xfe\"", `"<>&"`, `"\/"`, `"\u0041"`,
	`1.000000000000000000000000000001`, `1E+2`, `-0`, `123456789012345678901234567890`, `0.10`, `{"a":1,"a":2}`,
	"{\n\"a\" : [ 1 ,\r\n\t2 ]\n}", "\n1\n", "[\r1]", `"a\nb"`, `""`, `{}`, "[\n]", "\"\x7f\"",
}

func TestARecordIsOneLineWhoseValuesAreAsTheyWere(t *testing.T) {
	for _, body := range tricky {
		checkLine(t, []byte(body))
	}
}

func FuzzARecordIsOneLine(f *testing.F) {
	for _, body := range tricky {
		f.Add([]byte(body))
	}
	for _, body := range []string{``, "\n", `{}{}`, "{}\n{}", `1,2`, `]`, `{"a":1`, "nul", "\x00"} {
		f.Add([]byte(body))
	}
	f.Fuzz(checkLine)
}

// checkLine checks a body in each format against what encoding/json makes of it.
func checkLine(t *testing.T, body []byte) {
	for _, p := range []Partner{{}, {Keyed: true}, {Format: Array}, {Format: Array, Keyed: true}, {Format: Single}} {
		e := encoder{p: &p}
		if ok := e.add("k", body); ok != json.Valid(body) {
			t.Fatalf("%q: taken %t", body, ok)
		} else if !ok {
			if e.buf.Len() != 0 {
				t.Fatalf("%q: %q is left of it", body, e.buf.Bytes())
			}
			continue
		}
		got := e.body()
		if p.Format == NDJSON && (bytes.Count(got, []byte("\n")) != 1 || got[len(got)-1] != '\n' || bytes.Contains(got, []byte("\r"))) {
			t.Fatalf("%q is not one line: %q", body, got)
		}
		if p.Format == Array {
			var elements []json.RawMessage
			if err := json.Unmarshal(got, &elements); err != nil || len(elements) != 1 {
				t.Fatalf("%q: %q: %v", body, got, err)
			}
			got = elements[0]
		}
		if p.Keyed {
			var o struct {
				ID     string
				Record json.RawMessage
			}
			if err := json.Unmarshal(got, &o); err != nil || o.ID != "k" {
				t.Fatalf("%q: %q: %v", body, got, err)
			}
			got = o.Record
		}
		if g, w := tokens(got), tokens(body); g != w {
			t.Fatalf("%+v: %q became %q", p, w, g)
		}
	}
}

// tokens takes out what space is between tokens: the independent way.
func tokens(text []byte) string {
	var out []byte
	for inString, escaped, i := false, false, 0; i < len(text); i++ {
		c := text[i]
		if !inString && strings.IndexByte(" \t\r\n", c) >= 0 {
			continue
		}
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		}
	}
	return string(out)
}

func TestWhatIsNoJSONTextIsDeadAndNeverSent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.Format = Array
		w.serve(func(http.ResponseWriter, posted) int { return 200 })
		w.append("s", `1`, `2,3`, `{"a":`, `4`)
		w.start()
		w.drain()
		if got := w.got(); len(got) != 1 || got[0].body != "[1,4]" {
			t.Errorf("%+v", got)
		}
		if dead, _ := w.queue.Dead(t.Context(), "", "", 0); len(dead) != 2 || dead[0].Status != 0 || string(dead[0].Body) != `2,3` {
			t.Errorf("dead: %+v", dead)
		}
	})
}

func TestTheIdempotencyKeyIsThatOfTheKeys(t *testing.T) {
	records := func(keys ...string) (rs []outbox.Record) {
		for _, k := range keys {
			rs = append(rs, outbox.Record{Key: k})
		}
		return rs
	}
	distinct := map[string]string{}
	for _, keys := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "a"}, {"ab"}, {"", "ab"}, {"a", "", "b"}, {`a"`}, {"\n"}, {"é"}} {
		key := idempotencyKey(NDJSON, records(keys...))
		if was, is := distinct[key]; is {
			t.Errorf("%q has the key of %s", keys, was)
		}
		distinct[key] = fmt.Sprint(keys)
		if key != idempotencyKey(Array, records(keys...)) {
			t.Errorf("%q has a key for each call", keys)
		}
		if len(key) != 24 || key[0] != '"' || key[23] != '"' {
			t.Errorf("%q: %s", keys, key)
		}
	}
	if got := idempotencyKey(Single, records("Abc-_~ 9")); got != `"Abc-_~ 9"` {
		t.Errorf("a single record's key is %s", got)
	}
	for _, k := range []string{`a"`, `a\`, "\n", "é", "", strings.Repeat("a", 129)} {
		if got := idempotencyKey(Single, records(k)); got != idempotencyKey(NDJSON, records(k)) {
			t.Errorf("%q: %s", k, got)
		}
	}
}
