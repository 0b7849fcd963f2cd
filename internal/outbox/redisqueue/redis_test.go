package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox"
)

var (
	roomy = outbox.Bound{Bytes: 1 << 30}
	soon  = outbox.Limit{Count: 1000, Bytes: 1 << 24}
	// Records without a subject are all in one partition.
	unnamed = partition{"adx", outbox.Partition("")}
)

func some(from, n int) []outbox.Record {
	rs := make([]outbox.Record, n)
	for i := range rs {
		rs[i] = outbox.Record{Key: fmt.Sprint(from + i), Body: []byte("{}"), At: time.Now()}
	}
	return rs
}

func enter(t testing.TB, q *Queue, rs []outbox.Record) {
	t.Helper()
	if _, err := q.Append(t.Context(), "adx", roomy, rs); err != nil {
		t.Fatal(err)
	}
}

func hold(t testing.TB, q *Queue) outbox.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := q.Lease(ctx, unnamed.partner, unnamed.n)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func take(t testing.TB, l outbox.Lease) (keys []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rs, err := l.Batch(ctx, soon)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		keys = append(keys, r.Key)
	}
	return keys
}

func lost(t testing.TB, l outbox.Lease) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(30 * time.Second):
		t.Fatal("the lease is not lost")
	}
}

func one(t testing.TB) (*redistest.Server, redisstore.Config) {
	srv := redistest.Start(t)
	return srv, redisstore.Config{Addresses: []string{srv.Addr}}
}

func TestThePartitionsKeysAreTheDocumentedOnes(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	l := hold(t, q)
	enter(t, q, some(0, 2))
	take(t, l)
	if err := l.Done(t.Context(), map[int]outbox.Verdict{0: {Status: 400}}); err != nil {
		t.Fatal(err)
	}
	got := admin(t, srv.Addr).Keys(t.Context(), "*").Val()
	slices.Sort(got)
	want := []string{
		"consent:outbox:{adx:5}:counts", "consent:outbox:{adx:5}:dead",
		"consent:outbox:{adx:5}:lease", "consent:outbox:{adx:5}:records",
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys %q", got)
	}
}

