package risk

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func foldASCII(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryFormOfASampleIsTheSame(t *testing.T) {
	want := Measure(read(t, "{\"a\":1,\"b\":[{\"c\":2}]}\n{\"a\":2}\n", Options{}), wants)
	for name, text := range map[string]string{
		"no newline at the end": "{\"a\":1,\"b\":[{\"c\":2}]}\n{\"a\":2}",
		"CRLF and blank lines":  "\r\n{\"a\":1,\"b\":[{\"c\":2}]}\r\n\r\n{\"a\":2}\r\n",
		"an array":              `[{"a":1,"b":[{"c":2}]},{"a":2}]`,
		"a pretty array":        "[\n  {\n    \"a\": 1.0,\n    \"b\": [ {\"c\": \"2\"} ]\n  },\n  {\"a\": 2}\n]\n",
		"arrays as lines":       "[{\"a\":1,\"b\":[{\"c\":2}]}]\n[]\n[{\"a\":2}]\n",
		"gzip":                  zipped(t, "{\"a\":1,\"b\":[{\"c\":2}]}\n{\"a\":2}\n"),
	} {
		if got := Measure(read(t, text, Options{}), wants); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// canary must stand in no error and in no report.
const canary = "Zk9canaryXq"

func TestBadInputIsNamedByFileAndLineAndNeverQuoted(t *testing.T) {
	good := "{\"a\":1}\n"
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"empty":               {"", "f.ndjson: it holds no record"},
		"no object":           {good + `"` + canary + `"`, "f.ndjson:2: a record is a JSON object, and this is none"},
		"an array in another": {good + "[[1]]", "f.ndjson:2: a record is a JSON object, and this is none"},
		"text":                {good + good + canary, "f.ndjson:3: no JSON"},
		"a name without end":  {good + `{"` + canary + "\n", "f.ndjson:2: no JSON"},
		"cut off":             {good + `{"a":"` + canary, "f.ndjson:2: the file ends inside a record"},
		"an open array":       {"[" + good + ",", "f.ndjson:2: the file ends inside a record"},
		"a comma":             {good + "\n\n" + `{"` + canary + `":1,}` + "\n" + good, "f.ndjson:4: no JSON"},
		"invalid UTF-8":       {good + "{\"a\":\"" + canary + "\xff\"}", "f.ndjson:2: no JSON"},
		"too deep":            {good + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), "f.ndjson:2: a record nests deeper than 128"},
		"too long":            {good + `{"a":"` + strings.Repeat("x", MaxRecord+1<<20), "f.ndjson:2: a record has more than 4 MiB"},
		"damaged gzip":        {zipped(t, strings.Repeat(good, 100))[:30], "f.ndjson: the gzip data is damaged or cut off; make the sample again"},
	} {
		_, err := Read(strings.NewReader(c.text), "f.ndjson", Options{})
		var in *InputError
		if !errors.As(err, &in) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v quotes the input", name, err)
		}
	}
}

func TestLongSamplesAreReadInBoundedMemory(t *testing.T) {
	const records = 30_000
	r := &repeated{line: `{"n":%d,"city":"c%d"}` + "\n", n: records}
	s, err := Read(r, "stream", Options{Cells: 4000})
	if err != nil {
		t.Fatal(err)
	}
	if s.Records != records || s.Rows == 0 || s.Rows > 1000 {
		t.Errorf("%d rows of %d", s.Rows, s.Records)
	}
	for _, f := range s.fields {
		if cap(f.column) > 4000 {
			t.Errorf("a column of %d", cap(f.column))
		}
	}
}

