package deliver

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Backoff is exponential with full jitter: before the nth repetition, anything
// up to Min·2ⁿ⁻¹, and up to Max.
type Backoff struct {
	Min, Max time.Duration // default: 500 ms and 1 min
}

// wait returns how long to wait after a number of failures in a row.
func (b Backoff) wait(failures int) time.Duration {
	ceiling := b.Min
	for i := 1; i < failures && ceiling < b.Max; i++ {
		ceiling *= 2
	}
	return rand.N(min(ceiling, b.Max) + 1)
}

// sleep waits; it returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3), seconds or a date. 0 is
// none, or one in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}
