package deliver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestTheRecordThatThePartnerDoesNotTakeStandsAlone(t *testing.T) {
	for _, status := range []int{400, 413, 422, 418} {
		for n := 1; n <= 9; n++ {
			for poison := range n {
				inWorld(t, func(w *world) {
					bodies := numbers(n)
					w.serve(func(_ http.ResponseWriter, p posted) int {
						if slices.Contains(lineList(p.body), bodies[poison]) {
							return status
						}
						return 200
					})
					w.append("s", bodies...)
					w.start()
					w.drain()
					w.settled(bodies, []string{bodies[poison]}, status)
					if got := len(w.got()); got > 2*n {
						t.Errorf("%d POSTs for %d records", got, n)
					}
				})
			}
		}
	}
}

// settled checks that of the bodies those that are dead came never alone, and
// all others once, in order.
func (w *world) settled(bodies, dead []string, status int) {
	w.Helper()
	var arrived, want []string
	keys := map[string]string{}
	for _, p := range w.got() {
		if body, is := keys[p.key]; is && body != p.body {
			w.Errorf("the key %s is that of two", p.key)
		}
		keys[p.key] = p.body
		if !slices.ContainsFunc(lineList(p.body), func(l string) bool { return slices.Contains(dead, l) }) {
			arrived = append(arrived, lineList(p.body)...)
		}
	}
	for _, b := range bodies {
		if !slices.Contains(dead, b) {
			want = append(want, b)
		}
	}
	if w.seen.now().delivered != len(want) || w.seen.now().dead[status] != len(dead) {
		w.Error(w.seen)
	}
	if !slices.Equal(w.deadBodies(), dead) {
		w.Errorf("dead: %q, want %q", w.deadBodies(), dead)
	}
	// A part that was taken in a batch is not to come again.
	if !slices.Equal(arrived, want) {
		w.Errorf("arrived: %q, want %q", arrived, want)
	}
}

func TestOfABatchThatIsTooLongThePartsArrive(t *testing.T) {
	inWorld(t, func(w *world) {
		w.serve(func(_ http.ResponseWriter, p posted) int {
			if len(p.body) > 100 {
				return 413
			}
			return 200
		})
		bodies := numbers(99)
		bodies[50] = `"` + strings.Repeat("x", 100) + `"`
		w.append("s", bodies...)
		w.start()
		w.drain()
		var arrived []string
		for _, p := range w.got() {
			if len(p.body) <= 100 {
				arrived = append(arrived, lineList(p.body)...)
			}
		}
		if want := slices.Delete(slices.Clone(bodies), 50, 51); !slices.Equal(arrived, want) {
			t.Errorf("%q", arrived)
		}
		if dead := w.deadBodies(); !slices.Equal(dead, bodies[50:51]) {
			t.Errorf("dead: %q", dead)
		}
	})
}

func TestAPartIsRepeatedUnderItsOwnKey(t *testing.T) {
	inWorld(t, func(w *world) {
		failed := map[string]bool{}
		w.serve(func(_ http.ResponseWriter, p posted) int {
			switch {
			case len(lineList(p.body)) > 2:
				return 422
			case !failed[p.key]:
				failed[p.key] = true
				return 500
			}
			return 200
		})
		w.append("s", numbers(4)...)
		w.start()
		w.drain()
		var got []string
		for _, p := range w.got() {
			got = append(got, strings.Join(lineList(p.body), " "))
		}
		a, b := `{"n":1} {"n":2}`, `{"n":3} {"n":4}`
		if want := []string{a + " " + b, a, a, b, b}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		k := w.got()
		if k[1].key != k[2].key || k[3].key != k[4].key || k[0].key == k[1].key || k[1].key == k[3].key {
			t.Error("the keys are wrong")
		}
	})
}

func TestOtherRefusalsMakeTheWholeBatchDead(t *testing.T) {
	for _, status := range []int{404, 405, 406, 410, 411, 412, 414, 415, 416, 417, 426, 428, 431, 451} {
		inWorld(t, func(w *world) {
			w.serve(func(http.ResponseWriter, posted) int { return status })
			bodies := numbers(5)
			w.append("s", bodies...)
			w.start()
			w.drain()
			if got := w.deadBodies(); !slices.Equal(got, bodies) || len(w.got()) != 1 || w.seen.now().dead[status] != 5 {
				t.Errorf("%d: dead %q after %d POSTs; %v", status, got, len(w.got()), w.seen)
			}
			if len(w.seen.now().breaker) != 0 {
				t.Error("a partner that refuses is up")
			}
		})
	}
}

func TestOfSingleRecordsOneThatIsRefusedIsDeadAlone(t *testing.T) {
	for _, status := range []int{400, 404, 422} {
		inWorld(t, func(w *world) {
			w.partner.Format = Single
			w.serve(func(_ http.ResponseWriter, p posted) int {
				if p.body == `{"n":2}` {
					return status
				}
				return 200
			})
			w.append("s", numbers(25)...)
			w.start()
			w.drain()
			var got []string
			for i, p := range w.got() {
				got = append(got, p.body)
				if want := fmt.Sprintf(`"key-%d"`, i+1); p.key != want {
					t.Errorf("the key is %s, want %s", p.key, want)
				}
			}
			if !slices.Equal(got, numbers(25)) || !slices.Equal(w.deadBodies(), []string{`{"n":2}`}) {
				t.Errorf("%q, dead %q", got, w.deadBodies())
			}
		})
	}
}
