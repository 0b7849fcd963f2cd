package consent

import (
	"context"
	"errors"
	"fmt"
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

func TestCacheServesFromMemoryWhileWatching(t *testing.T) {
	s := newCacheStore()
	s.set("u", stateOf(1, Granted))
	c := NewCache(Store(s), CacheOptions{}, derivePermits)
	u := Subject{User: "u"}

	mustGet(t, c, u)
	mustGet(t, c, u)
	s.expectLoads(t, []ID{"u"}, []ID{"u"}) // Run has not begun

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s.link(false)
	for range 3 {
		if v := mustGet(t, c, u); v.p != Granted {
			t.Errorf("got %+v", v)
		}
	}
	s.expectLoads(t, []ID{"u"})

	s.link(true)
	mustGet(t, c, u)
	mustGet(t, c, u)
	s.expectLoads(t, []ID{"u"}, []ID{"u"})
	s.set("u", stateOf(2, Withdrawn)) // in the gap
	s.link(false)
	if v := mustGet(t, c, u); v.p != Withdrawn {
		t.Errorf("after a gap: %+v", v)
	}
	mustGet(t, c, u)
	s.expectLoads(t, []ID{"u"})

	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	mustGet(t, c, u)
	s.expectLoads(t, []ID{"u"})
	if st := c.Stats(); st.Watching || st.Hits != 3 || st.Misses != 7 || st.Loads != 7 || st.Resets != 4 {
		t.Errorf("%+v", st)
	}
}

func TestNobodyNeedsNoStore(t *testing.T) {
	s := newCacheStore()
	s.fail(errors.New("down"))
	derived := 0
	c := NewCache(Store(s), CacheOptions{}, func(s State) (int, time.Time) {
		derived++
		if s.Known() || s.Policy != "" || s.Grants != nil {
			t.Errorf("derived of %+v", s)
		}
		return derived, time.Time{}
	})
	for range 3 {
		if v := mustGet(t, c, Subject{}); v != 1 {
			t.Errorf("derived %d times", v)
		}
	}
	c.Reset()
	if v := mustGet(t, c, Subject{}); v != 2 {
		t.Errorf("the value of another policy is served")
	}
	s.expectLoads(t)
}

func TestChangesAndResetsInvalidate(t *testing.T) {
	s := newCacheStore()
	c := startCache(t, s, CacheOptions{}, derivePermits)
	u := Subject{User: "u"}
	for i, invalidate := range []func(){
		func() { c.Forget("u") },
		c.Reset,
		func() {
			done := make(chan struct{})
			s.watch <- func(changed func(ID), _ func(bool)) { changed("u"); close(done) }
			<-done
		},
		func() { s.link(false) },
	} {
		mustGet(t, c, u)
		s.set("u", stateOf(uint64(i+1), Granted))
		invalidate()
		if v := mustGet(t, c, u); v.version != uint64(i+1) {
			t.Errorf("invalidation %d: version %d", i, v.version)
		}
	}
}

// What was read before the write must not be cached after it, nor answer a
// request that came after it.
func TestAForgottenLoadIsNotKept(t *testing.T) {
	for name, invalidate := range map[string]func(*Cache[permits]){
		"Forget": func(c *Cache[permits]) { c.Forget("u") },
		"Reset":  func(c *Cache[permits]) { c.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newCacheStore()
			s.set("u", stateOf(1, Granted))
			c := startCache(t, s, CacheOptions{}, derivePermits)
			u := Subject{User: "u"}

			s.hold(true)
			early := make(chan permits, 1)
			go func() { early <- mustGet(t, c, u) }()
			earlyReading := <-s.reading

			s.set("u", stateOf(2, Withdrawn))
			invalidate(c)
			late := make(chan permits, 1)
			go func() { late <- mustGet(t, c, u) }()
			lateReading := <-s.reading // it reads for itself, and does not wait for the first
			s.hold(false)
			close(lateReading)
			if v := <-late; v.version != 2 {
				t.Errorf("a request after the write read version %d", v.version)
			}
			close(earlyReading)
			<-early
			if v := mustGet(t, c, u); v.version != 2 {
				t.Errorf("version %d was kept", v.version)
			}
		})
	}
}

