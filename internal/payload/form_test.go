package payload

import (
	"strings"
	"testing"
)

func applyForm(m *Matcher, src string, syn FormSyntax, j Judgement, spare func(string) bool) (string, Report, bool) {
	v := m.NewVector(testActions, j)
	s, err := m.ScanForm([]byte(src), syn, spare, DefaultLimits)
	if err != nil {
		panic(err)
	}
	defer s.Free()
	out, rep := s.Apply(nil, Part{v, &Params{}}, []Part{{v, &Params{}}})
	return string(out), rep, !rep.BlockedAll && rep.Blocked == 0
}

func TestApplyForm(t *testing.T) {
	m := testMatcher(t, nil)
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"nothing to do", "a=1&&b=%zz&c;d=+%20=x&", "a=1&&b=%zz&c;d=+%20=x&"},
		{"the only one", "imei=1", ""},
		{"the first", "imei=1&a=2", "a=2"},
		{"a middle one", "a=1&imei=2&b=3", "a=1&b=3"},
		{"the last", "a=1&imei=2", "a=1"},
		{"one without a value", "imei&a", "a"},
		{"every occurrence, however spelled", "IMEI=1&i_mei=2&a=3&%69mei=4&im%65i=5&$imei=6", "a=3"},
		{"encoded twice and three times", "im%2565i=1&im%252565i=2&a=3", "a=3"},
		{"encoded without end", "a" + strings.Repeat("%25", 1) + strings.Repeat("25", 9) + "65=1&b=2", "b=2"},
		{"a name that does not decode", "im%zzei=1&im%u0065i=2&a=3", "a=3"},
		{"after a semicolon", "a=1;imei=2;b=3", "a=1;b=3"},
		{"a space for a separator", "device+id=1&device%20id=2&a=3", "a=3"},
		{"Chinese", "%E6%89%8B%E6%9C%BA%E5%8F%B7=138&a=1", "a=1"},
		{"in brackets", "device[imei]=1&device[model]=x&imei[]=2&imei[0][x]=3", "device[model]=x"},
		{"a path in brackets", "user[id]=1&user[x]=2&id=3", "user[x]=2&id=3"},
		{"null", "nil_me=5&a=1", "nil_me=&a=1"},
		{"a transform", "name_of=a+b%26c&x=1", "name_of=A+B%26C&x=1"},
		{"a transform that changes nothing", "name_of=%41&x=1", "name_of=%41&x=1"},
		{"a value that does not fit", "name_of=misfit&x=1", "x=1"},
		{"a value that does not decode", "name_of=%zz&x=1", "x=1"},
		{"a position", "lat=-1.5&x=1&lng=2.5", "lat=-1&x=1&lng=2"},
		{"half a position", "lat=-1.5&x=1", "x=1"},
		{"an ambiguous position", "lat=-1.5&x=1&lng=2.5&gps_lat=1", "x=1"},
		{"two transforms", "two=1&x=1", "x=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, rep, ok := applyForm(m, tt.in, Query, Judgement{Keep: -1}, nil)
			if !ok || got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
			if rep.Untouched() != (tt.in == tt.want) {
				t.Errorf("Untouched() = %v", rep.Untouched())
			}
		})
	}
	if _, rep, ok := applyForm(m, "a=1&card=2", Query, Judgement{Keep: -1}, nil); ok || rep.Untouched() == false && rep.dropped != (bitset{}) {
		t.Error("a field that blocks did not block")
	}
}

func TestApplyCookies(t *testing.T) {
	m := testMatcher(t, nil)
	sid := func(name string) bool { return name == "imei" }
	for _, tt := range []struct {
		name, in, want string
		spare          func(string) bool
	}{
		{"nothing to do", "a=1; b=2", "a=1; b=2", nil},
		{"the first", "imei=1; a=2", "a=2", nil},
		{"the last", "a=2; imei=1", "a=2", nil},
		{"no space", "a=2;imei=1;b=3", "a=2;b=3", nil},
		{"encoded", "a=2; im%65i=1; b=3+4", "a=2; b=3+4", nil},
		{"one that always passes", "imei=1; mac=2", "imei=1", sid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, ok := applyForm(m, tt.in, Cookies, Judgement{Keep: -1}, tt.spare); !ok || got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestUnknownFields(t *testing.T) {
	m := testMatcher(t, func(s *Spec) { s.Unknown, s.Keep = true, [][]string{{"id", "imp.**"}} })
	got, _, _ := applyForm(m, "a=1&id=2&imp[x][y]=3&model=4&imei=5&b[id]=6&", Query, Judgement{Unknown: Drop}, nil)
	if want := "id=2&imp[x][y]=3&model=4&"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzForm checks that no reading of a rewritten form names what was dropped,
// and that what stays stands as it stood.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"a=1&imei=2", "im%2565i=1;b=2", "device[imei]=1&&x", "%=1&imei", "name_of=x&a"} {
		f.Add(s)
	}
	m := testMatcher(f, nil)
	f.Fuzz(func(t *testing.T, src string) {
		out, rep, ok := applyForm(m, src, Query, Judgement{Keep: -1}, nil)
		if !ok {
			return
		}
		if rep.Untouched() != (out == src) {
			t.Fatalf("%q became %q, untouched %v", src, out, rep.Untouched())
		}
		for _, seg := range strings.FieldsFunc(out, func(r rune) bool { return r == '&' || r == ';' }) {
			name, _, _ := strings.Cut(seg, "=")
			for n, k := 0, name; n < maxDecodings; n++ {
				b, ok := appendDecoded(nil, []byte(k), n == 0)
				d := string(b)
				if !ok {
					t.Fatalf("%q became %q: a name that does not decode stayed", src, out)
				}
				for _, step := range strings.FieldsFunc(d, func(r rune) bool { return r == '[' || r == ']' }) {
					if Fold(step) == "imei" {
						t.Fatalf("%q became %q", src, out)
					}
				}
				k = d
			}
		}
		if again, _, _ := applyForm(m, out, Query, Judgement{Keep: -1}, nil); again != out {
			t.Fatalf("%q became %q, and that became %q", src, out, again)
		}
	})
}
