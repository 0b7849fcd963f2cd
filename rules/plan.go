package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/detect"
	"github.com/consentgate/consentgate/internal/payload"
)

// RouteSpec says what a route is for: who gets what passes on it, and why.
type RouteSpec struct {
	Recipient string
	// Purposes are those that the route serves; nil: all of the recipient's.
	Purposes []string
	// Exempt names the exemptions that the route invokes.
	Exempt []string
}

// Inbound says where the requests of a gate name their subjects and records;
// see [payload.Spec].
type Inbound struct {
	Subject, Device []string
	Records         string
	// Opener and Cleaner look into values; nil: nothing is opened.
	Opener  payload.Opener
	Cleaner payload.Cleaner
}

// Plan is what one gate needs of a policy: the routes of everyone who gets
// what passes there (the upstream and the partners that it is forwarded to),
// and the one matcher that scans for all of them.
type Plan struct {
	Matcher *payload.Matcher
	Routes  []*Route // in the order of the specs
}

// placeCategory is where photos and films were taken (clause 1.3).
const placeCategory = "location.media"

// Plan compiles the routes of a gate. Its error says which name is wrong and
// what to write.
func (p *Policy) Plan(in Inbound, specs ...RouteSpec) (*Plan, error) {
	spec := payload.Spec{Subject: in.Subject, Device: in.Device, Records: in.Records}
	var want detect.Set
	for i, c := range p.categories {
		kinds := c.kinds()
		for _, k := range kinds {
			want = want.With(detect.Kind(k))
		}
		spec.Rules = append(spec.Rules, payload.Rule{Category: payload.Category(i), Keys: c.Keys, Paths: c.Paths, Detect: kinds})
	}
	spec.Inside.Opener = in.Opener
	if want != 0 {
		spec.Inside.Detector = detector{want}
	}
	if place, ok := p.Category(placeCategory); ok {
		spec.Inside.Cleaner, spec.Inside.Place = in.Cleaner, place
	}
	plan := &Plan{}
	for _, s := range specs {
		r, err := p.route(s)
		if err != nil {
			return nil, err
		}
		if r.recipient.Unknown == payload.Drop {
			spec.Unknown = true
			r.judgement.Unknown = payload.Drop
			if len(r.recipient.Keep) > 0 {
				r.judgement.Keep = len(spec.Keep)
				spec.Keep = append(spec.Keep, r.recipient.Keep)
			}
		}
		r.judgement.Looks = r.recipient.looks()
		for _, w := range r.recipient.Set {
			n := slices.Index(spec.Writes, w.Write)
			if n < 0 {
				n = len(spec.Writes)
				spec.Writes = append(spec.Writes, w.Write)
			}
			r.written = append(r.written, n)
		}
		plan.Routes = append(plan.Routes, r)
	}
	m, err := payload.Compile(spec)
	if err != nil {
		return nil, err
	}
	plan.Matcher = m
	for _, r := range plan.Routes {
		r.start(m)
	}
	return plan, nil
}

// route resolves the names of a spec.
func (p *Policy) route(s RouteSpec) (*Route, error) {
	rec := p.byName[s.Recipient]
	if rec == nil {
		var names []string
		for _, r := range p.recipients {
			names = append(names, r.ID)
		}
		if strings.Contains(s.Recipient, ":") {
			return nil, fmt.Errorf("recipient %q: a route names the recipient alone, the value of its per comes with each request", s.Recipient)
		}
		return nil, fmt.Errorf("the policy %s has no recipient %q: %s", p.ID(), s.Recipient, suggest(s.Recipient, names))
	}
	r := &Route{policy: p, recipient: rec, judgement: payload.Judgement{Unknown: payload.Pass, Keep: -1}}
	purposes := s.Purposes
	if purposes == nil {
		purposes = rec.Purposes
	}
	for _, name := range purposes {
		i := slices.Index(rec.Purposes, name)
		if i < 0 {
			return nil, fmt.Errorf("the recipient %s does not list the purpose %q: %s", rec.ID, name, suggest(name, rec.Purposes))
		}
		r.purposes |= 1 << i
	}
	r.exempt = newBitset(len(p.ids))
	for _, name := range s.Exempt {
		x, err := p.exemption(name)
		if err != nil {
			return nil, err
		}
		// Clause 1 (end) exempts collecting, clause 5 (end) sharing, and the
		// second list is the shorter one. What a gate invokes may hold for its
		// upstream and not for the partners that it forwards to.
		if rec.Kind == FirstParty && x.Collect || rec.Kind != FirstParty && x.Share {
			r.exempt.add(x.uses)
		}
	}
	return r, nil
}

func (p *Policy) exemption(name string) (*Exemption, error) {
	var names []string
	for _, x := range p.exemptions {
		if x.ID == name {
			return x, nil
		}
		names = append(names, x.ID)
	}
	return nil, fmt.Errorf("the policy %s has no exemption %q: %s", p.ID(), name, suggest(name, names))
}
