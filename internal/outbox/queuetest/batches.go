package queuetest

import (
	"context"
	"errors"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

var batches = []test{
	{name: "a batch is complete by count", run: byCount},
	{name: "a batch is complete by bytes", run: byBytes},
	{name: "a batch is complete by the age of its oldest record", run: byAge},
	{name: "a batch waits for its limit", run: waits},
	{name: "records of a distant clock wait no longer than the age", run: fromTheFuture},
	{name: "a backlog fills batches before their age counts", run: backlog},
	{name: "a batch that is not done comes again", run: again},
	{name: "a batch is the same for the next consumer", run: sameForTheNext},
	{name: "a batch is the same when the queue is opened again", run: sameReopened},
	{name: "a batch has nothing that was dropped while it was gathered", run: droppedMeanwhile},
	{name: "done needs a batch", run: doneNeedsABatch},
}

func byCount(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 5)
	e.append(rs...)
	l := e.lease(0)
	limit := outbox.Limit{Count: 2, Bytes: 1 << 20, Age: time.Hour}
	e.same(e.batch(l, limit), rs[:2])
	e.done(l, nil)
	e.same(e.batch(l, limit), rs[2:4])
	e.done(l, nil)
	e.nothing(l, limit)
	more := some(subjectIn(0, 1), "more", 0, 1)
	e.append(more...)
	e.same(e.batch(l, limit), append(rs[4:5:5], more...))
}

func byBytes(e *env) {
	var rs []outbox.Record
	for i, n := range []int{4, 6, 4, 5, 2, 50, 1, 11, 9} {
		r := some(subjectIn(0, 0), "k", i, 1)[0]
		r.Body = make([]byte, n)
		rs = append(rs, r)
	}
	e.append(rs...)
	l := e.lease(0)
	limit := outbox.Limit{Count: 100, Bytes: 10, Age: time.Hour}
	for _, cut := range [][2]int{{0, 2}, {2, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}} {
		e.same(e.batch(l, limit), rs[cut[0]:cut[1]])
		e.done(l, nil)
	}
	e.nothing(l, limit)
}

func byAge(e *env) {
	old := some(subjectIn(0, 0), "old", 0, 2)
	old[0].At = time.Now().Add(-time.Hour)
	e.append(old...)
	l := e.lease(0)
	e.same(e.batch(l, outbox.Limit{Count: 100, Bytes: 1 << 20, Age: time.Minute}), old)
	e.done(l, nil)

	fresh := some(subjectIn(0, 0), "fresh", 0, 1)
	e.append(fresh...)
	const age = 40 * time.Millisecond
	got := e.batch(l, outbox.Limit{Count: 100, Bytes: 1 << 20, Age: age})
	if waited := time.Since(fresh[0].At); waited < age {
		e.Errorf("came after %v", waited)
	}
	e.same(got, fresh)
}

// What waits is woken by each of what completes it, and by nothing less.
func waits(e *env) {
	limit := outbox.Limit{Count: 3, Bytes: 1 << 20, Age: time.Hour}
	l := e.lease(0)
	got := make(chan []outbox.Record, 1)
	go func() {
		rs, err := l.Batch(e.Context(), limit)
		if err != nil {
			e.Errorf("Batch: %v", err)
		}
		got <- rs
	}()
	rs := some(subjectIn(0, 0), "k", 0, 3)
	for i := range rs {
		select {
		case early := <-got:
			e.Fatalf("with %d records it was %q", i, keys(early))
		case <-time.After(10 * time.Millisecond):
		}
		e.append(some(subjectIn(1, 0), "other", i, 4)...)
		e.append(rs[i])
	}
	e.same(within(e, "Batch", func() []outbox.Record { return <-got }), rs)
}

func fromTheFuture(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 1)
	rs[0].At = time.Now().Add(24 * time.Hour)
	e.append(rs...)
	e.same(e.batch(e.lease(0), outbox.Limit{Count: 9, Bytes: 99, Age: 20 * time.Millisecond}), rs)
}

func backlog(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 230)
	for i := range rs {
		rs[i].At = rs[i].At.Add(-time.Hour)
	}
	e.append(rs...)
	l := e.lease(0)
	for _, cut := range [][2]int{{0, 100}, {100, 200}, {200, 230}} {
		e.same(e.batch(l, outbox.Limit{Count: 100, Bytes: 1 << 20, Age: time.Second}), rs[cut[0]:cut[1]])
		e.done(l, nil)
	}
}

