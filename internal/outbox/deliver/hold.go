package deliver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// errAside marks an attempt that says nothing about the partner's health.
var errAside = errors.New("nothing was learned about the partner")

// errFailed marks one that says that it is not well.
var errFailed = errors.New("the partner does not take it")

// hold is what holds back all partitions of one partner: its breaker, the
// Retry-After that it asked for, and the rates.
type hold struct {
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	requests *rate.Limiter
	records  *rate.Limiter

	mu      sync.Mutex
	pause   time.Time     // no POST before this, since the partner asked for it
	opens   time.Time     // when an open breaker lets one try
	changed chan struct{} // closed, and made anew, when waiting may be over
}

func newHold(p *Partner, o Observer) *hold {
	h := &hold{changed: make(chan struct{}), requests: limiter(p.Requests), records: limiter(p.Records)}
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        p.Name,
		Timeout:     p.Breaker.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= p.Breaker.Failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errAside) },
		OnStateChange: func(_ string, _, to gobreaker.State) { // the breaker's lock is held
			if to == gobreaker.StateOpen {
				h.mu.Lock()
				h.opens = time.Now().Add(p.Breaker.Open + time.Millisecond) // which it counts from a moment ago
				h.mu.Unlock()
			}
			o.BreakerChanged(to.String())
		},
	})
	return h
}

func limiter(r Rate) *rate.Limiter {
	if r.PerSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
}

// enter waits until a POST may be made. Whoever enters must leave: with nil when
// the partner gave an answer that is its word, errFailed or errAside.
func (h *hold) enter(ctx context.Context) (leave func(error), err error) {
	for {
		wait, changed := h.wait()
		if wait == 0 {
			if done, err := h.breaker.Allow(); err == nil {
				return func(err error) { done(err); h.wake() }, nil
			}
			// The breaker opened just now, or another tries it, and wakes us.
			if wait, _ = h.wait(); wait == 0 {
				wait = time.Minute
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// wait returns for how long no partition may post, and what is closed when that
// may have changed.
func (h *hold) wait() (time.Duration, <-chan struct{}) {
	open := h.breaker.State() == gobreaker.StateOpen
	h.mu.Lock()
	defer h.mu.Unlock()
	until := h.pause
	if open && h.opens.After(until) {
		until = h.opens
	}
	return max(0, time.Until(until)), h.changed
}

// wake has all that wait look again.
func (h *hold) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

// pauseFor is what a Retry-After asks for, of all partitions.
func (h *hold) pauseFor(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.pause) {
		h.pause = until
	}
}

// spend waits for the rates: one request of n records.
func (h *hold) spend(ctx context.Context, n int) error {
	if err := h.requests.Wait(ctx); err != nil {
		return err
	}
	if h.records.Limit() == rate.Inf {
		return nil
	}
	for burst := h.records.Burst(); n > 0; n -= burst {
		if err := h.records.WaitN(ctx, min(n, burst)); err != nil {
			return err
		}
	}
	return nil
}
