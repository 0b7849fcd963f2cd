package boltqueue

import (
	"path/filepath"
	"testing"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// place is a file.
type place struct {
	path string
	opts Options
}

func (p place) Open(t testing.TB) outbox.Queue { return open(t, p.path, p.opts) }

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t *testing.T, o queuetest.Options) queuetest.Place {
		return place{filepath.Join(t.TempDir(), "outbox.db"), Options{DeadLetters: o.DeadLetters}}
	})
}

func open(t testing.TB, path string, o Options) *Queue {
	t.Helper()
	q, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}
