package rules

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/consentgate/consentgate/internal/payload"
)

// crowded is a policy with a combination; the cases below break it.
const crowded = `policy: {id: crowded, versions: [2026-01-01], controller: C, home: [CN]}
categories:
  loc: {title: {zh: 位置, en: Place}, keys: [loc], paths: [geo]}
  ip: {title: {zh: 地址, en: Address}, keys: [ip]}
  model: {title: {zh: 型号, en: Model}, keys: [model]}
  os: {title: {zh: 系统, en: System}, keys: [os]}
  id: {title: {zh: 编号, en: Id}, keys: [dev_id]}
  name: {title: {zh: 姓名, en: Name}, keys: [name]}
purposes:
  run: {title: {zh: 运行, en: Run}, basis: necessary, uses: [loc, ip, model, os, id]}
  app: {title: {zh: 应用, en: App}, basis: necessary, uses: [model]}
recipients:
  app:
    kind: first_party
    title: {zh: 应用, en: App}
    purposes: [app]
    release: [{category: model, as: pass}]
  ads:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    purposes: [run]
    release:
      - {category: loc, as: {geo: {decimals: 2}}}
      - {category: ip, as: {ip: {v4: 24, v6: 48}}}
      - {category: model, as: pass}
      - {category: os, as: pass}
      - {category: id, as: pseudonym}
    k_anonymity:
      k: 20
      window: 24h
      of: [loc, model, ip]
      generalise:
        loc: [{geo: {decimals: 1}}, {geo: {decimals: 0}}]
        ip: [{ip: {v4: 16, v6: 32}}]
`

// Gateways count together what their policies spell alike, and after a restart they
// go on: what names a level must hold nothing of the process that loaded it.
func TestALevelIsSpelledAlikeWhereverItIsLoaded(t *testing.T) {
	text := strings.NewReplacer(
		"  name: {title", "  seen: {title: {zh: 时间, en: Time}, keys: [seen]}\n  name: {title",
		"uses: [loc,", "uses: [seen, loc,",
		"      - {category: os, as: pass}", "      - {category: os, as: pass}\n      - {category: seen, as: {time: {unit: hour, zone: Asia/Shanghai}}}",
		"of: [loc, model, ip]", "of: [model, seen]",
		"        loc: [{geo: {decimals: 1}}, {geo: {decimals: 0}}]\n        ip: [{ip: {v4: 16, v6: 32}}]", "        seen: [{time: {unit: day, zone: Asia/Shanghai}}, {time: {zone: Asia/Shanghai, unit: month}}]",
	).Replace(crowded)
	var before []string
	for range 2 {
		p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}}, "p.yaml")
		if err != nil {
			t.Fatal(err)
		}
		spelled := p.Recipient("ads").KAnonymity.Parts[1].Spelled
		if len(spelled) != 2 || spelled[0] == spelled[1] || !strings.HasPrefix(spelled[0], "time ") || !strings.Contains(spelled[0], "Asia/Shanghai") {
			t.Fatalf("%q", spelled)
		}
		if before != nil && !slices.Equal(before, spelled) {
			t.Errorf("%q and then %q", before, spelled)
		}
		before = spelled
	}
}

func TestACombinationIsCompiled(t *testing.T) {
	p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(crowded)}}, "p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k := p.Recipient("ads").KAnonymity
	if k == nil || k.K != 20 || k.Window != 24*time.Hour || len(k.Parts) != 3 {
		t.Fatalf("%+v", k)
	}
	for i, want := range []struct {
		category string
		values   []string
	}{
		{"loc", nil},
		{"model", []string{}},
		{"ip", []string{"203.0.0.0"}},
	} {
		part := k.Parts[i]
		if got := p.CategoryName(part.Category); got != want.category {
			t.Errorf("part %d is %s", i, got)
		}
		if want.values == nil {
			continue
		}
		if len(part.Levels) != len(want.values) {
			t.Errorf("part %d has %d levels", i, len(part.Levels))
		}
		for n, level := range part.Levels {
			out, _, ok := level.T.Append(nil, []byte("203.0.113.7"), payload.String, &payload.Params{})
			if !ok || string(out) != want.values[n] {
				t.Errorf("level %d of %s makes %s", n, want.category, out)
			}
		}
	}
	if n := len(k.Parts[0].Levels); n != 2 {
		t.Errorf("loc has %d levels", n)
	}
	if p.Recipient("app").KAnonymity != nil {
		t.Error("app has a combination")
	}
}

