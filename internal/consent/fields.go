package consent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The names under which the parts of a [State] are kept, in every store.
const (
	FieldPolicy     = "policy"
	FieldMinorUntil = "minor_until"
	FieldGuardian   = "guardian"
	FieldVersion    = "version"
	FieldHead       = "head"
	FieldSalt       = "salt"
	FieldLinks      = "links"
	FieldTombstone  = "tombstone"
	// FieldGrant is the prefix of one field for each grant:
	// "grant:PURPOSE" or "grant:PURPOSE@RECIPIENT".
	FieldGrant = "grant:"
)

// EncodeState turns a state into the fields that stores keep:
//
//	policy       the version as it is
//	minor_until  RFC 3339 with nanoseconds, in UTC
//	guardian     status;method;id;expires[;purpose]…
//	version      decimal
//	head         the hash as it is
//	salt         base64url without padding
//	links        the ids, separated by ';'
//	tombstone    1
//	grant:PURPOSE[@RECIPIENT]
//	             status;version;at;expires
//
// Times are as in minor_until, and empty when zero. What is absent in the state
// has no field. Within a composed name or value every '%', ';', '@', space and
// control byte of a part is written as %XX.
//
// The zero State has no fields. A state that [DecodeState] would refuse (no
// version, an unknown status, a grant of no purpose, a year beyond 9999) is an
// error: what cannot be read back must not be written.
func EncodeState(s State) (map[string]string, error) {
	f := make(map[string]string, 4+len(s.Grants))
	if s.Policy != "" {
		f[FieldPolicy] = s.Policy
	}
	if !s.MinorUntil.IsZero() {
		t, err := appendTime(nil, s.MinorUntil)
		if err != nil {
			return nil, fieldError(FieldMinorUntil, err)
		}
		f[FieldMinorUntil] = string(t)
	}
	if s.Guardian != nil {
		v, err := encodeGuardian(s.Guardian)
		if err != nil {
			return nil, fieldError(FieldGuardian, err)
		}
		f[FieldGuardian] = v
	}
	for k, g := range s.Grants {
		name, err := encodeGrantKey(k)
		if err != nil {
			return nil, err
		}
		if f[name], err = encodeGrant(g); err != nil {
			return nil, fieldError(name, err)
		}
	}
	if s.Head != "" {
		f[FieldHead] = s.Head
	}
	if len(s.Salt) > 0 {
		f[FieldSalt] = base64.RawURLEncoding.EncodeToString(s.Salt)
	}
	if len(s.Links) > 0 {
		var b []byte
		for i, id := range s.Links {
			if id == "" {
				return nil, fieldError(FieldLinks, errEmpty)
			}
			if i > 0 {
				b = append(b, ';')
			}
			b = appendEscaped(b, string(id))
		}
		f[FieldLinks] = string(b)
	}
	if s.Tombstoned {
		f[FieldTombstone] = "1"
	}
	if s.Version == 0 {
		if len(f) > 0 {
			return nil, fieldError(FieldVersion, errEmpty)
		}
		return f, nil
	}
	f[FieldVersion] = strconv.FormatUint(s.Version, 10)
	return f, nil
}

// DecodeState is the inverse of [EncodeState]. No fields at all are the zero
// State, that of a subject who was never recorded.
//
// It is strict, since half a state can permit more than the whole: a field that
// is unknown, that does not decode, or that EncodeState would have written
// otherwise, and a missing version, are errors that wrap [ErrCorrupt], and the
// State is then zero.
// (Two spellings of one grant, say, would let the order of a map decide which
// of them holds.)
func DecodeState(fields map[string]string) (State, error) {
	if len(fields) == 0 {
		return State{}, nil
	}
	var s State
	for name, v := range fields {
		if err := decodeField(&s, name, v); err != nil {
			return State{}, fmt.Errorf("%w: %w", ErrCorrupt, fieldError(name, err))
		}
	}
	if s.Version == 0 {
		return State{}, fmt.Errorf("%w: %w", ErrCorrupt, fieldError(FieldVersion, errEmpty))
	}
	return s, nil
}

func decodeField(s *State, name, v string) (err error) {
	if v == "" {
		return errEmpty // of every field: what is absent is not written
	}
	switch name {
	case FieldPolicy:
		s.Policy = v
	case FieldHead:
		s.Head = v
	case FieldMinorUntil:
		s.MinorUntil, err = parseTime(v)
	case FieldGuardian:
		s.Guardian, err = decodeGuardian(v)
	case FieldVersion:
		s.Version, err = strconv.ParseUint(v, 10, 64)
		if err != nil || strconv.FormatUint(s.Version, 10) != v {
			return errors.New("not a decimal number") // the error of strconv repeats the value
		}
	case FieldSalt:
		// Strict: no other bits in the last character, no line breaks.
		s.Salt, err = base64.RawURLEncoding.Strict().DecodeString(v)
		if err != nil || strings.ContainsAny(v, "\r\n") {
			return errors.New("not base64url")
		}
	case FieldLinks:
		for part := range strings.SplitSeq(v, ";") {
			id, err := unescape(part)
			if err != nil {
				return err
			}
			if id == "" {
				return errEmpty
			}
			s.Links = append(s.Links, ID(id))
		}
	case FieldTombstone:
		if v != "1" {
			return errors.New("not 1")
		}
		s.Tombstoned = true
	default:
		rest, ok := strings.CutPrefix(name, FieldGrant)
		if !ok {
			return errors.New("unknown")
		}
		k, err := decodeGrantKey(rest)
		if err != nil {
			return err
		}
		g, err := decodeGrant(v)
		if err != nil {
			return err
		}
		if s.Grants == nil {
			s.Grants = make(map[GrantKey]Grant)
		}
		s.Grants[k] = g
	}
	return err
}

