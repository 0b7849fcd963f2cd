package deliver

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

func TestRetryAfterIsHonouredByAllPartitions(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		value  func(now time.Time) string
		wait   time.Duration
	}{
		{"seconds with 429", 429, func(time.Time) string { return "120" }, 2 * time.Minute},
		{"a date with 503", 503, func(now time.Time) string { return now.Add(20 * time.Minute).UTC().Format(http.TimeFormat) }, 20 * time.Minute},
		{"an old form of a date", 429, func(now time.Time) string { return now.Add(20 * time.Minute).UTC().Format(time.RFC850) }, 20 * time.Minute},
		{"a day is bounded", 429, func(time.Time) string { return "86400" }, time.Hour},
		{"a number without bounds is bounded", 503, func(time.Time) string { return strings.Repeat("9", 40) }, time.Hour},
		{"a date without bounds is bounded", 503, func(time.Time) string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var n atomic.Int32
				w.serve(func(rw http.ResponseWriter, _ posted) int {
					if n.Add(1) == 1 {
						rw.Header().Set("Retry-After", c.value(time.Now()))
						return c.status
					}
					return 200
				})
				w.append(subjectIn(0, 0), `0`)
				w.start()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if n.Load() != 1 {
					t.Fatalf("%d POSTs", n.Load())
				}
				first := w.got()[0].at
				for p := 1; p < outbox.Partitions; p++ {
					w.append(subjectIn(p, 0), strconv.Itoa(p))
				}
				w.drain()
				posts := w.got()
				if len(posts) != outbox.Partitions+1 {
					t.Fatalf("%d POSTs", len(posts))
				}
				for _, p := range posts[1:] {
					// A date has no parts of a second.
					if waited := p.at.Sub(first); waited < c.wait-time.Second || waited > c.wait+10*time.Second {
						t.Errorf("waited %v, want %v", waited, c.wait)
					}
				}
				if len(w.seen.now().breaker) != 0 {
					t.Error(w.seen)
				}
			})
		})
	}
}

// Who waits for the rate while another is told to come back later does not go.
func TestARetryAfterHoldsThoseThatWaitForTheRate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.Requests = Rate{PerSecond: 0.1, Burst: 1}
		var n atomic.Int32
		w.serve(func(rw http.ResponseWriter, _ posted) int {
			if n.Add(1) > 1 {
				return 200
			}
			rw.Header().Set("Retry-After", "600")
			return 429
		})
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), strconv.Itoa(p))
		}
		w.start()
		w.drain()
		if posts := w.got(); posts[1].at.Sub(posts[0].at) < 10*time.Minute {
			t.Errorf("it went after %v", posts[1].at.Sub(posts[0].at))
		}
	})
}

// So it is with a breaker that opens; and it is open no longer than it has to be.
func TestABreakerThatOpensHoldsThoseThatWaitForTheRate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.Requests = Rate{PerSecond: 1, Burst: 1}
		w.partner.Breaker = Breaker{Failures: 1, Open: 5 * time.Second}
		w.partner.Backoff = Backoff{time.Millisecond, time.Millisecond}
		var n atomic.Int32
		w.serve(func(http.ResponseWriter, posted) int {
			if n.Add(1) > 1 {
				return 200
			}
			return 500
		})
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), strconv.Itoa(p))
		}
		w.start()
		w.drain()
		posts := w.got()
		if waited := posts[1].at.Sub(posts[0].at); waited < 5*time.Second || waited > 7*time.Second {
			t.Errorf("the next one went after %v", waited)
		}
	})
}

