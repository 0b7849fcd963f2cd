package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

// lenient is a policy of one version that has every purpose and no recipient.
type lenient struct{}

func (lenient) Versions() []string       { return []string{"v1"} }
func (lenient) HasPurpose(string) bool   { return true }
func (lenient) HasRecipient(string) bool { return false }
func (lenient) Separate(string) bool     { return false }

// start is when the first write of every test is made.
var start = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

// subject returns an ID as the gateway makes them, another for every name and
// every test, so that stores may be shared between tests.
func subject(t *testing.T, name string) consent.ID {
	sum := sha256.Sum256([]byte(t.Name() + "\x00" + name))
	return consent.ID(base64.RawURLEncoding.EncodeToString(sum[:])[:22])
}

// decide is a write that follows on prev: the subject accepts the policy and
// answers for the purpose "p".
func decide(t *testing.T, id consent.ID, prev consent.State, status consent.Status) consent.Write {
	t.Helper()
	return apply(t, id, prev, consent.Answer{Purpose: "p", Status: status})
}

func apply(t *testing.T, id consent.ID, prev consent.State, answers ...consent.Answer) consent.Write {
	t.Helper()
	accept := true
	d := consent.Decision{
		Subject: id,
		Salt:    []byte("0123456789abcdef"),
		Event:   consent.Event{PolicyVersion: "v1", AcceptPolicy: &accept, Grants: answers},
	}
	at := start.Add(time.Duration(prev.Version) * time.Second)
	next, entry, err := consent.Apply(prev, d, lenient{}, at)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return consent.Write{ID: id, Prev: prev, Next: next, Entry: entry}
}

func load(t *testing.T, s consent.Store, id consent.ID) consent.State {
	t.Helper()
	states, err := s.Load(t.Context(), []consent.ID{id})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if len(states) != 1 {
		t.Fatalf("Load of one subject gave %d states", len(states))
	}
	return states[0]
}

func commit(t *testing.T, s consent.Store, w consent.Write) consent.State {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return w.Next
}

// ledger returns the whole ledger and checks that it leads to the state.
func ledger(t *testing.T, s consent.Store, id consent.ID) []consent.Entry {
	t.Helper()
	entries, err := s.Ledger(t.Context(), id, 0, 1_000_000)
	if err != nil {
		t.Fatalf("Ledger: %v", err)
	}
	if err := consent.VerifyChain(entries); err != nil {
		t.Fatal(err)
	}
	state := load(t, s, id)
	if n := uint64(len(entries)); n != state.Version {
		t.Fatalf("the ledger has %d entries, and the state version %d", n, state.Version)
	}
	if len(entries) > 0 && entries[len(entries)-1].Hash != state.Head {
		t.Fatal("the state's head is not the hash of the last entry")
	}
	return entries
}

// watch starts a watch that ends with the test. It returns when the watch is in
// place, and what it is told.
func watch(t *testing.T, s consent.Store) (changed <-chan consent.ID, done <-chan error) {
	t.Helper()
	ids, resets, errs := make(chan consent.ID, 1000), make(chan bool, 1000), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		errs <- s.Watch(ctx, func(id consent.ID) { ids <- id }, func(down bool) { resets <- down })
	}()
	for {
		select {
		case down := <-resets:
			if !down {
				return ids, errs
			}
		case err := <-errs:
			t.Fatalf("Watch ended: %v", err)
		case <-time.After(patience):
			t.Fatal("Watch never said that it is in place")
		}
	}
}

// patience is how long a test waits for what a store does in its own time.
const patience = 20 * time.Second

// expect waits until the subject is announced, whatever else is.
func expect(t *testing.T, changed <-chan consent.ID, id consent.ID) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-changed:
			if got == id {
				return
			}
		case <-deadline:
			t.Fatal("the change was not announced")
		}
	}
}

// odd are strings that a store could mistake for its own punctuation.
var odd = []string{
	"a;b", "a@b", "a:b", "a%3Bb", "a b", "a\nb", "a\tb", "a\x00b", "a=b", "a,b", "a{b}", `a"b`, `a\b`,
	";", "@", ":", "%", "位置", "Ünïcödé", "😀", "grant:x", "version", "head", "tombstone", "{x}", "*",
}

func oddly(i int) string { return fmt.Sprintf("%s/%d", odd[i%len(odd)], i) }
