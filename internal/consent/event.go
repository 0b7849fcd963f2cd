package consent

import (
	"strconv"
	"time"
)

// Limits of one event and of one state.
const (
	MaxEventSize   = 64 << 10 // bytes of an event's JSON
	MaxEventGrants = 128      // answers in one event
	MaxGrants      = 512      // answers for single recipients in one state; refusals may reach twice that
	MaxLinks       = 256      // devices of a user, users of a device
	MaxName        = 128      // bytes of a purpose, a version, a method, a member of evidence
	MaxRecipient   = 256      // bytes of a recipient with its per value
	MaxIdempotency = 256      // bytes of an idempotency key
)

// Event is what a caller says that a subject decided: the JSON of POST
// /consent/v1/events.
//
//	{"subject":"u1","kind":"user","policy_version":"2022-03-09","accept_policy":true,
//	 "grants":[{"purpose":"media.geotag","status":"granted","recipient":null,"expires_at":null}],
//	 "minor_until":null,"guardian":null,
//	 "evidence":{"channel":"app","prompt":"sha256:…","locale":"zh-CN"},"register":false}
//
// An absent member changes nothing. A null one, where null is allowed
// (minor_until, guardian), takes back what stood there, as a merge patch (RFC
// 7396) would. An event holds raw ids: it is never stored or logged. Decision
// is what is.
type Event struct {
	Subject string // the raw id; required
	Kind    Kind   // absent: User
	// PolicyVersion is what the subject was shown. It is required to accept
	// the policy and to grant; without it, a refusal is recorded under the
	// version in force.
	PolicyVersion string
	AcceptPolicy  *bool // nil: unchanged; false: acceptance is taken back
	Grants        []Answer
	MinorUntil    Change[time.Time]       // to zero: not known to be a minor
	Guardian      Change[*GuardianAnswer] // to nil: none
	Evidence      *Evidence
	Register      bool // start anew after a cancellation
}

// Answer is a subject's answer for one purpose, applied in the order of the
// event.
type Answer struct {
	Purpose   string
	Recipient string // empty: the purpose as a whole
	Status    Status
	Expires   time.Time // zero: never
}

// GuardianAnswer is what a minor's guardian answered. A grant needs a method
// and purposes ("*" for all); a refusal needs neither.
type GuardianAnswer struct {
	ID       string // raw in an Event, a digest in a Decision
	Method   string
	Purposes []string
	Status   Status
	Expires  time.Time // zero: never
}

// Evidence is what proves how an answer came about. It goes into the ledger
// as it is and must not name a person.
type Evidence struct {
	Channel string // where the question was put: "app", "web", "phone"
	Prompt  string // digest of the text that was shown: "sha256:…"
	Locale  string // in which language: a BCP 47 tag
}

// Change tells a member that is absent (Set is false) from one that is null
// (Set, To is the zero value).
type Change[T any] struct {
	Set bool
	To  T
}

// Privileged returns the JSON Pointer of the first member of the event that a
// subject may not decide for itself (minor_until, guardian, register), or ""
// when there is none. null counts: it would take protection away.
func (e *Event) Privileged() string {
	switch {
	case e.MinorUntil.Set:
		return "/minor_until"
	case e.Guardian.Set:
		return "/guardian"
	case e.Register:
		return "/register"
	}
	return ""
}

// InvalidError says why an event cannot be recorded, and of which member. It
// repeats no value, only names of members.
type InvalidError struct {
	Pointer string // JSON Pointer (RFC 6901) of the member; empty: the whole event
	Reason  string // a phrase in English, in lower case
	// Malformed tells what is no event at all (no JSON, a member unknown or of
	// the wrong type: HTTP 400 fits) from one that says what the policy or the
	// subject's state does not allow (422).
	Malformed bool
}

func (e *InvalidError) Error() string {
	if e.Pointer == "" {
		return "the event " + e.Reason
	}
	return "the event's member " + strconv.Quote(e.Pointer) + " " + e.Reason
}

func invalid(pointer, reason string) error { return &InvalidError{Pointer: pointer, Reason: reason} }

// Policy is what must be known of the policy in force to judge an event.
type Policy interface {
	// Versions lists every version that a subject may have accepted, oldest
	// first; the last is in force.
	Versions() []string
	// HasPurpose reports whether the policy defines the purpose. The reserved
	// ones, CrossBorder and Acceptance, are not asked for.
	HasPurpose(purpose string) bool
	// HasRecipient reports whether the policy defines the recipient; for
	// "NAME:VALUE", whether it defines NAME and NAME has a per value.
	HasRecipient(recipient string) bool
	// Separate reports whether the purpose needs a grant for each recipient.
	Separate(purpose string) bool
}
