package rules

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

// Permits is what a subject permits now: the purposes that may run, for each
// recipient. It is what a cache keeps of a state. The zero Permits permits
// nothing. It is immutable.
type Permits struct {
	policy *Policy
	words  []uint64 // by recipient: a bit for each of its purposes, and crossed
	per    []perWord
	minor  bool // now
}

// perWord is the word of one party behind a recipient with a per value, where
// the subject answered for it by name.
type perWord struct {
	recipient int
	per       string
	word      uint64
}

// Permits decides which purposes a subject permits for which recipient, and
// until when that holds if the state does not change: the zero time means for
// ever.
//
//   - Every purpose needs the policy accepted, in a version that is one of this
//     policy's and no older than the purpose's since (clause 7).
//   - A denied or withdrawn that has not expired beats every basis. One for the
//     purpose alone speaks for all recipients, one for a recipient with a per
//     value for all the parties behind it. It counts whatever version it was
//     given under: who said no does not have to say so again.
//   - A necessary purpose needs no more. A consent or explicit one needs a
//     grant that has not expired and was given under a version no older than
//     since. A separate one needs that of a grant which names this recipient,
//     with its per value where it has one (clause 5).
//   - Who is a minor now also needs a guardian's grant that names the purpose
//     or "*" (clause 8).
//   - A recipient abroad also needs [CrossBorder] granted for it, which is
//     judged as any separate purpose is (clause 2.1).
//
// What expires at a moment no longer holds at that moment. A state that was
// cancelled permits nothing, and so does one without an accepted policy; the
// state's version plays no part, since a user who was never recorded may be
// joined with a device that was.
func (p *Policy) Permits(s *consent.State, now time.Time) (Permits, time.Time) {
	if s == nil || s.Tombstoned {
		return Permits{policy: p}, time.Time{}
	}
	pm := Permits{policy: p, minor: now.Before(s.MinorUntil)}
	accepted := slices.Index(p.versions, s.Policy)
	if s.Policy == "" || accepted < 0 {
		// Nothing may run, and yet a record says that a minor is one.
		if pm.minor {
			return pm, s.MinorUntil
		}
		return pm, time.Time{}
	}
	a := answers{p: p, s: s, now: now, accepted: accepted, minor: pm.minor}
	pm.words = make([]uint64, len(p.recipients))
	for i, r := range p.recipients {
		name := r.ID
		if r.Per != "" {
			// A party that nothing was said to by name: what was refused to all
			// holds for it, and a grant to all does not (clause 1.6).
			name += ":"
		}
		pm.words[i] = a.word(r, name)
	}
	for k := range s.Grants {
		base, per, _ := strings.Cut(k.Recipient, ":")
		if r := p.byName[base]; per != "" && r != nil && r.Per != "" {
			pm.per = append(pm.per, perWord{recipient: r.index, per: per})
		}
	}
	slices.SortFunc(pm.per, comparePer)
	pm.per = slices.Compact(pm.per)
	for i := range pm.per {
		w := &pm.per[i]
		r := p.recipients[w.recipient]
		w.word = a.word(r, r.ID+":"+w.per)
	}
	return pm, a.changes()
}

func comparePer(a, b perWord) int {
	return cmp.Or(cmp.Compare(a.recipient, b.recipient), cmp.Compare(a.per, b.per))
}

// word returns what is permitted for a recipient, or for the party behind it
// that per names. A party that cannot be told permits nothing: else whoever
// leaves its name out would slip past what was denied to that name.
func (pm Permits) word(r *Recipient, per string) uint64 {
	if pm.words == nil {
		return 0
	}
	if r.Per == "" {
		return pm.words[r.index]
	}
	if per == "" {
		return 0
	}
	if i, ok := slices.BinarySearchFunc(pm.per, perWord{recipient: r.index, per: per}, comparePer); ok {
		return pm.per[i].word
	}
	return pm.words[r.index]
}

// Permitted reports whether a purpose may run for a recipient, which is named
// as in a grant ("adx", "open_platform:CLIENT").
func (p *Policy) Permitted(pm Permits, purpose, recipient string) bool {
	base, per, _ := strings.Cut(recipient, ":")
	r := p.byName[base]
	if r == nil || pm.policy != p {
		return false
	}
	w := pm.word(r, per)
	for i, u := range r.purposes {
		if u.ID == purpose {
			return w>>i&1 != 0
		}
	}
	return purpose == CrossBorder && r.Abroad && w&crossed != 0
}

// answers reads a state.
type answers struct {
	p        *Policy
	s        *consent.State
	now      time.Time
	accepted int // index of the version
	minor    bool
}

// word decides for one recipient under the name that grants give it.
func (a *answers) word(r *Recipient, name string) uint64 {
	var w uint64
	if r.Abroad {
		// cross_border came with the recipient.
		since, _ := a.p.version(r.Since)
		if !a.permitted(CrossBorder, Separate, since, name) {
			return 0
		}
		w = crossed
	}
	for i, u := range r.purposes {
		if a.permitted(u.ID, u.Basis, r.since[i], name) {
			w |= 1 << i
		}
	}
	return w
}

func (a *answers) permitted(purpose string, basis Basis, since int, recipient string) bool {
	if a.accepted < since || a.refused(purpose, recipient) || a.minor && !a.guarded(purpose) {
		return false
	}
	switch basis {
	case Necessary:
		return true
	case Consent, Explicit:
		return a.granted(purpose, "", since)
	case Separate:
		return a.granted(purpose, recipient, since)
	}
	return false
}

// refused looks for a refusal in every breadth that speaks of the recipient.
func (a *answers) refused(purpose, recipient string) bool {
	base, _, _ := strings.Cut(recipient, ":")
	for _, name := range [...]string{"", base, recipient} {
		g, ok := a.s.Grants[consent.GrantKey{Purpose: purpose, Recipient: name}]
		// Whatever is no grant is a refusal, an unknown status too.
		if ok && g.Status != consent.Granted && a.live(g.Expires) {
			return true
		}
	}
	return false
}

func (a *answers) granted(purpose, recipient string, since int) bool {
	g, ok := a.s.Grants[consent.GrantKey{Purpose: purpose, Recipient: recipient}]
	return ok && !strings.HasSuffix(recipient, ":") && g.Status == consent.Granted && a.live(g.Expires) &&
		slices.Index(a.p.versions, g.Version) >= since
}

func (a *answers) guarded(purpose string) bool {
	g := a.s.Guardian
	return g != nil && g.Status == consent.Granted && a.live(g.Expires) &&
		(slices.Contains(g.Purposes, purpose) || slices.Contains(g.Purposes, "*"))
}

func (a *answers) live(expires time.Time) bool {
	return expires.IsZero() || a.now.Before(expires)
}

// changes returns the first moment at which something in the state stops to
// hold by itself; zero if nothing does.
func (a *answers) changes() time.Time {
	var first time.Time
	note := func(t time.Time) {
		if a.now.Before(t) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for _, g := range a.s.Grants {
		note(g.Expires)
	}
	if a.s.Guardian != nil {
		note(a.s.Guardian.Expires)
	}
	note(a.s.MinorUntil)
	return first
}
