package payload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// writeMatcher knows a card (0), which blocks, an imei (1), which drops, and a
// secret object (2), which drops.
func writeMatcher(t testing.TB, records string, writes ...Write) *Matcher {
	t.Helper()
	m, err := Compile(Spec{
		Rules: []Rule{{Category: 0, Keys: []string{"card"}}, {Category: 1, Keys: []string{"imei"}}, {Category: 2, Keys: []string{"secret"}}},
		Keep:  [][]string{{"kept", "device.lmt"}}, Unknown: true, Records: records, Writes: writes,
		Inside: Inside{Opener: testOpener{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMemberIsWritten(t *testing.T) {
	lmt := Write{Path: "device.lmt", Value: "1"}
	dnt := Write{Path: "device.dnt", Value: "true"}
	coppa := Write{Path: "regs.coppa", Value: "1", Create: true}
	gpc := Write{Path: "regs.gpc", Value: `"1"`, Create: true}
	top := Write{Path: "limited", Value: `"yes"`}
	deep := Write{Path: "a.b.c", Value: "0", Create: true}
	for _, tt := range []struct {
		name    string
		records string
		writes  []Write
		in, out string
	}{
		{"in the place of what stood there", "", []Write{lmt}, `{"device":{"lmt":0,"ua":"x"}}`, `{"device":{"lmt":1,"ua":"x"}}`},
		{"and nothing changes where it says so already", "", []Write{lmt}, `{"device":{"lmt":1,"ua":"x"}}`, `{"device":{"lmt":1,"ua":"x"}}`},
		{"whatever stood there", "", []Write{lmt}, `{"device":{"lmt":{"a":[1,{"imei":2}]},"ua":"x"}}`, `{"device":{"lmt":1,"ua":"x"}}`},
		{"an array too", "", []Write{lmt}, `{"device":{"lmt":[0,0]}}`, `{"device":{"lmt":1}}`},
		{"into an object that has none", "", []Write{lmt}, `{"device":{"ua":"x"}}`, `{"device":{"ua":"x","lmt":1}}`},
		{"into an empty object", "", []Write{lmt}, `{"device":{ }}`, `{"device":{"lmt":1 }}`},
		{"before the white space at the end", "", []Write{lmt}, "{\"device\":{\n \"ua\":\"x\"\n}}", "{\"device\":{\n \"ua\":\"x\",\"lmt\":1\n}}"},
		{"where all else is dropped", "", []Write{lmt}, `{"device":{"imei":1,"secret":{"a":1}}}`, `{"device":{"lmt":1}}`},
		{"where the last is dropped", "", []Write{lmt}, `{"device":{"ua":"x", "imei":1}}`, `{"device":{"ua":"x","lmt":1}}`},
		{"where the first is dropped", "", []Write{lmt}, `{"device":{"imei":1,"ua":"x"}}`, `{"device":{"ua":"x","lmt":1}}`},
		{"all duplicates go", "", []Write{lmt}, `{"device":{"lmt":0,"ua":"x","lmt":1,"lmt":0}}`, `{"device":{"lmt":1,"ua":"x"}}`},
		{"by any folded spelling", "", []Write{lmt}, `{"device":{"LMT":0,"$l_m_t":0,"ua":"x","l\u006dt":0}}`, `{"device":{"ua":"x","lmt":1}}`},
		{"but for the first of the right spelling", "", []Write{lmt}, `{"device":{"LMT":0,"lmt":0,"Lmt":0}}`, `{"device":{"lmt":1}}`},
		{"not without the object around it", "", []Write{lmt}, `{"ua":"x"}`, `{"ua":"x"}`},
		{"not where that is no object", "", []Write{lmt}, `{"device":7}`, `{"device":7}`},
		{"not elsewhere", "", []Write{lmt}, `{"lmt":0,"device":{"ext":{"lmt":0},"lmt":1},"user":{"device":{"lmt":0}}}`, `{"lmt":0,"device":{"ext":{"lmt":0},"lmt":1},"user":{"device":{"lmt":0}}}`},
		{"into every object of an array", "", []Write{lmt}, `{"device":[{"ua":"x"},{"lmt":0},7]}`, `{"device":[{"ua":"x","lmt":1},{"lmt":1},7]}`},
		{"into every object of that name", "", []Write{lmt}, `{"device":{"lmt":0},"Device":{"lmt":0}}`, `{"device":{"lmt":1},"Device":{"lmt":1}}`},
		{"several", "", []Write{lmt, dnt}, `{"device":{"dnt":0}}`, `{"device":{"dnt":true,"lmt":1}}`},
		{"not into what is dropped", "", []Write{{Path: "secret.lmt", Value: "1"}}, `{"secret":{"lmt":0},"ua":1}`, `{"ua":1}`},
		{"in the place of what would be dropped", "", []Write{{Path: "device.imei", Value: `""`}}, `{"device":{"imei":1}}`, `{"device":{"imei":""}}`},
		{"inside a text", "", []Write{lmt}, `{"device":"{\"lmt\":0,\"imei\":1}"}`, `{"device":"{\"lmt\":1}"}`},

		{"at the top", "", []Write{top}, `{"a":1}`, `{"a":1,"limited":"yes"}`},
		{"at the top of each element", "", []Write{top}, `[{"a":1},{}]`, `[{"a":1,"limited":"yes"},{"limited":"yes"}]`},
		{"at the top of no scalar", "", []Write{top}, `7`, `7`},

		{"making the object around it", "", []Write{coppa}, `{"id":"1"}`, `{"id":"1","regs":{"coppa":1}}`},
		{"not where it is there", "", []Write{coppa}, `{"regs":{"gdpr":1},"id":"1"}`, `{"regs":{"gdpr":1,"coppa":1},"id":"1"}`},
		{"nor where an array of it is there", "", []Write{coppa}, `{"regs":[{"gdpr":1}]}`, `{"regs":[{"gdpr":1,"coppa":1}]}`},
		{"nor where a text holds it", "", []Write{coppa}, `{"regs":"{\"imei\":1}"}`, `{"regs":"{\"coppa\":1}"}`},
		{"in the place of null", "", []Write{coppa}, `{"regs":null,"id":"1"}`, `{"regs":{"coppa":1},"id":"1"}`},
		{"in the place of a number", "", []Write{coppa}, `{"regs":7}`, `{"regs":{"coppa":1}}`},
		{"in the place of an array without any", "", []Write{coppa}, `{"regs":[[1]]}`, `{"regs":{"coppa":1}}`},
		{"in the place of a text without any", "", []Write{coppa}, `{"regs":"[{]"}`, `{"regs":{"coppa":1}}`},
		{"beside one of another spelling", "", []Write{coppa}, `{"Regs":{"coppa":0}}`, `{"Regs":{"coppa":1},"regs":{"coppa":1}}`},
		{"two in one", "", []Write{coppa, gpc}, `{}`, `{"regs":{"coppa":1,"gpc":"1"}}`},
		{"and with it what would be written there anyway", "", []Write{{Path: "regs.a", Value: "2"}, coppa}, `{}`, `{"regs":{"a":2,"coppa":1}}`},
		{"no further out than one", "", []Write{deep}, `{"x":1}`, `{"x":1}`},
		{"one further out", "", []Write{deep}, `{"a":{}}`, `{"a":{"b":{"c":0}}}`},

		{"in each record", "batch", []Write{lmt, top}, `{"batch":[{"device":{"lmt":0}},{"card":1,"device":{}},{"device":{}}],"sent":1}`,
			`{"batch":[{"device":{"lmt":1},"limited":"yes"},{"device":{"lmt":1},"limited":"yes"}],"sent":1}`},
		{"in the one record that is no array", "batch", []Write{top, coppa}, `{"batch":{"a":1},"sent":1}`, `{"batch":{"a":1,"limited":"yes","regs":{"coppa":1}},"sent":1}`},
		{"in the elements of a document", ".", []Write{top}, `[{"a":1},{"card":1},{}]`, `[{"a":1,"limited":"yes"},{"limited":"yes"}]`},
		{"in a document that is one record", ".", []Write{top}, `{"a":1}`, `{"a":1,"limited":"yes"}`},
		{"around the records", "device.batch", []Write{lmt}, `{"device":{"batch":[{"a":1},{"card":1}]}}`, `{"device":{"batch":[{"a":1}],"lmt":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := writeMatcher(t, tt.records, tt.writes...)
			numbers := make([]int, len(tt.writes))
			for i := range numbers {
				numbers[i] = i
			}
			v := m.NewVector([]Action{{Op: Block}, {Op: Drop}, {Op: Drop}}, Judgement{Keep: -1, Writes: numbers})
			got, rep := applied(t, m, v, tt.in)
			if got != tt.out {
				t.Errorf("of  %s\ngot  %s\nwant %s", tt.in, got, tt.out)
			}
			if rep.Written > 0 && got == tt.in || rep.Untouched() && got != tt.in {
				t.Errorf("of %s became %s, and %d were written", tt.in, got, rep.Written)
			}
			if again, rep := applied(t, m, v, got); again != got || rep.Written != 0 {
				t.Errorf("the second time, %s became %s, and %d were written", got, again, rep.Written)
			}
			idle := m.NewVector([]Action{{Op: Block}, {Op: Drop}, {Op: Drop}}, Judgement{Keep: -1})
			without := writeMatcher(t, tt.records)
			want, _ := applied(t, without, without.NewVector([]Action{{Op: Block}, {Op: Drop}, {Op: Drop}}, Judgement{Keep: -1}), tt.in)
			if got, rep := applied(t, m, idle, tt.in); got != want || rep.Written != 0 {
				t.Errorf("a vector that writes nothing made %s of %s, and one of a matcher that knows of no writes %s", got, tt.in, want)
			}
		})
	}
}

// What is written stays where the unknown is dropped.
func TestWhatIsWrittenIsNotUnknown(t *testing.T) {
	m := writeMatcher(t, "", Write{Path: "device.lmt", Value: "1"}, Write{Path: "regs.coppa", Value: "1", Create: true})
	v := m.NewVector([]Action{{Op: Block}, {Op: Drop}, {Op: Drop}}, Judgement{Keep: -1, Unknown: Drop, Writes: []int{0, 1}})
	got, _ := applied(t, m, v, `{"device":{"os":"a","lmt":0,"b":{"c":1}},"regs":{"gdpr":1}}`)
	if want := `{"device":{"lmt":1,"b":{}},"regs":{"coppa":1}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func applied(t testing.TB, m *Matcher, v *Vector, in string) (string, Report) {
	t.Helper()
	s, err := m.Scan([]byte(in), DefaultLimits)
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	defer s.Free()
	parts := make([]Part, s.Len())
	for i := range parts {
		parts[i] = Part{v, &Params{}}
	}
	out, rep := s.Apply(nil, Part{v, &Params{}}, parts)
	if !json.Valid(out) {
		t.Fatalf("%s became no JSON: %s", in, out)
	}
	return strings.Clone(string(out)), rep
}

func TestWhatCannotBeWritten(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{"device.*", "has one place, so the path has no wildcards"},
		{"**.lmt", "has one place"},
		{"device.**", "has one place"},
		{"a..b", "an empty step"},
		{"lmt", "create makes the object around a member, and this one stands in the record itself"},
	} {
		err := Write{Path: tt.path, Value: "1", Create: true}.Check()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.path, err)
		}
		if _, err := Compile(Spec{Writes: []Write{{Path: tt.path, Value: "1", Create: true}}}); err == nil {
			t.Errorf("%s compiles", tt.path)
		}
	}
}

// FuzzWrite holds for any document: what comes out is JSON, says what was
// written wherever there is a place for it, and says it again unchanged.
func FuzzWrite(f *testing.F) {
	for _, seed := range []string{
		`{"device":{"lmt":0,"LMT":1},"regs":null}`, `[{"device":{}},{"regs":[]}]`, `{"device":"{\"lmt\":0}","card":1}`,
		`{"device":[[{"imei":1}]],"regs":"{\"coppa\":0}"}`, `{"regs":{"coppa":{"a":1}},"device":{"secret":{},"imei":[1]}}`,
	} {
		f.Add([]byte(seed))
	}
	m := writeMatcher(f, "", Write{Path: "device.lmt", Value: "1"}, Write{Path: "regs.coppa", Value: "1", Create: true})
	v := m.NewVector([]Action{{Op: Null}, {Op: Drop}, {Op: Drop}}, Judgement{Keep: 0, Unknown: Drop, Writes: []int{0, 1}})
	lenient := m.NewVector([]Action{{Op: Null}, {}, {}}, Judgement{Keep: -1, Writes: []int{0, 1}})
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := m.Scan(src, DefaultLimits)
		if err != nil {
			return
		}
		defer s.Free()
		part := Part{v, &Params{}}
		out, _ := s.Apply(nil, part, []Part{part})
		out = bytes.Clone(out)
		var doc any
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatalf("%q became no JSON: %q", src, out)
		}
		if top, ok := doc.(map[string]any); ok {
			if regs, ok := top["regs"].(map[string]any); ok && regs["coppa"] != 1.0 {
				t.Errorf("%q became %q", src, out)
			}
			if top["regs"] == nil {
				t.Errorf("%q became %q", src, out)
			}
			if device, ok := top["device"].(map[string]any); ok && device["lmt"] != 1.0 {
				t.Errorf("%q became %q", src, out)
			}
		}
		// What an emptied text leaves is unknown the next time, so that is asked
		// where nothing unknown is dropped.
		once, _ := applied(t, m, lenient, string(src))
		if again, _ := applied(t, m, lenient, once); again != once {
			t.Errorf("%q became %q, and that %q", src, once, again)
		}
	})
}
