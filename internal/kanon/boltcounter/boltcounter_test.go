package boltcounter

import (
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
