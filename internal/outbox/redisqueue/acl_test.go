package redisqueue

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

func TestTheDocumentedUserMayNoMoreThanForward(t *testing.T) {
	srv, c := one(t)
	redistest.SetUsers(t, srv.Addr, redisstore.ACL)
	c.Username, c.Password = "consent-forward", "secret"
	client, err := redisstore.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, args := range [][]any{
		{"hgetall", "consent:{AAAAAAAAAAAAAAAAAAAAAA}:state"},
		{"get", "consent:check"},
		{"set", "consent:probe:x", "1"},
		{"get", "consent:outbox:{adx:0}:lease"},
	} {
		if err := client.Do(t.Context(), args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]any{
		{"hset", "consent:{AAAAAAAAAAAAAAAAAAAAAA}:state", "policy", "2"},
		{"xrange", "consent:{AAAAAAAAAAAAAAAAAAAAAA}:ledger", "-", "+"},
		{"set", "consent:check", "x"},
		{"del", "consent:{AAAAAAAAAAAAAAAAAAAAAA}:state"},
		{"eval", "return redis.call('del', KEYS[1])", 1, "consent:{AAAAAAAAAAAAAAAAAAAAAA}:state"},
		{"eval", "return redis.call('hset', 'consent:{A}:state', 'policy', '2')", 1, "consent:outbox:{adx:0}:x"},
		{"hgetall", "consent:outbox:{adx:0}:counts"},
		{"get", "session:1"},
		{"flushall"}, {"keys", "*"}, {"scan", "0"}, {"acl", "list"}, {"config", "get", "*"},
	} {
		if err := client.Do(t.Context(), args...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't access") {
			t.Errorf("it may %v: %v", args, err)
		}
	}
}
