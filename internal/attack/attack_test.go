package attack

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestASeedAndAnIndexGiveOneCase(t *testing.T) {
	for i := range uint64(600) {
		a, b := New(7, i), New(7, i)
		if !bytes.Equal(a.Wire(), b.Wire()) || !reflect.DeepEqual(a.Canaries, b.Canaries) {
			t.Fatalf("index %d gives two cases:\n%q\n%q", i, a.Wire(), b.Wire())
		}
		if c := New(8, i); bytes.Equal(a.Wire(), c.Wire()) {
			t.Fatalf("index %d is the same under two seeds", i)
		}
	}
}

// TestEveryPlaceWrappingAndItemIsReached counts what the cases of one cycle are
// about.
func TestEveryPlaceWrappingAndItemIsReached(t *testing.T) {
	type about struct {
		place, wrapping string
		item            int
	}
	got := map[about]int{}
	for i := range Cycle() {
		p, w, item := at(3, i)
		got[about{p.name, w.name, item}]++
	}
	want := 0
	for _, p := range places {
		for i, w := range wrappings {
			for item := range items {
				if i > 0 && !p.wraps || !p.takes(item) {
					continue
				}
				want++
				if got[about{p.name, w.name, item}] == 0 {
					t.Errorf("%s, %s, %s is never reached", p.name, w.name, itemName(item))
				}
			}
		}
	}
	if len(got) != want {
		t.Errorf("%d combinations are reached, %d can be", len(got), want)
	}
	t.Logf("%d combinations in %d cases", want, Cycle())
}

// TestTheSampleIsWide: what a build sends has met every place, wrapping, item,
// spelling, envelope, warp and subject, each place with every wrapping, and
// each spelling with every item.
func TestTheSampleIsWide(t *testing.T) {
	pairs := map[string]map[string]int{}
	count := func(kind, value string) {
		if pairs[kind] == nil {
			pairs[kind] = map[string]int{}
		}
		pairs[kind][value]++
	}
	honest := 0
	for i := range uint64(10000) {
		k := New(20260115, i)
		if k.Honest {
			honest++
		}
		count("place", k.Place)
		count("wrapping", k.Wrapping)
		count("item", k.Item)
		count("spelling", k.Spelling)
		count("envelope", k.Envelope)
		count("warp", strings.TrimSuffix(k.Hostile, " inside"))
		count("subject", k.Subject.String())
		count("place with wrapping", k.Place+" "+k.Wrapping)
		count("spelling with item", k.Spelling+" "+k.Item)
	}
	withWrapping := 0
	for _, p := range places {
		withWrapping++
		if p.wraps {
			withWrapping += len(wrappings) - 1
		}
	}
	names := map[string]bool{}
	for _, e := range envelopes {
		names[e.name] = true
	}
	for kind, want := range map[string]int{
		"place": len(places), "wrapping": len(wrappings), "item": items, "spelling": spellings, "subject": subjects,
		"envelope": len(names) + 1, // and none
		// misframed has names of its own, and none is one.
		"warp": len(warps) - 1 + misframings + 1, "place with wrapping": withWrapping,
	} {
		if got := len(pairs[kind]); got != want {
			t.Errorf("%s: %d of %d are met", kind, got, want)
		}
	}
	if got := len(pairs["spelling with item"]); got < spellings*items*9/10 {
		t.Errorf("%d of %d spellings with items are met", got, spellings*items)
	}
	if honest < 5000 {
		t.Errorf("only %d of 10000 are honest", honest)
	}
}

// TestEveryWrappingOpensAgain: what is written comes back, or the comparison of
// what arrived would prove nothing.
func TestEveryWrappingOpensAgain(t *testing.T) {
	const text = `{"imei":"860123456789012","note":"蓝色"}`
	for _, w := range wrappings {
		s := text
		for _, c := range w.chain {
			s = c.wrap(s)
		}
		for i := len(w.chain) - 1; i >= 0; i-- {
			var err error
			if s, err = w.chain[i].open(s); err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
		}
		if s != text {
			t.Errorf("%s: %q came back", w.name, s)
		}
	}
}

