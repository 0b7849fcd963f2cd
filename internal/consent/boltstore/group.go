package boltstore

import (
	"errors"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/consentgate/consentgate/internal/consent"
)

// group lets commits share a transaction, and so an fsync: while one is being
// written, those that come meanwhile wait together and make up the next. Unlike
// bbolt's Batch, which waits for company, it lets a lone commit go at once, and
// one commit that conflicts does not make the others run again.
type group struct {
	mu      sync.Mutex
	waiting []*pending
	writing bool // a goroutine is at it
}

// pending is a commit that waits to be written.
type pending struct {
	// apply writes it, or returns why not. An error before the first write is
	// refused; any other spoils the transaction.
	apply func(tx *bolt.Tx) (refused, failed error)
	err   error
	done  chan struct{}
}

// groupSize bounds one transaction, whose pages are held in memory.
const groupSize = 1024

// commit returns when apply is on disk, or why it is not.
func (g *group) commit(db *bolt.DB, apply func(*bolt.Tx) (refused, failed error)) error {
	p := &pending{apply: apply, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	first := !g.writing
	g.writing = true
	g.mu.Unlock()
	if first {
		go g.write(db)
	}
	<-p.done
	return p.err
}

// write writes until nobody waits.
func (g *group) write(db *bolt.DB) {
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
		err := update(db, now)
		for _, p := range now {
			if err != nil {
				p.err = err
			}
			close(p.done)
		}
	}
}

// update writes all of them in one transaction.
func update(db *bolt.DB, all []*pending) error {
	return guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			for _, p := range all {
				var failed error
				if p.err, failed = p.apply(tx); failed != nil {
					return failed
				}
			}
			return nil
		})
	})
}

// guard runs a transaction. bbolt panics over pages that make no sense; that
// must be the end of the call, not of the gateway.
func guard(transaction func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the file's pages make no sense", consent.ErrCorrupt)
		}
	}()
	return closed(transaction())
}

// closed gives bbolt's word for a closed file our name.
func closed(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return consent.ErrClosed
	}
	return err
}
