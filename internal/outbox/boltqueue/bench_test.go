package boltqueue

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

func BenchmarkQueue(b *testing.B) {
	queuetest.Bench(b, place{path: filepath.Join(b.TempDir(), "outbox.db")})
}

// A file that once held much had a long list of free pages, which every commit wrote:
// it is written anew once it is almost empty.
func BenchmarkQueueAfterABacklog(b *testing.B) {
	path := filepath.Join(b.TempDir(), "outbox.db")
	q := open(b, path, Options{})
	const rounds = 100
	for i := range rounds {
		enter(b, q, some(i*1000, 1000, 1000))
	}
	l := hold(b, q)
	for range rounds {
		if _, err := l.Batch(b.Context(), soon); err != nil {
			b.Fatal(err)
		}
		if err := l.Done(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	q.Close()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("the file has %d MiB", info.Size()>>20)
	queuetest.Bench(b, place{path: path})
}
