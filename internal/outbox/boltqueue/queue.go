// Package boltqueue keeps the outbox in one file of this machine. It is an
// [outbox.Queue] on bbolt, for the one process that has the file open.
//
// The file holds these buckets. A partner's name ends with a NUL in keys;
// numbers in keys are big-endian.
//
//	meta        "format" → "1"
//	records     partner 00 partition (1 byte) number (8 bytes) → the record
//	partitions  partner 00 partition (1 byte) → what is in the partition (rows.go)
//	dead        partner 00 number (8 bytes) → verdict, record
//	partners    partner 00 → how many letters are dead, how many were forgotten
//
// The batch under way is not a list: records are numbered, and are taken from
// the front only, so the number of its last one tells it. That number is written
// before the batch is returned, and goes with the batch's records when it is
// done: two transactions a batch, whose fsyncs are shared with whoever else
// writes at the time.
//
// The package must never know what is in a record, beyond its size and its time.
package boltqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/boltfile"
	"github.com/consentgate/consentgate/internal/outbox"
)

var (
	bucketMeta       = []byte("meta")
	bucketRecords    = []byte("records")
	bucketPartitions = []byte("partitions")
	bucketDead       = []byte("dead")
	bucketPartners   = []byte("partners")

	keyFormat = []byte("format")
	format    = []byte("1")
)

// Options are optional.
type Options struct {
	// Timeout is how long Open waits for another process to let go of the file.
	// Default: 2 s.
	Timeout time.Duration
	// DeadLetters is how many dead letters are kept for each partner. Beyond
	// that the oldest are forgotten, and counted. Default: 10000.
	DeadLetters int
}

// Queue is an outbox.Queue in a file. Use Open to make one.
type Queue struct {
	file    *boltfile.File
	letters int

	mu     sync.Mutex
	parts  map[partKey]*part
	leases map[*lease]struct{}
	closed chan struct{}
}

var _ outbox.Queue = (*Queue)(nil)

// partKey names one partition of one partner.
type partKey struct {
	partner   string
	partition int
}

// part is what this process knows of a partition: it bears no record.
type part struct {
	held chan struct{} // holds one while there is a consumer
	wake chan struct{} // holds one when records have come
}

// Open opens the queue in the file at path and makes it, with its directory, if
// it is not there; only the owner may read either. It fails with
// boltfile.ErrLocked when another process has the file open, and when the file
// is of another format.
func Open(path string, opts Options) (*Queue, error) {
	if opts.DeadLetters <= 0 {
		opts.DeadLetters = 10_000
	}
	file, err := boltfile.Open(path, boltfile.Options{Timeout: opts.Timeout}, prepare)
	if err != nil {
		return nil, named(fmt.Errorf("the embedded outbox %w", err))
	}
	return &Queue{
		file:    file,
		letters: opts.DeadLetters,
		parts:   make(map[partKey]*part),
		leases:  make(map[*lease]struct{}),
		closed:  make(chan struct{}),
	}, nil
}

func prepare(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	fresh := meta == nil
	if !fresh {
		if f := meta.Get(keyFormat); string(f) != string(format) {
			return fmt.Errorf("the file has format %q, and this program reads %q", f, format)
		}
	}
	for _, name := range [][]byte{bucketMeta, bucketRecords, bucketPartitions, bucketDead, bucketPartners} {
		if tx.Bucket(name) != nil {
			continue
		}
		if !fresh {
			return fmt.Errorf("%w: the bucket %q is missing", outbox.ErrCorrupt, name)
		}
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	if fresh {
		return tx.Bucket(bucketMeta).Put(keyFormat, format)
	}
	return nil
}

// Stats implements outbox.Queue.
func (q *Queue) Stats(ctx context.Context, partner string) (outbox.Stats, error) {
	var s outbox.Stats
	err := q.view(ctx, partner, func(tx *bolt.Tx) error {
		letters, err := getLetters(tx, partner)
		if err != nil {
			return err
		}
		s.Dead, s.Forgotten = int64(letters.dead), int64(letters.forgotten)
		for n := range outbox.Partitions {
			key := partKey{partner, n}
			row, err := getRow(tx, key)
			if err != nil {
				return err
			}
			s.Records += int64(row.records)
			s.Bytes += int64(row.bytes)
			prefix := partitionKey(key)
			k, v := tx.Bucket(bucketRecords).Cursor().Seek(prefix)
			if !hasPrefix(k, prefix) {
				continue
			}
			r, err := outbox.DecodeRecord(v)
			if err != nil {
				return damaged(k, err)
			}
			if s.Oldest.IsZero() || r.At.Before(s.Oldest) {
				s.Oldest = r.At
			}
		}
		return nil
	})
	if err != nil {
		return outbox.Stats{}, err
	}
	return s, nil
}

// Close implements outbox.Queue. It waits for what is being written. Closing
// again does nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
	for l := range q.leases {
		l.end()
	}
	clear(q.leases)
	q.mu.Unlock()
	return q.file.Close()
}

// part returns what is known of a partition. There are as many as partners that
// were ever leased.
func (q *Queue) part(key partKey) *part {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.parts[key]
	if p == nil {
		p = &part{held: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
		q.parts[key] = p
	}
	return p
}

// wake tells a partition's consumer that records have come.
func (q *Queue) wake(key partKey) {
	q.mu.Lock()
	p := q.parts[key]
	q.mu.Unlock()
	if p == nil {
		return // it has never had one
	}
	select {
	case p.wake <- struct{}{}:
	default: // it will wake anyway, and find these too
	}
}

// ready says why a call must not begin, if so.
func (q *Queue) ready(ctx context.Context, partner string) error {
	select {
	case <-q.closed:
		return outbox.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return outbox.CheckPartner(partner)
}

func (q *Queue) view(ctx context.Context, partner string, read func(*bolt.Tx) error) error {
	if err := q.ready(ctx, partner); err != nil {
		return err
	}
	return named(q.file.View(read))
}

// named gives the errors of the file the names of an outbox's.
func named(err error) error {
	switch {
	case errors.Is(err, boltfile.ErrDamaged):
		return fmt.Errorf("%w: %w", outbox.ErrCorrupt, err)
	case errors.Is(err, boltfile.ErrClosed):
		return outbox.ErrClosed
	}
	return err
}
