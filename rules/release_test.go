package rules

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/consentgate/consentgate/internal/payload"
)

// judged is a policy with categories a, a.b, a.b.c and z, purposes p (uses a.*),
// q (uses a.b.*) and r (uses z), all of them separate, and one recipient with
// the lines given.
func judged(t *testing.T, recipient string) *Policy {
	t.Helper()
	text := `policy: {id: judged, versions: [2026-01-01], controller: C, home: [CN]}
categories:
  a: {title: {zh: a, en: a}, keys: [a]}
  a.b: {title: {zh: ab, en: ab}, keys: [ab]}
  a.b.c: {title: {zh: abc, en: abc}, keys: [abc]}
  z: {title: {zh: z, en: z}, keys: [z]}
purposes:
  p: {title: {zh: p, en: p}, basis: separate, uses: ["a.*"]}
  q: {title: {zh: q, en: q}, basis: separate, uses: ["a.b.*"]}
  r: {title: {zh: r, en: r}, basis: separate, uses: [z]}
exemptions:
  both: {scope: [collect, share], uses: ["a.b.*"]}
  taking: {scope: [collect], uses: [z]}
  giving: {scope: [share], uses: [z]}
recipients:
  it: {title: {zh: it, en: it}, ` + recipient + `}
`
	p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}}, "p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func routeOf(t *testing.T, p *Policy, s RouteSpec) *Route {
	t.Helper()
	plan, err := p.Plan(Inbound{}, s)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Routes[0]
}

func permitting(p *Policy, recipient string, purposes ...string) Permits {
	var answers []string
	for _, u := range purposes {
		answers = append(answers, u+"@"+recipient+" granted 2026-01-01")
	}
	s := said("2026-01-01", answers...)
	pm, _ := p.Permits(&s, goldenNow)
	return pm
}

// summary is the actions for a, a.b, a.b.c and z.
func summary(rel *Release) string {
	var all []string
	for _, a := range rel.Actions {
		all = append(all, strings.Trim(strings.ReplaceAll(nameOf(a), "–", "drop"), "*"))
	}
	return strings.Join(all, " ")
}

