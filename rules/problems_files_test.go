package rules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// including is the sound policy with an include, which stands on line 6.
func including(names string) string {
	return strings.Replace(sound, "categories:", "include: ["+names+"]\ncategories:", 1)
}

// Problems of included files name those files; those of an include its line.
func TestProblemsOfIncludes(t *testing.T) {
	const pack = "categories:\n  dev.id: {keys: [udid]}\n"
	for _, tt := range []struct {
		name, include string
		files         map[string]string
		want          string
	}{
		{"beside", "more.yaml", map[string]string{"policies/more.yaml": pack}, ""},
		{"in the folder above", "packs/more.yaml", map[string]string{"packs/more.yaml": pack}, ""},
		{"with the program", "packs/location.yaml", nil, ""},
		{"one of two", "packs/a.yaml, packs/b.yaml", map[string]string{"packs/a.yaml": "include: [c.yaml]\n" + pack, "packs/b.yaml": "include: [c.yaml]\n" + pack, "packs/c.yaml": pack}, ""},
		{"none", "packs/locations.yaml", nil, `policies/p.yaml:6:11: include "packs/locations.yaml": there is no such file beside this one, in the folder above, or among the packs that ship with the program: did you mean "packs/location.yaml"?`},
		{"a folder", "packs", nil, `policies/p.yaml:6:11: include "packs": there is no such file beside this one, in the folder above, or among the packs that ship with the program: write one of packs/analytics.yaml, packs/content.yaml, packs/device.yaml, packs/identifiers.yaml, packs/location.yaml, packs/measurement.yaml, packs/openrtb.yaml`},
		{"an absolute path", "/etc/passwd", nil, `policies/p.yaml:6:11: include "/etc/passwd": write a path relative to this file, such as packs/identifiers.yaml`},
		{"out of the folder", "../../secret.yaml", nil, `policies/p.yaml:6:11: include "../../secret.yaml": there is no such file beside this one, in the folder above, or among the packs that ship with the program: write one of packs/analytics.yaml, packs/content.yaml, packs/device.yaml, packs/identifiers.yaml, packs/location.yaml, packs/measurement.yaml, packs/openrtb.yaml`},
		{"itself", "p.yaml", nil, `policies/p.yaml:6:11: include "p.yaml": the file includes itself (policies/p.yaml → policies/p.yaml)`},
		{"round about", "a.yaml", map[string]string{"policies/a.yaml": "include: [b.yaml]\n" + pack, "policies/b.yaml": pack + "include: [a.yaml]\n"},
			`policies/b.yaml:3:11: include "a.yaml": the file includes itself (policies/p.yaml → policies/a.yaml → policies/b.yaml → policies/a.yaml)`},
		{"empty", "e.yaml", map[string]string{"policies/e.yaml": ""}, `policies/e.yaml: the file is empty: it must hold a policy or a pack`},
		{"no UTF-8", "e.yaml", map[string]string{"policies/e.yaml": "\xff"}, `policies/e.yaml: the file is not UTF-8: save it as UTF-8`},
		{"too large", "e.yaml", map[string]string{"policies/e.yaml": strings.Repeat("#", maxFile+1)}, `policies/p.yaml:6:11: policies/e.yaml cannot be read: it has more than 1048576 bytes: split it into packs`},
		{"no pack", "e.yaml", map[string]string{"policies/e.yaml": pack + "purposes: {}\n"}, `policies/e.yaml:3:1: unknown key "purposes" in a pack (which holds categories and nothing else): write one of include, categories`},
		{"a bare key", "e.yaml", map[string]string{"policies/e.yaml": "categories:\n  dev.id: {keys: [udid, id]}\n"}, `policies/e.yaml:2:25: the key "id" is too bare for a pack, since other data has such members too: write a path, such as **.id.id`},
		{"laxer", "e.yaml", map[string]string{"policies/e.yaml": "categories:\n  dev.mac: {sensitive: true}\n  dev.id: {sensitive: true}\n"},
			// The policy says nothing against a pack; what it uses it must explain.
			`policies/p.yaml:12:60: dev.id is sensitive, and run is necessary, so nobody is asked: write sensitive_ok: REASON, or make the purpose explicit`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{"policies/p.yaml": {Data: []byte(including(tt.include))}}
			for name, text := range tt.files {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := Load(files, "policies/p.yaml")
			if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
	text := strings.Replace(including("e.yaml"), "dev.mac: {", "dev.mac: {sensitive: false, ", 1)
	_, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}, "e.yaml": {Data: []byte("categories:\n  dev.mac: {sensitive: true}\n")}}, "p.yaml")
	if want := `p.yaml:9:24: dev.mac is sensitive by e.yaml:2 and cannot be made less so: take "sensitive: false" away`; fmt.Sprint(err) != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAMissingPolicyIsAProblem(t *testing.T) {
	_, err := Load(fstest.MapFS{}, "p.yaml")
	if got := fmt.Sprint(err); got != "p.yaml: p.yaml cannot be read: file does not exist" {
		t.Error(got)
	}
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 1 {
		t.Errorf("%T", err)
	}
}

// Who has very many problems reads the first hundred, and how many there are.
func TestProblemsAreBounded(t *testing.T) {
	text := strings.Replace(sound, "uses: [dev.id]}", "uses: ["+strings.Repeat("Dev, ", 149)+"Dev]}", 1)
	_, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}}, "p.yaml")
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != maxProblems+1 {
		t.Fatalf("%d problems", len(ps))
	}
	if last := ps[maxProblems].String(); !strings.HasPrefix(last, "p.yaml: and ") || !strings.HasSuffix(last, " problems more") {
		t.Error(last)
	}
}

