package deid

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/payload"
)

// unfit stands in tables for "does not fit".
const unfit = "\x00"

var (
	testEnv    = Env{Recipient: "adx", Category: "device.id.oaid"}
	testParams = payload.Params{
		Now:   time.Date(2026, time.March, 9, 12, 0, 0, 0, time.UTC),
		Key:   []byte("0123456789abcdef0123456789abcdef"),
		Place: &payload.Place{Country: "CN", Area: "CN-GD", Lat: 23.1291, Lon: 113.2644, HasLatLon: true},
	}
)

// make1 makes a transform from its use in a policy, as `as:` takes it.
func make1(t testing.TB, use string) payload.Transformer {
	t.Helper()
	tr, err := newFromYAML(t, use, testEnv)
	if err != nil {
		t.Fatalf("%s: %v", use, err)
	}
	return tr
}

func newFromYAML(t testing.TB, use string, env Env) (payload.Transformer, error) {
	t.Helper()
	var as any
	if err := yaml.Unmarshal([]byte(use), &as); err != nil {
		t.Fatalf("%s: %v", use, err)
	}
	switch a := as.(type) {
	case string:
		return New(a, nil, env)
	case map[string]any:
		for name, args := range a {
			return New(name, args, env)
		}
	}
	t.Fatalf("%s is no use of a transform", use)
	return nil, nil
}

// apply returns the transformed text, or unfit.
func apply(t testing.TB, tr payload.Transformer, text string, kind payload.Kind) (string, payload.Kind) {
	t.Helper()
	return applyWith(t, tr, text, kind, &testParams)
}

// applyWith also checks what holds for every transform: that text is neither
// changed nor kept, and that dst is appended to.
func applyWith(t testing.TB, tr payload.Transformer, text string, kind payload.Kind, p *payload.Params) (string, payload.Kind) {
	t.Helper()
	raw := []byte(text)
	out, now, ok := tr.Append([]byte("dst:"), raw, kind, p)
	if string(raw) != text {
		t.Fatalf("%q was changed to %q", text, raw)
	}
	if !ok {
		return unfit, now
	}
	for i := range raw {
		raw[i] = '#'
	}
	rest, found := bytes.CutPrefix(out, []byte("dst:"))
	if !found {
		t.Fatalf("%q: result %q does not begin with dst", text, out)
	}
	again, _, ok := tr.Append(nil, []byte(text), kind, p)
	if !ok || !bytes.Equal(rest, again) {
		t.Fatalf("%q: became %q, and then %q", text, rest, again)
	}
	return string(rest), now
}

type example struct {
	says string
	in   string
	out  string
}

// checkAll checks that each example holds, and that its kind stays.
func checkAll(t *testing.T, use string, kind payload.Kind, examples []example) {
	t.Helper()
	tr := make1(t, use)
	for _, x := range examples {
		t.Run(x.says, func(t *testing.T) {
			out, now := apply(t, tr, x.in, kind)
			if out != x.out {
				t.Errorf("%s of %q is %q, want %q", use, x.in, out, x.out)
			}
			if out != unfit && now != kind {
				t.Errorf("%s of %q has kind %d, want %d", use, x.in, now, kind)
			}
		})
	}
}

func TestNamesAreSortedAndComplete(t *testing.T) {
	want := []string{"age", "constant", "digest", "geo", "ip", "mask", "pseudonym", "range", "time", "ua", "url"}
	if got := Names(); !slices.Equal(got, want) {
		t.Errorf("Names() = %v, want %v", got, want)
	}
}

