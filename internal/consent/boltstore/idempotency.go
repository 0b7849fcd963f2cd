package boltstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
)

// How long, and how many of one subject's, idempotency keys are remembered. A
// client that retries does so within minutes.
const (
	idempotencyTTL  = 24 * time.Hour
	idempotencyKept = 128
)

func idempotencyKey(id consent.ID, key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return subjectKey(id, sum[:])
}

// remembered is what stands under an idempotency key.
type remembered struct {
	seq uint64
	at  time.Time
}

func (r remembered) expired(now time.Time) bool { return now.Sub(r.at) >= idempotencyTTL }

func decodeRemembered(v []byte) (remembered, error) {
	if len(v) != 16 {
		return remembered{}, fmt.Errorf("%w: an idempotency key", consent.ErrCorrupt)
	}
	return remembered{
		binary.BigEndian.Uint64(v),
		time.UnixMilli(int64(binary.BigEndian.Uint64(v[8:]))),
	}, nil
}

// getIdempotency returns the number of the entry committed under a key.
func getIdempotency(tx *bolt.Tx, id consent.ID, key string, now time.Time) (seq uint64, found bool, err error) {
	v := tx.Bucket(bucketIdempotency).Get(idempotencyKey(id, key))
	if v == nil {
		return 0, false, nil
	}
	r, err := decodeRemembered(v)
	return r.seq, err == nil && !r.expired(now), err
}

// putIdempotency remembers a key, if there is one, and forgets the subject's
// expired ones and the oldest beyond the limit.
func putIdempotency(tx *bolt.Tx, id consent.ID, key string, seq uint64, now time.Time) error {
	if key == "" {
		return nil
	}
	b := tx.Bucket(bucketIdempotency)
	var stale [][]byte
	var oldest []byte
	least, kept := uint64(0), 0
	prefix := subjectKey(id, nil)
	c := b.Cursor()
	for k, v := c.Seek(prefix); hasPrefix(k, prefix); k, v = c.Next() {
		r, err := decodeRemembered(v)
		switch {
		case err != nil, r.expired(now): // a damaged one finds nothing anyway
			stale = append(stale, bytes.Clone(k)) // k is bbolt's memory, which deleting moves
			continue
		case oldest == nil || r.seq < least:
			oldest, least = bytes.Clone(k), r.seq
		}
		kept++
	}
	if kept >= idempotencyKept {
		stale = append(stale, oldest)
	}
	for _, k := range stale {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	v := binary.BigEndian.AppendUint64(nil, seq)
	v = binary.BigEndian.AppendUint64(v, uint64(now.UnixMilli()))
	return b.Put(idempotencyKey(id, key), v)
}
