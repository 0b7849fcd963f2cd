package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// Whoever reads after the invalidation has come reads what was written, however
// many read meanwhile.
func TestAWithdrawalOnOneNodeIsSeenOnAnother(t *testing.T) {
	srv := redistest.Start(t, "appendfsync", "no")
	for name, o := range map[string]Options{"tracking": {}, "announcements": {PublishOnly: true}} {
		t.Run(name, func(t *testing.T) {
			a := openStore(t, Config{Addresses: []string{srv.Addr}}, o)
			b := openStore(t, Config{Addresses: []string{srv.Addr}}, o)
			id := testID("hammer " + name)
			state := decide(t, a, id, consent.Granted)

			cache := node(t, b, time.Hour)
			var committed atomic.Uint64
			committed.Store(state.Version)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { // each reader sees versions that only rise
					last := uint64(0)
					// Readers that never rest would leave no processor to the
					// network on a small machine.
					pace := time.NewTicker(200 * time.Microsecond)
					defer pace.Stop()
					for ctx.Err() == nil {
						<-pace.C
						v, err := cache.Get(context.Background(), consent.Subject{User: id})
						if err != nil || v < last {
							t.Errorf("version %d after %d, %v", v, last, err)
							return
						}
						last = v
					}
				})
			}
			for range 300 {
				w := decision(t, id, state, consent.Withdrawn)
				if err := a.Commit(t.Context(), w); err != nil {
					t.Fatal(err)
				}
				state = w.Next
				eventually(t, 5*time.Second, "the other node reads what was committed", func() bool {
					return version(t, cache, id) == state.Version
				})
			}
			cancel()
			wg.Wait()
			if v := cached(t, cache, id); v != state.Version {
				t.Errorf("version %d is cached, %d was committed", v, state.Version)
			}
		})
	}
}

func TestWhatAnOperatorDoesInvalidates(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	cache := node(t, s, time.Hour)
	op := admin(t, srv.Addr)
	for name, act := range map[string]func() error{
		"FLUSHALL": func() error { return op.FlushAll(t.Context()).Err() },
		"DEL":      func() error { return op.Del(t.Context(), stateKey(id), ledgerKey(id)).Err() },
		"PEXPIRE": func() error {
			return errors.Join(op.PExpire(t.Context(), stateKey(id), time.Millisecond).Err(), op.Del(t.Context(), ledgerKey(id)).Err())
		},
	} {
		decide(t, s, id, consent.Granted)
		eventually(t, 5*time.Second, "the grant is read", func() bool { return version(t, cache, id) == 1 })
		if cached(t, cache, id) != 1 {
			t.Fatal("another version is cached")
		}
		if err := act(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, name+" is noticed", func() bool { return version(t, cache, id) == 0 })
	}
}

func TestAMalformedAnnouncementResets(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{PublishOnly: true})
	id := testID("u")
	decide(t, s, id, consent.Granted)
	cache := node(t, s, time.Hour)
	cached(t, cache, id)
	before := cache.Stats().Resets
	admin(t, srv.Addr).Publish(t.Context(), ChannelChanged, "who knows")
	eventually(t, 5*time.Second, "a reset", func() bool { return cache.Stats().Resets > before })
	if !cache.Stats().Watching {
		t.Error("the link went down")
	}
}

// A server that hangs keeps its connections. The cache notices by the silence.
func TestAStalledServerEndsServingFromMemory(t *testing.T) {
	srv := redistest.Start(t)
	for name, o := range map[string]Options{"tracking": {}, "announcements": {PublishOnly: true}} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{Addresses: []string{srv.Addr}}, o)
			id := testID("stall " + name)
			decide(t, s, id, consent.Granted)
			cache := node(t, s, time.Hour)
			cached(t, cache, id)

			srv.Pause()
			begun := time.Now()
			eventually(t, 1200*time.Millisecond, "the watcher is down", func() bool { return !cache.Stats().Watching })
			t.Logf("noticed after %v", time.Since(begun))
			begun = time.Now()
			if v, err := cache.Get(t.Context(), consent.Subject{User: id}); err == nil || time.Since(begun) > 1500*time.Millisecond {
				t.Errorf("Get = %d, %v after %v", v, err, time.Since(begun))
			}
			srv.Resume()
			watching(t, cache)
			if v := cached(t, cache, id); v != 1 {
				t.Errorf("version %d", v)
			}
		})
	}
}

func TestTheWatcherSurvivesARestart(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	decide(t, s, id, consent.Granted)
	cache := node(t, s, time.Hour)
	cached(t, cache, id)
	for range 3 {
		srv.Stop()
		eventually(t, time.Second, "the watcher is down", func() bool { return !cache.Stats().Watching })
		srv.Restart()
		watching(t, cache)
		want := decide(t, s, id, consent.Withdrawn).Version
		eventually(t, 5*time.Second, "the write is noticed", func() bool { return version(t, cache, id) == want })
	}
}

