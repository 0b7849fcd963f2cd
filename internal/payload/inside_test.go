package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// testOpener knows base64 with the mark "b64:" before it, so that the tests say
// when something is opened.
type testOpener struct{}

const mark64 = "b64:"

func (testOpener) Possible(text []byte) bool { return bytes.HasPrefix(text, []byte(mark64)) }

func (testOpener) Open(dst, text []byte, limit int) ([]byte, Seal, Opening) {
	rest, ok := bytes.CutPrefix(text, []byte(mark64))
	if !ok {
		return dst, nil, Unopened
	}
	out, err := base64.StdEncoding.AppendDecode(dst, rest)
	if err != nil || len(out)-len(dst) > limit {
		return dst, nil, Sealed
	}
	return out, testSeal{}, Opened
}

type testSeal struct{}

func (testSeal) Seal(dst, text []byte) ([]byte, error) {
	if bytes.Contains(text, []byte("unsealable")) {
		return nil, errors.New("cannot")
	}
	return base64.StdEncoding.AppendEncode(append(dst, mark64...), text), nil
}

// testDetector finds "<one1>", "<two2>" and "<both>": kind 1, kind 2, and both.
type testDetector struct{}

func (testDetector) Possible(text []byte) bool { return bytes.IndexByte(text, '<') >= 0 }

func (testDetector) Append(dst []Detected, text []byte) []Detected {
	for i := 0; i < len(text); i++ {
		for mark, kinds := range map[string]uint32{"<one1>": 1 << 1, "<two2>": 1 << 2, "<both>": 1<<1 | 1<<2} {
			if bytes.HasPrefix(text[i:], []byte(mark)) {
				dst = append(dst, Detected{i, i + len(mark), kinds})
				i += len(mark) - 1
				break
			}
		}
	}
	return dst
}

func (testDetector) Number(text []byte) uint32 {
	if string(text) == "12345678901" {
		return 1 << 1
	}
	return 0
}

func (testDetector) Pair(a, b []byte) uint32 {
	if bytes.Contains(a, []byte(".")) && bytes.Contains(b, []byte(".")) {
		return 1 << 3
	}
	return 0
}

type testCleaner struct{}

func (testCleaner) Known(head []byte) bool { return bytes.HasPrefix(head, []byte("PHOTO")) }

func (testCleaner) Clean(src []byte) ([]byte, error) {
	if bytes.Contains(src, []byte("damaged")) {
		return nil, errors.New("damaged")
	}
	if !bytes.Contains(src, []byte("here")) {
		return src, nil
	}
	return bytes.ReplaceAll(src, []byte("here"), []byte("----")), nil
}

// insideMatcher drops kind 1, writes kind 2 in upper case, and rounds kind 3.
func insideMatcher(t testing.TB, change func(*Spec)) *Matcher {
	return testMatcher(t, func(s *Spec) {
		s.Inside = Inside{Detector: testDetector{}, Opener: testOpener{}, Cleaner: testCleaner{}, Place: catDrop}
		s.Rules[catDrop].Detect = []uint8{1}
		s.Rules[catUpper].Detect = []uint8{2}
		s.Rules[catGeo].Detect = []uint8{3}
		if change != nil {
			change(s)
		}
	})
}

func b64(text string) string { return mark64 + base64.StdEncoding.EncodeToString([]byte(text)) }

// quoted is text as a JSON string.
func quoted(text string) string { return string(appendQuoted(nil, []byte(text))) }

