// Package boltstore keeps consent in one file of this machine: the embedded
// store. It is a [consent.Store] on bbolt.
//
// The file is exclusive to the process that opened it. It holds these buckets:
//
//	meta         "format" → "1", "check" → check value of the root secret of the IDs
//	states       ID → the state's fields, with a checksum (record.go)
//	ledger       ID 00 sequence number (8 bytes, big-endian) → the entry as canonical JSON
//	idempotency  ID 00 SHA-256 of the key → sequence number, time in ms (8 bytes each)
//
// A subject that is erased leaves the tree at once. Its old pages are free then
// and are overwritten by later writes; whoever must be sure that nothing can be
// read from the disk before encrypts the disk.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/boltfile"
	"github.com/consentgate/consentgate/internal/consent"
)

var (
	bucketMeta        = []byte("meta")
	bucketStates      = []byte("states")
	bucketLedger      = []byte("ledger")
	bucketIdempotency = []byte("idempotency")

	keyFormat = []byte("format")
	format    = []byte("1")
)

// ErrLocked: another process has the file open.
var ErrLocked = boltfile.ErrLocked

// Options are optional.
type Options struct {
	// Timeout is how long Open waits for another process to let go of the file.
	// Default: 2 s.
	Timeout time.Duration
	// Now is the clock by which idempotency keys expire. Default: time.Now.
	Now func() time.Time
}

// Store is a consent.Store in a file. Use Open to make one.
type Store struct {
	file     *boltfile.File
	now      func() time.Time
	watchers *watchers
}

var _ consent.Store = (*Store)(nil)

// Open opens the store in the file at path and makes it, with its directory, if
// it is not there; only the owner may read either. It fails with ErrLocked when
// another process has the file open, and when the file is of another format.
func Open(path string, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	file, err := boltfile.Open(path, boltfile.Options{Timeout: opts.Timeout}, prepare)
	if err != nil {
		return nil, named(fmt.Errorf("the embedded consent store %w", err))
	}
	return &Store{file: file, now: opts.Now, watchers: newWatchers()}, nil
}

// prepare makes the buckets of a new file, and refuses a file of another
// format before anything is read from it.
func prepare(tx *bolt.Tx) error {
	if meta := tx.Bucket(bucketMeta); meta != nil {
		if f := meta.Get(keyFormat); string(f) != string(format) {
			return fmt.Errorf("the file has format %q, and this program reads %q", f, format)
		}
		for _, name := range [][]byte{bucketStates, bucketLedger, bucketIdempotency} {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: the bucket %q is missing", consent.ErrCorrupt, name)
			}
		}
		return nil
	}
	for _, name := range [][]byte{bucketMeta, bucketStates, bucketLedger, bucketIdempotency} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keyFormat, format)
}

// DB returns the open file, for who keeps buckets of their own in it. The four
// of this package are not to be touched.
func (s *Store) DB() *bolt.DB { return s.file.DB() }

// Load implements consent.Store. All states are of one moment.
func (s *Store) Load(ctx context.Context, ids []consent.ID) ([]consent.State, error) {
	states := make([]consent.State, len(ids))
	err := s.view(ctx, func(tx *bolt.Tx) (err error) {
		b := tx.Bucket(bucketStates)
		for i, id := range ids {
			if states[i], err = getState(b, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Ledger implements consent.Store.
func (s *Store) Ledger(ctx context.Context, id consent.ID, after uint64, limit int) ([]consent.Entry, error) {
	var entries []consent.Entry
	err := s.view(ctx, func(tx *bolt.Tx) error {
		prefix := subjectKey(id, nil)
		c := tx.Bucket(bucketLedger).Cursor()
		if after == ^uint64(0) {
			return nil
		}
		for k, v := c.Seek(ledgerKey(id, after+1)); len(entries) < limit && hasPrefix(k, prefix); k, v = c.Next() {
			e, err := getEntry(id, k, v)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Seen implements consent.Store. A key is remembered for a day, and the last
// 128 of a subject are.
func (s *Store) Seen(ctx context.Context, id consent.ID, key string) (e consent.Entry, ok bool, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		seq, found, err := getIdempotency(tx, id, key, s.now())
		if err != nil || !found {
			return err
		}
		k := ledgerKey(id, seq)
		e, err = getEntry(id, k, tx.Bucket(bucketLedger).Get(k))
		ok = err == nil
		return err
	})
	return e, ok, err
}

// Watch implements consent.Store. No one but this process writes the file, so
// every change is known to it, the link is never down, and reset is called
// once, or again when changed was so slow that changes piled up.
func (s *Store) Watch(ctx context.Context, changed func(consent.ID), reset func(down bool)) error {
	return s.watchers.watch(ctx, changed, reset)
}

// Ping implements consent.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(*bolt.Tx) error { return nil })
}

// Close ends all watches, waits for writes and reads that are under way, and
// closes the file. Closing again does nothing.
func (s *Store) Close() error {
	s.watchers.close()
	return s.file.Close()
}

func (s *Store) view(ctx context.Context, read func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return named(s.file.View(read))
}

// named gives the errors of the file the names of a consent store's.
func named(err error) error {
	switch {
	case errors.Is(err, boltfile.ErrDamaged):
		return fmt.Errorf("%w: %w", consent.ErrCorrupt, err)
	case errors.Is(err, boltfile.ErrClosed):
		return consent.ErrClosed
	}
	return err
}
