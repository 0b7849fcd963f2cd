package rules

import (
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// release checks a recipient's entries, one by one and against each other.
func (c *checker) release(r *recipient) {
	for i := range r.release {
		e := &r.release[i]
		if !c.exists(e.category) {
			continue
		}
		c.actions(r, e)
		if e.purpose.s != "" && !c.entryPurpose(r, e) {
			continue
		}
		if c.reachable(r, i) {
			c.declared(r, e)
			c.raw(r, e)
			c.written(r, e)
		}
		if identifying(e.as.name) {
			c.hashed(e)
		}
	}
}

// actions checks what an entry does. What a transform is given was checked
// when the entry was compiled.
func (c *checker) actions(r *recipient, e *entry) {
	for _, a := range []spelled{e.as, e.orElse} {
		switch a.name {
		case "?":
			c.j.add(a.at, "an action is one word, or one transform with its arguments: write pass, drop, null, block, pseudonym, {geo: city} or the like")
		case "~":
			c.j.add(a.at, "~ is no action: write null, or drop")
		}
	}
	if e.as.name == "" && e.as.at.line > 0 { // where it is missing, that is told
		c.j.add(e.as.at, "as is empty: write pass, drop, null, block or a transform")
	}
	_, plain := plainActions[e.orElse.name]
	switch {
	case e.orElse.name == "pass" && !c.harmless(r, e):
		c.j.add(e.orElse.at, "else: pass would release %s without any permitted purpose: write drop, null or block", e.category.s)
	case e.orElse.name != "" && !plain && r.kind.s != string(FirstParty):
		c.j.add(e.orElse.at, "else: %s would release something of %s to %s against a refusal: outside first_party write drop, null or block", e.orElse.name, e.category.s, r.id.s)
	}
}

// harmless reports whether an entry speaks of one category alone, which is not
// sensitive, and for a first party: only then may a policy say that it needs
// nobody's permission.
func (c *checker) harmless(r *recipient, e *entry) bool {
	n := slices.Index(c.p.ids, e.category.s)
	return r.kind.s == string(FirstParty) && n >= 0 && !c.p.categories[n].Sensitive
}

// entryPurpose checks that an entry's purpose is one of the recipient's.
func (c *checker) entryPurpose(r *recipient, e *entry) bool {
	switch {
	case containsWord(r.purposes, e.purpose.s) && c.p.byPurpose[e.purpose.s] != nil:
		return true
	case e.purpose.s == CrossBorder:
		c.j.add(e.purpose.at, "cross_border is reserved and holds for the whole recipient: take the purpose away")
	case c.p.byPurpose[e.purpose.s] == nil:
		c.j.add(e.purpose.at, "there is no purpose %q: %s", e.purpose.s, suggest(e.purpose.s, plainWords(r.purposes)))
	default:
		c.j.add(e.purpose.at, "%s does not list the purpose %s, so the entry never fits: add it to its purposes, or %s", r.id.s, e.purpose.s, suggest(e.purpose.s, plainWords(r.purposes)))
	}
	return false
}

// reachable checks that an entry can decide about anything.
func (c *checker) reachable(r *recipient, i int) bool {
	e := &r.release[i]
	first := true
	for k := range r.release[:i] {
		q := &r.release[k]
		if q.category.s != e.category.s {
			continue
		}
		switch {
		case q.purpose.s == "" || q.purpose.s == e.purpose.s:
			c.j.add(e.at, "the entry is never reached: the one for %s on line %d fits whenever this one does; put the narrower one first or take one away", q.category.s, q.at.line)
			return false
		case first && e.orElse.name != "":
			c.j.add(e.orElse.at, "else counts only at the first entry for %s, on line %d: move it there", e.category.s, q.at.line)
		}
		first = false
	}
	decides, used := false, false
	for n, id := range c.p.ids {
		if !c.decidedBy(r, e, id) {
			continue
		}
		decides = true
		used = used || c.p.byName[r.id.s].rules[n].uses != 0
	}
	switch {
	case !decides:
		c.j.add(e.category.at, "the entry is never reached: entries with longer patterns decide about all that %q covers; take it away", e.category.s)
		return false
	case e.purpose.s == "" && !used && e.as.name != "drop" && (e.orElse.name == "" || e.orElse.name == "drop"):
		c.j.add(e.category.at, "the entry never fits: no purpose of %s uses what %q covers; add it to the uses of one or take the entry away", r.id.s, e.category.s)
		return false
	}
	return true
}

// declared checks that an entry gives for a purpose only what the purpose
// uses. What a purpose uses is what people read before they say yes to it.
func (c *checker) declared(r *recipient, e *entry) {
	u := c.p.byPurpose[e.purpose.s]
	if u == nil || !releases(e.as.name) {
		return
	}
	var not []string
	for n, id := range c.p.ids {
		if c.decidedBy(r, e, id) && !u.uses.has(n) {
			not = append(not, id)
		}
	}
	if len(not) > 0 {
		c.j.add(e.category.at, "the entry gives %s for %s, which does not use it: add it to the purpose's uses or name less here", strings.Join(not, ", "), e.purpose.s)
	}
}

// raw checks that an ad partner gets sensitive data as it is only for a
// purpose that people said yes to in so many words.
func (c *checker) raw(r *recipient, e *entry) {
	if r.kind.s != string(AdPartner) || e.as.name != "pass" {
		return
	}
	for n, id := range c.p.ids {
		if !c.p.categories[n].Sensitive || !c.decidedBy(r, e, id) {
			continue
		}
		for _, u := range c.p.byName[r.id.s].purposes {
			asks := e.purpose.s == u.ID || e.purpose.s == "" && u.uses.has(n)
			if asks && u.Basis != Separate && u.Basis != Explicit {
				c.j.add(e.as.at, "%s is sensitive and would reach the ad partner %s as it is, for %s, which is %s: name a purpose that is separate, or a transform", id, r.id.s, u.ID, u.Basis)
				return
			}
		}
	}
}

// written checks that an ad partner gets nothing of what people write freely:
// anything may stand in it, about anybody, and no transform takes that out.
func (c *checker) written(r *recipient, e *entry) {
	if r.kind.s != string(AdPartner) || !releases(e.as.name) {
		return
	}
	for n, id := range c.p.ids {
		if c.p.categories[n].FreeText && c.decidedBy(r, e, id) {
			c.j.add(e.as.at, "%s is free text, in which anything may stand, so nothing of it may reach the ad partner %s: write drop, or name less here", id, r.id.s)
			return
		}
	}
}

// hashed checks that what still identifies its subject goes only to where the
// subject expressly let it go.
func (c *checker) hashed(e *entry) {
	u := c.p.byPurpose[e.purpose.s]
	if e.purpose.s != "" && u == nil {
		return // told already
	}
	if u == nil || u.Basis != Explicit && u.Basis != Separate {
		c.j.add(e.as.at, "%s of an id is that id, since whoever has the id can compute it: name a purpose in the entry that is explicit or separate, or write pseudonym", e.as.name)
	}
}

// decidedBy reports whether the entry is a candidate for the category.
func (c *checker) decidedBy(r *recipient, e *entry, id string) bool {
	return covers(e.category.s, id) && !slices.ContainsFunc(r.release, func(q entry) bool {
		return covers(q.category.s, id) && weight(q.category.s) > weight(e.category.s)
	})
}

// releases reports whether an action lets anything of a value through.
func releases(action string) bool {
	op, plain := plainActions[action]
	return !plain || op == payload.Pass
}