func TestDocsAreTrue(t *testing.T) {
	docs := Docs()
	if len(docs) != len(Names()) {
		t.Fatalf("%d docs for %d transforms", len(docs), len(Names()))
	}
	for i, d := range docs {
		t.Run(d.Name, func(t *testing.T) {
			if d.Name != Names()[i] {
				t.Errorf("stands where %s should", Names()[i])
			}
			if !strings.HasSuffix(d.Summary, ".") {
				t.Errorf("summary %q is no sentence", d.Summary)
			}
			if len(d.Examples) == 0 {
				t.Error("has no example")
			}
			for _, use := range d.Examples {
				tr := make1(t, use)
				if _, keyed := tr.(payload.Keyed); keyed != d.Keyed {
					t.Errorf("Keyed is %v in the doc and %v in fact", d.Keyed, keyed)
				}
				if _, pair := tr.(payload.PairTransformer); pair != d.Pair {
					t.Errorf("Pair is %v in the doc and %v in fact", d.Pair, pair)
				}
			}
			if _, err := New(d.Name, nil, testEnv); (err == nil) != d.Bare {
				t.Errorf("Bare is %v, and without an argument the error is %v", d.Bare, err)
			}
			// What the doc gives as a default must be what holds without it.
			if d.Bare {
				all := map[string]any{}
				for _, a := range d.Args {
					if list, ok := a.Default.([]float64); ok {
						var l []any
						for _, f := range list {
							l = append(l, f)
						}
						all[a.Name] = l
					} else if a.Default != nil {
						all[a.Name] = a.Default
					}
				}
				bare, _ := New(d.Name, nil, testEnv)
				full, err := New(d.Name, all, testEnv)
				if err != nil || bare != full {
					t.Errorf("with all defaults given it is %v (%v), without %v", full, err, bare)
				}
			}
			for _, a := range d.Args {
				if a.Name == "" || !strings.HasSuffix(a.Summary, ".") || a.Type == "" {
					t.Errorf("argument %+v lacks something", a)
				}
			}
		})
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for _, x := range []struct{ use, want string }{
		{"hash", "write pseudonym"},
		{"SHA256", "a hash of an id is that id"},
		{"psuedonym", "did you mean pseudonym?"},
		{"scramble", "there are age, constant, digest, geo"},
		{"{mask: 3}", "takes arguments by name: first, last; write {mask: {first: 3, last: 4}}"},
		{"{mask: {frist: 3}}", `unknown argument "frist", did you mean first?`},
		{"{mask: {keep: 3}}", `unknown argument "keep", it takes first, last`},
		{"{mask: {first: -1}}", "first: -1 is outside 0 to 64"},
		{"{mask: {first: 1.5}}", "first: 1.5 is no whole number"},
		{"{mask: {first: '3'}}", "first: 3 is no number"},
		{"{mask: {first: null}}", "is no number"},
		{"{mask: {1: 2}}", "names of arguments are text"},
		{"constant", "write {constant: X}, or `as: null`"},
		{"{constant: 2020-01-01}", `{constant: "2000-01-01"}`},
		{"{constant: [1]}", "must be text, a number, true or false"},
		{"{constant: .nan}", "JSON has no NaN"},
		{"{ip: {v4: 32}}", "v4: 32 is outside 0 to 24"},
		{"{ip: {v6: 128}}", "v6: 128 is outside 0 to 64"},
		{"{ip: city}", "write {ip: area} or {ip: country}"},
		{"{ip: province}", `"province" is none of area, country`},
		{"{ip: {place: area, v4: 16}}", "place stands alone"},
		{"{geo: country}", "a country has no one position; write {geo: area}"},
		{"{geo: province}", `"province" is none of city, area`},
		{"geo", "needs an argument; write {geo: city} or {geo: {decimals: 1}}"},
		{"{geo: {}}", "needs an argument"},
		{"{geo: {decimals: 1, grid_km: 1}}", "exactly one of decimals, grid_km, place"},
		{"{geo: {place: city, grid_km: 1}}", "exactly one of decimals, grid_km, place"},
		{"{geo: {decimals: 5}}", "decimals: 5 is outside 0 to 4"},
		{"{geo: {grid_km: 0}}", "grid_km: 0 is outside 0.1 to 5000"},
		{"{geo: {grid_km: .inf}}", "is no number"},
		{"{time: week}", `"week" is none of hour, day, month, year`},
		{"{time: {unit: 3}}", "unit: 3 is no text"},
		{"{time: {zone: Asia/Nowhere}}", "an offset as +08:00 always is"},
		{"{time: {zone: Local}}", `"Local" is no time zone`},
		{"{time: {zone: ''}}", `"" is no time zone`},
		{"{age: {bands: []}}", "has 0 elements"},
		{"{age: {bands: 18}}", "bands: 18 is no list"},
		{"{age: {bands: [18, 18]}}", "18 does not follow 18"},
		{"{age: {bands: [0]}}", "0 is outside 1 to 130"},
		{"{age: {bands: [17.5]}}", "17.5 is no whole number"},
		{"{age: {bands: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}}", "has 17 elements, and may have 1 to 16"},
		{"range", "needs an argument; write {range: {step: 10}} or {range: {edges: [0, 100, 1000]}}"},
		{"{range: {step: 0}}", "step: 0 is outside"},
		{"{range: {step: 0.1234567}}", "more than 6 decimals"},
		{"{range: {edges: [1, 0]}}", "0 does not follow 1"},
		{"{range: {edges: [a]}}", "a is no number"},
		{"{ua: full}", "takes no argument"},
		{"{url: {query: keep}}", `takes no argument "query"`},
		{"{pseudonym: {join: ''}}", "join must not be empty"},
	} {
		_, err := newFromYAML(t, x.use, testEnv)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error is %v, want %q in it", x.use, err, x.want)
		}
	}
	if _, err := New("pseudonym", nil, Env{Recipient: "adx"}); err == nil {
		t.Error("a pseudonym without a category should be an error")
	}
}

