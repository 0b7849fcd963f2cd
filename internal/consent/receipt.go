package consent

import (
	"cmp"
	"slices"
	"time"
)

// ReceiptSchema is what a Receipt states as its schema_version.
const ReceiptSchema = "ISO/IEC TS 27560:2023"

// AnswerWithin is how long a controller has to answer a request about a
// subject's rights after verifying who asks (clause 9 of the example policy).
const AnswerWithin = 15 * 24 * time.Hour

// The states of consent, as W3C's Data Privacy Vocabulary 2 names them.
const (
	ConsentGiven       = "ConsentGiven"
	ConsentRefused     = "ConsentRefused"
	ConsentWithdrawn   = "ConsentWithdrawn"   // by the subject
	ConsentRevoked     = "ConsentRevoked"     // by another: a minor's guardian
	ConsentExpired     = "ConsentExpired"     // given until a time that has passed
	ConsentInvalidated = "ConsentInvalidated" // given under a version that no longer counts
	ConsentUnknown     = "ConsentUnknown"     // never answered, or the answer has expired
)

// Receipt is a subject's consent record, made for the subject: what stands, for
// what, since when, and how to end it. Members have the names of ISO/IEC TS
// 27560, and event states those of W3C DPV 2. The subject is named by ID only.
type Receipt struct {
	SchemaVersion    string              `json:"schema_version"`
	RecordID         string              `json:"record_id"` // hash of the ledger's last entry; empty: nothing recorded
	PrincipalID      ID                  `json:"pii_principal_id"`
	PrincipalKind    Kind                `json:"pii_principal_kind"`
	PrivacyNotice    string              `json:"privacy_notice"` // POLICY@VERSION in force
	Language         []string            `json:"language"`       // BCP 47, of the titles
	IssuedAt         time.Time           `json:"issued_at"`
	Request          *ReceiptRequest     `json:"request,omitempty"`
	Cancelled        bool                `json:"cancelled"`
	Controllers      []ReceiptController `json:"pii_controllers"`
	Jurisdiction     []string            `json:"jurisdiction"`
	StorageLocations []string            `json:"storage_locations"`
	RetentionPeriod  string              `json:"retention_period"`
	WithdrawalMethod string              `json:"withdrawal_method"`
	// Acceptance is the subject's answer to the policy as a whole.
	Acceptance ReceiptEvent     `json:"policy_acceptance"`
	Minor      *ReceiptMinor    `json:"minor,omitempty"`
	Purposes   []ReceiptPurpose `json:"purposes"`
	// ThirdParties are all recipients but the first party.
	ThirdParties []ReceiptThirdParty `json:"recipient_third_parties"`
}

// ReceiptRequest is the request that a receipt answers.
type ReceiptRequest struct {
	VerifiedAt time.Time `json:"verified_at"`
	DueAt      time.Time `json:"due_at"` // VerifiedAt + AnswerWithin
}

// ReceiptController is who decides about the data.
type ReceiptController struct {
	Name    string `json:"name"`
	Contact string `json:"contact"`
}

// ReceiptMinor says until when the subject is a minor, and what the guardian
// answered.
type ReceiptMinor struct {
	Until    time.Time     `json:"until"`
	Guardian *ReceiptEvent `json:"guardian,omitempty"`
	Purposes []string      `json:"guardian_purposes,omitempty"`
}

// ReceiptPurpose is a purpose with the subject's answers for it, by recipient.
type ReceiptPurpose struct {
	Purpose     string         `json:"purpose"`
	Title       Title          `json:"title"`
	LawfulBasis string         `json:"lawful_basis"`
	Information []ReceiptPII   `json:"pii_information"`
	Recipients  []string       `json:"recipient_third_parties"`
	Events      []ReceiptEvent `json:"events"`
}

// ReceiptPII is a kind of personal data.
type ReceiptPII struct {
	Type      string `json:"pii_type"`
	Title     Title  `json:"title"`
	Sensitive bool   `json:"sensitive_pii"`
}

// ReceiptThirdParty is who else gets data.
type ReceiptThirdParty struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Title   Title  `json:"title"`
	Name    string `json:"name"`
	Country string `json:"country"`
}

// ReceiptEvent is one answer as it stands now.
type ReceiptEvent struct {
	Time      *time.Time `json:"event_time"`                  // null: never answered
	Validity  *time.Time `json:"validity_duration,omitempty"` // until when; absent: until withdrawn
	Entity    string     `json:"entity_id"`                   // who answered: the subject's ID, or the guardian's digest
	Type      string     `json:"event_type"`                  // "explicit consent", "notice", "guardian consent"
	State     string     `json:"event_state"`
	Notice    string     `json:"privacy_notice,omitempty"` // POLICY@VERSION it was given under
	Recipient string     `json:"recipient,omitempty"`      // absent: the purpose as a whole
}

