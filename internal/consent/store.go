package consent

import (
	"context"
	"errors"
)

// Errors that a Store returns, to be told apart with errors.Is. Any other
// error means that the store could not be asked: nobody has granted anything.
var (
	// ErrConflict: the state changed since it was read. Read again and retry.
	ErrConflict = errors.New("the subject's state has changed meanwhile")
	// ErrGone: the subject was cancelled and has not registered again.
	ErrGone = errors.New("the subject has been cancelled")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("the store is closed")
	// ErrCorrupt: a record is damaged. It is never read as an absent one, which
	// could hide a refusal.
	ErrCorrupt = errors.New("a stored record is damaged")
	// ErrOtherSecret: the store is bound to another root secret. Under this one
	// every subject in it would be a stranger, refusals included.
	ErrOtherSecret = errors.New("the store belongs to another root secret; give the one that its data were recorded under")
)

// Write is one atomic change of one subject: an entry appended to the ledger
// and the state that it leads to. It is applied if, and only if, the stored
// state still has the version and the head that State was computed from.
//
// Next replaces the stored state as a whole: what it lacks must be gone from
// the store, every grant included. Next alone says whether the subject is
// tombstoned.
type Write struct {
	ID    ID
	Prev  State // as read
	Next  State // Next.Version == Prev.Version+1, Next.Head == Entry.Hash
	Entry Entry // Entry.Seq == Next.Version, Entry.Prev == Prev.Head
	// IdempotencyKey, when not empty, is remembered with the entry, so that a
	// repeated request finds it with Store.Seen.
	IdempotencyKey string
	// Erase says that Next has no grants, no salt and no links, because the
	// subject (Next.Tombstoned), or the user of this device (not tombstoned),
	// was cancelled. The ledger and the idempotency keys stay: they are the
	// proof.
	Erase bool
}

// Check reports a write that no store may accept: one that would break the
// chain, or say that it erases and keep something.
func (w *Write) Check() error {
	switch {
	case w.ID == "" || w.Entry.Subject != w.ID:
		return errors.New("consent: the write is of another subject than its entry")
	case w.Next.Version != w.Prev.Version+1 || w.Entry.Seq != w.Next.Version:
		return errors.New("consent: the write does not follow the version it read")
	case w.Entry.Prev != w.Prev.Head || w.Next.Head != w.Entry.Hash || w.Entry.Hash == "":
		return errors.New("consent: the write does not follow the head it read")
	case w.Erase && (len(w.Next.Grants) > 0 || w.Next.Salt != nil || len(w.Next.Links) > 0 ||
		w.Next.Policy != "" || w.Next.Guardian != nil || !w.Next.MinorUntil.IsZero()):
		return errors.New("consent: the write erases and keeps")
	}
	return nil
}

// Store keeps states and ledgers. A Write that returned nil is durable: it
// survives kill -9 of this process (embedded), or was acknowledged by the
// server, and by the replicas that the configuration asks for (redis).
//
// A store may be used by many goroutines at once. After Close every method
// returns ErrClosed. The suite that every store passes is in storetest.
type Store interface {
	// Load reads the states of all ids, in their order, in one round trip. A
	// subject that was never recorded has the zero State.
	Load(ctx context.Context, ids []ID) ([]State, error)
	// Commit applies a write. It returns ErrConflict when the state has
	// changed since it was read, or when the subject has an entry under the
	// idempotency key: Seen has it then. After any other error the write may or may
	// not have been applied.
	Commit(ctx context.Context, w Write) error
	// Seen returns the entry that was committed with this idempotency key, and
	// false when there is none. A store remembers a key for a day at least, and
	// at least the last 128 of a subject.
	Seen(ctx context.Context, id ID, idempotencyKey string) (Entry, bool, error)
	// Ledger returns up to limit entries after the one numbered after (0: from
	// the first), oldest first.
	Ledger(ctx context.Context, id ID, after uint64, limit int) ([]Entry, error)
	// Subjects calls visit with the IDs of all subjects that have a state,
	// cancelled ones included, in pages of 1 to limit IDs and in no order. It
	// holds no more than a page or two in memory, and no lock while visit
	// runs, which may write. It ends with visit's first error, and returns it.
	//
	// A subject that has a state from beginning to end is visited, perhaps more
	// than once; one that gets its first state meanwhile may be missed. Any error
	// of the store means that some may not have been visited: begin again.
	Subjects(ctx context.Context, limit int, visit func(ids []ID) error) error
	// Bind ties the store to a root secret, of which check is the check value
	// ([Identifier.Check]): it keeps the first one that it is given, and
	// returns ErrOtherSecret for every other. kept is false when the store
	// keeps none and this user may not write it; nothing speaks against the
	// secret then, and nothing for it.
	Bind(ctx context.Context, check string) (kept bool, err error)
	// Watch calls changed for every subject whose state changed, on this node
	// or another, and reset whenever changes may have been missed (the link
	// went down, or came back): what was cached before a reset is worth
	// nothing. down reports whether the link is down now: nothing may then be
	// served from a cache. The first call is always a reset, made once the
	// watch is in place. Watch returns when ctx ends or the store is closed.
	Watch(ctx context.Context, changed func(ID), reset func(down bool)) error
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}
