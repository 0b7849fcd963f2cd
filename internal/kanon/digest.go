package kanon

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
)

// MinSecret is the least length, in bytes, of the secret behind the digests:
// values of quasi-identifiers are few, and who can guess the secret can try
// them all.
const MinSecret = 32

// What is digested begins with what it is, so that no digest of one kind is one
// of another.
const (
	spaceDomain       = "consentgate kanon space v1"
	combinationDomain = "consentgate kanon combination v1"
	subjectDomain     = "consentgate kanon subject v1"
)

// digester makes the digests: HMAC-SHA-256 (RFC 2104), truncated.
type digester struct{ pool sync.Pool }

// mill is an HMAC with the buffers of one computation.
type mill struct {
	hash.Hash
	in  []byte
	out [sha256.Size]byte
}

func newDigester(secret []byte) (*digester, error) {
	if len(secret) < MinSecret {
		return nil, errors.New("k-anonymity: the secret is shorter than 32 bytes")
	}
	secret = append([]byte(nil), secret...)
	d := new(digester)
	d.pool.New = func() any { return &mill{Hash: hmac.New(sha256.New, secret)} }
	return d, nil
}

func (m *mill) sum() [sha256.Size]byte {
	m.Reset()
	m.Write(m.in)
	m.Sum(m.out[:0])
	return m.out
}

func (m *mill) space(name string) Space {
	m.in = frame(frame(m.in[:0], spaceDomain), name)
	sum := m.sum()
	return Space(sum[:])
}

// combination digests an encoded tuple, see appendTuple.
func (m *mill) combination(space string, tuple []byte) Combination {
	m.in = append(frame(frame(m.in[:0], combinationDomain), space), tuple...)
	sum := m.sum()
	return Combination(sum[:])
}

// subject is what the members of one subject are made of. It is never stored.
func (m *mill) subject(id string) [sha256.Size]byte {
	m.in = frame(frame(m.in[:0], subjectDomain), id)
	return m.sum()
}

// member digests a subject for one combination, which is of one space. The subject's own digest is the
// key. The input has one length, of one block of the hash, so that a plain hash
// under a secret prefix is a good function here, at a quarter of HMAC's price.
func member(subject [sha256.Size]byte, c Combination) Member {
	var in [sha256.Size + len(c)]byte
	copy(in[:], subject[:])
	copy(in[sha256.Size:], c[:])
	sum := sha256.Sum256(in[:])
	return Member(sum[:])
}

// frame appends s after its length, so that no two sequences of parts run
// together into the same bytes.
func frame[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendValue appends one value of a tuple; nil is a part that was dropped.
func appendValue(dst, value []byte) []byte {
	if value == nil {
		return append(dst, 0)
	}
	return frame(append(dst, 1), value)
}
