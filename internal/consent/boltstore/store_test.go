package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) consent.Store {
		return open(t, filepath.Join(t.TempDir(), "data", "consent.db"))
	})
}

func TestConformanceOfABoundStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) consent.Store {
		s := consent.Bind(open(t, filepath.Join(t.TempDir(), "consent.db")), "check-0", nil)
		if err := s.Ping(t.Context()); err != nil { // and it is bound
			t.Fatal(err)
		}
		return s
	})
}

func TestTheBindingIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consent.db")
	s := open(t, path)
	if kept, err := s.Bind(t.Context(), "one"); !kept || err != nil {
		t.Fatalf("Bind: %v, %v", kept, err)
	}
	s.Close()
	s = open(t, path)
	if _, err := s.Bind(t.Context(), "another"); !errors.Is(err, consent.ErrOtherSecret) {
		t.Errorf("Bind with another: %v", err)
	}
	if kept, err := s.Bind(t.Context(), "one"); !kept || err != nil {
		t.Errorf("Bind again: %v, %v", kept, err)
	}
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// policy has one version, every purpose and no recipient.
type policy struct{}

func (policy) Versions() []string       { return []string{"1"} }
func (policy) HasPurpose(string) bool   { return true }
func (policy) HasRecipient(string) bool { return false }
func (policy) Separate(string) bool     { return false }

// decide is a write that follows on prev.
func decide(t testing.TB, id consent.ID, prev consent.State, status consent.Status) consent.Write {
	t.Helper()
	d := consent.Decision{
		Subject: id, Salt: make([]byte, 16),
		Event: consent.Event{PolicyVersion: "1", Grants: []consent.Answer{{Purpose: "p", Status: status}}},
	}
	next, entry, err := consent.Apply(prev, d, policy{}, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	return consent.Write{ID: id, Prev: prev, Next: next, Entry: entry}
}

func commit(t testing.TB, s *Store, w consent.Write) consent.State {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w.Next
}

// ledger returns a verified ledger that leads to the state beside it.
func ledger(t testing.TB, s *Store, id consent.ID) []consent.Entry {
	t.Helper()
	entries, err := s.Ledger(t.Context(), id, 0, 1_000_000)
	if err == nil {
		err = consent.VerifyChain(entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	states, err := s.Load(t.Context(), []consent.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(entries); uint64(n) != states[0].Version || n > 0 && entries[n-1].Hash != states[0].Head {
		t.Fatalf("%s: %d entries do not lead to version %d", id, n, states[0].Version)
	}
	return entries
}

func TestOnlyTheOwnerMayReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "consent.db")
	open(t, path).Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(p), got, want)
		}
	}
}

func TestASecondOpenSaysWhoMayHaveTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consent.db")
	open(t, path)
	_, err := Open(path, Options{Timeout: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "another consentgate") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsWrittenIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consent.db")
	s := open(t, path)
	w := decide(t, "u", consent.State{}, consent.Denied)
	w.IdempotencyKey = "k"
	commit(t, s, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if n := len(ledger(t, s, "u")); n != 1 {
		t.Errorf("%d entries", n)
	}
	if _, ok, err := s.Seen(t.Context(), "u", "k"); !ok || err != nil {
		t.Errorf("Seen: %v, %v", ok, err)
	}
}

func TestAFileOfAnotherFormatIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consent.db")
	s := open(t, path)
	put(t, s, bucketMeta, keyFormat, []byte("2"))
	s.Close()
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), `format "2"`) {
		t.Errorf("error %v", err)
	}
	// And it was let go of.
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()

	if err := os.WriteFile(path, []byte(strings.Repeat("not bbolt ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("a file that is no database was opened")
	}
}

func put(t testing.TB, s *Store, bucket, key, value []byte) {
	t.Helper()
	err := s.file.DB().Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
	if err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s *Store, bucket, key []byte) (v []byte) {
	t.Helper()
	if err := s.file.DB().View(func(tx *bolt.Tx) error {
		v = append(v, tx.Bucket(bucket).Get(key)...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// A turned bit anywhere in a record must never make it another record, or none.
func TestADamagedRecordIsAnErrorAndNoState(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "consent.db"))
	prev := commit(t, s, decide(t, "u", consent.State{}, consent.Denied))
	record := get(t, s, bucketStates, []byte("u"))
	damaged := [][]byte{{}, record[:4], record[:5], record[:len(record)-1], append(record[:len(record):len(record)], 0)}
	for i := range record {
		b := append([]byte(nil), record...)
		b[i] ^= 1
		damaged = append(damaged, b)
	}
	for _, b := range damaged {
		put(t, s, bucketStates, []byte("u"), b)
		if states, err := s.Load(t.Context(), []consent.ID{"v", "u"}); !errors.Is(err, consent.ErrCorrupt) || states != nil {
			t.Fatalf("%q was read as %+v, %v", b, states, err)
		}
		if err := s.Commit(t.Context(), decide(t, "u", prev, consent.Granted)); !errors.Is(err, consent.ErrCorrupt) {
			t.Fatalf("%q was written over: %v", b, err)
		}
	}
}

func TestADamagedLedgerIsAnError(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "consent.db"))
	w := decide(t, "u", consent.State{}, consent.Denied)
	w.IdempotencyKey = "k"
	commit(t, s, w)
	other := decide(t, "v", consent.State{}, consent.Denied)
	foreign, err := consent.EncodeEntry(other.Entry)
	if err != nil {
		t.Fatal(err)
	}
	entry := get(t, s, bucketLedger, ledgerKey("u", 1))
	for name, b := range map[string][]byte{
		"cut short":         entry[:len(entry)-1],
		"empty":             {},
		"another subject's": foreign,
		"changed":           []byte(strings.Replace(string(entry), "denied", "granted", 1)),
	} {
		put(t, s, bucketLedger, ledgerKey("u", 1), b)
		if _, err := s.Ledger(t.Context(), "u", 0, 1); !errors.Is(err, consent.ErrCorrupt) {
			t.Errorf("%s: Ledger: %v", name, err)
		}
		if _, ok, err := s.Seen(t.Context(), "u", "k"); !errors.Is(err, consent.ErrCorrupt) || ok {
			t.Errorf("%s: Seen: %v, %v", name, ok, err)
		}
	}
	put(t, s, bucketIdempotency, idempotencyKey("u", "k"), []byte("short"))
	if _, ok, err := s.Seen(t.Context(), "u", "k"); !errors.Is(err, consent.ErrCorrupt) || ok {
		t.Errorf("Seen: %v, %v", ok, err)
	}
}

func TestIdempotencyKeysExpireAndAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	s, err := Open(filepath.Join(t.TempDir(), "consent.db"), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var state consent.State
	write := func(key string) {
		w := decide(t, "u", state, consent.Granted)
		w.IdempotencyKey = key
		state = commit(t, s, w)
	}
	seen := func(key string) bool {
		_, ok, err := s.Seen(t.Context(), "u", key)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	kept := func() (n int) {
		_ = s.file.DB().View(func(tx *bolt.Tx) error {
			n = tx.Bucket(bucketIdempotency).Stats().KeyN
			return nil
		})
		return n
	}
	for i := range idempotencyKept + 1 {
		write(fmt.Sprint(i))
	}
	if seen("0") || !seen("1") || !seen(fmt.Sprint(idempotencyKept)) || kept() != idempotencyKept {
		t.Errorf("of %d keys, %d are kept, or not the last", idempotencyKept+1, kept())
	}
	now = now.Add(idempotencyTTL)
	if seen("1") {
		t.Error("a key is remembered for longer than a day")
	}
	write("1") // free again, and the others go
	if !seen("1") || kept() != 1 {
		t.Errorf("%d keys are kept after a day", kept())
	}
}
