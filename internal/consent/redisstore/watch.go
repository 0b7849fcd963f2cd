package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
)

// How soon a dead link is noticed. A server that hangs is silent for twice
// silence; a link that lives and delivers nothing fails a probe.
const (
	silence      = 250 * time.Millisecond // then a ping; as long again, and the link is down
	probeEvery   = time.Second
	probeTimeout = 500 * time.Millisecond
	setupTimeout = time.Second
	minBackoff   = 20 * time.Millisecond
	maxBackoff   = time.Second
)

var (
	errSilent   = errors.New("the server has fallen silent")
	errStarved  = errors.New("the link lives, but a probe was not delivered: it may be to a server that is no master any more")
	errNotReady = errors.New("the server did not confirm the subscription in time")
)

// Watch implements [consent.Store]. It holds one connection of its own.
//
// Of a single server, sentinels' or not, it has the server report every change
// of a key (client tracking in broadcast mode): commits, and also keys that
// expire, that an operator deletes, or that go with FLUSHALL. Of a cluster, where
// tracking reports one node's keys only, it takes the announcements that commits
// publish; what an operator changes is then noticed at the end of the lease.
//
// The link counts as up once a probe, written as any commit is, has come back
// through it; probes go on from then on. While it is down Watch connects anew
// until ctx ends, and then returns the error of ctx, or consent.ErrClosed when
// the store is closed.
func (s *Store) Watch(ctx context.Context, changed func(consent.ID), reset func(down bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	}()

	backoff := minBackoff
	for {
		up, err := s.watchOnce(ctx, changed, reset)
		if ctx.Err() != nil {
			return s.ended(ctx)
		}
		if s.opts.Report != nil {
			s.opts.Report(fmt.Errorf("redis: watching: %w", err))
		}
		if up {
			backoff = minBackoff
		}
		// Nodes that lost the same server must not come back in step.
		select {
		case <-time.After(backoff/2 + rand.N(backoff)):
		case <-ctx.Done():
			return s.ended(ctx)
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (s *Store) ended(ctx context.Context) error {
	if err := s.open(); err != nil {
		return err
	}
	return ctx.Err()
}

// watchOnce keeps one link until it fails, and reports whether it was up.
func (s *Store) watchOnce(ctx context.Context, changed func(consent.ID), reset func(down bool)) (up bool, err error) {
	l := newLink(s, changed, reset)
	// Nothing of this link may be reported once it is given up; that it is down
	// is reported first, since closing it can take a while.
	defer l.close()
	defer l.setUp(false)
	if err := l.open(ctx); err != nil {
		return false, err
	}

	var (
		nonce    = 0
		pending  = true // until the subscription is confirmed there is no probe to wait for
		probe    = time.NewTimer(setupTimeout)
		quiet    = time.NewTimer(silence)
		pingedAt time.Time
		probed   = make(chan error, 1)
	)
	defer probe.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return up, ctx.Err()
		case err := <-l.failed:
			return up, err
		case err := <-probed:
			if err != nil {
				return up, fmt.Errorf("writing a probe: %w", err)
			}

		case <-l.subscribed:
			pending = false
			probe.Reset(0)
		case n := <-l.heardProbe:
			if n != nonce || !pending {
				continue
			}
			pending = false
			probe.Reset(probeEvery)
			up = true
			l.setUp(true)
		case <-probe.C:
			switch {
			case pending && nonce == 0:
				return up, errNotReady
			case pending:
				return up, errStarved
			}
			nonce++
			pending = true
			probe.Reset(probeTimeout)
			go l.probe(ctx, nonce, probed)

		case <-quiet.C:
			heard := l.heard()
			if wait := silence - time.Since(heard); wait > 0 {
				quiet.Reset(wait)
				continue
			}
			if pingedAt.After(heard) {
				return up, errSilent
			}
			pingedAt = time.Now()
			if err := l.sub.Ping(ctx); err != nil {
				return up, err
			}
			quiet.Reset(silence)
		}
	}
}

// dedicated returns a client whose subscriptions are connections with client
// tracking, or nil where Watch goes by announcements alone.
func (s *Store) dedicated(prefixes ...string) *redis.Client {
	client, ok := s.client.(*redis.Client)
	if !ok || s.opts.PublishOnly {
		return nil
	}
	o := *client.Options()
	o.Protocol = 3
	o.PoolSize, o.MinIdleConns = 1, 0
	o.MaxRetries, o.DialerRetries = -1, 1
	o.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	onConnect := o.OnConnect
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if onConnect != nil {
			if err := onConnect(ctx, cn); err != nil {
				return err
			}
		}
		args := []any{"client", "tracking", "on", "bcast"}
		for _, p := range prefixes {
			args = append(args, "prefix", p)
		}
		return cn.Do(ctx, args...).Err()
	}
	return redis.NewClient(&o)
}
