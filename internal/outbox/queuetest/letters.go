package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

var letters = []test{
	{name: "a dead letter is the record and its verdict", run: deadLetter},
	{name: "dead letters are listed in pages, oldest first", run: deadPages},
	{name: "a letter is replayed with its key, at the end", run: replays},
	{name: "all letters are replayed", run: replaysAll},
	{name: "a letter that is replayed wakes its consumer", run: replayWakes},
	{name: "letters are there when the queue is opened again", run: lettersStay},
	{name: "letters beyond the limit are forgotten, and counted", run: forgets, options: Options{DeadLetters: 3}},
}

// die appends records to their partitions and lets all of them die, one batch
// after the other.
func (e *env) die(rs ...outbox.Record) {
	e.Helper()
	for _, r := range rs {
		e.append(r)
		l := e.lease(outbox.Partition(r.Subject))
		e.batch(l, soon)
		e.done(l, map[int]outbox.Verdict{0: {Status: 400, At: time.Unix(1e9, 0)}})
		l.Release()
	}
}

func deadLetter(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 4)
	rs[2].Body = []byte("\x00\xff\r\n")
	e.append(rs...)
	l := e.lease(0)
	e.batch(l, soon)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	e.done(l, map[int]outbox.Verdict{0: {Status: 400, At: at}, 2: {Status: 599, At: at.Add(1)}})
	e.nothing(l, soon)
	list := e.dead("", 10)
	if len(list) != 2 {
		e.Fatalf("dead are %+v", list)
	}
	e.same([]outbox.Record{list[0].Record, list[1].Record}, []outbox.Record{rs[0], rs[2]})
	for i, want := range []outbox.Verdict{{Status: 400, At: at}, {Status: 599, At: at.Add(1)}} {
		if got := list[i].Verdict; got.Status != want.Status || !got.At.Equal(want.At) {
			e.Errorf("letter %d: %+v, want %+v", i, got, want)
		}
	}
	if s := e.stats(); s.Records != 0 || s.Dead != 2 {
		e.Errorf("stats %+v", s)
	}
}

func deadPages(e *env) {
	var want []string
	for i := range 13 {
		r := some(subjectIn(i*5%outbox.Partitions, i), "k", i, 1)
		e.die(r...)
		want = append(want, r[0].Key)
	}
	for _, limit := range []int{1, 3, 13, 100} {
		var got, ids []string
		for after := ""; ; {
			page := e.dead(after, limit)
			if len(page) == 0 {
				break
			}
			if len(page) > limit {
				e.Fatalf("a page of %d letters, limit %d", len(page), limit)
			}
			for _, l := range page {
				got, ids = append(got, l.Key), append(ids, l.ID)
			}
			after = page[len(page)-1].ID
		}
		slices.Sort(got) // by partitions' clocks, which may differ between servers
		sorted := slices.Clone(want)
		slices.Sort(sorted)
		if !slices.Equal(got, sorted) {
			e.Errorf("in pages of %d: %q", limit, got)
		}
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			e.Errorf("ids do not rise: %q", ids)
		}
	}
	if page := e.dead("", 0); len(page) != 0 {
		e.Errorf("a page of none has %d", len(page))
	}
	if _, err := e.q.Dead(e.Context(), e.partner, "no such id", 1); !errors.Is(err, outbox.ErrLetterID) {
		e.Error("behind an ID that cannot be there are letters")
	}
}

func replays(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 4)
	e.die(rs[:3]...)
	e.append(rs[3])
	list := e.dead("", 10)
	if n, err := e.q.Replay(e.Context(), e.partner, list[2].ID, "no such id", list[0].ID, list[0].ID); n != 2 || err != nil {
		e.Fatalf("Replay: %d, %v", n, err)
	}
	if n, err := e.q.Replay(e.Context(), e.partner, list[2].ID); n != 0 || err != nil {
		e.Errorf("Replay again: %d, %v", n, err)
	}
	left := e.dead("", 10)
	if len(left) != 1 || left[0].ID != list[1].ID {
		e.Errorf("left are %+v", left)
	}
	if s := e.stats(); s.Records != 3 || s.Dead != 1 || s.Bytes != size(rs)-int64(rs[1].Size()) {
		e.Errorf("stats %+v", s)
	}
	e.same(e.batch(e.lease(0), soon), []outbox.Record{rs[3], rs[2], rs[0]})
}

func replaysAll(e *env) {
	if n, err := e.q.Replay(e.Context(), e.partner); n != 0 || err != nil {
		e.Errorf("Replay of none: %d, %v", n, err)
	}
	const count = 600 // more than go in one portion
	rs := some(subjectIn(0, 0), "k", 0, count)
	e.append(rs...)
	l := e.lease(0)
	e.batch(l, soon)
	dead := make(map[int]outbox.Verdict)
	for i := range count {
		dead[i] = outbox.Verdict{Status: 400}
	}
	e.done(l, dead)
	e.die(some(subjectIn(5, 0), "other", 0, 1)...)
	if n, err := e.q.Replay(e.Context(), e.partner); n != count+1 || err != nil {
		e.Fatalf("Replay: %d, %v", n, err)
	}
	if s := e.stats(); s.Records != count+1 || s.Dead != 0 {
		e.Errorf("stats %+v", s)
	}
	e.same(e.batch(l, soon), rs)
	if got := e.batch(e.lease(5), soon); len(got) != 1 || got[0].Key != "other-0" {
		e.Errorf("in the other partition are %q", keys(got))
	}
}

func replayWakes(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 1)
	e.die(rs...)
	l := e.lease(0)
	got := make(chan []outbox.Record, 1)
	go func() {
		rs, err := l.Batch(e.Context(), outbox.Limit{Count: 1, Bytes: 1 << 20, Age: time.Hour})
		if err != nil {
			e.Errorf("Batch: %v", err)
		}
		got <- rs
	}()
	if n, err := e.q.Replay(e.Context(), e.partner); n != 1 || err != nil {
		e.Fatalf("Replay: %d, %v", n, err)
	}
	e.same(within(e, "Batch", func() []outbox.Record { return <-got }), rs)
}

func lettersStay(e *env) {
	rs := some(subjectIn(0, 0), "k", 0, 3)
	e.die(rs[:2]...)
	before := e.dead("", 10)
	e.reopen()
	after := e.dead("", 10)
	if len(after) != 2 || fmt.Sprint(before) != fmt.Sprint(after) {
		e.Errorf("before %+v\nafter  %+v", before, after)
	}
	e.die(rs[2])
	if list := e.dead(after[1].ID, 10); len(list) != 1 || list[0].Key != "k-2" {
		e.Errorf("behind them are %+v", list)
	}
}

func forgets(e *env) {
	e.die(some(subjectIn(0, 0), "k", 0, 5)...)
	e.reopen()
	list := e.dead("", 10)
	if s := e.stats(); len(list) != 3 || list[0].Key != "k-2" || s.Dead != 3 || s.Forgotten != 2 {
		e.Errorf("kept are %+v, %+v", list, s)
	}
}