// TestReleasePrecedence is "What happens to this category?", point by point.
// Expected is what happens to a, a.b, a.b.c and z.
func TestReleasePrecedence(t *testing.T) {
	const (
		first   = `kind: first_party, purposes: [p, q, r]`
		other   = `kind: processor, purposes: [p, q, r]`
		partner = `kind: ad_partner, purposes: [p, q, r]`
		abroad  = `kind: first_party, country: US, purposes: [p, q, r]`
	)
	release := func(entries string) string { return other + ", release: [" + entries + "]" }
	for _, tt := range []struct {
		name, recipient string
		granted         string
		exempt          string
		only            []string // purposes of the route
		want            string
	}{
		// No entry.
		{name: "no entry, nothing permitted", recipient: other, want: "drop drop drop drop"},
		{name: "no entry, what a permitted purpose uses passes", recipient: other, granted: "q", want: "drop pass pass drop"},
		{name: "no entry, several permitted", recipient: other, granted: "q r", want: "drop pass pass pass"},
		{name: "no entry, a purpose of another route does not count", recipient: other, granted: "p r", only: []string{"r"}, want: "drop drop drop pass"},
		{name: "no entry, a route for no purpose", recipient: other, granted: "p r", only: []string{}, want: "drop drop drop drop"},
		{name: "an ad partner gets nothing without an entry", recipient: partner, granted: "p q r", want: "drop drop drop drop"},
		{name: "an ad partner gets what is listed", recipient: partner + `, release: [{category: z, as: pass}]`, granted: "p q r", want: "drop drop drop pass"},

		// The longest pattern alone is asked.
		{name: "the longest pattern decides", recipient: release(`{category: "*", as: pass}, {category: "a.*", as: "null"}, {category: "a.b.*", as: block}, {category: a.b, as: drop}`),
			granted: "p q r", want: "null drop block pass"},
		{name: "in whatever order", recipient: release(`{category: a.b, as: drop}, {category: "a.b.*", as: block}, {category: "a.*", as: "null"}, {category: "*", as: pass}`),
			granted: "p q r", want: "null drop block pass"},
		{name: "X.* covers X", recipient: release(`{category: "a.b.*", as: "null"}`), granted: "p", want: "pass null null drop"},
		{name: "X does not cover what is below", recipient: release(`{category: a.b, as: "null"}`), granted: "p", want: "pass null pass drop"},
		{name: "no fallback to a shorter pattern", recipient: release(`{category: "a.*", as: pass}, {category: "a.b.*", purpose: q, as: pass}`), granted: "p", want: "pass drop drop drop"},
		{name: "no fallback to what no entry says", recipient: release(`{category: a.b, purpose: q, as: pass}`), granted: "p", want: "pass drop pass drop"},

		// File order, and what fits.
		{name: "the first that fits", recipient: release(`{category: a.b, purpose: q, as: pass}, {category: a.b, purpose: p, as: "null"}`), granted: "p q", want: "pass pass pass drop"},
		{name: "the second, where the first does not fit", recipient: release(`{category: a.b, purpose: q, as: pass}, {category: a.b, purpose: p, as: "null"}`), granted: "p", want: "pass null pass drop"},
		{name: "without a purpose it fits if any that uses it is permitted", recipient: release(`{category: a.b, as: "null"}`), granted: "q", want: "drop null pass drop"},
		{name: "and not if another one is", recipient: release(`{category: a.b, as: "null"}`), granted: "r", want: "drop drop drop pass"},
		{name: "and not for a purpose that the route does not serve", recipient: release(`{category: a.b, as: "null"}`), granted: "q", only: []string{"r"}, want: "drop drop drop drop"},
		{name: "an entry can take away what a purpose would give", recipient: release(`{category: a.b, as: drop}`), granted: "p q", want: "pass drop pass drop"},
		{name: "a transform", recipient: release(`{category: "a.*", as: pseudonym}`), granted: "p", want: "pseudonym pseudonym pseudonym drop"},

		// Else.
		{name: "else where none fits", recipient: release(`{category: a.b, purpose: q, as: pass, else: block}`), granted: "p", want: "pass block pass drop"},
		{name: "else is the first candidate's, where several do not fit", recipient: release(`{category: a.b, purpose: q, as: pass, else: "null"}, {category: a.b, purpose: p, as: pass}`), granted: "r", want: "drop null drop pass"},
		{name: "else of a stranger", recipient: release(`{category: "a.*", as: pass, else: block}`), want: "block block block drop"},
		{name: "no else where one fits", recipient: release(`{category: a.b, purpose: q, as: pass, else: block}`), granted: "q", want: "drop pass pass drop"},

		// Exemptions.
		{name: "an exemption passes for a stranger", recipient: first, exempt: "both", want: "drop pass pass drop"},
		{name: "and before all entries", recipient: release(`{category: "a.*", as: block, else: block}`), exempt: "both", want: "block pass pass drop"},
		{name: "collect is for the first party", recipient: first, exempt: "taking", want: "drop drop drop pass"},
		{name: "collect is for no one else", recipient: other, exempt: "taking", want: "drop drop drop drop"},
		{name: "share is for the others", recipient: other, exempt: "giving", want: "drop drop drop pass"},
		{name: "share is not for the first party", recipient: first, exempt: "giving", want: "drop drop drop drop"},
		{name: "an ad partner's route may share, too", recipient: partner, exempt: "giving", want: "drop drop drop pass"},
		{name: "two exemptions", recipient: other, exempt: "both giving", want: "drop pass pass pass"},
		{name: "an exemption does not cross the border", recipient: abroad, exempt: "both taking", want: "drop drop drop drop"},
		{name: "unless that is granted", recipient: abroad, exempt: "both", granted: "cross_border", want: "drop pass pass drop"},
		{name: "and crossing alone gives nothing", recipient: abroad, granted: "cross_border", want: "drop drop drop drop"},
		{name: "nor does a purpose without crossing", recipient: abroad, granted: "p q r", want: "drop drop drop drop"},
		{name: "both", recipient: abroad, granted: "cross_border r", want: "drop drop drop pass"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := judged(t, tt.recipient)
			rt := routeOf(t, p, RouteSpec{Recipient: "it", Purposes: tt.only, Exempt: strings.Fields(tt.exempt)})
			rel := rt.Release(permitting(p, "it", strings.Fields(tt.granted)...), "")
			if got := summary(rel); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if rel.Blocks != strings.Contains(tt.want, "block") {
				t.Errorf("Blocks is %v", rel.Blocks)
			}
			if tt.granted == "" && rel != rt.Stranger() {
				t.Error("who granted nothing is not the stranger")
			}
			if rt.Release(Permits{}, "") != rt.Stranger() || rt.Release(permitting(judged(t, tt.recipient), "it", "p", "q", "r", "cross_border"), "") != rt.Stranger() {
				t.Error("no permits, or those of another policy, are not the stranger's")
			}
		})
	}
}

