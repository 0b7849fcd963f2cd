package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/attack"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// What rests while partners are down is what they may have, and digests: no other
// value, under no encoding, and no subject's id, in any byte of the outbox or of
// the counts behind k-anonymity.
func TestWhatRestsForPartners(t *testing.T) {
	for _, engine := range []string{"embedded", "redis"} {
		t.Run(engine, func(t *testing.T) {
			store, address := "store embedded @DATA@/consent", ""
			if engine == "redis" {
				address = redistest.Start(t).Addr
				store = "store redis {\n\t\t\taddress " + address + "\n\t\t}"
			}
			a := startForwardAttack(t, store, crowdOfDSP, "retry 200ms 500ms\nbreaker 1000 10ms", "adx", "dsp")
			down := func(_ int, w http.ResponseWriter) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return false
			}
			for name, p := range a.partners {
				p.mu.Lock()
				p.answer = down
				p.mu.Unlock()
				a.decides(t, attack.GrantedID, "ads.personalise", name, "granted")
			}
			for i := range 20 { // which show a combination, in the first batch
				if n := a.bring(t, attack.GrantedID, bid(fmt.Sprint(i), `,"user":{"id":"zqbid-user-0001"}`)); n != http.StatusOK {
					t.Fatalf("%d", n)
				}
			}
			n, seed, first := attackSample(t, max(attackCases/10, 1000))
			cases := append(a.sendCases(seed, first, n), people(attack.GrantedID, attack.DeniedID))
			cases = append(cases, people("zqbid-user-0001", "198.51.100.77", "9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d7b11"))
			var view struct{ Partners []struct{ Records int64 } }
			a.outboxCall(t, "GET", "", "", &view)
			for _, p := range view.Partners {
				if p.Records < int64(n)/10 {
					t.Fatalf("only %d records wait: what is not there proves nothing", p.Records)
				}
			}
			eventually(t, "the counts of k-anonymity are written", func() bool { return len(a.partners["dsp"].got()) > 20 })
			var rests []resting
			if engine == "redis" {
				rests = restingInRedis(t, address)
			} else {
				if err := caddy.Stop(); err != nil { // so that the files rest, too
					t.Fatal(err)
				}
				rests = restingInFiles(t, filepath.Join(a.Data, "consent"))
			}
			auditRest(t, rests, dragnetOf(cases))
		})
	}
}

// resting is one thing that a store holds, under the name of where it does.
type resting struct {
	where string
	bytes []byte
}

// auditRest looks for canaries in what rests.
func auditRest(t *testing.T, rests []resting, d *attack.Dragnet) {
	t.Helper()
	seen, things := map[string]int{}, map[string]int{}
	for _, r := range rests {
		partner := "" // of none: nothing may stand there
		for name := range mayArrive {
			switch {
			case strings.Contains(r.where, "kanon"):
				partner = "kanon"
			case strings.Contains(r.where, name):
				partner = name
			}
		}
		things[partner]++
		for _, h := range d.Open("the body", r.bytes) {
			if maySee(partner, h) {
				seen[partner]++
				continue
			}
			t.Errorf("in %q rests %s %s, seen in %s: %s", r.where, h.Canary.Item, h.Canary.Value, h.In, clip(r.bytes))
		}
	}
	t.Logf("things that rest, by partner: %v; canaries that may: %v", things, seen)
	if things["kanon"] == 0 || things["adx"] == 0 || things["dsp"] == 0 || seen["adx"] == 0 {
		t.Errorf("too little was found to rest: %v, canaries %v", things, seen)
	}
}

// restingInFiles reads the files of the embedded engine: every key and value.
func restingInFiles(t *testing.T, dir string) (all []resting) {
	t.Helper()
	for _, name := range []string{outboxFile, kanonFile} {
		data, err := os.ReadFile(filepath.Join(dir, name)) // which is locked, for a while yet
		if err != nil {
			t.Fatal(err)
		}
		db, err := bolt.Open(configFile(t, name, string(data)), 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var walk func(where string, b *bolt.Bucket) error
		walk = func(where string, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				all = append(all, resting{where, append([]byte(nil), k...)})
				if v == nil {
					return walk(where+"/"+string(k), b.Bucket(k))
				}
				all = append(all, resting{where + "/" + string(k), append([]byte(nil), v...)})
				return nil
			})
		}
		err = db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(k []byte, b *bolt.Bucket) error { return walk(name+"/"+string(k), b) })
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// restingInRedis reads every key of the outbox and of the counts, and what is in
// them.
func restingInRedis(t *testing.T, address string) (all []resting) {
	t.Helper()
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	for _, pattern := range []string{"consent:outbox:*", "consent:kanon:*"} {
		keys, err := client.Keys(ctx, pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			all = append(all, resting{key, []byte(key)})
			texts, err := contentOf(ctx, client, key)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			for _, text := range texts {
				all = append(all, resting{key, []byte(text)})
			}
		}
	}
	return all
}

// contentOf returns all that a key of Redis holds.
func contentOf(ctx context.Context, client *redis.Client, key string) (all []string, err error) {
	kind, err := client.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "string":
		text, err := client.Get(ctx, key).Result()
		return []string{text}, err
	case "list":
		return client.LRange(ctx, key, 0, -1).Result()
	case "set":
		return client.SMembers(ctx, key).Result()
	case "zset":
		return client.ZRange(ctx, key, 0, -1).Result()
	case "hash":
		fields, err := client.HGetAll(ctx, key).Result()
		for k, v := range fields {
			all = append(all, k, v)
		}
		return all, err
	case "stream":
		entries, err := client.XRange(ctx, key, "-", "+").Result()
		for _, e := range entries {
			for k, v := range e.Values {
				all = append(all, k, fmt.Sprint(v))
			}
		}
		return all, err
	case "none":
		return nil, nil // it has just gone
	}
	return nil, fmt.Errorf("a key of type %s is not read: %w", kind, os.ErrInvalid)
}