// TestAgainst: what does more than the policy before must ask again.
func TestAgainst(t *testing.T) {
	newer := strings.Replace(sound, "2025-01-01]", "2025-01-01, 2026-01-01]", 1)
	const (
		run   = "run: {title: {zh: 运行, en: Run}, basis: necessary, uses: [dev.id]}"
		since = "write since: 2026-01-01"
		ask   = "ask: {title: {zh: 询问, en: Ask}, basis: separate, uses: [loc]}"
	)
	for _, tt := range []struct {
		name     string
		replace  []string
		messages []string
	}{
		{"nothing changed", nil, nil},
		{"more is used", []string{run, strings.Replace("§"+run, "dev.id]", "dev.id, dev.mac]", 1)},
			[]string{`the purpose run uses more than in 2025-01-01 (dev.mac): ` + since}},
		{"more is used, since a version that was in force", []string{run, strings.Replace(run, "uses: [dev.id]", "since: §2025-01-01, uses: [dev.id, dev.mac]", 1)},
			[]string{`the purpose run uses more than in 2025-01-01 (dev.mac): ` + since}},
		{"more is used, asked anew", []string{run, strings.Replace(run, "uses: [dev.id]", "since: 2026-01-01, uses: [dev.id, dev.mac]", 1)}, nil},
		{"a category that is new", []string{"  loc: {", "  dev.cpu: {title: {zh: 芯, en: Cpu}, keys: [cpu]}\n  loc: {", run, strings.Replace("§"+run, "dev.id]", "dev.id, dev.cpu]", 1)},
			[]string{`the purpose run uses more than in 2025-01-01 (dev.cpu): ` + since}},
		{"less is asked", []string{ask, strings.Replace("§"+ask, "separate", "consent", 1)},
			[]string{`the purpose ask was separate in 2025-01-01 and is now consent, which asks less: ` + since}},
		{"more is asked", []string{run, strings.Replace(run, "necessary", "separate", 1)}, nil},
		{"a purpose that is new", []string{"exemptions:", "  §fresh: {title: {zh: 新, en: New}, basis: consent, uses: [loc]}\nexemptions:", "    purposes: [run, ask]\n  ads", "    purposes: [run, ask, §fresh]\n  ads"},
			[]string{`the purpose fresh is new since 2025-01-01: ` + since, `the recipient app did not serve fresh in 2025-01-01: ` + since + ` for the purpose or the recipient`}},
		{"a recipient that is new", []string{"clauses:", "  §next:\n    kind: processor\n    title: {zh: 次, en: Next}\n    purposes: [ask]\nclauses:"},
			[]string{`the recipient next is new since 2025-01-01, and ask lets old answers count for it: ` + since + ` here or there`}},
		{"a recipient that is new, since then", []string{"clauses:", "  next:\n    kind: processor\n    since: 2026-01-01\n    title: {zh: 次, en: Next}\n    purposes: [ask]\nclauses:"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := 0; i < len(tt.replace); i += 2 {
				if strings.Count(newer, tt.replace[i]) != 1 {
					t.Fatalf("%q", tt.replace[i])
				}
			}
			text, places := marked(strings.NewReplacer(tt.replace...).Replace(newer))
			if len(places) != len(tt.messages) {
				t.Fatalf("%d places, %d messages", len(places), len(tt.messages))
			}
			checkAgainst(t, text, sound, places, tt.messages)
		})
	}
	t.Run("the version that went", func(t *testing.T) {
		checkAgainst(t, sound, newer, []string{"2:3"}, []string{`the version in force is 2025-01-01, and the older policy has 2026-01-01 already: add a newer one to versions`})
	})
	t.Run("no newer version to write", func(t *testing.T) {
		text := strings.Replace(sound, "uses: [dev.id]}", "uses: [dev.id, dev.mac]}", 1)
		checkAgainst(t, text, sound, []string{"11:3"}, []string{`the purpose run uses more than in 2025-01-01 (dev.mac): write a version newer than 2025-01-01 in versions, and since: that version`})
	})
}

