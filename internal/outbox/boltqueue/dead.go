package boltqueue

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Bounds of one transaction.
const (
	maxListed   = 1000
	replayChunk = 256
)

// bury adds dead letters, and forgets the oldest beyond the limit.
func (q *Queue) bury(tx *bolt.Tx, partner string, values [][]byte) error {
	if len(values) == 0 {
		return nil
	}
	l, err := getLetters(tx, partner)
	if err != nil {
		return err
	}
	b, prefix := tx.Bucket(bucketDead), partnerKey(partner)
	for _, v := range values {
		l.last++
		l.dead++
		if err := b.Put(numbered(prefix, l.last), v); err != nil {
			return err
		}
	}
	for c := b.Cursor(); l.dead > uint64(q.letters); {
		k, _ := c.Seek(prefix)
		if !hasPrefix(k, prefix) {
			break
		}
		if err := b.Delete(bytes.Clone(k)); err != nil {
			return err
		}
		l.dead--
		l.forgotten++
	}
	return putLetters(tx, partner, l)
}

// Dead implements outbox.Queue. An ID is the letter's number, as 16 hex digits.
// It lists a thousand letters at most.
func (q *Queue) Dead(ctx context.Context, partner, after string, limit int) ([]outbox.DeadLetter, error) {
	last := uint64(0)
	if after != "" {
		var ok bool
		if last, ok = parseID(after); !ok {
			return nil, fmt.Errorf("the embedded outbox: %w", outbox.ErrLetterID)
		}
	}
	var list []outbox.DeadLetter
	err := q.view(ctx, partner, func(tx *bolt.Tx) error {
		prefix := partnerKey(partner)
		c := tx.Bucket(bucketDead).Cursor()
		if last == ^uint64(0) {
			return nil
		}
		for k, v := c.Seek(numbered(prefix, last+1)); len(list) < min(limit, maxListed) && hasPrefix(k, prefix); k, v = c.Next() {
			verdict, r, err := decodeLetter(bytes.Clone(v))
			if err != nil {
				return damaged(k, err)
			}
			list = append(list, outbox.DeadLetter{ID: hex.EncodeToString(k[len(k)-8:]), Record: r, Verdict: verdict})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func decodeLetter(v []byte) (outbox.Verdict, outbox.Record, error) {
	if len(v) < outbox.VerdictSize {
		return outbox.Verdict{}, outbox.Record{}, outbox.ErrCorrupt
	}
	verdict, err := outbox.DecodeVerdict(v[:outbox.VerdictSize])
	if err != nil {
		return outbox.Verdict{}, outbox.Record{}, err
	}
	r, err := outbox.DecodeRecord(v[outbox.VerdictSize:])
	return verdict, r, err
}

func parseID(id string) (uint64, bool) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// Replay implements outbox.Queue. Letters go back in portions, each in one
// transaction: after an error, those that are counted are back.
func (q *Queue) Replay(ctx context.Context, partner string, ids ...string) (replayed int, err error) {
	var all []uint64
	if len(ids) == 0 {
		if all, err = q.dead(ctx, partner); err != nil {
			return 0, err
		}
	}
	for _, id := range ids {
		if n, ok := parseID(id); ok {
			all = append(all, n)
		}
	}
	for len(all) > 0 {
		if err := q.ready(ctx, partner); err != nil {
			return replayed, err
		}
		n := min(len(all), replayChunk)
		back, err := q.replay(partner, all[:n])
		if err != nil {
			return replayed, err
		}
		replayed += back
		all = all[n:]
	}
	return replayed, q.ready(ctx, partner)
}

// dead lists the numbers of all dead letters of a partner.
func (q *Queue) dead(ctx context.Context, partner string) (all []uint64, err error) {
	err = q.view(ctx, partner, func(tx *bolt.Tx) error {
		prefix := partnerKey(partner)
		c := tx.Bucket(bucketDead).Cursor()
		for k, _ := c.Seek(prefix); hasPrefix(k, prefix); k, _ = c.Next() {
			all = append(all, number(k))
		}
		return nil
	})
	return all, err
}

// replay puts those of the letters that there are back, in one transaction.
func (q *Queue) replay(partner string, numbers []uint64) (back int, err error) {
	var shares [outbox.Partitions]share
	err = q.file.Commit(func(tx *bolt.Tx) (refused, failed error) {
		back, shares = 0, [outbox.Partitions]share{}
		l, err := getLetters(tx, partner)
		if err != nil {
			return err, nil
		}
		b, prefix := tx.Bucket(bucketDead), partnerKey(partner)
		for _, n := range numbers {
			k := numbered(prefix, n)
			v := b.Get(k)
			if v == nil {
				continue
			}
			v = bytes.Clone(v)
			_, r, err := decodeLetter(v)
			if err != nil {
				return nil, damaged(k, err)
			}
			s := &shares[outbox.Partition(r.Subject)]
			s.values = append(s.values, v[outbox.VerdictSize:])
			s.bytes += uint64(r.Size())
			if err := b.Delete(k); err != nil {
				return nil, err
			}
			if l.dead == 0 {
				return nil, fmt.Errorf("%w: a partner has more dead letters than it counts", outbox.ErrCorrupt)
			}
			l.dead--
			back++
		}
		for n := range shares {
			if shares[n].values == nil {
				continue
			}
			key := partKey{partner, n}
			r, err := getRow(tx, key)
			if err != nil {
				return nil, err
			}
			if err := add(tx, key, &r, &shares[n]); err != nil {
				return nil, err
			}
		}
		return nil, putLetters(tx, partner, l)
	})
	if err != nil {
		return 0, named(err)
	}
	for n := range shares {
		if shares[n].values != nil {
			q.wake(partKey{partner, n})
		}
	}
	return back, nil
}
