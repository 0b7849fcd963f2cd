package redisqueue

import (
	"strings"
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

// withUser gives a server the documented user of gateways that forward, and
// takes the default user away.
func withUser(t testing.TB, addr string) {
	t.Helper()
	op := admin(t, addr)
	for line := range strings.Lines(redisstore.ACL) {
		rights, is := strings.CutPrefix(strings.TrimSpace(line), "user consent-forward ")
		if !is {
			continue
		}
		args := []any{"acl", "setuser", "consent-forward", ">secret"}
		for _, word := range aclWords(rights) {
			args = append(args, word)
		}
		if err := op.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("ACL line %q: %v", line, err)
		}
	}
	for _, args := range [][]any{
		{"acl", "setuser", "operator", "on", ">secret", "+@all", "~*", "&*"},
		{"acl", "setuser", "default", "off"},
	} {
		if err := op.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// aclWords splits a line as Redis does: a selector in parentheses is one word.
func aclWords(line string) (words []string) {
	open := false
	for _, w := range strings.Fields(line) {
		if open {
			words[len(words)-1] += " " + w
		} else {
			words = append(words, w)
		}
		open = strings.HasPrefix(words[len(words)-1], "(") && !strings.HasSuffix(w, ")")
	}
	return words
}