func TestScriptsNeedNothingLoaded(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	op := admin(t, srv.Addr)
	for i := range 3 {
		for _, step := range []func(){
			func() { enter(t, q, some(i, 1)) },
			func() {
				l := hold(t, q)
				op.ScriptFlush(t.Context())
				take(t, l)
				op.ScriptFlush(t.Context())
				if err := l.Done(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				op.ScriptFlush(t.Context())
				l.Release()
			},
		} {
			if err := op.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			step()
		}
	}
	if s, err := q.Stats(t.Context(), "adx"); err != nil || s.Records != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// An operator's FLUSHALL takes lease and group with it; both are made anew.
func TestAFlushIsSurvived(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, short)
	l := hold(t, q)
	enter(t, q, some(0, 2))
	take(t, l)
	if err := admin(t, srv.Addr).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.Done(t.Context(), nil); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("Done: %v", err)
	}
	lost(t, l)
	l.Release()
	enter(t, q, some(7, 2))
	l = hold(t, q)
	if got := take(t, l); !slices.Equal(got, []string{"7", "8"}) {
		t.Errorf("after the flush: %q", got)
	}
	if err := l.Done(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestAGroupThatIsGoneIsMadeAgain(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	l := hold(t, q)
	enter(t, q, some(0, 3))
	take(t, l)
	if err := admin(t, srv.Addr).XGroupDestroy(t.Context(), unnamed.key(keyRecords), "delivery").Err(); err != nil {
		t.Fatal(err)
	}
	// What was under way is not known any more; it is not lost.
	if got := take(t, l); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("then came %q", got)
	}
	if err := l.Done(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestWhatAnOperatorDeletesLeavesTheBatch(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	l := hold(t, q)
	enter(t, q, some(0, 3))
	take(t, l)
	op := admin(t, srv.Addr)
	first := op.XRangeN(t.Context(), unnamed.key(keyRecords), "-", "+", 1).Val()[0].ID
	op.XDel(t.Context(), unnamed.key(keyRecords), first)
	if got := take(t, l); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left are %q", got)
	}
	if err := l.Done(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	// Its bytes are not waited for for ever.
	if s, err := q.Stats(t.Context(), "adx"); err != nil || s != (outbox.Stats{}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// A group that remembers what is gone would grow without end.
func TestTheGroupForgetsWhatIsDoneOrDropped(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	op := admin(t, srv.Addr)
	l := hold(t, q)
	pending := func() int64 { return op.XPending(t.Context(), unnamed.key(keyRecords), "delivery").Val().Count }
	enter(t, q, some(0, 3))
	take(t, l)
	if n := pending(); n != 3 {
		t.Errorf("%d are pending, of a batch of 3", n)
	}
	size := int64(some(0, 1)[0].Size())
	if n, err := q.Append(t.Context(), "adx", outbox.Bound{Bytes: 3 * size * outbox.Partitions, DropOldest: true}, some(3, 2)); n != 2 || err != nil {
		t.Fatalf("%d were dropped, %v", n, err)
	}
	if n := pending(); n != 1 {
		t.Errorf("%d are pending, of a batch of which 1 is left", n)
	}
	if err := l.Done(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := pending(); n != 0 {
		t.Errorf("%d are pending after the batch", n)
	}
}

func TestADamagedRecordIsAnErrorAndNotDelivered(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{})
	l := hold(t, q)
	enter(t, q, []outbox.Record{{Key: "k", Body: []byte(`{"phone":"13800138000"}`), At: time.Now()}})
	op := admin(t, srv.Addr)
	m := op.XRangeN(t.Context(), unnamed.key(keyRecords), "-", "+", 1).Val()[0]
	text := m.Values["r"].(string)
	damaged := strings.Replace(text, "13800138000", "13900139000", 1)
	op.Del(t.Context(), unnamed.key(keyRecords))
	op.XAdd(t.Context(), &redis.XAddArgs{Stream: unnamed.key(keyRecords), Values: []any{"r", damaged, "s", m.Values["s"]}})
	for range 2 {
		if _, err := l.Batch(t.Context(), soon); !errors.Is(err, outbox.ErrCorrupt) || strings.Contains(err.Error(), "139") {
			t.Errorf("Batch: %v", err)
		}
	}
	if _, err := q.Stats(t.Context(), "adx"); !errors.Is(err, outbox.ErrCorrupt) {
		t.Errorf("Stats: %v", err)
	}
	op.XAdd(t.Context(), &redis.XAddArgs{Stream: unnamed.key(keyDead), Values: []any{"v", "x", "r", text, "s", "1"}})
	if _, err := q.Dead(t.Context(), "adx", "", 1); !errors.Is(err, outbox.ErrCorrupt) {
		t.Errorf("Dead: %v", err)
	}
}

// The token is what counts, whoever believes to hold the lease.
func TestALeaseTakenAwayIsFenced(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, Options{}) // it renews after 5 s: the scripts notice
	op := admin(t, srv.Addr)
	enter(t, q, some(0, 2))
	l := hold(t, q)
	take(t, l)
	op.Set(t.Context(), unnamed.key(keyLease), "another's", 0)
	if err := l.Done(t.Context(), nil); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("Done: %v", err)
	}
	lost(t, l)
	l.Release()
	if v := op.Get(t.Context(), unnamed.key(keyLease)).Val(); v != "another's" {
		t.Errorf("Release took another's lease: %q", v)
	}
	op.Del(t.Context(), unnamed.key(keyLease))

	l = hold(t, q)
	if got := take(t, l); len(got) != 2 {
		t.Errorf("the batch is %q", got)
	}
	op.Set(t.Context(), unnamed.key(keyLease), "another's", 0)
	if _, err := l.Batch(t.Context(), soon); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("Batch: %v", err)
	}
	l.Release()
	op.Del(t.Context(), unnamed.key(keyLease))
	l = hold(t, q)
	take(t, l)
	if err := l.Done(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	enter(t, q, some(2, 1))
	op.Set(t.Context(), unnamed.key(keyLease), "another's", 0)
	if _, err := l.Batch(t.Context(), soon); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("taking a new Batch: %v", err)
	}
}

func TestARenewalNoticesTheLoss(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, short)
	l := hold(t, q)
	admin(t, srv.Addr).Set(t.Context(), unnamed.key(keyLease), "another's", 0)
	lost(t, l)
}

// A lease is held for as long as it is renewed, and not taken from its holder.
func TestALeaseOutlivesItsLifeByRenewal(t *testing.T) {
	_, c := one(t)
	o := Options{LeaseLife: 300 * time.Millisecond, LeaseRetry: 10 * time.Millisecond}
	l := hold(t, open(t, c, o))
	other := open(t, c, o)
	ctx, cancel := context.WithTimeout(t.Context(), 4*o.LeaseLife)
	defer cancel()
	if _, err := other.Lease(ctx, unnamed.partner, unnamed.n); err == nil {
		select {
		case <-l.Lost(): // a machine so slow that it was not renewed in time
		default:
			t.Error("two hold it")
		}
	}
}

// A server that hangs: the lease is lost here before it can be another's.
func TestALeaseThatCannotBeRenewedIsLost(t *testing.T) {
	srv, c := one(t)
	q := open(t, c, short)
	enter(t, q, some(0, 2))
	l := hold(t, q)
	take(t, l)
	srv.Pause()
	lost(t, l)
	if err := l.Done(t.Context(), nil); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("Done: %v", err)
	}
	for call, f := range map[string]func() error{
		"Append": func() error { _, err := q.Append(t.Context(), "adx", roomy, some(9, 1)); return err },
		"Stats":  func() error { _, err := q.Stats(t.Context(), "adx"); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: a server that hangs has answered", call)
		}
	}
	srv.Resume()
	// The append may have been applied, late, and more than its caller knows.
	next := hold(t, open(t, c, short))
	if got := take(t, next); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("the next consumer got %q", got)
	}
	if err := l.Done(t.Context(), nil); !errors.Is(err, outbox.ErrLost) {
		t.Errorf("Done: %v", err)
	}
	if err := next.Done(t.Context(), nil); err != nil {
		t.Errorf("the next consumer's Done: %v", err)
	}
	l.Release()
}

