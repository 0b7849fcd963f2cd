package caddymodule

import (
	"net/http"
	"strings"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// lane is one way through a gate: what goes to one recipient.
type lane struct {
	of              *Current
	down            bool // it is that of the responses, about whomever the upstream knows
	plan            *rules.Plan
	rules           *rules.Route
	headers         headerRules
	subject, device []source
	addresses       addressRule
	forwards        []forwardLane
}

// source is an IDSource, ready to be asked.
type source struct {
	IDSource
	header string // canonical; "": it is no header
}

func newSources(list []IDSource) (sources []source) {
	for _, s := range list {
		header := ""
		if name, ok := strings.CutPrefix(s.Placeholder, "{http.request.header."); ok && strings.IndexByte(name, '}') == len(name)-1 {
			header = http.CanonicalHeaderKey(name[:len(name)-1])
		}
		sources = append(sources, source{s, header})
	}
	return sources
}

// judge decides on the messages of one request that take one lane.
type judge struct {
	g  *Gate
	ln *lane
	r  *http.Request
	by named
	// repeat is what makes the keys of records that go to partners.
	repeat repeatable
}

// named is what a request says, apart from its body, of whom it is about. It is
// read once, before anything is taken out of the request.
type named struct {
	subject, device []namedID // for each source; none for those in a body
	per             string    // the recipient's party
}

type namedID struct {
	id       consent.ID
	conflict bool // the source names two
}

// newJudge returns a judge for one lane.
func newJudge(g *Gate, ln *lane, r *http.Request) judge {
	j := judge{g: g, ln: ln, r: r, repeat: newRepeatable(r)}
	j.by.subject, j.by.device = j.named(ln.subject, consent.User), j.named(ln.device, consent.Device)
	if p := ln.rules.Recipient().Per; p != "" {
		j.by.per = replacerOf(r).ReplaceAll(p, "")
	}
	return j
}

// settled runs decide, and runs it again by the policy that is in force by then
// where another one has come into force meanwhile. fresh has the judges read
// their lanes anew.
func (g *Gate) settled(fresh func(), decide func() *Problem) *Problem {
	p := decide()
	for tries := 0; p != nil && p.another && tries < 3; tries++ {
		g.app.settle()
		fresh()
		p = decide()
	}
	return p
}

// refresh takes the lane of the policy in force.
func (j *judge) refresh() {
	rt := j.g.route.Load()
	if j.ln.down {
		j.ln = rt.down
		return
	}
	j.ln = &rt.up
}

// named reads what the sources outside the body say.
func (j judge) named(sources []source, kind consent.Kind) []namedID {
	identifier := j.g.app.Identifier()
	if len(sources) == 0 || identifier == nil {
		return nil
	}
	ids := make([]namedID, len(sources))
	for i, s := range sources {
		if s.JSON == "" {
			id, ok := one(j.values(s), func(value string) (consent.ID, bool) { return identifier.Identify(kind, value) })
			ids[i] = namedID{id, !ok}
		}
	}
	return ids
}

// ruling is what may be had of one message.
type ruling struct {
	parts    []payload.Part // for each record
	envelope payload.Part   // for what stands outside them
	release  *rules.Release // the envelope's

	people   []consent.Subject // whom each record is about, and at the end whom the message is
	verdicts []Verdict         // on each; nil: nobody has granted anything
}

// rule decides on a message. scan may be nil.
func (j judge) rule(scan *payload.Scan) (ruling, *Problem) {
	people, p := j.people(scan)
	if p != nil {
		return ruling{}, p
	}
	verdicts, p := j.verdicts(people)
	if p != nil {
		return ruling{}, p
	}
	ru := j.ruling(scan, verdicts, len(people))
	ru.people, ru.verdicts = people, verdicts
	return ru, nil
}

// people says whom each record is about. The last one returned is whom the
// message is about, apart from any record.
func (j judge) people(scan *payload.Scan) ([]consent.Subject, *Problem) {
	n := records(scan)
	people := make([]consent.Subject, n+1)
	for _, of := range []struct {
		sources []source
		named   []namedID
		kind    consent.Kind
		set     func(i int, id consent.ID)
	}{
		{j.ln.subject, j.by.subject, consent.User, func(i int, id consent.ID) { people[i].User = id }},
		{j.ln.device, j.by.device, consent.Device, func(i int, id consent.ID) { people[i].Device = id }},
	} {
		if len(of.sources) == 0 {
			continue
		}
		ids, p := j.identify(of.sources, of.named, of.kind, scan, n)
		if p != nil {
			return nil, p
		}
		for i, id := range ids {
			of.set(i, id)
		}
	}
	return people, nil
}

// records returns how many records have people of their own.
func records(scan *payload.Scan) int {
	if scan == nil || !scan.Split() {
		return 0
	}
	return scan.Len()
}

// identify resolves one kind of subject for n records and the request.
func (j judge) identify(sources []source, by []namedID, kind consent.Kind, scan *payload.Scan, n int) ([]consent.ID, *Problem) {
	ids := make([]consent.ID, n+1)
	path := 0
	for k, s := range sources {
		if s.JSON == "" {
			if by[k].conflict {
				return nil, subjectConflict()
			}
			for i := range ids {
				if ids[i] == "" {
					ids[i] = by[k].id
				}
			}
			continue
		}
		found, ok := j.inBody(scan, kind, path, n)
		if !ok {
			return nil, subjectConflict()
		}
		for i, id := range found {
			if ids[i] == "" {
				ids[i] = id
			}
		}
		path++
	}
	return ids, nil
}

// one returns the only id among values, "" for none; ok is false where there
// are two.
func one(values []string, identify func(string) (consent.ID, bool)) (id consent.ID, ok bool) {
	for _, value := range values {
		if other, named := identify(value); named {
			if id != "" && other != id {
				return "", false
			}
			id = other
		}
	}
	return id, true
}

// values returns what a source outside the body says.
func (j judge) values(s source) []string {
	switch {
	case s.Query != "":
		return queryValues(j.r.URL.RawQuery, s.Query)
	case s.Cookie != "":
		var values []string
		for _, c := range j.r.CookiesNamed(s.Cookie) {
			values = append(values, c.Value)
		}
		return values
	}
	if s.header != "" { // one that is given twice would reach a placeholder as one text
		return j.r.Header[s.header]
	}
	return []string{replacerOf(j.r).ReplaceAll(s.Placeholder, "")}
}

// inBody returns what the path numbered source says in each record.
func (j judge) inBody(scan *payload.Scan, kind consent.Kind, source, n int) (ids []consent.ID, ok bool) {
	ids = make([]consent.ID, n+1)
	if scan == nil {
		return ids, true
	}
	identifier := j.g.app.Identifier()
	for _, found := range scan.IDs {
		if found.Source != source || found.Device != (kind == consent.Device) {
			continue
		}
		at := found.Record
		if n == 0 {
			at = 0 // the whole body is one record, and that is the request
		} else if at < 0 {
			continue // what an envelope says is nobody's
		}
		text, readable := scan.Text(found)
		if !readable {
			return nil, false
		}
		id, named := identifier.Identify(kind, string(text))
		if !named {
			continue
		}
		if ids[at] != "" && ids[at] != id {
			return nil, false
		}
		ids[at] = id
	}
	return ids, true
}

// ruling makes of the verdicts on n people what may be had of a message, of which
// scan may be nil. nil verdicts are those on people who have granted nothing.
func (j judge) ruling(scan *payload.Scan, verdicts []Verdict, n int) ruling {
	now := time.Now()
	r := j.ln.rules
	per := j.by.per
	recipient := r.Recipient().ID
	if per != "" {
		recipient += ":" + per
	}
	places := places{judge: j, scan: scan, n: n}
	parts := make([]payload.Part, n)
	all := make([]*rules.Release, n)
	for i := range parts {
		rel := r.Stranger()
		params := &payload.Params{Now: now}
		if verdicts != nil {
			verdict := &verdicts[i]
			rel = r.Release(verdict.Permits, per)
			if rel.Vector.Keyed() {
				params.Key = j.g.app.SubjectKey(recipient, r.Recipient().Pseudonyms.Epoch(now, verdict.Salt), verdict.Salt)
			}
		}
		if rel.Vector.Placed() {
			params.Place = places.of(i)
		}
		all[i] = rel
		parts[i] = payload.Part{Vector: rel.Vector, Params: params}
	}
	last := n - 1
	if last == 0 {
		return ruling{parts: parts, envelope: parts[0], release: all[0]}
	}
	// Nobody in particular is whom the envelope is about: no key for it.
	rel := r.Strictest(all[:last]...)
	params := &payload.Params{Now: now}
	if rel.Vector.Placed() {
		params.Place = places.of(last)
	}
	return ruling{parts: parts[:last], envelope: payload.Part{Vector: rel.Vector, Params: params}, release: rel}
}

// verdicts asks what the subjects' states come to; nil means that nobody has
// granted anything.
func (j judge) verdicts(people []consent.Subject) ([]Verdict, *Problem) {
	cache := j.g.app.Cache()
	var verdicts []Verdict
	var err error
	if len(people) == 1 {
		var one Verdict
		one, err = cache.Get(j.r.Context(), people[0])
		verdicts = []Verdict{one}
	} else {
		verdicts, err = cache.GetAll(j.r.Context(), people)
	}
	if err == nil {
		for i := range verdicts {
			if verdicts[i].Of != j.ln.of {
				return nil, anotherPolicy()
			}
		}
		return verdicts, nil
	}
	j.g.app.metrics.countStoreError("load")
	if j.g.OnStoreError == choiceStrip {
		return nil, nil
	}
	return nil, storeUnavailable()
}
