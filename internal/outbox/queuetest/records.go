package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

var records = []test{
	{name: "a record is returned as it was appended", run: roundTrip},
	{name: "the records of a subject stay in order", run: ordered},
	{name: "a subject's records are in its partition alone", run: partitioned},
	{name: "what was appended is there when the queue is opened again", run: durable},
	{name: "partners are apart", run: partners},
	{name: "what waits is counted", run: counted},
	{name: "nothing to append is no error", run: appendsNothing},
	{name: "names and numbers that cannot be are refused", run: refusesNames},
	{name: "many producers and consumers lose and repeat nothing", run: many},
	{name: "a context that has ended stops every call", run: cancelled},
	{name: "a closed queue says so", run: closed},
}

func roundTrip(e *env) {
	all := string(func() (b []byte) {
		for i := range 256 {
			b = append(b, byte(i))
		}
		return b
	}())
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 8*3600))
	rs := []outbox.Record{
		{Key: "k", Body: []byte("1"), At: at},
		{Key: "any bytes", Release: []byte(all), Body: []byte(all + "\r\n$-1\r\n"), At: at},
		{Key: strings.Repeat("k", 500), Release: bytes.Repeat([]byte("r"), 5000), Body: bytes.Repeat([]byte("b"), 300_000), At: at},
	}
	e.append(rs...)
	l := e.lease(outbox.Partition(""))
	got := e.batch(l, soon)
	e.same(got, rs)
	if !got[0].At.Equal(at) {
		e.Errorf("accepted at %v, want %v", got[0].At, at)
	}
}

func ordered(e *env) {
	s := subjectIn(3, 0)
	var want []outbox.Record
	for i := range 10 {
		rs := append(some(s, "k", 10*i, 10), some(subjectIn(i%2, 0), "other", i, 1)...)
		e.append(rs...)
		want = append(want, rs[:10]...)
	}
	l := e.lease(3)
	for i := 0; i < 100; i += 25 {
		e.same(e.batch(l, outbox.Limit{Count: 25, Bytes: 1 << 20, Age: time.Hour}), want[i:i+25])
		e.done(l, nil)
	}
	e.nothing(l, soon)
}

func partitioned(e *env) {
	var rs []outbox.Record
	want := make([][]outbox.Record, outbox.Partitions)
	for i := range 64 {
		r := some(fmt.Sprint("subject ", i), "k", i, 1)[0]
		p := outbox.Partition(r.Subject)
		rs, want[p] = append(rs, r), append(want[p], r)
	}
	e.append(rs...)
	for p := range want {
		e.same(e.batch(e.lease(p), soon), want[p])
	}
}

func durable(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 5)
	e.append(rs...)
	before := e.stats()
	e.reopen()
	after := e.stats()
	if after.Records != 5 || after.Bytes != before.Bytes || !after.Oldest.Equal(before.Oldest) {
		e.Errorf("opened again with %+v, closed with %+v", after, before)
	}
	e.same(e.batch(e.lease(0), soon), rs)
}

func partners(e *env) {
	partner := e.partner
	for i := range 20 {
		e.partner = fmt.Sprint(partner, i%10)
		e.append(some(subjectIn(0, 0), e.partner, i/10, 1)...)
	}
	e.partner = partner // the beginning of all the others' names
	if s := e.stats(); s != (outbox.Stats{}) {
		e.Errorf("it has %+v", s)
	}
	for i := range 10 {
		e.partner = fmt.Sprint(partner, i)
		l := e.lease(0)
		got := e.batch(l, soon)
		if len(got) != 2 || got[0].Key != e.partner+"-0" || got[1].Key != e.partner+"-1" {
			e.Fatalf("%s has %q", e.partner, keys(got))
		}
		e.done(l, map[int]outbox.Verdict{0: {Status: 400, At: time.Now()}})
	}
	for i := range 10 {
		e.partner = fmt.Sprint(partner, i)
		if list := e.dead("", 10); len(list) != 1 || list[0].Key != e.partner+"-0" {
			e.Errorf("%s: dead are %+v", e.partner, list)
		}
	}
}

func counted(e *env) {
	if s := e.stats(); s != (outbox.Stats{}) {
		e.Errorf("an empty queue has %+v", s)
	}
	begun := time.Now().Add(-time.Hour)
	a, b := some(subjectIn(1, 0), "a", 0, 3), some(subjectIn(2, 0), "b", 0, 2)
	b[0].At = begun
	e.append(a...)
	e.append(b...)
	check := func(when string, records int64, bytes int64, oldest time.Time, dead int64) {
		e.Helper()
		s := e.stats()
		if s.Records != records || s.Bytes != bytes || !s.Oldest.Equal(oldest) || s.Dead != dead || s.Forgotten != 0 {
			e.Errorf("%s: %+v, want %d records of %d bytes, the oldest of %v, %d dead", when, s, records, bytes, oldest, dead)
		}
	}
	check("appended", 5, size(a)+size(b), begun, 0)
	l := e.lease(2)
	e.batch(l, soon)
	check("under way", 5, size(a)+size(b), begun, 0)
	e.done(l, map[int]outbox.Verdict{1: {Status: 422, At: begun}})
	check("done", 3, size(a), a[0].At, 1)
	m := e.lease(1)
	e.batch(m, soon)
	e.done(m, nil)
	check("all done", 0, 0, time.Time{}, 1)
}

func appendsNothing(e *env) {
	if n, err := e.q.Append(e.Context(), e.partner, outbox.Bound{}, nil); n != 0 || err != nil {
		e.Errorf("Append: %d, %v", n, err)
	}
}

