package outbox

import "time"

// Gather puts records together, oldest first, until they are a batch by its
// limit. Every engine cuts its batches with it.
type Gather struct {
	limit  Limit
	n      int
	bytes  int
	full   bool
	oldest time.Time
}

// maxBytes is far above what any partner takes in one request.
const maxBytes = 1 << 30

// NewGather returns an empty one. A limit of no count or no bytes is one record
// or one byte, and none is above maxBytes: a batch must not grow without end.
func NewGather(l Limit) *Gather {
	l.Count, l.Bytes = max(l.Count, 1), max(1, min(l.Bytes, maxBytes))
	return &Gather{limit: l}
}

// Add takes the next record in, and reports whether it belongs to the batch. If
// it does not, the batch is full without it.
func (g *Gather) Add(r *Record, now time.Time) bool {
	if g.full || g.n > 0 && len(r.Body) > g.limit.Bytes-g.bytes {
		g.full = true
		return false
	}
	at := r.At
	if at.After(now) {
		at = now // a clock that runs ahead must not hold records back for longer than Age
	}
	if g.n == 0 || at.Before(g.oldest) {
		g.oldest = at
	}
	g.n++
	g.bytes += len(r.Body)
	g.full = g.n >= g.limit.Count || g.bytes >= g.limit.Bytes
	return true
}

// Len is how many records were taken in.
func (g *Gather) Len() int { return g.n }

// Full reports that count or bytes are reached.
func (g *Gather) Full() bool { return g.full }

// Wait is how long the batch may still wait for more, by its age: 0 or less once
// that is reached. Without a record there is nothing to wait for.
func (g *Gather) Wait(now time.Time) time.Duration {
	return g.oldest.Add(g.limit.Age).Sub(now)
}

// Want is how many records to read next, within a read of n: about as many as
// are missing, by the records so far.
func (g *Gather) Want(n int) int {
	want := g.limit.Count - g.n
	if g.n > 0 && g.bytes > 0 {
		want = min(want, (g.limit.Bytes-g.bytes)*g.n/g.bytes+1)
	}
	return max(1, min(want, n))
}
