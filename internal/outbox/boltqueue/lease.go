package boltqueue

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Lease implements outbox.Queue. No other process has the file, so a lease is
// this process's own business, and is never lost before it is given up.
func (q *Queue) Lease(ctx context.Context, partner string, partition int) (outbox.Lease, error) {
	if err := q.ready(ctx, partner); err != nil {
		return nil, err
	}
	if partition < 0 || partition >= outbox.Partitions {
		return nil, fmt.Errorf("the embedded outbox: there is no partition %d", partition)
	}
	l := &lease{q: q, key: partKey{partner, partition}, lost: make(chan struct{})}
	l.part = q.part(l.key)
	select {
	case l.part.held <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.closed:
		return nil, outbox.ErrClosed
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.closed:
		return nil, outbox.ErrClosed
	default:
	}
	q.leases[l] = struct{}{}
	return l, nil
}

// lease is one consumer of a partition.
type lease struct {
	q    *Queue
	key  partKey
	part *part

	once sync.Once
	lost chan struct{}

	mu    sync.Mutex // one Batch or Done at a time
	batch []entry    // the one under way, as it was last returned
}

// entry is a record and its number.
type entry struct {
	number uint64
	outbox.Record
}

// end ends the lease; Release and Close give the partition away.
func (l *lease) end() { l.once.Do(func() { close(l.lost) }) }

// Lost implements outbox.Lease.
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Release implements outbox.Lease.
func (l *lease) Release() {
	l.end()
	l.mu.Lock() // until what is under way has ended
	defer l.mu.Unlock()
	l.q.mu.Lock()
	_, held := l.q.leases[l]
	delete(l.q.leases, l)
	l.q.mu.Unlock()
	if held {
		<-l.part.held
	}
}

// alive says why the lease is of no use any more, if so.
func (l *lease) alive() error {
	select {
	case <-l.q.closed:
		return outbox.ErrClosed
	default:
	}
	select {
	case <-l.lost:
		return outbox.ErrLost
	default:
		return nil
	}
}

// Batch implements outbox.Lease.
func (l *lease) Batch(ctx context.Context, limit outbox.Limit) ([]outbox.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.alive(); err != nil {
			return nil, err
		}
		batch, err := l.flight(ctx)
		if err == nil && batch == nil {
			if batch, err = l.gather(ctx, limit); err == nil {
				batch, err = l.take(batch)
			}
		}
		if err != nil {
			return nil, err
		}
		if batch == nil {
			continue // all of it was dropped before it could be taken
		}
		l.batch = batch
		records := make([]outbox.Record, len(batch))
		for i := range batch {
			records[i] = batch[i].Record
		}
		return records, nil
	}
}

// flight reads what is left of the batch under way; nil: there is none.
func (l *lease) flight(ctx context.Context) (batch []entry, err error) {
	err = l.q.view(ctx, l.key.partner, func(tx *bolt.Tx) error {
		r, err := getRow(tx, l.key)
		if err != nil {
			return err
		}
		return l.read(tx, 0, func(e entry) bool {
			if e.number > r.flight {
				return false
			}
			batch = append(batch, e)
			return true
		})
	})
	return batch, err
}

// read reads the records behind a number for as long as visit takes them.
func (l *lease) read(tx *bolt.Tx, after uint64, visit func(entry) bool) error {
	prefix := partitionKey(l.key)
	c := tx.Bucket(bucketRecords).Cursor()
	for k, v := c.Seek(numbered(prefix, after+1)); hasPrefix(k, prefix); k, v = c.Next() {
		r, err := outbox.DecodeRecord(v)
		if err != nil {
			return damaged(k, err)
		}
		// They are the file's memory until here.
		r.Release, r.Body = bytes.Clone(r.Release), bytes.Clone(r.Body)
		if !visit(entry{number(k), r}) {
			return nil
		}
	}
	return nil
}

// gather waits until there is a batch by the limit.
func (l *lease) gather(ctx context.Context, limit outbox.Limit) (batch []entry, err error) {
	g := outbox.NewGather(limit)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		last := uint64(0)
		if len(batch) > 0 {
			last = batch[len(batch)-1].number
		}
		now := time.Now()
		if err := l.q.view(ctx, l.key.partner, func(tx *bolt.Tx) error {
			return l.read(tx, last, func(e entry) bool {
				if !g.Add(&e.Record, now) {
					return false
				}
				batch = append(batch, e)
				return !g.Full()
			})
		}); err != nil {
			return nil, err
		}
		wait := time.Hour
		if len(batch) > 0 {
			if wait = g.Wait(now); g.Full() || wait <= 0 {
				return batch, nil
			}
		}
		timer.Reset(wait)
		select {
		case <-l.part.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.lost:
			return nil, l.alive()
		}
	}
}

// take makes what was gathered the batch under way, but for what was dropped
// meanwhile; nil: all of it was.
func (l *lease) take(batch []entry) ([]entry, error) {
	left := batch
	err := l.q.file.Commit(func(tx *bolt.Tx) (refused, failed error) {
		r, err := getRow(tx, l.key)
		if err != nil {
			return err, nil
		}
		prefix := partitionKey(l.key)
		first := uint64(0)
		if k, _ := tx.Bucket(bucketRecords).Cursor().Seek(prefix); hasPrefix(k, prefix) {
			first = number(k)
		}
		for len(left) > 0 && left[0].number < first {
			left = left[1:]
		}
		if first == 0 || len(left) == 0 {
			left = nil
			return nil, nil
		}
		r.flight = left[len(left)-1].number
		return nil, putRow(tx, l.key, r)
	})
	if err != nil {
		return nil, named(err)
	}
	return left, nil
}

// Done implements outbox.Lease.
func (l *lease) Done(ctx context.Context, dead map[int]outbox.Verdict) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.alive(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := outbox.CheckDone(len(l.batch), dead); err != nil {
		return fmt.Errorf("the embedded outbox: %w", err)
	}
	err := l.q.file.Commit(func(tx *bolt.Tx) (refused, failed error) {
		r, err := getRow(tx, l.key)
		if err != nil {
			return err, nil
		}
		return nil, l.done(tx, r, dead)
	})
	if err != nil {
		return named(err)
	}
	l.batch = nil
	// After a backlog. Where it fails, commits stay slow and nothing else.
	_, _ = l.q.file.Compact()
	return nil
}

func (l *lease) done(tx *bolt.Tx, r row, dead map[int]outbox.Verdict) error {
	b, prefix := tx.Bucket(bucketRecords), partitionKey(l.key)
	var letters [][]byte
	for i := range l.batch {
		e := &l.batch[i]
		k := numbered(prefix, e.number)
		v := b.Get(k)
		if v == nil {
			continue // it was dropped
		}
		if err := r.remove(e.Size()); err != nil {
			return err
		}
		if verdict, is := dead[i]; is {
			letters = append(letters, slices.Concat(outbox.AppendVerdict(nil, verdict), v))
		}
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	if err := putRow(tx, l.key, r); err != nil {
		return err
	}
	return l.q.bury(tx, l.key.partner, letters)
}
