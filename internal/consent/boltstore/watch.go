package boltstore

import (
	"context"
	"sync"

	"github.com/consentgate/consentgate/internal/consent"
)

// maxPending bounds what is kept for a watcher that does not keep up. Beyond
// it the watcher is told to forget everything instead.
const maxPending = 1 << 16

// watchers are told of changes, each in its own time: no writer waits for one.
type watchers struct {
	mu     sync.Mutex
	all    map[*watcher]struct{}
	closed chan struct{}
}

// watcher is what one call of Watch has not told yet; it is guarded by the
// watchers' mutex.
type watcher struct {
	pending map[consent.ID]struct{}
	missed  bool
	wake    chan struct{} // holds one
}

func newWatchers() *watchers {
	return &watchers{all: make(map[*watcher]struct{}), closed: make(chan struct{})}
}

func (ws *watchers) announce(id consent.ID) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if len(w.pending) < maxPending {
			w.pending[id] = struct{}{}
		} else {
			w.missed = true
			clear(w.pending)
		}
		select {
		case w.wake <- struct{}{}:
		default: // it will wake anyway, and find this too
		}
	}
}

func (ws *watchers) watch(ctx context.Context, changed func(consent.ID), reset func(down bool)) error {
	w := &watcher{pending: make(map[consent.ID]struct{}), wake: make(chan struct{}, 1)}
	ws.mu.Lock()
	ws.all[w] = struct{}{}
	ws.mu.Unlock()
	defer func() {
		ws.mu.Lock()
		delete(ws.all, w)
		ws.mu.Unlock()
	}()
	if err := ws.over(ctx); err != nil {
		return err
	}
	reset(false)
	for {
		select {
		case <-ctx.Done():
		case <-ws.closed:
		case <-w.wake:
		}
		if err := ws.over(ctx); err != nil {
			return err
		}
		ws.mu.Lock()
		ids, missed := w.pending, w.missed
		w.pending, w.missed = make(map[consent.ID]struct{}), false
		ws.mu.Unlock()
		if missed {
			reset(false)
		}
		for id := range ids {
			changed(id)
		}
	}
}

// over says why a watch ends, if it does.
func (ws *watchers) over(ctx context.Context) error {
	select {
	case <-ws.closed:
		return consent.ErrClosed
	default:
		return ctx.Err()
	}
}

func (ws *watchers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	select {
	case <-ws.closed:
	default:
		close(ws.closed)
	}
}
