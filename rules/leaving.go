package rules

import "github.com/consentgate/consentgate/internal/payload"

// Decision is what of a subject's permits led to a release, and of which policy
// and route it was: enough to tell later what was released then. It says nothing
// of who the subject is.
type Decision struct {
	Policy string `json:"p"` // the beginning of its digest
	Word   uint64 `json:"w"`
}

// Decision returns what led to the release. ok is false for the strictest of
// several.
func (r *Route) Decision(rel *Release) (d Decision, ok bool) {
	if len(rel.words) != 1 {
		return d, false
	}
	return Decision{r.policy.mark(), rel.words[0]}, true
}

// Decided returns the release that a decision led to, or nil where it was of
// another policy, under which nobody can say any more what it was.
func (r *Route) Decided(d Decision) *Release {
	if d.Policy != r.policy.mark() {
		return nil
	}
	return r.released(d.Word)
}

// Serves reports whether the route may have anything at all of the subject: some
// purpose of it is permitted, or an exemption of it is in force, and where the
// recipient is abroad the subject let data go there (clause 2.1). Clause 5: a
// partner gets nothing of one who refused, not even what is not personal.
func (r *Route) Serves(rel *Release) bool {
	for _, word := range rel.words {
		if r.recipient.Abroad && word&crossed == 0 || word&r.purposes == 0 && r.exempt.empty() {
			return false
		}
	}
	return len(rel.words) > 0
}

// Narrowed returns what has yet to be done to a record that was released by was,
// now that now holds: categories whose action has become stricter go, and nothing
// is transformed a second time. nil stands for a release that nobody knows any
// more: then only what passes now as it is stays. It is interned.
func (r *Route) Narrowed(was, now *Release) *Release {
	if was == now {
		return nil
	}
	key := [2]*Release{was, now}
	if rel := r.narrowed.get(key); rel != nil {
		return rel
	}
	rel := &Release{Actions: make([]payload.Action, len(now.Actions)), Set: now.Set, words: now.words}
	for c, a := range now.Actions {
		switch {
		case a.Op == payload.Block:
			rel.Actions[c] = a
		case was == nil && a.Op == payload.Pass, was != nil && payload.Stricter(was.Actions[c], a) == was.Actions[c]:
			rel.Actions[c] = payload.Action{Op: payload.Pass}
		default:
			rel.Actions[c] = payload.Action{Op: payload.Drop}
		}
	}
	judgement := r.judgement
	if was != nil {
		judgement.Unknown = payload.Pass // it was judged, by the same policy
	}
	r.finishBy(rel, judgement)
	return r.narrowed.add(key, rel)
}

// mark is enough of the policy's digest to tell it from those before and after.
func (p *Policy) mark() string { return p.Digest()[:16] }
