package queuetest

import (
	"errors"
	"reflect"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

var bounds = []test{
	{name: "a full queue refuses a request as a whole", run: refuses},
	{name: "a full queue has room again when a batch is done", run: roomAgain},
	{name: "a full queue drops the oldest", run: dropsOldest},
	{name: "what can never fit is refused and drops nothing", run: neverFits},
	{name: "what is dropped leaves the batch under way", run: dropsUnderWay},
	{name: "a batch all of which was dropped is no batch any more", run: dropsAll},
	{name: "no bound is no room", run: noBound},
}

// boundOf has room for as many records like r in each partition.
func boundOf(r outbox.Record, n int) outbox.Bound {
	return outbox.Bound{Bytes: int64(r.Size()*n) * outbox.Partitions}
}

func refuses(e *env) {
	full := some(subjectIn(0, 0), "k", 0, 3)
	bound := boundOf(full[0], 3)
	if _, err := e.q.Append(e.Context(), e.partner, bound, full); err != nil {
		e.Fatal(err)
	}
	before := e.stats()
	// Whichever partition is written first, nothing of this stays.
	for range 4 {
		mixed := some(subjectIn(0, 0), "x", 0, 1)
		for p := range outbox.Partitions {
			mixed = append(mixed, some(subjectIn(p, 1), "x", 0, 1)...)
		}
		if n, err := e.q.Append(e.Context(), e.partner, bound, mixed); !errors.Is(err, outbox.ErrFull) || n != 0 {
			e.Errorf("Append: %d dropped, %v", n, err)
		}
	}
	if after := e.stats(); !after.Oldest.Equal(before.Oldest) || after.Records != before.Records || after.Bytes != before.Bytes {
		e.Errorf("refused, and left %+v, before it was %+v", after, before)
	}
	e.same(e.batch(e.lease(0), soon), full)
	// Another partition has its own share.
	if _, err := e.q.Append(e.Context(), e.partner, bound, some(subjectIn(1, 0), "k", 0, 3)); err != nil {
		e.Errorf("Append to another partition: %v", err)
	}
}

func roomAgain(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 6)
	bound := boundOf(rs[0], 3)
	l := e.lease(0)
	for i := 0; i < 6; i += 3 {
		if _, err := e.q.Append(e.Context(), e.partner, bound, rs[i:i+3]); err != nil {
			e.Fatal(err)
		}
		e.same(e.batch(l, soon), rs[i:i+3])
		if _, err := e.q.Append(e.Context(), e.partner, bound, rs[:1]); !errors.Is(err, outbox.ErrFull) {
			e.Errorf("while the batch is under way: %v", err)
		}
		e.done(l, nil)
	}
}

func dropsOldest(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 9)
	other := some(subjectIn(1, 0), "other", 0, 2)
	bound := boundOf(rs[0], 4)
	bound.DropOldest = true
	e.append(other...)
	total := 0
	for i := 0; i < 9; i += 3 {
		n, err := e.q.Append(e.Context(), e.partner, bound, rs[i:i+3])
		if err != nil {
			e.Fatal(err)
		}
		total += n
	}
	if s := e.stats(); total != 5 || s.Records != 6 || s.Bytes != size(rs[5:])+size(other) {
		e.Errorf("%d were dropped, left are %+v", total, s)
	}
	e.same(e.batch(e.lease(0), soon), rs[5:])
	e.same(e.batch(e.lease(1), soon), other)
}

func neverFits(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 2)
	e.append(rs...)
	bound := boundOf(rs[0], 3)
	for _, drop := range []bool{false, true} {
		bound.DropOldest = drop
		if n, err := e.q.Append(e.Context(), e.partner, bound, some(subjectIn(0, 0), "x", 0, 4)); !errors.Is(err, outbox.ErrFull) || n != 0 {
			e.Errorf("Append, dropping %t: %d dropped, %v", drop, n, err)
		}
	}
	e.same(e.batch(e.lease(0), soon), rs)
}

func dropsUnderWay(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 5)
	bound := boundOf(rs[0], 3)
	bound.DropOldest = true
	e.append(rs[:3]...)
	l := e.lease(0)
	e.same(e.batch(l, soon), rs[:3])
	if n, err := e.q.Append(e.Context(), e.partner, bound, rs[3:]); n != 2 || err != nil {
		e.Fatalf("Append: %d dropped, %v", n, err)
	}
	e.done(l, map[int]outbox.Verdict{0: {Status: 400}, 2: {Status: 410, At: time.Unix(1e9, 0)}})
	// What was dropped is neither there nor dead.
	if list := e.dead("", 10); len(list) != 1 || list[0].Key != "k-2" || list[0].Status != 410 {
		e.Errorf("dead are %+v", list)
	}
	if s := e.stats(); s.Records != 2 || s.Bytes != size(rs[3:]) || s.Dead != 1 {
		e.Errorf("left are %+v", s)
	}
	e.same(e.batch(l, soon), rs[3:])
	e.append(some(subjectIn(0, 0), "n", 0, 1)...)
	if n, err := e.q.Append(e.Context(), e.partner, bound, some(subjectIn(0, 0), "o", 0, 1)); n != 1 || err != nil {
		e.Fatalf("Append: %d dropped, %v", n, err)
	}
	l.Release()
	l = e.lease(0)
	e.same(e.batch(l, soon), rs[4:])
	e.done(l, nil)
	if got := keys(e.batch(l, soon)); !reflect.DeepEqual(got, []string{"n-0", "o-0"}) {
		e.Errorf("then came %q", got)
	}
}

func dropsAll(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 6)
	bound := boundOf(rs[0], 2)
	bound.DropOldest = true
	e.append(rs[:2]...)
	l := e.lease(0)
	e.same(e.batch(l, soon), rs[:2])
	for i := 2; i < 6; i += 2 {
		if n, err := e.q.Append(e.Context(), e.partner, bound, rs[i:i+2]); n != 2 || err != nil {
			e.Fatalf("Append: %d dropped, %v", n, err)
		}
	}
	e.done(l, nil)
	e.same(e.batch(l, soon), rs[4:])
	if n, err := e.q.Append(e.Context(), e.partner, bound, rs[:2]); n != 2 || err != nil {
		e.Fatalf("Append: %d dropped, %v", n, err)
	}
	e.same(e.batch(l, soon), rs[:2])
}

func noBound(e *env) {
	for _, b := range []outbox.Bound{{}, {DropOldest: true}, {Bytes: -1}} {
		if _, err := e.q.Append(e.Context(), e.partner, b, some("", "k", 0, 1)); !errors.Is(err, outbox.ErrFull) {
			e.Errorf("%+v: %v", b, err)
		}
	}
	if s := e.stats(); s.Records != 0 {
		e.Errorf("left are %+v", s)
	}
}