// What is written while the link is cut is announced to nobody, and nothing
// replays it. It must not be missed for that.
func TestAWriteInAReconnectGapIsNotMissed(t *testing.T) {
	srv := redistest.Start(t)
	a := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	for name, o := range map[string]Options{"tracking": {}, "announcements": {PublishOnly: true}} {
		t.Run(name, func(t *testing.T) {
			id := testID("gap " + name)
			decide(t, a, id, consent.Granted)

			link := newSwitch(srv.Addr)
			cache := node(t, openVia(t, link, o), time.Hour)
			for range 5 {
				before := cached(t, cache, id)
				link.cut()
				want := decide(t, a, id, consent.Withdrawn).Version
				// The pool's connections were cut too: an answer now is an error
				// or the present one, once the cut has been noticed.
				eventually(t, time.Second, "the watcher is down", func() bool { return !cache.Stats().Watching })
				if v, err := cache.Get(t.Context(), consent.Subject{User: id}); err == nil && v != want {
					t.Errorf("version %d is served from a link that is cut", v)
				}
				link.to(srv.Addr)
				watching(t, cache)
				if v := version(t, cache, id); v != want || before >= want {
					t.Errorf("version %d after the gap, want %d; before it was %d", v, want, before)
				}
			}
		})
	}
}

// After a failover the watcher's connection may live on, to a server that is no
// master any more and from which nothing will ever come. Only a probe tells.
func TestAStarvedWatcherNotices(t *testing.T) {
	old, now := redistest.Start(t), redistest.Start(t)
	for name, o := range map[string]Options{"tracking": {}, "announcements": {PublishOnly: true}} {
		t.Run(name, func(t *testing.T) {
			var starved atomic.Bool
			o.Report = func(err error) {
				t.Log(err)
				if errors.Is(err, errStarved) {
					starved.Store(true)
				}
			}
			link := newSwitch(old.Addr)
			s := openVia(t, link, o)
			id := testID("starved " + name)
			cache := node(t, s, time.Hour)
			if v := cached(t, cache, id); v != 0 {
				t.Fatalf("version %d", v)
			}
			begun := time.Now()
			link.to(now.Addr)
			// The pool's connections go to the new master, the watcher's stays.
			if err := admin(t, old.Addr).Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
				t.Fatal(err)
			}
			decide(t, openStore(t, Config{Addresses: []string{now.Addr}}, Options{}), id, consent.Withdrawn)
			eventually(t, 3*time.Second, "the watcher notices", starved.Load)
			t.Logf("noticed after %v", time.Since(begun))
			watching(t, cache)
			if v := version(t, cache, id); v != 1 {
				t.Errorf("version %d of the old master is served", v)
			}
		})
	}
}

func TestWatchEnds(t *testing.T) {
	srv := redistest.Start(t)
	up := make(chan bool, 100)
	watch := func(ctx context.Context, s *Store) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- s.Watch(ctx, func(consent.ID) {}, func(down bool) { up <- !down }) }()
		if !<-up {
			t.Error("the first reset says that the link is down")
		}
		return ended
	}
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := watch(ctx, s)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after the context: %v", err)
	}
	if <-up {
		t.Error("the last reset says that the link is up")
	}
	ended = watch(t.Context(), s)
	s.Close()
	if err := <-ended; !errors.Is(err, consent.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A client that may not track must not serve from memory, and says why.
func TestAWatcherWithoutPermissionStaysDown(t *testing.T) {
	srv := redistest.Start(t)
	op := admin(t, srv.Addr)
	if err := op.Do(t.Context(), "acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all", "-client|tracking").Err(); err != nil {
		t.Fatal(err)
	}
	reports := make(chan error, 100)
	s := openStore(t, Config{Addresses: []string{srv.Addr}, Username: "u", Password: "p"}, Options{Report: func(err error) {
		select {
		case reports <- err:
		default:
		}
	}})
	go s.Watch(t.Context(), func(consent.ID) {}, func(down bool) { t.Errorf("reset(%t)", down) })
	for range 3 {
		if err := <-reports; !strings.Contains(err.Error(), "client|tracking") {
			t.Errorf("report: %v", err)
		}
	}
}

// netSwitch is a way to a server that can be cut and laid to another.
type netSwitch struct {
	mu    sync.Mutex
	addr  string
	conns []net.Conn
}

func newSwitch(addr string) *netSwitch { return &netSwitch{addr: addr} }

func (n *netSwitch) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr == "" {
		return nil, errors.New("cut")
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", n.addr)
	if err == nil {
		n.conns = append(n.conns, c)
	}
	return c, err
}

// cut closes the connections and lets none through.
func (n *netSwitch) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr = ""
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

// to leads new connections to addr.
func (n *netSwitch) to(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr = addr
}

// openVia is openStore through a switch.
func openVia(t testing.TB, link *netSwitch, o Options) *Store {
	t.Helper()
	c, err := NewClient(Config{Addresses: []string{"switched:1"}})
	if err != nil {
		t.Fatal(err)
	}
	opts := *c.(*redis.Client).Options()
	c.Close()
	opts.Dialer = link.dial
	if o.Report == nil {
		o.Report = func(err error) { t.Log(err) }
	}
	s := New(redis.NewClient(&opts), o)
	t.Cleanup(func() { s.Close() })
	return s
}
