package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
)

// openStore returns a store of its own connections, closed with the test.
func openStore(t testing.TB, c Config, o Options) *Store {
	t.Helper()
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	if o.Report == nil {
		o.Report = func(err error) { t.Log(err) }
	}
	s := New(client, o)
	t.Cleanup(func() { s.Close() })
	return s
}

// admin returns a client for what operators do.
func admin(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// online reports whether a master counts on a replica's acknowledgements.
func online(t testing.TB, master *redis.Client) bool {
	return strings.Contains(master.Info(t.Context(), "replication").Val(), "state=online")
}

func testID(name string) consent.ID {
	sum := sha256.Sum256([]byte(name))
	return consent.ID(base64.RawURLEncoding.EncodeToString(sum[:])[:22])
}

// decision is a write that follows on prev, after which "p" stands at status.
func decision(t testing.TB, id consent.ID, prev consent.State, status consent.Status) consent.Write {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(prev.Version) * time.Second)
	e := consent.Entry{
		Seq: prev.Version + 1, Subject: id, At: at, Type: consent.EntryDecision, PolicyVersion: "1",
		Event: json.RawMessage(fmt.Sprintf(`{"status":%q}`, status)), Prev: prev.Head,
	}
	b, err := consent.EncodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	e.Hash = hex.EncodeToString(sum[:])
	next := consent.State{
		Policy: "1", Version: e.Seq, Head: e.Hash, Salt: []byte("0123456789abcdef"), Links: prev.Links,
		Grants: map[consent.GrantKey]consent.Grant{{Purpose: "p"}: {Status: status, Version: "1", At: at}},
	}
	return consent.Write{ID: id, Prev: prev, Next: next, Entry: e}
}

// load reads one state.
func load(t testing.TB, s consent.Store, id consent.ID) consent.State {
	t.Helper()
	states, err := s.Load(t.Context(), []consent.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	return states[0]
}

// decide commits a decision on top of what is stored.
func decide(t testing.TB, s consent.Store, id consent.ID, status consent.Status) consent.State {
	t.Helper()
	w := decision(t, id, load(t, s, id), status)
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w.Next
}

// chain returns the whole ledger, verified.
func chain(t testing.TB, s consent.Store, id consent.ID) []consent.Entry {
	t.Helper()
	entries, err := s.Ledger(t.Context(), id, 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := consent.VerifyChain(entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// eventually waits until what holds, and fails the test when it does not within
// the limit.
func eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// node is a cache in front of a store, as one gateway has it. Its value is the
// version of the state.
func node(t testing.TB, s consent.Store, lease time.Duration) *consent.Cache[uint64] {
	t.Helper()
	c := consent.NewCache(s, consent.CacheOptions{Lease: lease}, func(s consent.State) (uint64, time.Time) {
		return s.Version, time.Time{}
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	watching(t, c)
	return c
}

func watching(t testing.TB, c *consent.Cache[uint64]) {
	t.Helper()
	eventually(t, 10*time.Second, "the watcher is up", func() bool { return c.Stats().Watching })
}

func version(t testing.TB, c *consent.Cache[uint64], id consent.ID) uint64 {
	t.Helper()
	v, err := c.Get(t.Context(), consent.Subject{User: id})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cached reads until an answer comes from memory.
func cached(t testing.TB, c *consent.Cache[uint64], id consent.ID) (v uint64) {
	t.Helper()
	eventually(t, 5*time.Second, "an answer comes from memory", func() bool {
		hits := c.Stats().Hits
		v = version(t, c, id)
		return c.Stats().Hits > hits
	})
	return v
}