func refusesNames(e *env) {
	for _, name := range []string{"", "a{b", "a}b", "a\x00b", strings.Repeat("x", 257)} {
		if _, err := e.q.Append(e.Context(), name, roomy, some("", "k", 0, 1)); err == nil {
			e.Errorf("Append to %q", name)
		}
		if _, err := e.q.Lease(e.Context(), name, 0); err == nil {
			e.Errorf("Lease of %q", name)
		}
		if _, err := e.q.Stats(e.Context(), name); err == nil {
			e.Errorf("Stats of %q", name)
		}
		if _, err := e.q.Dead(e.Context(), name, "", 1); err == nil {
			e.Errorf("Dead of %q", name)
		}
		if _, err := e.q.Replay(e.Context(), name); err == nil {
			e.Errorf("Replay of %q", name)
		}
	}
	for _, p := range []int{-1, outbox.Partitions} {
		if _, err := e.q.Lease(e.Context(), e.partner, p); err == nil {
			e.Errorf("Lease of partition %d", p)
		}
	}
}

// Each producer has a subject of its own; each partition has a consumer.
func many(e *env) {
	const producers, each = 24, 50
	ctx, cancel := context.WithTimeout(e.Context(), patience)
	defer cancel()
	var wg, consumers sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := 0; i < each; i += 5 {
				if _, err := e.q.Append(ctx, e.partner, roomy, some(fmt.Sprint("producer ", p), fmt.Sprint(p), i, 5)); err != nil {
					e.Errorf("Append: %v", err)
				}
			}
		})
	}
	var mu sync.Mutex
	next := make(map[string]int)
	total := 0
	all := make(chan struct{})
	for p := range outbox.Partitions {
		consumers.Go(func() {
			l, err := e.q.Lease(ctx, e.partner, p)
			if err != nil {
				e.Errorf("Lease: %v", err)
				return
			}
			defer l.Release()
			consumer, stop := context.WithCancel(ctx)
			defer stop()
			go func() { <-all; stop() }()
			for {
				rs, err := l.Batch(consumer, outbox.Limit{Count: 7, Bytes: 1 << 20, Age: time.Millisecond})
				if consumer.Err() != nil {
					return
				}
				if err == nil {
					err = l.Done(ctx, nil)
				}
				if err != nil {
					e.Errorf("consuming: %v", err)
					return
				}
				mu.Lock()
				for _, r := range rs {
					if want := fmt.Sprintf("-%d", next[r.Subject]); !strings.HasSuffix(r.Key, want) {
						e.Errorf("%s came as number %d of its subject", r.Key, next[r.Subject])
					}
					next[r.Subject]++
				}
				if total += len(rs); total == producers*each {
					close(all)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	select {
	case <-all:
	case <-ctx.Done():
		mu.Lock()
		e.Errorf("only %d of %d came", total, producers*each)
		mu.Unlock()
		cancel()
	}
	if !e.Failed() {
		consumers.Wait()
	}
	if s := e.stats(); s.Records != 0 || s.Bytes != 0 {
		e.Errorf("left are %+v", s)
	}
}

// calls are all of them, on a queue and on a lease of it.
func calls(e *env, ctx context.Context, q outbox.Queue, l outbox.Lease) map[string]error {
	errs := make(map[string]error)
	_, errs["Append"] = q.Append(ctx, e.partner, roomy, some("", "late", 0, 1))
	_, errs["Lease"] = q.Lease(ctx, e.partner, 5)
	_, errs["Stats"] = q.Stats(ctx, e.partner)
	_, errs["Dead"] = q.Dead(ctx, e.partner, "", 1)
	_, errs["Replay"] = q.Replay(ctx, e.partner)
	_, errs["Batch"] = l.Batch(ctx, soon)
	errs["Done"] = l.Done(ctx, nil)
	return errs
}

func cancelled(e *env) {
	e.append(some(subjectIn(0, 0), "k", 0, 1)...)
	l := e.lease(0)
	e.batch(l, soon)
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	for call, err := range within(e, "a call", func() map[string]error { return calls(e, ctx, e.q, l) }) {
		if !errors.Is(err, context.Canceled) {
			e.Errorf("%s: %v", call, err)
		}
	}
	if s := e.stats(); s.Records != 1 {
		e.Errorf("there are %d records", s.Records)
	}
}

func closed(e *env) {
	e.append(some(subjectIn(0, 0), "k", 0, 1)...)
	l, held := e.lease(0), e.lease(1)
	e.batch(l, soon)
	waits := make(chan error, 2)
	go func() { _, err := held.Batch(e.Context(), soon); waits <- err }()
	go func() { _, err := e.q.Lease(e.Context(), e.partner, 0); waits <- err }()
	if err := within(e, "Close", e.q.Close); err != nil {
		e.Errorf("Close: %v", err)
	}
	for range 2 {
		if err := within(e, "a wait", func() error { return <-waits }); !errors.Is(err, outbox.ErrClosed) {
			e.Errorf("what waited: %v", err)
		}
	}
	for _, l := range []outbox.Lease{l, held} {
		within(e, "a lease", func() struct{} { return <-l.Lost() })
		l.Release()
	}
	for call, err := range calls(e, e.Context(), e.q, l) {
		if !errors.Is(err, outbox.ErrClosed) {
			e.Errorf("%s: %v", call, err)
		}
	}
	if err := e.q.Close(); err != nil {
		e.Errorf("closing again: %v", err)
	}
	e.q = e.place.Open(e.T)
	if got := e.batch(e.lease(0), soon); len(got) != 1 || got[0].Key != "k-0" {
		e.Errorf("left are %q", keys(got))
	}
}
