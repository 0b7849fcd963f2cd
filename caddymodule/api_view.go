package caddymodule

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

// stateView is a state as the API shows it. The salt is nobody's to see.
type stateView struct {
	Subject       string        `json:"subject"` // the digest
	Kind          consent.Kind  `json:"kind"`
	Known         bool          `json:"known"`
	Cancelled     bool          `json:"cancelled"`
	PolicyVersion *string       `json:"policy_version"` // the version that is accepted; null: none
	Acceptance    *grantView    `json:"acceptance"`     // the last answer to the policy as a whole
	MinorUntil    *time.Time    `json:"minor_until"`
	Guardian      *guardianView `json:"guardian"`
	Grants        []grantView   `json:"grants"`
	Links         []consent.ID  `json:"links"` // digests
	Version       uint64        `json:"version"`
	Head          string        `json:"head"` // hash of the ledger's last entry
}

type guardianView struct {
	Method    string         `json:"method"`
	Purposes  []string       `json:"purposes"`
	Status    consent.Status `json:"status"`
	ExpiresAt *time.Time     `json:"expires_at"`
}

type grantView struct {
	Purpose       string         `json:"purpose,omitempty"`
	Recipient     *string        `json:"recipient"`
	Status        consent.Status `json:"status"`
	PolicyVersion string         `json:"policy_version"`
	At            time.Time      `json:"at"`
	ExpiresAt     *time.Time     `json:"expires_at"`
}

type ledgerView struct {
	Subject string            `json:"subject"` // the digest
	Entries []json.RawMessage `json:"entries"` // canonical, so that each hash can be checked
	// Next is what `after` must be to get the entries after these; null: there
	// are none.
	Next *uint64 `json:"next"`
}

func newStateView(subject string, kind consent.Kind, s *consent.State) stateView {
	v := stateView{
		Subject: subject, Kind: kind, Known: s.Known(), Cancelled: s.Tombstoned,
		MinorUntil: orNull(s.MinorUntil), Grants: []grantView{}, Links: s.Links,
		Version: s.Version, Head: s.Head,
	}
	if s.Policy != "" {
		v.PolicyVersion = &s.Policy
	}
	if v.Links == nil {
		v.Links = []consent.ID{}
	}
	if g := s.Guardian; g != nil {
		v.Guardian = &guardianView{Method: g.Method, Purposes: append([]string{}, g.Purposes...), Status: g.Status, ExpiresAt: orNull(g.Expires)}
	}
	for key, g := range s.Grants {
		view := grantView{Purpose: key.Purpose, Status: g.Status, PolicyVersion: g.Version, At: g.At, ExpiresAt: orNull(g.Expires)}
		if key.Recipient != "" {
			view.Recipient = &key.Recipient
		}
		if key.Purpose == consent.Acceptance {
			view.Purpose = ""
			v.Acceptance = &view
			continue
		}
		v.Grants = append(v.Grants, view)
	}
	slices.SortFunc(v.Grants, func(a, b grantView) int {
		return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(orEmpty(a.Recipient), orEmpty(b.Recipient)))
	})
	return v
}

// newLedgerView renders a page of up to limit entries; there is another page
// where there are more.
func newLedgerView(subject string, entries []consent.Entry, limit int) (ledgerView, error) {
	v := ledgerView{Subject: subject, Entries: []json.RawMessage{}}
	if len(entries) > limit {
		entries = entries[:limit]
		v.Next = &entries[limit-1].Seq
	}
	for _, e := range entries {
		raw, err := consent.EncodeEntry(e)
		if err != nil {
			return ledgerView{}, err
		}
		v.Entries = append(v.Entries, raw)
	}
	return v, nil
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
