package risk

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var wants = MeasureOptions{MinK: 3, MinL: 2, Subset: 3}

// TestClassesByHand holds the figures of a table of eight records against those
// worked out on paper.
//
//	zip age  class
//	1   30   A A A A (4)
//	1   40   B B     (2)
//	2   30   C       (1)
//	2   –    D       (1)
func TestClassesByHand(t *testing.T) {
	text := lines(
		`{"zip":1,"age":30}`, `{"zip":1,"age":30}`, `{"zip":1,"age":40}`, `{"zip":1,"age":30}`,
		`{"zip":2,"age":30}`, `{"zip":1,"age":40}`, `{"zip":2}`, `{"zip":1,"age":30}`)
	m := Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"zip": "q", "age": "q"})}), wants)
	if m.Combinations != 4 {
		t.Errorf("%d classes, want 4", m.Combinations)
	}
	// Records by k: 1 1 2 2 4 4 4 4; the fourth of the eight has 2.
	if want := (Sizes{Min: 1, Median: 2, Mean: (16.0 + 4 + 1 + 1) / 8, Max: 4}); m.K != want {
		t.Errorf("k %+v, want %+v", m.K, want)
	}
	if want := []Below{{2, 2, 0.25}, {3, 4, 0.5}, {5, 8, 1}}; !reflect.DeepEqual(m.Below, want) {
		t.Errorf("below %v, want %v", m.Below, want)
	}
	if want := (Unique{2, 0.25, 2, 0.25}); m.Unique != want {
		t.Errorf("unique %+v, want %+v", m.Unique, want)
	}
	// 4 classes of 8 records; 4 of 8 are in classes below 3.
	if want := (Attack{Max: 1, Average: 0.5, Above: 0.5, Threshold: 1.0 / 3}); m.Prosecutor != want {
		t.Errorf("prosecutor %+v, want %+v", m.Prosecutor, want)
	}
	if want := []Bin{{1, 1, 2, 2, 0.25}, {2, 3, 1, 2, 0.5}, {4, 7, 1, 4, 1}}; !reflect.DeepEqual(m.Histogram, want) {
		t.Errorf("histogram %v, want %v", m.Histogram, want)
	}
	if want := []AtMost{{1, 0.25}, {2, 0.5}, {4, 1}}; !reflect.DeepEqual(m.Cumulative, want) {
		t.Errorf("cumulative %v, want %v", m.Cumulative, want)
	}
	// zip: 6 and 2 of 8. Entropy −¾ log₂ ¾ − ¼ log₂ ¼. Alone nothing is unique;
	// without zip the two that were unique are 30 (5 of them) and – (1).
	zip := fieldNamed(t, m, "zip")
	if !near(zip.Entropy, 0.8112781) || zip.Unique != 0 || zip.Distinct != 2 || zip.Present != 1 || zip.Marginal != 0.125 {
		t.Errorf("zip %+v", zip)
	}
	// age: 30 five times, 40 twice, none once: that one is unique.
	age := fieldNamed(t, m, "age")
	if !near(age.Entropy, 1.2987949) || age.Unique != 0.125 || age.Distinct != 2 || age.Present != 0.875 || age.Marginal != 0.25 {
		t.Errorf("age %+v", age)
	}
}

func TestOnePersonWithManyRecordsIsNoCrowd(t *testing.T) {
	var records []string
	for range 100 {
		records = append(records, person("lin", 1, 1))
	}
	records = append(records, person("wu", 2, 1), person("he", 2, 1))
	classify := rolesOf(map[string]string{"id": "S", "city": "q", "model": "q"})
	m := Measure(read(t, lines(records...), Options{Classify: classify}), wants)
	if m.K.Min != 1 || m.K.Max != 2 || m.Subjects != 3 || m.Records != 102 {
		t.Errorf("k %+v of %d subjects and %d records", m.K, m.Subjects, m.Records)
	}
	if want := (Unique{100, 100.0 / 102, 1, 1.0 / 3}); m.Unique != want {
		t.Errorf("unique %+v, want %+v", m.Unique, want)
	}
	// A subject counts once: 2 of 3 in city 2.
	if city := fieldNamed(t, m, "city"); !near(city.Entropy, 0.9182958) {
		t.Errorf("entropy %v", city.Entropy)
	}
	if got := m.Prosecutor.Average; !near(got, 2.0/3) {
		t.Errorf("average risk %v, want two classes for three", got)
	}
}

