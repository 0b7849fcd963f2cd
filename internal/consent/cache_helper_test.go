package consent

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// cacheStore is a Store whose reads and invalidations a test controls.
type cacheStore struct {
	Store // what a cache never calls

	mu     sync.Mutex
	states map[ID]State
	loads  [][]ID
	err    error

	// While held, each reading, once it has read, is handed out on reading and
	// waits until that is closed.
	held    bool
	reading chan chan struct{}
	watch   chan func(changed func(ID), reset func(bool))
}

func newCacheStore() *cacheStore {
	return &cacheStore{
		states:  make(map[ID]State),
		reading: make(chan chan struct{}, 100),
		watch:   make(chan func(func(ID), func(bool))),
	}
}

func (s *cacheStore) Load(ctx context.Context, ids []ID) ([]State, error) {
	s.mu.Lock()
	s.loads = append(s.loads, slices.Clone(ids))
	err, held := s.err, s.held
	states := make([]State, len(ids))
	for i, id := range ids {
		states[i] = s.states[id]
	}
	s.mu.Unlock()
	if held {
		finish := make(chan struct{})
		s.reading <- finish
		select {
		case <-finish:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return states, nil
}

func (s *cacheStore) Watch(ctx context.Context, changed func(ID), reset func(bool)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case act := <-s.watch:
			act(changed, reset)
		}
	}
}

func (s *cacheStore) set(id ID, st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[id] = st
}

func (s *cacheStore) hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
}

func (s *cacheStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *cacheStore) loaded() [][]ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loads
	s.loads = nil
	return l
}

// link moves the watcher's link, and returns when the cache knows.
func (s *cacheStore) link(down bool) {
	done := make(chan struct{})
	s.watch <- func(_ func(ID), reset func(bool)) { reset(down); close(done) }
	<-done
}

// permits is what the tests derive of a state: the answers for "p", and whether
// the policy is accepted.
type permits struct {
	p       Status
	policy  string
	version uint64
}

func derivePermits(s State) (permits, time.Time) {
	return permits{s.Grants[GrantKey{Purpose: "p"}].Status, s.Policy, s.Version}, time.Time{}
}

// startCache returns a cache whose watcher runs, and is up.
func startCache[V any](t testing.TB, s *cacheStore, o CacheOptions, derive func(State) (V, time.Time)) *Cache[V] {
	t.Helper()
	c := NewCache(Store(s), o, derive)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	s.link(false)
	return c
}

func mustGet[V any](t testing.TB, c *Cache[V], s Subject) V {
	t.Helper()
	v, err := c.Get(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func stateOf(version uint64, status Status, links ...ID) State {
	s := State{Version: version, Policy: "1", Links: links}
	if status != "" {
		s.Grants = map[GrantKey]Grant{{Purpose: "p"}: {Status: status}}
	}
	return s
}

func (s *cacheStore) expectLoads(t testing.TB, want ...[]ID) {
	t.Helper()
	got := s.loaded()
	if !slices.EqualFunc(got, want, slices.Equal[[]ID]) {
		t.Errorf("loads: %v, want %v", got, want)
	}
}
