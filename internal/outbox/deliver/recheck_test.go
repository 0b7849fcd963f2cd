package deliver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// consents is a Recheck that a test changes while it is asked.
type consents struct {
	mu    sync.Mutex
	err   error
	panic any
	body  func(outbox.Record) []byte
	asked []time.Time
	sizes []int
}

func newConsents() *consents { return &consents{body: func(r outbox.Record) []byte { return r.Body }} }

func (c *consents) recheck(_ context.Context, partner string, batch []outbox.Record) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, time.Now())
	c.sizes = append(c.sizes, len(batch))
	if c.panic != nil {
		panic(c.panic)
	}
	if c.err != nil || partner != "adx" {
		return nil, c.err
	}
	bodies := make([][]byte, len(batch))
	for i, r := range batch {
		bodies[i] = c.body(r)
	}
	return bodies, nil
}

func (c *consents) set(f func()) { c.mu.Lock(); defer c.mu.Unlock(); f() }

// without keeps back what holds a text.
func without(text string) func(outbox.Record) []byte {
	return func(r outbox.Record) []byte {
		if strings.Contains(string(r.Body), text) {
			return nil
		}
		return r.Body
	}
}

func TestOnlyWhatTheRecheckLetsGoGoes(t *testing.T) {
	for _, c := range []struct {
		name     string
		body     func(outbox.Record) []byte
		want     []string
		withheld int
	}{
		{"all", func(r outbox.Record) []byte { return r.Body }, []string{"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"}, 0},
		{"some", without("2"), []string{"{\"n\":1}\n{\"n\":3}\n"}, 1},
		{"less of each", func(outbox.Record) []byte { return []byte(`{}`) }, []string{"{}\n{}\n{}\n"}, 0},
		{"none", func(outbox.Record) []byte { return nil }, nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var keys []string
			for round, body := range []func(outbox.Record) []byte{c.body, func(r outbox.Record) []byte { return r.Body }} {
				inWorld(t, func(w *world) {
					consents := newConsents()
					consents.body = body
					w.recheck = consents.recheck
					w.serve(func(http.ResponseWriter, posted) int { return 200 })
					w.append("s", numbers(3)...)
					w.start()
					w.drain()
					var got []string
					for _, p := range w.got() {
						got = append(got, p.body)
						keys = append(keys, p.key)
					}
					if round == 0 && (!slices.Equal(got, c.want) || w.seen.now().withheld != c.withheld) {
						t.Errorf("%q, %v", got, w.seen)
					}
					if w.queue.dones != 1 || len(w.deadBodies()) != 0 {
						t.Error("the batch is not done")
					}
				})
			}
			if len(slices.Compact(keys)) != 1 {
				t.Errorf("the keys are %q, but it is one batch", keys)
			}
		})
	}
}

func TestWhatIsWithdrawnWhileThePartnerIsDownDoesNotGo(t *testing.T) {
	for _, c := range []struct {
		name string
		down func(http.ResponseWriter) int
	}{
		{"with a breaker that opens", func(http.ResponseWriter) int { return 500 }},
		{"with a Retry-After", func(rw http.ResponseWriter) int { rw.Header().Set("Retry-After", "3000"); return 503 }},
		{"with a partner that hangs", func(http.ResponseWriter) int { time.Sleep(20 * time.Second); return 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				consents := newConsents()
				w.recheck = consents.recheck
				var up bool
				var mu sync.Mutex
				w.serve(func(rw http.ResponseWriter, _ posted) int {
					mu.Lock()
					ok := up
					mu.Unlock()
					if ok {
						return 200
					}
					return c.down(rw)
				})
				w.append("s", numbers(3)...)
				w.start()
				time.Sleep(time.Hour)
				consents.set(func() { consents.body = without("2") })
				withdrawn := time.Now()
				time.Sleep(2 * recheckAfter)
				mu.Lock()
				up = true
				mu.Unlock()
				w.drain()
				for _, p := range w.got() {
					if p.at.After(withdrawn.Add(recheckAfter)) && strings.Contains(p.body, `"n":2`) {
						t.Errorf("%v after it was withdrawn it went", p.at.Sub(withdrawn))
					}
				}
				if last := w.got()[len(w.got())-1]; last.body != "{\"n\":1}\n{\"n\":3}\n" || last.key != w.got()[0].key || w.seen.now().withheld != 1 {
					t.Errorf("%+v, %v", last, w.seen)
				}
			})
		})
	}
}

// No POST goes with a word that is older than a second, be it the breaker, the
// rate or a part of a batch that took so long.
func TestEachPostHasAWordThatIsFresh(t *testing.T) {
	for _, format := range []Format{NDJSON, Single} {
		inWorld(t, func(w *world) {
			consents := newConsents()
			w.recheck = consents.recheck
			w.partner.Format = format
			w.partner.Requests = Rate{PerSecond: 0.2, Burst: 1}
			w.partner.Limit.Count = 8
			n := 0
			w.serve(func(_ http.ResponseWriter, p posted) int {
				time.Sleep(2 * time.Second)
				w.mu.Lock()
				defer w.mu.Unlock()
				if n++; n%3 == 0 {
					return 500
				}
				if len(lineList(p.body)) > 2 {
					return 413
				}
				return 200
			})
			for p := range 3 {
				w.append(subjectIn(p, 0), numbers(20)...)
			}
			w.start()
			w.drain()
			for _, p := range w.got() {
				if !slices.ContainsFunc(consents.asked, func(at time.Time) bool {
					return !at.After(p.at) && p.at.Sub(at) <= recheckAfter
				}) {
					t.Errorf("a POST at %v has no fresh word", p.at)
				}
			}
			// It is always asked about all of the batch: what is rare in a part
			// of it need not be rare.
			for _, n := range consents.sizes {
				if n != 8 && n != 4 {
					t.Errorf("asked about %d records", n)
				}
			}
		})
	}
}

func TestARecheckThatFailsIsWaitedFor(t *testing.T) {
	for name, broken := range map[string]func(*consents){
		"with an error":          func(c *consents) { c.err = errors.New("the store is away") },
		"with a panic":           func(c *consents) { c.panic = "canary-panic" },
		"with too few bodies":    func(c *consents) { c.body = nil },
		"with a context's error": func(c *consents) { c.err = context.Canceled },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				consents := newConsents()
				consents.set(func() { broken(consents) })
				w.recheck = func(ctx context.Context, partner string, batch []outbox.Record) ([][]byte, error) {
					var short bool
					consents.set(func() { short = consents.body == nil })
					if short {
						return make([][]byte, len(batch)-1), nil
					}
					return consents.recheck(ctx, partner, batch)
				}
				w.serve(func(http.ResponseWriter, posted) int { return 200 })
				w.append("s", numbers(3)...)
				w.start()
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := w.seen.why(RecheckError); len(w.got()) != 0 || w.queue.waiting() != 3 || n < 60 || n > 400 {
					t.Fatal(len(w.got()), w.seen)
				}
				consents.set(func() { consents.err, consents.panic, consents.body = nil, nil, newConsents().body })
				w.drain()
				if w.seen.now().delivered != 3 || len(w.got()) != 1 || len(w.seen.now().breaker) != 0 {
					t.Error(w.seen)
				}
				for _, l := range w.logs.All() {
					if strings.Contains(l.Message, "canary") || strings.Contains(string(mustJSON(l.ContextMap())), "canary") {
						t.Errorf("%+v", l)
					}
				}
			})
		})
	}
}