func TestRecordsWithoutASubjectAreTakenForOnePerson(t *testing.T) {
	text := lines(`{"city":1}`, `{"city":1}`, `{"city":1,"id":"a"}`, `{"city":1,"id":null}`)
	m := Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"id": "S", "city": "q"})}), wants)
	if m.K.Min != 2 || m.WithoutSubject != 3 {
		t.Errorf("k %d, %d without a subject", m.K.Min, m.WithoutSubject)
	}
}

func TestDiversityByHand(t *testing.T) {
	// Class 1: flu flu flu cold; class 2: flu flu; class 3: nobody has anything.
	text := lines(
		`{"zip":1,"ill":"flu"}`, `{"zip":1,"ill":"flu"}`, `{"zip":1,"ill":"flu"}`, `{"zip":1,"ill":"cold"}`,
		`{"zip":2,"ill":"flu"}`, `{"zip":2,"ill":"flu"}`, `{"zip":3}`, `{"zip":3}`)
	m := Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"zip": "q", "ill": "s"})}), wants)
	if len(m.Sensitive) != 1 {
		t.Fatalf("sensitive %v", m.Sensitive)
	}
	got := m.Sensitive[0]
	if got.Name != "ill" || got.Distinct != 1 || got.Entropy != 1 || got.Below != 0.25 {
		t.Errorf("%+v", got)
	}
	// The whole: flu 5/8, cold 1/8, none 2/8. Class 3 is all none: distance 6/8.
	// Class 1: ½(|¾−⅝| + |¼−⅛| + ¼) = ¼; class 2: ½(⅜ + ⅛ + ¼) = ⅜.
	if !near(got.Closeness, 0.75) || !near(got.Mean, (4*0.25+2*0.375+2*0.75)/8) {
		t.Errorf("t %v, mean %v", got.Closeness, got.Mean)
	}

	// Alone in the file, class 1 is as good as 2^0.811 values.
	m = Measure(read(t, lines(strings.Split(text, "\n")[:4]...), Options{Classify: rolesOf(map[string]string{"zip": "q", "ill": "s"})}), wants)
	if got := m.Sensitive[0]; got.Distinct != 2 || !near(got.Entropy, math.Exp2(0.8112781244591328)) || got.Closeness != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsSensitiveIsNotTakenToKnowItself(t *testing.T) {
	// The place is a quasi-identifier too. If it formed the classes that it is
	// measured in, each would have one place.
	text := lines(`{"model":1,"place":1}`, `{"model":1,"place":2}`, `{"model":2,"place":1}`, `{"model":2,"place":2}`)
	m := Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"model": "q", "place": "b"})}), wants)
	if m.K.Min != 1 {
		t.Errorf("k %d: the place counts for classes", m.K.Min)
	}
	if got := m.Sensitive[0]; got.Distinct != 2 {
		t.Errorf("%+v", got)
	}
}

func TestSubsetsThatSingleOut(t *testing.T) {
	// a and b together tell all four apart, any other pair does not.
	text := lines(`{"a":1,"b":1,"c":1}`, `{"a":1,"b":2,"c":1}`, `{"a":2,"b":1,"c":1}`, `{"a":2,"b":2,"c":1}`)
	m := Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"a": "q", "b": "q", "c": "q"})}), wants)
	// The other pairs add nothing to their parts, nor does the constant c.
	if len(m.Subsets) != 0 {
		t.Fatalf("subsets %v: the set of all that differ is no small one", m.Subsets)
	}
	text = strings.ReplaceAll(text, `"c":1`, `"c":1,"d":1`) + `{"a":2,"b":2,"c":1,"d":2}` + "\n"
	m = Measure(read(t, text, Options{Classify: rolesOf(map[string]string{"a": "q", "b": "q", "c": "q", "d": "q"})}), wants)
	if len(m.Subsets) != 1 {
		t.Fatalf("subsets %v", m.Subsets)
	}
	// Of five records three are told apart by a and b, and one by d alone.
	if got := m.Subsets[0]; got.Unique != 0.6 || !slices.Equal(got.Paths, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
}

