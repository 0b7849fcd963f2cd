package redisstore

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// allow gives the API's user another right, as an operator does.
func allow(t testing.TB, addr, right string) {
	t.Helper()
	op := redis.NewClient(&redis.Options{Addr: addr, Username: "operator", Password: "secret"})
	defer op.Close()
	if err := op.Do(t.Context(), "acl", "setuser", "consent-api", right).Err(); err != nil {
		t.Fatal(err)
	}
}

// serversWithUsers starts one server and a cluster that know the documented users.
func serversWithUsers(t *testing.T) map[string]Config {
	t.Helper()
	single := redistest.Start(t)
	redistest.SetUsers(t, single.Addr, ACL)
	cluster := redistest.StartCluster(t, 3)
	for _, s := range cluster {
		redistest.SetUsers(t, s.Addr, ACL)
	}
	return map[string]Config{
		"one server": {Addresses: []string{single.Addr}},
		"a cluster":  {Addresses: []string{cluster[0].Addr}, Cluster: true},
	}
}

func TestTheDocumentedUsersAreEnoughAndNoMore(t *testing.T) {
	for name, c := range serversWithUsers(t) {
		t.Run(name, func(t *testing.T) {
			c.Username, c.Password = "consent-edge", "secret"
			edge := openStore(t, c, Options{})
			c.Username = "consent-api"
			api := openStore(t, c, Options{})

			cache := node(t, edge, time.Hour)
			for i := range 5 { // subjects of several nodes
				id := testID(fmt.Sprint(name, i))
				decide(t, api, id, consent.Granted)
				if v := cached(t, cache, id); v != 1 {
					t.Errorf("version %d", v)
				}
				decide(t, api, id, consent.Withdrawn)
				eventually(t, 5*time.Second, "the edge hears of a withdrawal", func() bool { return version(t, cache, id) == 2 })
				if n := len(chain(t, api, id)); n != 2 {
					t.Errorf("%d entries", n)
				}
			}

			id := testID(fmt.Sprint(name, 0))
			ctx := t.Context()
			if err := edge.Commit(ctx, decision(t, id, load(t, edge, id), consent.Granted)); !denied(err) {
				t.Errorf("the edge may commit: %v", err)
			}
			if _, err := edge.Ledger(ctx, id, 0, 1); !denied(err) {
				t.Errorf("the edge may read ledgers: %v", err)
			}
			if err := api.Subjects(ctx, 1, func([]consent.ID) error { return nil }); !denied(err) || !strings.Contains(err.Error(), "ACL SETUSER name +scan") {
				t.Errorf("enumerating without the right: %v", err)
			}
			for what, cmd := range map[string]*redis.Cmd{
				"HSET":                     edge.do(ctx, "hset", stateKey(id), "policy", "2"),
				"DEL":                      edge.do(ctx, "del", stateKey(id)),
				"SET of a state":           edge.do(ctx, "set", stateKey(id), "x"),
				"GET of a probe":           edge.do(ctx, "get", "consent:probe:x"),
				"SET of the check value":   edge.do(ctx, "set", keyCheck, "x"),
				"HGETALL of another's key": edge.do(ctx, "hgetall", "session:1"),
				"PUBLISH of a change":      edge.do(ctx, "publish", ChannelChanged, string(id)),
			} {
				if err := cmd.Err(); !denied(err) {
					t.Errorf("the edge may %s: %v", what, err)
				}
			}
			for what, cmd := range map[string]*redis.Cmd{
				"HGETALL of another's key": api.do(ctx, "hgetall", "session:1"),
				"FLUSHALL":                 api.do(ctx, "flushall"),
				"KEYS":                     api.do(ctx, "keys", "*"),
				"SCAN":                     api.do(ctx, "scan", "0"),
				"ACL":                      api.do(ctx, "acl", "list"),
			} {
				if err := cmd.Err(); !denied(err) {
					t.Errorf("the API may %s: %v", what, err)
				}
			}
		})
	}
}

func TestAWrongPasswordIsNamedAndNotRepeated(t *testing.T) {
	srv := redistest.Start(t)
	redistest.SetUsers(t, srv.Addr, ACL)
	s := openStore(t, Config{Addresses: []string{srv.Addr}, Username: "consent-api", Password: "hunter2"}, Options{})
	err := s.Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Ping: %v", err)
	}
}

func (s *Store) do(ctx context.Context, args ...any) *redis.Cmd { return s.client.Do(ctx, args...) }

func denied(err error) bool { return err != nil && strings.Contains(err.Error(), "NOPERM") }

// Operators copy the user from the page.
func TestThePagesHaveTheUserOfAGatewayThatForwards(t *testing.T) {
	for _, page := range []string{"../../../docs/forward.md", "../../../docs/forward.zh.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if want := "\nuser consent-forward >PASSWORD " + aclEdge + " " + ACLOutbox + " " + ACLKAnonymity + "\n"; !strings.Contains(string(text), want) {
			t.Errorf("%s lacks the line%s", page, want)
		}
	}
}
