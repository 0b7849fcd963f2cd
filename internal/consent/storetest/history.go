package storetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

func seen(t *testing.T, s consent.Store) {
	id, other := subject(t, "u"), subject(t, "v")
	first := decide(t, id, consent.State{}, consent.Granted)
	first.IdempotencyKey = "key ;@\n键"
	prev := commit(t, s, first)
	second := decide(t, id, prev, consent.Denied)
	second.IdempotencyKey = "another"
	commit(t, s, second)
	for _, w := range []consent.Write{first, second} {
		e, ok, err := s.Seen(t.Context(), id, w.IdempotencyKey)
		if err != nil || !ok || !reflect.DeepEqual(e, w.Entry) {
			t.Errorf("Seen(%q) = %+v, %v, %v", w.IdempotencyKey, e, ok, err)
		}
	}
	for name, of := range map[string]consent.ID{"another subject's": other, "an unused": id} {
		key := first.IdempotencyKey
		if of == id {
			key = "unused"
		}
		if _, ok, err := s.Seen(t.Context(), of, key); ok || err != nil {
			t.Errorf("%s key was seen: %v, %v", name, ok, err)
		}
	}
}

// takenOnce: whoever asked Seen too early must not write the event again.
func takenOnce(t *testing.T, s consent.Store) {
	const writers = 8
	id := subject(t, "u")
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for {
				states, err := s.Load(t.Context(), []consent.ID{id})
				if err != nil {
					errs[i] = err
					return
				}
				w := decide(t, id, states[0], consent.Granted)
				w.IdempotencyKey = "k"
				if errs[i] = s.Commit(t.Context(), w); !errors.Is(errs[i], consent.ErrConflict) {
					return
				}
				if _, ok, err := s.Seen(t.Context(), id, "k"); ok || err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := len(ledger(t, s, id)); n != 1 {
		t.Errorf("the event was written %d times", n)
	}
}

// erasure is a write that cancels a subject, or erases a device without
// cancelling it.
func erasure(t *testing.T, id consent.ID, prev consent.State, tombstone bool) consent.Write {
	t.Helper()
	w := decide(t, id, prev, consent.Withdrawn)
	w.Next = consent.State{Version: w.Next.Version, Head: w.Next.Head, Tombstoned: tombstone}
	w.Erase = true
	return w
}

func erases(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	w := decide(t, id, consent.State{}, consent.Granted)
	w.Next.Links = []consent.ID{subject(t, "d")}
	w.Next.MinorUntil = start
	w.IdempotencyKey = "k"
	prev := commit(t, s, w)
	cancel := erasure(t, id, prev, true)
	commit(t, s, cancel)
	if got := load(t, s, id); !reflect.DeepEqual(got, cancel.Next) {
		t.Errorf("got %+v", got)
	}
	if n := len(ledger(t, s, id)); n != 2 {
		t.Errorf("%d entries are left, want 2", n)
	}
	if _, ok, err := s.Seen(t.Context(), id, "k"); !ok || err != nil {
		t.Errorf("the idempotency key is forgotten: %v, %v", ok, err)
	}

	// The chain goes on after a registration.
	again := cancel.Next
	again.Tombstoned = false
	w = decide(t, id, again, consent.Granted)
	w.Prev.Tombstoned = true
	commit(t, s, w)
	if got := load(t, s, id); got.Tombstoned || len(got.Links) > 0 || !got.MinorUntil.IsZero() {
		t.Errorf("got %+v", got)
	}
	ledger(t, s, id)
}

func erasesDevice(t *testing.T, s consent.Store) {
	id := subject(t, "d")
	prev := commit(t, s, decide(t, id, consent.State{}, consent.Granted))
	w := erasure(t, id, prev, false)
	commit(t, s, w)
	if got := load(t, s, id); !reflect.DeepEqual(got, w.Next) {
		t.Errorf("got %+v", got)
	}
	ledger(t, s, id)
}

func pages(t *testing.T, s consent.Store) {
	const n = 25
	id := subject(t, "u")
	state := consent.State{}
	for range n {
		state = commit(t, s, decide(t, id, state, consent.Granted))
	}
	all := ledger(t, s, id)
	for _, page := range []struct {
		after    uint64
		limit    int
		from, to int
	}{
		{0, 10, 0, 10}, {10, 10, 10, 20}, {20, 10, 20, 25}, {25, 10, 25, 25}, {1000, 10, 25, 25},
		{0, 1, 0, 1}, {24, 1, 24, 25}, {9, 2, 9, 11}, {0, 1000, 0, 25}, {3, 0, 3, 3}, {1<<64 - 1, 10, 25, 25},
	} {
		got, err := s.Ledger(t.Context(), id, page.after, page.limit)
		want := all[page.from:page.to]
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("after %d, limit %d: %d entries, %v; want %d", page.after, page.limit, len(got), err, len(want))
		}
		if err := consent.VerifyChain(got); err != nil {
			t.Errorf("after %d, limit %d: %v", page.after, page.limit, err)
		}
	}
}

func announces(t *testing.T, s consent.Store) {
	first, _ := watch(t, s)
	second, _ := watch(t, s)
	state := make(map[consent.ID]consent.State)
	for range 3 {
		for _, name := range []string{"u", "v"} {
			id := subject(t, name)
			state[id] = commit(t, s, decide(t, id, state[id], consent.Granted))
			expect(t, first, id)
			expect(t, second, id)
		}
	}
	id := subject(t, "u")
	commit(t, s, erasure(t, id, state[id], true))
	expect(t, first, id)
}

func watchEnds(t *testing.T, s consent.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	placed, done := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(consent.ID) {}, func(down bool) {
			if !down {
				placed <- struct{}{}
			}
		})
	}()
	select {
	case <-placed:
	case <-time.After(patience):
		t.Fatal("Watch never said that it is in place")
	}
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Watch goes on")
	}
	// And writes go on without it.
	commit(t, s, decide(t, subject(t, "u"), consent.State{}, consent.Granted))
}