// Consumers that wait must not take the connections that requests need.
func TestWaitingTakesNoConnectionFromOthers(t *testing.T) {
	_, c := one(t)
	c.PoolSize = 2
	q := open(t, c, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, outbox.Partitions)
	for n := range outbox.Partitions {
		l, err := q.Lease(ctx, "idle", n)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := l.Batch(ctx, soon)
			ended <- err
		}()
	}
	for i := range 50 {
		enter(t, q, some(i, 1))
	}
	cancel()
	for range outbox.Partitions {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Batch: %v", err)
		}
	}
}

// What a consumer has seen cannot be taken back: that is no refusal any more.
func TestOnlyWhatNobodyHasSeenIsTakenBack(t *testing.T) {
	_, c := one(t)
	q := open(t, c, Options{})
	add := func() (*share, []string) {
		s := q.split("adx", some(0, 2))
		_, ids, err := q.add(t.Context(), roomy, s)
		if err != nil {
			t.Fatal(err)
		}
		return &s[0], ids
	}
	s, ids := add()
	if err := q.undo(t.Context(), s, ids); err != nil {
		t.Error(err)
	}
	if s, err := q.Stats(t.Context(), "adx"); err != nil || s != (outbox.Stats{}) {
		t.Errorf("left are %+v, %v", s, err)
	}
	s, ids = add()
	take(t, hold(t, q))
	if err := q.undo(t.Context(), s, ids); err == nil || errors.Is(err, outbox.ErrFull) {
		t.Errorf("what is under way was taken back: %v", err)
	}
	if s, err := q.Stats(t.Context(), "adx"); err != nil || s.Records != 2 {
		t.Errorf("left are %+v, %v", s, err)
	}
}