func TestAForgottenLoadIsNotKeptThoughNobodyAsksMeanwhile(t *testing.T) {
	s := newCacheStore()
	c := startCache(t, s, CacheOptions{}, derivePermits)
	u := Subject{User: "u"}
	s.hold(true)
	early := make(chan permits, 1)
	go func() { early <- mustGet(t, c, u) }()
	reading := <-s.reading
	s.set("u", stateOf(1, Denied))
	c.Forget("u")
	s.hold(false)
	close(reading)
	<-early
	if v := mustGet(t, c, u); v.version != 1 {
		t.Errorf("version %d was kept", v.version)
	}
}

func TestLeaseAndValidity(t *testing.T) {
	s := newCacheStore()
	now := time.Unix(1000, 0)
	derived := 0
	c := startCache(t, s, CacheOptions{Lease: 3 * time.Second, Now: func() time.Time { return now }}, func(State) (int, time.Time) {
		derived++
		return derived, now.Add(2 * time.Second)
	})
	u := Subject{User: "u"}
	for _, step := range []struct {
		after   time.Duration
		derived int
		loads   int
	}{
		{0, 1, 1},
		{2*time.Second - 1, 1, 0},
		{1, 2, 0}, // the value has expired, the state has not
		{time.Second - 1, 2, 0},
		{1, 3, 1}, // the lease has
	} {
		now = now.Add(step.after)
		if v := mustGet(t, c, u); v != step.derived {
			t.Errorf("at %v: value %d, want %d", now, v, step.derived)
		}
		if n := len(s.loaded()); n != step.loads {
			t.Errorf("at %v: %d loads, want %d", now, n, step.loads)
		}
	}
}

func TestErrorsAreNotCached(t *testing.T) {
	s := newCacheStore()
	c := startCache(t, s, CacheOptions{}, derivePermits)
	down := errors.New("down")
	s.fail(down)
	for range 2 {
		if v, err := c.Get(t.Context(), Subject{User: "u"}); !errors.Is(err, down) || v != (permits{}) {
			t.Errorf("got %+v, %v", v, err)
		}
	}
	if vs, err := c.GetAll(t.Context(), []Subject{{User: "u"}, {}}); !errors.Is(err, down) || vs != nil {
		t.Errorf("got %+v, %v", vs, err)
	}
	s.fail(nil)
	mustGet(t, c, Subject{User: "u"})
	if st := c.Stats(); st.Errors != 3 || st.Loads != 4 {
		t.Errorf("%+v", st)
	}
}

func TestOneReadingServesAllWhoWait(t *testing.T) {
	s := newCacheStore()
	s.set("u", stateOf(1, Granted))
	c := startCache(t, s, CacheOptions{}, derivePermits)
	u := Subject{User: "u"}

	s.hold(true)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := c.Get(ctx, u); first <- err }()
	reading := <-s.reading

	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if v := mustGet(t, c, u); v.version != 1 {
				t.Errorf("got %+v", v)
			}
		})
	}
	cancel() // whoever began it is gone
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first request: %v", err)
	}
	close(reading)
	wg.Wait()
	s.expectLoads(t, []ID{"u"})
}

