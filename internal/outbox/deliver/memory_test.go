package deliver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// memory is an outbox.Queue for one partner that keeps its promises while the
// process lives, and whose leases a test can take away.
type memory struct {
	mu      sync.Mutex
	parts   [outbox.Partitions]partition
	dead    []outbox.DeadLetter
	changed chan struct{} // closed at each change
	closed  bool

	batches  int   // calls of Batch that returned one
	dones    int   // batches that are done
	fail     error // what Batch and Done return meanwhile
	onDone   func()
	inFlight int // batches taken and not done
}

type partition struct {
	records []outbox.Record
	flight  int // so many of them are the batch under way
	holder  *memoryLease
}

type memoryLease struct {
	q    *memory
	p    *partition
	once sync.Once
	lost chan struct{}
}

func newMemory() *memory { return &memory{changed: make(chan struct{})} }

func (q *memory) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *memory) Append(_ context.Context, _ string, _ outbox.Bound, records []outbox.Record) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range records {
		p := &q.parts[outbox.Partition(r.Subject)]
		p.records = append(p.records, r)
	}
	q.wake()
	return 0, nil
}

// await waits, with the lock held but for the waiting, until ready reports true.
// Else that says when to ask again, should nothing change before.
func (q *memory) await(ctx context.Context, lost <-chan struct{}, ready func() (bool, time.Duration)) error {
	for {
		select {
		case <-lost:
			return outbox.ErrLost
		default:
		}
		if q.closed {
			return outbox.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		is, again := ready()
		if is {
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		t := time.NewTimer(again)
		select {
		case <-changed:
		case <-t.C:
		case <-lost:
		case <-ctx.Done():
		}
		t.Stop()
		q.mu.Lock()
	}
}

func (q *memory) Lease(ctx context.Context, _ string, n int) (outbox.Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := &q.parts[n]
	if err := q.await(ctx, nil, func() (bool, time.Duration) { return p.holder == nil, time.Hour }); err != nil {
		return nil, err
	}
	p.holder = &memoryLease{q: q, p: p, lost: make(chan struct{})}
	return p.holder, nil
}

// lose takes the lease of a partition from its holder.
func (q *memory) lose(n int) {
	q.mu.Lock()
	l := q.parts[n].holder
	q.mu.Unlock()
	if l != nil {
		l.Release()
	}
}

func (l *memoryLease) Lost() <-chan struct{} { return l.lost }

func (l *memoryLease) Release() {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.once.Do(func() { close(l.lost) })
	if l.p.holder == l {
		l.p.holder = nil
		l.q.wake()
	}
}

func (l *memoryLease) Batch(ctx context.Context, limit outbox.Limit) ([]outbox.Record, error) {
	q := l.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return nil, q.fail
	}
	err := q.await(ctx, l.lost, func() (bool, time.Duration) {
		if l.p.flight > 0 || len(l.p.records) == 0 {
			return l.p.flight > 0, time.Hour
		}
		n, size, full := 0, 0, false
		for _, r := range l.p.records {
			if full = n == limit.Count || n > 0 && size+len(r.Body) > limit.Bytes; full {
				break
			}
			n, size = n+1, size+len(r.Body)
		}
		young := limit.Age - time.Since(l.p.records[0].At)
		if young > 0 && !full && n < limit.Count && size < limit.Bytes {
			return false, young
		}
		l.p.flight = n
		q.inFlight++
		return true, 0
	})
	if err != nil {
		return nil, err
	}
	q.batches++
	return slices.Clone(l.p.records[:l.p.flight]), nil
}

func (l *memoryLease) Done(ctx context.Context, dead map[int]outbox.Verdict) error {
	q := l.q
	if q.onDone != nil {
		q.onDone()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return outbox.ErrClosed
	case l.p.holder != l:
		return outbox.ErrLost
	case ctx.Err() != nil:
		return ctx.Err()
	case q.fail != nil:
		return q.fail
	case l.p.flight == 0:
		return errors.New("there is no batch")
	}
	for _, i := range slices.Sorted(maps.Keys(dead)) {
		q.dead = append(q.dead, outbox.DeadLetter{Record: l.p.records[i], Verdict: dead[i]})
	}
	l.p.records = l.p.records[l.p.flight:]
	l.p.flight = 0
	q.inFlight--
	q.dones++
	q.wake()
	return nil
}

func (q *memory) Stats(context.Context, string) (s outbox.Stats, _ error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.parts {
		s.Records += int64(len(q.parts[i].records))
	}
	s.Dead = int64(len(q.dead))
	return s, nil
}

func (q *memory) Dead(context.Context, string, string, int) ([]outbox.DeadLetter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.dead), nil
}

// Replay is nothing that a delivery calls.
func (q *memory) Replay(context.Context, string, ...string) (int, error) {
	return 0, errors.ErrUnsupported
}

func (q *memory) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
	return nil
}

// waiting is how many records are in the queue, done ones are not.
func (q *memory) waiting() int {
	s, _ := q.Stats(context.Background(), "")
	return int(s.Records)
}

// held is how many partitions have a consumer.
func (q *memory) held() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.parts {
		if q.parts[i].holder != nil {
			n++
		}
	}
	return n
}

// failWith makes Batch and Done fail; nil: no longer.
func (q *memory) failWith(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail = err
}
