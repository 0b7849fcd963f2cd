package payload

import (
	"strings"
	"testing"
)

func shownOf(s *Scan, c Category) string {
	var all []string
	s.Shown(c, func(text []byte) { all = append(all, string(text)) })
	return strings.Join(all, " ")
}

// Nothing of a category that a document shows may be missing from what Shown
// gives: who counts what is shown would count too little.
func TestShown(t *testing.T) {
	for _, c := range []struct{ says, in, want string }{
		{"a value", `{"imei":"a","n":"b"}`, "a"},
		{"those of an array", `{"imei":["a",["b"]]}`, "a b"},
		{"what a governed object holds, with its keys", `{"imei":{"x":"a","y":[1,{"z":true}],"n":null}}`, "x a y 1 z true n"},
		{"an object in an array", `{"imei":["a",{"x":"b"}]}`, "a x b"},
		{"what speaks for itself, once", `{"imei":{"x":{"mac":"a"},"mac":["b"],"y":"c"}}`, "x mac mac y c a b"},
		{"the object at a path", `{"user":{"id":{"v":"a"}}}`, "v a"},
		{"a string that has no text, as it is spelled", `{"imei":"a\ud800"}`, `"a\ud800"`},
		{"escapes are undone", `{"imei":"\u0061"}`, "a"},
		{"inside a value", `{"raw":` + quoted(b64(`{"imei":{"x":"a"}}`)) + `}`, "x a"},
		{"what was found by its looks", `{"text":"say <one1> so","n":12345678901}`, "<one1> 12345678901"},
		{"by the name beside it", `{"name":"imei","value":{"x":"a"}}`, "x a"},
		{"null is nothing", `{"imei":null}`, ""},
		{"nothing of other categories", `{"name_of":"a","model":{"x":"b"},"lat":1}`, ""},
	} {
		t.Run(c.says, func(t *testing.T) {
			s, err := insideMatcher(t, nil).Scan([]byte(c.in), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Free()
			if got := shownOf(s, catDrop); got != c.want {
				t.Errorf("%s shows %q, want %q", c.in, got, c.want)
			}
		})
	}
}
