package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox"
)

// traffic is producers and consumers that go on through whatever happens.
type traffic struct {
	t     *testing.T
	acked []atomic.Int64 // of each producer: how many of its records
	mu    sync.Mutex
	next  map[string]int // of each subject: the next number to be done first
}

const producers = 6

// run lets producers append records numbered from 0 on to the first queue, each
// of which they repeat until it is acknowledged, and consumers of all partitions
// in every queue that is not closed deliver them, until happen returns; then until all that was acknowledged is
// delivered. Each subject's records must come in order, some of them repeatedly.
func run(t *testing.T, queues []*Queue, happen func(moved func(n int64))) {
	tr := &traffic{t: t, acked: make([]atomic.Int64, producers), next: make(map[string]int)}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	producing, stop := context.WithCancel(ctx)
	var appends, consumers sync.WaitGroup
	for p := range producers {
		appends.Go(func() { tr.produce(producing, ctx, queues[0], p) })
	}
	for _, q := range slices.Backward(queues) { // the first is to find leases taken
		for n := range outbox.Partitions {
			consumers.Go(func() { tr.consume(ctx, q, n) })
		}
	}
	happen(func(n int64) { tr.moved(ctx, n) })
	stop()
	appends.Wait()
	tr.wait(ctx, "all that was acknowledged is delivered", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for p := range producers {
			if int64(tr.next[subject(p)]) < tr.acked[p].Load() {
				return false
			}
		}
		return true
	})
	cancel()
	consumers.Wait()
}

func subject(p int) string { return fmt.Sprint("producer ", p) }

func (tr *traffic) produce(ctx, last context.Context, q *Queue, p int) {
	for n := 0; ctx.Err() == nil; n++ {
		r := outbox.Record{Key: fmt.Sprint(n), Subject: subject(p), Body: []byte("{}"), At: time.Now()}
		for last.Err() == nil { // what was begun is ended
			if _, err := q.Append(last, "adx", roomy, []outbox.Record{r}); err == nil {
				tr.acked[p].Add(1)
				break
			}
			pause(last)
		}
	}
}

// pause lets a server that is down come up again, where to hammer at it would
// leave it no processor.
func pause(ctx context.Context) {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
	}
}

func (tr *traffic) consume(ctx context.Context, q *Queue, n int) {
	for ctx.Err() == nil {
		l, err := q.Lease(ctx, "adx", n)
		for err == nil {
			var rs []outbox.Record
			if rs, err = l.Batch(ctx, outbox.Limit{Count: 20, Bytes: 1 << 20, Age: time.Millisecond}); err != nil {
				break
			}
			tr.deliver(rs)
			err = l.Done(ctx, nil)
		}
		if l != nil {
			l.Release() // and begin anew
		}
		if errors.Is(err, outbox.ErrClosed) {
			return
		}
		pause(ctx)
	}
}

func (tr *traffic) deliver(rs []outbox.Record) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, r := range rs {
		var n int
		fmt.Sscan(r.Key, &n)
		switch next := tr.next[r.Subject]; {
		case n > next:
			tr.t.Errorf("%s: number %d came before %d", r.Subject, n, next)
		case n == next:
			tr.next[r.Subject]++
		}
	}
}

// moved waits until n more records of each producer are acknowledged.
func (tr *traffic) moved(ctx context.Context, n int64) {
	for p := range tr.acked {
		goal := tr.acked[p].Load() + n
		tr.wait(ctx, "records are acknowledged", func() bool { return tr.acked[p].Load() >= goal })
	}
}

func (tr *traffic) wait(ctx context.Context, what string, holds func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tr.t.Errorf("it did not happen in time: %s", what)
			return
		}
	}
}

func TestServersThatDieAreSurvivedUnderLoad(t *testing.T) {
	t.Parallel()
	srv, c := one(t)
	run(t, []*Queue{open(t, c, short), open(t, c, short)}, func(moved func(int64)) {
		for range 3 {
			moved(20)
			srv.Restart()
		}
		moved(20)
	})
}

