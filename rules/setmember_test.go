package rules

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
)

// changed is the sound policy with one text replaced.
func changed(t *testing.T, old, with string) string {
	t.Helper()
	if n := strings.Count(sound, old); n != 1 {
		t.Fatalf("%q stands %d times in the policy", old, n)
	}
	return strings.Replace(sound, old, with, 1)
}

const saying = `headers: [Accept]
    set:
      - {path: device.lmt, value: 1, unless: ask}
      - {path: regs.coppa, value: 1, when: minor, create: true}
      - {path: regs.sure, value: "yes <&>"}
      - {path: regs.since, value: 2020-01-01, unless: run, when: minor}`

// TestWhatTheGatewaySays is each condition of a member that is written, in each
// state that it speaks of.
func TestWhatTheGatewaySays(t *testing.T) {
	p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(changed(t, "headers: [Accept]", saying))}}, "p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	minor := func(s consent.State) consent.State {
		s.MinorUntil = goldenNow.Add(time.Hour)
		return s
	}
	grown := said("2025-01-01", "ask@ads granted 2025-01-01")
	grown.MinorUntil = goldenNow
	guarded := minor(said("2025-01-01", "ask@ads granted 2025-01-01"))
	guarded.Guardian = &consent.Guardian{Status: consent.Granted, Purposes: []string{"*"}}
	older := minor(consent.State{Policy: "2019-01-01", Version: 1})
	const (
		lmt   = `"lmt":1`
		coppa = `"coppa":1`
		since = `"since":"2020-01-01"`
	)
	for _, tt := range []struct {
		name  string
		state *consent.State
		only  []string
		want  []string
	}{
		{"no state", nil, nil, []string{lmt}},
		{"who has accepted", ptr(said("2025-01-01")), nil, []string{lmt}},
		{"who has granted it", ptr(said("2025-01-01", "ask@ads granted 2025-01-01")), nil, nil},
		{"who has granted it, on a route for something else", ptr(said("2025-01-01", "ask@ads granted 2025-01-01")), []string{"run"}, []string{lmt}},
		{"who has withdrawn it", ptr(said("2025-01-01", "ask@ads withdrawn 2025-01-01")), nil, []string{lmt}},
		{"a minor", ptr(minor(said("2025-01-01", "ask@ads granted 2025-01-01"))), nil, []string{lmt, coppa, since}},
		{"a minor with a guardian", &guarded, nil, []string{coppa}},
		{"who was one", &grown, nil, nil},
		{"a minor who never accepted", ptr(minor(consent.State{Version: 1})), nil, []string{lmt, coppa, since}},
		{"a minor who accepted what is no version", &older, nil, []string{lmt, coppa, since}},
		{"a minor whose account was cancelled", ptr(minor(consent.State{Tombstoned: true})), nil, []string{lmt}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: "app"}, RouteSpec{Recipient: "ads", Purposes: tt.only})
			if err != nil {
				t.Fatal(err)
			}
			permits, until := p.Permits(tt.state, goldenNow)
			if s := tt.state; s != nil && !s.Tombstoned && goldenNow.Before(s.MinorUntil) && !until.Equal(s.MinorUntil) {
				t.Errorf("holds until %v, and the subject is a minor until %v", until, s.MinorUntil)
			}
			got := rewritten(t, plan, 1, permits, `{"id":1,"device":{}}`)
			for _, member := range []string{lmt, coppa, since} {
				want := false
				for _, m := range tt.want {
					want = want || m == member
				}
				if strings.Contains(got, member) != want {
					t.Errorf("%s stands in %s: it should %t", member, got, want)
				}
			}
			if got := rewritten(t, plan, 0, permits, `{"id":1,"device":{}}`); got != `{"id":1,"device":{}}` {
				t.Errorf("to the app went %s", got)
			}
		})
	}
	// What is not created stands only where the object around it does.
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: "ads"})
	if err != nil {
		t.Fatal(err)
	}
	if got := rewritten(t, plan, 0, Permits{}, `{"regs":{}}`); got != `{"regs":{"sure":"yes <&>"}}` {
		t.Errorf("got %s", got)
	}
}

// What is said of one subject of a batch is said of what stands around all.
func TestWhatIsSaidAroundABatch(t *testing.T) {
	p, err := Load(fstest.MapFS{"p.yaml": {Data: []byte(changed(t, "headers: [Accept]", saying))}}, "p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := routeOf(t, p, RouteSpec{Recipient: "ads"})
	granted, _ := p.Permits(ptr(said("2025-01-01", "ask@ads granted 2025-01-01")), goldenNow)
	accepted, _ := p.Permits(ptr(said("2025-01-01")), goldenNow)
	yes, no := r.Release(granted, ""), r.Release(accepted, "")
	if yes.Set == no.Set {
		t.Fatalf("%b and %b", yes.Set, no.Set)
	}
	for _, rel := range []*Release{r.Strictest(yes, no), r.Strictest(no, yes), r.Strictest(yes, no, r.Stranger())} {
		if rel.Set != yes.Set|no.Set {
			t.Errorf("%b of %b and %b", rel.Set, yes.Set, no.Set)
		}
	}
	// Whether somebody is a minor matters only where something is said of it.
	minor := said("2025-01-01")
	minor.MinorUntil = goldenNow.Add(time.Hour)
	pm, _ := p.Permits(&minor, goldenNow)
	app := routeOf(t, p, RouteSpec{Recipient: "app"})
	if app.Release(pm, "") != app.Stranger() {
		t.Error("a minor without a guardian has a release of their own, and nothing is said of it")
	}
}

func ptr[T any](v T) *T { return &v }

// rewritten returns what the route numbered n makes of a document.
func rewritten(t *testing.T, plan *Plan, n int, pm Permits, doc string) string {
	t.Helper()
	part := payload.Part{Vector: plan.Routes[n].Release(pm, "").Vector, Params: &payload.Params{Now: goldenNow}}
	s, err := plan.Matcher.Scan([]byte(doc), payload.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	out, _ := s.Apply(nil, part, []payload.Part{part})
	return string(out)
}
