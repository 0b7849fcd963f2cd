package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/consent"
)

// A golden is a table that a lawyer can read and that a test compares.
type golden struct {
	file   string // below testdata
	render func() string
}

// goldens are all tables of a policy.
func goldens(p *Policy) []golden {
	list := []golden{
		{"policy.md", func() string { return frameTable(p) }},
		{"exemptions.md", func() string { return exemptionTable(p) }},
		{"since.md", func() string { return sinceTable(p) }},
	}
	for _, r := range p.Recipients() {
		list = append(list,
			golden{"purposes/" + r.ID + ".md", func() string { return purposeTable(p, r) }},
			golden{"releases/" + r.ID + ".md", func() string { return table(p, r) }})
	}
	return list
}

// TestReleases holds what every recipient gets, in every state, for every
// purpose and under every exemption, against tables that a lawyer can read.
func TestReleases(t *testing.T) {
	known := map[string]bool{}
	for _, g := range goldens(shipped(t)) {
		file := filepath.Join("testdata", g.file)
		known[file] = true
		t.Run(strings.TrimSuffix(g.file, ".md"), func(t *testing.T) { compareGolden(t, file, g.render()) })
	}
	tables, _ := filepath.Glob("testdata/*.md")
	more, _ := filepath.Glob("testdata/*/*.md")
	for _, f := range append(tables, more...) {
		if !known[f] {
			t.Errorf("%s is the table of nothing: delete it", f)
		}
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gl, wl := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gl), len(wl)) {
		if gl[i] != wl[i] {
			t.Errorf("line %d\n got  %s\n want %s", i+1, gl[i], wl[i])
		}
	}
	t.Errorf("%s differs; if that is meant, run go test ./rules -run TestReleases -update and review the diff", file)
}

const regenerate = "重新生成 Regenerate: `go test ./rules -run TestReleases -update`\n\n"

func titled(t Title) string { return t.ZH + " " + t.EN }

func quoted(names []string) string {
	if len(names) == 0 {
		return "–"
	}
	return "`" + strings.Join(names, "` `") + "`"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// frameTable renders what holds for the policy as a whole.
func frameTable(p *Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s · %s\n\n"+regenerate, titled(p.Title()), p.ID())
	fmt.Fprintf(&b, "| | |\n| --- | --- |\n")
	fmt.Fprintf(&b, "| 版本 versions | %s |\n| 控制者 controller | %s |\n| 联系方式 contact | %s |\n| 境内 home | %s |\n| 未成年人 minor | %s |\n",
		strings.Join(p.Versions(), ", "), p.Controller(), orDash(p.Contact()), strings.Join(p.Home(), ", "), minority(p.MinorUnder()))
	b.WriteString("\n不能以规则表达的条款，及其证明：\n\nClauses that no rule expresses, and what proves each:\n\n| 条款 clause | 测试 test |\n| --- | --- |\n")
	for _, c := range p.src.clauses {
		fmt.Fprintf(&b, "| %s | %s |\n", c.clause.s, quoted(plainWords(c.tests)))
	}
	return b.String()
}

func minority(under int) string {
	if under == 0 {
		return "–"
	}
	return fmt.Sprintf("%d 周岁以下 under %d", under, under)
}

// purposeTable renders what a recipient gets on a route for one purpose alone:
// where the purpose may run, and where it may not. Rows are what goes, and what
// some entry of the recipient speaks of.
func purposeTable(p *Policy, r *Recipient) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s · %s\n\n", titled(r.Title), r.ID)
	b.WriteString("每节为仅服务于该目的的路径：第一栏为该目的可执行时，第二栏为不可执行时，第三栏为适用的专门规则及其条款。未列出的类型一律去除。\n\n" +
		"A section is a route for that purpose alone: first where it may run, then where it may not, then the entry that decides with its clause. What is not listed is dropped.\n\n" + regenerate)
	src := p.src.recipients[r.index]
	fmt.Fprintf(&b, "| | |\n| --- | --- |\n| 类别 kind | %s |\n| 条款 clause | %s |\n| 公司 vendor | %s |\n| 国家 country | %s |\n| 逐方同意 per | %s |\n| 其他保留字段 keep | %s |\n| 请求头 headers | %s |\n",
		r.Kind, orDash(r.Clause), orDash(r.Vendor), orDash(r.Country), orDash(r.Per), quoted(r.Keep), quoted(r.Headers))
	b.WriteString(partnerRows(r))
	all := consent.State{Policy: p.InForce(), Version: 1, Grants: answer(p, r, consent.Granted, time.Time{}, "")}
	permits, _ := p.Permits(&all, goldenNow)
	var specs []RouteSpec
	for _, u := range r.purposes {
		specs = append(specs, RouteSpec{Recipient: r.ID, Purposes: []string{u.ID}})
	}
	plan, err := p.Plan(Inbound{}, specs...)
	if err != nil {
		return err.Error()
	}
	for i, u := range r.purposes {
		fmt.Fprintf(&b, "\n## %s · `%s`\n\n条款 clause: %s；依据 basis: %s\n\n", titled(u.Title), u.ID, orDash(u.Clause), u.Basis)
		b.WriteString("| 个人信息类型 category | 可执行 may run | 不可执行 may not | 专门规则 entry |\n| --- | --- | --- | --- |\n")
		runs, not := plan.Routes[i].Release(permits, "client"), plan.Routes[i].Stranger()
		for c, cat := range p.Categories() {
			entries := entriesFor(p, &src, cat.ID)
			yes, no := nameOf(runs.Actions[c]), nameOf(not.Actions[c])
			if entries != "" || yes != "–" || no != "–" {
				fmt.Fprintf(&b, "| %s · `%s` | %s | %s | %s |\n", titled(cat.Title), cat.ID, yes, no, entries)
			}
		}
	}
	return b.String()
}

