package consent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// flight is a reading of one subject's state that is under way. Those of one
// round trip share done; entry and err are set before it is closed.
type flight[V any] struct {
	generation uint64
	done       chan struct{}
	entry      *entry[V]
	err        error
}

// load fills out[i] for each i in missing, in as many round trips as it takes:
// one for the subjects, one more for the users linked to a device.
func (c *Cache[V]) load(ctx context.Context, subjects []Subject, missing []int, out []V) error {
	f := c.finder()
	f.pinned = make(map[ID]*entry[V], 2*len(missing))
	for {
		var need []ID
		asked := make(map[ID]bool)
		for _, i := range missing {
			need = f.missing(subjects[i], need, asked)
		}
		if len(need) == 0 {
			break
		}
		if err := c.fetch(ctx, need, f.pinned); err != nil {
			return err
		}
	}
	f.now = c.opts.Now()
	for _, i := range missing {
		v, ok := c.resolve(&f, subjects[i])
		if !ok { // each entry it needs has just been pinned
			return errors.New("consent cache: a loaded state is missing")
		}
		out[i] = v
	}
	return nil
}

// fetch reads the states of ids into entries. An id that is being read already,
// in the present generation, is waited for and not read twice; while nothing
// invalidates, each caller reads for itself, since only a reading that begins
// after the call is known to be new enough.
//
// The reading outlives the caller's context, bounded by LoadTimeout: others may
// wait for it.
func (c *Cache[V]) fetch(ctx context.Context, ids []ID, into map[ID]*entry[V]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var own []ID
	var ownFlights []*flight[V]
	flights := make([]*flight[V], len(ids))
	done := make(chan struct{})

	c.mu.Lock()
	f := c.finder()
	generation, lease := f.generation, f.now.Add(c.opts.Lease)
	for i, id := range ids {
		// One that was being read a moment ago may be here by now.
		if e := f.find(id); e != nil {
			into[id] = e
			continue
		}
		fl := c.flights[id]
		if fl == nil || fl.generation != generation {
			fl = &flight[V]{generation: generation, done: done}
			own = append(own, id)
			ownFlights = append(ownFlights, fl)
			if generation&watching != 0 {
				c.flights[id] = fl
			}
		}
		flights[i] = fl
	}
	c.mu.Unlock()

	if len(own) > 0 {
		go c.fly(context.WithoutCancel(ctx), own, ownFlights, generation, lease, done)
	}
	for i, fl := range flights {
		if fl == nil {
			continue
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if fl.err != nil {
			return fl.err
		}
		into[ids[i]] = fl.entry
	}
	return nil
}

// fly is one round trip to the store.
func (c *Cache[V]) fly(ctx context.Context, ids []ID, flights []*flight[V], generation uint64, lease time.Time, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	c.loads.Add(1)
	states, err := c.store.Load(ctx, ids)
	if err == nil && len(states) != len(ids) {
		err = fmt.Errorf("consent cache: the store returned %d states for %d subjects", len(states), len(ids))
	}
	if err != nil {
		c.errors.Add(1)
	}
	for i, fl := range flights {
		if fl.err = err; err == nil {
			fl.entry = &entry[V]{state: states[i], generation: generation, lease: lease}
		}
	}

	c.mu.Lock()
	for i, fl := range flights {
		// A flight that is no longer listed was forgotten, or overtaken by a
		// reset: those who wait asked before that and have their answer, but
		// it must not be kept.
		if c.flights[ids[i]] != fl {
			continue
		}
		delete(c.flights, ids[i])
		if err == nil && generation == c.generation.Load() {
			c.entries.Set(ids[i], fl.entry)
		}
	}
	c.mu.Unlock()
	close(done)
}