func TestWhatIsInsideValues(t *testing.T) {
	m := insideMatcher(t, nil)
	deep := `{"imei":"1","a":2}`
	cleanDeep := `{"a":2}`
	for range 5 {
		deep, cleanDeep = `{"p":`+quoted(deep)+`}`, `{"p":`+quoted(cleanDeep)+`}`
	}
	tooDeep := `{"imei":"1"}`
	for range 12 {
		tooDeep = `{"p":` + quoted(tooDeep) + `}`
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to open", `{"a":"some text","b":"{name} wrote","c":"[x]"}`, `{"a":"some text","b":"{name} wrote","c":"[x]"}`},
		{"JSON", `{"a":"{\"imei\":\"1\",\"b\":\"\\u4f60\"}"}`, `{"a":"{\"b\":\"\\u4f60\"}"}`},
		{"JSON with nothing in it stays as it is spelled", `{"a":"{\u0022b\u0022:1}"}`, `{"a":"{\u0022b\u0022:1}"}`},
		{"JSON with hidden quotes", `{"a":"{\u0022imei\u0022:1}"}`, `{"a":"{}"}`},
		{"JSON with a hidden beginning", `{"a":"\u007b\"imei\":1}"}`, `{"a":"{}"}`},
		{"JSON after white space", `{"a":" \n\t{\"imei\":1}"}`, `{"a":" \u000a\u0009{}"}`},
		{"JSON behind a prefix", `{"a":"42/nsp,[\"e\",{\"imei\":1}]"}`, `{"a":"42/nsp,[\"e\",{}]"}`},
		{"JSON in JSON in JSON", deep, cleanDeep},
		{"JSON in a root string", `"{\"imei\":1}"`, `"{}"`},
		{"too deep", `{"x":1,"q":` + tooDeep + `}`, ""},
		{"nearly JSON that names a category", `{"x":1,"a":"{'imei':'1'}"}`, `{"x":1}`},
		{"nearly JSON whose quotes are in disorder", `{"x":1,"a":"{\"k: ,\"b\", \"imei: \"1\"}"}`, `{"x":1}`},
		{"a multipart form", `{"x":1,"a":"--b\r\nContent-disposition: form-data; name=\"imei\"\r\n\r\n1\r\n--b--"}`, `{"x":1}`},
		{"nearly JSON that names none", `{"x":1,"a":"{'b':'1'}"}`, `{"x":1}`},
		{"what only begins like JSON", `{"a":"{name} wrote","b":"[1] see below","c":"{b:1"}`, `{"a":"{name} wrote","b":"[1] see below","c":"{b:1"}`},
		{"JSON behind a byte order mark", `{"a":"\ufeff{\"imei\":1}"}`, "{\"a\":\"\ufeff{}\"}"},
		{"JSON in a call", `{"a":"cb({\"imei\":1,\"b\":2});"}`, `{"a":"cb({\"b\":2});"}`},
		{"JSON behind a guard", `{"a":"for(;;);{\"imei\":1}"}`, `{"a":"for(;;);{}"}`},
		{"two JSON texts", `{"x":1,"a":"{\"b\":1}\n{\"imei\":1}"}`, `{"x":1}`},
		{"a trailing comma and a hidden key", `{"x":1,"a":"{\"\\u0069mei\":1,}"}`, `{"x":1}`},
		{"a line break before the colon", `{"x":1,"a":"{\"imei\"\n:1,}"}`, `{"x":1}`},
		{"JSON in prose", `{"x":1,"a":"` + strings.Repeat("word ", 20) + `{\"imei\": 1} and more"}`, `{"x":1,"a":"` + strings.Repeat("word ", 20) + `{} and more"}`},
		{"prose in brackets", `{"a":"[smile] imei: call me later","b":"\"imei: home\" he said"}`, `{"a":"[smile] imei: call me later","b":"\"imei: home\" he said"}`},
		{"a text with a '%' and a '='", `{"a":"margin % = profit/revenue","b":"a=50%, b"}`, `{"a":"margin % = profit/revenue","b":"a=50%, b"}`},
		{"enclosing keys of a string in a string", `{"q":{"exif":"\"{\\\"gps\\\":1}\""}}`, `{"q":{"exif":"\"{}\""}}`},
		{"a query", `{"a":"?x=1&imei=2&y=3"}`, `{"a":"?x=1&y=3"}`},
		{"a query in an address", `{"a":"https://h/p?imei=2&y=3#f"}`, `{"a":"https://h/p?y=3#f"}`},
		{"all of a query", `{"a":"https://h/p?imei=2"}`, `{"a":"https://h/p"}`},
		{"a query in a fragment", `{"a":"https://h/p#/r?imei=2&y=3"}`, `{"a":"https://h/p#/r?y=3"}`},
		{"an address in a query in an address", `{"a":"https://h/?u=https%3A%2F%2Fi%2F%3Fimei%3D1%26z%3D2"}`, `{"a":"https://h/?u=https%3A%2F%2Fi%2F%3Fz%3D2"}`},
		{"a text with a '='", `{"a":"a=b and c","b":"1 == 2"}`, `{"a":"a=b and c","b":"1 == 2"}`},
		{"base64", `{"a":"` + b64(`{"imei":1,"b":2}`) + `"}`, `{"a":"` + b64(`{"b":2}`) + `"}`},
		{"base64 behind a word", `{"a":"Bearer ` + "b64:" + `x"}`, `{"a":"Bearer b64:x"}`},
		{"base64 of base64", `{"a":"` + b64(b64(`{"imei":1}`)) + `"}`, `{"a":"` + b64(b64(`{}`)) + `"}`},
		{"base64 of a query", `{"a":"` + b64(`imei=1&b=2`) + `"}`, `{"a":"` + b64(`b=2`) + `"}`},
		{"base64 of nothing personal", `{"a":"` + b64(`{ "b" : 2 }`) + `"}`, `{"a":"` + b64(`{ "b" : 2 }`) + `"}`},
		{"damaged base64", `{"a":"b64:%%","b":1}`, `{"b":1}`},
		{"what cannot be wrapped again", `{"a":"` + b64(`{"imei":1,"b":"unsealable"}`) + `","b":1}`, `{"b":1}`},
		{"percent-encoding", `{"a":"%7B%22imei%22%3A1%2C%22b%22%3A2%7D"}`, `{"a":"%7B%22b%22%3A2%7D"}`},
		{"percent-encoding twice", `{"a":"%257B%2522imei%2522%253A1%257D"}`, `{"a":"%257B%257D"}`},
		{"100 % of it", `{"a":"100% of it","b":"100%25"}`, `{"a":"100% of it","b":"100%25"}`},
		{"under a governed key", `{"model":"{\"imei\":1,\"b\":2}"}`, `{"model":"{\"b\":2}"}`},
		{"paths go on inside", `{"user":"{\"id\":1,\"x\":2}","deep":"{\"y\":\"{\\\"secret\\\":1}\"}"}`, `{"user":"{\"x\":2}","deep":"{\"y\":\"{}\"}"}`},
		{"enclosing keys count inside", `{"a":"{\"b\":{\"tail\":1,\"x\":2}}","p":"{\"q\":\"{\\\"tail\\\":1}\"}"}`, `{"a":"{\"b\":{\"x\":2}}","p":"{\"q\":\"{}\"}"}`},
		{"a pair inside", `{"a":"[{\"name\":\"imei\",\"value\":1}]"}`, `{"a":"[{\"name\":\"imei\"}]"}`},
		{"a position inside", `{"a":"{\"lat\":1.5,\"lng\":2.5}"}`, `{"a":"{\"lat\":1,\"lng\":2}"}`},
		{"a blocked value inside", `{"a":"{\"card\":1}"}`, `null`},
		{"a photo", `{"a":"` + b64("PHOTO here") + `"}`, `{"a":"` + b64("PHOTO ----") + `"}`},
		{"a photo without a place", `{"a":"` + b64("PHOTO") + `"}`, `{"a":"` + b64("PHOTO") + `"}`},
		{"a damaged photo", `{"a":"` + b64("PHOTO damaged") + `","b":1}`, `{"b":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := rewrite(t, m, Judgement{Keep: -1}, tt.in)
			if tt.want == "" {
				if strings.Contains(got, "imei") {
					t.Errorf("got %s", got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
			if again, _ := rewrite(t, m, Judgement{Keep: -1}, got); again != got {
				t.Errorf("and again: %s", again)
			}
		})
	}
}

func TestWhatLooksBetray(t *testing.T) {
	m := insideMatcher(t, nil)
	for _, tt := range []struct{ name, in, apply, report string }{
		{"a value", `{"a":"<one1>","b":1}`, `{"b":1}`, ""},
		{"with white space around it", `{"a":" <one1> ","b":1}`, `{"b":1}`, ""},
		{"an element", `{"a":["x","   <one1>"]}`, `{"a":["x",null]}`, ""},
		{"in a text", `{"a":"call <one1>, or <one1>!"}`, `{"a":"call ***, or ***!"}`, ""},
		{"in an escaped text", `{"a":"\"call\u0020\u003cone1>!"}`, `{"a":"\"call ***!"}`, ""},
		{"a transform", `{"a":"see <two2> x","b":"    <two2>"}`, `{"a":"see <TWO2> x","b":"    <TWO2>"}`, ""},
		{"of two kinds", `{"a":"see <both> x"}`, `{"a":"see *** x"}`, ""},
		{"a number", `{"a":12345678901,"b":12345678902}`, `{"b":12345678902}`, ""},
		{"a key", `{"user <one1>":{"x":1},"b":1}`, `{"b":1}`, ""},
		{"two decimals", `{"a":[113.25,23.5],"b":[1,2]}`, `{"a":[113,23],"b":[1,2]}`, ""},
		{"two decimals in a row of three", `{"a":[113.25,23.5,9.0]}`, `{"a":[113.25,23.5,9.0]}`, ""},
		{"what a key governs is not searched", `{"model":"<one1>    "}`, `{"model":"<one1>    "}`, `{"model":"<one1>    "}`},
		{"in base64", `{"a":"` + b64("call <one1>") + `"}`, `{"a":"` + b64("call ***") + `"}`, ""},
		{"in the value of a query", `{"a":"?x=1&y=    %3Cone1%3E&z=2"}`, `{"a":"?x=1&z=2"}`, ""},
		{"before a query", `{"a":"https://h/<one1>/p?x=1&imei=2"}`, `{"a":"https://h/***/p?x=1"}`, `{"a":"https://h/<one1>/p?x=1"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := rewrite(t, m, Judgement{Keep: -1}, tt.in); got != tt.apply {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.apply)
			}
			want := tt.report
			if want == "" {
				want = tt.in
			}
			if got, _ := rewrite(t, m, Judgement{Keep: -1, Looks: Off}, tt.in); got != want {
				t.Errorf("off: %s, want %s", got, want)
			}
			got, rep := rewrite(t, m, Judgement{Keep: -1, Looks: ReportOnly}, tt.in)
			if got != want {
				t.Errorf("report: %s, want %s", got, want)
			}
			if reported := rep.looked != (bitset{}); reported != (want != tt.apply) {
				t.Errorf("reported: %v", reported)
			}
		})
	}
}

