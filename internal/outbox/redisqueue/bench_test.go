package redisqueue

import (
	"testing"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// On one server that syncs its file before it answers.
func BenchmarkQueue(b *testing.B) {
	srv := redistest.Start(b)
	queuetest.Bench(b, place{config: redisstore.Config{Addresses: []string{srv.Addr}}})
}
