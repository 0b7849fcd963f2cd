// Package queuetest is the conformance suite of outbox queues: what
// [outbox.Queue] promises, and what a delivery relies on without saying. Every
// engine runs it in tests of its own.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Options are what a test asks of the queue that it opens.
type Options struct {
	// DeadLetters is how many dead letters of one partition may be kept; 0: as
	// many as the engine keeps by itself.
	DeadLetters int
}

// Place is where a queue is kept.
type Place interface {
	// Open opens the queue that is kept there. What was opened there before is
	// closed by then.
	Open(t testing.TB) outbox.Queue
}

// Run runs the suite. place is called once for each of the suite's tests, and
// returns a place that is empty or shared with other tests; the suite closes
// what it opens.
func Run(t *testing.T, place func(t *testing.T, o Options) Place) {
	for _, group := range [][]test{records, batches, bounds, letters, leases} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				p := place(t, test.options)
				q := p.Open(t)
				e := &env{T: t, place: p, q: q, partner: "p" + strings.ReplaceAll(t.Name(), "/", ":")}
				t.Cleanup(func() { e.q.Close() })
				test.run(e)
			})
		}
	}
}

type test struct {
	name    string
	run     func(*env)
	options Options
}

// env is what one test works on.
type env struct {
	*testing.T
	place   Place
	q       outbox.Queue
	partner string
}

// Limits and bounds that tests do not care about.
var (
	roomy = outbox.Bound{Bytes: 1 << 30}
	soon  = outbox.Limit{Count: 1000, Bytes: 1 << 20} // no age: what there is
)

// patience is how long a test waits for what must happen. Nothing is decided by
// how fast it does.
const patience = 20 * time.Second

// reopen closes the queue and opens it anew.
func (e *env) reopen() {
	e.Helper()
	if err := e.q.Close(); err != nil {
		e.Fatal(err)
	}
	e.q = e.place.Open(e.T)
}

// subjectIn returns the nth subject of a partition.
func subjectIn(partition, n int) string {
	for i := 0; ; i++ {
		s := fmt.Sprintf("subject-%015d", i)
		if outbox.Partition(s) == partition {
			if n == 0 {
				return s
			}
			n--
		}
	}
}

// some makes records of one subject whose keys are KEY-FROM and so on.
func some(subject, key string, from, n int) []outbox.Record {
	rs := make([]outbox.Record, n)
	for i := range rs {
		rs[i] = outbox.Record{
			Key: fmt.Sprintf("%s-%d", key, from+i), Subject: subject,
			Release: []byte("release"), Body: fmt.Appendf(nil, `{"n":%d}`, from+i), At: time.Now(),
		}
	}
	return rs
}

func (e *env) append(rs ...outbox.Record) {
	e.Helper()
	if dropped, err := e.q.Append(e.Context(), e.partner, roomy, rs); err != nil || dropped != 0 {
		e.Fatalf("Append: %d dropped, %v", dropped, err)
	}
}

func (e *env) lease(partition int) outbox.Lease {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), patience)
	defer cancel()
	l, err := e.q.Lease(ctx, e.partner, partition)
	if err != nil {
		e.Fatalf("Lease: %v", err)
	}
	return l
}

func (e *env) batch(l outbox.Lease, limit outbox.Limit) []outbox.Record {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), patience)
	defer cancel()
	rs, err := l.Batch(ctx, limit)
	if err != nil {
		e.Fatalf("Batch: %v", err)
	}
	if len(rs) == 0 {
		e.Fatal("Batch returned no record")
	}
	return rs
}

func (e *env) done(l outbox.Lease, dead map[int]outbox.Verdict) {
	e.Helper()
	if err := l.Done(e.Context(), dead); err != nil {
		e.Fatalf("Done: %v", err)
	}
}

func (e *env) stats() outbox.Stats {
	e.Helper()
	s, err := e.q.Stats(e.Context(), e.partner)
	if err != nil {
		e.Fatalf("Stats: %v", err)
	}
	return s
}

func (e *env) dead(after string, limit int) []outbox.DeadLetter {
	e.Helper()
	list, err := e.q.Dead(e.Context(), e.partner, after, limit)
	if err != nil {
		e.Fatalf("Dead: %v", err)
	}
	return list
}

// nothing checks that a partition has no batch to give. It can only fail where
// there is one.
func (e *env) nothing(l outbox.Lease, limit outbox.Limit) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 30*time.Millisecond)
	defer cancel()
	if rs, err := l.Batch(ctx, limit); !errors.Is(err, context.DeadlineExceeded) {
		e.Fatalf("Batch: %q, %v, want to wait", keys(rs), err)
	}
}

// same checks that records are what was appended, in order.
func (e *env) same(got, want []outbox.Record) {
	e.Helper()
	if !reflect.DeepEqual(keys(got), keys(want)) {
		e.Fatalf("got  %q\nwant %q", keys(got), keys(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Subject != w.Subject || string(g.Release) != string(w.Release) || string(g.Body) != string(w.Body) || !g.At.Equal(w.At) {
			e.Fatalf("record %d: got %+v, want %+v", i, g, w)
		}
	}
}

func keys(rs []outbox.Record) []string {
	ks := make([]string, len(rs))
	for i := range rs {
		ks[i] = rs[i].Key
	}
	return ks
}

func size(rs []outbox.Record) (n int64) {
	for i := range rs {
		n += int64(rs[i].Size())
	}
	return n
}

// within returns what f returns, and fails the test when it takes too long.
func within[T any](e *env, what string, f func() T) T {
	e.Helper()
	got := make(chan T, 1)
	go func() { got <- f() }()
	select {
	case v := <-got:
		return v
	case <-time.After(patience):
		e.Fatalf("%s did not end", what)
		panic("unreachable")
	}
}