func checkAgainst(t *testing.T, text, old string, places, messages []string) {
	t.Helper()
	dir := t.TempDir()
	file, before := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "old.yaml")
	for name, text := range map[string]string{file: text, before: old} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := CheckFile(file, before)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, m := range messages {
		want = append(want, file+":"+places[i]+": "+m)
	}
	if got.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestCheckFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good, bad := write("good.yaml", sound), write("bad.yaml", strings.Replace(sound, "kind: first_party", "kind: first", 1))
	if ps, err := CheckFile(good, ""); ps != nil || err != nil {
		t.Errorf("%v, %v", ps, err)
	}
	want := bad + `:17:11: kind cannot be "first": write one of first_party, processor, third_party, ad_partner, public`
	if ps, err := CheckFile(bad, good); ps.Error() != want || err != nil {
		t.Errorf("%v, %v", ps, err)
	}
	if ps, err := CheckFile(good, bad); ps != nil || fmt.Sprint(err) != want {
		t.Errorf("an old policy that is none: %v, %v", ps, err)
	}
	if ps, err := CheckFile(filepath.Join(dir, "none.yaml"), ""); len(ps) != 1 || err != nil {
		t.Errorf("%v, %v", ps, err)
	}
	if ps, err := CheckFile(shippedFile, shippedFile); ps != nil || err != nil {
		t.Errorf("what ships against itself: %v, %v", ps, err)
	}
}

// FuzzLoad: whatever a file holds, Load returns a policy that can be planned,
// or problems that each say where.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte(including("packs/location.yaml")))
	f.Add([]byte(houseText(f)))
	for _, text := range []string{
		"", "---", "a: [", "policy: {}", "- a", "&a [*a]", "{<<: {a: b}}", "!!binary x", "\xff", "a: \"\\x\"", "*a", "? [a]\n: b", "a: \x01",
		"policy: {id: a, versions: [2024-02-31], controller: c, home: [CN]}\npurposes: {}\nrecipients: {}", "categories: {a: {paths: ['**']}}",
		"[]0", "a: 0\r\r b\r:", "categories:\n  dev.id:\nrecipients:\n 0:\n    release:\n    - {category: dev.id}",
	} {
		f.Add([]byte(text))
	}
	breaks := regexp.MustCompile(`[\n\r\x{85}\x{2028}\x{2029}]`) // of lines, in YAML 1.1
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load(fstest.MapFS{"p.yaml": {Data: data}}, "p.yaml")
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 || p != nil {
				t.Fatalf("policy %v, error %T %v", p, err, err)
			}
			for _, problem := range ps {
				whole := strings.HasPrefix(problem.Message, "the file is ") || strings.HasSuffix(problem.Message, " problems more")
				if problem.File == "" || problem.Message == "" || !whole && (problem.Line < 1 || problem.Column < 1) ||
					problem.Line > len(breaks.FindAllIndex(data, -1))+2 && problem.File == "p.yaml" {
					t.Fatalf("no place: %#v in %q", problem, data)
				}
			}
			return
		}
		for _, r := range p.Recipients() {
			if _, err := p.Plan(Inbound{}, RouteSpec{Recipient: r.ID}); err != nil {
				t.Fatalf("a sound policy cannot be planned: %v\n%s", err, data)
			}
		}
	})
}
