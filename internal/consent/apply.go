package consent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Apply returns the state that a decision leads to from s, and the ledger entry
// that says so. It is pure: it reads no clock and no store, and does not change
// s. at is the time of the entry.
//
// A decision that the policy or the state does not allow is an [*InvalidError]:
// a policy version that the policy does not know, accepting or granting under
// an older one than the subject accepted (a downgrade), a purpose or recipient
// that the policy does not define, a grant of a separate purpose without a
// recipient or of any other with one, an expiry in the past, one answer twice,
// too many answers, nothing at all. For a cancelled subject, a decision that
// does not register is [ErrGone].
//
// Answers are applied in their order, and the later one stands:
//
//   - A refusal of a purpose as a whole, or of a recipient with clients, turns
//     every grant under it into the same refusal, and governs those that have
//     no answer yet (see [State]).
//   - A grant of a purpose that is not separate ends the refusals under it.
//   - A grant for one recipient of a separate purpose ends the refusals that
//     cover it. The other recipients keep theirs, or have no answer, which for
//     a separate purpose is no either.
//
// No refusal is turned away for the age of the version it names, and refusals
// have room of their own in a state that is full of grants: withdrawing must
// stay possible.
func Apply(s State, d Decision, p Policy, at time.Time) (State, Entry, error) {
	at = moment(at)
	typ := EntryDecision
	next := s.clone()
	if s.Tombstoned {
		if !d.Register {
			return State{}, Entry{}, ErrGone
		}
		typ = EntryRegister
		next = State{Version: s.Version, Head: s.Head}
	}
	if next.Salt == nil {
		if len(d.Salt) != 16 {
			return State{}, Entry{}, errors.New("consent: a decision without a salt")
		}
		next.Salt = slices.Clone(d.Salt)
	}
	version, err := judgeVersion(&next, &d, p)
	if err != nil {
		return State{}, Entry{}, err
	}
	if err := d.apply(&next, p, version, at); err != nil {
		return State{}, Entry{}, err
	}
	event, err := d.encode()
	if err != nil {
		return State{}, Entry{}, err
	}
	entry, err := appendEntry(&next, d.Subject, typ, version, event, at)
	if err != nil {
		return State{}, Entry{}, err
	}
	return next, entry, nil
}

