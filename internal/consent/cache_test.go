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
