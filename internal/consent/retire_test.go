package consent_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/boltstore"
)

// anyPurpose is a policy of one version that has every purpose.
type anyPurpose struct{}

func (anyPurpose) Versions() []string       { return []string{"1"} }
func (anyPurpose) HasPurpose(string) bool   { return true }
func (anyPurpose) HasRecipient(string) bool { return false }
func (anyPurpose) Separate(string) bool     { return false }

// troubled is a store to which something happens.
type troubled struct {
	consent.Store
	commit   func(consent.Write) error
	subjects func()
	after    func() error // the pages of a pass
}

func (s *troubled) Commit(ctx context.Context, w consent.Write) error {
	if s.commit != nil {
		if err := s.commit(w); err != nil {
			return err
		}
	}
	return s.Store.Commit(ctx, w)
}

func (s *troubled) Subjects(ctx context.Context, limit int, visit func([]consent.ID) error) error {
	if s.subjects != nil {
		s.subjects()
	}
	if err := s.Store.Subjects(ctx, limit, visit); err != nil || s.after == nil {
		return err
	}
	return s.after()
}

func newTroubled(t *testing.T) (*troubled, *consent.Service) {
	t.Helper()
	file, err := boltstore.Open(filepath.Join(t.TempDir(), "consent.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	ident, err := consent.NewIdentifier([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	store := &troubled{Store: file}
	return store, consent.NewService(store, func() consent.Policy { return anyPurpose{} }, ident, time.Now, nil)
}

func record(t *testing.T, s *consent.Service, name string) consent.ID {
	t.Helper()
	accept := true
	e, _, _, err := s.Record(t.Context(), consent.Event{Subject: name, PolicyVersion: "1", AcceptPolicy: &accept}, "")
	if err != nil {
		t.Fatal(err)
	}
	return e.Subject
}

func TestRetireErasesAndSaysWhy(t *testing.T) {
	store, s := newTroubled(t)
	u := record(t, s, "u")
	if err := s.Link(t.Context(), "u", "d"); err != nil {
		t.Fatal(err)
	}
	record(t, s, "cancelled")
	if _, err := s.Cancel(t.Context(), consent.User, "cancelled"); err != nil {
		t.Fatal(err)
	}
	var told []consent.Retired
	done, err := s.RetireAll(t.Context(), nil, func(r consent.Retired) { told = append(told, r) })
	want := consent.Retired{Cancelled: 2, Before: 1} // u and d
	if err != nil || done != want || len(told) != 2 || told[1] != want {
		t.Errorf("%+v, %v; told %+v", done, err, told)
	}
	states, err := store.Load(t.Context(), []consent.ID{u})
	if err != nil {
		t.Fatal(err)
	}
	if st := states[0]; !st.Tombstoned || st.Salt != nil || len(st.Grants) > 0 || len(st.Links) > 0 || st.Policy != "" {
		t.Errorf("state %+v", st)
	}
	for _, kind := range []consent.Kind{consent.User, consent.Device} {
		id := map[consent.Kind]string{consent.User: "u", consent.Device: "d"}[kind]
		entries, err := s.Ledger(t.Context(), kind, id, 0, 10)
		if err == nil {
			err = consent.VerifyChain(entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		last := entries[len(entries)-1]
		if last.Type != consent.EntryCancel || string(last.Event) != `{"evidence":{"channel":"retire"}}` || last.PolicyVersion != "1" {
			t.Errorf("the last entry of the %s is %+v", kind, last)
		}
	}
	// A cancellation before that keeps its own reason, and is the last entry.
	entries, err := s.Ledger(t.Context(), consent.User, "cancelled", 0, 10)
	if err != nil || len(entries) != 2 || string(entries[1].Event) != "{}" {
		t.Errorf("%+v, %v", entries, err)
	}
	if again, err := s.RetireAll(t.Context(), nil, nil); err != nil || again != (consent.Retired{Before: 3}) {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestWhoCannotBeCancelledIsTriedAgainAndCounted(t *testing.T) {
	store, s := newTroubled(t)
	var ids []consent.ID
	for i := range 20 {
		ids = append(ids, record(t, s, fmt.Sprint("u", i)))
	}
	broken := errors.New("no space left")
	var tries [2]atomic.Int32
	store.commit = func(w consent.Write) error {
		switch {
		case w.ID == ids[3] && tries[0].Add(1) == 1: // once
			return broken
		case w.ID == ids[7]: // for good
			tries[1].Add(1)
			return broken
		}
		return nil
	}
	var failed []consent.ID
	done, err := s.RetireAll(t.Context(), func(id consent.ID, err error) {
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		failed = append(failed, id)
	}, nil)
	if err != nil || done != (consent.Retired{Cancelled: 19, Failed: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
	if !slices.Contains(failed, ids[3]) || tries[1].Load() < 2 {
		t.Errorf("failed %v, tried %d times", failed, tries[1].Load())
	}
}

func TestSubjectsRecordedMeanwhileAreRetiredToo(t *testing.T) {
	store, s := newTroubled(t)
	record(t, s, "u")
	passes := 0
	store.subjects = func() {
		if passes++; passes <= 3 {
			record(t, s, fmt.Sprint("new", passes))
		}
	}
	if done, err := s.RetireAll(t.Context(), nil, nil); err != nil || done.Cancelled != 4 {
		t.Errorf("%+v, %v", done, err)
	}
	// Without an end of it there is an end to the trying.
	passes = 0
	store.subjects = func() { passes++; record(t, s, fmt.Sprint("ever", passes)) }
	if done, err := s.RetireAll(t.Context(), nil, nil); !errors.Is(err, consent.ErrStillRecording) || done.Cancelled != uint64(passes) {
		t.Errorf("%+v, %v after %d passes", done, err, passes)
	}
}

// A link that breaks ends a pass; as long as each gets on, another follows.
func TestAPassCutShortIsBegunAgain(t *testing.T) {
	store, s := newTroubled(t)
	record(t, s, "u")
	away := errors.New("away")
	breaks := 0
	store.after = func() error {
		if breaks++; breaks == 1 {
			return away
		}
		return nil
	}
	if done, err := s.RetireAll(t.Context(), nil, nil); err != nil || done.Cancelled != 1 || breaks != 2 {
		t.Errorf("%+v, %v after %d passes", done, err, breaks)
	}
	store.after = func() error { breaks++; return away }
	if _, err := s.RetireAll(t.Context(), nil, nil); !errors.Is(err, away) || breaks != 3 {
		t.Errorf("%v after %d passes", err, breaks)
	}
}

func TestTheSurveyWritesNothing(t *testing.T) {
	store, s := newTroubled(t)
	for i := range 5 {
		record(t, s, fmt.Sprint("u", i))
	}
	if _, err := s.Cancel(t.Context(), consent.User, "u0"); err != nil {
		t.Fatal(err)
	}
	store.commit = func(consent.Write) error { t.Error("something was written"); return nil }
	if alive, cancelled, err := s.Survey(t.Context()); alive != 4 || cancelled != 1 || err != nil {
		t.Errorf("%d, %d, %v", alive, cancelled, err)
	}
}

func TestRetiringEndsWithItsContext(t *testing.T) {
	store, s := newTroubled(t)
	for i := range 10 {
		record(t, s, fmt.Sprint("u", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	store.commit = func(consent.Write) error { cancel(); return nil }
	if _, err := s.RetireAll(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
