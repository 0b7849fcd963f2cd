package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/consentgate/consentgate/internal/outbox"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// world is a delivery to a partner that is a real HTTP server, on connections in
// memory, so that all of it can be in a bubble of testing/synctest: an hour of
// waiting takes no time there, and nothing is decided by how fast a test runs.
type world struct {
	*testing.T
	partner Partner
	recheck Recheck
	queue   *memory
	seen    *seen
	logs    *observer.ObservedLogs
	log     *zap.Logger

	mu       sync.Mutex
	posts    []posted
	appended int
}

// posted is one POST as the partner got it.
type posted struct {
	at     time.Time
	key    string
	body   string // not compressed
	header http.Header
	path   string
}

// passAll lets everything go.
func passAll(_ context.Context, _ string, batch []outbox.Record) ([][]byte, error) {
	bodies := make([][]byte, len(batch))
	for i := range batch {
		bodies[i] = batch[i].Body
	}
	return bodies, nil
}

// inWorld runs a test in a bubble.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		test(&world{
			T: t, queue: newMemory(), seen: newSeen(), recheck: passAll, logs: logs, log: zap.New(core),
			partner: Partner{Name: "adx", URLs: []string{"http://partner.test/events"}},
		})
	})
}

// serve starts the partner, and answer is asked for the status of each POST;
// what it does with the ResponseWriter itself counts if it returns 0. It returns
// the transport that reaches it, under any name.
func (w *world) serve(answer func(rw http.ResponseWriter, p posted) int) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: w.handler(answer), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(l) }()
	t := Transport(TransportOptions{})
	t.DialContext = l.dial
	w.partner.Transport = t
	w.Cleanup(func() {
		t.CloseIdleConnections()
		s.Close()
		time.Sleep(time.Hour) // until handlers that take their time have ended
	})
}

func (w *world) handler(answer func(rw http.ResponseWriter, p posted) int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.Header.Get("Content-Encoding") == "gzip" {
			if z, err := gzip.NewReader(bytes.NewReader(body)); err != nil {
				w.Error(err)
			} else if body, err = io.ReadAll(z); err != nil {
				w.Error(err)
			}
		}
		if r.ContentLength < 0 {
			w.Error("a POST has no Content-Length")
		}
		p := posted{at: time.Now(), key: r.Header.Get("Idempotency-Key"), body: string(body), header: r.Header, path: r.URL.String()}
		w.mu.Lock()
		w.posts = append(w.posts, p)
		w.mu.Unlock()
		if status := answer(rw, p); status != 0 {
			rw.WriteHeader(status)
			fmt.Fprint(rw, "an answer that says canary-answer")
		}
	})
}

// start runs a delivery. Ending it is waiting until it has ended.
func (w *world) start() (end func()) {
	w.Helper()
	d, err := New(w.queue, w.partner, w.recheck, Options{Observer: w.seen, Log: w.log})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	end = func() { cancel(); <-ended }
	w.Cleanup(end)
	return end
}

// append puts records of a subject into the queue, by their bodies. Their keys
// are numbered.
func (w *world) append(subject string, bodies ...string) {
	records := make([]outbox.Record, len(bodies))
	for i, b := range bodies {
		w.appended++
		records[i] = outbox.Record{Key: fmt.Sprintf("key-%d", w.appended), Subject: subject, Body: []byte(b), At: time.Now()}
	}
	_, _ = w.queue.Append(w.Context(), "adx", outbox.Bound{}, records)
}

// got returns the POSTs so far.
func (w *world) got() []posted {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]posted(nil), w.posts...)
}

// drain lets time pass until the queue is empty, a day at most.
func (w *world) drain() {
	w.Helper()
	for range 24 * 3600 {
		if synctest.Wait(); w.queue.waiting() == 0 {
			return
		}
		time.Sleep(time.Second)
	}
	w.Fatalf("after a day %d records are in the queue", w.queue.waiting())
}

// deadBodies returns what is dead.
func (w *world) deadBodies() (bodies []string) {
	dead, _ := w.queue.Dead(w.Context(), "", "", 0)
	for _, l := range dead {
		bodies = append(bodies, string(l.Body))
	}
	return bodies
}

// lineList splits the body of an NDJSON POST.
func lineList(body string) []string { return strings.Split(strings.TrimSuffix(body, "\n"), "\n") }

// numbers returns bodies from 1 to n.
func numbers(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"n":%d}`, i+1)
	}
	return bodies
}

// subjectIn returns the nth subject of a partition.
func subjectIn(partition, n int) string {
	for i := 0; ; i++ {
		if s := fmt.Sprintf("subject-%d", i); outbox.Partition(s) == partition {
			if n--; n < 0 {
				return s
			}
		}
	}
}

// pipeListener listens for connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// seen is an Observer that counts.
type seen struct {
	mu                    sync.Mutex
	posts, records, bytes int
	delivered, withheld   int
	waited                time.Duration
	failed                map[Reason]int
	dead                  map[int]int
	breaker               []string
}

func newSeen() *seen { return &seen{failed: map[Reason]int{}, dead: map[int]int{}} }

func (s *seen) do(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *seen) Accepted(records, bytes int) {
	s.do(func() { s.posts++; s.records += records; s.bytes += bytes })
}
func (s *seen) Delivered(waited time.Duration) {
	s.do(func() { s.delivered++; s.waited = max(s.waited, waited) })
}
func (s *seen) Failed(r Reason)             { s.do(func() { s.failed[r]++ }) }
func (s *seen) Dead(records, status int)    { s.do(func() { s.dead[status] += records }) }
func (s *seen) Withheld(n int)              { s.do(func() { s.withheld += n }) }
func (s *seen) BreakerChanged(state string) { s.do(func() { s.breaker = append(s.breaker, state) }) }

// now returns what it has counted so far.
func (s *seen) now() (c *seen) {
	s.do(func() {
		c = &seen{posts: s.posts, records: s.records, bytes: s.bytes, delivered: s.delivered, withheld: s.withheld, waited: s.waited,
			failed: maps.Clone(s.failed), dead: maps.Clone(s.dead), breaker: slices.Clone(s.breaker)}
	})
	return c
}

// why returns how often attempts failed for a reason.
func (s *seen) why(r Reason) (n int) { s.do(func() { n = s.failed[r] }); return n }

func (s *seen) String() (text string) {
	s.do(func() {
		b, _ := json.Marshal(map[string]any{
			"posts": s.posts, "records": s.records, "delivered": s.delivered, "withheld": s.withheld,
			"failed": s.failed, "dead": s.dead, "breaker": s.breaker,
		})
		text = string(b)
	})
	return text
}