// uses are the transforms that the properties below are checked on.
var uses = []string{
	"mask", "{mask: {first: 3, last: 4}}",
	"{constant: X}", "{constant: 0}", "{constant: true}",
	"pseudonym", "{pseudonym: {join: device}}",
	"ip", "{ip: {v4: 16, v6: 32}}", "{ip: area}", "{ip: country}",
	"{geo: {decimals: 1}}", "{geo: {grid_km: 10}}", "{geo: city}", "{geo: area}",
	"time", "{time: year}", "{time: {unit: hour, zone: '+05:30'}}", "{time: {zone: Asia/Shanghai}}",
	"age", "{age: {bands: [14, 18]}}",
	"{range: {step: 10}}", "{range: {step: 0.25}}", "{range: {edges: [-5, 0, 1.5]}}",
	"ua", "url",
}

// What the rules compare must be comparable, and equal where the policy is.
func TestEqualUsesAreEqualTransforms(t *testing.T) {
	for i, a := range uses {
		for j, b := range uses {
			if equal := make1(t, a) == make1(t, b); equal != (i == j) {
				t.Errorf("%s == %s is %v", a, b, equal)
			}
		}
	}
	one := payload.Action{Op: payload.Transform, T: make1(t, "{range: {edges: [0, 1]}}")}
	two := payload.Action{Op: payload.Transform, T: make1(t, "{range: {edges: [0, 1]}}")}
	if payload.Stricter(one, two).Op != payload.Transform {
		t.Error("two categories that agree on a transform should not drop")
	}
}

func TestNumbersFromJSONAreArgumentsToo(t *testing.T) {
	fromJSON, err := New("ip", map[string]any{"v4": 16.0, "v6": 32.0}, testEnv)
	if err != nil || fromJSON != make1(t, "{ip: {v4: 16, v6: 32}}") {
		t.Errorf("got %v, %v", fromJSON, err)
	}
}

func TestOnlyConstantFitsBooleansAndNull(t *testing.T) {
	for _, use := range uses {
		for kind, text := range map[payload.Kind]string{payload.Bool: "true", payload.NullValue: "null"} {
			out, _ := apply(t, make1(t, use), text, kind)
			if (out != unfit) != strings.Contains(use, "constant") {
				t.Errorf("%s of %s is %q", use, text, out)
			}
		}
	}
}

// inherent says whether a transform may answer with something that contains
// the value: when the value has the form that the transform makes.
func inherent(use, in, out string) bool {
	switch {
	case strings.Contains(use, "constant"), strings.Contains(use, "age"), use == "ua":
		return true // the words of the result do not come from the value
	case use == "url":
		return true // FuzzURL looks closer
	case strings.Contains(use, "mask"):
		return strings.Count(in, "*") >= utf8.RuneCountInString(in)-7
	case strings.Contains(use, "pseudonym"):
		return false
	}
	return in == out || strings.Trim(in, " ") == out || strings.Trim(in, "+0.") == strings.Trim(out, "0.")
}

func FuzzTransforms(f *testing.F) {
	for _, s := range seeds {
		for kind := range 4 {
			f.Add(s, uint8(kind))
		}
	}
	transforms := map[string]payload.Transformer{}
	for _, use := range uses {
		transforms[use] = make1(f, use)
	}
	f.Fuzz(func(t *testing.T, text string, k uint8) {
		kind := payload.Kind(k % 4)
		if kind == payload.Number && !json.Valid([]byte(text)) || !utf8.ValidString(text) {
			return
		}
		for use, tr := range transforms {
			out, now := apply(t, tr, text, kind)
			if out == unfit {
				continue
			}
			switch now {
			case payload.String:
				if !utf8.ValidString(out) {
					t.Errorf("%s of %q is %q, not UTF-8", use, text, out)
				}
			case payload.Number:
				var n json.Number
				if json.Unmarshal([]byte(out), &n) != nil || out[0] == '"' {
					t.Errorf("%s of %q is %q, no number", use, text, out)
				}
				if out == "-0" {
					t.Errorf("%s of %q is %q", use, text, out)
				}
			case payload.Bool:
				if out != "true" && out != "false" {
					t.Errorf("%s of %q is %q, no boolean", use, text, out)
				}
			default:
				t.Errorf("%s of %q has kind %d", use, text, now)
			}
			if len(text) >= 6 && strings.Contains(out, text) && !inherent(use, text, out) {
				t.Errorf("%s of %q is %q: the value passes", use, text, out)
			}
			// A transform reads what it wrote, and leaves it alone.
			if strings.Contains(use, "pseudonym") || strings.Contains(use, "age") || use == "ua" {
				continue
			}
			if use == "{ip: area}" || use == "{ip: country}" {
				continue // a place is no address
			}
			if again, _ := apply(t, tr, out, now); again != out {
				t.Errorf("%s of %q is %q, and of that %q", use, text, out, again)
			}
		}
	})
}

