package payload

import (
	"strings"
	"testing"
)

// The categories of the tests.
const (
	catDrop Category = iota
	catNull
	catBlock
	catUpper // a transform that writes in upper case
	catGeo   // a pair transform
	catPass
	catOther // another transform than catUpper
)

type upper struct{ tag string }

func (u upper) Append(dst, text []byte, k Kind, _ *Params) ([]byte, Kind, bool) {
	if k != String && k != Number || strings.Contains(string(text), "misfit") {
		return dst, k, false
	}
	return append(dst, strings.ToUpper(string(text))...), k, true
}

// whole keeps what stands before the point of both coordinates.
type whole struct{}

func (whole) Append(dst, _ []byte, k Kind, _ *Params) ([]byte, Kind, bool) { return dst, k, false }

func (whole) AppendPair(lat, lon, a, b []byte, _ *Params) ([]byte, []byte, bool) {
	x, _, _ := strings.Cut(string(a), ".")
	y, _, _ := strings.Cut(string(b), ".")
	return append(lat, x...), append(lon, y...), x != "misfit"
}

var testActions = []Action{
	catDrop:  {Op: Drop},
	catNull:  {Op: Null},
	catBlock: {Op: Block},
	catUpper: {Op: Transform, T: upper{}},
	catGeo:   {Op: Transform, T: whole{}},
	catPass:  {},
	catOther: {Op: Transform, T: upper{"other"}},
}

