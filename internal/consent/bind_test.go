package consent

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// bindStore is a Store whose check value, and what happens while it is read, a
// test controls.
type bindStore struct {
	Store
	mu     sync.Mutex
	check  string
	err    error
	asked  int
	during func() // while a state is read
	asking func() // while the check value is read
	watch  chan bool
}

func (s *bindStore) Bind(_ context.Context, check string) (bool, error) {
	if s.asking != nil {
		s.asking()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case s.err != nil:
		return false, s.err
	case s.check == "":
		return false, nil
	case s.check != check:
		return false, ErrOtherSecret
	}
	return true, nil
}

func (s *bindStore) read() {
	if s.during != nil {
		s.during()
	}
}

func (s *bindStore) Load(_ context.Context, ids []ID) ([]State, error) {
	s.read()
	return make([]State, len(ids)), nil
}

func (s *bindStore) Commit(context.Context, Write) error { s.read(); return nil }

func (s *bindStore) Seen(context.Context, ID, string) (Entry, bool, error) {
	s.read()
	return Entry{Seq: 1}, true, nil
}

func (s *bindStore) Ledger(context.Context, ID, uint64, int) ([]Entry, error) {
	s.read()
	return []Entry{{Seq: 1}}, nil
}

func (s *bindStore) Subjects(_ context.Context, _ int, visit func([]ID) error) error {
	s.read()
	return visit([]ID{"u"})
}

func (s *bindStore) Ping(context.Context) error { s.read(); return nil }

func (s *bindStore) Watch(ctx context.Context, _ func(ID), reset func(bool)) error {
	for {
		select {
		case down := <-s.watch:
			reset(down)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// calls are all that a store is asked. Each returns whether it gave anything
// away.
func calls(s Store) map[string]func(ctx context.Context) (bool, error) {
	return map[string]func(ctx context.Context) (bool, error){
		"Load": func(ctx context.Context) (bool, error) {
			states, err := s.Load(ctx, []ID{"u"})
			return states != nil, err
		},
		"Commit": func(ctx context.Context) (bool, error) { return false, s.Commit(ctx, Write{}) },
		"Seen": func(ctx context.Context) (bool, error) {
			e, ok, err := s.Seen(ctx, "u", "k")
			return ok || e.Seq > 0, err
		},
		"Ledger": func(ctx context.Context) (bool, error) {
			entries, err := s.Ledger(ctx, "u", 0, 1)
			return entries != nil, err
		},
		"Subjects": func(ctx context.Context) (bool, error) {
			visited := false
			err := s.Subjects(ctx, 1, func([]ID) error { visited = true; return nil })
			return visited, err
		},
		"Ping": func(ctx context.Context) (bool, error) { return false, s.Ping(ctx) },
	}
}

func TestAStoreOfAnotherSecretGivesNothingAway(t *testing.T) {
	inner := &bindStore{check: "theirs", during: func() { t.Error("the store was used") }}
	reports := 0
	for name, call := range calls(Bind(inner, "ours", func(error) { reports++ })) {
		if gave, err := call(t.Context()); gave || !errors.Is(err, ErrOtherSecret) {
			t.Errorf("%s: %v, %v", name, gave, err)
		}
	}
	if reports != 6 {
		t.Errorf("%d reports", reports)
	}
	away := errors.New("away")
	inner.err = away
	for name, call := range calls(Bind(inner, "ours", nil)) {
		if gave, err := call(t.Context()); gave || !errors.Is(err, away) {
			t.Errorf("%s, where the store cannot be asked: %v, %v", name, gave, err)
		}
	}
}

func TestAStoreThatIsOursIsAskedOnce(t *testing.T) {
	inner := &bindStore{check: "ours"}
	s := Bind(inner, "ours", nil)
	for range 3 {
		for name, call := range calls(s) {
			if _, err := call(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if inner.asked != 1 {
		t.Errorf("asked %d times", inner.asked)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Bind(inner, "ours", nil).Load(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestAStoreThatNobodyBoundIsAskedAtEveryCall(t *testing.T) {
	inner := &bindStore{}
	s := Bind(inner, "ours", nil)
	if _, err := s.Load(t.Context(), []ID{"u"}); err != nil {
		t.Fatal(err)
	}
	// Someone binds it while a state is being read.
	inner.during = func() {
		inner.mu.Lock()
		defer inner.mu.Unlock()
		inner.check = "theirs"
	}
	if states, err := s.Load(t.Context(), []ID{"u"}); states != nil || !errors.Is(err, ErrOtherSecret) {
		t.Errorf("%v, %v", states, err)
	}
}

// Many requests at once, before the store has answered, ask it together.
func TestCallersWaitForOneAnswer(t *testing.T) {
	asking, answer := make(chan struct{}, 100), make(chan struct{})
	inner := &bindStore{check: "ours", asking: func() { asking <- struct{}{}; <-answer }}
	s := Bind(inner, "ours", nil)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := s.Load(t.Context(), []ID{"u"}); err != nil {
				t.Error(err)
			}
		})
	}
	<-asking
	// One who gives up does not wait, nor does it end the others' question.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := s.Load(ctx, []ID{"u"}); gone <- err }()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who gave up: %v", err)
	}
	close(answer)
	callers.Wait()
	if inner.asked != 1 {
		t.Errorf("asked %d times", inner.asked)
	}
}

// The link comes back, to another server, while a state is being read from it.
func TestWhatWasReadAcrossAResetIsCheckedAgain(t *testing.T) {
	for name := range calls(&bindStore{}) {
		if name == "Commit" || name == "Ping" {
			continue // they read nothing
		}
		t.Run(name, func(t *testing.T) {
			inner := &bindStore{check: "ours", watch: make(chan bool)}
			s := Bind(inner, "ours", nil)
			if err := s.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			resets := make(chan bool)
			go func() { _ = s.Watch(t.Context(), nil, func(down bool) { resets <- down }) }()
			inner.during = func() {
				inner.mu.Lock()
				inner.check = "theirs"
				inner.mu.Unlock()
				inner.watch <- true
				if down := <-resets; !down {
					t.Error("the reset was not passed on as it came")
				}
			}
			if gave, err := calls(s)[name](t.Context()); gave || !errors.Is(err, ErrOtherSecret) {
				t.Errorf("%v, %v", gave, err)
			}
		})
	}
}

func TestTheCheckValueTellsSecretsApart(t *testing.T) {
	one, err := NewIdentifier([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewIdentifier([]byte("0123456789abcdef0123456789abcdeg"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewIdentifier([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if one.Check() == other.Check() || one.Check() != again.Check() || len(one.Check()) != idLen {
		t.Errorf("%q, again %q, and %q", one.Check(), again.Check(), other.Check())
	}
	for _, kind := range []Kind{User, Device} {
		if id, _ := one.Identify(kind, "consent store"); string(id) == one.Check() {
			t.Error("a subject has the check value for an ID")
		}
	}
}
