package risk

import (
	"reflect"
	"testing"
)

func TestLinkByHand(t *testing.T) {
	classify := rolesOf(map[string]string{"id": "S", "city": "q", "model": "q", "age": "q"})
	mine := read(t, lines(
		person("a", 1, 1),                    // one of theirs: a. Right
		person("b", 1, 2),                    // one of theirs: x. Wrong
		person("c", 2, 1), person("d", 2, 1), // both match one of theirs, and are two
		person("e", 3, 1), // two of theirs
		person("f", 4, 1), // none
	), Options{Classify: classify})
	other := read(t, lines(
		person("a", 1, 1), person("a", 1, 1),
		`{"id":"x","city":"c1","model":"m2","age":1}`,
		person("c", 2, 1),
		person("e", 3, 1), person("y", 3, 1),
	), Options{Classify: classify})
	l := LinkSamples(mine, other, MeasureOptions{MinK: 2})
	if want := []Pair{{"city", "city"}, {"model", "model"}}; !reflect.DeepEqual(l.Pairs, want) {
		t.Errorf("compared %v", l.Pairs)
	}
	if l.Exact != 4 || l.OneToOne != 2 || !l.Comparable || l.Precision != 0.5 {
		t.Errorf("%+v", l)
	}
	// 1/K: a 1, b 1, c 1, d 1, e ½, f not at risk.
	if want := (Attack{Max: 1, Average: 0.75, Above: settled(4.0 / 6), Threshold: 0.5}); l.Journalist.Max != want.Max ||
		l.Journalist.Average != want.Average || !near(l.Journalist.Above, want.Above) || l.Journalist.Threshold != want.Threshold {
		t.Errorf("journalist %+v, want %+v", l.Journalist, want)
	}
	// a, c and e are known to both by the same name.
	if want := []Shared{{"id", "id", 3}}; !reflect.DeepEqual(l.Shared, want) {
		t.Errorf("shared %v", l.Shared)
	}
}

func TestAPseudonymThatEqualsAnothersIsFoundUnderAnyName(t *testing.T) {
	mine := read(t, lines(`{"device":{"ifa":"p-1"}}`, `{"device":{"ifa":"p-2"}}`), Options{Classify: rolesOf(map[string]string{"device.ifa": "p"})})
	other := read(t, lines(`{"user":"p-2"}`, `{"user":"p-9"}`), Options{Classify: rolesOf(map[string]string{"user": "p"})})
	if l := LinkSamples(mine, other, wants); !reflect.DeepEqual(l.Shared, []Shared{{"device.ifa", "user", 1}}) {
		t.Errorf("%+v", l)
	}
}

func TestFieldsOfDifferentPathsAreComparedByCategory(t *testing.T) {
	at := func(path string) func([]string) Assignment {
		return func(steps []string) Assignment {
			a := Assignment{Role: Quasi, Fixed: true}
			if steps[len(steps)-1] == path {
				a.Category = "device.model"
			}
			return a
		}
	}
	mine := read(t, lines(`{"device":{"Model":"x"}}`), Options{Classify: at("Model"), Fold: foldASCII})
	other := read(t, lines(`{"model":"x"}`), Options{Classify: at("model"), Fold: foldASCII})
	if l := LinkSamples(mine, other, wants); len(l.Pairs) != 1 || l.OneToOne != 1 {
		t.Errorf("%+v", l)
	}
}

func TestAFieldThatOnlyMeasuresIsNoSharedIdentifier(t *testing.T) {
	classify := func(steps []string) Assignment {
		if steps[0] == "truth" {
			return Assignment{Role: Ignored, Subject: true, Fixed: true}
		}
		return Assignment{Role: Quasi, Fixed: true}
	}
	s := read(t, lines(`{"truth":"u1","m":1}`, `{"truth":"u2","m":2}`), Options{Classify: classify})
	if l := LinkSamples(s, s, wants); len(l.Shared) != 0 || !l.Comparable || l.Precision != 1 {
		t.Errorf("%+v", l)
	}
}
