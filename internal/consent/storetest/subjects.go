package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

// enumerate returns how often each subject was visited, whoever wrote it.
func enumerate(t *testing.T, s consent.Store, limit int, visit func()) map[consent.ID]int {
	t.Helper()
	seen := make(map[consent.ID]int)
	err := s.Subjects(t.Context(), limit, func(ids []consent.ID) error {
		if len(ids) == 0 || len(ids) > limit {
			t.Errorf("a page of %d subjects, where the limit is %d", len(ids), limit)
		}
		for _, id := range ids {
			seen[id]++
		}
		visit()
		return nil
	})
	if err != nil {
		t.Fatalf("Subjects: %v", err)
	}
	return seen
}

func subjects(t *testing.T, s consent.Store) {
	const n = 60
	for i := range n {
		id := subject(t, fmt.Sprint(i))
		prev := commit(t, s, decide(t, id, consent.State{}, consent.Granted))
		switch i % 3 { // cancelled, and a device that was erased
		case 1:
			commit(t, s, erasure(t, id, prev, true))
		case 2:
			commit(t, s, erasure(t, id, prev, false))
		}
	}
	never := subject(t, "never")
	load(t, s, never)
	for _, limit := range []int{1, 7, n, 10 * n} {
		pages := 0
		seen := enumerate(t, s, limit, func() { pages++ })
		for i := range n {
			if seen[subject(t, fmt.Sprint(i))] == 0 {
				t.Errorf("limit %d: subject %d was not visited", limit, i)
			}
		}
		if seen[never] > 0 {
			t.Errorf("limit %d: a subject without a state was visited", limit)
		}
		if pages < n/limit {
			t.Errorf("limit %d: %d pages", limit, pages)
		}
	}
}

func subjectsMeanwhile(t *testing.T, s consent.Store) {
	const n = 40
	states := make(map[consent.ID]consent.State)
	for i := range n {
		id := subject(t, fmt.Sprint(i))
		states[id] = commit(t, s, decide(t, id, consent.State{}, consent.Granted))
	}
	// The one who visits writes: to those visited, and to new ones.
	added := 0
	seen := make(map[consent.ID]bool)
	err := s.Subjects(t.Context(), 5, func(ids []consent.ID) error {
		for _, id := range ids {
			if prev, mine := states[id]; mine && !seen[id] {
				commit(t, s, erasure(t, id, prev, true))
				seen[id] = true
			}
		}
		if added < 3*n {
			added++
			commit(t, s, decide(t, subject(t, fmt.Sprint("new", added)), consent.State{}, consent.Granted))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Subjects: %v", err)
	}
	if len(seen) != n {
		t.Errorf("%d of %d subjects were visited", len(seen), n)
	}
	// Another time, those are met as well.
	again := enumerate(t, s, 1000, func() {})
	for i := range added {
		if again[subject(t, fmt.Sprint("new", i+1))] == 0 {
			t.Errorf("the subject added as number %d was not visited", i+1)
		}
	}
}

func subjectsStop(t *testing.T, s consent.Store) {
	for i := range 10 {
		commit(t, s, decide(t, subject(t, fmt.Sprint(i)), consent.State{}, consent.Granted))
	}
	enough := errors.New("enough")
	calls := 0
	err := s.Subjects(t.Context(), 3, func([]consent.ID) error { calls++; return enough })
	if err != enough || calls != 1 { //nolint:errorlint // the very error
		t.Errorf("%d calls, %v", calls, err)
	}
}

// binds tells nothing of its own values from those of an earlier run on the same
// store: they are always these.
func binds(t *testing.T, s consent.Store) {
	const rivals = 16
	kept := make([]bool, rivals)
	errs := make([]error, rivals)
	var wg sync.WaitGroup
	for i := range rivals {
		wg.Go(func() { kept[i], errs[i] = s.Bind(t.Context(), fmt.Sprint("check-", i)) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && kept[i] && won < 0:
			won = i
		case err == nil:
			t.Errorf("%d is bound beside %d", i, won)
		case !errors.Is(err, consent.ErrOtherSecret) || kept[i]:
			t.Errorf("%d: %v, %v", i, kept[i], err)
		}
	}
	if won < 0 {
		t.Fatal("nobody bound the store")
	}
	for i := range rivals {
		if kept, err := s.Bind(t.Context(), fmt.Sprint("check-", i)); kept != (i == won) || errors.Is(err, consent.ErrOtherSecret) != (i != won) {
			t.Errorf("%d, where %d won: %v, %v", i, won, kept, err)
		}
	}
	// It is nobody's state.
	for id := range enumerate(t, s, 1000, func() {}) {
		if len(id) != len(subject(t, "u")) {
			t.Errorf("%q was visited", id)
		}
	}
}
