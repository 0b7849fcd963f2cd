package payload

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const corpus = "../../../shared/corpora/"

func accepts(m *Matcher, src []byte) error {
	s, err := m.Scan(src, DefaultLimits)
	if err == nil {
		s.Free()
	}
	return err
}

func TestJSONTestSuite(t *testing.T) {
	files, err := filepath.Glob(corpus + "jsontestsuite/test_parsing/*.json")
	if err != nil || len(files) == 0 {
		t.Skip("the JSON corpus is not beside this checkout")
	}
	m := testMatcher(t, nil)
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		err = accepts(m, src)
		name := filepath.Base(f)
		if name[0] == 'y' && err != nil {
			t.Errorf("%s refused: %v", name, err)
		}
		if name[0] == 'n' && err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestScanIsStrict(t *testing.T) {
	m := testMatcher(t, nil)
	for in, offset := range map[string]int{
		"":                          0,
		"  ":                        2,
		"\ufeff{}":                  0,
		"{} x":                      3,
		"{}{}":                      2,
		"1\n2":                      2,
		"{\"a\":1,}":                7,
		"[1,]":                      3,
		"[1 2]":                     3,
		"[":                         1,
		"{\"a\"":                    4,
		"{\"a\" 1}":                 5,
		"{a:1}":                     1,
		"[01]":                      2,
		"[-]":                       2,
		"[1.]":                      3,
		"[1e]":                      3,
		"[+1]":                      1,
		"[.5]":                      1,
		"[nul]":                     1,
		"[True]":                    1,
		"\"a\nb\"":                  2,
		"\"\\x\"":                   1,
		"\"\\u12g4\"":               1,
		"\"abc":                     4,
		"\"abcdefghijkl\\":          14,
		"{\"\\ud800\":1}":           2,
		"\"\xff\"":                  1,
		"[\"\xed\xa0\x80\"]":        2,
		"{\"a\":1]":                 6,
		"[1}":                       2,
		"{\"abcdefgh\x00\":1}":      10,
		"[\"0123456789\x1fabcdef\"": 12,
	} {
		err := accepts(m, []byte(in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: %v, want a syntax error", in, err)
		} else if syntax.Offset != offset {
			t.Errorf("%q: refused at offset %d (%s), want %d", in, syntax.Offset, syntax.Msg, offset)
		}
	}
	for _, in := range []string{`"\ud800"`, `{"a":"\udc00\ud800"}`, ` [ ] `, `-0.0E-0`, "\t\r\n null", `{"":{"":0}}`} {
		if err := accepts(m, []byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	m := testMatcher(t, nil)
	for _, in := range []string{`{"imei":"356938035643809",}`, `{"imei":356938035643809x}`, `{"356938035643809" 1}`, `["356938035643809`} {
		if err := accepts(m, []byte(in)); err == nil || strings.Contains(err.Error(), "3569") {
			t.Errorf("%v", err)
		}
	}
}

func TestLimits(t *testing.T) {
	m := testMatcher(t, nil)
	lim := Limits{Depth: 5, Key: 10, Members: 20}
	for _, tt := range []struct {
		what string
		doc  func(n int) string
	}{
		{"depth", func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }},
		{"depth", func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }},
		{"key", func(n int) string { return `{"` + strings.Repeat("k", n) + `":1}` }},
		{"key", func(n int) string { return `{"\u0061` + strings.Repeat("k", n-6) + `":1}` }},
		{"members", func(n int) string { return "[" + strings.Repeat("1,", n-1) + "1]" }},
		{"members", func(n int) string { return `{"a":{` + strings.Repeat(`"b":1,`, n-2) + `"c":1}}` }},
	} {
		limit := map[string]int{"depth": lim.Depth, "key": lim.Key, "members": lim.Members}[tt.what]
		for n := limit - 1; n <= limit+1; n++ {
			s, err := m.Scan([]byte(tt.doc(n)), lim)
			if err == nil {
				s.Free()
			}
			var le *LimitError
			if over := errors.As(err, &le) && le.What == tt.what && le.Limit == limit; over != (n > limit) {
				t.Errorf("%s of %d with a limit of %d: %v", tt.what, n, limit, err)
			}
		}
	}
	if err := accepts(m, bytes.Repeat([]byte("["), 6<<20)); err == nil {
		t.Error("six million brackets accepted")
	}
}

func TestOpenRTBPassesUntouchedWhenAllPass(t *testing.T) {
	lines := corpusLines(t, "openrtb/bid-requests.ndjson")
	m := testMatcher(t, func(s *Spec) { s.Unknown = true })
	v := m.NewVector(make([]Action, 7), Judgement{Keep: -1})
	for i, l := range lines {
		s, err := m.Scan(l, DefaultLimits)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if out, _ := s.Apply(nil, Part{Vector: v}, []Part{{Vector: v}}); !bytes.Equal(out, l) {
			t.Errorf("line %d changed", i+1)
		}
		s.Free()
	}
}

func corpusLines(t *testing.T, name string) [][]byte {
	data, err := os.ReadFile(corpus + name)
	if err != nil {
		t.Skip("the corpus is not beside this checkout")
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
}

var fuzzKeys = map[string]bool{"imei": true, "deviceid": true, "手机号": true, "kelvin": true}

// FuzzRewrite holds the rewriter against an independent parser: what it accepts
// is JSON, what is strict JSON it accepts, and what it writes is the document
// without the members that are to go, and otherwise the same.
func FuzzRewrite(f *testing.F) {
	files, _ := filepath.Glob(corpus + "jsontestsuite/test_parsing/*.json")
	for _, name := range files {
		if src, err := os.ReadFile(name); err == nil && len(src) < 1000 {
			f.Add(src)
		}
	}
	for _, s := range []string{
		`{"imei":1,"a":[{"IMEI":2},{"im\u0065i":3}],"device-id":{"x":"y"},"手机号":"1"}`,
		`[{"k":"imei","v":[1]},{"value":2,"name":"\u0069mei","x":1}]`,
		`{ "imei" : 1 , "b" : 2 , "$imei" : 3 }`, `{"\u212aelvin":1,"kelvin":"\ud83d\ude00"}`,
	} {
		f.Add([]byte(s))
	}
	m, err := Compile(Spec{Rules: []Rule{{Keys: []string{"imei", "device_id", "手机号", "kelvin"}}}})
	if err != nil {
		f.Fatal(err)
	}
	v := m.NewVector([]Action{{Op: Drop}}, Judgement{Keep: -1})
	f.Fuzz(func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		s, err := m.Scan(src, DefaultLimits)
		strict := jsontext.NewDecoder(bytes.NewReader(src), jsontext.AllowDuplicateNames(true))
		if err != nil {
			var le *LimitError
			if _, e := strict.ReadValue(); e == nil && !errors.As(err, &le) {
				if _, e := strict.ReadToken(); e != nil && e.Error() == "EOF" {
					t.Fatalf("refused %q: %v", src, err)
				}
			}
			return
		}
		defer s.Free()
		want, err := parseReference(src)
		if err != nil || !utf8.Valid(src) {
			t.Fatalf("accepted %q: %v", src, err)
		}
		out, _ := s.Apply(nil, Part{Vector: v}, []Part{{Vector: v}})
		if !bytes.Equal(src, before) {
			t.Fatal("the input was changed")
		}
		got, err := parseReference(out)
		if err != nil {
			t.Fatalf("wrote %q for %q: %v", out, src, err)
		}
		if g, w := got.String(), want.without(fuzzKeys).String(); g != w {
			t.Fatalf("wrote %q for %q:\ngot  %s\nwant %s", out, src, g, w)
		}
	})
}
