package redisqueue

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// acquireScript takes a lease that is free. One that has the token already was
// taken by an attempt whose answer got lost.
//
//	KEYS  lease
//	ARGV  token, ms to live
var acquireScript = redisscript.New(`
local now = redis.call('GET', KEYS[1])
if now and now ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// renewScript lets a lease live on, if it still is the token's. One that is gone
// is not taken anew: another may have had it meanwhile.
//
//	KEYS  lease
//	ARGV  token, ms to live
var renewScript = redisscript.New(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// releaseScript ends a lease, if it still is the token's.
//
//	KEYS  lease
//	ARGV  token
var releaseScript = redisscript.New(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
`)

// Lease implements [outbox.Queue]. Within this process a partition passes from
// one consumer to the next at once, and between processes when the next one
// looks, which is every Options.LeaseRetry.
func (q *Queue) Lease(ctx context.Context, partner string, n int) (outbox.Lease, error) {
	if err := q.ready(ctx, partner); err != nil {
		return nil, err
	}
	if n < 0 || n >= outbox.Partitions {
		return nil, fmt.Errorf("redis outbox: there is no partition %d", n)
	}
	l := &lease{q: q, partition: partition{partner, n}, token: rand.Text(), lost: make(chan struct{})}
	q.mu.Lock()
	l.held = q.held[l.partition]
	if l.held == nil {
		l.held = make(chan struct{}, 1)
		q.held[l.partition] = l.held
	}
	q.mu.Unlock()
	select {
	case l.held <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.closed:
		return nil, outbox.ErrClosed
	}
	if err := l.acquire(ctx); err != nil {
		<-l.held
		return nil, err
	}
	q.mu.Lock()
	closed := q.leases == nil
	if !closed {
		q.leases[l] = struct{}{}
	}
	q.mu.Unlock()
	if closed {
		l.giveUp()
		return nil, outbox.ErrClosed
	}
	go l.keep()
	return l, nil
}

// lease is one consumer of a partition.
type lease struct {
	q *Queue
	partition
	token string
	held  chan struct{}

	once  sync.Once
	lost  chan struct{}
	until atomic.Pointer[time.Time] // it may be another's from then on

	mu    sync.Mutex // one Batch or Done at a time
	batch []entry    // the one under way, as it was last returned
	idle  bool       // nothing is pending, for sure
}

func (l *lease) leaseKey() []string { return []string{l.key(keyLease)} }

// acquire waits until the lease is this one's.
func (l *lease) acquire(ctx context.Context) error {
	for {
		taken, err := l.touch(ctx, acquireScript)
		if err != nil {
			go l.giveUp() // it may have been taken, for nobody
		}
		switch {
		case err != nil && ended(ctx) != nil:
			return ended(ctx)
		case err != nil:
			return l.q.failed("taking a lease", err)
		case taken:
			return nil
		}
		// Gateways that wait must not look in step.
		retry := l.q.opts.LeaseRetry
		select {
		case <-time.After(retry/2 + mathrand.N(retry)):
		case <-ctx.Done():
			return ctx.Err()
		case <-l.q.closed:
			return outbox.ErrClosed
		}
	}
}

// touch acquires or renews. The time counts from before the command was sent:
// the server's begins later, so the lease ends here before it ends there.
func (l *lease) touch(ctx context.Context, s redisscript.Script) (ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.q.opts.Timeout)
	defer cancel()
	until := time.Now().Add(l.q.opts.LeaseLife)
	reply, err := l.q.leasing.Run(ctx, s, l.leaseKey(), l.token, l.q.opts.LeaseLife.Milliseconds())
	if err != nil {
		return false, err
	}
	ours = reply == int64(1)
	if ours {
		l.until.Store(&until)
	}
	return ours, nil
}

// keep renews the lease until it ends.
func (l *lease) keep() {
	life := l.q.opts.LeaseLife
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next := time.NewTimer(life / 3)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-l.lost:
			return
		}
		until := *l.until.Load()
		attempt, cancel := context.WithDeadline(ctx, until)
		ours, err := l.touch(attempt, renewScript)
		cancel()
		switch {
		case err == nil && !ours, err != nil && !time.Now().Before(until):
			l.end()
			return
		case err != nil:
			next.Reset(min(life/10, time.Until(until)))
		default:
			next.Reset(life / 3)
		}
	}
}

// end ends the lease here.
func (l *lease) end() { l.once.Do(func() { close(l.lost) }) }

// giveUp ends it at the server too. Where that fails it expires.
func (l *lease) giveUp() {
	ctx, cancel := context.WithTimeout(context.Background(), l.q.opts.Timeout)
	defer cancel()
	_, _ = l.q.leasing.Run(ctx, releaseScript, l.leaseKey(), l.token)
}

// Lost implements [outbox.Lease].
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Release implements [outbox.Lease].
func (l *lease) Release() {
	l.end()
	l.mu.Lock() // until what is under way has ended
	defer l.mu.Unlock()
	l.q.mu.Lock()
	_, held := l.q.leases[l]
	delete(l.q.leases, l)
	l.q.mu.Unlock()
	if held {
		l.giveUp()
		<-l.held
	}
}

// alive says why the lease is of no use any more, if so.
func (l *lease) alive() error {
	if l.q.isClosed() {
		return outbox.ErrClosed
	}
	if !time.Now().Before(*l.until.Load()) {
		l.end() // this process was halted, and its timers are late
	}
	select {
	case <-l.lost:
		return outbox.ErrLost
	default:
		return nil
	}
}
