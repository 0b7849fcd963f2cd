package boltstore

import (
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
)

// Commit implements consent.Store. It returns when the write has been fsynced,
// or refused. Once it is under way it is not cut short when ctx ends: its
// outcome is known within an fsync or two, and is the truth.
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
	err = s.file.Commit(func(tx *bolt.Tx) (refused, failed error) {
		if err := s.judge(tx, &w); err != nil {
			return err, nil
		}
		return nil, errors.Join(
			putIdempotency(tx, w.ID, w.IdempotencyKey, w.Entry.Seq, s.now()),
			tx.Bucket(bucketLedger).Put(ledgerKey(w.ID, w.Entry.Seq), entry),
			tx.Bucket(bucketStates).Put([]byte(w.ID), record),
		)
	})
	err = named(err)
	if !errors.Is(err, consent.ErrClosed) && !errors.Is(err, consent.ErrConflict) {
		// After a failed fsync too: what is on disk is not known then.
		s.watchers.announce(w.ID)
	}
	return err
}

// judge says whether a write may be applied to what is stored.
func (s *Store) judge(tx *bolt.Tx, w *consent.Write) error {
	now, err := getState(tx.Bucket(bucketStates), w.ID)
	if err != nil {
		return err
	}
	if now.Version != w.Prev.Version || now.Head != w.Prev.Head {
		return consent.ErrConflict
	}
	if w.IdempotencyKey == "" {
		return nil
	}
	_, taken, err := getIdempotency(tx, w.ID, w.IdempotencyKey, s.now())
	if err == nil && taken {
		err = consent.ErrConflict
	}
	return err
}