// Permits that differ only in what the route does not serve give one release,
// the same one each time.
func TestReleasesAreInterned(t *testing.T) {
	p := judged(t, `kind: processor, purposes: [p, q, r]`)
	rt := routeOf(t, p, RouteSpec{Recipient: "it", Purposes: []string{"q"}})
	one := rt.Release(permitting(p, "it", "q"), "")
	if one != rt.Release(permitting(p, "it", "p", "q"), "") || one != rt.Release(permitting(p, "it", "q", "r"), "") {
		t.Error("another release for the same permits")
	}
	if rt.Release(permitting(p, "it", "p"), "") != rt.Stranger() {
		t.Error("a purpose of another route counts")
	}
	if got := rt.Purposes(); !slices.Equal(got, []string{"q"}) {
		t.Errorf("purposes %v", got)
	}
}

func TestStrictest(t *testing.T) {
	p := judged(t, `kind: processor, purposes: [p, q, r], release: [{category: a.b, purpose: q, as: pass, else: block}, {category: a.b.c, purpose: q, as: pseudonym}, {category: a.b.c, purpose: p, as: url}]`)
	rt := routeOf(t, p, RouteSpec{Recipient: "it"})
	rel := func(purposes ...string) *Release { return rt.Release(permitting(p, "it", purposes...), "") }
	for _, tt := range []struct {
		of   []*Release
		want string
	}{
		{nil, "drop block drop drop"}, // the stranger's
		{[]*Release{rel("p", "q", "r")}, "pass pass pseudonym pass"},
		{[]*Release{rel("p", "q", "r"), rel("p", "q", "r")}, "pass pass pseudonym pass"},
		{[]*Release{rel("p", "q"), rel("p", "r")}, "pass block drop drop"}, // two transforms drop
		{[]*Release{rel("p", "r"), rel("p", "q")}, "pass block drop drop"},
		{[]*Release{rel("q"), rel("q", "r")}, "drop pass pseudonym drop"},
		{[]*Release{rel("p", "q", "r"), rel("p", "q"), rel("q", "r")}, "drop pass pseudonym drop"},
		{[]*Release{rel("p", "q", "r"), rt.Stranger(), rel("q")}, "drop block drop drop"},
	} {
		got := rt.Strictest(tt.of...)
		if summary(got) != tt.want {
			t.Errorf("%s, want %s", summary(got), tt.want)
		}
		if got.Blocks != strings.Contains(tt.want, "block") {
			t.Errorf("%s: Blocks is %v", tt.want, got.Blocks)
		}
		if len(tt.of) <= 2 && rt.Strictest(tt.of...) != got {
			t.Errorf("%s: another release the second time", tt.want)
		}
	}
	if one := rel("p"); rt.Strictest(one, one) != one {
		t.Error("of two alike it makes a third")
	}
}

