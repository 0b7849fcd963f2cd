package caddymodule

import (
	"context"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// watchPolicy looks at the policy's files until ctx ends, and tells when the
// cache's link to the store goes and comes.
func (e *engine) watchPolicy(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	watching := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.reload()
		e.reloadGeo()
		if now := e.cache.Stats().Watching; now != watching {
			watching = now
			if watching {
				caddy.Log().Named("consent").Info("changes of consent reach the cache")
			}
		}
	}
}

// reload reads the policy again if a file of it has changed.
func (e *engine) reload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.source.changed() {
		return
	}
	log := caddy.Log().Named("consent")
	policy, err := e.source.load()
	if err == nil {
		err = e.take(&Current{Policy: policy, Generation: generations.Add(1)})
	}
	for a := range e.apps {
		a.metrics.countReload(err == nil)
	}
	cur := e.current.Load()
	if err != nil {
		log.Error("the changed policy is refused; the one in force stays",
			zap.String("file", e.source.name), zap.String("version", cur.Policy.InForce()),
			zap.Strings("problems", strings.Split(err.Error(), "\n")))
		return
	}
	log.Info("the changed policy is in force", zap.String("file", e.source.name),
		zap.String("policy", cur.Policy.ID()), zap.String("version", cur.Policy.InForce()))
}

// join lets an app use the engine, and brings the two to one policy: the newer
// of the one that the app has read and the one that is in force.
func (e *engine) join(a *App) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cur, read := e.current.Load(), a.loaded
	switch {
	case cur == read:
	case cur.Generation > read.Generation || cur.Policy.Digest() == read.Policy.Digest():
		take, err := a.prepare(cur)
		if err != nil {
			return err
		}
		take()
	default:
		// The app has read a change before this engine did. What cannot follow
		// belongs to a configuration on its way out, and fails closed.
		for old := range e.apps {
			if take, err := old.prepare(read); err == nil {
				take()
			}
		}
		e.source = a.source
		e.put(read)
	}
	e.apps[a] = struct{}{}
	cur = e.current.Load()
	a.metrics.setPolicy(cur.Policy.ID(), cur.Policy.InForce())
	return nil
}

// leave ends join.
func (e *engine) leave(a *App) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.apps, a)
}

// take puts another policy in force once every part that uses one is ready for
// it.
func (e *engine) take(next *Current) error {
	var ready []func()
	for a := range e.apps {
		take, err := a.prepare(next)
		if err != nil {
			return err
		}
		ready = append(ready, take)
	}
	for _, take := range ready {
		take()
	}
	e.put(next)
	return nil
}

// settle waits until no policy is on its way into force.
func (a *App) settle() {
	if e := a.engine.Load(); e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
}

// put puts a policy in force. What the cache holds was decided by the one
// before.
func (e *engine) put(next *Current) {
	e.current.Store(next)
	e.cache.Reset()
	for a := range e.apps {
		a.metrics.setPolicy(next.Policy.ID(), next.Policy.InForce())
	}
}

// prepare makes all that use this app's policy ready for another one.
func (a *App) prepare(next *Current) (take func(), err error) {
	if err := a.checkPlaces(next.Policy); err != nil {
		return nil, err
	}
	a.mu.Lock()
	prepares := a.onPolicy
	a.mu.Unlock()
	takes := make([]func(), len(prepares))
	for i, p := range prepares {
		if takes[i], err = p(next); err != nil {
			return nil, err
		}
	}
	return func() {
		for _, take := range takes {
			take()
		}
	}, nil
}
