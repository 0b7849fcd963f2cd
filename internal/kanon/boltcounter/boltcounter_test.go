package boltcounter

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/kanon/kanontest"
)

// clock stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func openFile(t testing.TB, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t testing.TB, db *bolt.DB, o Options) *Counter {
	t.Helper()
	c, err := New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConformance(t *testing.T) {
	kanontest.Run(t, func(t *testing.T) kanontest.Engine {
		clock := newClock()
		dir := t.TempDir()
		path := filepath.Join(dir, "a.db")
		db := openFile(t, path)
		return kanontest.Engine{
			Node: func(bound int) kanon.Counter { return open(t, db, Options{Bound: bound, Now: clock.now}) },
			Age:  clock.advance,
			Kill: func() { // what the process has written is what the file has
				left := read(t, path)
				path = filepath.Join(dir, "b.db")
				if err := os.WriteFile(path, left, 0o600); err != nil {
					t.Fatal(err)
				}
				db = openFile(t, path)
			},
			Stored: func() []byte { return read(t, path) },
		}
	})
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var th = kanon.Threshold{K: 3, Window: time.Hour}

func show(t testing.TB, c *Counter, combination byte, subjects ...byte) int {
	t.Helper()
	s := kanon.Sighting{Combination: kanon.Combination{combination}}
	for _, n := range subjects {
		s.Members = append(s.Members, kanon.Member{n})
	}
	counts, err := c.Show(t.Context(), kanon.Space{}, th, []kanon.Sighting{s})
	if err != nil {
		t.Fatal(err)
	}
	return counts.Of[0]
}

// The window is ( now - window, now ], to the millisecond.
func TestTheWindowEndsOnTheMillisecond(t *testing.T) {
	clock := newClock()
	c := open(t, openFile(t, filepath.Join(t.TempDir(), "x.db")), Options{Now: clock.now})
	show(t, c, 1, 1)
	clock.advance(th.Window - time.Millisecond)
	if n := show(t, c, 1); n != 1 {
		t.Errorf("1 ms before its end: %d subjects", n)
	}
	clock.advance(time.Millisecond)
	if n := show(t, c, 1); n != 0 {
		t.Errorf("at its end: %d subjects", n)
	}
}

// A clock that was ahead must not make subjects count for longer than the
// window, nor keep those out that are newer.
func TestSightingsFromTheFutureAreForgotten(t *testing.T) {
	clock := newClock()
	c := open(t, openFile(t, filepath.Join(t.TempDir(), "x.db")), Options{Now: clock.now})
	show(t, c, 1, 1, 2, 3)
	clock.advance(-30 * time.Minute)
	if n := show(t, c, 1, 4); n != 1 {
		t.Errorf("%d subjects, want the one of now", n)
	}
}

// keys counts the keys of a bucket of the counter's.
func keys(t testing.TB, db *bolt.DB, name []byte) (n int) {
	t.Helper()
	err := db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketKanon).Bucket(name).ForEach(func(_, _ []byte) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func live(t testing.TB, db *bolt.DB, space kanon.Space) (n uint64) {
	t.Helper()
	err := db.View(func(tx *bolt.Tx) error {
		n = number(tx.Bucket(bucketKanon).Bucket(bucketLive).Get(space[:]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatHasExpiredIsDeletedBitByBit(t *testing.T) {
	clock := newClock()
	db := openFile(t, filepath.Join(t.TempDir(), "x.db"))
	c := open(t, db, Options{Now: clock.now})
	sightings := make([]kanon.Sighting, 1000)
	for i := range sightings {
		sightings[i] = kanon.Sighting{Combination: kanon.Combination{byte(i), byte(i >> 8)}, Members: []kanon.Member{{1}}}
	}
	other := kanon.Space{9}
	for _, space := range []kanon.Space{{}, other} {
		if _, err := c.Show(t.Context(), space, th, sightings); err != nil {
			t.Fatal(err)
		}
	}
	clock.advance(40 * time.Minute)
	if _, err := c.Show(t.Context(), kanon.Space{}, th, sightings[:100]); err != nil { // these stay
		t.Fatal(err)
	}
	clock.advance(40 * time.Minute)
	left := 2000
	for left > 100 {
		show(t, c, 0)
		now := keys(t, db, bucketCombinations)
		if due := keys(t, db, bucketExpiry); due != now {
			t.Fatalf("%d combinations, %d entries under expiry", now, due)
		}
		if n := live(t, db, kanon.Space{}) + live(t, db, other); n != uint64(now) {
			t.Fatalf("%d combinations, %d are said to be live", now, n)
		}
		if gone := left - now; gone < 0 || gone > 66 {
			t.Fatalf("one call of one sighting deleted %d combinations", gone)
		}
		if left = now; keys(t, db, bucketExpiry) == 0 {
			break
		}
	}
	if left != 100 {
		t.Errorf("%d combinations are left, want 100", left)
	}
}

// The same traffic for ten windows must not make the file ten times as large.
func TestTheFileDoesNotGrowForEver(t *testing.T) {
	clock := newClock()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c := open(t, db, Options{Now: clock.now})
	n := uint64(0)
	window := func() {
		for range 60 {
			sightings := make([]kanon.Sighting, 200)
			for i := range sightings {
				n++
				sightings[i].Combination = kanon.Combination(binary.LittleEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, n*0x9e3779b97f4a7c15), n))
				sightings[i].Members = []kanon.Member{{1}}
			}
			if _, err := c.Show(t.Context(), kanon.Space{}, th, sightings); err != nil {
				t.Fatal(err)
			}
			clock.advance(time.Minute)
		}
	}
	window()
	window()
	size := len(read(t, path))
	for range 8 {
		window()
	}
	if now := len(read(t, path)); now > 2*size {
		t.Errorf("the file has grown from %d to %d bytes", size, now)
	}
}

func TestABucketThatIsGoneIsAnError(t *testing.T) {
	db := openFile(t, filepath.Join(t.TempDir(), "x.db"))
	c := open(t, db, Options{})
	if err := db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketKanon) }); err != nil {
		t.Fatal(err)
	}
	if counts, err := c.Show(t.Context(), kanon.Space{}, th, []kanon.Sighting{{}}); err == nil || counts.Of != nil {
		t.Errorf("%v, %v", counts, err)
	}
}

func TestANegativeBoundIsRefused(t *testing.T) {
	if _, err := New(nil, Options{Bound: -1}); err == nil {
		t.Error("it is accepted")
	}
}

// A damaged value is nobody, or those subjects of it that make sense, and never
// more than k.
func FuzzAValueOfAnyBytesCountsNoMoreThanIsInIt(f *testing.F) {
	clock := newClock()
	db := openFile(f, filepath.Join(f.TempDir(), "x.db"))
	db.NoSync = true
	c := open(f, db, Options{Now: clock.now})
	good := make([]byte, 8)
	for i := range byte(4) {
		good = appendSeen(good, uint64(clock.ms.Load()), kanon.Member{i})
	}
	for _, seed := range [][]byte{nil, good[:3], good[:8], good[:20], good, append(good, 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		key := make([]byte, 24)
		key[8] = 1
		if err := db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketKanon).Bucket(bucketCombinations).Put(key, value)
		}); err != nil {
			t.Fatal(err)
		}
		if n := show(t, c, 1); n > min(th.K, len(value)/seenSize) {
			t.Errorf("%d subjects in %d bytes", n, len(value))
		}
		if n := show(t, c, 1, 200); n < 1 || n > th.K {
			t.Errorf("with one more they are %d", n)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	kanontest.Bench(b, func(b *testing.B) kanon.Counter {
		return open(b, openFile(b, filepath.Join(b.TempDir(), "x.db")), Options{})
	})
}