// Missing names what to ask for, in the policy's order.
func TestMissing(t *testing.T) {
	entries := `release: [{category: a.b, purpose: q, as: pass, else: block}, {category: z, as: pass, else: block}]`
	home := `kind: processor, purposes: [r, p, q], ` + entries
	abroad := `kind: processor, country: US, purposes: [r, p, q], ` + entries
	never := `kind: processor, purposes: [p, q, r], release: [{category: z, as: block, else: block}]`
	for _, tt := range []struct {
		name, recipient, granted, category string
		only                               []string
		want                               string
	}{
		{name: "all that are blocked", recipient: home, want: "r q"},
		{name: "one of them", recipient: home, category: "a.b", want: "q"},
		{name: "what is not blocked asks for nothing", recipient: home, category: "a", want: ""},
		{name: "what is permitted is not missing", recipient: home, granted: "q", want: "r"},
		{name: "nothing is missing", recipient: home, granted: "q r", want: ""},
		{name: "what the route does not serve cannot be asked for", recipient: home, only: []string{"r"}, want: "r"},
		{name: "abroad", recipient: abroad, want: "r q cross_border"},
		{name: "abroad, crossing granted", recipient: abroad, granted: "cross_border", want: "r q"},
		{name: "what no purpose lifts", recipient: never, want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := judged(t, tt.recipient)
			rt := routeOf(t, p, RouteSpec{Recipient: "it", Purposes: tt.only})
			rel := rt.Release(permitting(p, "it", strings.Fields(tt.granted)...), "")
			var categories []payload.Category
			if tt.category != "" {
				categories = p.Covered(tt.category)
			}
			if got := strings.Join(rt.Missing(rel, categories...), " "); got != tt.want {
				t.Errorf("missing %q, want %q", got, tt.want)
			}
		})
	}
	// Of several subjects each one's is missing.
	p := judged(t, home)
	rt := routeOf(t, p, RouteSpec{Recipient: "it"})
	both := rt.Strictest(rt.Release(permitting(p, "it", "q"), ""), rt.Release(permitting(p, "it", "r"), ""))
	if got := strings.Join(rt.Missing(both), " "); got != "r q" {
		t.Errorf("of two subjects %q is missing", got)
	}
}

func TestPerChoosesTheParty(t *testing.T) {
	p := house(t)
	rt := routeOf(t, p, RouteSpec{Recipient: "clients"})
	s := said(v26, "client.profile@clients:a granted 2026-01-01", "client.location@clients:b granted 2026-01-01")
	pm, _ := p.Permits(&s, goldenNow)
	name, _ := p.Category("identity.name")
	place, _ := p.Category("location.precise")
	for per, want := range map[string]string{"a": "pass drop", "b": "drop pass", "c": "drop drop", "": "drop drop"} {
		rel := rt.Release(pm, per)
		if got := rel.Action(name).Op.String() + " " + rel.Action(place).Op.String(); got != want {
			t.Errorf("%q gets %s, want %s", per, got, want)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   Inbound
		spec RouteSpec
		want string
	}{
		{"unknown recipient", Inbound{}, RouteSpec{Recipient: "backnd"}, `the policy house has no recipient "backnd": did you mean "backend"?`},
		{"unknown, like none", Inbound{}, RouteSpec{Recipient: "warehouse"}, `the policy house has no recipient "warehouse": write one of backend, payer, clients, adx, overseas`},
		{"a party", Inbound{}, RouteSpec{Recipient: "clients:a"}, `recipient "clients:a": a route names the recipient alone, the value of its per comes with each request`},
		{"a purpose of another", Inbound{}, RouteSpec{Recipient: "payer", Purposes: []string{"ads.measure"}}, `the recipient payer does not list the purpose "ads.measure": write one of pay`},
		{"a purpose misspelt", Inbound{}, RouteSpec{Recipient: "backend", Purposes: []string{"service.operat"}}, `the recipient backend does not list the purpose "service.operat": did you mean "service.operate"?`},
		{"crossing is no purpose of a route", Inbound{}, RouteSpec{Recipient: "overseas", Purposes: []string{"cross_border"}}, `the recipient overseas does not list the purpose "cross_border": write one of ads.measure`},
		{"unknown exemption", Inbound{}, RouteSpec{Recipient: "backend", Exempt: []string{"legal.crim"}}, `the policy house has no exemption "legal.crim": did you mean "legal.crime"?`},
		{"a subject's path", Inbound{Subject: []string{"a..b"}}, RouteSpec{Recipient: "backend"}, `a..b`},
		{"the records' path", Inbound{Records: "a.**.b"}, RouteSpec{Recipient: "backend"}, `a.**.b`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := house(t).Plan(tt.in, RouteSpec{Recipient: "backend"}, tt.spec)
			if err == nil || plan != nil {
				t.Fatalf("plan %v, error %v", plan, err)
			}
			if exact := tt.in.Subject == nil && tt.in.Records == ""; exact && err.Error() != tt.want || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is\n%v\nand should be\n%s", err, tt.want)
			}
		})
	}
	plan, err := house(t).Plan(Inbound{}, RouteSpec{Recipient: "adx"}, RouteSpec{Recipient: "backend"})
	if err != nil || len(plan.Routes) != 2 || plan.Routes[0].Recipient().ID != "adx" || plan.Routes[1].Recipient().ID != "backend" {
		t.Errorf("routes %v, %v", plan, err)
	}
}
