package rules

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// KAnonymity says what leaves for an ad partner only once enough subjects have
// shown the same (Samarati and Sweeney 1998): values that name nobody one by
// one may do so together. This package says what is to hold; counting and
// enforcing are done where batches leave.
type KAnonymity struct {
	K      int           // distinct subjects that must have shown a combination
	Window time.Duration // within which they have
	Parts  []KPart       // whose released values make the combination, in file order
}

// KPart is one category of a combination, a quasi-identifier.
type KPart struct {
	Category payload.Category
	// Levels are tried in turn where too few have shown the value as it was
	// released; each is made of the value as it came. Dropping is the last, and
	// is not listed.
	Levels []payload.Action
	// Spelled are the levels as the policy spells them, which is the same wherever
	// and whenever it is loaded.
	Spelled []string
}

// What one combination may weigh: all ways to generalise it are counted.
const (
	maxParts  = 5
	maxGrades = 64 // of a combination: the product of its parts' levels, the released one and dropping included
)

func (p *Policy) compileKAnonymity(j *journal, r *recipient) *KAnonymity {
	w := r.kAnonymity
	if w == nil {
		return nil
	}
	least, _ := strconv.Atoi(w.k.s) // what is no number was told already
	k := &KAnonymity{K: least, Window: spanOf(w.window)}
	for _, name := range w.of {
		part := KPart{Category: p.number[name.s]}
		for _, g := range w.generalise {
			if g.category.s != name.s {
				continue
			}
			for _, level := range g.levels {
				part.Levels = append(part.Levels, actionOf(j, level, deid.Env{Recipient: r.id.s, Category: name.s}))
				part.Spelled = append(part.Spelled, level.name+" "+textOf(level.args))
			}
		}
		k.Parts = append(k.Parts, part)
	}
	return k
}

func (c *checker) kAnonymity(r *recipient) {
	w := r.kAnonymity
	if w == nil {
		return
	}
	if r.kind.s != string(AdPartner) {
		c.j.add(w.at, "k_anonymity is for what is forwarded to ad partners, and %s is a %s: take it away", r.id.s, r.kind.s)
	}
	c.inSpan(w.window, "window", time.Minute, 90*24*time.Hour, "1m to 90d")
	if len(w.of) > maxParts {
		c.j.add(w.of[maxParts].at, "a combination has at most %d categories: name fewer", maxParts)
	}
	for i, name := range w.of {
		if slices.ContainsFunc(w.of[:i], func(q word) bool { return q.s == name.s }) {
			c.j.add(name.at, "of lists %s twice: list it once", name.s)
			continue
		}
		c.quasiIdentifier(r, name)
	}
	grades := 1
	for _, part := range c.p.byName[r.id.s].KAnonymity.Parts {
		grades *= len(part.Levels) + 2
	}
	if grades > maxGrades {
		c.j.add(w.at, "the combination can be generalised in %d ways, and all of them are counted: name fewer categories or levels, so that it is at most %d", grades, maxGrades)
	}
	for _, g := range w.generalise {
		if !containsWord(w.of, g.category.s) {
			c.j.add(g.category.at, "generalise speaks of %s, and of does not list it: %s", g.category.s, suggest(g.category.s, plainWords(w.of)))
			continue
		}
		c.levels(r, g)
	}
}

// quasiIdentifier checks that a category reaches the recipient, and in a form
// that several subjects can share.
func (c *checker) quasiIdentifier(r *recipient, name word) {
	n, ok := c.p.number[name.s]
	if !ok {
		if dotted.re.MatchString(name.s) {
			c.j.add(name.at, "there is no category %q: %s", name.s, suggest(name.s, c.p.ids))
		}
		return
	}
	reaches := false
	for _, e := range c.p.byName[r.id.s].rules[n].entries {
		reaches = reaches || e.action.Op == payload.Pass || e.action.Op == payload.Transform
		if keyed(e.action) {
			c.j.add(name.at, "%s gets pseudonyms of %s, and no two subjects share one: take it away", r.id.s, name.s)
			return
		}
	}
	if !reaches {
		c.j.add(name.at, "%s never gets %s, so it makes nobody recognisable: take it away, or add an entry to release", r.id.s, name.s)
	}
}

// levels checks that each level of a generalisation says less than the one
// before it, as far as that can be seen.
func (c *checker) levels(r *recipient, g generalisation) {
	for i, level := range g.levels {
		switch {
		case level.name == "drop":
			c.j.add(level.at, "drop is the last level anyway: take it away")
		case level.name == "pass" || level.name == "block" || level.name == "null" || level.name == "" || level.name == "?" || level.name == "~":
			c.j.add(level.at, "a level is a transform that says less, such as {geo: {decimals: 0}}")
		case level.name == "pseudonym" || identifying(level.name):
			c.j.add(level.at, "%s says no less of whom it is: write a transform that several subjects share, such as {geo: {decimals: 0}}", level.name)
		case c.placedLevel(r, g, i):
			c.j.add(level.at, "a level is made of what was released, and the address that GeoIP tells the place of is gone by then: write one that needs no GeoIP, such as {geo: {decimals: 0}}")
		default:
			before := g.levels[:i]
			for k := range r.release {
				if e := &r.release[k]; c.decidedBy(r, e, g.category.s) {
					before = append(before[:len(before):len(before)], e.as)
				}
			}
			for _, b := range before {
				if !coarser(b, level) {
					c.j.add(level.at, "the level says no less than %s on line %d: write a coarser one", b.name, b.at.line)
					break
				}
			}
		}
	}
}

// placedLevel reports whether the i-th level of a category needs to know where the
// record is from.
func (c *checker) placedLevel(r *recipient, g generalisation, i int) bool {
	for _, part := range c.p.byName[r.id.s].KAnonymity.Parts {
		if c.p.CategoryName(part.Category) == g.category.s && i < len(part.Levels) {
			_, placed := part.Levels[i].T.(payload.Placed)
			return placed
		}
	}
	return false
}

// coarser reports whether a transform may say less than an earlier one. Of two
// that are of one name and take numbers which grow with what is said (decimals,
// bits of a prefix), none may be greater and one must be less; of others nothing
// can be told but that they are not the same.
func coarser(before, after spelled) bool {
	if before.name != after.name {
		return true
	}
	a, b := numbersOf(before.args), numbersOf(after.args)
	if a == nil || b == nil {
		return !sameNode(before.args, after.args)
	}
	less := false
	for name, was := range a {
		is, ok := b[name]
		if ok && is > was {
			return false
		}
		less = less || ok && is < was
	}
	return less
}

// numbersOf returns the arguments that say how much of a value is left; nil
// where there are none.
func numbersOf(n *yaml.Node) map[string]int {
	var args map[string]any
	if n == nil || n.Decode(&args) != nil {
		return nil
	}
	var found map[string]int
	for _, name := range []string{"decimals", "v4", "v6", "cell"} {
		if i, ok := args[name].(int); ok {
			if found == nil {
				found = map[string]int{}
			}
			found[name] = i
		}
	}
	return found
}

func sameNode(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	p := textOf(a)
	return p != "" && p == textOf(b)
}

// textOf returns a node as YAML, in one style whichever it was written in; empty
// where there is none.
func textOf(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	plain := *n
	plain.Style = 0
	text, err := yaml.Marshal(&plain)
	if err != nil {
		return "" // it was read from YAML, so it can be written
	}
	return string(text)
}
