package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

func TestCommitNeedsNothingLoaded(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	decide(t, s, id, consent.Granted)
	if err := admin(t, srv.Addr).ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	decide(t, s, id, consent.Withdrawn)
	if n := len(chain(t, s, id)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

func TestAStateOfThousandsOfFieldsIsWritten(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	w := decision(t, id, consent.State{}, consent.Granted)
	for i := range 9999 {
		w.Next.Grants[consent.GrantKey{Purpose: "p", Recipient: fmt.Sprint("open_platform:", i)}] = w.Next.Grants[consent.GrantKey{Purpose: "p"}]
	}
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if n := len(load(t, s, id).Grants); n != 10_000 {
		t.Errorf("%d grants, want 10000", n)
	}
}

func TestAWriteOnAnotherHeadConflicts(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	decide(t, s, id, consent.Granted)
	// The same version, of another history: that of a restored backup, say.
	other := decision(t, id, consent.State{}, consent.Denied).Next
	if err := s.Commit(t.Context(), decision(t, id, other, consent.Granted)); !errors.Is(err, consent.ErrConflict) {
		t.Errorf("Commit: %v", err)
	}
	if n := len(chain(t, s, id)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func TestErasureLeavesTheTombstoneAndTheLedger(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	prev := decide(t, s, id, consent.Granted)
	w := decision(t, id, prev, consent.Withdrawn)
	w.Next, w.Erase = consent.State{Version: w.Next.Version, Head: w.Next.Head, Tombstoned: true}, true
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	fields := admin(t, srv.Addr).HGetAll(t.Context(), stateKey(id)).Val()
	if len(fields) != 3 || fields["version"] != "2" || fields["head"] != w.Next.Head || fields["tombstone"] != "1" {
		t.Errorf("the state is left with %q", fields)
	}
	if n := len(chain(t, s, id)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// Of many writers that read the same state one succeeds; all of them retrying,
// each decision is in the ledger once, and the chain holds.
func TestConcurrentWritersKeepTheChain(t *testing.T) {
	srv := redistest.Start(t, "appendfsync", "no")
	id := testID("u")
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for range writers {
		s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
		wg.Go(func() {
			for done := 0; done < each; {
				states, err := s.Load(t.Context(), []consent.ID{id})
				if err != nil {
					t.Error(err)
					return
				}
				switch err := s.Commit(t.Context(), decision(t, id, states[0], consent.Granted)); {
				case err == nil:
					done++
				case !errors.Is(err, consent.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	entries := chain(t, s, id)
	state := load(t, s, id)
	if len(entries) != writers*each || state.Version != writers*each || state.Head != entries[len(entries)-1].Hash {
		t.Errorf("%d entries, version %d, want %d of both", len(entries), state.Version, writers*each)
	}
}

// A repeated request that did not find its key with Seen, since the first one
// was about to commit, must not be recorded on top of it.
func TestAnIdempotencyKeyIsTakenOnce(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	first := decision(t, id, consent.State{}, consent.Granted)
	first.IdempotencyKey = "13800138000"
	if err := s.Commit(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	again := decision(t, id, load(t, s, id), consent.Granted)
	again.IdempotencyKey = first.IdempotencyKey
	if err := s.Commit(t.Context(), again); !errors.Is(err, consent.ErrConflict) {
		t.Errorf("the second write: %v", err)
	}
	if e, ok, err := s.Seen(t.Context(), id, first.IdempotencyKey); err != nil || !ok || e.Hash != first.Entry.Hash {
		t.Errorf("Seen: %+v, %t, %v", e, ok, err)
	}
	members, err := admin(t, srv.Addr).ZRange(t.Context(), idempotencyKey(id), 0, -1).Result()
	if err != nil || len(members) != 1 || members[0] == first.IdempotencyKey {
		t.Errorf("keys are kept as %q, %v", members, err)
	}
}

func TestIdempotencyKeysAreBounded(t *testing.T) {
	srv := redistest.Start(t, "appendfsync", "no")
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	var state consent.State
	for i := range idempotencyKept + 10 {
		w := decision(t, id, state, consent.Granted)
		w.IdempotencyKey = fmt.Sprint(i)
		if err := s.Commit(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		state = w.Next
	}
	for i, want := range map[int]bool{0: false, 9: false, 10: true, idempotencyKept + 9: true} {
		e, ok, err := s.Seen(t.Context(), id, fmt.Sprint(i))
		if err != nil || ok != want || ok && e.Seq != uint64(i+1) {
			t.Errorf("Seen(%d) = %d, %t, %v, want %t", i, e.Seq, ok, err, want)
		}
	}
	if ttl := admin(t, srv.Addr).TTL(t.Context(), idempotencyKey(id)).Val(); ttl <= 0 || ttl > idempotencyTTL {
		t.Errorf("the keys live for %v", ttl)
	}
}

func TestADamagedRecordIsAnErrorAndNoState(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	good, bad := testID("good"), testID("bad")
	decide(t, s, good, consent.Granted)
	decide(t, s, bad, consent.Denied)
	a := admin(t, srv.Addr)

	a.HDel(t.Context(), stateKey(bad), consent.FieldVersion)
	for _, ids := range [][]consent.ID{{bad}, {good, bad}} {
		if states, err := s.Load(t.Context(), ids); !errors.Is(err, consent.ErrCorrupt) || states != nil {
			t.Errorf("Load(%d ids) = %v, %v", len(ids), states, err)
		}
	}
	a.Set(t.Context(), stateKey(bad), "x", 0)
	for _, ids := range [][]consent.ID{{bad}, {good, bad}} {
		if states, err := s.Load(t.Context(), ids); err == nil {
			t.Errorf("Load(%d ids) of a key of another type = %v", len(ids), states)
		}
	}
	a.XAdd(t.Context(), &redis.XAddArgs{Stream: ledgerKey(good), ID: "2-0", Values: []any{fieldEntry, "{}"}})
	if _, err := s.Ledger(t.Context(), good, 0, 10); !errors.Is(err, consent.ErrCorrupt) {
		t.Errorf("Ledger: %v", err)
	}
}

// kill -9 amid writes: what Commit acknowledged is there when the server is
// back, and what it did not is there once or not at all.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	srv := redistest.Start(t)
	const writers = 4
	acked := make([]uint64, writers)
	tried := make([]uint64, writers)
	started := make(chan struct{}, 1000)
	var wg sync.WaitGroup
	for i := range writers {
		s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
		wg.Go(func() {
			id := testID(fmt.Sprint("u", i))
			var state consent.State
			for {
				w := decision(t, id, state, consent.Granted)
				tried[i] = w.Next.Version
				if err := s.Commit(context.Background(), w); err != nil {
					if !errors.Is(err, ErrUncertain) {
						t.Error(err)
					}
					return
				}
				state = w.Next
				acked[i] = state.Version
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 200 {
		<-started
	}
	srv.Stop()
	wg.Wait()
	srv.Restart()

	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	for i := range writers {
		id := testID(fmt.Sprint("u", i))
		state, entries := load(t, s, id), chain(t, s, id)
		if state.Version < acked[i] || state.Version > tried[i] || uint64(len(entries)) != state.Version {
			t.Errorf("writer %d: version %d, %d entries, acknowledged %d, tried %d", i, state.Version, len(entries), acked[i], tried[i])
		}
	}
}

// A server that hangs with the write in its socket applies it when it wakes.
// Commit has said by then that nobody knows; the write is there once.
func TestAWriteToAStalledServerIsUncertainAndNotRepeated(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	id := testID("u")
	prev := decide(t, s, id, consent.Granted)

	runs := func() (n int) {
		for line := range strings.Lines(admin(t, srv.Addr).Info(t.Context(), "commandstats").Val()) {
			fmt.Sscanf(line, "cmdstat_evalsha:calls=%d,", &n)
		}
		return n
	}
	// A second connection, ready for use, on which the client could try again.
	var conns []*redis.Conn
	for range 3 {
		c := s.client.(*redis.Client).Conn()
		if err := c.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.Close()
	}
	before := runs()
	srv.Pause()
	w := decision(t, id, prev, consent.Withdrawn)
	w.IdempotencyKey = "k"
	begun := time.Now()
	err := s.Commit(t.Context(), w)
	if took := time.Since(begun); !errors.Is(err, ErrUncertain) || took > 1500*time.Millisecond {
		t.Errorf("Commit: %v after %v", err, took)
	}
	if _, err := s.Load(t.Context(), []consent.ID{id}); err == nil || time.Since(begun) > 3*time.Second {
		t.Errorf("Load: %v after %v", err, time.Since(begun))
	}
	srv.Resume()
	eventually(t, 5*time.Second, "the write is applied", func() bool {
		states, err := s.Load(t.Context(), []consent.ID{id})
		return err == nil && states[0].Version == 2
	})
	if n := runs() - before; n != 1 {
		t.Errorf("the script was sent %d times", n)
	}
	if err := s.Commit(t.Context(), w); !errors.Is(err, consent.ErrConflict) {
		t.Errorf("the retry: %v", err)
	}
	if e, ok, err := s.Seen(t.Context(), id, "k"); err != nil || !ok || e.Hash != w.Entry.Hash {
		t.Errorf("Seen: %+v, %t, %v", e, ok, err)
	}
	if n := len(chain(t, s, id)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

func TestReplicasAcknowledge(t *testing.T) {
	master := redistest.Start(t, "repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, "replicaof", host+" "+port)
	s := openStore(t, Config{Addresses: []string{master.Addr}, ReadTimeout: 3 * time.Second},
		Options{Replicas: 1, ReplicaTimeout: 2 * time.Second, Timeout: 4 * time.Second})
	id := testID("u")
	r := admin(t, replica.Addr)
	m := admin(t, master.Addr)
	eventually(t, 20*time.Second, "the replica follows", func() bool { return online(t, m) })

	w := decision(t, id, consent.State{}, consent.Granted)
	w.IdempotencyKey = "first"
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if v := r.HGet(t.Context(), stateKey(id), consent.FieldVersion).Val(); v != "1" {
		t.Errorf("the replica has version %q", v)
	}
	if err := s.Commit(t.Context(), w); !errors.Is(err, consent.ErrConflict) {
		t.Errorf("the same write again: %v", err)
	}

	replica.Pause()
	w = decision(t, id, w.Next, consent.Withdrawn)
	w.IdempotencyKey = "second"
	if err := s.Commit(t.Context(), w); !errors.Is(err, ErrUncertain) {
		t.Errorf("a write that no replica has: %v", err)
	}
	if _, ok, err := s.Seen(t.Context(), id, "second"); err == nil {
		t.Errorf("Seen of a write that no replica has: %t", ok)
	}
	replica.Resume()
	eventually(t, 20*time.Second, "the replica has caught up", func() bool {
		e, ok, err := s.Seen(t.Context(), id, "second")
		return err == nil && ok && e.Hash == w.Entry.Hash
	})
	if v := r.HGet(t.Context(), stateKey(id), consent.FieldVersion).Val(); v != "2" {
		t.Errorf("the replica has version %q", v)
	}
	if _, ok, err := s.Seen(t.Context(), id, "third"); ok || err != nil {
		t.Errorf("Seen of no key: %t, %v", ok, err)
	}
}