// A partner that says when to come back is up, and so is one of whose places
// another answers.
func TestTheBreakerStaysClosedWhereThePartnerIsUp(t *testing.T) {
	for _, status := range []int{429, 503} {
		inWorld(t, func(w *world) {
			w.partner.Breaker.Failures = 2
			var n atomic.Int32
			w.serve(func(rw http.ResponseWriter, _ posted) int {
				if n.Add(1) > 10 {
					return 200
				}
				rw.Header().Set("Retry-After", "1")
				return status
			})
			w.append("s", numbers(3)...)
			w.start()
			w.drain()
			if len(w.got()) != 11 || len(w.seen.now().breaker) != 0 {
				t.Error(w.seen)
			}
		})
	}
	inWorld(t, func(w *world) {
		w.partner.URLs = []string{"http://a.test/", "http://b.test/"}
		w.partner.Breaker.Failures = 1
		down := "http://a.test/"
		w.serve(func(http.ResponseWriter, posted) int { return 200 })
		all := w.partner.Transport
		w.partner.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			w.mu.Lock()
			is := r.URL.String() == down
			w.mu.Unlock()
			if is {
				return nil, errors.New("no answer")
			}
			return all.RoundTrip(r)
		})
		w.start()
		for _, place := range []string{"http://a.test/", "http://b.test/", "http://a.test/"} {
			w.mu.Lock()
			down = place
			w.mu.Unlock()
			w.append("s", `1`)
			w.drain()
		}
		if len(w.got()) != 3 || w.seen.why(Broken) != 3 || len(w.seen.now().breaker) != 0 {
			t.Error(w.seen)
		}
	})
}

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheBreakerOpensForAllAndOneTriesAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.Breaker = Breaker{Failures: 3, Open: time.Hour}
		w.partner.Backoff = Backoff{time.Second, time.Second}
		w.partner.Timeout = 100 * time.Second
		up, trying, most := false, 0, 0
		w.serve(func(http.ResponseWriter, posted) int {
			w.mu.Lock()
			trying++
			most = max(most, trying)
			ok := up
			w.mu.Unlock()
			time.Sleep(10 * time.Second) // so that others would come meanwhile
			w.mu.Lock()
			trying--
			w.mu.Unlock()
			if ok {
				return 200
			}
			return 500
		})
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), strconv.Itoa(p))
		}
		w.start()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		opened := len(w.got())
		if opened < 3 || opened > 3*outbox.Partitions {
			t.Fatalf("%d POSTs until it opened", opened)
		}
		if !slices.Equal(w.seen.now().breaker, []string{"open"}) {
			t.Fatal(w.seen)
		}
		w.mu.Lock()
		most = 0
		w.mu.Unlock()
		time.Sleep(4 * time.Hour) // each hour one tries
		synctest.Wait()
		if tried := len(w.got()) - opened; tried < 3 || tried > 4 || most != 1 {
			t.Fatalf("%d POSTs in four hours, %d at once", tried, most)
		}
		w.mu.Lock()
		up = true
		w.mu.Unlock()
		w.drain()
		if breaker := w.seen.now().breaker; breaker[len(breaker)-1] != "closed" || w.seen.now().delivered != outbox.Partitions {
			t.Error(w.seen)
		}
		posts := w.got()
		tried := posts[len(posts)-outbox.Partitions] // the one that closed it
		if waited := posts[len(posts)-1].at.Sub(tried.at); waited < 10*time.Second || waited > 12*time.Second {
			t.Errorf("the others waited %v for an answer that took 10 s", waited)
		}
	})
}

func TestTheRatesAreKept(t *testing.T) {
	for _, c := range []struct {
		name              string
		requests, records Rate
		limit             int
		least, most       time.Duration // for 60 records
	}{
		{"requests", Rate{PerSecond: 2, Burst: 1}, Rate{}, 2, 14 * time.Second, 16 * time.Second},
		{"records", Rate{}, Rate{PerSecond: 4}, 10, 13 * time.Second, 16 * time.Second},
		{"of both the slower", Rate{PerSecond: 100}, Rate{PerSecond: 4, Burst: 40}, 10, 4 * time.Second, 6 * time.Second},
		{"none", Rate{}, Rate{}, 1, 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.partner.Requests, w.partner.Records, w.partner.Limit.Count = c.requests, c.records, c.limit
				w.serve(func(http.ResponseWriter, posted) int { return 200 })
				for p := range 2 {
					w.append(subjectIn(p, 0), numbers(30)...)
				}
				began := time.Now()
				w.start()
				w.drain()
				got := w.got()
				if took := got[len(got)-1].at.Sub(began); took < c.least || took > c.most {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