// partnerRows renders how pseudonyms change, what only a crowd may show, and
// what the gateway writes itself.
func partnerRows(r *Recipient) string {
	var b strings.Builder
	if p := r.Pseudonyms; p.Length > 0 {
		fmt.Fprintf(&b, "| 假名更换 pseudonyms | 每 every %v，过渡 overlap %v |\n", p.Length, p.Overlap)
	}
	if k := r.KAnonymity; k != nil {
		fmt.Fprintf(&b, "| 同类人数 k_anonymity | ≥ %d 人 subjects，%v |\n", k.K, k.Window)
	}
	for _, s := range r.Set {
		when := ""
		if s.Unless != "" {
			when += "；除非 unless `" + s.Unless + "`"
		}
		if s.Minor {
			when += "；未成年人 minor"
		}
		if s.Create {
			when += "；补建 create"
		}
		fmt.Fprintf(&b, "| 写入 set | `%s` = `%s`%s · %s |\n", s.Path, s.Value, when, orDash(s.Clause))
	}
	return b.String()
}

// entriesFor renders the entries that decide about a category.
func entriesFor(p *Policy, r *recipient, id string) string {
	var list []string
	for i := range r.release {
		e := &r.release[i]
		if !(&checker{p: p}).decidedBy(r, e, id) {
			continue
		}
		text := inWords(e.as)
		if e.orElse.name != "" {
			text += ", else " + inWords(e.orElse)
		}
		list = append(list, text+" · "+orDash(e.clause))
	}
	return strings.Join(list, "; ")
}

// inWords is an action as it was written.
func inWords(a spelled) string {
	if a.args == nil {
		return a.name
	}
	n := *a.args
	n.Style = yaml.FlowStyle
	out, err := yaml.Marshal(&n)
	if err != nil {
		panic(err) // what was read can be written
	}
	return a.name + " " + strings.TrimSpace(string(out))
}

// exemptionTable renders what passes on a route that invokes one exemption and
// serves no purpose, for one who granted nothing.
func exemptionTable(p *Policy) string {
	var b strings.Builder
	b.WriteString("# 无需同意的情形 Exemptions\n\n" +
		"每节为仅援引该情形的路径，本人未作任何同意：依次为本方、境内他方、境外他方。未列出的类型一律去除。\n\n" +
		"A section is a route that invokes that exemption alone, for one who granted nothing: to the first party, to another at home, to another abroad. What is not listed is dropped.\n\n" + regenerate)
	to := []string{"backend", "jpush", "measure_overseas"}
	var specs []RouteSpec
	for _, x := range p.Exemptions() {
		for _, name := range to {
			specs = append(specs, RouteSpec{Recipient: name, Purposes: []string{}, Exempt: []string{x.ID}})
		}
	}
	plan, err := p.Plan(Inbound{}, specs...)
	if err != nil {
		return err.Error()
	}
	for i, x := range p.Exemptions() {
		fmt.Fprintf(&b, "## %s · `%s`\n\n条款 clause: %s\n\n| 个人信息类型 category | `%s` |\n| --- | --- | --- | --- |\n", titled(x.Title), x.ID, orDash(x.Clause), strings.Join(to, "` | `"))
		for c, cat := range p.Categories() {
			var row []string
			for _, r := range plan.Routes[i*len(to) : (i+1)*len(to)] {
				row = append(row, nameOf(r.Stranger().Actions[c]))
			}
			if strings.Join(row, "") != "–––" {
				fmt.Fprintf(&b, "| %s · `%s` | %s |\n", titled(cat.Title), cat.ID, strings.Join(row, " | "))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sinceTable renders which purposes would run for somebody whose acceptance and
// answers are of a version before all of this policy's.
func sinceTable(p *Policy) string {
	const older = "2021-01-01"
	var b strings.Builder
	fmt.Fprintf(&b, "# 旧版本下的同意 Answers from an older version\n\n"+
		"设政策曾有 %s 版，本人接受的是该版，并在其下同意了全部目的：哪些目的仍可执行？\n\n"+
		"Had the policy had a version of %s, and had somebody accepted that one and granted everything under it: which purposes would still run?\n\n"+regenerate, older, older)
	b.WriteString("| 处理目的 purpose | 接收方 recipient | 仍可执行 still runs |\n| --- | --- | --- |\n")
	p, err := withVersion(p, older)
	if err != nil {
		return err.Error()
	}
	for _, r := range p.Recipients() {
		grants := answer(p, r, consent.Granted, time.Time{}, "")
		for k, g := range grants {
			g.Version = older
			grants[k] = g
		}
		permits, _ := p.Permits(&consent.State{Policy: older, Version: 1, Grants: grants}, goldenNow)
		for i, u := range r.purposes {
			runs := "–"
			if permits.word(r, "client")>>i&1 != 0 {
				runs = "是 yes"
			}
			fmt.Fprintf(&b, "| %s · `%s` | %s · `%s` | %s |\n", titled(u.Title), u.ID, titled(r.Title), r.ID, runs)
		}
	}
	return b.String()
}

// withVersion compiles a policy again as if it had had an older version, too.
func withVersion(p *Policy, older string) (*Policy, error) {
	src := *p.src
	src.versions = append([]word{{s: older}}, src.versions...)
	var j journal
	q := build(&j, &src)
	if ps := j.problems(); ps != nil {
		return nil, ps
	}
	return q, nil
}
