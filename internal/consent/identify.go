package consent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"sync"
)

// MinSecret is the least length, in bytes, of the secret behind the IDs.
const MinSecret = 32

// MaxSubject is the greatest length, in bytes, of a subject's raw id.
const MaxSubject = 256

// idLen is the length of an ID: 22 characters of base64url are 132 bits.
const idLen = 22

// ErrNoSubject: the raw id names nobody: it is empty, too long, or a value that
// many share. See [Identifier.Identify].
var ErrNoSubject = errors.New("the id names no subject")

// Kinds of what is digested like a subject and is none.
const (
	guardianKind    Kind = "guardian"
	idempotencyKind Kind = "idempotency"
	checkKind       Kind = "check"
)

// Identifier turns the ids by which callers know subjects into the IDs by
// which the stores do. It may be used by many goroutines at once.
type Identifier struct{ pool sync.Pool }

// keyed is an HMAC with the buffers of one computation.
type keyed struct {
	hash.Hash
	in  []byte
	sum []byte
	out [idLen + 2]byte
}

// NewIdentifier returns an Identifier for a secret, of which it keeps no
// reference. A secret under [MinSecret] bytes is an error: who can guess it can
// find out which subject an ID is.
func NewIdentifier(secret []byte) (*Identifier, error) {
	if len(secret) < MinSecret {
		return nil, errors.New("the secret behind the subjects' ids is shorter than 32 bytes")
	}
	secret = append([]byte(nil), secret...)
	i := new(Identifier)
	i.pool.New = func() any { return &keyed{Hash: hmac.New(sha256.New, secret)} }
	return i, nil
}

// Identify returns the ID of a subject. It returns false when id names nobody:
// it is empty, blank, longer than [MaxSubject] bytes, a word for "none", zeros
// in any spelling, or an identifier that is known to be shared by many devices.
// One subject's consent must never count for whoever else has such an id.
//
// Ids are compared byte by byte: "u1" and " u1" are two subjects.
func (i *Identifier) Identify(kind Kind, id string) (ID, bool) {
	if len(id) > MaxSubject || placeholder(id) {
		return "", false
	}
	return i.digest(kind, id), true
}

// Check returns the value by which a store tells this secret from another:
// base64url(HMAC-SHA-256(secret, "check:consent store")), cut like an ID. It
// gives as little of the secret away as an ID does.
func (i *Identifier) Check() string { return string(i.digest(checkKind, "consent store")) }

func (i *Identifier) digest(kind Kind, s string) ID {
	k := i.pool.Get().(*keyed)
	defer i.pool.Put(k)
	k.Reset()
	k.in = append(append(append(k.in[:0], kind...), ':'), s...)
	k.Write(k.in)
	clear(k.in) // no raw id waits in the pool
	k.sum = k.Sum(k.sum[:0])
	// 18 bytes are 24 characters, of which the last two are cut.
	base64.RawURLEncoding.Encode(k.out[:], k.sum[:18])
	return ID(k.out[:idLen])
}