// NewReceipt returns the receipt of a state as of now. It is pure; verified is
// when the caller verified who asks, zero for a receipt that no request asked
// for. Purposes come in the notice's order, and then what the subject answered
// for purposes that the notice no longer has, since that was consent too.
func NewReceipt(id ID, kind Kind, s State, n Notice, now, verified time.Time) Receipt {
	m := receiptMaker{id, &s, &n, now}
	r := Receipt{
		SchemaVersion:    ReceiptSchema,
		RecordID:         s.Head,
		PrincipalID:      id,
		PrincipalKind:    kind,
		Language:         []string{"zh", "en"},
		IssuedAt:         moment(now),
		Cancelled:        s.Tombstoned,
		Controllers:      []ReceiptController{{n.Controller, n.Contact}},
		Jurisdiction:     list(n.Jurisdiction),
		StorageLocations: list(n.Jurisdiction),
		RetentionPeriod:  n.Retention,
		WithdrawalMethod: n.WithdrawalMethod,
		Acceptance:       m.acceptance(),
		Minor:            m.minor(),
		Purposes:         []ReceiptPurpose{},
		ThirdParties:     []ReceiptThirdParty{},
	}
	if len(n.Versions) > 0 {
		r.PrivacyNotice = m.notice(n.Versions[len(n.Versions)-1])
	}
	if !verified.IsZero() {
		v := moment(verified)
		r.Request = &ReceiptRequest{VerifiedAt: v, DueAt: v.Add(AnswerWithin)}
	}
	known := make(map[string]bool)
	for _, p := range n.Purposes {
		known[p.ID] = true
		r.Purposes = append(r.Purposes, m.purpose(p))
	}
	var others []string
	for k := range s.Grants {
		if k != acceptanceKey && !known[k.Purpose] {
			known[k.Purpose] = true
			others = append(others, k.Purpose)
		}
	}
	slices.Sort(others)
	for _, p := range others {
		r.Purposes = append(r.Purposes, m.purpose(NoticePurpose{ID: p, Basis: "consent"}))
	}
	for _, p := range n.Recipients {
		if p.Kind != "first_party" {
			r.ThirdParties = append(r.ThirdParties, ReceiptThirdParty{p.ID, p.Kind, p.Title, p.Vendor, p.Country})
		}
	}
	return r
}

type receiptMaker struct {
	id  ID
	s   *State
	n   *Notice
	now time.Time
}

func (m *receiptMaker) notice(version string) string { return m.n.Policy + "@" + version }

func (m *receiptMaker) acceptance() ReceiptEvent {
	e := ReceiptEvent{Entity: string(m.id), Type: "notice", State: ConsentUnknown}
	g, ok := m.s.Grants[acceptanceKey]
	switch {
	case m.s.Policy != "":
		e.State, e.Notice = ConsentGiven, m.notice(m.s.Policy)
		if !slices.Contains(m.n.Versions, m.s.Policy) {
			e.State = ConsentInvalidated
		}
	case ok:
		e.State, e.Notice = ConsentWithdrawn, m.notice(g.Version)
	}
	if ok {
		e.Time = instant(g.At)
	}
	return e
}

func (m *receiptMaker) minor() *ReceiptMinor {
	if m.s.MinorUntil.IsZero() {
		return nil
	}
	minor := &ReceiptMinor{Until: m.s.MinorUntil}
	if g := m.s.Guardian; g != nil {
		e := ReceiptEvent{Validity: instant(g.Expires), Entity: g.ID, Type: "guardian consent"}
		e.State = state(Grant{Status: g.Status, Expires: g.Expires}, m.now)
		minor.Guardian, minor.Purposes = &e, slices.Clone(g.Purposes)
	}
	return minor
}

func (m *receiptMaker) purpose(p NoticePurpose) ReceiptPurpose {
	r := ReceiptPurpose{
		Purpose: p.ID, Title: p.Title, LawfulBasis: p.Basis, Recipients: list(p.Recipients),
		Information: []ReceiptPII{}, Events: []ReceiptEvent{},
	}
	for _, c := range p.Categories {
		r.Information = append(r.Information, ReceiptPII{c.ID, c.Title, c.Sensitive})
	}
	for k, g := range m.s.Grants {
		if k.Purpose == p.ID {
			r.Events = append(r.Events, m.answer(p, k, g))
		}
	}
	slices.SortFunc(r.Events, func(a, b ReceiptEvent) int { return cmp.Compare(a.Recipient, b.Recipient) })
	if len(r.Events) == 0 && p.Basis != "necessary" {
		r.Events = []ReceiptEvent{{Entity: string(m.id), Type: "explicit consent", State: ConsentUnknown}}
	}
	return r
}

func (m *receiptMaker) answer(p NoticePurpose, k GrantKey, g Grant) ReceiptEvent {
	e := ReceiptEvent{
		Time: instant(g.At), Validity: instant(g.Expires), Entity: string(m.id),
		Type: "explicit consent", State: state(g, m.now), Notice: m.notice(g.Version), Recipient: k.Recipient,
	}
	if e.State != ConsentGiven {
		return e
	}
	switch {
	// Given under a version that is gone, or older than the purpose as it is.
	case slices.Index(m.n.Versions, g.Version) < max(0, slices.Index(m.n.Versions, p.Since)):
		e.State = ConsentInvalidated
	case m.s.Refused(k.Purpose, k.Recipient, m.now):
		e.State = ConsentWithdrawn
	case m.s.Minor(m.now) && m.s.Guardian.Live(m.now) && m.s.Guardian.Status != Granted:
		e.State, e.Entity = ConsentRevoked, m.s.Guardian.ID
	}
	return e
}

// state names what an answer is now.
func state(g Grant, now time.Time) string {
	switch {
	case g.Status == Granted && g.Live(now):
		return ConsentGiven
	case g.Status == Granted:
		return ConsentExpired
	case !g.Live(now):
		return ConsentUnknown
	case g.Status == Withdrawn:
		return ConsentWithdrawn
	}
	return ConsentRefused
}

// list copies a list. One without elements is an empty array in JSON, never null.
func list(of []string) []string { return append([]string{}, of...) }

// instant is nil for the zero time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
