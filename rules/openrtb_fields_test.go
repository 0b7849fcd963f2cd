package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// bidField is a field of a bid request.
type bidField struct {
	object string // of the specification
	path   string
	value  string // JSON
	beside map[string]string
}

func bidFields(t *testing.T) (fields []bidField) {
	t.Helper()
	text, err := os.ReadFile("testdata/openrtb-fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	object := ""
	for _, line := range strings.Split(string(text), "\n") {
		if o, ok := strings.CutPrefix(line, "= "); ok {
			object = o
		}
		if line == "" || line[0] == '#' || line[0] == '=' {
			continue
		}
		parts := strings.Split(line, " with ")
		f := bidField{object: object, beside: map[string]string{}}
		f.path, f.value, _ = strings.Cut(parts[0], " ")
		for _, p := range parts[1:] {
			path, value, _ := strings.Cut(p, " ")
			f.beside[path] = value
		}
		fields = append(fields, f)
	}
	if len(fields) < 250 {
		t.Fatalf("only %d fields", len(fields))
	}
	return fields
}

// arrays are the fields that hold lists of objects.
var arrays = []string{
	"imp", "source.schain.nodes", "source.ext.schain.nodes", "imp.metric", "imp.banner.format", "imp.video.companionad", "imp.audio.companionad", "imp.audio.durfloors", "imp.video.durfloors",
	"imp.pmp.deals", "imp.refresh.refsettings", "app.content.data", "app.content.data.segment", "device.sua.browsers",
	"user.eids", "user.eids.uids", "user.data", "user.data.segment", "user.ext.eids", "user.ext.eids.uids",
}

// request is a bid request with that field.
func (f bidField) request(t *testing.T) []byte {
	t.Helper()
	doc := map[string]any{"id": "r-1", "imp": []any{map[string]any{"id": "1"}}, "device": map[string]any{}}
	put := func(path, value string) {
		var v any
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		steps := strings.Split(path, ".")
		at := doc
		for i, s := range steps[:len(steps)-1] {
			whole := strings.Join(steps[:i+1], ".")
			next := at[s]
			if list, ok := next.([]any); ok {
				next = list[0]
			}
			if next == nil {
				next = map[string]any{}
				at[s] = next
				if slices.Contains(arrays, whole) {
					at[s] = []any{next}
				}
			}
			at = next.(map[string]any)
		}
		at[steps[len(steps)-1]] = v
	}
	for path, value := range f.beside {
		put(path, value)
	}
	put(f.path, f.value)
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bidStates are the columns of the table.
func bidStates(p *Policy) []scenario {
	adx := p.Recipient("adx")
	granted := answer(p, adx, consent.Granted, time.Time{}, "")
	accepted := consent.State{Policy: p.InForce(), Version: 1, Salt: []byte("0123456789abcdef")}
	personal := accepted
	personal.Grants = granted
	minor := personal
	minor.MinorUntil = goldenNow.AddDate(3, 0, 0)
	guarded := minor
	guarded.Guardian = &consent.Guardian{Method: "written", Purposes: []string{"*"}, Status: consent.Granted}
	return []scenario{
		{"未同意政策", "nothing accepted", consent.State{}},
		{"已同意政策", "policy accepted", accepted},
		{"同意个性化广告", "`ads.personalise` granted", personal},
		{"未成年人", "minor", minor},
		{"未成年人，监护人已同意", "minor with guardian", guarded},
	}
}

// fate says what became of a field: "=" is as it was, "–" gone, a word is the
// transform, and "→ 1" is what the gateway wrote.
func (f bidField) fate(t *testing.T, p *Policy, plan *Plan, s *consent.State) (category, fate string) {
	t.Helper()
	src := f.request(t)
	permits, _ := p.Permits(s, goldenNow)
	rel := plan.Routes[0].Release(permits, "")
	part := payload.Part{Vector: rel.Vector, Params: &payload.Params{Now: goldenNow, Key: []byte("0123456789abcdef0123456789abcdef")}}
	scan, err := plan.Matcher.Scan(src, payload.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer scan.Free()
	out, rep := scan.Apply(nil, part, []payload.Part{part})
	out = bytes.Clone(out)
	var names []string
	var before, after any
	if err := json.Unmarshal(out, &after); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(src, &before)
	steps := strings.Split(f.path, ".")
	was, is := leaves(before, steps), leaves(after, steps)
	categories := f.categories(t, plan)
	for _, c := range categories {
		names = append(names, p.CategoryName(c))
	}
	category = strings.Join(names, ", ")
	switch {
	case len(was) == 0:
		t.Fatalf("%s is not in its own request %s", f.path, src)
	case len(is) == 0:
		fate = "–"
	case fmt.Sprint(was) == fmt.Sprint(is):
		fate = "="
	case rep.Written > 0 && category == "":
		fate = fmt.Sprintf("→ %v", is[0])
	default:
		fate = "?"
		for _, c := range categories {
			if a := rel.Action(c); a.Op == payload.Transform {
				fate = transformName(a)
			}
		}
	}
	return category, fate
}

// transformName is what a policy calls the transform of an action.
func transformName(a payload.Action) string {
	for _, name := range deid.Names() {
		if strings.HasPrefix(nameOf(a), name) {
			return name
		}
	}
	return nameOf(a)
}

// categories returns what the matcher takes the field for, whatever its value.
func (f bidField) categories(t *testing.T, plan *Plan) (found []payload.Category) {
	t.Helper()
	const mark = "the value"
	f.value = `"` + mark + `"`
	src := f.request(t)
	scan, err := plan.Matcher.Scan(src, payload.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer scan.Free()
	at := bytes.Index(src, []byte(mark))
	for _, h := range scan.Hits {
		if int(h.Start) > at || int(h.End) < at {
			continue
		}
		for _, class := range []payload.Class{h.Class, h.Path} {
			for _, c := range plan.Matcher.Categories(class) {
				if !slices.Contains(found, c) {
					found = append(found, c)
				}
			}
		}
	}
	return found
}

// TestOpenRTBFields holds what becomes of every field of the specification
// against the tables of the documentation.
func TestOpenRTBFields(t *testing.T) {
	p := shipped(t)
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: "adx"})
	if err != nil {
		t.Fatal(err)
	}
	states := bidStates(p)
	type row struct{ category, fates string }
	var objects []string
	rows := map[string][]row{}
	fields := map[string]map[row][]string{}
	for _, f := range bidFields(t) {
		r := row{}
		for _, s := range states {
			category, fate := f.fate(t, p, plan, &s.state)
			if fate == "?" {
				t.Errorf("%s: nobody can say what becomes of it, %s", f.path, s.en)
			}
			r.category = category
			r.fates += " | " + strings.ReplaceAll(fate, "=", "✓")
		}
		if fields[f.object] == nil {
			objects = append(objects, f.object)
			fields[f.object] = map[row][]string{}
		}
		if fields[f.object][r] == nil {
			rows[f.object] = append(rows[f.object], r)
		}
		fields[f.object][r] = append(fields[f.object][r], f.path)
	}
	for _, doc := range []struct{ file, head string }{
		{"../docs/openrtb.md", "| fields | category | nothing accepted | accepted | `ads.personalise` | minor | minor, guardian agreed |\n"},
		{"../docs/openrtb.zh.md", "| 字段 | 类型 | 未同意政策 | 已同意政策 | 同意 `ads.personalise` | 未成年人 | 未成年人，监护人同意 |\n"},
	} {
		var b strings.Builder
		for _, o := range objects {
			fmt.Fprintf(&b, "### %s\n\n%s| --- | --- | --- | --- | --- | --- | --- |\n", o, doc.head)
			for _, r := range rows[o] {
				fmt.Fprintf(&b, "| %s | %s%s |\n", quoted(fields[o][r]), orDash(r.category), r.fates)
			}
			b.WriteString("\n")
		}
		compareSection(t, doc.file, b.String())
	}
}

// compareSection compares what stands between the marks of a page with what is
// generated.
func compareSection(t *testing.T, file, got string) {
	t.Helper()
	const from, to = "<!-- generated: go test ./rules -run TestOpenRTBFields -update -->\n\n", "<!-- end of what is generated -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), from)
	was, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no generated part", file)
	}
	if was == got {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+from+got+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(was, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s:\n got  %s\n want %s", file, g[i], w[i])
		}
	}
	t.Errorf("%s says something else; if what is now is meant, run go test ./rules -run TestOpenRTBFields -update and review the diff", file)
}