func TestAuditSeesThroughWhatAReceiverUndoes(t *testing.T) {
	canary := Canary{Value: "zqbcdfghjkmn", Needles: []string{"zqbcdfghjkmn"}, Gone: true}
	number := Canary{Value: "13800138000", Needles: []string{"13800138000"}, Gone: true}
	const doc = `{"imei":"zqbcdfghjkmn"}`
	wrapped := func(cs ...codec) string {
		s := doc
		for _, c := range cs {
			s = c.wrap(s)
		}
		return s
	}
	for name, body := range map[string]string{
		"clear":             doc,
		"another case":      `{"imei":"ZQBCDFGHJKMN"}`,
		"separators":        `zqbc-dfgh jkmn`,
		"escapes":           `{"imei":"\u007a\u0071\u0062cdfghjkmn"}`,
		"hex escapes":       `{"imei":"\x7aqbcdfghjkmn"}`,
		"six strings deep":  wrapped(jsonString, jsonString, jsonString, jsonString, jsonString, jsonString),
		"base64":            wrapped(b64),
		"base64 behind":     `a/` + wrapped(b64),
		"base64 in lines":   `{"a":` + jsonString.wrap(wrapped(b64, b64lines)) + `}`,
		"base64 thrice":     wrapped(b64, b64url, b64raw),
		"gzip":              wrapped(gz),
		"gzip in base64":    `{"data":"` + wrapped(gz, b64) + `"}`,
		"zlib in base64":    `data=` + wrapped(zl, b64),
		"zstd in base64":    wrapped(zs, b64),
		"brotli":            wrapped(br),
		"raw deflate":       wrapped(df),
		"two gzip members":  codec.compress(gz, "{}") + wrapped(gz),
		"percent":           wrapped(percent, percent, percent),
		"percent, broken":   `%zz` + wrapped(percent),
		"data URL":          wrapped(dataURL),
		"UTF-16":            wider(doc, true),
		"UTF-16 in base64":  base64.StdEncoding.EncodeToString([]byte(wider(doc, false))),
		"UTF-7":             `+AHoAcQBiAGMAZABmAGcAaABqAGsAbQBu-`,
		"entities":          `&#122;qbcdfghjkmn`,
		"full width":        "ｚｑｂｃｄｆｇｈｊｋｍｎ",
		"a number":          `{"phone":13800138000}`,
		"an exponent":       `{"phone":1.3800138E10}`,
		"a grouped number":  `138-0013-8000`,
		"full-width digits": wide("13800138000"),
	} {
		k := &Case{Canaries: []Canary{canary, number}}
		if found := k.Audit(&Arrived{Raw: []byte(body), Body: []byte(body)}); len(found) != 1 {
			t.Errorf("%s: %d found, not 1", name, len(found))
		}
	}
}

func TestAuditLooksEverywhere(t *testing.T) {
	k := &Case{Canaries: []Canary{{Needles: []string{"zqbcdfghjkmn"}, Gone: true}}}
	hidden := base64.StdEncoding.EncodeToString([]byte(`{"imei":"zqbcdfghjkmn"}`))
	for name, a := range map[string]*Arrived{
		"raw":           {Raw: []byte("zqbcdfghjkmn")},
		"target":        {Target: "/v1?data=" + hidden},
		"header":        {Header: http.Header{"X-Note": {"a", hidden}}},
		"header's name": {Header: http.Header{"Zqbcdfghjkmn": {"a"}}},
		"body":          {Body: []byte(hidden)},
		"trailer":       {Trailer: http.Header{"X-Note": {hidden}}},
	} {
		if len(k.Audit(a)) != 1 {
			t.Errorf("nothing was found in the %s", name)
		}
	}
}