func TestAReadingIsBounded(t *testing.T) {
	s := newCacheStore()
	c := startCache(t, s, CacheOptions{LoadTimeout: 10 * time.Millisecond}, derivePermits)
	s.hold(true)
	if _, err := c.Get(context.Background(), Subject{User: "u"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestGetAllReadsInOneRoundTrip(t *testing.T) {
	s := newCacheStore()
	s.set("u1", stateOf(1, Granted))
	s.set("u2", stateOf(2, Denied, "d1"))
	s.set("d1", stateOf(3, Granted, "u2"))
	c := startCache(t, s, CacheOptions{}, derivePermits)
	mustGet(t, c, Subject{User: "u1"})
	s.loaded()

	subjects := []Subject{{User: "u1"}, {}, {User: "u3", Device: "d3"}, {Device: "d1"}, {User: "u3"}}
	for range 2 {
		got, err := c.GetAll(t.Context(), subjects)
		if err != nil {
			t.Fatal(err)
		}
		want := []permits{{Granted, "1", 1}, {}, {}, {Denied, "1", 3}, {}}
		if !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	s.expectLoads(t, []ID{"u3", "d3", "d1"}, []ID{"u2"})
	if got, err := c.GetAll(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of nobody: %v, %v", got, err)
	}
}

func TestWhoseStateItIs(t *testing.T) {
	accepted := func(s State, policy string) State { s.Policy = policy; return s }
	for name, tc := range map[string]struct {
		user, device State
		both, alone  Status // for the user with the device, and the device alone
	}{
		"linked, the device denies":      {stateOf(1, Granted, "d"), stateOf(1, Denied, "u"), Denied, Denied},
		"linked, the user denies":        {stateOf(1, Denied, "d"), stateOf(1, Granted, "u"), Denied, Denied},
		"linked, the device grants":      {stateOf(1, "", "d"), stateOf(1, Granted, "u"), Granted, Granted},
		"linked, the user grants":        {stateOf(1, Granted, "d"), stateOf(1, "", "u"), Granted, Granted},
		"not linked, the device denies":  {stateOf(1, Granted), stateOf(1, Denied), Granted, Denied},
		"not linked, the device grants":  {stateOf(1, ""), stateOf(1, Granted), "", Granted},
		"device's side, device denies":   {stateOf(1, Granted), stateOf(1, Denied, "u"), Denied, Denied},
		"device's side, device grants":   {stateOf(1, ""), stateOf(1, Granted, "u"), "", Granted},
		"device's side, user grants":     {stateOf(1, Granted), stateOf(1, "", "u"), Granted, ""},
		"device's side, user denies":     {stateOf(1, Denied), stateOf(1, Granted, "u"), Denied, Denied},
		"user's side, device grants":     {stateOf(1, "", "d"), stateOf(1, Granted), "", Granted},
		"user's side, device denies":     {stateOf(1, Granted, "d"), stateOf(1, Denied), Denied, Denied},
		"a cancelled user":               {State{Version: 2, Tombstoned: true}, stateOf(1, Granted, "u"), "", Granted},
		"a cancelled device":             {stateOf(1, Granted, "d"), State{Version: 2, Tombstoned: true}, Granted, ""},
		"an unknown user, linked device": {State{}, accepted(stateOf(1, Granted, "u"), "1"), "", Granted},
	} {
		s := newCacheStore()
		s.set("u", tc.user)
		s.set("d", tc.device)
		c := startCache(t, s, CacheOptions{}, derivePermits)
		for range 2 { // read, and cached
			if v := mustGet(t, c, Subject{User: "u", Device: "d"}); v.p != tc.both {
				t.Errorf("%s: user and device: %q, want %q", name, v.p, tc.both)
			}
			if v := mustGet(t, c, Subject{Device: "d"}); v.p != tc.alone {
				t.Errorf("%s: device alone: %q, want %q", name, v.p, tc.alone)
			}
			if v := mustGet(t, c, Subject{User: "u"}); v.p != tc.user.Grants[GrantKey{Purpose: "p"}].Status {
				t.Errorf("%s: user alone: %q", name, v.p)
			}
		}
	}
}

func TestAJoinedValueFollowsBothSides(t *testing.T) {
	s := newCacheStore()
	s.set("u1", stateOf(1, Granted, "d"))
	s.set("u2", stateOf(1, Granted, "d"))
	s.set("d", stateOf(1, Granted, "u1", "u2"))
	c := startCache(t, s, CacheOptions{}, derivePermits)
	device, both := Subject{Device: "d"}, Subject{User: "u1", Device: "d"}
	expect := func(what string, s Subject, want Status) {
		t.Helper()
		for range 2 {
			if v := mustGet(t, c, s); v.p != want {
				t.Errorf("%s: %q, want %q", what, v.p, want)
			}
		}
	}
	expect("at first", device, Granted)
	expect("at first", both, Granted)
	s.set("u2", stateOf(2, Withdrawn, "d"))
	c.Forget("u2")
	expect("another user withdraws", device, Withdrawn)
	expect("another user withdraws", both, Granted)
	expect("the other user", Subject{User: "u2", Device: "d"}, Withdrawn)
	expect("and again the first", both, Granted)
	s.set("u1", stateOf(2, Withdrawn, "d"))
	c.Forget("u1")
	expect("the user withdraws", both, Withdrawn)
	s.set("u1", stateOf(3, Granted, "d"))
	s.set("d", stateOf(2, Denied, "u1"))
	c.Forget("u1")
	c.Forget("d")
	expect("the device denies", both, Denied)
	expect("the device denies", device, Denied)
}

func TestTheCacheIsBounded(t *testing.T) {
	s := newCacheStore()
	c := startCache(t, s, CacheOptions{Capacity: 100}, derivePermits)
	for i := range 5000 {
		mustGet(t, c, Subject{User: ID(fmt.Sprint("unknown", i))})
	}
	c.entries.CleanUp()
	if n := c.Stats().Entries; n > 100 {
		t.Errorf("%d entries, want 100 at most", n)
	}
}

func TestAStoreThatMiscountsIsAnError(t *testing.T) {
	c := NewCache[permits](shortStore{}, CacheOptions{}, derivePermits)
	if v, err := c.Get(t.Context(), Subject{User: "u"}); err == nil {
		t.Errorf("got %+v", v)
	}
}

type shortStore struct{ Store }

func (shortStore) Load(context.Context, []ID) ([]State, error) { return nil, nil }

// hitSubjects are the ways to name somebody, all of them cached.
func hitSubjects(tb testing.TB) (*Cache[permits], map[string]Subject) {
	s := newCacheStore()
	s.set("u", stateOf(1, Granted, "d"))
	s.set("d", stateOf(1, Granted, "u"))
	c := startCache(tb, s, CacheOptions{Lease: time.Hour}, derivePermits)
	m := map[string]Subject{
		"nobody": {}, "user": {User: "u"}, "device": {Device: "d"}, "linked": {User: "u", Device: "d"},
		"unlinked": {User: "u", Device: "x"}, "unknown": {User: "y"},
	}
	for _, s := range m {
		mustGet(tb, c, s)
	}
	return c, m
}

func TestAHitDoesNotAllocate(t *testing.T) {
	c, subjects := hitSubjects(t)
	for name, s := range subjects {
		if n := testing.AllocsPerRun(1000, func() { c.Get(context.Background(), s) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if st := c.Stats(); st.Loads != 4 {
		t.Errorf("%+v", st)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c, subjects := hitSubjects(b)
	ctx := context.Background()
	for _, name := range []string{"nobody", "user", "linked", "unlinked", "device", "unknown"} {
		s := subjects[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Get(ctx, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("otter", func(b *testing.B) { // the part of the look-up itself
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := c.entries.GetIfPresent("u"); !ok {
				b.Fatal("gone")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Get(ctx, Subject{User: "u"})
			}
		})
	})
}

func BenchmarkCacheGetAll(b *testing.B) {
	s := newCacheStore()
	c := startCache(b, s, CacheOptions{Lease: time.Hour}, derivePermits)
	subjects := make([]Subject, 100)
	for i := range subjects {
		subjects[i].User = ID(fmt.Sprint("user", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.GetAll(context.Background(), subjects); err != nil {
			b.Fatal(err)
		}
	}
}
