package consent

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// ErrIdempotencyMismatch: the idempotency key was used for another event of the
// same subject.
var ErrIdempotencyMismatch = errors.New("the idempotency key belongs to another event")

// ErrTooManyLinks: the user has MaxLinks devices, or the device MaxLinks users.
var ErrTooManyLinks = errors.New("the subject has too many links")

// attempts bounds how often a write is tried anew because another one came
// first.
const attempts = 32

// Service records and shows what subjects decide, for callers who have raw ids.
// Its methods may be called concurrently. It logs nothing, and no error of it
// repeats an id.
//
// Every method returns [ErrNoSubject] for an id that names nobody, and the
// store's own error where the store could not be asked.
type Service struct {
	store   Store
	policy  func() Policy
	ident   *Identifier
	now     func() time.Time
	onWrite func(ID)
}

// NewService returns a Service. policy returns the policy in force, which may
// change between calls; now is the clock. onWrite, if not nil, is called with
// every subject whose state was, or may have been, written, before the method
// that wrote it returns: this node's own cache must not outlive the
// acknowledgement.
func NewService(store Store, policy func() Policy, ident *Identifier, now func() time.Time, onWrite func(ID)) *Service {
	if onWrite == nil {
		onWrite = func(ID) {}
	}
	return &Service{store, policy, ident, now, onWrite}
}

// Record records an event and returns its ledger entry and the state it led
// to.
//
// Where idempotencyKey is not empty and the subject has an entry under it, that
// entry is returned with the present state and replayed true, and nothing is
// written; if it is of another event, [ErrIdempotencyMismatch]. An event that
// cannot be recorded is an [*InvalidError], one for a cancelled subject that
// does not register [ErrGone].
func (s *Service) Record(ctx context.Context, e Event, idempotencyKey string) (entry Entry, state State, replayed bool, err error) {
	d, err := e.Decision(s.ident)
	if err != nil {
		return Entry{}, State{}, false, err
	}
	if len(idempotencyKey) > MaxIdempotency {
		return Entry{}, State{}, false, errors.New("the idempotency key is longer than 256 bytes")
	}
	event, err := d.encode()
	if err != nil {
		return Entry{}, State{}, false, err
	}
	key := ""
	if idempotencyKey != "" {
		// Callers make keys of whatever they have, ids included.
		key = string(s.ident.digest(idempotencyKind, idempotencyKey))
	}
	err = s.retry(ctx, func() error {
		if key != "" {
			seen, ok, err := s.store.Seen(ctx, d.Subject, key)
			if err != nil {
				return err
			}
			if ok {
				if !bytes.Equal(seen.Event, event) {
					return ErrIdempotencyMismatch
				}
				entry, replayed = seen, true
				state, err = s.load(ctx, d.Subject)
				return err
			}
		}
		prev, err := s.load(ctx, d.Subject)
		if err != nil {
			return err
		}
		state, entry, err = Apply(prev, d, s.policy(), s.now())
		if err != nil {
			return err
		}
		return s.commit(ctx, Write{ID: d.Subject, Prev: prev, Next: state, Entry: entry, IdempotencyKey: key})
	})
	if err != nil {
		return Entry{}, State{}, false, err
	}
	return entry, state, replayed, nil
}

// State returns a subject's state: the zero State when nothing was ever
// recorded, and one that is Tombstoned after a cancellation.
func (s *Service) State(ctx context.Context, kind Kind, id string) (State, error) {
	subject, ok := s.ident.Identify(kind, id)
	if !ok {
		return State{}, ErrNoSubject
	}
	return s.load(ctx, subject)
}

// Ledger returns up to limit entries of a subject's ledger after the one
// numbered after (0: from the first), oldest first.
func (s *Service) Ledger(ctx context.Context, kind Kind, id string, after uint64, limit int) ([]Entry, error) {
	subject, ok := s.ident.Identify(kind, id)
	if !ok {
		return nil, ErrNoSubject
	}
	return s.store.Ledger(ctx, subject, after, limit)
}

// Receipt returns a subject's consent record as of now. notice is what the
// policy in force says; verified is when the caller verified who asks, from
// which the date due counts (zero: the receipt states none).
func (s *Service) Receipt(ctx context.Context, kind Kind, id string, notice Notice, verified time.Time) (Receipt, error) {
	subject, ok := s.ident.Identify(kind, id)
	if !ok {
		return Receipt{}, ErrNoSubject
	}
	state, err := s.load(ctx, subject)
	if err != nil {
		return Receipt{}, err
	}
	return NewReceipt(subject, kind, state, notice, s.now(), verified), nil
}

func (s *Service) load(ctx context.Context, id ID) (State, error) {
	states, err := s.loadAll(ctx, []ID{id})
	if err != nil {
		return State{}, err
	}
	return states[0], nil
}

func (s *Service) loadAll(ctx context.Context, ids []ID) ([]State, error) {
	states, err := s.store.Load(ctx, ids)
	if err != nil {
		return nil, err
	}
	if len(states) != len(ids) {
		return nil, errors.New("consent: the store answered for another number of subjects")
	}
	return states, nil
}

func (s *Service) commit(ctx context.Context, w Write) error {
	if err := w.Check(); err != nil {
		return err
	}
	err := s.store.Commit(ctx, w)
	// Whatever came back: a write whose answer was lost may stand.
	s.onWrite(w.ID)
	return err
}

// retry runs try until it meets no conflict. It waits a random moment between
// attempts, so that writers of one subject get out of step.
func (s *Service) retry(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if !errors.Is(err, ErrConflict) || n == attempts {
			return err
		}
		t := time.NewTimer(rand.N(time.Duration(n) * time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}
