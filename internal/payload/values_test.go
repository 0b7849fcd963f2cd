package payload

import (
	"fmt"
	"strings"
	"testing"
)

func valuesOf(s *Scan, c Category) string {
	var all []string
	s.Values(c, func(record int, text []byte) { all = append(all, fmt.Sprintf("%d:%s", record, text)) })
	return strings.Join(all, " ")
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ says, in, want string }{
		{"a value by its key", `{"imei":"a"}`, "0:a"},
		{"by its path", `{"user":{"id":"a"}}`, "0:a"},
		{"by the name beside it", `{"name":"imei","value":"a"}`, "0:a"},
		{"in the order of the document", `{"imei":"a","x":{"IMEI":"b"},"mac":"c"}`, "0:a 0:b 0:c"},
		{"without escapes, and numbers as they are spelled", `{"imei":"\u0061\/b","mac":1.50}`, "0:a/b 0:1.50"},
		{"those of an array, however deep", `{"imei":["a",["b",{"mac":"c","n":"d"}],null]}`, "0:a 0:b 0:c"},
		{"not null, and not what has no text", `{"imei":null,"mac":"\ud800"}`, ""},
		{"nothing of other categories", `{"name_of":"a","model":"b","lat":1}`, ""},
		{"one of two categories", `{"both":"a"}`, "0:a"},
		{"inside a value", `{"raw":` + quoted(b64(`{"imei":"a","x":`+quoted(b64(`{"mac":"b"}`))+`}`)) + `}`, "0:a 0:b"},
		{"not what was only found by its looks", `{"text":"<one1>","n":12345678901}`, ""},
	} {
		t.Run(c.says, func(t *testing.T) {
			s, err := insideMatcher(t, nil).Scan([]byte(c.in), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Free()
			if got := valuesOf(s, catDrop); got != c.want {
				t.Errorf("%s holds %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestValuesSayWhoseTheyAre(t *testing.T) {
	in := `{"imei":"envelope","batch":[{"imei":"a","model":"m"},{"x":1},{"raw":` + quoted(b64(`{"mac":"c"}`)) + `}],"mac":"after"}`
	for name, c := range map[string]struct{ in, want string }{
		"records of the document": {in, "-1:envelope 0:a 2:c -1:after"},
		"records inside a value":  {`{"imei":"envelope","raw":` + quoted(b64(in)) + `}`, "-1:envelope -1:envelope 0:a 2:c -1:after"},
		"no records":              {`{"imei":"envelope"}`, "-1:envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			m := insideMatcher(t, func(s *Spec) { s.Records = "batch" })
			if strings.HasPrefix(name, "records inside") {
				m = insideMatcher(t, func(s *Spec) { s.Records = "raw.batch" })
			}
			s, err := m.Scan([]byte(c.in), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Free()
			if got := valuesOf(s, catDrop); got != c.want {
				t.Errorf("%s holds %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestValuesOfForms(t *testing.T) {
	s, err := insideMatcher(t, nil).ScanForm([]byte("imei=a%2Fb&x=1&mac=c+d"), Query, nil, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	if got := valuesOf(s, catDrop); got != "0:a/b 0:c d" {
		t.Errorf("got %q", got)
	}
}
