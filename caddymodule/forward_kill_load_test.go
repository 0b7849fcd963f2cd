package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// killCanary begins whatever no partner may see.
const killCanary = "canary-of-the-kill"

// killLoad is many people's traffic. Each sends numbered records, one request after
// the other, and repeats a request until it is answered 2xx, be it at another gateway.
type killLoad struct {
	gateways []string
	client   *http.Client
	stop     chan struct{} // closed: no new request begins

	accepted atomic.Int64 // records
	refused  atomic.Int64 // answers 502 and 503
	broken   atomic.Int64 // no answer at all

	mu    sync.Mutex
	sent  map[string]bool // ids of records whose request was answered 2xx
	wrong map[string]int  // answers that should not have been
}

// killPerson is one subject, and what is due of it.
type killPerson struct {
	name, user string
	next       int
}

// work sends the traffic of some people until it is to stop.
func (l *killLoad) work(ctx context.Context, worker int, people []*killPerson, rng *rand.Rand) {
	at := worker
	for n := 0; ; n++ {
		select { // at a pace that leaves the machine to the gateways
		case <-l.stop:
			return
		case <-time.After(killPace):
		}
		r := makeKillRequest(people, rng)
		key := fmt.Sprintf("%d-%d", worker, n)
		for {
			status, err := l.post(ctx, l.gateways[at%len(l.gateways)], &r, key)
			if status/100 == 2 {
				l.took(r.ids)
				break
			}
			if ctx.Err() != nil {
				return
			}
			switch {
			case err != nil:
				l.broken.Add(1)
			case status == http.StatusServiceUnavailable, status == http.StatusBadGateway:
				l.refused.Add(1)
			default:
				l.amiss(fmt.Sprintf("%s as %s was answered %d", r.path, r.contentType, status))
				return
			}
			at++
			select { // nor in a circle while nobody listens
			case <-time.After(4 * killPace):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (l *killLoad) took(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.sent[id] = true
	}
	l.accepted.Add(int64(len(ids)))
}

func (l *killLoad) amiss(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong[what]++
}

func (l *killLoad) post(ctx context.Context, gateway string, r *killRequest, key string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+gateway+r.path, strings.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", r.contentType)
	req.Header.Set("Idempotency-Key", key)
	res, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err // what it said before it died is no answer
	}
	return res.StatusCode, nil
}

// killRequest is one request, and the ids of the records that the partner is to get.
type killRequest struct {
	path, contentType, body string
	ids                     []string
}

// makeKillRequest makes the next request of some people: one record, a batch, or
// lines of either, few or more than one window of them. In all but the first a
// stranger is among them.
func makeKillRequest(people []*killPerson, rng *rand.Rand) (r killRequest) {
	record := func() string {
		p := people[rng.IntN(len(people))]
		id := fmt.Sprintf("%s-%d", p.name, p.next)
		p.next++
		r.ids = append(r.ids, id)
		return killRecord(p.user, id)
	}
	records := func(n int) string {
		all := []string{killRecord(killCanary+"-stranger", "x-1")}
		for range n {
			all = append(all, record())
		}
		return strings.Join(all, ",")
	}
	r.path, r.contentType = "/records/a", "application/json"
	n := rng.IntN(40)
	if n < 28 {
		r.body = record()
		return r
	}
	if n%2 == 0 {
		r.path = "/batches/a"
	}
	if n < 32 {
		r.path, r.body = "/batches/a", `{"batch":[`+records(1+rng.IntN(8))+`]}`
		return r
	}
	r.contentType = "application/x-ndjson"
	lines := 1 + rng.IntN(12)
	if rng.IntN(8) == 0 {
		lines += windowLines
	}
	var all strings.Builder
	all.WriteString(killRecord(killCanary+"-stranger", "x-1") + "\n")
	for range lines {
		if r.path == "/batches/a" {
			all.WriteString(`{"batch":[` + records(1+rng.IntN(2)) + "]}\n")
		} else {
			all.WriteString(record() + "\n")
		}
	}
	r.body = all.String()
	return r
}

// killRecord is a bid request of a user's.
func killRecord(user, id string) string {
	return fmt.Sprintf(`{"user_id":%q,"id":%q,"imp":[{"id":"1"}],"device":{"imei":%q,"oaid":"9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d7b11","model":"Pixel","ip":%q},"note":"%s-note"}`,
		user, id, canaryIMEI, canaryIP, killCanary)
}
