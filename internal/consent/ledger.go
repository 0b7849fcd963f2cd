package consent

import (
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of entries.
const (
	EntryDecision = "decision" // event: what was decided, see Decision
	EntryRegister = "register" // the same, by a subject who had been cancelled
	EntryLink     = "link"     // event: {"device":ID} in a user's ledger, {"user":ID} in a device's
	EntryUnlink   = "unlink"   // event: as of link
	// EntryCancel has the event {}, {"user":ID} in the ledger of a device erased
	// with its user, or {"evidence":{"channel":"retire"}} at the end of the service.
	EntryCancel = "cancel"
)

// Entry is one line of a subject's ledger. Entries are numbered from 1 without
// gaps, Seq being the Version of the state that the entry led to, and chained:
// each carries the hash of the one before it, and the state's Head is the hash
// of the last.
//
// Hash is the SHA-256, in lower-case hex, of the entry without its member
// "hash", written as canonical JSON (RFC 8785: members sorted, no white space,
// no needless escapes, UTF-8) with nothing before or after it. Entries hold no
// fractions, no number above 2^53 and no control characters, so common tools
// agree on that form, and anyone who has the entry can recompute its hash:
//
//	jq -cSj 'del(.hash)' entry.json | sha256sum
//
//	e = json.load(open("entry.json")); del e["hash"]
//	hashlib.sha256(json.dumps(e, sort_keys=True, separators=(",", ":"),
//	    ensure_ascii=False).encode()).hexdigest()
type Entry struct {
	Seq     uint64    `json:"seq"`
	Subject ID        `json:"subject"`
	At      time.Time `json:"at"`
	Type    string    `json:"type"`
	// PolicyVersion is the version that a decision was made under, and for
	// any other entry the version in force.
	PolicyVersion string             `json:"policy_version"`
	Event         stdjson.RawMessage `json:"event"`
	Prev          string             `json:"prev"` // hash of the entry before; empty for the first
	Hash          string             `json:"hash"`
}

// sealed is an Entry as it is encoded: members in the order of RFC 8785.
type sealed struct {
	At            string         `json:"at"`
	Event         jsontext.Value `json:"event"`
	Hash          string         `json:"hash,omitempty"`
	PolicyVersion string         `json:"policy_version"`
	Prev          string         `json:"prev"`
	Seq           uint64         `json:"seq"`
	Subject       ID             `json:"subject"`
	Type          string         `json:"type"`
}

// maxSeq is the largest integer that every reader of JSON reads exactly.
const maxSeq = 1 << 53

// EncodeEntry writes an entry as canonical JSON (RFC 8785), one line without a
// newline. It is what stores keep; [DecodeEntry] reads it.
func EncodeEntry(e Entry) ([]byte, error) {
	if e.Seq == 0 || e.Seq > maxSeq {
		return nil, errors.New("consent: the number of a ledger entry is out of range")
	}
	at, err := appendTime(nil, e.At)
	if err != nil || len(at) == 0 {
		return nil, errors.New("consent: a ledger entry without a time")
	}
	b, err := json.Marshal(sealed{string(at), jsontext.Value(e.Event), e.Hash, e.PolicyVersion, e.Prev, e.Seq, e.Subject, e.Type})
	if err == nil {
		err = (*jsontext.Value)(&b).Canonicalize()
	}
	if err != nil {
		// The error of the encoder could repeat what it stumbled over.
		return nil, errors.New("consent: a ledger entry that cannot be encoded")
	}
	return b, nil
}

// DecodeEntry reads what [EncodeEntry] wrote, in any layout. An entry with a
// member too many, too few or twice, or that does not have the hash that it
// states, is an error that wraps [ErrCorrupt].
func DecodeEntry(b []byte) (Entry, error) {
	corrupt := func(why string) (Entry, error) {
		return Entry{}, fmt.Errorf("%w: a ledger entry %s", ErrCorrupt, why)
	}
	in := jsontext.Value(b).Clone()
	if err := in.Canonicalize(); err != nil {
		return corrupt("is not JSON")
	}
	var s sealed
	if err := json.Unmarshal(in, &s, json.RejectUnknownMembers(true)); err != nil {
		return corrupt("has members of a wrong type, or too many")
	}
	at, err := parseTime(s.At)
	if err != nil {
		return corrupt("has no time")
	}
	e := Entry{s.Seq, s.Subject, at, s.Type, s.PolicyVersion, stdjson.RawMessage(s.Event), s.Prev, s.Hash}
	// Whatever the decoding let pass (a missing member, another spelling of a
	// time) shows when it is encoded again.
	if again, err := EncodeEntry(e); err != nil || string(again) != string(in) {
		return corrupt("is not in its canonical form")
	}
	if h, err := e.computeHash(); err != nil || h != e.Hash {
		return corrupt("does not have the hash that it states")
	}
	return e, nil
}

func (e Entry) computeHash() (string, error) {
	e.Hash = ""
	b, err := EncodeEntry(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// appendEntry chains an entry to a state, and moves the state's version and
// head to it.
func appendEntry(s *State, id ID, typ, policyVersion string, event []byte, at time.Time) (Entry, error) {
	e := Entry{
		Seq: s.Version + 1, Subject: id, At: moment(at), Type: typ,
		PolicyVersion: policyVersion, Event: event, Prev: s.Head,
	}
	var err error
	if e.Hash, err = e.computeHash(); err != nil {
		return Entry{}, err
	}
	s.Version, s.Head = e.Seq, e.Hash
	return e, nil
}

// moment is the precision of all times in states and ledgers: milliseconds,
// UTC.
func moment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// VerifyChain checks that entries, oldest first, are a run of one subject's
// ledger: numbered without gaps, each with the hash that it states, each naming
// the hash of the one before. The error names the number of the first entry
// where the chain breaks.
//
// A run that starts at entry 1 is checked from the beginning; one that starts
// later is only as good as its first Prev. That nothing was cut off at the end
// shows where the last Hash is compared with the Head of the state.
func VerifyChain(entries []Entry) error {
	for i, e := range entries {
		if h, err := e.computeHash(); err != nil || h != e.Hash {
			return fmt.Errorf("ledger entry %d: its content does not have the hash that it states", e.Seq)
		}
		if e.Seq == 1 && e.Prev != "" {
			return fmt.Errorf("ledger entry 1: it is the first and names one before it")
		}
		if e.Seq > 1 && e.Prev == "" {
			return fmt.Errorf("ledger entry %d: it names none before it", e.Seq)
		}
		if i == 0 {
			continue
		}
		switch last := entries[i-1]; {
		case e.Seq != last.Seq+1:
			return fmt.Errorf("ledger entry %d: it follows entry %d", e.Seq, last.Seq)
		case e.Prev != last.Hash:
			return fmt.Errorf("ledger entry %d: it does not name the hash of the entry before", e.Seq)
		case e.Subject != last.Subject:
			return fmt.Errorf("ledger entry %d: it is of another subject", e.Seq)
		}
	}
	return nil
}
