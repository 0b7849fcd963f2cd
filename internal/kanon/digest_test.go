package kanon

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// recorder keeps what an engine is told.
type recorder struct {
	spaces    []Space
	sightings []Sighting
}

func (r *recorder) Show(_ context.Context, s Space, _ Threshold, sightings []Sighting) (Counts, error) {
	r.spaces = append(r.spaces, s)
	r.sightings = append(r.sightings, sightings...)
	return Counts{Of: make([]int, len(sightings))}, nil
}

func part(levels ...string) Part {
	var p Part
	for _, l := range levels {
		p.Levels = append(p.Levels, []byte(l))
	}
	return p
}

func tell(t *testing.T, secret byte, space string, records ...Record) *recorder {
	t.Helper()
	r := new(recorder)
	c, err := NewChooser(r, bytes.Repeat([]byte{secret}, MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Choose(t.Context(), space, Threshold{K: 3, Window: time.Hour}, records); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryTupleHasADigestOfItsOwn(t *testing.T) {
	seen := make(map[Combination]string)
	for name, r := range map[string]*recorder{
		"one part":         tell(t, 1, "s", Record{Parts: []Part{part("ab")}}),
		"another value":    tell(t, 1, "s", Record{Parts: []Part{part("a")}}),
		"an empty value":   tell(t, 1, "s", Record{Parts: []Part{part("")}}),
		"two parts":        tell(t, 1, "s", Record{Parts: []Part{part("a"), part("b")}}),
		"one and a hole":   tell(t, 1, "s", Record{Parts: []Part{part("ab"), {}}}),
		"a hole and one":   tell(t, 1, "s", Record{Parts: []Part{{}, part("ab")}}),
		"another space":    tell(t, 1, "t", Record{Parts: []Part{part("ab")}}),
		"another secret":   tell(t, 2, "s", Record{Parts: []Part{part("ab")}}),
		"another boundary": tell(t, 1, "s", Record{Parts: []Part{part("xa"), part("bx")}}),
		"the next one":     tell(t, 1, "s", Record{Parts: []Part{part("x"), part("abx")}}),
		"a frame inside":   tell(t, 1, "s", Record{Parts: []Part{part("p\x01q"), part("r")}}),
		"and around":       tell(t, 1, "s", Record{Parts: []Part{part("p"), part("q\x01r")}}),
	} {
		for _, s := range r.sightings {
			// A combination of two parts shows each of them by itself.
			if other, ok := seen[s.Combination]; ok {
				t.Errorf("%s has a digest of %s", name, other)
			}
			seen[s.Combination] = name
		}
	}
	if len(seen) != 7+5*3 {
		t.Errorf("%d digests", len(seen))
	}
}

// Whoever reads the store cannot follow a subject from one set to another.
func TestASubjectIsAnotherMemberInEachCombination(t *testing.T) {
	seen := make(map[Member]bool)
	n := 0
	for _, space := range []string{"a", "b"} {
		for range 2 { // and the same one each time
			r := tell(t, 1, space, Record{Subject: "u", Parts: []Part{part("X"), part("14.2", "14")}})
			for _, s := range r.sightings {
				if len(s.Members) != 1 {
					t.Fatalf("%d members", len(s.Members))
				}
				seen[s.Members[0]] = true
				n++
			}
		}
	}
	if n != 20 || len(seen) != 10 {
		t.Errorf("%d digests for %d members, want 10 for 20", len(seen), n)
	}
}

func TestAnEngineIsToldEachCombinationOnceAndNoMoreThanKSubjects(t *testing.T) {
	var records []Record
	for i := range 40 {
		records = append(records, Record{Subject: string(rune('a' + i%8)), Parts: []Part{part("X"), part("14.2", "14")}})
	}
	r := tell(t, 1, "s", records...)
	seen := make(map[Combination]bool)
	for _, s := range r.sightings {
		if seen[s.Combination] {
			t.Error("a combination comes twice")
		}
		seen[s.Combination] = true
		members := make(map[Member]bool)
		for _, m := range s.Members {
			members[m] = true
		}
		if len(s.Members) != 3 || len(members) != 3 {
			t.Errorf("%d members, %d distinct, want 3", len(s.Members), len(members))
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d combinations, want 5", len(seen))
	}
}
