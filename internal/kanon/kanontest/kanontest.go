// Package kanontest is the conformance suite of k-anonymity counters: what
// [kanon.Counter] promises, and that nothing but digests rests in an engine.
// Every engine runs it in a test of its own.
package kanontest

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/kanon"
)

// Engine is an empty store that counters share.
type Engine struct {
	// Node returns the counter of one more gateway, with that bound; 0 stands
	// for the default.
	Node func(bound int) kanon.Counter
	// Age makes everything that was noted so far older.
	Age func(d time.Duration)
	// Kill ends the store as a power cut would, and starts it on what it had
	// written. Nodes from before are of no use then.
	Kill func()
	// Stored returns every byte that rests in the store, names too.
	Stored func() []byte
}

// Run runs the suite. start is called once for each of the suite's tests, with
// that test.
func Run(t *testing.T, start func(t *testing.T) Engine) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Engine)
	}{
		{"a subject counts once, however often it shows a combination", distinct},
		{"the count is exact up to k, and stays k from there on", exact},
		{"subjects that show a combination together count together", together},
		{"combinations are separate, and so are spaces", separate},
		{"a sighting of nobody asks and notes nothing", asks},
		{"a subject counts until the window has passed", slides},
		{"a subject that shows a combination again counts anew", refreshes},
		{"of many subjects the newest k stay", newest},
		{"no subject is lost or counted twice between nodes", concurrent},
		{"beyond the bound a new combination is not tracked", bound},
		{"the room of what has expired is given anew", expires},
		{"what is shown again keeps its room, and only that", keepsRoom},
		{"every count is that of a plain list of all sightings", reference},
		{"whatever leaves was shown by k subjects, and nothing is raised for nothing", leaves},
		{"a call of thousands of sightings is answered in their order", long},
		{"the greatest k is counted to", greatest},
		{"what was counted survives a kill", survives},
		{"no value and no subject rests in the store", digests},
		{"a threshold that makes no sense is refused", refuses},
		{"a context that has ended is an error", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, start(t)) })
	}
}

var (
	space = kanon.Space{1}
	three = kanon.Threshold{K: 3, Window: time.Hour}
)

