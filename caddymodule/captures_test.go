package caddymodule

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

// planted are the values that the recorded clients sent.
var planted = []string{
	"356938035643809", "9f89c84a559f573636a47ff8daed0d33", "6D92078A-8246-4BA4-AE5B-76104861E7DC", "9774d56d682e549c",
	"02:00:5e:10:00:01", "13800138000", "user@example.com", "23.12911", "113.26436", "203.0.113.77", "test-wifi",
}

type capture struct {
	Client, Method, Path string
	Headers              map[string]string
	Body                 []byte `json:"body_base64"`
}

func captures(t *testing.T) (list []capture) {
	t.Helper()
	f, err := os.Open("../../shared/corpora/sdk-captures/captures.ndjson")
	if err != nil {
		t.Skipf("the recorded requests are not here: %v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c capture
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// unwrapped returns all the texts that a receiver can make of a request: every
// part of it, undone of gzip, percent-encoding and base64 in any order, with
// decoders that share nothing with the gateway's.
func unwrapped(parts ...[]byte) (texts []string) {
	seen := map[string]bool{}
	var visit func(b []byte, depth int)
	visit = func(b []byte, depth int) {
		if len(b) == 0 || depth > 8 || seen[string(b)] {
			return
		}
		seen[string(b)] = true
		texts = append(texts, string(b))
		if r, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			if plain, err := io.ReadAll(r); err == nil {
				visit(plain, depth+1)
			}
		}
		if plain, err := url.QueryUnescape(string(b)); err == nil {
			visit([]byte(plain), depth+1)
		}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			if plain, err := e.DecodeString(string(b)); err == nil {
				visit(plain, depth+1)
			}
		}
		var v any
		if json.Unmarshal(b, &v) == nil {
			walkStrings(v, func(s string) { visit([]byte(s), depth+1) })
		}
		for _, piece := range bytes.FieldsFunc(b, func(r rune) bool { return strings.ContainsRune("&=?;# ,", r) }) {
			visit(piece, depth+1)
		}
	}
	for _, p := range parts {
		visit(p, 0)
	}
	return texts
}

func walkStrings(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case float64:
		f(fmt.Sprint(v))
	case []any:
		for _, e := range v {
			walkStrings(e, f)
		}
	case map[string]any:
		for k, e := range v {
			f(k)
			walkStrings(e, f)
		}
	}
}

// TestRecordedClients sends what real analytics clients sent, for somebody whom
// nobody knows: none of the planted values arrives, their events do, and what
// arrives is in the client's own format.
func TestRecordedClients(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	for i, c := range captures(t) {
		t.Run(fmt.Sprintf("%d %s", i, c.Client), func(t *testing.T) {
			s.upstream.forget()
			var headers []string
			for k, v := range c.Headers {
				if !slices.Contains([]string{"host", "content-length", "connection"}, strings.ToLower(k)) {
					headers = append(headers, k, v)
				}
			}
			before := unwrapped(c.Body, []byte(c.Path))
			if !slices.ContainsFunc(planted, func(p string) bool { return holds(before, p) }) {
				t.Fatal("nothing is planted in the request: this test cannot read it")
			}
			r := s.do(c.Method, "/v1"+c.Path, string(c.Body), headers...)
			if r.Status != 200 {
				t.Fatalf("refused: %d %s", r.Status, r.Body)
			}
			got := s.upstream.last(t)
			after := unwrapped(got.Body, []byte(got.Line), got.Raw)
			for _, p := range planted {
				if holds(after, p) {
					t.Errorf("%s arrived", p)
				}
			}
			for _, word := range []string{"event", "type", "idsite", "rec", "distinct", "token_auth", "plan", "Purchase", "properties", "price", "#event_name"} {
				if strings.Contains(word, "distinct") {
					continue // names a person
				}
				if holds(before, `"`+word+`"`) && !holds(after, `"`+word+`"`) || strings.Contains(c.Path, word+"=") && !strings.Contains(got.Line, word+"=") {
					t.Errorf("%s did not arrive", word)
				}
			}
			if a, b := eventsIn(before), eventsIn(after); !slices.Equal(a, b) {
				t.Errorf("events: %v arrived of %v", b, a)
			}
			if testing.Verbose() {
				t.Logf("%s", got.Body)
				for _, text := range after {
					if strings.HasPrefix(strings.TrimSpace(text), "{") || strings.HasPrefix(strings.TrimSpace(text), "[") {
						t.Logf("%s", text)
						break
					}
				}
			}
		})
	}
}

func holds(texts []string, value string) bool {
	return slices.ContainsFunc(texts, func(s string) bool {
		return strings.Contains(strings.ToLower(s), strings.ToLower(value))
	})
}

// eventsIn returns the names of the events in the JSON texts, sorted.
func eventsIn(texts []string) (names []string) {
	for _, text := range texts {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			continue
		}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, e := range v {
					walk(e)
				}
			case map[string]any:
				if _, device := v["advertisingId"]; device {
					return // its type is the system's
				}
				for _, k := range []string{"event", "type", "#type", "#event_name"} {
					if s, ok := v[k].(string); ok {
						names = append(names, k+"="+s)
					}
				}
				for _, e := range v {
					walk(e)
				}
			}
		}
		walk(v)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
