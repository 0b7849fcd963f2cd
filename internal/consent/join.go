package consent

import (
	"bytes"
	"slices"
	"time"
)

// Join returns the state that governs a request naming a user and linked
// devices. Only devices that the user's state, or whose own state, names as
// linked may be given.
//
//   - A denial or withdrawal of either beats a grant of the other, and a grant
//     beats absence. Of two answers that agree, the refusal that holds longer
//     and the younger grant stand.
//   - The policy accepted is the user's where the user has ever accepted it or
//     taken acceptance back, and else the devices'.
//   - A minor on either side is a minor until the later date; see joinGuardian
//     for the guardian.
//   - Version, head, salt and links are the user's. A user without a state has
//     no salt, whatever the device's.
//   - A cancelled user governs alone: nothing of the device speaks for an
//     account that is gone. A cancelled device says nothing.
//
// Join knows no clock. A refusal that expires therefore hides a grant even
// beyond its expiry, which permits too little, never too much; unless the grant
// was given after it had expired.
func Join(user State, devices ...State) State {
	if user.Tombstoned {
		return State{Version: user.Version, Head: user.Head, Tombstoned: true}
	}
	all := make([]State, 1, 1+len(devices))
	all[0] = user
	for _, d := range devices {
		if d.Known() {
			all = append(all, d)
		}
	}
	s := joinAnswers(all)
	if user.askedToAccept() {
		setAcceptance(&s, all[:1])
	} else {
		setAcceptance(&s, all[1:])
	}
	return s
}

// JoinDevice returns the state that governs a request naming only a device:
// the device's, joined with those of the users linked to it, as [Join] does.
// Version, head, salt and links are the device's. Where users disagree about
// the policy, one who took acceptance back decides, and else the one who
// accepted first. A cancelled device governs alone; a cancelled user says
// nothing.
func JoinDevice(device State, users ...State) State {
	if device.Tombstoned {
		return State{Version: device.Version, Head: device.Head, Tombstoned: true}
	}
	all := make([]State, 1, 1+len(users))
	all[0] = device
	var asked []State
	for _, u := range users {
		if !u.Known() {
			continue
		}
		all = append(all, u)
		if u.askedToAccept() {
			asked = append(asked, u)
		}
	}
	s := joinAnswers(all)
	if len(asked) == 0 {
		asked = all[:1]
	}
	setAcceptance(&s, asked)
	return s
}

// joinAnswers joins what is joined alike in both directions; the first state
// lends its identity (version, head, salt, links).
func joinAnswers(all []State) State {
	s := State{
		Version: all[0].Version,
		Head:    all[0].Head,
		Salt:    bytes.Clone(all[0].Salt),
		Links:   slices.Clone(all[0].Links),
	}
	for _, o := range all {
		if o.MinorUntil.After(s.MinorUntil) {
			s.MinorUntil = o.MinorUntil
		}
		for k, g := range o.Grants {
			if k == acceptanceKey {
				continue
			}
			if s.Grants == nil {
				s.Grants = make(map[GrantKey]Grant)
			}
			if have, ok := s.Grants[k]; ok {
				g = joinGrants(have, g)
			}
			s.Grants[k] = g
		}
	}
	s.Guardian = joinGuardian(all)
	return s
}

// joinGrants returns which of two answers for one key stands.
func joinGrants(a, b Grant) Grant {
	switch {
	case a.refuses() && b.refuses():
		if outlasts(b.Expires, a.Expires) {
			return b
		}
		return a
	case a.refuses():
		return grantOrRefusal(b, a)
	case b.refuses():
		return grantOrRefusal(a, b)
	case b.At.After(a.At):
		return b
	}
	return a
}

// grantOrRefusal returns the refusal, unless it was over before the grant was
// given: then it can never hold at the same time.
func grantOrRefusal(grant, refusal Grant) Grant {
	if !refusal.Expires.IsZero() && !grant.At.Before(refusal.Expires) {
		return grant
	}
	return refusal
}

// outlasts reports whether expiry a is later than b; zero is never.
func outlasts(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// joinGuardian returns the guardian's consent in a joined state. A refusal by a
// guardian, recorded anywhere, stands; of several, the one that holds longest.
// Otherwise every state that says minor needs a guardian's grant of its own,
// and what all of them grant, for as long as all of them do, is granted; one
// without leaves no guardian. The grant of a guardian in a state that does not
// say minor vouches for no other state.
func joinGuardian(all []State) *Guardian {
	var refused, granted *Guardian
	missing := false
	for _, s := range all {
		g := s.Guardian
		if g != nil && g.Status != Granted {
			if refused == nil || outlasts(g.Expires, refused.Expires) {
				refused = g
			}
			continue
		}
		switch {
		case s.MinorUntil.IsZero():
		case g == nil:
			missing = true
		case granted == nil:
			granted = g.clone()
		default:
			granted.Purposes = bothPurposes(granted.Purposes, g.Purposes)
			if outlasts(granted.Expires, g.Expires) {
				granted.Expires = g.Expires
			}
		}
	}
	switch {
	case refused != nil:
		return refused.clone()
	case missing:
		return nil
	}
	return granted
}

// bothPurposes returns what two lists of purposes have in common; "*" is all.
func bothPurposes(a, b []string) []string {
	if slices.Contains(a, "*") {
		return slices.Clone(b)
	}
	if slices.Contains(b, "*") {
		return a
	}
	return slices.DeleteFunc(a, func(p string) bool { return !slices.Contains(b, p) })
}

// setAcceptance takes the acceptance of the policy from the states given: none
// where any took it back, and else the one that was given first, since it is
// the least likely to be of a younger version than the others.
func setAcceptance(s *State, from []State) {
	var decides *State
	for i := range from {
		o := &from[i]
		if !o.askedToAccept() {
			continue
		}
		if o.Policy == "" {
			decides = o
			break
		}
		if decides == nil || o.Grants[acceptanceKey].At.Before(decides.Grants[acceptanceKey].At) {
			decides = o
		}
	}
	if decides == nil {
		return
	}
	s.Policy = decides.Policy
	if g, ok := decides.Grants[acceptanceKey]; ok {
		if s.Grants == nil {
			s.Grants = make(map[GrantKey]Grant)
		}
		s.Grants[acceptanceKey] = g
	}
}

var acceptanceKey = GrantKey{Purpose: Acceptance}

// askedToAccept reports whether the subject has ever accepted the policy or
// taken acceptance back.
func (s *State) askedToAccept() bool {
	_, ok := s.Grants[acceptanceKey]
	return ok || s.Policy != ""
}
