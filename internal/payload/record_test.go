package payload

import (
	"strings"
	"testing"
)

func TestApplyRecord(t *testing.T) {
	split := func(s *Spec) { s.Records = "batch" }
	for _, tt := range []struct {
		says   string
		change func(*Spec)
		in     string
		want   []string // "": the record does not go
	}{
		{"the document is one record", nil, ` {"imei":1,"n":2} `, []string{`{"n":2}`}},
		{"one that nothing changes is the very bytes", nil, `{"n": 2}`, []string{`{"n": 2}`}},
		{"an array is one record too", nil, `[{"imei":1},{"n":2}]`, []string{`[{},{"n":2}]`}},
		{"a scalar is none", nil, `"imei"`, []string{""}},
		{"one that blocks does not go", nil, `{"card":1,"n":2}`, []string{""}},
		{"each element stands alone", split, `{"key":"k","batch":[{"imei":1,"n":1}, {"n":2,"model":"m"},{"card":1},{"name_of":"x","n":4}],"imei":9}`,
			[]string{`{"n":1}`, `{"n":2,"model":"m"}`, "", `{"name_of":"X","n":4}`}},
		{"elements that are no objects do not go", split, `{"batch":[1,"imei",null,{"n":1},[{"imei":1}]]}`, []string{"", "", "", `{"n":1}`, `[{}]`}},
		{"an object where an array is due is one record", split, `{"batch":{"imei":1,"n":1}}`, []string{`{"n":1}`}},
		{"a record that a category governs as a whole does not go", func(s *Spec) {
			s.Records = "imei"
		}, `{"imei":{"n":1}}`, []string{""}},
		{"a record in what a category governs does not go", func(s *Spec) { s.Records = "**.batch" },
			`{"a":{"batch":[{"n":1}]},"imei":{"batch":[{"n":2}]},"model":{"b":{"batch":{"n":3}}},"b":{"batch":{"n":4}}}`, []string{`{"n":1}`, "", "", `{"n":4}`}},
		{"positions belong to their record", split, `{"batch":[{"lat":1.5,"lng":2.5},{"lat":3.5},{"lng":4.5,"lat":5.5}]}`,
			[]string{`{"lat":1,"lng":2}`, `{}`, `{"lng":4,"lat":5}`}},
		{"what is written is written into each", func(s *Spec) {
			s.Records = "batch"
			s.Writes = []Write{{Path: "device.lmt", Value: "1"}}
		}, `{"batch":[{"device":{"lmt":0}},{"device":{"imei":1}},{"n":1}]}`, []string{`{"device":{"lmt":1}}`, `{"device":{"lmt":1}}`, `{"n":1}`}},
	} {
		t.Run(tt.says, func(t *testing.T) {
			m := testMatcher(t, tt.change)
			s, err := m.Scan([]byte(tt.in), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Free()
			if s.Len() != len(tt.want) {
				t.Fatalf("%d records, want %d", s.Len(), len(tt.want))
			}
			j := Judgement{Keep: -1}
			if m.spec.Writes != nil {
				j.Writes = []int{0}
			}
			p := Part{m.NewVector(testActions, j), &Params{}}
			for i, want := range tt.want {
				out, _, ok := s.ApplyRecord(nil, i, p)
				if ok != (want != "") || string(out) != want {
					t.Errorf("record %d: %q %v, want %q", i, out, ok, want)
				}
			}
			// It leaves the scan fit for another use.
			parts := make([]Part, s.Len())
			for i := range parts {
				parts[i] = p
			}
			again, _ := s.Apply(nil, p, parts)
			if tt.change == nil && tt.want[0] != "" && strings.TrimSpace(string(again)) != tt.want[0] {
				t.Errorf("the document as a whole: %s", again)
			}
		})
	}
}

// Records that stand in texts inside values are found there.
func TestApplyRecordInside(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records = "data.batch" })
	src := `{"data":` + quoted(b64(`{"batch":[{"imei":1,"n":1},{"n":2}]}`)) + `}`
	s, err := m.Scan([]byte(src), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	p := Part{m.NewVector(testActions, Judgement{Keep: -1}), &Params{}}
	for i, want := range []string{`{"n":1}`, `{"n":2}`} {
		if out, _, ok := s.ApplyRecord(nil, i, p); !ok || string(out) != want {
			t.Errorf("record %d: %q %v, want %s", i, out, ok, want)
		}
	}
}

// So are those whose text stands in what a category governs, and they do not go.
func TestApplyRecordInsideWhatIsGoverned(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records = "**.batch" })
	for src, want := range map[string]bool{
		`{"data":` + quoted(b64(`{"batch":[{"n":1}]}`)) + `}`: true,
		`{"imei":` + quoted(b64(`{"batch":[{"n":1}]}`)) + `}`: false,
	} {
		s, err := m.Scan([]byte(src), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Len() {
			if out, _, ok := s.ApplyRecord(nil, i, Part{m.NewVector(testActions, Judgement{Keep: -1}), &Params{}}); ok != want {
				t.Errorf("record %d of %s: %q %v", i, src, out, ok)
			}
		}
		s.Free()
	}
}

// Finding the records takes no longer the more texts there are: fifty thousand
// records behind a hundred thousand texts would else take minutes.
func TestApplyRecordFindsRecordsBehindManyTexts(t *testing.T) {
	m := insideMatcher(t, func(s *Spec) { s.Records = "batch" })
	const texts, records = 100_000, 50_000
	src := `{"x":[` + strings.Repeat(`"{\"n\":1}",`, texts) + `1],"batch":"[{\"n\":0}]","batch":` + quoted(`[`+strings.Repeat(`{"n":1},`, records)+`{"imei":1}]`) + `}`
	s, err := m.Scan([]byte(src), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	if s.Len() != records+2 {
		t.Fatalf("%d records", s.Len())
	}
	p := Part{m.NewVector(testActions, Judgement{Keep: -1}), &Params{}}
	for i := range s.Len() {
		want := `{"n":1}`
		switch i {
		case 0:
			want = `{"n":0}`
		case records + 1:
			want = `{}`
		}
		if out, _, ok := s.ApplyRecord(nil, i, p); !ok || string(out) != want {
			t.Fatalf("record %d: %q %v", i, out, ok)
		}
	}
}