func TestUnknownInside(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Unknown, s.Keep = true, [][]string{{"id", "biz.no", "wild.**", "text"}} })
	for _, tt := range []struct{ name, in, want string }{
		{"a document inside is judged by what is in it", `{"biz":"{\"no\":\"n-1\",\"x\":2}","id":1}`, `{"biz":"{\"no\":\"n-1\"}","id":1}`},
		{"a query inside is one value", `{"x":"?a=1&imei=2","id":1}`, `{"id":1}`},
		{"what is kept is kept whole", `{"wild":{"u":"https://h/?a=1&imei=2"},"text":"{\"imei\":1,\"b\":2}"}`, `{"wild":{"u":"https://h/?a=1"},"text":"{\"b\":2}"}`},
		{"what a wildcard keeps is searched", `{"wild":{"u":"call <one1>"},"text":"call <one1>"}`, `{"wild":{"u":"call ***"},"text":"call <one1>"}`},
		{"a governed document passes what nobody knows", `{"model":"{\"x\":1}"}`, `{"model":"{\"x\":1}"}`},
		{"looks are knowledge", `{"x":"    <two2>"}`, `{"x":"    <TWO2>"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := rewrite(t, m, Judgement{Unknown: Drop}, tt.in); got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
		})
	}
}

// Records and ids are found inside values as anywhere else.
func TestRecordsInside(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records, s.Subject = "data_list", []string{"who"} })
	inner := `[{"who":"a","imei":"1"},{"who":"b","imei":"2"},{"who":"c","card":3}]`
	s, err := m.ScanForm([]byte("imei=9&data_list="+b64(inner)+"&gzip=1"), Query, nil, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	if s.Len() != 3 || len(s.IDs) != 3 {
		t.Fatalf("%d records, %d ids", s.Len(), len(s.IDs))
	}
	for i, id := range s.IDs {
		if text, ok := s.Text(id); !ok || id.Record != i || string(text) != string("abc"[i]) {
			t.Errorf("id %d is %q of record %d", i, text, id.Record)
		}
	}
	strict := m.NewVector(testActions, Judgement{Keep: -1})
	actions := append([]Action(nil), testActions...)
	actions[catDrop], actions[catBlock] = Action{}, Action{Op: Block}
	lenient := m.NewVector(actions, Judgement{Keep: -1})
	p := &Params{}
	out, rep := s.Apply(nil, Part{strict, p}, []Part{{lenient, p}, {strict, p}, {lenient, p}})
	var want bytes.Buffer
	fmt.Fprintf(&want, "data_list=%s&gzip=1", appendEncoded(nil, []byte(b64(`[{"who":"a","imei":"1"},{"who":"b"}]`)), true))
	if string(out) != want.String() || rep.Blocked != 1 {
		t.Errorf("\n got  %s\n want %s\n blocked %d", out, want.String(), rep.Blocked)
	}
}

func TestFormsHoldOtherTexts(t *testing.T) {
	m := insideMatcher(t, nil)
	for _, tt := range []struct{ name, in, want string }{
		{"JSON", "a=%7B%22imei%22%3A1%2C%22b%22%3A%22x+y%22%7D&c=1", "a=%7B%22b%22%3A%22x+y%22%7D&c=1"},
		{"JSON as it is", `a={"imei":1,"b":2}&c=1`, "a=%7B%22b%22%3A2%7D&c=1"},
		{"JSON after a space", "a=+{\"imei\":1}&c=1", "a=+%7B%7D&c=1"},
		{"a name that some end early", "imei%00x=1&imei%0a=2&c=1", "c=1"},
		{"looks within a name", "imei[%3Cone1%3E]=1&model[%3Cone1%3E]=1&c=1", "model[%3Cone1%3E]=1&c=1"},
		{"no '='", "%7B%22imei%22%3A1%7D&c=1", "%7B%7D&c=1"},
		{"looks", "a=call+%3Cone1%3E&b=    %3Cone1%3E", "a=call+***"},
		{"an address", "url=https%3A%2F%2Fh%2F%3Fimei%3D2%26y%3D3", "url=https%3A%2F%2Fh%2F%3Fy%3D3"},
		{"a pair", "name=imei&value=5&c=1", "name=imei&c=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, _ := applyForm(m, tt.in, Query, Judgement{Keep: -1}, nil); got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestWhatIsDecodedIsBounded(t *testing.T) {
	m := insideMatcher(t, nil)
	one := b64(strings.Repeat("x", 600) + " <one1>")
	lim := DefaultLimits
	for inside, ok := range map[int]bool{2500: false, 5000: true} {
		lim.Inside = inside
		s, err := m.Scan([]byte(`{"a":"`+one+`","b":"`+one+`"}`), lim)
		if err == nil {
			s.Free()
		}
		var limit *LimitError
		if ok && err != nil || !ok && (!errors.As(err, &limit) || limit.What != "decoding") {
			t.Errorf("of %d bytes: %v", inside, err)
		}
	}
}

// A scan inside a value that comes to nothing leaves nothing behind.
func TestWhatCannotBeReadNotesNothing(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records, s.Subject = "batch", []string{"who.id"} })
	for _, in := range []string{
		`{"batch":"[{\"who\":{\"id\":\"u1\"}},{\"b\":2}"}`, `{"who":"{\"id\":\"u1\", x"}`, `{"batch":"[{\"a\":1}] {\"imei\":1}"}`,
	} {
		s, err := m.Scan([]byte(in), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.IDs) != 0 || s.Len() != 0 {
			t.Errorf("%s: %d ids, %d records", in, len(s.IDs), s.Len())
		}
		s.Free()
	}
}

// A name goes before looks, whatever a recipient thinks of looks.
func TestANameGoesBeforeLooks(t *testing.T) {
	m := insideMatcher(t, nil)
	for _, in := range []string{`{"value":"<one1>","name":"imei"}`, `{"name":"imei","value":"<one1>"}`} {
		if got, _ := rewrite(t, m, Judgement{Keep: -1, Looks: Off}, in); got != `{"name":"imei"}` {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// However often a text could be read as another, the work is bounded by the
// length of the document.
func TestHostileNesting(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records, s.Subject = ".", []string{"u"} })
	branch := "x"
	for range 7 {
		branch = `["x&a=` + string(appendEncoded(nil, []byte(branch+strings.Repeat("y", 20_000)), false))
	}
	for name, in := range map[string]string{
		"a rule of '='":     `{"a":"` + strings.Repeat("=", 1<<20) + `"}`,
		"a chain of '='":    `{"a":"` + strings.Repeat("a=", 1<<19) + `"}`,
		"a chain of '%25'":  `{"a":"` + strings.Repeat("%25", 1<<18) + `"}`,
		"branches":          `{"a":` + quoted(branch) + `}`,
		"opening brackets":  `{"a":"` + strings.Repeat("[", 1<<20) + `"}`,
		"ids and documents": `[` + strings.Repeat(`{"u":1,"p":"[12345]"},`, 1<<15) + `1]`,
	} {
		s, err := m.Scan([]byte(in), DefaultLimits)
		var limit *LimitError
		if errors.As(err, &limit) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cap(s.arena) > 64*len(in)+32<<20 {
			t.Errorf("%s: %d bytes kept for %d", name, cap(s.arena), len(in))
		}
		s.Free()
	}
	honest := `{"a":"=====","b":"k=v=w","c":"a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,k=11"}`
	if got, _ := rewrite(t, insideMatcher(t, nil), Judgement{Keep: -1}, honest); got != honest {
		t.Errorf("%s became %s", honest, got)
	}
}

// FuzzInside checks that whatever is inside values, what is written is JSON that
// the scan takes again, and that a parser that opens all
// that is a JSON text finds no member that should be gone.
func FuzzInside(f *testing.F) {
	for _, s := range []string{
		`{"a":"{\"imei\":1,\"b\":\"{\\\"imei\\\":2}\"}"}`, `{"a":"` + b64(`{"imei":1}`) + `","b":"x <one1> y"}`, `["?imei=1&a=%7B%22imei%22%3A1%7D"]`,
		`{"a":"cb({\"imei\":1});","n":12345678901}`, `{"a":"%7B%22imei%22%3A1%7D","p":[1.5,2.5]}`, `"\"{\\\"imei\\\":1}\""`, `{"a":"{'imei':1}"}`,
	} {
		f.Add([]byte(s))
	}
	m := insideMatcher(f, nil)
	v := m.NewVector(testActions, Judgement{Keep: -1})
	apply := func(t *testing.T, src []byte) ([]byte, bool) {
		s, err := m.Scan(src, DefaultLimits)
		if err != nil {
			return nil, false
		}
		defer s.Free()
		parts := make([]Part, s.Len())
		for i := range parts {
			parts[i] = Part{v, &Params{}}
		}
		out, rep := s.Apply(nil, Part{v, &Params{}}, parts)
		if rep.BlockedAll {
			return nil, false
		}
		return bytes.Clone(out), true
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		out, ok := apply(t, src)
		if !ok {
			return
		}
		if _, ok := apply(t, out); !ok {
			t.Fatalf("%q became %q, which is refused", src, out)
		}
		var open func(text []byte, depth int)
		open = func(text []byte, depth int) {
			var tree any
			if depth > maxInside || json.Unmarshal(text, &tree) != nil {
				return
			}
			var walk func(v any)
			walk = func(v any) {
				switch v := v.(type) {
				case string:
					open([]byte(v), depth+1)
				case []any:
					for _, e := range v {
						walk(e)
					}
				case map[string]any:
					for k, e := range v {
						if Fold(k) == "imei" {
							t.Fatalf("%q became %q, in which there is %q", src, out, k)
						}
						walk(e)
					}
				}
			}
			walk(tree)
		}
		open(out, 0)
	})
}

