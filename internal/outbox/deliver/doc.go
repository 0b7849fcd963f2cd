// Package deliver takes batches out of an [outbox.Queue] and posts them to a
// partner until the partner has them: each record at least once, and those of
// one subject in order, whatever the partner, the network or this process do
// meanwhile.
//
// One [Delivery] serves one partner. Each partition of the partner's queue has
// a goroutine that leases it, takes a batch, asks the [Recheck] what of it may
// still go, posts that, and takes the batch out. It holds one batch at a time,
// so that a partner that is down costs that much memory and no more.
//
// What holds all partitions of a partner back is shared by them: a circuit
// breaker, a Retry-After, and the rates.
//
// The package must never know what was consented to, nor what a record means,
// and it must never tell what it carries: neither logs nor what an [Observer]
// gets hold a byte of a record, of an answer, or of a URL's query.
package deliver