// repeated is a stream of so many lines.
type repeated struct {
	line string
	n, i int
	rest []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.i == r.n {
			return 0, io.EOF
		}
		r.rest = fmt.Appendf(nil, r.line, r.i, r.i%9)
		r.i++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestRoles(t *testing.T) {
	var records []string
	for i := range 30 {
		records = append(records, fmt.Sprintf(
			`{"uuid":"3d4e5f60-7182-493a-b4c5-d6e7f8%06x","phone":"138001380%02d","mail":"u%d@example.com","ts":17684640%02d,"at":"2026-01-15T08:00:%02dZ","ip":"203.0.113.%d","name":"n%d","lat":23.1%02d,"model":"M2011K2C"}`,
			i, i, i, i, i%60, i, i, i))
	}
	m := Measure(read(t, lines(records...), Options{}), wants)
	for path, want := range map[string]Role{
		"uuid": Direct, "phone": Direct, "mail": Direct,
		"ts": Quasi, "at": Quasi, "ip": Quasi, "name": Quasi, "lat": Quasi, "model": Quasi,
	} {
		if got := fieldNamed(t, m, path); got.Role != want {
			t.Errorf("%s is %s, want %s", path, got.Role, want)
		}
	}
}

func TestAnIDSharedByManyRecordsOfOnePersonIsStillOne(t *testing.T) {
	var records []string
	for i := range 600 {
		records = append(records, fmt.Sprintf(`{"device":"3d4e5f60-7182-493a-b4c5-d6e7f8%06x","build":"M2011K2C%d"}`, i/10, i%3))
	}
	m := Measure(read(t, lines(records...), Options{}), wants)
	if f := fieldNamed(t, m, "device"); f.Role != Direct {
		t.Errorf("%+v", f)
	}
	if f := fieldNamed(t, m, "build"); f.Role != Quasi {
		t.Errorf("%+v: what all share names nobody", f)
	}
}

func TestNamesOfMembersThatMayBeValuesAreNotPrinted(t *testing.T) {
	var records []string
	for i := range 20 {
		records = append(records, fmt.Sprintf(`{"model":1,"friends":{"friend_%c":%d},"by_phone":{"138001380%02d":1},"rare_word":%d}`, 'a'+i, i, i, i))
	}
	records[3] = `{"model":1,"zhangsan":1}`
	s := read(t, lines(records...), Options{Known: func(step string) bool { return step == "rare_word" }})
	var got []string
	for _, f := range s.fields {
		got = append(got, f.name)
	}
	// Other records have no zhangsan, and no two the same friend.
	if all := strings.Join(got, " "); all != "* by_phone.* friends.* model rare_word" {
		t.Errorf("%s", all)
	}
	// The friends are one field now, that tells everybody apart.
	if f := fieldNamed(t, Measure(s, wants), "friends.*"); f.Distinct != 19 || f.Present != 0.95 {
		t.Errorf("%+v", f)
	}
}

func TestWhoHasAMemberIsCountedByPeople(t *testing.T) {
	var records []string
	for i := range 40 {
		extra := ""
		if i%4 == 0 { // ten records of one person
			extra = `,"zhangsan":1`
		}
		records = append(records, fmt.Sprintf(`{"id":"p-%d","model":1,"13800138000":1%s}`, i%4*(1+i), extra))
	}
	m := Measure(read(t, lines(records...), Options{Classify: func(steps []string) Assignment {
		if steps[0] == "id" {
			return Assignment{Role: Pseudonym, Subject: true}
		}
		return unknownField
	}}), wants)
	var got []string
	for _, f := range m.Fields {
		got = append(got, f.Path)
	}
	// All have the number, which has the shape of a value whoever has it.
	if all := strings.Join(got, " "); all != "* id model" {
		t.Errorf("%s", all)
	}
}

func TestMembersThatWereMaskedStillCount(t *testing.T) {
	// Only the name of the member tells the records apart.
	text := lines(`{"m":{"13800138000":1}}`, `{"m":{"13800138001":1}}`, `{"m":{"13800138001":1}}`)
	m := Measure(read(t, text, Options{}), wants)
	if m.Combinations != 2 || m.Unique.Records != 1 {
		t.Errorf("%+v", m)
	}
}

func TestFieldsBeyondTheBoundAreOne(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, `,"f%c%c":%d`, 'a'+i/20, 'a'+i%20, i)
	}
	s := read(t, "{"+b.String()[1:]+"}", Options{})
	if len(s.fields) != maxFields+1 || s.fields[0].name != "*" || s.fields[0].as.Because != TooMany {
		t.Errorf("%d fields, first %q", len(s.fields), s.fields[0].name)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"a\":1,\"b\":[{\"c\":2},null]}\n{\"a\":\"x\"}\n"))
	f.Add([]byte(`[{"a":1.50},{"13800138000":{"x":true}}]`))
	f.Add([]byte("[\n{}\n,{\"a\":[]}]\n{\"a\":1}"))
	f.Add([]byte(zipped(f, "{\"a\":1}\n")))
	f.Add([]byte(`{"a":1}{"a":2`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read(bytes.NewReader(text), "f", Options{Cells: 64})
		if err != nil {
			var in *InputError
			if !errors.As(err, &in) || in.Name != "f" || in.Line < 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		m := Measure(s, wants)
		if m.Used > m.Records || m.Combinations > m.Used || m.K.Min < 1 || m.K.Max < m.K.Min || m.Unique.Records > m.Used {
			t.Fatalf("%+v", m)
		}
		again, err := Read(bytes.NewReader(text), "f", Options{Cells: 64})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(Measure(again, wants), m) {
			t.Fatal("not the same again")
		}
	})
}
