// Package storetest is the conformance suite of consent stores: what
// [consent.Store] promises, and what the gateway relies on without saying.
// Every store runs it in a test of its own.
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

// Run runs the suite. open returns a store that is ready for use, empty or
// shared with other tests, and is called once for each of the suite's tests,
// with that test; the suite closes the store.
func Run(t *testing.T, open func(t *testing.T) consent.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, consent.Store)
	}{
		{"a subject never recorded has the zero state", unknown},
		{"load answers in the order of the ids", order},
		{"a write is read back as it was written", roundTrip},
		{"the next state replaces the one before as a whole", replaces},
		{"odd names survive", oddNames},
		{"a big state survives", bigState},
		{"a write on another version or head conflicts", conflicts},
		{"of concurrent writes on one version exactly one wins", oneWins},
		{"concurrent writers keep every chain", chains},
		{"a write that breaks the chain is refused", broken},
		{"an idempotency key finds its entry", seen},
		{"an idempotency key is taken once", takenOnce},
		{"erasing leaves the tombstone, the ledger and the keys", erases},
		{"erasing a device leaves no tombstone", erasesDevice},
		{"the ledger is read in pages", pages},
		{"every subject is visited, in pages", subjects},
		{"subjects may be written while they are visited", subjectsMeanwhile},
		{"an error of the visitor ends the visits", subjectsStop},
		{"a store is bound to one root secret", binds},
		{"commits are announced to every watch", announces},
		{"a watch ends with its context", watchEnds},
		{"a context that has ended stops every call", cancelled},
		{"a closed store says so", closes},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			test.run(t, s)
		})
	}
}

