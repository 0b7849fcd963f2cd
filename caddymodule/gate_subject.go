package caddymodule

import (
	"net/http"
	"strings"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// resolve says whom each record is about. The last one returned is whom the
// request is about, apart from any record.
func (v *visit) resolve(scan *payload.Scan) ([]consent.Subject, *Problem) {
	n := 0
	if scan != nil && scan.Split() {
		n = len(scan.Records)
	}
	people := make([]consent.Subject, n+1)
	for _, of := range []struct {
		sources []IDSource
		kind    consent.Kind
		set     func(i int, id consent.ID)
	}{
		{v.g.Subject, consent.User, func(i int, id consent.ID) { people[i].User = id }},
		{v.g.Device, consent.Device, func(i int, id consent.ID) { people[i].Device = id }},
	} {
		if len(of.sources) == 0 {
			continue
		}
		ids, p := v.identify(of.sources, of.kind, scan, n)
		if p != nil {
			return nil, p
		}
		for i, id := range ids {
			of.set(i, id)
		}
	}
	return people, nil
}

// identify resolves one kind of subject for n records and the request.
func (v *visit) identify(sources []IDSource, kind consent.Kind, scan *payload.Scan, n int) ([]consent.ID, *Problem) {
	ids := make([]consent.ID, n+1)
	identifier := v.g.app.Identifier()
	path := 0
	for _, s := range sources {
		if s.JSON == "" {
			id, ok := one(v.values(s), func(value string) (consent.ID, bool) { return identifier.Identify(kind, value) })
			if !ok {
				return nil, subjectConflict()
			}
			for i := range ids {
				if ids[i] == "" {
					ids[i] = id
				}
			}
			continue
		}
		found, ok := v.inBody(scan, kind, path, n)
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
func (v *visit) values(s IDSource) []string {
	switch {
	case s.Query != "":
		return queryValues(v.r.URL.RawQuery, s.Query)
	case s.Cookie != "":
		var values []string
		for _, c := range v.r.CookiesNamed(s.Cookie) {
			values = append(values, c.Value)
		}
		return values
	}
	// A header that is given twice would reach a placeholder as one text.
	if name, ok := strings.CutPrefix(s.Placeholder, "{http.request.header."); ok && strings.IndexByte(name, '}') == len(name)-1 {
		return v.r.Header[http.CanonicalHeaderKey(name[:len(name)-1])]
	}
	return []string{replacerOf(v.r).ReplaceAll(s.Placeholder, "")}
}

// inBody returns what the path numbered source says in each record.
func (v *visit) inBody(scan *payload.Scan, kind consent.Kind, source, n int) (ids []consent.ID, ok bool) {
	ids = make([]consent.ID, n+1)
	if scan == nil {
		return ids, true
	}
	identifier := v.g.app.Identifier()
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

// releases decides what may be had of each record. The last part returned is
// for what stands outside all records: it has the strictest of all.
func (v *visit) releases(people []consent.Subject) ([]payload.Part, *Problem) {
	now := time.Now()
	r := v.rt.rules
	per := ""
	if p := r.Recipient().Per; p != "" {
		per = replacerOf(v.r).ReplaceAll(p, "")
	}
	recipient := r.Recipient().ID
	if per != "" {
		recipient += ":" + per
	}
	verdicts, p := v.verdicts(people)
	if p != nil {
		return nil, p
	}
	parts := make([]payload.Part, len(people))
	all := make([]*rules.Release, len(people))
	for i := range parts {
		rel := r.Stranger()
		params := &payload.Params{Now: now}
		if verdicts != nil {
			verdict := &verdicts[i]
			rel = r.Release(verdict.Permits, per)
			if rel.Vector.Keyed() {
				params.Key = v.g.app.SubjectKey(recipient, verdict.Salt)
			}
		}
		all[i] = rel
		parts[i] = payload.Part{Vector: rel.Vector, Params: params}
	}
	last := len(people) - 1
	v.release = all[last]
	if last > 0 {
		// Nobody in particular is whom the envelope is about: no key for it.
		v.release = r.Strictest(all[:last]...)
		parts[last] = payload.Part{Vector: v.release.Vector, Params: &payload.Params{Now: now}}
	}
	return parts, nil
}

// verdicts asks what the subjects' states come to; nil means that nobody has
// granted anything.
func (v *visit) verdicts(people []consent.Subject) ([]Verdict, *Problem) {
	cache := v.g.app.Cache()
	var verdicts []Verdict
	var err error
	if len(people) == 1 {
		var one Verdict
		one, err = cache.Get(v.r.Context(), people[0])
		verdicts = []Verdict{one}
	} else {
		verdicts, err = cache.GetAll(v.r.Context(), people)
	}
	if err == nil {
		return verdicts, nil
	}
	v.g.app.metrics.countStoreError("load")
	if v.g.OnStoreError == choiceStrip {
		return nil, nil
	}
	return nil, storeUnavailable()
}
