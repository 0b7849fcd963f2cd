package kanontest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/kanon"
)

// Traffic makes records with a long tail: a few models, cities and versions are
// everywhere, and most are seldom. A record has a model, a city and its
// province, a version and its major, and an age band: 36 combinations. One in 25
// is of no subject, and one in 20 lacks its city.
type Traffic struct {
	random *rand.Rand
	active *rand.Zipf // how often a subject comes
	people []person
}

type person struct {
	subject              string
	model, city, os, age int
}

// NewTraffic returns the traffic of a number of subjects, the same for the same
// seed.
func NewTraffic(seed uint64, subjects int) *Traffic {
	random := rand.New(rand.NewPCG(seed, 0))
	age := rand.NewZipf(random, 2, 2, 5)
	model := rand.NewZipf(random, 1.7, 1, 1999)
	city := rand.NewZipf(random, 1.6, 1, 299)
	os := rand.NewZipf(random, 1.8, 1, 39)
	tr := &Traffic{random: random, active: rand.NewZipf(random, 1.01, float64(subjects)/10, uint64(subjects-1))}
	for i := range subjects {
		tr.people = append(tr.people, person{
			subject: fmt.Sprintf("subject-%06d", i),
			model:   int(model.Uint64()), city: int(city.Uint64()), os: int(os.Uint64()), age: int(age.Uint64()),
		})
	}
	return tr
}

// Batch returns the next n records.
func (tr *Traffic) Batch(n int) []kanon.Record {
	records := make([]kanon.Record, n)
	for i := range records {
		p := &tr.people[tr.active.Uint64()]
		if tr.random.IntN(50) == 0 { // an update
			p.os = max(0, p.os-1)
		}
		records[i] = kanon.Record{Subject: p.subject, Parts: []kanon.Part{
			{Levels: [][]byte{fmt.Appendf(nil, "model-%d", p.model)}},
			{Levels: [][]byte{fmt.Appendf(nil, "city-%d", p.city), fmt.Appendf(nil, "province-%d", p.city%30)}},
			{Levels: [][]byte{fmt.Appendf(nil, "os-%d.%d", p.os%8, p.os), fmt.Appendf(nil, "os-%d", p.os%8)}},
			{Levels: [][]byte{fmt.Appendf(nil, "age-%d", p.age)}},
		}}
		if tr.random.IntN(20) == 0 {
			records[i].Parts[1].Levels = nil
		}
		if tr.random.IntN(25) == 0 {
			records[i].Subject = ""
		}
	}
	return records
}

// shown is a record that was shown.
type shown struct {
	kanon.Record
	at time.Duration
}

// value is what the recipient would see of a part at a level.
func value(p kanon.Part, level int) []byte {
	if level < len(p.Levels) {
		return p.Levels[level]
	}
	return nil
}

// has reports whether a record has shown a tuple: each of its values at some
// level.
func (s *shown) has(tuple [][]byte) bool {
	for i, want := range tuple {
		found := want == nil
		for _, v := range s.Parts[i].Levels {
			found = found || bytes.Equal(v, want)
		}
		if !found {
			return false
		}
	}
	return true
}

// history is every record that was shown, of a subject or of nobody.
type history struct {
	all  []shown
	memo map[string]int // of the present moment
}

// subjects counts from the start who has shown a tuple within the window.
func (h *history) subjects(tuple [][]byte, since time.Duration) int {
	key := fmt.Sprintf("%q", tuple)
	if n, ok := h.memo[key]; ok {
		return n
	}
	distinct := make(map[string]bool)
	for i := range h.all {
		if s := &h.all[i]; s.Subject != "" && s.at > since && s.has(tuple) {
			distinct[s.Subject] = true
		}
	}
	h.memo[key] = len(distinct)
	return len(distinct)
}

// leaves is the promise to people: whatever combination leaves, k of them have
// shown it. And the promise to the recipient: nothing is raised for nothing.
func leaves(t *testing.T, e Engine) {
	th := kanon.Threshold{K: 20, Window: 95 * time.Minute}
	secret := bytes.Repeat([]byte("k"), kanon.MinSecret)
	var nodes []*kanon.Chooser
	for range 2 {
		c, err := kanon.NewChooser(e.Node(0), secret)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, c)
	}
	tr := NewTraffic(3, 1500)
	var h history
	var now time.Duration
	var whole, general, none int // records as released; parts generalised; parts dropped
	for round := range 10 {
		records := tr.Batch(200)
		for _, r := range records {
			h.all = append(h.all, shown{r, now})
		}
		h.memo = make(map[string]int)
		choice, err := nodes[round%2].Choose(t.Context(), "adx", th, records)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			tuple := make([][]byte, len(r.Parts))
			raised, left := 0, 0
			for j, p := range r.Parts {
				level := choice.Levels[i][j]
				raised += level
				if tuple[j] = value(p, level); tuple[j] != nil {
					left++
				}
				switch {
				case level == 0:
				case tuple[j] != nil:
					general++
				default:
					none++
				}
			}
			if raised == 0 {
				whole++
			}
			if n := h.subjects(tuple, now-th.Window); left > 0 && n < th.K {
				t.Fatalf("round %d: %q leaves, and %d subjects have shown it", round, tuple, n)
			}
			for j, p := range r.Parts {
				kept := tuple[j]
				for level := range choice.Levels[i][j] {
					tuple[j] = value(p, level)
					if n := h.subjects(tuple, now-th.Window); n >= th.K {
						t.Fatalf("round %d: %q does not leave, and %d subjects have shown it", round, tuple, n)
					}
				}
				tuple[j] = kept
			}
		}
		e.Age(20 * time.Minute)
		now += 20 * time.Minute
	}
	if whole < 100 || general < 100 || none < 500 {
		t.Errorf("%d records left whole, %d parts were generalised, %d dropped: this traffic tests too little", whole, general, none)
	}
}