func TestAuditLeavesWhatMayArrive(t *testing.T) {
	k := &Case{Canaries: []Canary{{Needles: []string{"zqbcdfghjkmn"}}}}
	a := &Arrived{Raw: []byte("zqbcdfghjkmn")}
	if found := k.Audit(a); len(found) != 0 {
		t.Errorf("found %v, which may arrive", found)
	}
	if found := k.AuditText("answer", a.Raw); len(found) != 1 {
		t.Error("an answer holds nothing of anyone")
	}
}

// TestWhatIsTakenAwayIsMissed: a gate that drops everything is found out.
func TestWhatIsTakenAwayIsMissed(t *testing.T) {
	missed := 0
	for i := range uint64(2000) {
		k := New(5, i)
		if !k.Honest || k.want.doc == nil || len(k.want.doc.members) == 0 {
			continue
		}
		body := "{}"
		if k.want.doc.shape == query {
			body = ""
		}
		if k.want.coded {
			body = k.want.codec.compress(body)
		}
		a := &Arrived{Target: k.Target, Header: http.Header{}, Body: []byte(body)}
		for _, h := range k.Header {
			a.Header.Add(h.Name, h.Value)
		}
		survivors := false
		for _, m := range k.want.doc.members {
			survivors = survivors || !m.gone
		}
		if survivors {
			missed++
			if k.Missing(a) == nil {
				t.Errorf("index %d (%s): all is gone, and nothing is missed", i, k.Label())
			}
		}
	}
	if missed < 300 {
		t.Errorf("only %d cases have something to miss", missed)
	}
}

// TestWhatArrivesAsItWasSentIsNotMissed: with nothing to take away, the same
// bytes are what is wanted.
func TestWhatArrivesAsItWasSentIsNotMissed(t *testing.T) {
	whole := 0
	for i := range uint64(3000) {
		k := New(6, i)
		gone := false
		for _, c := range k.Canaries {
			gone = gone || c.Gone
		}
		if !k.Honest || gone {
			continue
		}
		whole++
		a := &Arrived{Target: k.Target, Header: http.Header{}, Body: k.Body}
		for _, h := range k.Header {
			a.Header.Add(h.Name, h.Value)
		}
		if err := k.Missing(a); err != nil {
			t.Errorf("index %d (%s): %v", i, k.Label(), err)
		}
	}
	if whole < 120 {
		t.Errorf("only %d cases hold nothing to take away", whole)
	}
}