func encodeGrantKey(k GrantKey) (string, error) {
	if k.Purpose == "" {
		return "", fieldError(FieldGrant, errEmpty)
	}
	b := appendEscaped([]byte(FieldGrant), k.Purpose)
	if k.Recipient != "" {
		b = append(b, '@')
		b = appendEscaped(b, k.Recipient)
	}
	return string(b), nil
}

func decodeGrantKey(s string) (k GrantKey, err error) {
	purpose, recipient, separate := strings.Cut(s, "@")
	if k.Purpose, err = unescape(purpose); err != nil {
		return GrantKey{}, err
	}
	if k.Recipient, err = unescape(recipient); err != nil {
		return GrantKey{}, err
	}
	if k.Purpose == "" || separate && k.Recipient == "" {
		return GrantKey{}, errEmpty
	}
	return k, nil
}

func encodeGrant(g Grant) (string, error) {
	if !g.Status.known() {
		return "", errStatus
	}
	b := append([]byte(g.Status), ';')
	b = appendEscaped(b, g.Version)
	b = append(b, ';')
	b, err := appendTime(b, g.At)
	if err != nil {
		return "", err
	}
	b, err = appendTime(append(b, ';'), g.Expires)
	return string(b), err
}

func decodeGrant(v string) (g Grant, err error) {
	parts := strings.Split(v, ";")
	if len(parts) != 4 {
		return Grant{}, errParts
	}
	if g.Status = Status(parts[0]); !g.Status.known() {
		return Grant{}, errStatus
	}
	if g.Version, err = unescape(parts[1]); err != nil {
		return Grant{}, err
	}
	if g.At, err = parseTime(parts[2]); err != nil {
		return Grant{}, err
	}
	if g.Expires, err = parseTime(parts[3]); err != nil {
		return Grant{}, err
	}
	return g, nil
}

func encodeGuardian(g *Guardian) (string, error) {
	if !g.Status.known() {
		return "", errStatus
	}
	b := append([]byte(g.Status), ';')
	b = appendEscaped(b, g.Method)
	b = append(b, ';')
	b = appendEscaped(b, g.ID)
	b, err := appendTime(append(b, ';'), g.Expires)
	if err != nil {
		return "", err
	}
	for _, p := range g.Purposes {
		if p == "" {
			return "", errEmpty
		}
		b = append(b, ';')
		b = appendEscaped(b, p)
	}
	return string(b), nil
}

func decodeGuardian(v string) (*Guardian, error) {
	parts := strings.Split(v, ";")
	if len(parts) < 4 {
		return nil, errParts
	}
	g := &Guardian{Status: Status(parts[0])}
	if !g.Status.known() {
		return nil, errStatus
	}
	var err error
	if g.Method, err = unescape(parts[1]); err != nil {
		return nil, err
	}
	if g.ID, err = unescape(parts[2]); err != nil {
		return nil, err
	}
	if g.Expires, err = parseTime(parts[3]); err != nil {
		return nil, err
	}
	for _, part := range parts[4:] {
		p, err := unescape(part)
		if err != nil {
			return nil, err
		}
		if p == "" {
			return nil, errEmpty
		}
		g.Purposes = append(g.Purposes, p)
	}
	return g, nil
}

func (s Status) known() bool {
	return s == Granted || s == Denied || s == Withdrawn
}

// Errors about a field name the field and never repeat its value.
var (
	errEmpty  = errors.New("empty or missing")
	errParts  = errors.New("wrong number of parts")
	errStatus = errors.New("unknown status")
	errEscape = errors.New("wrong escape")
	errTime   = errors.New("not a time that a state can hold")
)

func fieldError(name string, err error) error {
	return fmt.Errorf("a subject's state: field %q: %w", name, err)
}

// appendTime writes nothing for the zero time.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	if t.IsZero() {
		return b, nil
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return nil, errTime
	}
	return t.AppendFormat(b, time.RFC3339Nano), nil
}

// parseTime reads what appendTime writes and nothing else: a time that reads
// as zero means "never" to an expiry and "no minor" to minor_until, so none may
// come of a value that is merely odd.
func parseTime(v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || t.IsZero() || t.UTC().Format(time.RFC3339Nano) != v {
		return time.Time{}, errTime
	}
	return t.UTC(), nil
}

const upperhex = "0123456789ABCDEF"

func escaped(c byte) bool {
	return c <= ' ' || c == '%' || c == ';' || c == '@' || c == 0x7f
}

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; escaped(c) {
			b = append(b, '%', upperhex[c>>4], upperhex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unescape accepts only what appendEscaped writes, so that every string has
// one spelling.
func unescape(s string) (string, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", errEscape
			}
			hi := strings.IndexByte(upperhex, s[i+1])
			lo := strings.IndexByte(upperhex, s[i+2])
			if hi < 0 || lo < 0 || !escaped(byte(hi<<4|lo)) {
				return "", errEscape
			}
			c = byte(hi<<4 | lo)
			i += 2
		} else if escaped(c) {
			return "", errEscape
		}
		b = append(b, c)
	}
	return string(b), nil
}
