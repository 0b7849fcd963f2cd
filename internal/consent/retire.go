package consent

import (
	"context"
	"errors"
	"sync"
)

const (
	// retirePage is how many IDs are held at once, and retireWriters how many
	// of them are cancelled at once: enough for a file's commits to share an
	// fsync, and no more than a server's pool has connections for.
	retirePage    = 512
	retireWriters = 32
	// retirePasses bounds how often the whole store is gone through.
	retirePasses = 10
)

// ErrStillRecording: after many passes there were still subjects who had just
// been recorded. Something goes on writing.
var ErrStillRecording = errors.New("subjects go on being recorded")

// Retired counts what [Service.RetireAll] has come to.
type Retired struct {
	Cancelled uint64 // subjects, by this call
	Before    uint64 // subjects found cancelled already; some may be counted twice
	Failed    uint64 // subjects that could not be cancelled, and have not been since
}

// retireEvent says in each ledger why the subject was cancelled.
var retireEvent = []byte(`{"evidence":{"channel":"retire"}}`)

// Retire cancels a subject of whom nothing but the ID is known, at the end of
// the service. It does what [Service.Cancel] does, but leaves the other side
// of each link as it is: that is a subject who is retired too. It returns
// [ErrGone] when the subject is cancelled already.
func (s *Service) Retire(ctx context.Context, id ID) (Entry, error) {
	return s.cancel(ctx, id, retireEvent, func([]ID) error { return nil })
}

// RetireAll cancels every subject in the store. It passes over the store until
// it finds nobody left, so that subjects recorded meanwhile, and those who
// could not be cancelled at first, are met again; after ten passes that each
// met someone it gives up with [ErrStillRecording].
//
// It may be cut short at any point and called again: whoever is cancelled is
// skipped. Errors of single subjects are counted, and told to failed, which may
// be nil; an error of the store as a whole ends the pass, and is returned if that
// pass cancelled nobody. told, if not nil, gets the counts after every subject.
// Neither is called concurrently.
func (s *Service) RetireAll(ctx context.Context, failed func(ID, error), told func(Retired)) (Retired, error) {
	var (
		mu    sync.Mutex
		total Retired
	)
	count := func(id ID, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			total.Cancelled++
		case errors.Is(err, ErrGone): // by someone else, a moment ago
			total.Before++
		default:
			total.Failed++
			if failed != nil {
				failed(id, err)
			}
		}
		if told != nil {
			told(total)
		}
	}
	var err error
	for pass := range retirePasses {
		before := total.Cancelled
		total.Failed = 0
		err = s.store.Subjects(ctx, retirePage, func(ids []ID) error {
			living, err := s.living(ctx, ids)
			if err != nil {
				return err
			}
			if pass == 0 {
				mu.Lock()
				total.Before += uint64(len(ids) - len(living))
				mu.Unlock()
			}
			s.retireEach(ctx, living, count)
			return ctx.Err()
		})
		if total.Cancelled == before || ctx.Err() != nil {
			return total, err
		}
	}
	if err == nil {
		err = ErrStillRecording
	}
	return total, err
}

// retireEach cancels the subjects of a page, several at once.
func (s *Service) retireEach(ctx context.Context, ids []ID, count func(ID, error)) {
	next := make(chan ID)
	var writers sync.WaitGroup
	for range min(retireWriters, len(ids)) {
		writers.Go(func() {
			for id := range next {
				_, err := s.Retire(ctx, id)
				count(id, err)
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	writers.Wait()
}

// Survey counts the subjects in the store: those who are not cancelled, and
// those who are. It writes nothing. Subjects whose state cannot be read count
// as not cancelled. With Redis some may be counted twice.
func (s *Service) Survey(ctx context.Context) (alive, cancelled uint64, err error) {
	err = s.store.Subjects(ctx, retirePage, func(ids []ID) error {
		living, err := s.living(ctx, ids)
		alive += uint64(len(living))
		cancelled += uint64(len(ids) - len(living))
		return err
	})
	return alive, cancelled, err
}

// living returns those of ids who are not known to be cancelled. Where one
// state is damaged, each is read by itself.
func (s *Service) living(ctx context.Context, ids []ID) ([]ID, error) {
	states, err := s.loadAll(ctx, ids)
	var living []ID
	if err == nil {
		for i := range states {
			if !states[i].Tombstoned {
				living = append(living, ids[i])
			}
		}
		return living, nil
	}
	if !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	for _, id := range ids {
		state, err := s.load(ctx, id)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		if err != nil || !state.Tombstoned {
			living = append(living, id)
		}
	}
	return living, nil
}
