package rediscounter

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/kanon/kanontest"
)

// deployment is one server, or the masters of a cluster.
type deployment []*redistest.Server

// start starts servers that know the documented users.
func start(t testing.TB, cluster bool) deployment {
	t.Helper()
	var d deployment
	if cluster {
		d = redistest.StartCluster(t, 3)
	} else {
		d = deployment{redistest.Start(t)}
	}
	d.allow(t)
	return d
}

// allow makes the users; a server that has restarted has forgotten them.
func (d deployment) allow(t testing.TB) {
	t.Helper()
	for _, s := range d {
		redistest.SetUsers(t, s.Addr, redisstore.ACL)
	}
}

// each does on every server what operators do.
func (d deployment) each(t testing.TB, do func(op *redis.Client) error) {
	t.Helper()
	for _, s := range d {
		op := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "operator", Password: "secret"})
		err := do(op)
		op.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// client connects as the user with the documented rights.
func (d deployment) client(t testing.TB) redis.UniversalClient {
	t.Helper()
	client, err := redisstore.NewClient(redisstore.Config{
		Addresses: []string{d[0].Addr}, Username: "consent-forward", Password: "secret", Cluster: len(d) > 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (d deployment) counter(t testing.TB, o Options) *Counter {
	t.Helper()
	c, err := New(d.client(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// age makes what rests on the servers older: their clocks cannot be moved.
func (d deployment) age(t testing.TB, by time.Duration) {
	t.Helper()
	d.each(t, func(op *redis.Client) error {
		return op.Eval(t.Context(), `
			for _, key in ipairs(redis.call('KEYS', 'consent:kanon:*')) do
				local left = redis.call('PTTL', key) - ARGV[1]
				local scores = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
				for i = 1, #scores, 2 do
					redis.call('ZADD', key, scores[i + 1] - ARGV[1], scores[i])
				end
				redis.call('PEXPIRE', key, left)
			end
			return 1`, nil, by.Milliseconds()).Err()
	})
}

// stored returns the names and the dumps of all keys.
func (d deployment) stored(t testing.TB) []byte {
	t.Helper()
	var all bytes.Buffer
	d.each(t, func(op *redis.Client) error {
		keys, err := op.Keys(t.Context(), "*").Result()
		if err != nil {
			return err
		}
		for _, key := range keys {
			// In plain, since a dump of long values is compressed.
			members, err := op.ZRangeWithScores(t.Context(), key, 0, -1).Result()
			if err != nil {
				return err
			}
			dump, err := op.Dump(t.Context(), key).Result()
			if err != nil {
				return err
			}
			all.WriteString(key + dump)
			for _, m := range members {
				all.WriteString(m.Member.(string))
			}
		}
		return nil
	})
	return all.Bytes()
}

// restart kills all servers and starts them again.
func (d deployment) restart(t testing.TB) {
	t.Helper()
	for _, s := range d {
		s.Stop()
	}
	for _, s := range d {
		s.Restart()
	}
	d.allow(t)
	if len(d) > 1 {
		d.each(t, func(op *redis.Client) error {
			return eventually(t, func() bool {
				return strings.Contains(op.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
			})
		})
	}
}

func eventually(t testing.TB, holds func() bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func conformance(t *testing.T, d deployment) {
	kanontest.Run(t, func(t *testing.T) kanontest.Engine {
		d.each(t, func(op *redis.Client) error { return op.FlushAll(t.Context()).Err() })
		return kanontest.Engine{
			Node:   func(bound int) kanon.Counter { return d.counter(t, Options{Bound: bound, Timeout: 10 * time.Second}) },
			Age:    func(by time.Duration) { d.age(t, by) },
			Kill:   func() { d.restart(t) },
			Stored: func() []byte { return d.stored(t) },
		}
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	d := start(t, false)
	conformance(t, d)
	t.Run("nothing needs to be loaded", d.needsNothingLoaded)
}

func TestConformanceInACluster(t *testing.T) {
	t.Parallel()
	d := start(t, true)
	conformance(t, d)
	t.Run("nothing needs to be loaded", d.needsNothingLoaded)
}

func TestAServerThatIsGoneIsAnError(t *testing.T) {
	d := start(t, false)
	c := d.counter(t, Options{})
	th := kanon.Threshold{K: 1, Window: time.Hour}
	sightings := []kanon.Sighting{{Members: []kanon.Member{{1}}}}
	if _, err := c.Show(t.Context(), kanon.Space{}, th, sightings); err != nil {
		t.Fatal(err)
	}
	d[0].Stop()
	if counts, err := c.Show(t.Context(), kanon.Space{}, th, sightings); err == nil || counts.Of != nil {
		t.Errorf("%v, %v", counts, err)
	}
}

func (d deployment) needsNothingLoaded(t *testing.T) {
	c := d.counter(t, Options{Timeout: 10 * time.Second})
	th := kanon.Threshold{K: 9, Window: time.Hour}
	for round := range 3 {
		d.each(t, func(op *redis.Client) error { return op.ScriptFlush(t.Context()).Err() })
		sightings := make([]kanon.Sighting, 200) // in all shards
		for i := range sightings {
			sightings[i] = kanon.Sighting{Combination: kanon.Combination{byte(i), 77}, Members: []kanon.Member{{byte(round)}}}
		}
		counts, err := c.Show(t.Context(), kanon.Space{}, th, sightings)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range counts.Of {
			if n != round+1 {
				t.Fatalf("round %d: combination %d has %d subjects", round, i, n)
			}
		}
	}
}

// What a failed master with a fast clock has left must not count for longer
// than the window, nor keep what is newer out.
func TestSightingsFromTheFutureAreForgotten(t *testing.T) {
	d := start(t, false)
	c := d.counter(t, Options{})
	th := kanon.Threshold{K: 2, Window: time.Hour}
	show := func(subjects ...byte) int {
		t.Helper()
		s := kanon.Sighting{}
		for _, n := range subjects {
			s.Members = append(s.Members, kanon.Member{n})
		}
		counts, err := c.Show(t.Context(), kanon.Space{}, th, []kanon.Sighting{s})
		if err != nil {
			t.Fatal(err)
		}
		return counts.Of[0]
	}
	show(1, 2)
	d.age(t, -30*time.Minute)
	if n := show(3); n != 1 {
		t.Errorf("%d subjects, want the one of now", n)
	}
}

func TestEveryKeyExpires(t *testing.T) {
	d := start(t, false)
	c := d.counter(t, Options{})
	sightings := []kanon.Sighting{{Members: []kanon.Member{{1}}}, {Combination: kanon.Combination{1}, Members: []kanon.Member{{1}}}}
	if _, err := c.Show(t.Context(), kanon.Space{}, kanon.Threshold{K: 2, Window: time.Minute}, sightings); err != nil {
		t.Fatal(err)
	}
	keys := 0
	d.each(t, func(op *redis.Client) error {
		for _, key := range op.Keys(t.Context(), "*").Val() {
			keys++
			if ttl := op.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Minute {
				t.Errorf("%s lives for %v", key, ttl)
			}
			if !strings.HasPrefix(key, "consent:kanon:{") {
				t.Errorf("a key %q", key)
			}
		}
		return nil
	})
	if keys != 4 {
		t.Errorf("%d keys, want 2 combinations and 2 lists of the live", keys)
	}
}

func TestNoMoreThanKSubjectsRest(t *testing.T) {
	d := start(t, false)
	c := d.counter(t, Options{})
	for i := range byte(10) {
		s := kanon.Sighting{Combination: kanon.Combination{1}, Members: []kanon.Member{{i}, {i, 1}}}
		if _, err := c.Show(t.Context(), kanon.Space{}, kanon.Threshold{K: 3, Window: time.Minute}, []kanon.Sighting{s}); err != nil {
			t.Fatal(err)
		}
	}
	d.each(t, func(op *redis.Client) error {
		for _, key := range op.Keys(t.Context(), "*").Val() {
			if n := op.ZCard(t.Context(), key).Val(); !strings.HasSuffix(key, ":live") && n != 3 {
				t.Errorf("%d subjects rest, want 3", n)
			}
		}
		return nil
	})
}

func TestABoundThatIsTooSmallIsRefused(t *testing.T) {
	for _, bound := range []int{-1, 1, shards - 1} {
		if _, err := New(nil, Options{Bound: bound}); err == nil || !strings.Contains(err.Error(), "64") {
			t.Errorf("bound %d: %v", bound, err)
		}
	}
}

func TestManyNodesShareTheBound(t *testing.T) {
	d := start(t, false)
	const nodes, bound = 4, 256
	th := kanon.Threshold{K: 2, Window: time.Hour}
	tracked := make([]int, nodes)
	var wg sync.WaitGroup
	for n := range nodes {
		c := d.counter(t, Options{Bound: bound, Timeout: 10 * time.Second})
		wg.Go(func() {
			for i := range 20 {
				var sightings []kanon.Sighting
				for j := range 64 {
					sightings = append(sightings, kanon.Sighting{
						Combination: kanon.Combination{byte(j), byte(i), byte(n)}, Members: []kanon.Member{{1}},
					})
				}
				counts, err := c.Show(t.Context(), kanon.Space{}, th, sightings)
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range counts.Of {
					tracked[n] += c
				}
			}
		})
	}
	wg.Wait()
	if sum := tracked[0] + tracked[1] + tracked[2] + tracked[3]; sum != bound {
		t.Errorf("%d combinations are tracked, want %d", sum, bound)
	}
}

// The server syncs once a second, as one in use does.
func BenchmarkBatch(b *testing.B) {
	kanontest.Bench(b, func(b *testing.B) kanon.Counter {
		d := deployment{redistest.Start(b, "appendfsync", "everysec")}
		d.allow(b)
		return d.counter(b, Options{})
	})
}