// population makes records of made-up people, some of whom have several.
func population(r *rand.Rand, people int) []string {
	var list []string
	for i := range people {
		for range 1 + r.IntN(3) {
			list = append(list, fmt.Sprintf(`{"id":"p%d","city":%d,"os":%d,"age":%d,"ill":%d,"tags":[%d,%d]}`,
				i, r.IntN(6), r.IntN(3), r.IntN(5), r.IntN(3), r.IntN(2), r.IntN(2)))
		}
	}
	return list
}

var populationRoles = map[string]string{"id": "S", "city": "q", "os": "q", "age": "b", "ill": "s", "tags": "q"}

func TestTheOrderOfRecordsChangesNothing(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		records := population(r, 60)
		o := Options{Classify: rolesOf(populationRoles)}
		if seed%2 == 1 {
			o.Cells = 400 // cut
		}
		want := Measure(read(t, lines(records...), o), wants)
		other := read(t, lines(population(r, 60)...), o)
		link := LinkSamples(read(t, lines(records...), o), other, wants)
		r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if got := Measure(read(t, lines(records...), o), wants); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed, got, want)
		}
		if got := LinkSamples(read(t, lines(records...), o), other, wants); !reflect.DeepEqual(got, link) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed, got, link)
		}
	}
}

func TestMoreRecordsOfOnePersonDoNotRaiseK(t *testing.T) {
	for seed := range uint64(20) {
		records := population(rand.New(rand.NewPCG(seed, 2)), 40)
		o := Options{Classify: rolesOf(populationRoles)}
		before := Measure(read(t, lines(records...), o), wants)
		for range 5 {
			records = append(records, records[0])
		}
		after := Measure(read(t, lines(records...), o), wants)
		if after.K.Min > before.K.Min || after.K.Max > before.K.Max || after.Unique.Subjects != before.Unique.Subjects ||
			after.Prosecutor != before.Prosecutor || after.Combinations != before.Combinations {
			t.Fatalf("seed %d: %+v became %+v", seed, before, after)
		}
		for i, s := range before.Sensitive {
			if a := after.Sensitive[i]; a.Distinct != s.Distinct || a.Entropy != s.Entropy || a.Closeness != s.Closeness {
				t.Fatalf("seed %d: %+v became %+v", seed, s, a)
			}
		}
	}
}

func TestALongSampleIsCutBySubjectAndLooksRiskierNotSafer(t *testing.T) {
	records := population(rand.New(rand.NewPCG(3, 3)), 400)
	whole := read(t, lines(records...), Options{Classify: rolesOf(populationRoles)})
	cut := read(t, lines(records...), Options{Classify: rolesOf(populationRoles), Cells: 2000})
	if whole.Cut() || !cut.Cut() || cut.Records != len(records) || cut.Rows == 0 || cut.Rows*8 > 2000 {
		t.Fatalf("%d of %d kept", cut.Rows, cut.Records)
	}
	// All the records of those who stay.
	count := map[uint64]int{}
	for _, id := range whole.subjects {
		count[id]++
	}
	for _, id := range cut.subjects {
		count[id]--
	}
	for id, n := range count {
		if n != 0 && slices.Contains(cut.subjects, id) {
			t.Fatalf("%d records of a subject who stays are gone", n)
		}
	}
	a, b := Measure(whole, wants), Measure(cut, wants)
	if b.Unique.RecordShare < a.Unique.RecordShare || b.K.Max > a.K.Max || b.K.Median > a.K.Median {
		t.Errorf("%+v %+v\n%+v %+v", a.K, a.Unique, b.K, b.Unique)
	}
}
