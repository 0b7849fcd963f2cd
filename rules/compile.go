package rules

import (
	"fmt"
	"net/textproto"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// maxPurposes is how many purposes one recipient may list: what a subject
// permits it is one machine word, of which one bit is cross_border's and one
// says that the subject is a minor.
const maxPurposes = 62

const (
	crossed  = uint64(1) << maxPurposes // cross_border is granted
	underage = crossed << 1             // the subject is a minor now
)

// categoryRule is all that decides about one category for one recipient.
type categoryRule struct {
	uses    uint64 // the purposes of the recipient that use the category
	entries []compiledEntry
	orElse  payload.Action // where entries exist and none fits
}

// compiledEntry applies if any of the purposes is permitted.
type compiledEntry struct {
	fits   uint64
	action payload.Action
}

// compile makes a Policy of a source. It reports what it cannot resolve, and
// relies on the checks for everything else.
func compile(j *journal, src *source) *Policy {
	p := &Policy{
		src: src, versions: plainWords(src.versions), number: map[string]payload.Category{},
		byPurpose: map[string]*Purpose{}, byName: map[string]*Recipient{}, headers: map[string][]payload.Category{},
	}
	p.compileCategories()
	for _, u := range src.purposes {
		c := &Purpose{
			ID: u.id.s, Title: u.title, Clause: u.clause, Basis: Basis(u.basis.s), Since: u.since.s,
			uses: coverage(u.uses, p.ids),
		}
		c.since, c.Since = p.version(c.Since)
		p.purposes = append(p.purposes, c)
		p.byPurpose[c.ID] = c
	}
	for _, x := range src.exemptions {
		c := &Exemption{ID: x.id.s, Title: x.title, Clause: x.clause, uses: coverage(x.uses, p.ids)}
		for _, s := range x.scope {
			c.Collect = c.Collect || s.s == "collect"
			c.Share = c.Share || s.s == "share"
		}
		p.exemptions = append(p.exemptions, c)
	}
	for i := range src.recipients {
		p.compileRecipient(j, &src.recipients[i])
	}
	return p
}

func (p *Policy) compileCategories() {
	sorted := slices.Clone(p.src.categories)
	slices.SortFunc(sorted, func(a, b category) int {
		if a.id.s < b.id.s {
			return -1
		}
		return 1
	})
	for i, c := range sorted {
		p.ids = append(p.ids, c.id.s)
		p.number[c.id.s] = payload.Category(i)
		p.categories = append(p.categories, Category{
			ID: c.id.s, Title: c.title, Clause: c.clause, Sensitive: c.sensitive != nil && *c.sensitive, FreeText: c.freeText != nil && *c.freeText,
			Keys: plainWords(c.keys), Paths: plainWords(c.paths), Headers: plainWords(c.headers), Detect: plainWords(c.detect),
		})
		for _, h := range c.headers {
			name := textproto.CanonicalMIMEHeaderKey(h.s)
			if !slices.Contains(p.headers[name], payload.Category(i)) {
				p.headers[name] = append(p.headers[name], payload.Category(i))
			}
		}
	}
}

// version returns a version with its index; the oldest where none is named.
func (p *Policy) version(v string) (int, string) {
	if i := slices.Index(p.versions, v); i >= 0 {
		return i, v
	}
	if len(p.versions) == 0 {
		return 0, ""
	}
	return 0, p.versions[0]
}

func (p *Policy) compileRecipient(j *journal, r *recipient) {
	c := &Recipient{
		ID: r.id.s, Kind: Kind(r.kind.s), Title: r.title, Clause: r.clause, Vendor: r.vendor,
		Country: r.country.s, Per: r.per.s, Purposes: plainWords(r.purposes), Detect: r.detect, Keep: plainWords(r.keep),
		Unknown: payload.Drop, index: len(p.recipients),
	}
	c.Abroad = c.Country != "" && !slices.Contains(plainWords(p.src.home), c.Country)
	if c.Detect == "" {
		c.Detect = "apply"
	}
	if r.unknown.s == "pass" || r.unknown.s == "" && c.Kind == FirstParty {
		c.Unknown = payload.Pass
	}
	for _, h := range r.headers {
		c.Headers = append(c.Headers, textproto.CanonicalMIMEHeaderKey(h.s))
	}
	var since int
	since, c.Since = p.version(r.since.s)
	bit := map[string]uint64{}
	for i, name := range r.purposes {
		u := p.byPurpose[name.s]
		if u == nil || i >= maxPurposes {
			continue
		}
		bit[name.s] = 1 << len(c.purposes)
		c.purposes = append(c.purposes, u)
		c.since = append(c.since, max(u.since, since))
	}
	c.rules = make([]categoryRule, len(p.ids))
	for n := range p.ids {
		c.rules[n] = p.compileRule(j, r, c, n, bit)
	}
	c.Pseudonyms = compilePseudonyms(r)
	c.KAnonymity = p.compileKAnonymity(j, r)
	c.Set = compileSet(j, r, bit)
	p.recipients = append(p.recipients, c)
	p.byName[c.ID] = c
}

// placed reports whether some action of the rule needs payload.Params.Place.
func (c categoryRule) placed() bool {
	needs := func(a payload.Action) bool { _, ok := a.T.(payload.Placed); return ok }
	return needs(c.orElse) || slices.ContainsFunc(c.entries, func(e compiledEntry) bool { return needs(e.action) })
}

// compileRule finds the entries that decide about one category: of those that
// cover it, the ones with the longest pattern.
func (p *Policy) compileRule(j *journal, r *recipient, c *Recipient, n int, bit map[string]uint64) categoryRule {
	var rule categoryRule
	id := p.ids[n]
	for i, u := range c.purposes {
		if u.uses.has(n) {
			rule.uses |= 1 << i
		}
	}
	longest := -1
	for _, e := range r.release {
		if covers(e.category.s, id) {
			longest = max(longest, weight(e.category.s))
		}
	}
	env := deid.Env{Recipient: r.id.s, Category: id}
	for _, e := range r.release {
		if !covers(e.category.s, id) || weight(e.category.s) != longest {
			continue
		}
		fits := rule.uses
		if e.purpose.s != "" {
			fits = bit[e.purpose.s]
		}
		if rule.entries == nil {
			rule.orElse = actionOf(j, e.orElse, env)
		}
		rule.entries = append(rule.entries, compiledEntry{fits, actionOf(j, e.as, env)})
	}
	return rule
}

// actionOf makes an action, and reports what cannot be made.
func actionOf(j *journal, a spelled, env deid.Env) payload.Action {
	act, err := makeAction(a, env)
	if err != nil {
		j.add(a.at, "%v", err)
	}
	return act
}

// plainActions are the actions that are no transforms.
var plainActions = map[string]payload.Op{
	"pass": payload.Pass, "drop": payload.Drop, "null": payload.Null, "block": payload.Block,
}

// makeAction makes an action of what was written. Nothing written is drop, as
// is what is wrong.
func makeAction(a spelled, env deid.Env) (payload.Action, error) {
	if a.name == "" || a.name == "?" || a.name == "~" {
		return payload.Action{Op: payload.Drop}, nil // the check tells
	}
	if op, ok := plainActions[a.name]; ok {
		if a.args != nil {
			return payload.Action{Op: payload.Drop}, fmt.Errorf("%s takes no arguments: write it alone", a.name)
		}
		return payload.Action{Op: op}, nil
	}
	var args any
	if a.args != nil {
		if err := decodeArgs(a.args, &args); err != nil {
			return payload.Action{Op: payload.Drop}, fmt.Errorf("%s: %w", a.name, err)
		}
	}
	t, err := deid.New(a.name, args, env)
	if err != nil {
		return payload.Action{Op: payload.Drop}, err
	}
	return payload.Action{Op: payload.Transform, T: t}, nil
}

func decodeArgs(n *yaml.Node, to *any) error {
	if err := n.Decode(to); err != nil {
		return fmt.Errorf("its arguments cannot be read: %w", err)
	}
	return nil
}