func unknown(t *testing.T, s consent.Store) {
	if got := load(t, s, subject(t, "u")); !reflect.DeepEqual(got, consent.State{}) {
		t.Errorf("got %+v", got)
	}
	if states, err := s.Load(t.Context(), nil); err != nil || len(states) != 0 {
		t.Errorf("Load of no ids: %v, %v", states, err)
	}
	if entries, err := s.Ledger(t.Context(), subject(t, "u"), 0, 10); err != nil || len(entries) != 0 {
		t.Errorf("Ledger: %v, %v", entries, err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func order(t *testing.T, s consent.Store) {
	a, b, none := subject(t, "a"), subject(t, "b"), subject(t, "none")
	commit(t, s, decide(t, a, consent.State{}, consent.Granted))
	prev := commit(t, s, decide(t, b, consent.State{}, consent.Granted))
	commit(t, s, decide(t, b, prev, consent.Denied))
	states, err := s.Load(t.Context(), []consent.ID{b, none, a, b})
	if err != nil {
		t.Fatal(err)
	}
	var versions []uint64
	for _, st := range states {
		versions = append(versions, st.Version)
	}
	if !reflect.DeepEqual(versions, []uint64{2, 0, 1, 2}) {
		t.Errorf("versions %v", versions)
	}
}

func roundTrip(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	w := decide(t, id, consent.State{}, consent.Granted)
	w.Next.MinorUntil = start.Add(24 * time.Hour)
	w.Next.Guardian = &consent.Guardian{
		ID: "digest", Method: "sms", Purposes: []string{"*", "p"}, Status: consent.Granted, Expires: start.Add(time.Hour),
	}
	w.Next.Links = []consent.ID{subject(t, "d2"), subject(t, "d1")}
	w.Next.Grants[consent.GrantKey{Purpose: "sdk.x", Recipient: "x:1"}] = consent.Grant{
		Status: consent.Withdrawn, Version: "v0", At: start.Add(-time.Hour), Expires: start.Add(time.Minute),
	}
	commit(t, s, w)
	if got := load(t, s, id); !reflect.DeepEqual(got, w.Next) {
		t.Errorf("got  %+v\nwant %+v", got, w.Next)
	}
	if entries := ledger(t, s, id); !reflect.DeepEqual(entries, []consent.Entry{w.Entry}) {
		t.Errorf("got  %+v\nwant %+v", entries, w.Entry)
	}
}

func replaces(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	w := decide(t, id, consent.State{}, consent.Granted)
	w.Next.MinorUntil = start
	w.Next.Guardian = &consent.Guardian{Status: consent.Denied}
	w.Next.Links = []consent.ID{subject(t, "d")}
	prev := commit(t, s, w)

	w = decide(t, id, prev, consent.Denied)
	w.Next.MinorUntil, w.Next.Guardian, w.Next.Links, w.Next.Policy = time.Time{}, nil, nil, ""
	delete(w.Next.Grants, consent.GrantKey{Purpose: consent.Acceptance})
	commit(t, s, w)
	if got := load(t, s, id); !reflect.DeepEqual(got, w.Next) {
		t.Errorf("got  %+v\nwant %+v", got, w.Next)
	}
}

func oddNames(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	w := decide(t, id, consent.State{}, consent.Granted)
	for i := range odd {
		g := consent.Grant{Status: consent.Denied, Version: oddly(i), At: start}
		w.Next.Grants[consent.GrantKey{Purpose: oddly(i)}] = g
		w.Next.Grants[consent.GrantKey{Purpose: odd[i], Recipient: oddly(i)}] = g
		w.Next.Grants[consent.GrantKey{Purpose: "p", Recipient: odd[i]}] = g
	}
	w.Next.Policy = "v;@:%\n1"
	w.Next.Guardian = &consent.Guardian{ID: "a;b", Method: odd[5], Purposes: odd, Status: consent.Granted}
	commit(t, s, w)
	if got := load(t, s, id); !reflect.DeepEqual(got, w.Next) {
		t.Errorf("got  %+v\nwant %+v", got, w.Next)
	}

	// And in the ledger.
	var answers []consent.Answer
	for i := range odd {
		answers = append(answers, consent.Answer{Purpose: oddly(i), Status: consent.Denied})
	}
	prev := load(t, s, id)
	prev.Policy = ""
	w = apply(t, id, prev, answers...)
	commit(t, s, w)
	if entries := ledger(t, s, id); !reflect.DeepEqual(entries[1], w.Entry) {
		t.Errorf("got  %+v\nwant %+v", entries[1], w.Entry)
	}
}

func bigState(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	w := decide(t, id, consent.State{}, consent.Granted)
	long := make([]byte, consent.MaxRecipient-10)
	for i := range long {
		long[i] = 'x'
	}
	for i := range 2 * consent.MaxGrants {
		k := consent.GrantKey{Purpose: oddly(i), Recipient: string(long) + oddly(i)}
		w.Next.Grants[k] = consent.Grant{Status: consent.Granted, Version: "v1", At: start}
	}
	for i := range consent.MaxLinks {
		w.Next.Links = append(w.Next.Links, subject(t, oddly(i)))
	}
	commit(t, s, w)
	if got := load(t, s, id); !reflect.DeepEqual(got, w.Next) {
		t.Errorf("%d grants and %d links, want %d and %d", len(got.Grants), len(got.Links), len(w.Next.Grants), len(w.Next.Links))
	}
}

func conflicts(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	first := decide(t, id, consent.State{}, consent.Granted)
	prev := commit(t, s, first)
	other := decide(t, id, consent.State{}, consent.Denied)
	for name, w := range map[string]consent.Write{
		"the same write again":              first,
		"another first write":               other,
		"a write on another first write":    decide(t, id, other.Next, consent.Denied),
		"a write on a version yet to come":  decide(t, id, decide(t, id, prev, consent.Denied).Next, consent.Denied),
		"a write on a subject of the past":  decide(t, subject(t, "v"), decide(t, subject(t, "v"), consent.State{}, consent.Denied).Next, consent.Denied),
		"an idempotent write of the past":   {ID: id, Prev: first.Prev, Next: first.Next, Entry: first.Entry, IdempotencyKey: "k"},
		"an erasing write of the past":      erasure(t, id, consent.State{}, true),
		"a first write under another's key": {ID: id, Prev: other.Prev, Next: other.Next, Entry: other.Entry, IdempotencyKey: "k"},
	} {
		if err := s.Commit(t.Context(), w); !errors.Is(err, consent.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := load(t, s, id); !reflect.DeepEqual(got, prev) {
		t.Errorf("the state has changed: %+v", got)
	}
	ledger(t, s, id)
	if _, ok, err := s.Seen(t.Context(), id, "k"); ok || err != nil {
		t.Errorf("a key of a write that failed is remembered: %v, %v", ok, err)
	}
}

func oneWins(t *testing.T, s consent.Store) {
	const writers, rounds = 16, 10
	id := subject(t, "u")
	prev := consent.State{}
	for range rounds {
		writes := make([]consent.Write, writers)
		for i := range writes {
			writes[i] = apply(t, id, prev, consent.Answer{Purpose: oddly(i), Status: consent.Granted})
		}
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i, w := range writes {
			wg.Go(func() { errs[i] = s.Commit(t.Context(), w) })
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Fatalf("writers %d and %d both won", won, i)
			case err == nil:
				won = i
			case !errors.Is(err, consent.ErrConflict):
				t.Fatalf("writer %d: %v", i, err)
			}
		}
		if won < 0 {
			t.Fatal("nobody won")
		}
		if prev = load(t, s, id); !reflect.DeepEqual(prev, writes[won].Next) {
			t.Fatal("the state is not the winner's")
		}
	}
	ledger(t, s, id)
}

func chains(t *testing.T, s consent.Store) {
	const writers, subjects, writes = 8, 3, 5
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := range writes * subjects {
				id := subject(t, oddly((i+n)%subjects))
				for {
					states, err := s.Load(t.Context(), []consent.ID{id})
					if err != nil {
						t.Errorf("Load: %v", err)
						return
					}
					err = s.Commit(t.Context(), decide(t, id, states[0], consent.Granted))
					if errors.Is(err, consent.ErrConflict) {
						continue
					}
					if err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					break
				}
			}
		})
	}
	wg.Wait()
	for i := range subjects {
		if n := len(ledger(t, s, subject(t, oddly(i)))); n != writers*writes {
			t.Errorf("subject %d has %d entries, want %d", i, n, writers*writes)
		}
	}
}

func broken(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	for name, change := range map[string]func(*consent.Write){
		"of another subject than its entry": func(w *consent.Write) { w.ID = subject(t, "v") },
		"of no subject":                     func(w *consent.Write) { w.ID, w.Entry.Subject = "", "" },
		"that skips a version":              func(w *consent.Write) { w.Next.Version++ },
		"with another head than its entry":  func(w *consent.Write) { w.Next.Head = "x" },
		"that erases and keeps":             func(w *consent.Write) { w.Erase = true },
	} {
		w := decide(t, id, consent.State{}, consent.Granted)
		change(&w)
		if err := s.Commit(t.Context(), w); err == nil || errors.Is(err, consent.ErrConflict) {
			t.Errorf("a write %s: %v", name, err)
		}
	}
	if got := load(t, s, id); got.Version != 0 {
		t.Errorf("something was written: %+v", got)
	}
}

func cancelled(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Load":     func() error { _, err := s.Load(ctx, []consent.ID{id}); return err },
		"Commit":   func() error { return s.Commit(ctx, decide(t, id, consent.State{}, consent.Granted)) },
		"Seen":     func() error { _, _, err := s.Seen(ctx, id, "k"); return err },
		"Ledger":   func() error { _, err := s.Ledger(ctx, id, 0, 1); return err },
		"Subjects": func() error { return s.Subjects(ctx, 1, func([]consent.ID) error { return nil }) },
		"Bind":     func() error { _, err := s.Bind(ctx, "check-0"); return err },
		"Ping":     func() error { return s.Ping(ctx) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := load(t, s, id); got.Version != 0 {
		t.Error("a write was made whose context had ended")
	}
}

func closes(t *testing.T, s consent.Store) {
	id := subject(t, "u")
	_, done := watch(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for name, call := range map[string]func() error{
		"Load":     func() error { _, err := s.Load(t.Context(), []consent.ID{id}); return err },
		"Commit":   func() error { return s.Commit(t.Context(), decide(t, id, consent.State{}, consent.Granted)) },
		"Seen":     func() error { _, _, err := s.Seen(t.Context(), id, "k"); return err },
		"Ledger":   func() error { _, err := s.Ledger(t.Context(), id, 0, 1); return err },
		"Subjects": func() error { return s.Subjects(t.Context(), 1, func([]consent.ID) error { return nil }) },
		"Bind":     func() error { _, err := s.Bind(t.Context(), "check-0"); return err },
		"Ping":     func() error { return s.Ping(t.Context()) },
		"Watch":    func() error { return s.Watch(t.Context(), func(consent.ID) {}, func(bool) {}) },
	} {
		if err := call(); !errors.Is(err, consent.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("a watch outlives the store")
	}
}
