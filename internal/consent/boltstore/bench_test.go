package boltstore

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

func BenchmarkCommitAlone(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "consent.db"))
	state := consent.State{}
	for b.Loop() {
		state = commit(b, s, decide(b, "u", state, consent.Granted))
	}
}

func BenchmarkCommitTogether(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "consent.db"))
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		id := consent.ID(fmt.Sprint(n.Add(1)))
		state := consent.State{}
		for pb.Next() {
			state = commit(b, s, decide(b, id, state, consent.Granted))
		}
	})
}
