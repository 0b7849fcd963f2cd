package queuetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// perBatch is how many records a batch of the benchmarks has.
const perBatch = 100

// Bench measures what durable records cost: one alone, 64 producers at once, a
// hundred in one call, and taking them out in batches of a hundred. Each reports
// records a second, and how many times that is what one record alone makes, in
// the same run. Records are of about 700 bytes.
func Bench(b *testing.B, p Place) {
	q := p.Open(b)
	b.Cleanup(func() { q.Close() })
	alone := 0.0
	rate := func(b *testing.B, records int) {
		perSecond := float64(records) / b.Elapsed().Seconds()
		if alone == 0 {
			alone = perSecond
		}
		b.ReportMetric(perSecond, "records/s")
		b.ReportMetric(perSecond/alone, "×alone")
		b.ReportMetric(0, "ns/op") // which says nothing here
	}
	b.Run("append one alone", func(b *testing.B) {
		took := appendMany(b, q, "alone", 1, 1)
		alone = 0 // of the last run of this, which is the longest
		rate(b, b.N)
		quantiles(b, took)
	})
	b.Run("append one, 64 at once", func(b *testing.B) {
		took := appendMany(b, q, "together", 64, 1)
		rate(b, b.N)
		quantiles(b, took)
	})
	b.Run("append a hundred in a call", func(b *testing.B) {
		took := appendMany(b, q, "hundreds", 1, perBatch)
		rate(b, b.N*perBatch)
		quantiles(b, took)
	})
	for _, consumers := range []int{1, outbox.Partitions} {
		b.Run(fmt.Sprintf("deliver a hundred, %d consumers", consumers), func(b *testing.B) {
			took := deliver(b, q, fmt.Sprint("deliver", consumers), consumers)
			rate(b, b.N*perBatch)
			quantiles(b, took)
		})
	}
}

// appendMany makes b.N calls of Append, and returns what each took.
func appendMany(b *testing.B, q outbox.Queue, partner string, producers, records int) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	calls := make(chan int, b.N)
	for i := range b.N {
		calls <- i
	}
	close(calls)
	bound := outbox.Bound{Bytes: 64 << 20, DropOldest: true}
	b.ResetTimer()
	for p := range producers {
		wg.Go(func() {
			var mine []time.Duration
			for i := range calls {
				rs := benchRecords(fmt.Sprint(p, " ", i), records)
				begun := time.Now()
				if _, err := q.Append(context.Background(), partner, bound, rs); err != nil {
					b.Error(err)
				}
				mine = append(mine, time.Since(begun))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	b.StopTimer()
	return took
}

// deliver takes b.N batches out.
func deliver(b *testing.B, q outbox.Queue, partner string, consumers int) []time.Duration {
	ctx := context.Background()
	partner = fmt.Sprint(partner, "-", b.N)
	each := b.N/consumers + 1
	for p := range consumers {
		for range each {
			rs := benchRecords("", perBatch)
			for i := range rs {
				rs[i].Subject = subjectIn(p, 0)
			}
			if _, err := q.Append(ctx, partner, roomy, rs); err != nil {
				b.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	b.ResetTimer()
	for p := range consumers {
		wg.Go(func() {
			l, err := q.Lease(ctx, partner, p)
			if err != nil {
				b.Error(err)
				return
			}
			defer l.Release()
			var mine []time.Duration
			for range max(1, b.N/consumers) {
				begun := time.Now()
				rs, err := l.Batch(ctx, outbox.Limit{Count: perBatch, Bytes: 1 << 20})
				if err == nil {
					err = l.Done(ctx, nil)
				}
				if err != nil || len(rs) != perBatch {
					b.Errorf("%d records, %v", len(rs), err)
				}
				mine = append(mine, time.Since(begun))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	b.StopTimer()
	return took
}

func benchRecords(key string, n int) []outbox.Record {
	rs := some("", key, 0, n)
	for i := range rs {
		rs[i].Subject = fmt.Sprint("subject ", key, i%10)
		rs[i].Release = bytes.Repeat([]byte("r"), 100)
		rs[i].Body = bytes.Repeat([]byte("b"), 500)
	}
	return rs
}

func quantiles(b *testing.B, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