// inForce is the version of the policy that counts now, empty for a policy that
// has none.
func inForce(p Policy) string {
	if v := p.Versions(); len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// judgeVersion returns the policy version that the decision is recorded under.
func judgeVersion(s *State, d *Decision, p Policy) (string, error) {
	agrees := d.AcceptPolicy != nil && *d.AcceptPolicy ||
		slices.ContainsFunc(d.Event.Grants, func(a Answer) bool { return a.Status == Granted })
	if d.PolicyVersion == "" {
		if agrees {
			return "", invalid("/policy_version", "is missing: to accept or to grant, say under which version")
		}
		return inForce(p), nil
	}
	versions := p.Versions()
	v := slices.Index(versions, d.PolicyVersion)
	if v < 0 {
		return "", invalid("/policy_version", "is not a version of the policy")
	}
	if agrees && v < slices.Index(versions, s.Policy) {
		return "", invalid("/policy_version", "is older than the version that the subject accepted")
	}
	return d.PolicyVersion, nil
}

// apply changes s as the decision says, or returns an error and leaves s in
// whatever shape.
func (d *Decision) apply(s *State, p Policy, version string, at time.Time) error {
	if d.AcceptPolicy == nil && len(d.Event.Grants) == 0 && !d.MinorUntil.Set && !d.Guardian.Set && !d.Register {
		return invalid("", "decides nothing")
	}
	if s.Grants == nil {
		s.Grants = make(map[GrantKey]Grant)
	}
	if d.AcceptPolicy != nil {
		s.Policy = ""
		g := Grant{Status: Withdrawn, Version: version, At: at}
		if *d.AcceptPolicy {
			s.Policy, g.Status = version, Granted
		}
		s.Grants[acceptanceKey] = g
	}
	if len(d.Event.Grants) > MaxEventGrants {
		return invalid("/grants", "has too many answers")
	}
	asked := make(map[GrantKey]bool, len(d.Event.Grants))
	for i, a := range d.Event.Grants {
		pointer := fmt.Sprintf("/grants/%d", i)
		k := GrantKey{a.Purpose, a.Recipient}
		if err := judgeAnswer(pointer, a, p, at); err != nil {
			return err
		}
		if asked[k] {
			return invalid(pointer, "answers again what an answer before it answers")
		}
		asked[k] = true
		s.answer(k, Grant{Status: a.Status, Version: version, At: at, Expires: moment(a.Expires)})
		if a.Recipient != "" && s.full(a.Status) {
			return invalid(pointer, "is more than a subject's state can hold")
		}
	}
	if d.MinorUntil.Set {
		s.MinorUntil = moment(d.MinorUntil.To)
	}
	if d.Guardian.Set {
		s.Guardian = nil
		if g := d.Guardian.To; g != nil {
			if err := judgeGuardian(g, p, at); err != nil {
				return err
			}
			s.Guardian = &Guardian{g.ID, g.Method, slices.Clone(g.Purposes), g.Status, moment(g.Expires)}
		}
	}
	return nil
}

// answer puts one answer into the state; see Apply for what it does to others.
func (s *State) answer(k GrantKey, g Grant) {
	for other, have := range s.Grants {
		switch {
		case k.covers(other) && g.refuses() && !have.refuses():
			s.Grants[other] = g
		case k.covers(other) && !g.refuses():
			delete(s.Grants, other)
		case other.covers(k) && !g.refuses() && have.refuses():
			delete(s.Grants, other)
		}
	}
	s.Grants[k] = g
}

// full reports whether the state holds more answers for single recipients than
// an answer of this status may bring it to.
func (s *State) full(status Status) bool {
	limit := MaxGrants
	if status != Granted {
		limit *= 2
	}
	if len(s.Grants) <= limit {
		return false
	}
	n := 0
	for k := range s.Grants {
		if k.Recipient != "" {
			n++
		}
	}
	return n > limit
}

func judgeAnswer(pointer string, a Answer, p Policy, at time.Time) error {
	if !a.Status.known() {
		return invalid(pointer+"/status", `is none of "granted", "denied" and "withdrawn"`)
	}
	crossing := a.Purpose == CrossBorder
	if a.Purpose == Acceptance || !crossing && !p.HasPurpose(a.Purpose) {
		return invalid(pointer+"/purpose", "is not a purpose of the policy")
	}
	if a.Recipient != "" && !p.HasRecipient(a.Recipient) {
		return invalid(pointer+"/recipient", "is not a recipient of the policy")
	}
	if !a.Expires.IsZero() && !a.Expires.After(at) {
		return invalid(pointer+"/expires_at", "is in the past")
	}
	if a.Status != Granted {
		return nil
	}
	switch separate := crossing || p.Separate(a.Purpose); {
	case separate && a.Recipient == "":
		return invalid(pointer+"/recipient", "is missing: this purpose is granted to one recipient at a time")
	case !separate && a.Recipient != "":
		return invalid(pointer+"/recipient", "must be null: this purpose is granted as a whole")
	case a.Recipient != "" && !strings.Contains(a.Recipient, ":") && p.HasRecipient(a.Recipient+":*"):
		return invalid(pointer+"/recipient", `must name one client, as in "recipient:client"`)
	}
	return nil
}

func judgeGuardian(g *GuardianAnswer, p Policy, at time.Time) error {
	switch {
	case !g.Status.known():
		return invalid("/guardian/status", `is none of "granted", "denied" and "withdrawn"`)
	case !g.Expires.IsZero() && !g.Expires.After(at):
		return invalid("/guardian/expires_at", "is in the past")
	case g.Status == Granted && g.Method == "":
		return invalid("/guardian/method", "is missing: say how the guardian was verified")
	case g.Status == Granted && len(g.Purposes) == 0:
		return invalid("/guardian/purposes", `is missing: name purposes, or "*" for all`)
	case len(g.Purposes) > MaxEventGrants:
		return invalid("/guardian/purposes", "has too many purposes")
	}
	for i, purpose := range g.Purposes {
		if purpose != "*" && purpose != CrossBorder && !p.HasPurpose(purpose) {
			return invalid(fmt.Sprintf("/guardian/purposes/%d", i), "is not a purpose of the policy")
		}
	}
	return nil
}
