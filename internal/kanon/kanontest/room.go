package kanontest

import (
	"slices"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/kanon"
)

// roomFor is the bound of the tests; ten times as many combinations come.
const roomFor = 640

// crowd shows more combinations than there is room for, and returns which were
// tracked.
func crowd(t *testing.T, c kanon.Counter, s kanon.Space, from int) (tracked []int) {
	t.Helper()
	untracked := 0
	for at := 0; at < 10*roomFor; at += 100 {
		var sightings []kanon.Sighting
		for i := range 100 {
			sightings = append(sightings, sighting(from+at+i, 1))
		}
		counts := show(t, c, s, three, sightings...)
		untracked += counts.Untracked
		for i, n := range counts.Of {
			if n > 0 {
				tracked = append(tracked, from+at+i)
			}
		}
	}
	if len(tracked)+untracked != 10*roomFor {
		t.Errorf("%d tracked, %d not, of %d", len(tracked), untracked, 10*roomFor)
	}
	if n := len(tracked); n > roomFor || n < roomFor*9/10 {
		t.Errorf("%d combinations are tracked, where there is room for %d", n, roomFor)
	}
	return tracked
}

func bound(t *testing.T, e Engine) {
	c := e.Node(roomFor)
	tracked := crowd(t, c, space, 0)
	for _, n := range tracked[:20] {
		expect(t, "a tracked one goes on", c, sighting(n, 2), 2)
	}
	for n := range 10 * roomFor {
		if !slices.Contains(tracked, n) {
			for i := range 5 { // it does not come to k
				if got := show(t, c, space, three, sighting(n, i)); got.Of[0] != 0 || got.Untracked != 1 {
					t.Fatalf("one that is not tracked has %d subjects, %d untracked", got.Of[0], got.Untracked)
				}
			}
			break
		}
	}
	// Asking takes no room; another space has room of its own.
	expect(t, "asking", c, sighting(1e6), 0)
	crowd(t, c, kanon.Space{9}, 0)
}

func expires(t *testing.T, e Engine) {
	c := e.Node(roomFor)
	crowd(t, c, space, 0)
	for from := 1_000_000; from < 4_000_000; from += 1_000_000 {
		e.Age(61 * time.Minute)
		crowd(t, c, space, from)
	}
	e.Age(61 * time.Minute)
	const batch = roomFor // an engine may look at no more than what it is shown
	for i := range 5 {
		show(t, c, space, three, sighting(-i, 1))
		for at := range batch / 64 {
			show(t, c, space, three, sighting(-at, 1))
		}
	}
	if n := len(e.Stored()); n > 1<<20 {
		t.Errorf("%d bytes rest in a store where nearly everything has expired", n)
	}
}

func keepsRoom(t *testing.T, e Engine) {
	c := e.Node(roomFor)
	tracked := crowd(t, c, space, 0)
	var again []kanon.Sighting
	for _, n := range tracked[:len(tracked)/2] {
		again = append(again, sighting(n, 2))
	}
	e.Age(40 * time.Minute)
	show(t, c, space, three, again...)
	e.Age(40 * time.Minute)
	room := 0
	for at := 0; at < 10*roomFor; at += 100 {
		var sightings []kanon.Sighting
		for i := range 100 {
			sightings = append(sightings, sighting(1_000_000+at+i, 1))
		}
		room += 100 - show(t, c, space, three, sightings...).Untracked
	}
	if most := roomFor - len(again); room > most || room < most*9/10 {
		t.Errorf("there was room for %d, want that of the %d that have expired", room, most)
	}
	for i := range again {
		again[i].Members = nil
	}
	for i, n := range show(t, c, space, three, again...).Of {
		if n != 1 {
			t.Fatalf("combination %d, which was shown again, has %d subjects", i, n)
		}
	}
}
