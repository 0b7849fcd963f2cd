package boltfile

import (
	"sync"

	bolt "go.etcd.io/bbolt"
)

// group lets commits share a transaction, and so an fsync: while one is being
// written, those that come meanwhile wait together and make up the next. Unlike
// bbolt's Batch, which waits for company, it lets a lone commit go at once, and
// one commit that is refused does not make the others run again.
type group struct {
	mu      sync.Mutex
	waiting []*pending
	writing bool // a goroutine is at it
}

// pending is a commit that waits to be written.
type pending struct {
	apply Apply
	err   error
	done  chan struct{}
}

// Apply writes one commit, or returns why not. An error before the first write
// is refused, and is this commit's alone; any other spoils the transaction for
// all that share it.
type Apply func(tx *bolt.Tx) (refused, failed error)

// groupSize bounds one transaction, whose pages are held in memory.
const groupSize = 1024

// Commit returns when apply is on disk, or why it is not. Others may be in the
// same transaction, before or behind it.
func (f *File) Commit(apply Apply) error {
	p := &pending{apply: apply, done: make(chan struct{})}
	g := &f.group
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	first := !g.writing
	g.writing = true
	g.mu.Unlock()
	if first {
		go f.write()
	}
	<-p.done
	return p.err
}

// write writes until nobody waits.
func (f *File) write() {
	g := &f.group
	for {
		g.mu.Lock()
		n := min(len(g.waiting), groupSize)
		now := g.waiting[:n:n]
		g.waiting = g.waiting[n:]
		if n == 0 {
			g.waiting, g.writing = nil, false
		}
		g.mu.Unlock()
		if n == 0 {
			return
		}
		err := f.Update(func(tx *bolt.Tx) error {
			for _, p := range now {
				var failed error
				if p.err, failed = p.apply(tx); failed != nil {
					return failed
				}
			}
			return nil
		})
		for _, p := range now {
			if err != nil {
				p.err = err
			}
			close(p.done)
		}
	}
}
