package boltstore

import (
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
)

// Commit implements consent.Store. Commits made at the same time share one
// transaction, and so one fsync, which is over when Commit returns. Once it is
// under way it is not cut short when ctx ends: its outcome is known within one
// fsync, and is the truth.
func (s *Store) Commit(ctx context.Context, w consent.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.Check(); err != nil {
		return err
	}
	if err := checkID(w.ID); err != nil {
		return err
	}
	record, err := encodeRecord(w.Next)
	if err != nil {
		return err
	}
	entry, err := consent.EncodeEntry(w.Entry)
	if err != nil {
		return err
	}
	conflict := false
	err = s.db.Batch(func(tx *bolt.Tx) error {
		// This may run more than once. A conflict is no error to the batch: it
		// wrote nothing, and must not make the others of the batch run anew.
		conflict = false
		states := tx.Bucket(bucketStates)
		now, err := getState(states, w.ID)
		if err != nil {
			return err
		}
		if now.Version != w.Prev.Version || now.Head != w.Prev.Head {
			conflict = true
			return nil
		}
		if w.IdempotencyKey != "" {
			taken, err := putIdempotency(tx, w.ID, w.IdempotencyKey, w.Entry.Seq, s.now())
			if err != nil || taken {
				conflict = taken
				return err
			}
		}
		if err := tx.Bucket(bucketLedger).Put(ledgerKey(w.ID, w.Entry.Seq), entry); err != nil {
			return err
		}
		return states.Put([]byte(w.ID), record)
	})
	if conflict && err == nil {
		return consent.ErrConflict
	}
	err = closed(err)
	if !errors.Is(err, consent.ErrClosed) {
		// After a failed fsync too: what is on disk is not known then.
		s.watchers.announce(w.ID)
	}
	return err
}
