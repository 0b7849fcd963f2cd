package consent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// bindTimeout bounds one look at a store's check value.
const bindTimeout = 3 * time.Second

// Bind returns store as it may be used by who has the root secret of a check
// value ([Identifier.Check]). Nothing is read or written before the store was
// asked whether it belongs to that secret, and nothing that was read is
// returned unless that still holds: every reset of a watch, hence every time
// that the link to a server has come back, makes it ask again. While the store
// belongs to another secret every call returns [ErrOtherSecret], and report, if
// not nil, is told each time that the store was asked. It must not block.
//
// A store that keeps no check value, and takes none from this user, is asked
// at every call: whoever writes it first binds it.
func Bind(store Store, check string, report func(error)) Store {
	b := &boundStore{Store: store, check: check, report: report}
	b.generation.Store(1)
	return b
}

type boundStore struct {
	Store
	check  string
	report func(error)

	generation atomic.Uint64 // counts the resets; never 0
	verified   atomic.Uint64 // the generation in which the store was found to be ours

	mu     sync.Mutex
	asking *binding
}

// binding is one look at the check value. err is set before done is closed.
type binding struct {
	generation uint64
	done       chan struct{}
	err        error
}

// ours returns nil once the store is known to belong to the secret, or when
// nothing speaks against it.
func (b *boundStore) ours(ctx context.Context) error {
	g := b.generation.Load()
	if b.verified.Load() == g {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	a := b.asking
	if a == nil || a.generation != g {
		a = &binding{generation: g, done: make(chan struct{})}
		b.asking = a
		// It outlives this caller: others may wait for it.
		go b.ask(context.WithoutCancel(ctx), a)
	}
	b.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *boundStore) ask(ctx context.Context, a *binding) {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	kept, err := b.Store.Bind(ctx, b.check)
	if errors.Is(err, ErrOtherSecret) && b.report != nil {
		b.report(err)
	}
	if a.err = err; err == nil && kept {
		b.verified.Store(a.generation)
	}
	b.mu.Lock()
	if b.asking == a {
		b.asking = nil
	}
	b.mu.Unlock()
	close(a.done)
}

// Load implements Store.
func (b *boundStore) Load(ctx context.Context, ids []ID) ([]State, error) {
	if err := b.ours(ctx); err != nil {
		return nil, err
	}
	states, err := b.Store.Load(ctx, ids)
	if err == nil {
		err = b.ours(ctx) // the link may have been another's since
	}
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Commit implements Store.
func (b *boundStore) Commit(ctx context.Context, w Write) error {
	if err := b.ours(ctx); err != nil {
		return err
	}
	return b.Store.Commit(ctx, w)
}

// Seen implements Store.
func (b *boundStore) Seen(ctx context.Context, id ID, idempotencyKey string) (Entry, bool, error) {
	if err := b.ours(ctx); err != nil {
		return Entry{}, false, err
	}
	e, ok, err := b.Store.Seen(ctx, id, idempotencyKey)
	if err == nil {
		err = b.ours(ctx)
	}
	if err != nil {
		return Entry{}, false, err
	}
	return e, ok, nil
}

// Ledger implements Store.
func (b *boundStore) Ledger(ctx context.Context, id ID, after uint64, limit int) ([]Entry, error) {
	if err := b.ours(ctx); err != nil {
		return nil, err
	}
	entries, err := b.Store.Ledger(ctx, id, after, limit)
	if err == nil {
		err = b.ours(ctx)
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Subjects implements Store.
func (b *boundStore) Subjects(ctx context.Context, limit int, visit func([]ID) error) error {
	if err := b.ours(ctx); err != nil {
		return err
	}
	return b.Store.Subjects(ctx, limit, func(ids []ID) error {
		if err := b.ours(ctx); err != nil {
			return err
		}
		return visit(ids)
	})
}

// Watch implements Store.
func (b *boundStore) Watch(ctx context.Context, changed func(ID), reset func(down bool)) error {
	return b.Store.Watch(ctx, changed, func(down bool) {
		// Before the cache, whose next reading must find it so.
		b.generation.Add(1)
		reset(down)
	})
}

// Ping implements Store.
func (b *boundStore) Ping(ctx context.Context) error {
	if err := b.ours(ctx); err != nil {
		return err
	}
	return b.Store.Ping(ctx)
}
