package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// The edge may read the check value and not write it: it leaves a new store
// unbound, and is refused by one that another secret has bound.
func TestTheEdgeChecksTheSecretAndLeavesItToTheAPIToSetIt(t *testing.T) {
	for name, c := range serversWithUsers(t) {
		t.Run(name, func(t *testing.T) {
			c.Username, c.Password = "consent-edge", "secret"
			edge := openStore(t, c, Options{})
			c.Username = "consent-api"
			api := openStore(t, c, Options{})
			ctx, id := t.Context(), testID(name)

			if kept, err := edge.Bind(ctx, "ours"); kept || err != nil {
				t.Errorf("the edge, at a store that nobody bound: %v, %v", kept, err)
			}
			reader := consent.Bind(edge, "ours", nil)
			if got := load(t, reader, id); got.Version != 0 {
				t.Errorf("state %+v", got)
			}
			if kept, err := api.Bind(ctx, "theirs"); !kept || err != nil {
				t.Fatalf("the API: %v, %v", kept, err)
			}
			// It was not bound when the edge first asked, so the edge asks again.
			if _, err := reader.Load(ctx, []consent.ID{id}); !errors.Is(err, consent.ErrOtherSecret) {
				t.Errorf("the edge, at a store bound to another secret: %v", err)
			}
			if kept, err := edge.Bind(ctx, "theirs"); !kept || err != nil {
				t.Errorf("the edge, with the secret that bound it: %v, %v", kept, err)
			}
		})
	}
}

// What stands behind an address may become another server, with other data.
func TestTheSecretIsCheckedAgainAfterAReconnect(t *testing.T) {
	srv := redistest.Start(t, "appendonly", "no")
	raw := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	reports := make(chan error, 1000)
	s := consent.Bind(raw, "ours", func(err error) { reports <- err })
	id := testID("u")
	decide(t, s, id, consent.Granted)
	cache := node(t, s, time.Hour)
	if v := cached(t, cache, id); v != 1 {
		t.Fatalf("version %d", v)
	}

	srv.Stop()
	eventually(t, 10*time.Second, "the watcher is down", func() bool { return !cache.Stats().Watching })
	other := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	srv.Restart() // and it has forgotten everything
	op := admin(t, srv.Addr)
	if err := op.Set(t.Context(), keyCheck, "theirs", 0).Err(); err != nil {
		t.Fatal(err)
	}
	decide(t, other, id, consent.Denied)
	watching(t, cache)
	if v, err := cache.Get(t.Context(), consent.Subject{User: id}); !errors.Is(err, consent.ErrOtherSecret) {
		t.Errorf("a server with another secret's data is believed: version %d, %v", v, err)
	}
	if err := <-reports; !errors.Is(err, consent.ErrOtherSecret) {
		t.Errorf("reported: %v", err)
	}
	// And it is believed again once it is ours.
	if err := op.Set(t.Context(), keyCheck, "ours", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v := version(t, cache, id); v != 1 {
		t.Errorf("version %d", v)
	}
}

func TestALostConnectionEndsTheVisits(t *testing.T) {
	srv := redistest.Start(t)
	s := openStore(t, Config{Addresses: []string{srv.Addr}}, Options{})
	for i := range 50 {
		decide(t, s, testID(fmt.Sprint(i)), consent.Granted)
	}
	// The server that comes back is the same, but a cursor need not be: it
	// must not go on where another one stood.
	restarted := false
	err := s.Subjects(t.Context(), 5, func([]consent.ID) error {
		if !restarted {
			restarted = true
			srv.Restart()
		}
		return nil
	})
	if err == nil {
		t.Error("the visits went on at another server")
	}
	if err := s.Subjects(t.Context(), 5, func([]consent.ID) error { return nil }); err != nil {
		t.Errorf("beginning again: %v", err)
	}
}

func TestSlotsThatMoveMeanwhileAreNoticed(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	s := openStore(t, Config{Addresses: []string{servers[0].Addr}, Cluster: true}, Options{})
	id := testID("u")
	decide(t, s, id, consent.Granted)
	moved := false
	err := s.Subjects(t.Context(), 5, func([]consent.ID) error {
		if !moved {
			moved = true
			slot := admin(t, servers[0].Addr).ClusterKeySlot(t.Context(), stateKey(id)).Val()
			from, to := owner(t, servers, slot)
			moveSlot(t, servers, slot, from, to, stateKey(id), ledgerKey(id))
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), errMoved.Error()) {
		t.Errorf("Subjects: %v", err)
	}
}
