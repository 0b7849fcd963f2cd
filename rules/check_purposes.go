package rules

import (
	"strings"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

func (c *checker) policy() {
	for i, v := range c.src.versions {
		if !date.re.MatchString(v.s) {
			continue // told already
		}
		if _, err := time.Parse(time.DateOnly, v.s); err != nil {
			c.j.add(v.at, "there is no day %s: write one as 2022-03-09", v.s)
		}
		// Dates written so compare as texts do.
		switch {
		case i == 0:
		case v.s == c.src.versions[i-1].s:
			c.j.add(v.at, "the version %s stands here twice: list it once", v.s)
		case v.s < c.src.versions[i-1].s:
			c.j.add(v.at, "the version %s stands after %s: list the oldest first, since the last is in force", v.s, c.src.versions[i-1].s)
		}
	}
}

// since checks that a version is one of the policy's.
func (c *checker) since(v word) {
	if v.s != "" && !containsWord(c.src.versions, v.s) {
		c.j.add(v.at, "since %s is no version of this policy: %s", v.s, suggest(v.s, plainWords(c.src.versions)))
	}
}

func (c *checker) purposes() {
	listed := map[string]bool{}
	for _, r := range c.src.recipients {
		for _, u := range r.purposes {
			listed[u.s] = true
		}
	}
	for _, u := range c.src.purposes {
		switch u.id.s {
		case CrossBorder:
			c.j.add(u.id.at, "cross_border is reserved: it exists in every policy, for every recipient whose country is outside policy.home; take it away")
		case consent.Acceptance:
			c.j.add(u.id.at, "%s is reserved for the acceptance of the policy itself: call the purpose something else", u.id.s)
		default:
			if !listed[u.id.s] {
				c.j.add(u.id.at, "no recipient lists the purpose %s, so it never runs: list it under a recipient's purposes or take it away", u.id.s)
			}
		}
		c.since(u.since)
		c.patterns(u.uses, "the purpose "+u.id.s+" uses")
		c.sensitive(u)
	}
}

func (c *checker) exemptions() {
	for _, x := range c.src.exemptions {
		c.patterns(x.uses, "the exemption "+x.id.s+" uses")
		if c.p.byPurpose[x.id.s] != nil {
			c.j.add(x.id.at, "%s is a purpose too: an exemption needs a name of its own, since routes name both", x.id.s)
		}
		if len(x.scope) == 2 && x.scope[0].s == x.scope[1].s || len(x.scope) > 2 {
			c.j.add(x.scope[1].at, "scope lists %s twice: list it once", x.scope[1].s)
		}
	}
}

// patterns checks that each pattern of a list covers a category, and one that
// none of the others covers.
func (c *checker) patterns(list []word, whose string) {
	for i, p := range list {
		if !c.exists(p) {
			continue
		}
		for k, q := range list {
			if k == i || !covering.re.MatchString(q.s) {
				continue
			}
			// Of two equal ones the second is too many.
			if within(p.s, q.s) && (p.s != q.s || k < i) {
				c.j.add(p.at, "%s %s already, by %q on line %d: take one of them away", whose, p.s, q.s, q.at.line)
				break
			}
		}
	}
}

// within reports whether all that p covers is covered by q.
func within(p, q string) bool {
	if stem, below := strings.CutSuffix(p, ".*"); below {
		return strings.HasSuffix(q, "*") && covers(q, stem)
	}
	return p == q || p != "*" && covers(q, p)
}

// exists checks that a pattern covers a category at all.
func (c *checker) exists(p word) bool {
	if !covering.re.MatchString(p.s) {
		return false // told already
	}
	for _, id := range c.p.ids {
		if covers(p.s, id) {
			return true
		}
	}
	hint := suggest(p.s, c.p.ids)
	for _, id := range c.p.ids {
		if strings.HasPrefix(id, p.s+".") {
			hint = "write " + p.s + ".* for all categories below it"
			break
		}
	}
	c.j.add(p.at, "no category is covered by %q: %s", p.s, hint)
	return false
}

// sensitive checks that a necessary purpose says why it may use what is
// sensitive without asking.
func (c *checker) sensitive(u purpose) {
	if u.basis.s != string(Necessary) {
		if len(u.sensitiveOK) > 0 {
			c.j.add(u.sensitiveOK[0].pattern.at, "sensitive_ok speaks of necessary purposes, and %s is %s: take it away", u.id.s, u.basis.s)
		}
		return
	}
	needed := make([]bool, len(u.sensitiveOK))
	for n, cat := range c.p.categories {
		if !cat.Sensitive || !c.p.byPurpose[u.id.s].uses.has(n) {
			continue
		}
		explained := false
		for i, r := range u.sensitiveOK {
			if covers(r.pattern.s, cat.ID) {
				needed[i], explained = true, true
			}
		}
		if !explained {
			c.j.add(usedAt(u, cat.ID), "%s is sensitive, and %s is necessary, so nobody is asked: write sensitive_ok: REASON, or make the purpose explicit", cat.ID, u.id.s)
		}
	}
	for i, r := range u.sensitiveOK {
		if !needed[i] {
			c.j.add(r.pattern.at, "sensitive_ok explains nothing, since %s uses no sensitive category of %q: take it away", u.id.s, r.pattern.s)
		}
	}
}

// usedAt is where a purpose names a category.
func usedAt(u purpose, id string) place {
	for _, p := range u.uses {
		if covers(p.s, id) {
			return p.at
		}
	}
	return u.id.at
}

func (c *checker) clauses() {
	for _, p := range c.src.clauses {
		if len(p.tests) == 0 {
			c.j.add(p.clause.at, "clause %s names no test: write the name of the test that shows that it is kept", p.clause.s)
		}
	}
}

func containsWord(ws []word, s string) bool {
	for _, w := range ws {
		if w.s == s {
			return true
		}
	}
	return false
}
