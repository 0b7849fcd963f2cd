// Package redisstore keeps consent in Redis 7.0 or newer: one server, one that
// sentinels look after, or a cluster.
//
// A subject has three keys, which share a hash tag and so a cluster slot:
//
//	consent:{ID}:state        hash: the fields of consent.EncodeState
//	consent:{ID}:ledger       stream: the entry numbered N has the id N-0
//	consent:{ID}:idempotency  sorted set: digest of a key → number of its entry
//
// One key is of no subject:
//
//	consent:check             string: check value of the root secret of the IDs
//
// It knows of a subject no more than its ID, a keyed digest. It must never read
// from a replica: a replica may not have heard of a withdrawal yet.
package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/redisscript"
)

// ErrUncertain is the error of a Commit that was sent and not acknowledged: it
// may have been applied or not, or not by as many replicas as asked. Read the
// state again, and ask Seen for the idempotency key, before writing anew.
var ErrUncertain = errors.New("the write may or may not have been applied")

// Options say how a [Store] writes and watches.
type Options struct {
	// Replicas is how many replicas must acknowledge a write before Commit
	// returns nil. Default: 0, the master's word is enough.
	Replicas int
	// ReplicaTimeout bounds the wait for them. It must be less than the
	// client's read timeout. Default: 250 ms.
	ReplicaTimeout time.Duration
	// Timeout bounds every operation. Default: 1 s. The client must honour
	// contexts (ContextTimeoutEnabled), as those of [NewClient] do.
	Timeout time.Duration
	// PublishOnly watches by Pub/Sub alone, for a server or proxy without
	// client tracking. A key that expires or that an operator deletes is then
	// noticed only when the cache's lease ends. A cluster is always watched so.
	PublishOnly bool
	// Report, when not nil, is told why the watcher's link went down or did not
	// come up, each time. It must not block.
	Report func(error)
}

// Store is a [consent.Store] in Redis. Make one with [New].
type Store struct {
	client  redis.UniversalClient
	scripts redisscript.Runner
	opts    Options

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

var _ consent.Store = (*Store)(nil)

// New returns a store that speaks through client, which it owns from now on. It
// does not connect.
func New(client redis.UniversalClient, opts Options) *Store {
	if opts.ReplicaTimeout <= 0 {
		opts.ReplicaTimeout = 250 * time.Millisecond
	}
	if opts.Timeout <= 0 {
		opts.Timeout = time.Second
	}
	return &Store{
		client:  client,
		scripts: redisscript.Runner{Client: client, Replicas: opts.Replicas, ReplicaTimeout: opts.ReplicaTimeout},
		opts:    opts,
		closed:  make(chan struct{}),
	}
}

func stateKey(id consent.ID) string       { return "consent:{" + string(id) + "}:state" }
func ledgerKey(id consent.ID) string      { return "consent:{" + string(id) + "}:ledger" }
func idempotencyKey(id consent.ID) string { return "consent:{" + string(id) + "}:idempotency" }

// Load implements [consent.Store].
func (s *Store) Load(ctx context.Context, ids []consent.ID) ([]consent.State, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()

	replies := make([]*redis.MapStringStringCmd, len(ids))
	switch len(ids) {
	case 0:
		return nil, s.open()
	case 1:
		replies[0] = s.client.HGetAll(ctx, stateKey(ids[0]))
	default:
		pipe := s.client.Pipeline()
		for i, id := range ids {
			replies[i] = pipe.HGetAll(ctx, stateKey(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, s.failed("reading states", err)
		}
	}
	states := make([]consent.State, len(ids))
	for i, reply := range replies {
		fields, err := reply.Result()
		if err != nil {
			return nil, s.failed("reading states", err)
		}
		if states[i], err = consent.DecodeState(fields); err != nil {
			return nil, s.failed("reading states", err)
		}
	}
	return states, nil
}

// Seen implements [consent.Store]. A key is remembered for a day, and at most
// the 128 latest of a subject. With Options.Replicas the answer is yes only
// once as many replicas have the entry: a repeated request is not told of a
// write that a failover could still undo.
func (s *Store) Seen(ctx context.Context, id consent.ID, key string) (consent.Entry, bool, error) {
	const doing = "looking an idempotency key up"
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()

	var seq uint64
	if s.opts.Replicas > 0 {
		reply, err := s.scripts.Run(ctx, seenScript, []string{idempotencyKey(id)}, digest(key), idempotencyTTL.Milliseconds())
		if err != nil {
			return consent.Entry{}, false, s.failed(doing, err)
		}
		if reply == "" {
			return consent.Entry{}, false, nil
		}
		text, _ := reply.(string)
		if seq, err = strconv.ParseUint(text, 10, 64); err != nil {
			return consent.Entry{}, false, s.failed(doing, consent.ErrCorrupt)
		}
	} else {
		score, err := s.client.ZScore(ctx, idempotencyKey(id), digest(key)).Result()
		if errors.Is(err, redis.Nil) {
			return consent.Entry{}, false, nil
		}
		if err != nil {
			return consent.Entry{}, false, s.failed(doing, err)
		}
		seq = uint64(score)
	}
	at := messageID(seq)
	messages, err := s.client.XRange(ctx, ledgerKey(id), at, at).Result()
	if err != nil {
		return consent.Entry{}, false, s.failed(doing, err)
	}
	if len(messages) != 1 {
		return consent.Entry{}, false, s.failed(doing, fmt.Errorf("%w: its entry is missing in the ledger", consent.ErrCorrupt))
	}
	e, err := decodeMessage(id, messages[0])
	if err != nil {
		return consent.Entry{}, false, s.failed(doing, err)
	}
	return e, true, nil
}

// Ledger implements [consent.Store].
func (s *Store) Ledger(ctx context.Context, id consent.ID, after uint64, limit int) ([]consent.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()

	if limit <= 0 || after+1 == 0 {
		return nil, s.open()
	}
	messages, err := s.client.XRangeN(ctx, ledgerKey(id), messageID(after+1), "+", int64(limit)).Result()
	if err != nil {
		return nil, s.failed("reading a ledger", err)
	}
	entries := make([]consent.Entry, len(messages))
	for i, m := range messages {
		if entries[i], err = decodeMessage(id, m); err != nil {
			return nil, s.failed("reading a ledger", err)
		}
	}
	return entries, nil
}

// Ping implements [consent.Store]. Of a cluster, one node answers for all.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if err := s.client.Ping(ctx).Err(); err != nil {
		return s.failed("ping", err)
	}
	return nil
}

// Close ends the watchers and closes the client.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		s.closeErr = s.client.Close()
	})
	return s.closeErr
}

// open returns consent.ErrClosed once the store is closed.
func (s *Store) open() error {
	select {
	case <-s.closed:
		return consent.ErrClosed
	default:
		return nil
	}
}

// failed says what failed. The errors of the client name addresses, commands
// and users, never arguments.
func (s *Store) failed(doing string, err error) error {
	if closed := s.open(); closed != nil {
		return closed
	}
	return fmt.Errorf("redis: %s: %w", doing, err)
}

// digest is how an idempotency key is kept: callers put what they like into it.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
