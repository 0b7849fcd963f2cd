// Package consent keeps what subjects decided: grants, the state they add up
// to, the ledger that proves it, and the stores that hold both. It knows
// nothing of JSON bodies, of Caddy, or of which purpose needs what: the rules
// decide that.
//
// An [Event] is what a caller says a subject decided. [Event.Decision] takes
// the raw ids out of it, [Apply] turns it into the next [State] and an [Entry]
// of the ledger, and a [Store] commits both or neither. [Service] is all of
// that for a caller who has ids and events. [Join] and [JoinDevice] say which
// state governs a request that names a user, a device, or both.
package consent

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"
)

// ID is how the stores know a subject: base64url(HMAC-SHA-256(secret, kind
// ":" id)) cut to 22 characters (132 bits). See [Identifier].
type ID string

// Kind says what sort of identifier names a subject.
type Kind string

// The kinds of subjects.
const (
	User   Kind = "user"
	Device Kind = "device"
)

// Status is a subject's answer for a purpose.
type Status string

// The statuses.
const (
	Granted   Status = "granted"
	Denied    Status = "denied"
	Withdrawn Status = "withdrawn"
)

// The purposes that no policy defines.
const (
	// CrossBorder is granted for one recipient outside the policy's home. It is
	// always separate.
	CrossBorder = "cross_border"
	// Acceptance is the answer to the policy as a whole, kept among the grants
	// of a state for its time and because "took it back" must be told from
	// "never asked" when states are joined. State.Policy says the same for
	// whoever only asks whether the policy is accepted. It is written by
	// accept_policy alone; an event that grants it is refused.
	Acceptance = "policy"
)

// GrantKey names what a grant is about: a purpose and, for a separate consent,
// one recipient ("adx", or "open_platform:CLIENT" where the recipient has a
// per value). Recipient is empty for a grant of the purpose itself.
type GrantKey struct {
	Purpose   string
	Recipient string
}

// covers reports whether k speaks of all that the other key speaks of, and of
// more: a purpose covers its recipients, "open_platform" its clients.
func (k GrantKey) covers(other GrantKey) bool {
	if k.Purpose != other.Purpose || k.Recipient == other.Recipient {
		return false
	}
	return k.Recipient == "" || len(other.Recipient) > len(k.Recipient) &&
		other.Recipient[len(k.Recipient)] == ':' && strings.HasPrefix(other.Recipient, k.Recipient)
}

// Grant is a subject's recorded answer.
type Grant struct {
	Status  Status
	Version string    // the policy version in force for the subject when answering
	At      time.Time // when the answer was recorded
	Expires time.Time // zero: never
}

// Live reports whether the answer still holds: it has no expiry, or now is
// before it.
func (g Grant) Live(now time.Time) bool { return live(g.Expires, now) }

// refuses reports whether the answer is a no. What is not known to be a yes is
// a no.
func (g Grant) refuses() bool { return g.Status != Granted }

// Guardian is the consent of a minor's guardian.
type Guardian struct {
	ID       string // digest only; the raw id of the guardian is never kept
	Method   string // how the guardian's identity and consent were verified
	Purposes []string
	Status   Status
	Expires  time.Time // zero: never
}

// Live reports whether the guardian's answer still holds.
func (g *Guardian) Live(now time.Time) bool { return g != nil && live(g.Expires, now) }

// State is all that a subject has decided, as of its Version. The zero State
// is that of a subject who granted nothing.
//
// A grant's key is as wide as the answer was. A refusal of a purpose as a
// whole (Recipient "") governs every recipient of it, also those that the
// policy did not name then, and beats whatever stands for one recipient; a
// refusal of "open_platform" likewise governs each "open_platform:CLIENT".
// [State.Refused] reads them so. A grant never reaches beyond its own key.
type State struct {
	Policy     string    // the policy version that the subject accepted; empty: none
	MinorUntil time.Time // zero: not known to be a minor
	Guardian   *Guardian
	Grants     map[GrantKey]Grant

	Version    uint64 // counts the writes to this state; 0: none yet
	Head       string // hash of the last entry of the ledger
	Salt       []byte // 16 random bytes made by the first write; nil without one
	Links      []ID   // a user's devices, or a device's users
	Tombstoned bool   // cancelled: no write but a registration is accepted
}

// Known reports whether anything has ever been recorded for the subject, and
// the subject is not cancelled.
func (s *State) Known() bool { return s.Version > 0 && !s.Tombstoned }

// Minor reports whether the subject is a minor now.
func (s *State) Minor(now time.Time) bool { return s.MinorUntil.After(now) }

// LinkedTo reports whether the state names the other subject as linked.
func (s *State) LinkedTo(id ID) bool { return slices.Contains(s.Links, id) }

// Refused reports whether a live denial or withdrawal stands against the
// purpose for this recipient: of the purpose as a whole, of the recipient, or
// of the recipient with this per value. It beats every basis and every grant.
func (s *State) Refused(purpose, recipient string, now time.Time) bool {
	if s.refusedAt(GrantKey{purpose, ""}, now) {
		return true
	}
	if recipient == "" {
		return false
	}
	if i := strings.IndexByte(recipient, ':'); i > 0 && s.refusedAt(GrantKey{purpose, recipient[:i]}, now) {
		return true
	}
	return s.refusedAt(GrantKey{purpose, recipient}, now)
}

func (s *State) refusedAt(k GrantKey, now time.Time) bool {
	g, ok := s.Grants[k]
	return ok && g.refuses() && g.Live(now)
}

// clone copies what a later change could reach: states are read by many.
func (s State) clone() State {
	s.Grants = maps.Clone(s.Grants)
	s.Salt = bytes.Clone(s.Salt)
	s.Links = slices.Clone(s.Links)
	s.Guardian = s.Guardian.clone()
	return s
}

func (g *Guardian) clone() *Guardian {
	if g == nil {
		return nil
	}
	c := *g
	c.Purposes = slices.Clone(g.Purposes)
	return &c
}

// live is the one meaning of an expiry: zero is never, and the instant itself
// is too late.
func live(expires, now time.Time) bool { return expires.IsZero() || now.Before(expires) }
