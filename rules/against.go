package rules

import (
	"slices"
	"strings"
)

// lawful orders the bases by how much they ask of a subject.
var lawful = map[Basis]int{Necessary: 0, Consent: 1, Explicit: 2, Separate: 3}

// Against checks this policy as the successor of an older one: whatever it
// does more than the old one must have a since that is newer than the old
// one's last version, so that nobody's old answer is taken for an answer to
// the new question. (Clauses 1 and 4.2: a new function or a changed purpose
// needs a new prompt.) More is a purpose that is new, uses more or asks less;
// and a recipient that is new, or that serves a purpose which it did not.
func (p *Policy) Against(old *Policy) Problems {
	var j journal
	last := old.InForce()
	if p.InForce() < last {
		j.add(p.src.at, "the version in force is %s, and the older policy has %s already: add a newer one to versions", p.InForce(), last)
	}
	for i, u := range p.purposes {
		if u.Since > last {
			continue
		}
		at := p.src.purposes[i].id.at
		if w := p.src.purposes[i].since; w.s != "" {
			at = w.at
		}
		was := old.byPurpose[u.ID]
		if was == nil {
			j.add(at, "the purpose %s is new since %s: write %s", u.ID, last, newSince(p, last))
			continue
		}
		var more []string
		for n, id := range p.ids {
			if o, ok := old.number[id]; u.uses.has(n) && (!ok || !was.uses.has(int(o))) {
				more = append(more, id)
			}
		}
		if len(more) > 0 {
			j.add(at, "the purpose %s uses more than in %s (%s): write %s", u.ID, last, strings.Join(more, ", "), newSince(p, last))
		}
		if lawful[u.Basis] < lawful[was.Basis] {
			j.add(at, "the purpose %s was %s in %s and is now %s, which asks less: write %s", u.ID, was.Basis, last, u.Basis, newSince(p, last))
		}
	}
	for i, r := range p.recipients {
		p.againstRecipient(&j, &p.src.recipients[i], r, old.byName[r.ID], last)
	}
	return j.problems()
}

func (p *Policy) againstRecipient(j *journal, src *recipient, r, was *Recipient, last string) {
	for i, u := range r.purposes {
		if p.versions[r.since[i]] > last {
			continue // old answers do not count here
		}
		switch {
		case was == nil:
			at := src.id.at
			if src.since.s != "" {
				at = src.since.at
			}
			j.add(at, "the recipient %s is new since %s, and %s lets old answers count for it: write %s here or there", r.ID, last, u.ID, newSince(p, last))
			return
		case !slices.Contains(was.Purposes, u.ID):
			j.add(src.purposes[i].at, "the recipient %s did not serve %s in %s: write %s for the purpose or the recipient", r.ID, u.ID, last, newSince(p, last))
		}
	}
}

// newSince is what to write.
func newSince(p *Policy, last string) string {
	if v := p.InForce(); v > last {
		return "since: " + v
	}
	return "a version newer than " + last + " in versions, and since: that version"
}
