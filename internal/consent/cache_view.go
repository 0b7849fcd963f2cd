package consent

import (
	"sync/atomic"
	"time"
)

// entry is the state of one subject as it was read. Only its views change.
type entry[V any] struct {
	state      State
	generation uint64    // taken before the reading
	lease      time.Time // counted from before the reading

	// alone is the view of this subject by itself (a device: with its users).
	alone atomic.Pointer[view[V]]
	// withUser is the view of a device's last user together with this device.
	// It stands with the device since a user has several devices and a device
	// seldom several users.
	withUser atomic.Pointer[view[V]]
}

// view is what derive made of one or more entries. It holds while these very
// entries do, and until.
type view[V any] struct {
	others []*entry[V] // besides the entry that it stands with
	value  V
	until  time.Time // zero: no limit
}

func (v *view[V]) fresh(now time.Time) bool {
	return v != nil && (v.until.IsZero() || now.Before(v.until))
}

// finder looks entries up for one request. Entries that are pinned are the
// answer whatever becomes of the cache meanwhile.
type finder[V any] struct {
	cache      *Cache[V]
	generation uint64
	now        time.Time
	pinned     map[ID]*entry[V] // nil: a look only
}

func (c *Cache[V]) finder() finder[V] {
	return finder[V]{cache: c, generation: c.generation.Load(), now: c.opts.Now()}
}

// find returns nil when the store must be asked.
func (f *finder[V]) find(id ID) *entry[V] {
	if e := f.pinned[id]; e != nil {
		return e
	}
	if f.generation&watching == 0 {
		return nil
	}
	e, ok := f.cache.entries.GetIfPresent(id)
	if !ok || e.generation != f.generation || !f.now.Before(e.lease) {
		return nil
	}
	if f.pinned != nil {
		f.pinned[id] = e
	}
	return e
}

// missing appends the ids that must be read before s can be resolved, as far as
// that is known yet: whom a device is linked to shows once it has been read.
func (f *finder[V]) missing(s Subject, ids []ID, asked map[ID]bool) []ID {
	need := func(id ID) *entry[V] {
		e := f.find(id)
		if e == nil && !asked[id] {
			asked[id] = true
			ids = append(ids, id)
		}
		return e
	}
	if s.User != "" {
		need(s.User)
	}
	if s.Device != "" {
		d := need(s.Device)
		if d != nil && s.User == "" {
			for _, id := range d.state.Links {
				need(id)
			}
		}
	}
	return ids
}

// resolve returns what s comes to, and false when an entry is missing. It does
// not allocate where the view is at hand.
func (c *Cache[V]) resolve(f *finder[V], s Subject) (v V, ok bool) {
	switch {
	case s == Subject{}:
		e := c.nobody.Load()
		if e == nil || e.generation != f.generation {
			e = &entry[V]{generation: f.generation}
			c.nobody.Store(e)
		}
		return c.aloneValue(f, e), true
	case s.User == "":
		d := f.find(s.Device)
		if d == nil {
			return v, false
		}
		return c.deviceValue(f, s.Device, d)
	case s.Device == "":
		u := f.find(s.User)
		if u == nil {
			return v, false
		}
		return c.aloneValue(f, u), true
	}
	u, d := f.find(s.User), f.find(s.Device)
	if u == nil || d == nil {
		return v, false
	}
	if !u.state.LinkedTo(s.Device) && !d.state.LinkedTo(s.User) {
		return c.aloneValue(f, u), true
	}
	w := d.withUser.Load()
	if !w.fresh(f.now) || w.others[0] != u {
		state := Join(u.state, linkedState(s.User, u, s.Device, d))
		w = c.newView(state, []*entry[V]{u})
		d.withUser.Store(w)
	}
	return w.value, true
}

func (c *Cache[V]) aloneValue(f *finder[V], e *entry[V]) V {
	w := e.alone.Load()
	if !w.fresh(f.now) {
		w = c.newView(e.state, nil)
		e.alone.Store(w)
	}
	return w.value
}

// deviceValue is the view of a device without a user: with all its users.
func (c *Cache[V]) deviceValue(f *finder[V], id ID, d *entry[V]) (v V, ok bool) {
	if len(d.state.Links) == 0 {
		return c.aloneValue(f, d), true
	}
	w := d.alone.Load()
	same := w.fresh(f.now) && len(w.others) == len(d.state.Links)
	for i, user := range d.state.Links {
		u := f.find(user)
		if u == nil {
			return v, false
		}
		same = same && w.others[i] == u
	}
	if !same {
		others := make([]*entry[V], len(d.state.Links))
		states := make([]State, len(others))
		for i, user := range d.state.Links {
			// Not found only if it was evicted since a moment ago.
			if others[i] = f.find(user); others[i] == nil {
				return v, false
			}
			states[i] = linkedState(id, d, user, others[i])
		}
		w = c.newView(JoinDevice(d.state, states...), others)
		d.alone.Store(w)
	}
	return w.value, true
}

func (c *Cache[V]) newView(s State, others []*entry[V]) *view[V] {
	value, until := c.derive(s)
	return &view[V]{others: others, value: value, until: until}
}

// linkedState is the state of the other side of a link, as far as it counts for
// this side. A link is two writes; where only one side has it, it is being made
// or undone, and nothing may be granted on the strength of it.
func linkedState[V any](thisID ID, this *entry[V], otherID ID, other *entry[V]) State {
	if this.state.LinkedTo(otherID) && other.state.LinkedTo(thisID) {
		return other.state
	}
	return refusals(other.state)
}

// refusals is what of a state restricts: all but the acceptance, the grants and
// a guardian's consent.
func refusals(s State) State {
	s.Policy = ""
	if s.Guardian != nil && s.Guardian.Status == Granted {
		s.Guardian = nil
	}
	grants := make(map[GrantKey]Grant)
	for k, g := range s.Grants {
		if g.refuses() {
			grants[k] = g
		}
	}
	s.Grants = grants
	return s
}
