package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestABatchIsRepeatedUnderItsKeyUntilItIsTaken(t *testing.T) {
	abort := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	status := func(n int) func(http.ResponseWriter) { return func(rw http.ResponseWriter) { rw.WriteHeader(n) } }
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
		reason Reason
	}{
		{"500", status(500), ServerError},
		{"501", status(501), ServerError},
		{"502", status(502), ServerError},
		{"504", status(504), ServerError},
		{"599", status(599), ServerError},
		{"999", status(999), ServerError},
		{"503", status(503), Busy},
		{"408", status(408), Busy},
		{"421", status(421), Busy},
		{"425", status(425), Busy},
		{"429", status(429), Busy},
		{"401", status(401), Unauthorized},
		{"402", status(402), Unauthorized},
		{"403", status(403), Unauthorized},
		{"407", status(407), Unauthorized},
		{"409, a while", status(409), Conflict},
		{"a redirect", func(rw http.ResponseWriter) {
			rw.Header().Set("Location", "http://elsewhere.test/")
			rw.WriteHeader(307)
		}, Redirect},
		{"304", status(304), Redirect},
		{"no answer", abort, Broken},
		{"an answer that is cut off", func(rw http.ResponseWriter) {
			rw.Header().Set("Content-Length", "100")
			fmt.Fprint(rw, "so far")
			_ = http.NewResponseController(rw).Flush()
			abort(rw)
		}, Broken},
		{"an answer that does not come", func(http.ResponseWriter) { time.Sleep(time.Minute) }, Timeout},
		{"an answer that does not end", func(rw http.ResponseWriter) {
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(time.Minute)
		}, Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				const failures = 8 // more than open the breaker
				var n atomic.Int32
				w.serve(func(rw http.ResponseWriter, _ posted) int {
					if n.Add(1) <= failures {
						c.answer(rw)
						return 0
					}
					return 204
				})
				w.append("s", numbers(3)...)
				w.start()
				w.drain()
				got := w.got()
				if len(got) != failures+1 {
					t.Fatalf("%d POSTs", len(got))
				}
				for _, p := range got {
					if p.key != got[0].key || p.body != got[0].body || p.path != "/events" {
						t.Errorf("a repetition differs: %+v, %+v", p, got[0])
					}
				}
				if w.seen.why(c.reason) != failures || w.seen.now().delivered != 3 || w.seen.now().posts != 1 || len(w.deadBodies()) != 0 {
					t.Error(w.seen)
				}
			})
		})
	}
}

// statusRow is a row of the table of statuses.
var statusRow = regexp.MustCompile(`(?m)^\| ([0-9][^|]+) \| \*\*([^*]+)\*\*`)

// Each status has the verdict that docs/forward.md tells partners of.
func TestTheDocumentedStatusesAreTheJudgedOnes(t *testing.T) {
	for _, file := range []string{"forward.md", "forward.zh.md"} {
		text, err := os.ReadFile("../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		what, table := map[string]verdict{}, map[int]verdict{}
		for _, row := range statusRow.FindAllStringSubmatch(string(text), -1) {
			for _, s := range strings.Split(row[1], ", ") {
				n, err := strconv.Atoi(s)
				if err != nil {
					continue // a class
				}
				if v, known := what[row[2]]; known && v != judge(n) {
					t.Errorf("%s: %d is not %q", file, n, row[2])
				}
				what[row[2]] = judge(n)
				table[n] = judge(n)
			}
		}
		for n := range statuses {
			if _, told := table[n]; !told {
				t.Errorf("%s does not tell of %d", file, n)
			}
		}
		for _, n := range []int{400, 413, 422} {
			if v, told := table[n]; !told || v != split {
				t.Errorf("%s: %d", file, n)
			}
		}
	}
	for n, v := range map[int]verdict{
		0: retry, 101: retry, 200: accepted, 202: accepted, 207: accepted, 299: accepted, 300: retry, 399: retry,
		418: split, 499: split, 500: retry, 600: retry, 999: retry,
	} {
		if judge(n) != v {
			t.Errorf("%d: %d", n, judge(n))
		}
	}
}

func TestA409ThatStaysIsARefusal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { return 409 })
		w.append("s", numbers(2)...)
		w.start()
		w.drain()
		if len(w.got()) != maxConflicts+1 || w.seen.now().dead[409] != 2 || len(w.seen.now().breaker) != 0 {
			t.Error(len(w.got()), w.seen)
		}
	})
}

func TestARetryAfterThatIsNoneIsNone(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, v := range []string{"", "-1", "1.5", "soon", "0", "1e3", "+5", "Thu, 01 Jan 2026 00:00:00 GMT", "2026-01-03"} {
		if d := retryAfter(http.Header{"Retry-After": {v}}, now); d != 0 {
			t.Errorf("%q: %v", v, d)
		}
	}
}

func FuzzRetryAfterIsBounded(f *testing.F) {
	for _, v := range []string{"1", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if d := retryAfter(http.Header{"Retry-After": {v}}, time.Now()); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", v, d)
		}
	})
}

func TestTheBackoffIsExponentialWithFullJitter(t *testing.T) {
	b := Backoff{Min: time.Second, Max: time.Minute}
	for failures, ceiling := range map[int]time.Duration{1: 1e9, 2: 2e9, 3: 4e9, 6: 32e9, 7: 60e9, 100: 60e9, 1 << 20: 60e9} {
		var low, high int
		for range 1000 {
			w := b.wait(failures)
			if w < 0 || w > ceiling {
				t.Fatalf("%d failures: %v", failures, w)
			}
			if w < ceiling/4 {
				low++
			}
			if w > 3*ceiling/4 {
				high++
			}
		}
		if low < 150 || high < 150 {
			t.Errorf("%d failures: %d waits of a thousand in the lowest quarter, %d in the highest", failures, low, high)
		}
	}
}

func TestAQueueThatFailsIsAskedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int {
			w.queue.failWith(errors.New("the disk is full")) // so that Done fails
			time.AfterFunc(10*time.Minute, func() { w.queue.failWith(nil) })
			return 200
		})
		w.queue.failWith(errors.New("the disk is away"))
		time.AfterFunc(10*time.Minute, func() { w.queue.failWith(nil) })
		w.append("s", numbers(3)...)
		w.start()
		w.drain()
		if len(w.got()) != 1 || w.seen.why(QueueError) < 10 || w.queue.dones != 1 {
			t.Error(len(w.got()), w.seen)
		}
	})
}

func TestAQueueThatIsClosedEndsTheDelivery(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(http.ResponseWriter, posted) int { return 200 })
		d, err := New(w.queue, w.partner, w.recheck, Options{})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() { w.queue.Close() })
		d.Run(context.Background())
	})
}