// combination and subjects are digests as good as any.
func combination(n int) (c kanon.Combination) {
	binary.BigEndian.PutUint64(c[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(c[8:], uint64(n))
	return c
}

func subjects(ns ...int) []kanon.Member {
	members := make([]kanon.Member, len(ns))
	for i, n := range ns {
		binary.BigEndian.PutUint64(members[i][:], uint64(n)+1)
	}
	return members
}

func sighting(n int, of ...int) kanon.Sighting {
	return kanon.Sighting{Combination: combination(n), Members: subjects(of...)}
}

func show(t *testing.T, c kanon.Counter, s kanon.Space, th kanon.Threshold, sightings ...kanon.Sighting) kanon.Counts {
	t.Helper()
	counts, err := c.Show(t.Context(), s, th, sightings)
	if err != nil {
		t.Fatal(err)
	}
	if len(counts.Of) != len(sightings) {
		t.Fatalf("%d counts of %d sightings", len(counts.Of), len(sightings))
	}
	return counts
}

func expect(t *testing.T, what string, c kanon.Counter, s kanon.Sighting, want int) {
	t.Helper()
	if got := show(t, c, space, three, s); got.Of[0] != want || got.Untracked != 0 {
		t.Errorf("%s: %d subjects (%d untracked), want %d", what, got.Of[0], got.Untracked, want)
	}
}

func distinct(t *testing.T, e Engine) {
	c := e.Node(0)
	for range 5 {
		expect(t, "the same subject", c, sighting(1, 7), 1)
	}
	expect(t, "another one", c, sighting(1, 8), 2)
	expect(t, "the first again", c, sighting(1, 7), 2)
}

func exact(t *testing.T, e Engine) {
	c := e.Node(0)
	for n, k := range []int{1, 2, 3, 20} {
		th := kanon.Threshold{K: k, Window: time.Hour}
		for i := range k + 3 {
			if got, want := show(t, c, space, th, sighting(n, i)).Of[0], min(i+1, k); got != want {
				t.Errorf("k %d: subject %d: count %d, want %d", k, i+1, got, want)
			}
		}
	}
}

func together(t *testing.T, e Engine) {
	c := e.Node(0)
	got := show(t, c, space, three, sighting(1, 1, 2), sighting(2, 1, 2, 3), sighting(3, 1, 2, 3, 4, 5))
	if !slices.Equal(got.Of, []int{2, 3, 3}) {
		t.Errorf("counts %v", got.Of)
	}
	expect(t, "one of them again", c, sighting(1, 2), 2)
	expect(t, "a third", c, sighting(1, 3), 3)
}

func separate(t *testing.T, e Engine) {
	c := e.Node(0)
	show(t, c, space, three, sighting(1, 1, 2), sighting(2, 3))
	expect(t, "the first combination", c, sighting(1), 2)
	expect(t, "the second", c, sighting(2), 1)
	other := kanon.Space{2}
	if got := show(t, c, other, three, sighting(1)).Of[0]; got != 0 {
		t.Errorf("another space knows of %d subjects", got)
	}
	if got := show(t, c, other, three, sighting(1, 3)).Of[0]; got != 1 {
		t.Errorf("another space counts %d subjects", got)
	}
	expect(t, "the first combination", c, sighting(1), 2)
}

func asks(t *testing.T, e Engine) {
	c := e.Node(0)
	for range 4 {
		expect(t, "what nobody has shown", c, sighting(1), 0)
	}
	expect(t, "a subject", c, sighting(1, 1), 1)
	e.Age(40 * time.Minute)
	expect(t, "asked", c, sighting(1), 1)
	e.Age(40 * time.Minute)
	expect(t, "asking does not refresh", c, sighting(1), 0)
	expect(t, "and later the same", c, sighting(1), 0)
}

func slides(t *testing.T, e Engine) {
	c := e.Node(0)
	show(t, c, space, three, sighting(1, 1))
	e.Age(30 * time.Minute)
	show(t, c, space, three, sighting(1, 2))
	e.Age(29 * time.Minute)
	expect(t, "within the window", c, sighting(1, 3), 3)
	e.Age(2 * time.Minute)
	expect(t, "the first has left", c, sighting(1), 2)
	expect(t, "and is back", c, sighting(1, 1), 3)
	e.Age(58 * time.Minute)
	expect(t, "the second has left", c, sighting(1), 1)
	e.Age(3 * time.Minute)
	expect(t, "all have left", c, sighting(1), 0)
	expect(t, "a fourth", c, sighting(1, 4), 1)
}

func refreshes(t *testing.T, e Engine) {
	c := e.Node(0)
	show(t, c, space, three, sighting(1, 1, 2))
	for range 5 {
		e.Age(40 * time.Minute)
		show(t, c, space, three, sighting(1, 1))
	}
	expect(t, "who was there all along", c, sighting(1), 1)
}

func newest(t *testing.T, e Engine) {
	c := e.Node(0)
	for i := range 10 { // each six minutes after the one before
		show(t, c, space, three, sighting(1, i))
		e.Age(6 * time.Minute)
	}
	e.Age(41 * time.Minute) // so that subject 7 was there 59 minutes ago
	expect(t, "the newest three", c, sighting(1), 3)
	e.Age(6 * time.Minute)
	expect(t, "the newest two", c, sighting(1), 2)
}

func concurrent(t *testing.T, e Engine) {
	const nodes, each = 4, 25
	th := kanon.Threshold{K: 60, Window: time.Hour}
	counts := make([][]int, nodes)
	errs := make([]error, nodes)
	var wg sync.WaitGroup
	for n := range nodes {
		c := e.Node(0)
		wg.Go(func() {
			for i := range each {
				got, err := c.Show(t.Context(), space, th, []kanon.Sighting{sighting(1, n*each+i), sighting(2, i)})
				if err != nil {
					errs[n] = err
					return
				}
				counts[n] = append(counts[n], got.Of[0])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	// Each subject comes once, so its count says the how manieth it was.
	got := slices.Sorted(slices.Values(slices.Concat(counts...)))
	for i, n := range got {
		if want := min(i+1, th.K); n != want {
			t.Fatalf("count %d of the sorted ones is %d, want %d: %v", i, n, want, got)
		}
	}
	if len(got) != nodes*each {
		t.Errorf("%d counts", len(got))
	}
	if got := show(t, e.Node(0), space, th, sighting(2)).Of[0]; got != each {
		t.Errorf("%d subjects that all nodes showed, want %d", got, each)
	}
}

// reference compares with a list of all sightings that is searched from its
// start for each count.
func reference(t *testing.T, e Engine) {
	type seen struct {
		combination, subject int
		at                   time.Duration
	}
	var all []seen
	var now time.Duration
	th := kanon.Threshold{K: 8, Window: 630 * time.Second}
	nodes := []kanon.Counter{e.Node(0), e.Node(0)}
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.3, 1, 39)
	for round := range 120 {
		var sightings []kanon.Sighting
		for _, c := range random.Perm(40)[:10] {
			var of []int
			for s := range 25 {
				if zipf.Uint64() > uint64(c)/2+3 {
					of = append(of, s)
					all = append(all, seen{c, s, now})
				}
			}
			sightings = append(sightings, sighting(c, of...))
		}
		counts := show(t, nodes[round%2], space, th, sightings...)
		for i, s := range sightings {
			distinct := make(map[int]bool)
			for _, a := range all {
				if combination(a.combination) == s.Combination && a.at > now-th.Window {
					distinct[a.subject] = true
				}
			}
			if want := min(len(distinct), th.K); counts.Of[i] != want {
				t.Fatalf("round %d: count %d, want %d", round, counts.Of[i], want)
			}
		}
		d := time.Duration(random.IntN(5)) * time.Minute
		e.Age(d)
		now += d
	}
}

func long(t *testing.T, e Engine) {
	c := e.Node(0)
	const n = 20_000
	sightings := make([]kanon.Sighting, n)
	for i := range sightings {
		sightings[i] = sighting(i, []int{1, 2, 3}[:i%4]...)
	}
	for i, got := range show(t, c, space, three, sightings...).Of {
		if got != i%4 {
			t.Fatalf("sighting %d: count %d, want %d", i, got, i%4)
		}
	}
	show(t, c, space, three) // and one of none
}

func greatest(t *testing.T, e Engine) {
	c := e.Node(0)
	th := kanon.Threshold{K: kanon.MaxK, Window: kanon.MaxWindow}
	var of []int
	for i := range kanon.MaxK + 500 {
		of = append(of, i)
	}
	if got := show(t, c, space, th, sighting(1, of...)).Of[0]; got != kanon.MaxK {
		t.Errorf("count %d", got)
	}
	if got := show(t, c, space, th, sighting(2, of[:kanon.MaxK-1]...)).Of[0]; got != kanon.MaxK-1 {
		t.Errorf("count %d", got)
	}
	if got := show(t, c, space, th, sighting(2, kanon.MaxK+7)).Of[0]; got != kanon.MaxK {
		t.Errorf("count %d", got)
	}
}

func survives(t *testing.T, e Engine) {
	show(t, e.Node(0), space, three, sighting(1, 1, 2), sighting(2, 1))
	e.Kill()
	c := e.Node(0)
	expect(t, "a combination of before", c, sighting(1), 2)
	expect(t, "it goes on", c, sighting(1, 3), 3)
	expect(t, "another", c, sighting(2), 1)
}

func refuses(t *testing.T, e Engine) {
	c := e.Node(0)
	for _, th := range []kanon.Threshold{
		{}, {K: 0, Window: time.Hour}, {K: -1, Window: time.Hour}, {K: kanon.MaxK + 1, Window: time.Hour},
		{K: 2}, {K: 2, Window: time.Microsecond}, {K: 2, Window: -time.Hour}, {K: 2, Window: kanon.MaxWindow + 1},
	} {
		if _, err := c.Show(t.Context(), space, th, []kanon.Sighting{sighting(1, 1)}); err == nil {
			t.Errorf("%+v is accepted", th)
		}
	}
}

func cancelled(t *testing.T, e Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if counts, err := e.Node(0).Show(ctx, space, three, []kanon.Sighting{sighting(1, 1)}); !errors.Is(err, context.Canceled) || counts.Of != nil {
		t.Errorf("%v, %v", counts, err)
	}
}