func TestAServerThatHangsIsSurvivedUnderLoad(t *testing.T) {
	t.Parallel()
	srv, c := one(t)
	o := short
	o.Timeout = 300 * time.Millisecond
	queues := []*Queue{open(t, c, o), open(t, c, o)}
	run(t, queues, func(moved func(int64)) {
		for range 2 {
			moved(20)
			srv.Pause()
			// Until it shows: then leases are lost, and calls fail.
			for err := error(nil); err == nil; {
				_, err = queues[0].Stats(t.Context(), "adx")
			}
			srv.Resume()
		}
		moved(20)
	})
}

// Whoever consumes what, and whoever goes: the others take it over.
func TestGatewaysShareTheWorkAndTakeItOver(t *testing.T) {
	t.Parallel()
	_, c := one(t)
	queues := []*Queue{open(t, c, short), open(t, c, short), open(t, c, short)}
	run(t, queues, func(moved func(int64)) {
		for _, q := range queues[1:] {
			moved(20)
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
		moved(20)
	})
}

func TestAFailoverIsSurvived(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, "replicaof", host+" "+port)
	sentinel := redistest.StartSentinel(t, "consent", master)
	c := redisstore.Config{Addresses: []string{sentinel.Addr}, Sentinel: &redisstore.Sentinel{Master: "consent"}, ReadTimeout: 3 * time.Second}
	o := Options{Replicas: 1, ReplicaTimeout: 2 * time.Second, Timeout: 4 * time.Second, LeaseLife: time.Second, LeaseRetry: 20 * time.Millisecond}
	q := open(t, c, o)
	until(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(admin(t, sentinel.Addr).Info(t.Context(), "sentinel").Val(), "slaves=1") &&
			strings.Contains(admin(t, master.Addr).Info(t.Context(), "replication").Val(), "state=online")
	})
	enter(t, q, some(0, 3))
	l := hold(t, q)
	if got := take(t, l); len(got) != 3 {
		t.Fatalf("taken %q", got)
	}
	enter(t, q, some(3, 2))

	master.Stop()
	lost(t, l)
	l.Release()
	until(t, "the replica is the master", func() bool {
		return strings.Contains(admin(t, replica.Addr).Info(t.Context(), "replication").Val(), "role:master")
	})
	// Without a replica nothing is acknowledged any more.
	until(t, "the new master is asked", func() bool {
		_, err := q.Append(t.Context(), "other", roomy, some(0, 1))
		return err != nil && strings.Contains(err.Error(), "0 of 1 replicas")
	})
	o.Replicas = 0
	l = hold(t, open(t, c, o))
	if got := take(t, l); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("the batch came again as %q", got)
	}
	if err := l.Done(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got := take(t, l); !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("then came %q", got)
	}
}

func TestPartitionsAreSpreadOverACluster(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	q := open(t, redisstore.Config{Addresses: []string{servers[0].Addr}, Cluster: true}, Options{Replicas: 1, ReplicaTimeout: time.Millisecond})
	var rs []outbox.Record
	for i := range 100 {
		rs = append(rs, outbox.Record{Key: "k", Subject: fmt.Sprint(i), At: time.Now()})
	}
	// There are no replicas: written, and not acknowledged, on every node.
	for i := range 5 {
		_, err := q.Append(t.Context(), fmt.Sprint("p", i), roomy, rs)
		if err == nil || errors.Is(err, outbox.ErrFull) || strings.Count(err.Error(), "0 of 1 replicas") != outbox.Partitions {
			t.Errorf("Append: %v", err)
		}
		if s, err := q.Stats(t.Context(), fmt.Sprint("p", i)); err != nil || s.Records != 100 {
			t.Errorf("Stats: %+v, %v", s, err)
		}
	}
	for _, srv := range servers {
		if n := admin(t, srv.Addr).DBSize(t.Context()).Val(); n == 0 {
			t.Errorf("the node %s has no partition", srv.Addr)
		}
	}
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