func again(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 5)
	e.append(rs[:3]...)
	l := e.lease(0)
	e.same(e.batch(l, soon), rs[:3])
	e.append(rs[3:]...)
	for _, limit := range []outbox.Limit{soon, {Count: 1, Bytes: 1, Age: time.Hour}} {
		e.same(e.batch(l, limit), rs[:3])
	}
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	if err := l.Done(ctx, nil); !errors.Is(err, context.Canceled) {
		e.Fatalf("Done: %v", err)
	}
	e.same(e.batch(l, soon), rs[:3])
	e.done(l, nil)
	e.same(e.batch(l, soon), rs[3:])
}

func sameForTheNext(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 5)
	e.append(rs[:3]...)
	l := e.lease(0)
	e.same(e.batch(l, outbox.Limit{Count: 2, Bytes: 1 << 20}), rs[:2])
	for range 3 {
		l.Release()
		e.append(some(subjectIn(0, 1), "newer", 0, 3)...)
		l = e.lease(0)
		e.same(e.batch(l, soon), rs[:2])
	}
	e.done(l, nil)
	l.Release()
	l = e.lease(0)
	if got := e.batch(l, soon); len(got) != 10 || got[0].Key != "k-2" {
		e.Errorf("then came %q", keys(got))
	}
}

func sameReopened(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 3)
	e.append(rs...)
	e.same(e.batch(e.lease(0), outbox.Limit{Count: 2, Bytes: 1 << 20}), rs[:2])
	e.reopen()
	e.append(some(subjectIn(0, 0), "newer", 0, 3)...)
	l := e.lease(0)
	e.same(e.batch(l, soon), rs[:2])
	e.done(l, nil)
	e.reopen()
	if got := e.batch(e.lease(0), soon); len(got) != 4 || got[0].Key != "k-2" {
		e.Errorf("then came %q", keys(got))
	}
}

func doneNeedsABatch(e *env) {
	e.append(some(subjectIn(0, 0), "k", 0, 2)...)
	l := e.lease(0)
	if err := l.Done(e.Context(), nil); err == nil {
		e.Error("Done before a Batch")
	}
	e.batch(l, soon)
	for _, i := range []int{-1, 2} {
		if err := l.Done(e.Context(), map[int]outbox.Verdict{i: {Status: 400}}); err == nil {
			e.Errorf("record %d of 2 died", i)
		}
	}
	if s := e.stats(); s.Records != 2 || s.Dead != 0 {
		e.Errorf("after all that: %+v", s)
	}
	e.done(l, nil)
	if err := l.Done(e.Context(), nil); err == nil {
		e.Error("Done after Done")
	}
}

// What is dropped between the look at the records and the taking of them is in
// neither: the batch that is returned is the one that comes again.
func droppedMeanwhile(e *env) {
	l := e.lease(0)
	for round := range 10 {
		got := make(chan []outbox.Record, 1)
		go func() {
			rs, err := l.Batch(e.Context(), outbox.Limit{Count: 5, Bytes: 1 << 20, Age: time.Hour})
			if err != nil {
				e.Errorf("Batch: %v", err)
			}
			got <- rs
		}()
		rs := some(subjectIn(0, 0), "k", 0, 8)
		e.append(rs[:2]...)
		<-time.After(time.Duration(round) * time.Millisecond) // so that they are seen, or not
		bound := boundOf(rs[0], 3)
		bound.DropOldest = true
		if n, err := e.q.Append(e.Context(), e.partner, bound, rs[2:5]); n != 2 || err != nil {
			e.Fatalf("Append: %d dropped, %v", n, err)
		}
		e.append(rs[5:]...)
		first := within(e, "Batch", func() []outbox.Record { return <-got })
		if len(first) == 0 || first[0].Key != "k-2" {
			e.Fatalf("round %d: the batch is %q", round, keys(first))
		}
		e.same(e.batch(l, soon), first)
		for done := false; !done; {
			e.done(l, nil)
			if done = e.stats().Records == 0; !done {
				e.batch(l, soon)
			}
		}
	}
}
