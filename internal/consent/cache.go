package consent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Subject is whom a record is about, as far as the request tells: a user, a
// device, both or, when both are empty, nobody.
type Subject struct {
	User   ID
	Device ID
}

// CacheOptions are the bounds of a [Cache]. The zero value has the defaults.
type CacheOptions struct {
	// Capacity is how many states are kept, those of unknown subjects included.
	// Default: 100 000.
	Capacity int
	// Lease is how long a state is served without asking the store again,
	// should its invalidation never arrive. Default: 3 s.
	Lease time.Duration
	// LoadTimeout bounds one reading of the store. Default: 1 s.
	LoadTimeout time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// CacheStats are the counters of a [Cache] since it was made.
type CacheStats struct {
	Hits   uint64 // subjects answered without the store
	Misses uint64 // subjects that needed it
	Loads  uint64 // round trips to the store
	Errors uint64 // round trips that failed
	Resets uint64 // times that everything cached became worthless
	// Entries is about how many states are held, of any generation.
	Entries int
	// Watching tells whether invalidations arrive. While they do not, every
	// subject is read from the store.
	Watching bool
}

// Cache answers, for each request, what a subject's state comes to: a V, such
// as a policy's permits, that derive makes of the state and that is worth
// something until validUntil (zero: as long as the state).
//
// A state is served from memory only while it is known to be the present one.
// The generation is bumped whenever invalidations may have been missed (the
// watcher went down, or came up again), and a cached state counts only if it
// has the present generation, taken before its load began, and its lease has
// not run out. While the watcher is down, and before [Cache.Run] has brought it
// up, nothing is served from memory: each request reads the store, and an error
// of the store is the request's error.
//
// Whose state it is: that of the user, joined with the device's if the two are
// linked; without a user, the device's, joined with those of the users linked
// to it; without either, the zero State. A link that stands in the state of one
// side only is one that is being made or undone: what the other side refused
// then counts, and what it granted does not.
//
// A Cache is safe for concurrent use. Its values are shared: they must not be
// changed.
type Cache[V any] struct {
	store  Store
	derive func(State) (V, time.Time)
	opts   CacheOptions

	// generation counts the resets in all bits but the lowest, which is set
	// while the watcher is up: one load tells a reader both.
	generation atomic.Uint64
	entries    *otter.Cache[ID, *entry[V]]
	nobody     atomic.Pointer[entry[V]]

	mu      sync.Mutex // orders the end of a load against Forget
	flights map[ID]*flight[V]

	hits, misses, loads, errors, resets atomic.Uint64
}

const watching = 1 // the lowest bit of a generation

// NewCache returns a cache in front of store. It serves nothing from memory
// until [Cache.Run] runs. derive must be pure but for the clock and the policy;
// when either the policy or anything else that it depends on changes, call
// [Cache.Reset].
func NewCache[V any](store Store, opts CacheOptions, derive func(State) (v V, validUntil time.Time)) *Cache[V] {
	if opts.Capacity <= 0 {
		opts.Capacity = 100_000
	}
	if opts.Lease <= 0 {
		opts.Lease = 3 * time.Second
	}
	if opts.LoadTimeout <= 0 {
		opts.LoadTimeout = time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Cache[V]{
		store:   store,
		derive:  derive,
		opts:    opts,
		entries: otter.Must(&otter.Options[ID, *entry[V]]{MaximumSize: opts.Capacity}),
		flights: make(map[ID]*flight[V]),
	}
}

// Get returns what the subject's state comes to. Any error means that the state
// is not known.
func (c *Cache[V]) Get(ctx context.Context, s Subject) (V, error) {
	f := c.finder()
	if v, ok := c.resolve(&f, s); ok {
		c.hits.Add(1)
		return v, nil
	}
	c.misses.Add(1)
	out := make([]V, 1)
	err := c.load(ctx, []Subject{s}, []int{0}, out)
	return out[0], err
}

// GetAll is [Cache.Get] for many subjects, in their order. What is not cached is
// read in one round trip, and in a second one the users linked to devices that
// came without a user. It returns all or an error.
func (c *Cache[V]) GetAll(ctx context.Context, subjects []Subject) ([]V, error) {
	out := make([]V, len(subjects))
	var missing []int
	f := c.finder()
	for i, s := range subjects {
		v, ok := c.resolve(&f, s)
		if !ok {
			missing = append(missing, i)
			continue
		}
		out[i] = v
	}
	c.hits.Add(uint64(len(subjects) - len(missing)))
	if len(missing) == 0 {
		return out, nil
	}
	c.misses.Add(uint64(len(missing)))
	if err := c.load(ctx, subjects, missing, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Forget drops what is cached of one subject, and keeps loads of it that are
// under way from being cached. A Get that begins after Forget has returned reads
// the store anew. Whoever writes a state calls it after the write and before
// acknowledging it.
func (c *Cache[V]) Forget(id ID) {
	c.mu.Lock()
	delete(c.flights, id)
	c.entries.Invalidate(id)
	c.mu.Unlock()
}

// Reset makes everything cached worthless, as when the policy has changed.
func (c *Cache[V]) Reset() {
	for {
		g := c.generation.Load()
		if c.generation.CompareAndSwap(g, g+2) {
			c.resets.Add(1)
			return
		}
	}
}

// reset is Reset at a change of the watcher's link.
func (c *Cache[V]) reset(down bool) {
	for {
		g := c.generation.Load()
		next := (g + 2) &^ watching
		if !down {
			next |= watching
		}
		if c.generation.CompareAndSwap(g, next) {
			c.resets.Add(1)
			return
		}
	}
}

// Run takes the store's invalidations until ctx ends or the store gives up
// watching, and returns the store's error. Only while Run runs is anything
// served from memory.
func (c *Cache[V]) Run(ctx context.Context) error {
	defer c.reset(true)
	return c.store.Watch(ctx, c.Forget, c.reset)
}

// Stats returns the counters.
func (c *Cache[V]) Stats() CacheStats {
	return CacheStats{
		Hits:     c.hits.Load(),
		Misses:   c.misses.Load(),
		Loads:    c.loads.Load(),
		Errors:   c.errors.Load(),
		Resets:   c.resets.Load(),
		Entries:  c.entries.EstimatedSize(),
		Watching: c.generation.Load()&watching != 0,
	}
}
