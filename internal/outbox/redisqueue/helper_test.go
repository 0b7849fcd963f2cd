package redisqueue

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// place is Redis servers, which tests share: they have partners of their own.
type place struct {
	config redisstore.Config
	opts   Options
}

func (p place) Open(t testing.TB) outbox.Queue { return open(t, p.config, p.opts) }

func at(p place) func(*testing.T, queuetest.Options) queuetest.Place {
	return func(_ *testing.T, o queuetest.Options) queuetest.Place {
		p.opts.DeadLetters = o.DeadLetters * outbox.Partitions
		return p
	}
}

// open returns a queue with a client of its own, closed with the test.
func open(t testing.TB, c redisstore.Config, o Options) *Queue {
	t.Helper()
	client, err := redisstore.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	q := New(client, o)
	t.Cleanup(func() { q.Close(); client.Close() })
	return q
}

// admin returns a client for what operators do.
func admin(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}
