package rules

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/consentgate/consentgate/internal/payload"
)

// Route is one way that data takes to one recipient, for the purposes that it
// serves and under the exemptions that it invokes. It is safe for concurrent
// use.
type Route struct {
	policy    *Policy
	recipient *Recipient
	purposes  uint64 // of the recipient's, those that the route serves
	exempt    bitset // categories
	judgement payload.Judgement
	written   []int // of the recipient's Set, by index: the number in the matcher's spec
	matcher   *payload.Matcher

	stranger *Release
	made     interned[uint64]
	joined   interned[[2]*Release]
	narrowed interned[[2]*Release]
}

// Release is what a recipient may have of each category, for one subject, now.
// It is immutable, and interned: the same permits give the same pointer.
type Release struct {
	// Actions holds an action for each category.
	Actions []payload.Action
	// Vector is the actions made ready for the route's matcher.
	Vector *payload.Vector
	// Blocks says that some category is blocked, so that a record which holds
	// it is refused.
	Blocks bool
	// Set are the members that are written, a bit for each of the recipient's.
	Set uint32

	words []uint64 // the permits that led here; several after Strictest
}

// Action returns the action for a category.
func (rel *Release) Action(c payload.Category) payload.Action { return rel.Actions[c] }

// maxReleases bounds what a route remembers. Subjects choose what they permit,
// so they must not be able to choose how much memory that takes. Whoever
// compares releases by pointer may find two alike once the bound is reached,
// never one that stands for two.
const maxReleases = 1024

// interned is a map that is read without a lock and copied to be written.
type interned[K comparable] struct {
	all atomic.Pointer[map[K]*Release]
	mu  sync.Mutex
}

func (m *interned[K]) get(k K) *Release {
	if all := m.all.Load(); all != nil {
		return (*all)[k]
	}
	return nil
}

// add returns what is kept for k: rel, unless another came first.
func (m *interned[K]) add(k K, rel *Release) *Release {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.get(k); first != nil {
		return first
	}
	next := map[K]*Release{}
	if all := m.all.Load(); all != nil && len(*all) < maxReleases {
		next = maps.Clone(*all)
	}
	next[k] = rel
	m.all.Store(&next)
	return rel
}

// start gives a route its matcher.
func (r *Route) start(m *payload.Matcher) {
	r.matcher = m
	r.stranger = r.decide(0)
}

// Recipient returns who gets what takes this route.
func (r *Route) Recipient() *Recipient { return r.recipient }

// Purposes returns the purposes that the route serves, in the policy's order.
func (r *Route) Purposes() []string { return r.names(r.purposes) }