// seeds are values as clients send them, and as attackers do.
var seeds = []string{
	"", "0", "-0", "1", "true", "null", "-17.25", "1e3", "1e400", "-1e-400", "860123456789012",
	"6D92078A-8246-4BA4-AE5B-76104861E7DC", "00000000-0000-0000-0000-000000000000",
	"9774d56d682e549c", "a3f5c1d2e4b60718", "3C:5A:B4:01:02:03", "13812345678", "张三丰", "zhang@example.cn",
	"203.0.113.77", "203.0.113.77:8080", "[2001:db8:1:2::3]:443", "::ffff:203.0.113.77", "fe80::1%eth0", "2002:cb00:714d::1",
	"31.230416", "-0.04", "90", "-180",
	"2022-03-09T15:04:05.123+08:00", "2022-03-09 15:04", "2022-03-09", "20220309", "1990", "1646809445", "1646809445123", "1646809445123456789", "1646809445.5", "2022/13/09",
	"Mozilla/5.0 (Linux; Android 13; M2012K11AC Build/TKQ1.220829.002) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.5615.136 Mobile Safari/537.36",
	"CrOS x86_64 14541.0.0", "Android", "http://;a;a;a;a", "(((((((;;;;;;;",
	"https://user:pw@example.cn:8443/a;jsessionid=1/b?imei=86#f", " \thttp://h", `http:\\h\p`, "javascript:alert(1)", "//h/%253Fimei=1", "/a%3bv=1/b",
}

func FuzzTransformsOfLongText(f *testing.F) {
	f.Add("a", uint16(9000))
	f.Add("http://a/;%25", uint16(9000))
	f.Add("(;", uint16(9000))
	f.Fuzz(func(t *testing.T, unit string, n uint16) {
		if !utf8.ValidString(unit) || len(unit) > 20 {
			return
		}
		text := strings.Repeat(unit, int(n))
		for _, use := range uses {
			if out, _ := apply(t, make1(t, use), text, payload.String); len(out) > len(text)+64 {
				t.Errorf("%s made %d bytes of %d", use, len(out), len(text))
			}
		}
	})
}

func BenchmarkTransforms(b *testing.B) {
	for use, in := range map[string]string{
		"mask":                        "13812345678",
		"pseudonym":                   "6D92078A-8246-4BA4-AE5B-76104861E7DC",
		"ip":                          "203.0.113.77",
		"time":                        "2022-03-09T15:04:05.123+08:00",
		"age":                         "1990-05-17",
		"{range: {step: 10}}":         "-17.25",
		"{range: {edges: [0,10,20]}}": "17.25",
		"ua":                          "Mozilla/5.0 (Linux; Android 13; M2012K11AC Build/TKQ1.220829.002) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.5615.136 Mobile Safari/537.36",
		"url":                         "https://user:pw@example.cn:8443/a;jsessionid=1/b?imei=86#f",
	} {
		b.Run(use, func(b *testing.B) { benchmark(b, make1(b, use), []byte(in)) })
	}
}

// The worst that a megabyte of hostile text can cost.
func BenchmarkHostile(b *testing.B) {
	for _, unit := range []string{"a", "张", "/;", "%25", "0", "(;"} {
		text := []byte("https://h/" + strings.Repeat(unit, 1<<20/len(unit)))
		for _, use := range []string{"mask", "pseudonym", "ip", "time", "age", "{range: {step: 10}}", "ua", "url"} {
			b.Run(use+" of "+unit, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				benchmark(b, make1(b, use), text)
			})
		}
	}
}

func benchmark(b *testing.B, tr payload.Transformer, text []byte) {
	dst := make([]byte, 0, 2*len(text)+64)
	b.ReportAllocs()
	for b.Loop() {
		tr.Append(dst, text, payload.String, &testParams)
	}
}
