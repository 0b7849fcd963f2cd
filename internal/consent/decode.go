package consent

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeEvent reads one event, and the whole of r. It is strict, since what is
// misread here is what a person decided: a member that is unknown or stands
// twice, a value of another type, invalid UTF-8, control characters, anything
// after the event, and what is beyond the limits above are errors, all of them
// an [*InvalidError]; so that only an error of r itself is another.
//
// Whether purposes, recipients and versions exist is for [Apply] to say.
func DecodeEvent(r io.Reader) (Event, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxEventSize+1))
	if err != nil {
		return Event{}, err
	}
	if len(b) > MaxEventSize {
		return Event{}, malformed("", "is larger than "+strconv.Itoa(MaxEventSize)+" bytes")
	}
	d := eventDecoder{jsontext.NewDecoder(bytes.NewReader(b))}
	e := Event{Kind: User}
	if err := d.object(func(name string) error { return d.event(&e, name) }); err != nil {
		return Event{}, err
	}
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Event{}, malformed("", "is followed by something else")
	}
	if e.Subject == "" {
		return Event{}, invalid("/subject", "is missing")
	}
	return e, nil
}

func malformed(pointer, reason string) error {
	return &InvalidError{Pointer: pointer, Reason: reason, Malformed: true}
}

// eventDecoder reads the parts of an event. Its methods read one value each and
// return an *InvalidError that points to it.
type eventDecoder struct{ dec *jsontext.Decoder }

func (d eventDecoder) event(e *Event, name string) (err error) {
	switch name {
	case "subject":
		e.Subject, err = d.text(MaxSubject)
	case "kind":
		var s string
		s, err = d.text(MaxName)
		if e.Kind = Kind(s); err == nil && e.Kind != User && e.Kind != Device {
			err = invalid("/kind", `is neither "user" nor "device"`)
		}
	case "policy_version":
		e.PolicyVersion, err = d.text(MaxName)
	case "accept_policy":
		var accept bool
		accept, err = d.boolean()
		e.AcceptPolicy = &accept
	case "grants":
		err = d.array(MaxEventGrants, func() error {
			a, err := d.answer()
			e.Grants = append(e.Grants, a)
			return err
		})
	case "minor_until":
		e.MinorUntil.Set = true
		e.MinorUntil.To, err = d.time()
	case "guardian":
		e.Guardian.Set = true
		if !d.null() {
			e.Guardian.To, err = d.guardian()
		}
	case "evidence":
		if !d.null() {
			e.Evidence, err = d.evidence()
		}
	case "register":
		e.Register, err = d.boolean()
	default:
		return d.unknown()
	}
	return err
}

func (d eventDecoder) answer() (a Answer, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "purpose":
			a.Purpose, err = d.text(MaxName)
		case "status":
			a.Status, err = d.status()
		case "recipient":
			if !d.null() {
				a.Recipient, err = d.text(MaxRecipient)
			}
		case "expires_at":
			a.Expires, err = d.time()
		default:
			return d.unknown()
		}
		return err
	})
	switch {
	case err != nil:
	case a.Purpose == "":
		err = invalid(d.pointer(), "has no purpose")
	case a.Status == "":
		err = invalid(d.pointer(), "has no status")
	}
	return a, err
}

