package boltstore

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
)

var keyCheck = []byte("check")

// Subjects implements consent.Store. Each page is a transaction of its own: one
// that stayed open would keep the file growing while visit writes.
func (s *Store) Subjects(ctx context.Context, limit int, visit func([]consent.ID) error) error {
	var last []byte
	for {
		var page []consent.ID
		err := s.view(ctx, func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketStates).Cursor()
			k, _ := c.Seek(last)
			if last != nil && bytes.Equal(k, last) {
				k, _ = c.Next()
			}
			for ; k != nil && len(page) < max(limit, 1); k, _ = c.Next() {
				page = append(page, consent.ID(k))
			}
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		last = []byte(page[len(page)-1])
		if err := visit(page); err != nil {
			return err
		}
	}
}

// Bind implements consent.Store.
func (s *Store) Bind(ctx context.Context, check string) (kept bool, err error) {
	var have []byte
	if err := s.view(ctx, func(tx *bolt.Tx) error {
		have = bytes.Clone(tx.Bucket(bucketMeta).Get(keyCheck))
		return nil
	}); err != nil {
		return false, err
	}
	if have == nil {
		// Another call may come first, so it is looked up again.
		if err := s.file.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			if have = bytes.Clone(meta.Get(keyCheck)); have != nil {
				return nil
			}
			have = []byte(check)
			return meta.Put(keyCheck, have)
		}); err != nil {
			return false, named(err)
		}
	}
	if string(have) != check {
		return false, consent.ErrOtherSecret
	}
	return true, nil
}
