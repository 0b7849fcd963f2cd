// Package outbox delivers records to partners: each at least once, in order
// for each subject, whatever becomes of the partner, the network or this
// process meanwhile.
//
// A [Queue] keeps what has been accepted: Redis Streams across many gateways,
// or a file of its own on one. A delivery (package deliver below) takes batches
// out of it and posts them. What rests in a queue is de-identified already, and
// a subject is known in it by a keyed digest alone.
//
// The package must never know what was consented to, what a record means, or
// who a subject is.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// Errors that a Queue returns, to be told apart with errors.Is. Any other error
// means that the queue could not be asked, and that nothing may be assumed.
var (
	// ErrFull: the partner's queue is at its bound, and its bound says refuse.
	ErrFull = errors.New("the outbox is full")
	// ErrLost: another consumer holds the partition by now.
	ErrLost = errors.New("the lease of the partition is lost")
	// ErrLetterID: what was given as the id of a dead letter is none.
	ErrLetterID = errors.New("no dead letter has such an ID")
	// ErrClosed: the queue is closed.
	ErrClosed = errors.New("the outbox is closed")
)

// Partitions is how many partitions each partner's queue has. The records of
// one subject are all in one of them, and each has one consumer at a time. It
// must not change while queues hold records.
const Partitions = 8

// Record is what one partner is to get of one record that came in.
type Record struct {
	// Key is the idempotency key: what the partner may tell a repetition by. It
	// is this partner's own, and says nothing about the subject.
	Key string
	// Subject is the keyed digest of the subject, "" for none. It decides on
	// the partition.
	Subject string
	// Release says what the record was released under, so that its owner can
	// decide again when it leaves. A queue does not read it.
	Release []byte
	// Body is one JSON text, as the partner may have it.
	Body []byte
	// At is when the record was accepted.
	At time.Time
}

// Size is what a record counts for, in bytes, where bytes are bounded.
func (r *Record) Size() int {
	return len(r.Key) + len(r.Subject) + len(r.Release) + len(r.Body) + recordOverhead
}

// recordOverhead is about what an engine adds to a record.
const recordOverhead = 64

// Partition returns the partition of the records of a subject.
func Partition(subject string) int {
	h := fnv.New32a()
	h.Write([]byte(subject))
	return int(h.Sum32() % Partitions)
}

// Bound is how much may wait for one partner.
type Bound struct {
	// Bytes, by Record.Size, over all partitions. Each of them may hold an
	// equal share of it. What one request has for a partition must fit into
	// that share, whatever waits there: if not, Append returns ErrFull.
	Bytes int64
	// DropOldest says that what is over the bound makes room by losing the
	// oldest records, those of the batch under way first. Otherwise Append
	// returns ErrFull.
	DropOldest bool
}

// Share is how many bytes one partition may hold.
func (b Bound) Share() int64 { return max(b.Bytes, 0) / Partitions }

// Limit is what makes a batch complete: whatever of it is reached first.
type Limit struct {
	Count int           // records
	Bytes int           // of their bodies; a longer record is a batch of its own
	Age   time.Duration // of the oldest record, by Record.At
}

// Queue keeps the records of all partners. Its methods may be called by many
// goroutines.
type Queue interface {
	// Append adds the records of one request, in order, to a partner's queue.
	// When it returns nil they are durable. dropped counts the older records
	// that had to make room. After an error some of the records may have been
	// added: the error is the whole request's, and whoever repeats it repeats
	// the keys. ErrFull means that none were.
	Append(ctx context.Context, partner string, bound Bound, records []Record) (dropped int, err error)

	// Lease waits until a partition of the partner has no consumer, and
	// becomes its consumer. The order of the partitions is the caller's
	// business: it asks for each by number.
	Lease(ctx context.Context, partner string, partition int) (Lease, error)

	// Stats tells what waits for a partner, the batch under way included, and
	// what is dead.
	Stats(ctx context.Context, partner string) (Stats, error)

	// Dead lists dead letters, oldest first, behind the id given ("": from the
	// first), at most limit of them, and a thousand at most. ErrLetterID means
	// that the id is none.
	Dead(ctx context.Context, partner string, after string, limit int) ([]DeadLetter, error)

	// Replay puts dead letters back at the end of the partner's queue, with the
	// keys that they had, and returns how many of the ids there were. Without
	// ids it is all of them that there are by then. A letter is never in neither
	// place. No bound holds them back; Append is bounded by them as by others.
	Replay(ctx context.Context, partner string, ids ...string) (int, error)

	// Close gives up all leases. What is in the queue stays there.
	Close() error
}

// Lease makes its holder the one consumer of a partition.
type Lease interface {
	// Batch returns the next batch. That is the very batch that was last taken
	// and not done, whoever took it: the same records in the same order, but
	// for what Bound has dropped since, so that repeating it repeats its key.
	// Else it waits until limit is reached. Between Batch and Done there is one
	// batch.
	Batch(ctx context.Context, limit Limit) ([]Record, error)

	// Done takes the batch out. Those records of it that dead names, by index,
	// become dead letters in the same step, but for what Bound has dropped
	// since: that was counted already. After an error other than ErrLost it may
	// have been done or not, and may be repeated.
	Done(ctx context.Context, dead map[int]Verdict) error

	// Lost is closed once the lease has ended, be it that it was lost, released,
	// or given up when the queue was closed: what is under way may be repeated
	// by another. Batch and Done return ErrLost from then on, or ErrClosed.
	Lost() <-chan struct{}

	// Release gives the partition to the next consumer at once. It waits for a
	// Done that is under way. Releasing again does nothing.
	Release()
}

// CheckDone reports what no engine may take out: a batch that was never taken, or
// verdicts on records that it does not have.
func CheckDone(batch int, dead map[int]Verdict) error {
	if batch == 0 {
		return errors.New("no batch is under way: Done comes after Batch")
	}
	for i := range dead {
		if i < 0 || i >= batch {
			return fmt.Errorf("the batch has no record %d", i)
		}
	}
	return nil
}

// Verdict is why a record is a dead letter.
type Verdict struct {
	// Status is the HTTP status that the partner answered with.
	Status int
	// At is when it did.
	At time.Time
}

// DeadLetter is a record that the partner will not take.
type DeadLetter struct {
	// ID names it in this queue; a later letter has a greater one.
	ID string
	Record
	Verdict
}

// Stats is what waits for one partner.
type Stats struct {
	Records int64
	Bytes   int64     // by Record.Size
	Oldest  time.Time // when the oldest record was accepted; zero: there is none
	Dead    int64
	// Forgotten counts the dead letters, ever, that later ones have pushed out:
	// a queue keeps a bounded number of them.
	Forgotten int64
}
