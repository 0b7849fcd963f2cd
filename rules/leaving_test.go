package rules

import (
	"strings"
	"testing"
)

// What leaves later than it was released: a category whose action became stricter
// goes, and what was transformed is left as it is.
func TestNarrowed(t *testing.T) {
	const partner = `kind: ad_partner, purposes: [p, q, r], release: [{category: a, as: pass},
		{category: a.b, purpose: p, as: {mask: {first: 1}}}, {category: a.b, purpose: q, as: {mask: {first: 2}}},
		{category: a.b.c, purpose: p, as: pass}, {category: a.b.c, purpose: q, as: {mask: {first: 1}}}, {category: z, as: pass}]`
	p := judged(t, partner)
	r := routeOf(t, p, RouteSpec{Recipient: "it"})
	for _, tt := range []struct {
		says, was, now string
		unknown        bool // what was decided is not known any more
		want           string
	}{
		{says: "nothing is left to do where nothing changed", was: "p q", now: "p q", want: "nothing"},
		{says: "what is permitted no more goes", was: "p r", now: "p", want: "pass pass pass drop"},
		{says: "what may not pass as it is any more goes, and is not transformed now", was: "p q r", now: "q r", want: "drop drop drop pass"},
		{says: "what left de-identified is not given back", was: "q", now: "p q", want: "pass drop pass pass"},
		{says: "what was dropped needs no dropping", was: "r", now: "p q r", want: "pass pass pass pass"},
		{says: "of what nobody knows any more, what passes stays", now: "p r", unknown: true, want: "pass drop pass pass"},
		{says: "and nothing else", now: "q", unknown: true, want: "drop drop drop drop"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			now := r.Release(permitting(p, "it", strings.Fields(tt.now)...), "")
			var was *Release
			if !tt.unknown {
				d, ok := r.Decision(r.Release(permitting(p, "it", strings.Fields(tt.was)...), ""))
				if !ok {
					t.Fatal("no decision")
				}
				was = r.Decided(d)
			}
			rel := r.Narrowed(was, now)
			got := "nothing"
			if rel != nil {
				got = summary(rel)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if rel != r.Narrowed(was, now) {
				t.Error("it is not interned")
			}
		})
	}
	d, _ := r.Decision(r.Stranger())
	if other := routeOf(t, judged(t, partner+", keep: [id]"), RouteSpec{Recipient: "it"}); other.Decided(d) != nil {
		t.Error("another policy knows what was decided")
	}
}

func TestServes(t *testing.T) {
	const (
		partner = `kind: ad_partner, purposes: [p, q, r], release: [{category: a, as: pass}]`
		abroad  = `kind: ad_partner, country: US, purposes: [p, q, r], release: [{category: a, as: pass}]`
	)
	for _, tt := range []struct {
		says, recipient, granted, exempt string
		want                             bool
	}{
		{says: "nobody's permission serves nothing", recipient: partner, want: false},
		{says: "one purpose is enough", recipient: partner, granted: "q", want: true},
		{says: "a purpose of others is not", recipient: partner, granted: "r", want: false},
		{says: "an exemption needs none", recipient: partner, exempt: "both", want: true},
		{says: "one that does not hold for sharing is none", recipient: partner, exempt: "taking", want: false},
		{says: "abroad, a purpose is not enough", recipient: abroad, granted: "p", want: false},
		{says: "nor is an exemption", recipient: abroad, exempt: "both", want: false},
		{says: "with cross_border it is", recipient: abroad, granted: "p cross_border", want: true},
	} {
		t.Run(tt.says, func(t *testing.T) {
			p := judged(t, tt.recipient)
			r := routeOf(t, p, RouteSpec{Recipient: "it", Purposes: []string{"p", "q"}, Exempt: strings.Fields(tt.exempt)})
			if got := r.Serves(r.Release(permitting(p, "it", strings.Fields(tt.granted)...), "")); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}