func TestMissingNamesWhatChanged(t *testing.T) {
	str := func(s string) *node { return &node{shape: scalar, raw: `"` + s + `"`, text: s} }
	doc := &node{shape: object, dirty: true, members: []member{
		{key: `"a"`, val: num("1.50")},
		{key: `"imei"`, val: str("x"), gone: true},
		{key: `"list"`, val: &node{shape: array, elems: []elem{{val: str("x"), gone: true}, {val: str("y")}}}},
		{key: `"text"`, val: &node{shape: loose, keep: []string{"before ", " after"}}},
		{key: `"in"`, val: &node{shape: wrap, text: "eyJhIjoxfQ", chain: []codec{b64}, inner: &node{shape: object, members: []member{{key: `"a"`, val: num("1")}}}}},
	}}
	for body, wrong := range map[string]bool{
		`{"a":1.50,"list":[null,"y"],"text":"before *** after","in":"eyJhIjoxfQ"}`:            false,
		`{ "a" : 1.50 , "list":[null,"y"],"text":"before  after","in":"eyJhIjoxfQ"}`:          false,
		`{"a":1.5,"list":[null,"y"],"text":"before *** after","in":"eyJhIjoxfQ"}`:             true, // the number's spelling
		`{"a":1.50,"imei":"x","list":[null,"y"],"text":"before *** after","in":"eyJhIjoxfQ"}`: true, // still there
		`{"list":[null,"y"],"a":1.50,"text":"before *** after","in":"eyJhIjoxfQ"}`:            true, // order
		`{"a":1.50,"list":["y"],"text":"before *** after","in":"eyJhIjoxfQ"}`:                 true, // an element's place
		`{"a":1.50,"list":[null,"y"],"text":"***","in":"eyJhIjoxfQ"}`:                         true, // the text around
		`{"a":1.50,"list":[null,"y"],"text":"before *** after","in":"e30"}`:                   true, // inside
		`{"a":1.50,"list":[null,"y"],"text":"before *** after","in":{"a":1}}`:                 true, // the codec
		`{"a":1.50,"list":[null,"y"],"text":"before *** after","in":"eyJhIjoxfQ==" }`:         true, // the padding
		`{"a":1.50,"list":[null,"y"],"text":"before *** after","in":"eyJhIjoxfQ",}`:           true, // no JSON
	} {
		k := &Case{Honest: true, want: want{doc: doc}}
		err := k.Missing(&Arrived{Body: []byte(body)})
		if (err != nil) != wrong {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestADragnetFindsWhoseCanaryItIs(t *testing.T) {
	cases := []*Case{New(9, 0), New(9, 1), New(9, 2), New(9, 3)}
	d := NewDragnet(cases)
	for _, k := range cases {
		c := k.Canaries[len(k.Canaries)-1]
		hits := d.Search([]byte(`{"uri":"/v1?a=` + escapeAll(c.Value) + `"}`))
		if len(hits) == 0 || hits[0].Case != k {
			t.Errorf("%s of case %d: %v", c.Value, k.Index, hits)
		}
	}
	if hits := d.Search([]byte(`{"uri":"/v1/report"}`)); len(hits) != 0 {
		t.Errorf("found %v in a text that holds nothing", hits)
	}
}

func TestValuesCheck(t *testing.T) {
	if got := luhn("7992739871"); got != "79927398713" {
		t.Errorf("the check digit of ISO/IEC 7812: %s", got)
	}
	if got := resident("11010519491231002"); got != "11010519491231002X" {
		t.Errorf("the check character of GB 11643: %s", got)
	}
	if got := hashCode("consent"); got != 951500826 {
		t.Errorf("String.hashCode: %d", got)
	}
}

// Whatever a receiver can undo, a dragnet undoes, and it knows identifiers by the
// hashes that are in use.
func TestADragnetOpensWhatItIsGiven(t *testing.T) {
	k := &Case{Canaries: []Canary{Plant("4D1F-88B2-77A0-51C3", "device.id.idfa")}}
	d := NewDragnet([]*Case{k})
	v := k.Canaries[0].Value
	inside := `{"id":"` + v + `"}`
	for name, text := range map[string]string{
		"as it is": inside, "in gzip in base64": `{"x":"` + b64.wrap(gz.wrap(inside)) + `"}`,
		"in percent twice": `{"x":"` + percent.wrap(percent.wrap(inside)) + `"}`, "in strings": `{"x":` + jsonString.wrap(jsonString.wrap(inside)) + `}`,
	} {
		if hits := d.Open("a record", []byte(text)); len(hits) != 1 || hits[0].Case != k {
			t.Errorf("%s: %v", name, hits)
		}
	}
	md5 := `{"didmd5":"7b7e0d7b0b6f4b6f6e5d2f8f2c1c4c5a"}`
	for _, n := range digests(v) {
		text := []byte(`{"h":"` + n + `"}`)
		if hits := d.Open("a record", text); len(hits) != 0 {
			t.Fatalf("digests are known before they were asked for: %v", hits)
		}
	}
	d.AddDigests([]*Case{k})
	for _, n := range digests(v) {
		if hits := d.Open("a record", []byte(`{"h":"`+n+`"}`)); len(hits) != 1 {
			t.Errorf("%s: %v", n, hits)
		}
	}
	if hits := d.Open("a record", []byte(md5)); len(hits) != 0 {
		t.Errorf("found %v in the hash of another", hits)
	}
}
