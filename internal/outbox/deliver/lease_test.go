package deliver

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

func TestALeaseThatIsLostBreaksOffThePost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.Timeout = time.Hour
		first := true
		w.serve(func(http.ResponseWriter, posted) int {
			w.mu.Lock()
			was := first
			first = false
			w.mu.Unlock()
			if was {
				time.Sleep(30 * time.Minute)
			}
			return 200
		})
		w.append(subjectIn(5, 0), numbers(3)...)
		w.start()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(w.got()) != 1 {
			t.Fatalf("%d POSTs", len(w.got()))
		}
		lost := time.Now()
		w.queue.lose(5)
		w.drain()
		got := w.got()
		if len(got) != 2 || got[1].at.Sub(lost) > time.Second || got[0].key != got[1].key || got[0].body != got[1].body {
			t.Fatalf("%+v", got)
		}
		if w.queue.dones != 1 || w.seen.now().posts != 1 || w.seen.why(LeaseLost) != 1 || w.seen.why(Timeout) != 0 {
			t.Error(w.seen)
		}
	})
}

func TestWhoHasLostTheLeaseDoesNotTakeTheBatchOut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { return 200 })
		n := 0
		w.queue.onDone = func() {
			if n++; n == 1 { // after the POST, before it is done
				w.queue.lose(5)
			}
		}
		w.append(subjectIn(5, 0), numbers(3)...)
		w.start()
		w.drain()
		if got := w.got(); len(got) != 2 || got[0].key != got[1].key || w.queue.dones != 1 {
			t.Errorf("%+v, %d", got, w.queue.dones)
		}
	})
}

func TestEndingBreaksOffAndLetsGoAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, posted) int
		set    func(*Partner)
	}{
		{"while a POST is under way", func(http.ResponseWriter, posted) int { time.Sleep(time.Minute); return 200 }, func(*Partner) {}},
		{"while it waits to repeat one", func(http.ResponseWriter, posted) int { return 500 }, func(p *Partner) { p.Backoff.Min = time.Hour }},
		{"while the breaker is open", func(http.ResponseWriter, posted) int { return 500 }, func(p *Partner) { p.Breaker = Breaker{1, time.Hour} }},
		{"while a Retry-After runs", func(rw http.ResponseWriter, _ posted) int { rw.Header().Set("Retry-After", "600"); return 429 }, func(*Partner) {}},
		{"while the rate is spent", func(http.ResponseWriter, posted) int { return 200 }, func(p *Partner) { p.Requests = Rate{0.0001, 1} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.partner.Timeout = time.Hour
				c.set(&w.partner)
				w.serve(c.answer)
				for p := range outbox.Partitions {
					w.append(subjectIn(p, 0), numbers(300)...)
				}
				end := w.start()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if w.queue.held() != outbox.Partitions || len(w.got()) == 0 {
					t.Fatal("nothing is under way")
				}
				began := time.Now()
				end()
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v to end", took)
				}
				if w.queue.held() != 0 {
					t.Errorf("%d leases are held", w.queue.held())
				}
				if got := w.queue.waiting(); got+w.seen.now().delivered != 300*outbox.Partitions {
					t.Errorf("%d in the queue, %d delivered", got, w.seen.now().delivered)
				}
			})
		})
	}
}

func TestWhatHasArrivedIsTakenOutEvenWhenItIsToEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { return 200 })
		ending := make(chan struct{})
		w.queue.onDone = func() {
			close(ending)
			time.Sleep(time.Second) // a disk that is slow
		}
		w.append("s", numbers(3)...)
		end := w.start()
		<-ending
		end()
		if w.queue.waiting() != 0 || w.queue.dones != 1 || w.queue.held() != 0 {
			t.Error("what has arrived will arrive again")
		}
	})
}

// A partner that is down costs one batch of each partition, and no more.
func TestOnePartitionHasOneBatchInHand(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { return 500 })
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), numbers(1000)...)
		}
		w.start()
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if w.queue.batches != outbox.Partitions || w.queue.inFlight != outbox.Partitions {
			t.Errorf("%d batches were taken", w.queue.batches)
		}
	})
}

// Of two deliveries one has each partition, and when it ends the other goes on.
func TestTheNextConsumerGoesOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { time.Sleep(time.Second); return 200 })
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), numbers(1000)...)
		}
		end := w.start()
		w.start()
		time.Sleep(4500 * time.Millisecond)
		end()
		w.drain()
		var arrived [outbox.Partitions]int
		for _, p := range w.got() {
			arrived[0] += len(lineList(p.body))
		}
		if arrived[0] < 8000 || arrived[0] > 8800 { // one batch of each was broken off
			t.Errorf("%d arrived", arrived[0])
		}
	})
}

func TestAPartnerThatCannotBeIsRefused(t *testing.T) {
	good := Partner{Name: "adx", URLs: []string{"https://partner.test/"}}
	for name, change := range map[string]func(*Partner){
		"no name":               func(p *Partner) { p.Name = "" },
		"no URL":                func(p *Partner) { p.URLs = nil },
		"a URL without host":    func(p *Partner) { p.URLs = []string{"https:///canary"} },
		"a URL of a file":       func(p *Partner) { p.URLs = []string{"file:///canary"} },
		"a URL that is none":    func(p *Partner) { p.URLs = []string{"https://canary%zz/"} },
		"no format":             func(p *Partner) { p.Format = 3 },
		"a rate below 0":        func(p *Partner) { p.Records.PerSecond = -1 },
		"a header of framing":   func(p *Partner) { p.Header = http.Header{"content-length": {"canary"}} },
		"a key of its own":      func(p *Partner) { p.Header = http.Header{"Idempotency-Key": {"canary"}} },
		"a header with a break": func(p *Partner) { p.Header = http.Header{"X-A": {"canary\r\nX-B: 1"}} },
		"a header with no name": func(p *Partner) { p.Header = http.Header{"X A": {"canary"}} },
	} {
		p := good
		change(&p)
		if _, err := New(newMemory(), p, passAll, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		} else if slices.Contains([]byte(err.Error()), '%') || containsCanary(err.Error()) {
			t.Errorf("%s: the error tells: %v", name, err)
		}
	}
	if _, err := New(newMemory(), good, nil, Options{}); err == nil {
		t.Error("a delivery without a recheck was made")
	}
	d, err := New(newMemory(), good, passAll, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Run(ctx)
}
