// Package redisqueue keeps the outbox in Redis 7.0 or newer, where several
// gateways share it: one server, one that sentinels look after, or a cluster. It
// is an [outbox.Queue].
//
// A partition of a partner has four keys, which share a hash tag and so a
// cluster slot. Of partition 3 of the partner adx they are
//
//	consent:outbox:{adx:3}:records  stream: r → the record, s → its Record.Size
//	consent:outbox:{adx:3}:counts   hash: bytes → those of all records,
//	                                forgotten → dead letters pushed out, ever
//	consent:outbox:{adx:3}:dead     stream: v → the verdict, r and s as above
//	consent:outbox:{adx:3}:lease    string: the token of the consumer, expiring
//
// The stream has one consumer group, "delivery", with one consumer, "gateway":
// who that is by now, the lease says. What is pending in the group is the batch
// under way. A record is deleted when it is done; the group starts at the
// beginning, so one that was lost with its stream is made again and misses
// nothing.
//
// Whatever depends on the lease is a script that compares its token: a consumer
// that lost it unawares changes nothing.
//
// What is acknowledged here is as durable as the server: "appendonly yes" and
// "appendfsync always" to survive its death, [Options.Replicas] to survive its
// loss, and "maxmemory-policy noeviction", lest it forgets what it has promised.
//
// The package must never know what is in a record, beyond its size and its time.
package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// Options say how a [Queue] writes and leases.
type Options struct {
	// Replicas is how many replicas must acknowledge a write. Default: 0, the
	// master's word is enough.
	Replicas int
	// ReplicaTimeout bounds the wait for them. It must be less than the
	// client's read timeout. Default: 250 ms.
	ReplicaTimeout time.Duration
	// Timeout bounds every operation, but for the waiting that is asked for.
	// Default: 1 s. The client must honour contexts (ContextTimeoutEnabled), as
	// those of redisstore.NewClient do.
	Timeout time.Duration
	// LeaseLife is how long a lease outlives a consumer that is gone. It is
	// renewed after a third of that. Default: 15 s.
	LeaseLife time.Duration
	// LeaseRetry is about how often one looks whether a lease that another
	// gateway holds is free. Default: 500 ms.
	LeaseRetry time.Duration
	// DeadLetters is how many dead letters are kept for each partner, each
	// partition having an equal share of it. Beyond that the oldest are
	// forgotten, and counted. Default: 10000.
	DeadLetters int
}

// Queue is an [outbox.Queue] in Redis. Make one with [New].
type Queue struct {
	client  redis.UniversalClient
	waiting redis.UniversalClient // whose connections wait for records
	scripts redisscript.Runner
	leasing redisscript.Runner // leases do not wait for replicas
	opts    Options

	mu     sync.Mutex
	held   map[partition]chan struct{} // holds one while this process has the lease, or tries to
	leases map[*lease]struct{}
	closed chan struct{}
}

var _ outbox.Queue = (*Queue)(nil)

// partition names one of a partner.
type partition struct {
	partner string
	n       int
}

func (p partition) key(what string) string {
	return "consent:outbox:{" + p.partner + ":" + strconv.Itoa(p.n) + "}:" + what
}

const (
	keyRecords = "records"
	keyCounts  = "counts"
	keyDead    = "dead"
	keyLease   = "lease"
)

// Fields of the streams.
const (
	fieldRecord  = "r"
	fieldSize    = "s"
	fieldVerdict = "v"
)

// New returns a queue that speaks through client, which stays the caller's and
// must outlive the queue. It does not connect. The queue makes a client of its
// own beside it, with the same options, for the connections on which consumers
// wait: one for each partition that this gateway consumes.
func New(client redis.UniversalClient, opts Options) *Queue {
	orDefault(&opts.ReplicaTimeout, 250*time.Millisecond)
	orDefault(&opts.Timeout, time.Second)
	orDefault(&opts.LeaseLife, 15*time.Second)
	orDefault(&opts.LeaseRetry, 500*time.Millisecond)
	orDefault(&opts.DeadLetters, 10_000)
	return &Queue{
		client:  client,
		waiting: beside(client),
		scripts: redisscript.Runner{Client: client, Replicas: opts.Replicas, ReplicaTimeout: opts.ReplicaTimeout},
		leasing: redisscript.Runner{Client: client},
		opts:    opts,
		held:    make(map[partition]chan struct{}),
		leases:  make(map[*lease]struct{}),
		closed:  make(chan struct{}),
	}
}