func (d eventDecoder) guardian() (*GuardianAnswer, error) {
	g := new(GuardianAnswer)
	err := d.object(func(name string) (err error) {
		switch name {
		case "id":
			g.ID, err = d.text(MaxSubject)
		case "method":
			g.Method, err = d.text(MaxName)
		case "purposes":
			err = d.array(MaxEventGrants, func() error {
				p, err := d.text(MaxName)
				g.Purposes = append(g.Purposes, p)
				return err
			})
		case "status":
			g.Status, err = d.status()
		case "expires_at":
			g.Expires, err = d.time()
		default:
			return d.unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case g.ID == "":
		return nil, invalid(d.pointer(), "has no id")
	case g.Status == "":
		return nil, invalid(d.pointer(), "has no status")
	}
	return g, nil
}

func (d eventDecoder) evidence() (*Evidence, error) {
	e := new(Evidence)
	err := d.object(func(name string) (err error) {
		switch name {
		case "channel":
			e.Channel, err = d.text(MaxName)
		case "prompt":
			e.Prompt, err = d.text(MaxName)
		case "locale":
			e.Locale, err = d.text(MaxName)
		default:
			return d.unknown()
		}
		return err
	})
	return e, err
}

// object reads an object. member is called after each name and reads the value.
func (d eventDecoder) object(member func(name string) error) error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	for d.dec.PeekKind() != '}' {
		t, err := d.dec.ReadToken()
		if err != nil {
			return d.syntax(err)
		}
		if err := member(t.String()); err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken()
	return d.syntax(err)
}

func (d eventDecoder) array(limit int, element func() error) error {
	if err := d.open('[', "an array"); err != nil {
		return err
	}
	for n := 0; d.dec.PeekKind() != ']'; n++ {
		if n == limit {
			return invalid(string(d.dec.StackPointer().Parent()), "has more than "+strconv.Itoa(limit)+" elements")
		}
		if err := element(); err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken()
	return d.syntax(err)
}

// open reads the token that opens an object or an array.
func (d eventDecoder) open(kind jsontext.Kind, what string) error {
	t, err := d.dec.ReadToken()
	if err != nil {
		return d.syntax(err)
	}
	if t.Kind() != kind {
		return d.mistyped(what)
	}
	return nil
}

// text reads a string that is neither empty nor longer than limit bytes and has
// no control characters: those are what tools that print or hash JSON disagree
// about, and what hides in a terminal.
func (d eventDecoder) text(limit int) (string, error) {
	t, err := d.dec.ReadToken()
	if err != nil {
		return "", d.syntax(err)
	}
	if t.Kind() != '"' {
		return "", d.mistyped("a string")
	}
	s := t.String()
	switch {
	case s == "":
		return "", invalid(d.pointer(), "is empty")
	case len(s) > limit:
		return "", invalid(d.pointer(), "is longer than "+strconv.Itoa(limit)+" bytes")
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", invalid(d.pointer(), "has a control character")
	}
	return s, nil
}

func (d eventDecoder) status() (Status, error) {
	s, err := d.text(MaxName)
	if err == nil && !Status(s).known() {
		err = invalid(d.pointer(), `is none of "granted", "denied" and "withdrawn"`)
	}
	return Status(s), err
}

func (d eventDecoder) boolean() (bool, error) {
	t, err := d.dec.ReadToken()
	if err != nil {
		return false, d.syntax(err)
	}
	if k := t.Kind(); k != 't' && k != 'f' {
		return false, d.mistyped("true or false")
	}
	return t.Bool(), nil
}

// rfc3339 is what time.Parse does not insist on: two digits for the hour, a
// point before the fraction, an offset of less than a day.
var rfc3339 = regexp.MustCompile(`^[0-9-]{10}T[0-9:]{8}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// time reads an RFC 3339 time of this or the next centuries, or null, which is
// zero. It is cut to the millisecond.
func (d eventDecoder) time() (time.Time, error) {
	if d.null() {
		return time.Time{}, nil
	}
	s, err := d.text(MaxName)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || !rfc3339.MatchString(s) {
		return time.Time{}, invalid(d.pointer(), "is not an RFC 3339 time")
	}
	// The zero time would read as "never".
	if t = moment(t); t.Year() < 1900 || t.Year() > 9999 {
		return time.Time{}, invalid(d.pointer(), "is before 1900 or after 9999")
	}
	return t, nil
}

// null reads a null, if that is what comes.
func (d eventDecoder) null() bool {
	if d.dec.PeekKind() != 'n' {
		return false
	}
	_, err := d.dec.ReadToken()
	return err == nil
}

// pointer is that of the value, or the name, that was read last.
func (d eventDecoder) pointer() string { return string(d.dec.StackPointer()) }

func (d eventDecoder) mistyped(want string) error {
	return malformed(d.pointer(), "is not "+want)
}

func (d eventDecoder) unknown() error {
	p := d.dec.StackPointer()
	if len(p.LastToken()) > MaxName {
		return malformed(string(p.Parent()), "has a member that is unknown")
	}
	return malformed(string(p), "is unknown")
}

// syntax turns an error of the JSON decoder, which may repeat what it read,
// into one that does not.
func (d eventDecoder) syntax(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return malformed(d.pointer(), "stands twice")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("", "ends early")
	}
	return malformed("", "is not JSON, from byte "+strconv.FormatInt(d.dec.InputOffset(), 10)+" on")
}
