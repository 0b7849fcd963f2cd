package rules

import (
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// joining are the headers that tell an ad partner whom it sees, or let two of
// them find out that they see the same person. Consent-Gate goes to no one but
// the first party.
var joining = []string{
	"authorization", "baggage", "consent-gate", "cookie", "forwarded", "proxy-authorization",
	"traceparent", "tracestate", "x-forwarded-for", "x-real-ip", "x-request-id",
}

func (c *checker) recipients() {
	for i := range c.src.recipients {
		r := &c.src.recipients[i]
		c.since(r.since)
		c.listed(r)
		c.release(r)
		c.kept(r)
		c.pseudonyms(r)
		c.kAnonymity(r)
		c.set(r)
		if r.kind.s == string(AdPartner) {
			for _, h := range r.headers {
				if slices.Contains(joining, strings.ToLower(h.s)) {
					c.j.add(h.at, "%s must not go to an ad partner, since it says whom or which request others see: take it away", h.s)
				}
			}
		}
	}
}

// listed checks the purposes of a recipient.
func (c *checker) listed(r *recipient) {
	if len(r.purposes) > maxPurposes {
		c.j.add(r.purposes[maxPurposes].at, "%s lists more than %d purposes: make it two recipients", r.id.s, maxPurposes)
	}
	seen := map[string]bool{}
	for _, w := range r.purposes {
		switch {
		case w.s == CrossBorder:
			c.j.add(w.at, "cross_border is reserved: no recipient lists it; write country: and it is asked for wherever that is outside policy.home")
			continue
		case seen[w.s]:
			c.j.add(w.at, "%s lists the purpose %s twice: list it once", r.id.s, w.s)
			continue
		}
		seen[w.s] = true
		u := c.p.byPurpose[w.s]
		if u == nil {
			c.j.add(w.at, "there is no purpose %q: %s", w.s, suggest(w.s, c.purposeNames()))
			continue
		}
		// Clause 5: giving data to someone else takes the person's express yes
		// to that recipient.
		switch Kind(r.kind.s) {
		case Processor, ThirdParty, Public:
			if u.Basis != Separate && slices.Contains(basisNames, string(u.Basis)) {
				c.j.add(w.at, "%s is a %s, so its purposes must be separate, and %s is %s: give it a purpose of its own with basis: separate", r.id.s, r.kind.s, w.s, u.Basis)
			}
		}
	}
}

func (c *checker) purposeNames() []string {
	names := make([]string, len(c.src.purposes))
	for i, u := range c.src.purposes {
		names[i] = u.id.s
	}
	return names
}

func (c *checker) kept(r *recipient) {
	seen := map[string]bool{}
	for _, k := range r.keep {
		if _, err := payload.ParsePath(k.s); err != nil {
			c.j.add(k.at, "%v", err)
		}
		if seen[k.s] {
			c.j.add(k.at, "keep lists %q twice: list it once", k.s)
		}
		seen[k.s] = true
	}
	if len(r.keep) > 0 && c.p.byName[r.id.s].Unknown == payload.Pass {
		c.j.add(r.keep[0].at, "keep spares from unknown: drop, and %s passes what is unknown: take keep away or write unknown: drop", r.id.s)
	}
}