func testMatcher(t testing.TB, change func(*Spec)) *Matcher {
	t.Helper()
	s := Spec{Rules: []Rule{
		{Category: catDrop, Keys: []string{"imei", "device_id", "手机号", "$mac", "both", "a.key.longer.than.sixteen.bytes"}, Paths: []string{"user.id", "deep.*.secret", "**.exif.gps", `"dotted.key".x`, "tree.**", "**.a.b.tail", "**.p.*.tail", "**.single"}},
		{Category: catNull, Keys: []string{"nil_me"}},
		{Category: catBlock, Keys: []string{"card"}},
		{Category: catUpper, Keys: []string{"name_of", "both", "two"}},
		{Category: catGeo, Keys: []string{"lat", "lng", "gps_lat", "gps_lon"}, Paths: []string{"device.geo"}},
		{Category: catPass, Keys: []string{"model"}},
		{Category: catOther, Keys: []string{"two"}},
	}}
	if change != nil {
		change(&s)
	}
	m, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rewrite(t testing.TB, m *Matcher, j Judgement, in string) (string, Report) {
	t.Helper()
	s, err := m.Scan([]byte(in), DefaultLimits)
	if err != nil {
		t.Fatalf("scanning %s: %v", in, err)
	}
	defer s.Free()
	v := m.NewVector(testActions, j)
	parts := make([]Part, len(s.Records))
	for i := range parts {
		parts[i] = Part{v, &Params{}}
	}
	out, rep := s.Apply(nil, Part{v, &Params{}}, parts)
	return string(out), rep
}

func TestApply(t *testing.T) {
	m := testMatcher(t, nil)
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to do", ` { "a" : [ 1.0e+1 , "\u0041" ] } `, ` { "a" : [ 1.0e+1 , "\u0041" ] } `},
		{"the only member", `{"imei":"1"}`, `{}`},
		{"the only member, spaced", `{ "imei" : "1" }`, `{  }`},
		{"the first member goes up to the next key", `{ "imei": 1 , "a": 2 }`, `{ "a": 2 }`},
		{"a middle member goes with the comma before", `{"a":1 , "imei":2 , "b":3}`, `{"a":1  , "b":3}`},
		{"the last member", `{"a":1, "imei":2 }`, `{"a":1 }`},
		{"two at the front", `{"imei":1,"device_id":2,"a":3}`, `{"a":3}`},
		{"two at the end", `{"a":3,"imei":1,"device_id":2}`, `{"a":3}`},
		{"all of three", "{\"imei\":1,\n\"device_id\":2,\n\"mac\":3}", `{}`},
		{"front and end", `{"imei":1,"a":2,"device_id":3,"b":4,"mac":5}`, `{"a":2,"b":4}`},
		{"every one of duplicates", `{"imei":1,"a":2,"imei":3,"IMEI":4}`, `{"a":2}`},
		{"case and separators", `{"I_M-E.I ":1,"Device-ID":2,"a":1}`, `{"a":1}`},
		{"leading sigils", `{"$#@imei":1,"mac":2,"_$mac":3,"a$imei":4}`, `{"a$imei":4}`},
		{"an escaped key", `{"im\u0065i":1,"\u0069mei":2,"a":3}`, `{"a":3}`},
		{"a Chinese key", `{"手机号":"138","昵称":"x"}`, `{"昵称":"x"}`},
		{"an escaped Chinese key", `{"\u624b\u673a\u53f7":"138","a":1}`, `{"a":1}`},
		{"other letters that fold alike", "{\"\u0131mei\":1,\"devıce_ıd\":2,\"device_iſ\":3}", "{\"\u0131mei\":1,\"devıce_ıd\":2,\"device_iſ\":3}"},
		{"the Kelvin sign is a k", "{\"a.\u212aey.longer.than.sixteen.bytes\":1,\"a\":1}", `{"a":1}`},
		{"a long key", `{"a":1,"AKeyLongerThanSixteenBytes":2}`, `{"a":1}`},
		{"a matched object goes whole", `{"imei":{"a":[1,{"b":2}]},"z":1}`, `{"z":1}`},
		{"a matched array goes whole", `{"z":1,"imei":[1,2,[3]]}`, `{"z":1}`},
		{"what passes is searched inside", `{"model":{"imei":1,"x":2}}`, `{"model":{"x":2}}`},
		{"within arrays", `[{"imei":1},[{"imei":2,"a":3}]]`, `[{},[{"a":3}]]`},
		{"null instead", `{"nil_me" : {"a":1}, "b":2}`, `{"nil_me" : null, "b":2}`},
		{"a transform", `{"name_of":"abc"}`, `{"name_of":"ABC"}`},
		{"a transform of an escaped string", `{"name_of":"a\u0062\"c\n"}`, `{"name_of":"AB\"C\u000a"}`},
		{"a transform that changes nothing leaves the spelling", `{"name_of":"\u0041"}`, `{"name_of":"\u0041"}`},
		{"a transform over an array", `{"name_of":[ "a", ["b", 1e5 ], {"c":1}, null, "misfit", true ]}`, `{"name_of":[ "A", ["B", 1E5 ], null, null, null, null ]}`},
		{"a transform drops an object", `{"a":1,"name_of":{"x":"y"}}`, `{"a":1}`},
		{"a value that does not fit is dropped", `{"name_of":"misfit","a":1}`, `{"a":1}`},
		{"a lone surrogate does not fit", `{"name_of":"\ud800","a":"\ud800"}`, `{"a":"\ud800"}`},
		{"dropping beats a transform", `{"both":"x","a":1}`, `{"a":1}`},
		{"two transforms drop", `{"two":"x","a":1}`, `{"a":1}`},
		{"a path from the root", `{"user":{"id":1,"x":2},"id":3}`, `{"user":{"x":2},"id":3}`},
		{"a path through arrays", `{"user":[{"id":1,"x":2},[{"id":3}]]}`, `{"user":[{"x":2},[{}]]}`},
		{"a path is anchored", `{"a":{"user":{"id":1}}}`, `{"a":{"user":{"id":1}}}`},
		{"a path with one step open", `{"deep":{"p":{"secret":1,"s":2},"q":{"secret":3}},"secret":4}`, `{"deep":{"p":{"s":2},"q":{}},"secret":4}`},
		{"a path from any depth", `{"a":{"exif":{"gps":1,"x":2}},"exif":{"gps":3}}`, `{"a":{"exif":{"x":2}},"exif":{}}`},
		{"a path of one step from any depth", `{"single":1,"x":[{"single":2,"y":3}]}`, `{"x":[{"y":3}]}`},
		{"a longer path from any depth", `{"tail":0,"b":{"tail":1},"a":{"b":[[{"tail":2,"x":3}]]},"z":{"a":{"b":{"tail":4}}}}`, `{"tail":0,"b":{"tail":1},"a":{"b":[[{"x":3}]]},"z":{"a":{"b":{}}}}`},
		{"a path from any depth with one step open", `{"p":{"q":{"tail":1},"tail":2},"x":{"p":[{"any":{"tail":3}}]}}`, `{"p":{"q":{},"tail":2},"x":{"p":[{"any":{}}]}}`},
		{"a path to everything below", `{"tree":{"a":1},"b":2}`, `{"b":2}`},
		{"a path with a dotted step", `{"dotted.key":{"x":1,"y":2}}`, `{"dotted.key":{"y":2}}`},
		{"a name/value pair", `[{"name":"imei","value":"86"},{"name":"other","value":"1"}]`, `[{"name":"imei"},{"name":"other","value":"1"}]`},
		{"a value/name pair", `[{"val":"86","key":"IMEI","z":1}]`, `[{"key":"IMEI","z":1}]`},
		{"a pair with an escaped name", `{"k":"im\u0065i","v":{"deep":1}}`, `{"k":"im\u0065i"}`},
		{"a pair with several values", `{"v":1,"k":"imei","v":2,"value":3}`, `{"k":"imei"}`},
		{"a pair with two names takes the strictest", `{"k":"model","v":1,"name":"imei"}`, ``},
		{"a position", `{"lat":-1.9,"x":1,"lng":"2.9"}`, `{"lat":-1,"x":1,"lng":"2"}`},
		{"half a position", `{"lat":1.9,"x":1}`, `{"x":1}`},
		{"an ambiguous position", `{"lat":1.9,"lng":2.9,"gps_lat":3.9,"x":1}`, `{"x":1}`},
		{"a position that does not fit", `{"lat":"misfit","lng":2.9,"x":1}`, `{"x":1}`},
		{"positions in each other", `{"lat":1.5,"in":{"lng":4.5,"lat":3.5},"lng":2.5}`, `{"lat":1,"in":{"lng":4,"lat":3},"lng":2}`},
		{"an object that is a position keeps nothing else", `{"device":{"geo":{"zip":"5","lon":2.5,"lat" : 1.5,"city":"x"}}}`, `{"device":{"geo":{"lon":2,"lat" : 1}}}`},
		{"an object that should be a position and is none", `{"device":{"geo":{"zip":"5"},"x":1}}`, `{"device":{"x":1}}`},
		{"a scalar where a position should be", `{"device":{"geo":"1,2","x":1}}`, `{"device":{"x":1}}`},
		{"a scalar root", `"imei"`, `"imei"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, rep := rewrite(t, m, Judgement{Keep: -1}, tt.in)
			if tt.want == "" { // blocked
				if rep.Blocked != 1 {
					t.Fatalf("%s was not blocked but became %s", tt.in, got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
			if rep.Untouched() != (tt.in == tt.want) {
				t.Errorf("Untouched() = %v", rep.Untouched())
			}
		})
	}
}

func TestApplyReturnsTheSameSliceWhenNothingChanges(t *testing.T) {
	m := testMatcher(t, nil)
	in := []byte(`{"model":"x","lat":null}`)
	s, err := m.Scan(in, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	v := m.NewVector([]Action{{}, {}, {}, {}, {}, {}, {}}, Judgement{Keep: -1})
	out, rep := s.Apply(nil, Part{Vector: v}, []Part{{Vector: v}})
	if &out[0] != &in[0] || len(out) != len(in) || !rep.Untouched() {
		t.Error("a copy was made")
	}
}

func TestUnknownScalars(t *testing.T) {
	m := testMatcher(t, func(s *Spec) {
		s.Unknown = true
		s.Keep = [][]string{{"other"}, {"id", "imp.**", "obj"}}
	})
	for _, tt := range []struct{ name, in, want string }{
		{"scalars go, containers stay", `{"a":1,"b":{"c":"x","d":[]},"e":[1,{"f":2}]}`, `{"b":{"d":[]},"e":[null,{}]}`},
		{"what is kept stays", `{"id":"1","imp":[{"id":"2","x":{"y":1}}],"z":0}`, `{"id":"1","imp":[{"id":"2","x":{"y":1}}]}`},
		{"a kept object is kept whole", `{"obj":{"a":{"b":1}},"z":0}`, `{"obj":{"a":{"b":1}}}`},
		{"keeping lifts no category", `{"imp":[{"imei":1,"x":2}],"obj":{"name_of":"a"}}`, `{"imp":[{"x":2}],"obj":{"name_of":"A"}}`},
		{"a category that passes is not unknown", `{"model":{"a":1,"imei":2},"z":0}`, `{"model":{"a":1}}`},
		{"the value of a named pair is not unknown", `[{"v":{"a":1},"k":"model"},{"v":{"a":1},"k":"what"}]`, `[{"v":{"a":1},"k":"model"},{"v":{}}]`},
		{"a name stays with a value that does, so that it is known again", `[{"name":"model","n":1,"value":"m"},{"name":"name_of","v":"x"},{"name":"imei","value":1},{"name":"model"},{"name":"other","value":"m"}]`, `[{"name":"model","value":"m"},{"name":"name_of","v":"X"},{},{},{}]`},
		{"a position's other members are unknown", `{"lat":1.5,"lng":2.5,"x":1}`, `{"lat":1,"lng":2}`},
		{"a scalar root", `1`, `null`},
		{"another list keeps nothing here", `{"other":1}`, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, rep := rewrite(t, m, Judgement{Unknown: Drop, Keep: 1}, tt.in)
			if got != tt.want {
				t.Errorf("\n in   %s\n got  %s\n want %s", tt.in, got, tt.want)
			}
			if rep.Untouched() != (tt.in == tt.want) {
				t.Errorf("Untouched() = %v", rep.Untouched())
			}
			if got, _ := rewrite(t, m, Judgement{Keep: -1}, `{"z":1}`); got != `{"z":1}` {
				t.Errorf("dropped for a recipient that takes unknown members: %s", got)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	batch := testMatcher(t, func(s *Spec) { s.Records = "batch" })
	root := testMatcher(t, func(s *Spec) { s.Records = "." })
	for _, tt := range []struct {
		name     string
		m        *Matcher
		in, want string
		records  int
		blocked  int
	}{
		{"each is its own", batch, `{"imei":1,"batch":[{"imei":2,"a":3},{"b":4}],"c":5}`, `{"batch":[{"a":3},{"b":4}],"c":5}`, 2, 0},
		{"paths start at a record", batch, `{"batch":[{"user":{"id":1}}],"user":{"id":2}}`, `{"batch":[{"user":{}}],"user":{}}`, 1, 0},
		{"one that blocks leaves, in the middle", batch, `{"batch":[{"a":1}, {"card":2} , {"b":3}]}`, `{"batch":[{"a":1} , {"b":3}]}`, 3, 1},
		{"one that blocks leaves, first", batch, `{"batch":[ {"card":2} , {"b":3}]}`, `{"batch":[ {"b":3}]}`, 2, 1},
		{"one that blocks leaves, last", batch, `{"batch":[{"b":3},{"imei":1,"card":2}]}`, `{"batch":[{"b":3}]}`, 2, 1},
		{"all block", batch, `{"batch":[{"card":3},{"card":2}]}`, `{"batch":[]}`, 2, 2},
		{"an object where an array is due", batch, `{"batch":{"imei":1,"a":2}}`, `{"batch":{"a":2}}`, 1, 0},
		{"an object that blocks", batch, `{"batch":{"card":1,"a":2},"z":1}`, `{"batch":null,"z":1}`, 1, 1},
		{"two arrays", batch, `{"batch":[{"imei":1}],"batch":[{"imei":1,"a":1}]}`, `{"batch":[{}],"batch":[{"a":1}]}`, 2, 0},
		{"arrays in a batch are records", batch, `{"batch":[[{"user":{"id":1}}],5]}`, `{"batch":[[{"user":{}}],5]}`, 2, 0},
		{"the document itself", root, `[{"imei":1},{"card":1},{"user":{"id":1}}]`, `[{},{"user":{}}]`, 3, 1},
		{"the document is an object", root, `{"imei":1,"a":2}`, `{"a":2}`, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tt.m.Scan([]byte(tt.in), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Records) != tt.records {
				t.Fatalf("%d records, want %d", len(s.Records), tt.records)
			}
			s.Free()
			got, rep := rewrite(t, tt.m, Judgement{Keep: -1}, tt.in)
			if got != tt.want || rep.Blocked != tt.blocked {
				t.Errorf("\n in   %s\n got  %s, %d blocked\n want %s, %d", tt.in, got, rep.Blocked, tt.want, tt.blocked)
			}
		})
	}
	if _, rep := rewrite(t, batch, Judgement{Keep: -1}, `{"card":1,"batch":[{"a":1}]}`); !rep.BlockedAll {
		t.Error("an envelope that blocks did not block all")
	}
}

func TestEveryRecordHasItsOwnVector(t *testing.T) {
	m := testMatcher(t, func(s *Spec) { s.Records = "batch" })
	s, err := m.Scan([]byte(`{"imei":0,"batch":[{"imei":1},{"imei":2},{"imei":3}]}`), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	strict, lenient := m.NewVector(testActions, Judgement{Keep: -1}), m.NewVector(make([]Action, 7), Judgement{Keep: -1})
	out, _ := s.Apply(nil, Part{Vector: strict}, []Part{{Vector: lenient}, {Vector: strict}, {Vector: lenient}})
	if got, want := string(out), `{"batch":[{"imei":1},{},{"imei":3}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIDs(t *testing.T) {
	m := testMatcher(t, func(s *Spec) {
		s.Records = "batch"
		s.Subject = []string{"userId", "context.user.id"}
		s.Device = []string{"device_id"}
	})
	s, err := m.Scan([]byte(`{"user_id":"env","batch":[{"userId":"u\u0031","device_id":5,"context":{"user":[{"id":"u2"}]}},{"x":{"userId":"no"}},{"USERID":["a","b"],"context":{"user":{"id":{"no":1}}}}]}`), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range s.IDs {
		text, ok := s.Text(id)
		if !ok {
			t.Error("no text")
		}
		kind := "user"
		if id.Device {
			kind = "device"
		}
		got = append(got, strings.Join([]string{string(rune('0' + id.Record)), kind, string(rune('0' + id.Source)), string(text)}, " "))
	}
	want := "/ user 0 env|0 user 0 u1|0 device 0 5|0 user 1 u2|2 user 0 a|2 user 0 b"
	if strings.Join(got, "|") != want {
		t.Errorf("\ngot  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestReportNamesWhatWasDone(t *testing.T) {
	m := testMatcher(t, nil)
	_, rep := rewrite(t, m, Judgement{Keep: -1}, `{"imei":1,"name_of":"a","nil_me":1,"model":2,"lat":5}`)
	var dropped, changed []Category
	rep.Dropped(func(c Category) { dropped = append(dropped, c) })
	rep.Changed(func(c Category) { changed = append(changed, c) })
	if len(dropped) != 3 || dropped[0] != catDrop || dropped[1] != catNull || dropped[2] != catGeo {
		t.Errorf("dropped %v", dropped)
	}
	if len(changed) != 1 || changed[0] != catUpper {
		t.Errorf("changed %v", changed)
	}
}
