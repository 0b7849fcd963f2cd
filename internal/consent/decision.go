package consent

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decision is an [Event] without its raw ids: what [Apply] works on, and what
// stands in the ledger.
type Decision struct {
	Subject ID
	Salt    []byte // 16 fresh random bytes, used if this decision starts a state
	Event          // Subject is empty, the guardian's ID a digest
}

// Decision checks that the event names a subject and takes the raw ids out of
// it. Whether the decision can be recorded is for [Apply] to say.
func (e Event) Decision(ident *Identifier) (Decision, error) {
	if e.Kind == "" {
		e.Kind = User
	}
	if e.Kind != User && e.Kind != Device {
		return Decision{}, invalid("/kind", `is neither "user" nor "device"`)
	}
	id, ok := ident.Identify(e.Kind, e.Subject)
	if !ok {
		return Decision{}, invalid("/subject", "names no subject")
	}
	e.Subject = ""
	if g := e.Guardian.To; g != nil {
		c := *g
		if placeholder(c.ID) || len(c.ID) > MaxSubject {
			return Decision{}, invalid("/guardian/id", "names nobody")
		}
		c.ID = string(ident.digest(guardianKind, c.ID))
		e.Guardian.To = &c
	}
	return Decision{Subject: id, Salt: newSalt(), Event: e}, nil
}

func newSalt() []byte {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return salt
}

// encode writes the decision as the canonical JSON (RFC 8785) that the ledger
// keeps: the members of the event, without subject and kind, those that were
// absent left out, a Change to nothing as null, and times in UTC to the
// millisecond. Of a grant, a recipient or an expiry that is null is left out.
func (d *Decision) encode() ([]byte, error) {
	m := map[string]any{}
	if d.PolicyVersion != "" {
		m["policy_version"] = d.PolicyVersion
	}
	if d.AcceptPolicy != nil {
		m["accept_policy"] = *d.AcceptPolicy
	}
	if len(d.Event.Grants) > 0 {
		grants := make([]map[string]any, len(d.Event.Grants))
		for i, a := range d.Event.Grants {
			grants[i] = map[string]any{"purpose": a.Purpose, "status": a.Status}
			if a.Recipient != "" {
				grants[i]["recipient"] = a.Recipient
			}
			if err := putTime(grants[i], "expires_at", a.Expires); err != nil {
				return nil, err
			}
		}
		m["grants"] = grants
	}
	if d.MinorUntil.Set {
		m["minor_until"] = nil
		if err := putTime(m, "minor_until", d.MinorUntil.To); err != nil {
			return nil, err
		}
	}
	if d.Guardian.Set {
		m["guardian"] = nil
		if g := d.Guardian.To; g != nil {
			o := map[string]any{"id": g.ID, "status": g.Status}
			if g.Method != "" {
				o["method"] = g.Method
			}
			if len(g.Purposes) > 0 {
				o["purposes"] = g.Purposes
			}
			if err := putTime(o, "expires_at", g.Expires); err != nil {
				return nil, err
			}
			m["guardian"] = o
		}
	}
	if e := d.Evidence; e != nil {
		o := map[string]any{}
		for name, v := range map[string]string{"channel": e.Channel, "prompt": e.Prompt, "locale": e.Locale} {
			if v != "" {
				o[name] = v
			}
		}
		m["evidence"] = o
	}
	if d.Register {
		m["register"] = true
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = (*jsontext.Value)(&b).Canonicalize()
	}
	if err != nil {
		return nil, errors.New("consent: a decision that cannot be encoded")
	}
	return b, nil
}

func putTime(m map[string]any, name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	b, err := appendTime(nil, moment(t))
	if err != nil {
		return err
	}
	m[name] = string(b)
	return nil
}