func orDefault[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// waitingConnections bounds those of one node. Each is held by a consumer.
const waitingConnections = 4096

// beside returns a client to the same servers, whose connections may all wait.
func beside(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxActiveConns, o.ContextTimeoutEnabled = waitingConnections, 0, 0, true
		return redis.NewClient(&o)
	case *redis.ClusterClient:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxActiveConns, o.ContextTimeoutEnabled = waitingConnections, 0, 0, true
		return redis.NewClusterClient(&o)
	}
	return client // of a kind unknown here: it may run out of connections
}

// Stats implements [outbox.Queue]. The partitions are not read at one moment.
func (q *Queue) Stats(ctx context.Context, partner string) (outbox.Stats, error) {
	const doing = "counting what waits"
	if err := q.ready(ctx, partner); err != nil {
		return outbox.Stats{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.opts.Timeout)
	defer cancel()
	var (
		pipe    = q.client.Pipeline()
		records [outbox.Partitions]*redis.IntCmd
		dead    [outbox.Partitions]*redis.IntCmd
		counts  [outbox.Partitions]*redis.SliceCmd
		first   [outbox.Partitions]*redis.XMessageSliceCmd
	)
	for n := range outbox.Partitions {
		p := partition{partner, n}
		records[n] = pipe.XLen(ctx, p.key(keyRecords))
		dead[n] = pipe.XLen(ctx, p.key(keyDead))
		counts[n] = pipe.HMGet(ctx, p.key(keyCounts), "bytes", "forgotten")
		first[n] = pipe.XRangeN(ctx, p.key(keyRecords), "-", "+", 1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return outbox.Stats{}, q.failed(doing, err)
	}
	var s outbox.Stats
	for n := range outbox.Partitions {
		s.Records += records[n].Val()
		s.Dead += dead[n].Val()
		for i, sum := range []*int64{&s.Bytes, &s.Forgotten} {
			text, _ := counts[n].Val()[i].(string)
			if text == "" {
				continue
			}
			v, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return outbox.Stats{}, q.failed(doing, fmt.Errorf("%w: %s", outbox.ErrCorrupt, partition{partner, n}.key(keyCounts)))
			}
			*sum += v
		}
		for _, m := range first[n].Val() {
			e, err := decode(partition{partner, n}, m)
			if err != nil {
				return outbox.Stats{}, q.failed(doing, err)
			}
			if s.Oldest.IsZero() || e.At.Before(s.Oldest) {
				s.Oldest = e.At
			}
		}
	}
	return s, nil
}

// Close implements [outbox.Queue]. It leaves the client open. Closing again does
// nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	select {
	case <-q.closed:
		q.mu.Unlock()
		return nil
	default:
		close(q.closed)
	}
	leases := q.leases
	q.leases = nil
	q.mu.Unlock()
	// Those that cannot be given up expire.
	var wg sync.WaitGroup
	for l := range leases {
		l.end()
		wg.Go(l.giveUp)
	}
	wg.Wait()
	if q.waiting == q.client {
		return nil
	}
	return q.waiting.Close()
}

// isClosed reports that Close was called.
func (q *Queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// ready says why a call must not begin, if so.
func (q *Queue) ready(ctx context.Context, partner string) error {
	if q.isClosed() {
		return outbox.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return outbox.CheckPartner(partner)
}

// run runs a script that writes, within the timeout, and waits for replicas.
func (q *Queue) run(ctx context.Context, s redisscript.Script, keys []string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, q.opts.Timeout)
	defer cancel()
	return q.scripts.Run(ctx, s, keys, args...)
}

// ended is the error of a context that has ended. A connection's deadline may
// be there before the context's own timer is.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// failed says what failed. The errors of the client name addresses, commands
// and users, never arguments.
func (q *Queue) failed(doing string, err error) error {
	if q.isClosed() {
		return outbox.ErrClosed
	}
	return fmt.Errorf("redis outbox: %s: %w", doing, err)
}

var errReply = errors.New("the script gave no known reply")

// entry is a record in the stream.
type entry struct {
	id string
	outbox.Record
}

// decode reads an entry of the stream of records.
func decode(p partition, m redis.XMessage) (entry, error) {
	text, ok := m.Values[fieldRecord].(string)
	r, err := outbox.DecodeRecord([]byte(text))
	if !ok || err != nil {
		return entry{}, fmt.Errorf("%w: %s, entry %s", outbox.ErrCorrupt, p.key(keyRecords), m.ID)
	}
	return entry{m.ID, r}, nil
}