func (r *Route) names(bits uint64) []string {
	var ids []string
	for i, u := range r.recipient.purposes {
		if bits>>i&1 != 0 {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

// Release returns the release for a subject's permits. per is the value of the
// recipient's per, and is ignored where it has none; a recipient that has one
// and whose party is not known gets what a stranger's data gives. Permits of
// another policy are those of one who granted nothing.
func (r *Route) Release(pm Permits, per string) *Release {
	if pm.policy != r.policy {
		return r.stranger
	}
	word := pm.word(r.recipient, per) & (r.purposes | crossed)
	if pm.minor && r.recipient.asksAge() {
		word |= underage
	}
	return r.released(word)
}

// released returns the release for a word of permits, interned.
func (r *Route) released(word uint64) *Release {
	if word == 0 {
		return r.stranger
	}
	if rel := r.made.get(word); rel != nil {
		return rel
	}
	return r.made.add(word, r.decide(word))
}

// Stranger returns the release for one who granted nothing, and of whom
// nothing is known. The route's exemptions hold for it as for anyone.
func (r *Route) Stranger() *Release { return r.stranger }

// decide makes the release for a word of permits.
func (r *Route) decide(word uint64) *Release {
	rel := &Release{Actions: make([]payload.Action, len(r.policy.ids)), Set: r.writes(word), words: []uint64{word}}
	for c := range rel.Actions {
		rel.Actions[c] = r.action(c, word)
	}
	r.finish(rel)
	return rel
}

func (r *Route) finish(rel *Release) { r.finishBy(rel, r.judgement) }

func (r *Route) finishBy(rel *Release, judgement payload.Judgement) {
	for _, a := range rel.Actions {
		rel.Blocks = rel.Blocks || a.Op == payload.Block
	}
	judgement.Writes = nil
	for i, write := range r.written {
		if rel.Set>>i&1 != 0 {
			judgement.Writes = append(judgement.Writes, write)
		}
	}
	rel.Vector = r.matcher.NewVector(rel.Actions, judgement)
}

// action answers "what happens to this category?".
func (r *Route) action(c int, word uint64) payload.Action {
	// An exemption never lifts cross_border (clause 2.1).
	if r.exempt.has(c) && (!r.recipient.Abroad || word&crossed != 0) {
		return payload.Action{Op: payload.Pass}
	}
	permitted := word & r.purposes
	rule := &r.recipient.rules[c]
	if rule.entries != nil {
		for _, e := range rule.entries {
			if e.fits&permitted != 0 {
				return e.action
			}
		}
		return rule.orElse
	}
	// Clause 5: an ad partner gets what is listed for it and nothing else.
	if r.recipient.Kind != AdPartner && rule.uses&permitted != 0 {
		return payload.Action{Op: payload.Pass}
	}
	return payload.Action{Op: payload.Drop}
}

// Strictest returns the release that takes the stricter of the actions for
// each category. It is for what stands outside the records of a batch and so
// speaks of all of them. Without releases it is the stranger's.
func (r *Route) Strictest(releases ...*Release) *Release {
	if len(releases) == 0 {
		return r.stranger
	}
	first, second, more := releases[0], (*Release)(nil), false
	for _, rel := range releases[1:] {
		switch {
		case rel == first || rel == second:
		case second == nil:
			second = rel
		default:
			more = true
		}
	}
	switch {
	case second == nil:
		return first
	case more:
		return r.join(releases)
	}
	// Two sorts of subjects are the common case, and are remembered.
	key := [2]*Release{first, second}
	if rel := r.joined.get(key); rel != nil {
		return rel
	}
	return r.joined.add(key, r.join(key[:]))
}

// join makes the strictest of several releases.
func (r *Route) join(releases []*Release) *Release {
	rel := &Release{Actions: slices.Clone(releases[0].Actions), Set: releases[0].Set}
	seen := map[*Release]bool{}
	for _, b := range releases {
		if seen[b] {
			continue
		}
		seen[b] = true
		rel.words = append(rel.words, b.words...)
		// What is said of one of them is said of all: less may be done with it.
		rel.Set |= b.Set
		for c := range rel.Actions {
			rel.Actions[c] = payload.Stricter(rel.Actions[c], b.Actions[c])
		}
	}
	slices.Sort(rel.words)
	rel.words = slices.Compact(rel.words)
	r.finish(rel)
	return rel
}

// Missing returns the purposes of the route whose permission would lift a
// block of the categories given, in the policy's order, with [CrossBorder]
// last where nothing may leave the country without it. Without categories it
// speaks of all that are blocked.
func (r *Route) Missing(rel *Release, categories ...payload.Category) []string {
	if len(categories) == 0 {
		for c := range rel.Actions {
			categories = append(categories, payload.Category(c))
		}
	}
	return r.lacking(rel, categories, func(op payload.Op) bool { return op == payload.Block })
}

// Needed is Missing for categories that have to reach the recipient, if only
// de-identified: what drops them is in the way, too.
func (r *Route) Needed(rel *Release, categories ...payload.Category) []string {
	return r.lacking(rel, categories, func(op payload.Op) bool { return op > payload.Transform })
}

func (r *Route) lacking(rel *Release, categories []payload.Category, stops func(payload.Op) bool) []string {
	var lift uint64
	for _, c := range categories {
		if !stops(rel.Actions[c].Op) {
			continue
		}
		for _, word := range rel.words {
			lift |= r.lifting(int(c), word, stops)
		}
	}
	names := r.names(lift)
	if lift&crossed != 0 {
		names = append(names, CrossBorder)
	}
	return names
}

// lifting returns the missing purposes each of which would have a category no
// longer stopped.
func (r *Route) lifting(c int, word uint64, stops func(payload.Op) bool) uint64 {
	if !stops(r.action(c, word).Op) {
		return 0
	}
	var lift uint64
	for i := range r.recipient.purposes {
		bit := uint64(1) << i
		if word&bit == 0 && r.purposes&bit != 0 && !stops(r.action(c, word|bit|crossed).Op) {
			lift |= bit
		}
	}
	if r.recipient.Abroad && word&crossed == 0 && (lift != 0 || !stops(r.action(c, word|crossed).Op)) {
		lift |= crossed
	}
	return lift
}
