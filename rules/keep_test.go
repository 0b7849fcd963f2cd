package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
)

// record holds one value at a path; wildcards stand for a member that no
// category knows.
func record(path string) string {
	steps := strings.Split(path, ".")
	out := `"kept"`
	for _, s := range slices.Backward(steps) {
		if strings.HasPrefix(s, "*") {
			s = "zzz"
		}
		out = `{"` + s + `":` + out + `}`
	}
	return out
}

// arrives returns what a recipient gets of a record from one who granted all.
func arrives(t *testing.T, p *Policy, r *Recipient, record string) string {
	t.Helper()
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	permits, _ := p.Permits(&consent.State{Policy: p.InForce(), Grants: answer(p, r, consent.Granted, time.Time{}, "")}, goldenNow)
	part := payload.Part{Vector: plan.Routes[0].Release(permits, "client").Vector, Params: &payload.Params{Now: goldenNow}}
	s, err := plan.Matcher.Scan([]byte(record), payload.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	out, _ := s.Apply(nil, part, []payload.Part{part})
	return string(out)
}

// Each path under keep lets a value through that would not pass without it.
func TestEveryKeptPathIsNeeded(t *testing.T) {
	// Covered by another path, and listed to say that a bid needs it.
	covered := map[string]string{"adx imp.id": "imp.**"}
	p := shipped(t)
	kept := 0
	for _, r := range p.Recipients() {
		for i, path := range r.Keep {
			kept++
			probe := record(path)
			if got := arrives(t, p, r, probe); got != probe {
				t.Errorf("%s keeps %s, and of %s arrives %s", r.ID, path, probe, got)
			}
			if by := covered[r.ID+" "+path]; by != "" {
				if !slices.Contains(r.Keep, by) {
					t.Errorf("%s: %s is not covered by %s", r.ID, path, by)
				}
				continue
			}
			less := *r
			less.Keep = slices.Delete(slices.Clone(r.Keep), i, i+1)
			q := *p
			q.byName = maps.Clone(p.byName)
			q.byName[r.ID] = &less
			if got := arrives(t, &q, &less, probe); strings.Contains(got, "kept") {
				t.Errorf("%s: without %s, of %s still arrives %s", r.ID, path, probe, got)
			}
		}
	}
	if kept < 100 {
		t.Errorf("only %d paths", kept)
	}
}

// Analytics stays without identity even if somebody lets its purpose use
// everything (clause 4.1(4)): its entries of drop hold against that.
func TestAnalyticsNeverGetsWhoSomebodyIs(t *testing.T) {
	p := shipped(t)
	src := *p.src
	src.purposes = slices.Clone(src.purposes)
	for i := range src.purposes {
		if u := &src.purposes[i]; u.id.s == "analytics.use" {
			u.uses = []word{{s: "*"}}
			u.sensitiveOK = []reason{{word{s: "*"}, "a mistake"}}
		}
	}
	var j journal
	q := build(&j, &src)
	if ps := j.problems(); ps != nil {
		t.Fatal(ps)
	}
	plan, err := q.Plan(Inbound{}, RouteSpec{Recipient: "analytics"})
	if err != nil {
		t.Fatal(err)
	}
	permits, _ := q.Permits(&consent.State{Policy: q.InForce()}, goldenNow)
	rel := plan.Routes[0].Release(permits, "")
	for _, pattern := range []string{"identity.*", "contact.*", "content.*", "device.id.bluetooth_mac"} {
		for _, c := range q.Covered(pattern) {
			if a := rel.Action(c); a.Op != payload.Drop {
				t.Errorf("%s: %s", q.CategoryName(c), nameOf(a))
			}
		}
	}
	if c, _ := q.Category("payment.card"); rel.Action(c).Op != payload.Pass {
		t.Error("the purpose was not widened: the test shows nothing")
	}
}