// What stands deeper than anything is opened, and has escapes or numbers in pieces
// yet, may say what nobody here reads.
func TestEscapesBeyondTheDepth(t *testing.T) {
	m := insideMatcher(t, nil)
	for _, text := range []string{`memo=1\u0026x=2`, `memo=1&12345678901&x=2`} {
		for range maxInside {
			text = quoted(text)
		}
		src := `{"a":` + quoted(text) + `,"b":1}`
		s, err := m.Scan([]byte(src), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		p := Part{m.NewVector(testActions, Judgement{Keep: -1}), &Params{}}
		if out, rep := s.Apply(nil, p, []Part{p}); rep.Sealed == 0 || strings.Contains(string(out), "memo") {
			t.Errorf("%d sealed, %s", rep.Sealed, out)
		}
		s.Free()
	}
}

// Escapes of JSON in a text that is none hide nothing from those who undo them.
func TestEscapesInText(t *testing.T) {
	m := insideMatcher(t, nil)
	p := Part{m.NewVector(testActions, Judgement{Keep: -1}), &Params{}}
	for in, want := range map[string]string{
		`{"x":1,"a":"k \\u003cone1\\u003e"}`: `{"x":1}`,
		`{"x":1,"a":"k \\u003cnone\\u003e"}`: `{"x":1,"a":"k \\u003cnone\\u003e"}`,
	} {
		s, err := m.Scan([]byte(in), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if out, _ := s.Apply(nil, p, []Part{p}); string(out) != want {
			t.Errorf("%s became %s", in, out)
		}
		s.Free()
	}
}
