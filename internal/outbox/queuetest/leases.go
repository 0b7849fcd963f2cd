package queuetest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

var leases = []test{
	{name: "a partition has one consumer", run: oneConsumer},
	{name: "of many that wait each gets its turn", run: turns},
	{name: "a lease that has ended can do nothing", run: endedLease},
	{name: "release ends what waits for a batch", run: releaseEnds},
	{name: "a context ends the wait for a lease and for a batch", run: contextEnds},
}

func oneConsumer(e *env) {
	l := e.lease(0)
	for p := 1; p < outbox.Partitions; p++ {
		defer e.lease(p).Release() // they do not exclude each other
	}
	ctx, cancel := context.WithTimeout(e.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := e.q.Lease(ctx, e.partner, 0); !errors.Is(err, context.DeadlineExceeded) {
		e.Fatalf("a second Lease: %v", err)
	}
	l.Release()
	l.Release()
	e.lease(0).Release()
}

func turns(e *env) {
	var holding atomic.Int32
	ended := make(chan error, 8)
	for range 8 {
		go func() {
			l, err := e.q.Lease(e.Context(), e.partner, 0)
			if err == nil {
				if holding.Add(1) != 1 {
					err = errors.New("two hold it at once")
				}
				holding.Add(-1)
				l.Release()
			}
			ended <- err
		}()
	}
	for range 8 {
		if err := within(e, "a turn", func() error { return <-ended }); err != nil {
			e.Error(err)
		}
	}
}

func endedLease(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 2)
	e.append(rs...)
	old := e.lease(0)
	e.same(e.batch(old, soon), rs)
	select {
	case <-old.Lost():
		e.Error("a lease that is held is lost")
	default:
	}
	old.Release()
	within(e, "Lost", func() struct{} { return <-old.Lost() })
	now := e.lease(0)
	e.same(e.batch(now, soon), rs)
	if err := old.Done(e.Context(), nil); !errors.Is(err, outbox.ErrLost) {
		e.Errorf("Done: %v", err)
	}
	if _, err := old.Batch(e.Context(), soon); !errors.Is(err, outbox.ErrLost) {
		e.Errorf("Batch: %v", err)
	}
	old.Release() // which is not the new one's
	e.same(e.batch(now, soon), rs)
	e.done(now, nil)
}

func releaseEnds(e *env) {
	l := e.lease(0)
	waits := make(chan error, 1)
	go func() { _, err := l.Batch(e.Context(), soon); waits <- err }()
	l.Release()
	if err := within(e, "Batch", func() error { return <-waits }); !errors.Is(err, outbox.ErrLost) {
		e.Errorf("Batch: %v", err)
	}
}

func contextEnds(e *env) {
	l := e.lease(0)
	ctx, cancel := context.WithCancel(e.Context())
	waits := make(chan error, 2)
	go func() { _, err := l.Batch(ctx, soon); waits <- err }()
	go func() { _, err := e.q.Lease(ctx, e.partner, 0); waits <- err }()
	cancel()
	for range 2 {
		if err := within(e, "a wait", func() error { return <-waits }); !errors.Is(err, context.Canceled) {
			e.Errorf("what waited: %v", err)
		}
	}
}