// TestProblemsOfCombinations breaks the policy; see TestProblems.
func TestProblemsOfCombinations(t *testing.T) {
	const (
		of  = "of: [loc, model, ip]"
		loc = "loc: [{geo: {decimals: 1}}, {geo: {decimals: 0}}]"
		ip  = "ip: [{ip: {v4: 16, v6: 32}}]"
	)
	for _, tt := range []struct{ name, old, broken, want string }{
		{"a crowd of one", "k: 20", "k: §1", `k must be a whole number from 2 to 1000`},
		{"a crowd of too many", "k: 20", "k: §1001", `k must be a whole number from 2 to 1000`},
		{"too short a window", "window: 24h", "window: §59s", `window cannot be 59s: write 1m to 90d`},
		{"too long a window", "window: 24h", "window: §91d", `window cannot be 91d: write 1m to 90d`},
		{"no window", "window: 24h", "window: §day", `window cannot be "day": write a number and a unit (s, m, h or d), such as 24h or 90d`},
		{"a category that is none", of, "of: [loc, §modell, ip]", `there is no category "modell": did you mean "model"?`},
		{"a category twice", of, "of: [loc, ip, §loc]", `of lists loc twice: list it once`},
		{"a category that does not reach the recipient", of, "of: [loc, §name, ip]", `ads never gets name, so it makes nobody recognisable: take it away, or add an entry to release`},
		{"pseudonyms", of, "of: [loc, §id, ip]", `ads gets pseudonyms of id, and no two subjects share one: take it away`},
		{"another kind of recipient", "release: [{category: model, as: pass}]", "release: [{category: model, as: pass}]\n    k_anonymity: §{k: 2, window: 1h, of: [model]}", `k_anonymity is for what is forwarded to ad partners, and app is a first_party: take it away`},
		{"levels of what is not in it", ip, "§os: [{constant: x}]", `generalise speaks of os, and of does not list it: did you mean "loc"?`},
		{"a level that is finer than the release", loc, "loc: [§{geo: {decimals: 3}}]", `the level says no less than geo on line 23: write a coarser one`},
		{"a level that is the release", ip, "ip: [§{ip: {v6: 48, v4: 24}}]", `the level says no less than ip on line 24: write a coarser one`},
		{"a level that is no coarser than the one before", loc, "loc: [{geo: {decimals: 0}}, §{geo: {decimals: 1}}]", `the level says no less than geo on line 33: write a coarser one`},
		{"the same level twice", ip, "ip: [{constant: x}, §{constant: x}]", `the level says no less than constant on line 34: write a coarser one`},
		{"one number less and one more", ip, "ip: [§{ip: {v4: 16, v6: 64}}]", `the level says no less than ip on line 24: write a coarser one`},
		{"drop", ip, "ip: [§drop]", `drop is the last level anyway: take it away`},
		{"pass", ip, "ip: [§pass]", `a level is a transform that says less, such as {geo: {decimals: 0}}`},
		{"a digest", ip, "ip: [§{digest: md5}]", `digest says no less of whom it is: write a transform that several subjects share, such as {geo: {decimals: 0}}`},
		{"a level that GeoIP would have to tell", loc, "loc: [§{geo: city}]", `a level is made of what was released, and the address that GeoIP tells the place of is gone by then: write one that needs no GeoIP, such as {geo: {decimals: 0}}`},
		{"no transform", ip, "ip: [§{city: 1}]", `no transform is called "city"; there are age, constant, digest, geo, ip, mask, pseudonym, range, time, ua, url`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := strings.Count(crowded, tt.old); n != 1 {
				t.Fatalf("%q stands %d times in the policy", tt.old, n)
			}
			text := strings.Replace(crowded, tt.old, tt.broken, 1)
			checkProblems(t, text, []string{tt.want})
		})
	}
}

func TestTooManyWaysToGeneralise(t *testing.T) {
	text := strings.NewReplacer(
		"k_anonymity:\n      k: 20", "k_anonymity:\n      §k: 20",
		"{geo: {decimals: 0}}]", "{geo: {decimals: 0}}, "+strings.Repeat("{geo: {grid_km: 9}}, ", 9)[:21*9-2]+"]",
	).Replace(crowded)
	for i := range 9 { // each of another size
		text = strings.Replace(text, "grid_km: 9}", "grid_km: "+[]string{"20", "30", "40", "50", "60", "70", "80", "90.5", "100"}[i]+"}", 1)
	}
	checkProblems(t, text, []string{"the combination can be generalised in 78 ways, and all of them are counted: name fewer categories or levels, so that it is at most 64"})
}

func TestTooManyCategoriesInACombination(t *testing.T) {
	text := strings.NewReplacer(
		"  name:", "  more: {title: {zh: a, en: a}, keys: [aaa]}\n  most: {title: {zh: b, en: b}, keys: [bbb]}\n  name:",
		"os, id]}", "os, id, more, most]}",
		"- {category: id,", "- {category: more, as: pass}\n      - {category: most, as: pass}\n      - {category: id,",
		"of: [loc, model, ip]", "of: [os, model, ip, more, most, §loc]",
		"      generalise:\n        loc: [{geo: {decimals: 1}}, {geo: {decimals: 0}}]\n        ip: [{ip: {v4: 16, v6: 32}}]\n", "",
	).Replace(crowded)
	checkProblems(t, text, []string{"a combination has at most 5 categories: name fewer"})
}
