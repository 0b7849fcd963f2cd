package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Whatever fails, in whatever way: each record arrives or is a dead letter,
// those of one subject arrive in order, and what arrives again does so under
// its key, with its body.
func TestUnderRandomFailuresEachRecordArrivesAndEachSubjectsInOrder(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			inWorld(t, func(w *world) { newStorm(w, seed).run() })
		})
	}
}

// storm is a world where things fail at random.
type storm struct {
	*world
	mu    sync.Mutex // of what follows
	r     *rand.Rand
	calm  bool
	heard []posted // POSTs that the partner has worked on, whatever it then answered
}

func newStorm(w *world, seed uint64) *storm {
	return &storm{world: w, r: rand.New(rand.NewPCG(seed, 1))}
}

// n returns a number below max.
func (s *storm) n(max int) int { s.mu.Lock(); defer s.mu.Unlock(); return s.r.IntN(max) }

const subjects = 20

// poisoned is what the partner never takes.
func poisoned(line string) bool { return strings.HasSuffix(line, `7"`) }

func (s *storm) answer(rw http.ResponseWriter, p posted) int {
	s.mu.Lock()
	calm := s.calm
	s.mu.Unlock()
	what := s.n(12)
	if calm {
		what = 11
	}
	time.Sleep(time.Duration(s.n(3000)) * time.Millisecond)
	if what < 3 { // before it is worked on
		switch what {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			rw.Header().Set("Retry-After", strconv.Itoa(s.n(90)))
			return 429
		}
		return []int{500, 503, 401, 302, 409, 425}[s.n(6)]
	}
	if slices.ContainsFunc(lineList(p.body), poisoned) {
		return []int{400, 413, 422}[s.n(3)]
	}
	s.mu.Lock()
	s.heard = append(s.heard, p)
	s.mu.Unlock()
	switch what { // and after
	case 3:
		panic(http.ErrAbortHandler)
	case 4:
		rw.Header().Set("Content-Length", "1000")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	case 5:
		time.Sleep(15 * time.Second) // longer than is waited
		return 200
	case 6:
		return 500
	}
	return 200
}

func (s *storm) run() {
	s.partner.Limit = outbox.Limit{Count: 1 + s.n(12), Bytes: 200, Age: time.Second}
	s.partner.Gzip = s.n(2) == 0
	s.partner.Requests.PerSecond = float64(s.n(2) * 10)
	s.recheck = func(ctx context.Context, partner string, batch []outbox.Record) ([][]byte, error) {
		s.mu.Lock()
		calm := s.calm
		s.mu.Unlock()
		if !calm && s.n(10) == 0 {
			return nil, errors.New("the store is away")
		}
		return passAll(ctx, partner, batch)
	}
	s.serve(s.answer)
	ends := []func(){s.start(), s.start()}
	sent := map[string][]string{}
	for n := range 300 {
		subject := s.n(subjects)
		body := fmt.Sprintf(`"%d:%d"`, subject, n)
		name := fmt.Sprintf("subject-%d", subject)
		sent[name] = append(sent[name], body)
		s.append(name, body)
		time.Sleep(time.Duration(s.n(2000)) * time.Millisecond)
		switch s.n(30) {
		case 0:
			s.queue.lose(s.n(outbox.Partitions))
		case 1: // one of the two starts anew
			i := s.n(2)
			ends[i]()
			ends[i] = s.start()
		case 2:
			s.queue.failWith(errors.New("the disk is away"))
			time.Sleep(5 * time.Second)
			s.queue.failWith(nil)
		}
	}
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	s.drain()
	time.Sleep(time.Minute) // what comes late
	synctest.Wait()
	s.check(sent)
}

func (s *storm) check(sent map[string][]string) {
	first := map[string][]string{} // of each subject, in the order of arrival
	times := map[string]int{}
	of := map[string]string{} // a key's body
	for _, p := range s.heard {
		if was, again := of[p.key]; again && was != p.body {
			s.Errorf("the key %s came with %q and with %q", p.key, was, p.body)
		}
		of[p.key] = p.body
		for _, line := range lineList(p.body) {
			if times[line]++; times[line] == 1 {
				subject, _, _ := strings.Cut(strings.Trim(line, `"`), ":")
				first["subject-"+subject] = append(first["subject-"+subject], line)
			}
		}
	}
	var poison []string
	for subject, bodies := range sent {
		var want []string
		for _, b := range bodies {
			if poisoned(b) {
				poison = append(poison, b)
			} else {
				want = append(want, b)
			}
		}
		if !slices.Equal(first[subject], want) {
			s.Errorf("of %s arrived %q, want %q", subject, first[subject], want)
		}
	}
	dead := s.deadBodies()
	slices.Sort(dead)
	slices.Sort(poison)
	if !slices.Equal(slices.Compact(dead), poison) {
		s.Errorf("dead are %q, want %q", dead, poison)
	}
	repeated := 0
	for _, n := range times {
		repeated += n - 1
	}
	if repeated == 0 || len(s.seen.now().failed) < 4 {
		s.Errorf("it was no storm: %d records came again, %v", repeated, s.seen)
	}
}
