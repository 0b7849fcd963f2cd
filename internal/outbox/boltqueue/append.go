package boltqueue

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Append implements outbox.Queue. It returns when the records have been fsynced,
// or refused, all of them. Once they are being written it is not cut short when
// ctx ends: the outcome is known within an fsync or two, and is the truth.
func (q *Queue) Append(ctx context.Context, partner string, bound outbox.Bound, records []outbox.Record) (dropped int, err error) {
	if err := q.ready(ctx, partner); err != nil {
		return 0, err
	}
	if len(records) == 0 {
		return 0, nil
	}
	var shares [outbox.Partitions]share
	for i := range records {
		r := &records[i]
		s := &shares[outbox.Partition(r.Subject)]
		s.values = append(s.values, outbox.AppendRecord(nil, r))
		s.bytes += uint64(r.Size())
	}
	err = q.file.Commit(func(tx *bolt.Tx) (refused, failed error) {
		dropped = 0
		var rows [outbox.Partitions]row
		for n := range shares {
			if shares[n].values == nil {
				continue
			}
			if rows[n], refused = getRow(tx, partKey{partner, n}); refused != nil {
				return refused, nil
			}
			limit := uint64(bound.Share())
			if shares[n].bytes > limit || rows[n].bytes+shares[n].bytes > limit && !bound.DropOldest {
				return outbox.ErrFull, nil
			}
		}
		for n := range shares {
			if shares[n].values == nil {
				continue
			}
			key := partKey{partner, n}
			lost, err := drop(tx, key, &rows[n], uint64(bound.Share())-shares[n].bytes)
			if err != nil {
				return nil, err
			}
			dropped += lost
			if err := add(tx, key, &rows[n], &shares[n]); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return 0, named(err)
	}
	for n := range shares {
		if shares[n].values != nil {
			q.wake(partKey{partner, n})
		}
	}
	return dropped, nil
}

// share is what one request has for one partition.
type share struct {
	values [][]byte
	bytes  uint64
}

// drop loses the oldest records until no more than keep bytes are left. The row
// is not written.
func drop(tx *bolt.Tx, key partKey, r *row, keep uint64) (dropped int, err error) {
	if r.bytes <= keep {
		return 0, nil
	}
	b, prefix := tx.Bucket(bucketRecords), partitionKey(key)
	var gone [][]byte // keys are bbolt's memory, which deleting moves
	c := b.Cursor()
	for k, v := c.Seek(prefix); r.bytes > keep && hasPrefix(k, prefix); k, v = c.Next() {
		rec, err := outbox.DecodeRecord(v)
		if err != nil {
			return 0, damaged(k, err)
		}
		if err := r.remove(rec.Size()); err != nil {
			return 0, err
		}
		gone = append(gone, bytes.Clone(k))
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(gone), nil
}

// add puts records at the end of a partition, and writes its row.
func add(tx *bolt.Tx, key partKey, r *row, s *share) error {
	b, prefix := tx.Bucket(bucketRecords), partitionKey(key)
	for _, v := range s.values {
		r.last++
		if err := b.Put(numbered(prefix, r.last), v); err != nil {
			return err
		}
	}
	r.records += uint64(len(s.values))
	r.bytes += s.bytes
	return putRow(tx, key, *r)
}
