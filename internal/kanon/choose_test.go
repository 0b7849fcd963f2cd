package kanon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/kanon/boltcounter"
)

var secret = bytes.Repeat([]byte("k"), kanon.MinSecret)

// openFile opens a file that is not synced: what survives is not tested here.
func openFile(t testing.TB) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "kanon.db"), 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newChooser(t testing.TB, o boltcounter.Options) *kanon.Chooser {
	t.Helper()
	counter, err := boltcounter.New(openFile(t), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kanon.NewChooser(counter, secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// record reads "X 14.2>14 -": a part for each word, its levels between ">", and
// "-" for no value.
func record(subject, parts string) kanon.Record {
	r := kanon.Record{Subject: subject}
	for part := range strings.FieldsSeq(parts) {
		var p kanon.Part
		for level := range strings.SplitSeq(part, ">") {
			if level == "-" {
				p.Levels = append(p.Levels, nil)
			} else {
				p.Levels = append(p.Levels, []byte(level))
			}
		}
		r.Parts = append(r.Parts, p)
	}
	return r
}

// leaves is what the recipient sees of a record.
func leaves(r kanon.Record, levels []int) string {
	values := make([]string, len(r.Parts))
	for i, p := range r.Parts {
		values[i] = "-"
		if n := levels[i]; n < len(p.Levels) && p.Levels[n] != nil {
			values[i] = string(p.Levels[n])
		}
	}
	return strings.Join(values, " ")
}

func choose(t *testing.T, c *kanon.Chooser, k int, records ...kanon.Record) []string {
	t.Helper()
	choice, err := c.Choose(t.Context(), "adx", kanon.Threshold{K: k, Window: time.Hour}, records)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for i, r := range records {
		left = append(left, leaves(r, choice.Levels[i]))
	}
	return left
}

func TestTheRarestPartIsGeneralisedOrDropped(t *testing.T) {
	for _, tc := range []struct {
		name  string
		crowd map[string]int // what so many others have shown before
		shows string
		want  string
	}{
		{"a common combination leaves as it is",
			map[string]int{"X 14 gz": 4}, "X 14 gz", "X 14 gz"},
		{"one subject too few",
			map[string]int{"X": 3}, "X", "-"},
		{"with this subject enough",
			map[string]int{"X": 4}, "X", "X"},
		{"who is alone leaves with nothing",
			nil, "X>x 14.2>14 gz", "- - -"},
		{"the rarest part is dropped, the others stay",
			map[string]int{"X 14 gz": 1, "Y 14 gz": 4}, "X 14 gz", "- 14 gz"},
		{"the rarest part is generalised, and that is enough",
			map[string]int{"X 14.1>14 gz": 4}, "X 14.2>14 gz", "X 14 gz"},
		{"the rarest part goes up level by level",
			map[string]int{"X a1>a>A": 2, "X a2>a>A": 1, "X b1>b>A": 2}, "X a3>a>A", "X A"},
		{"one part after the other, in the order of their rarity",
			map[string]int{"X 14 gz": 1, "X 15 gz": 2, "Y 16 gz": 4}, "X 14 gz", "- - gz"},
		{"of parts that are equally rare the first is raised",
			map[string]int{"X 15": 4, "Y 14": 4}, "X 14", "- 14"},
		{"each part is common, together they are not",
			map[string]int{"X 15 gz": 4, "Y 14 gz": 4}, "X 14 gz", "- 14 gz"},
		{"a part that was raised in vain comes down again",
			// X is raised first, being as common as all; but it is 14 that must go.
			map[string]int{"X 15 gz": 4, "Y 14 sz": 4}, "X 14 gz", "X - gz"},
		{"a part comes down to the most precise level that is common",
			map[string]int{"X>x 15 gz": 4, "Y>x 14 sz": 4}, "X>x 14 gz", "X - gz"},
		{"of two parts that cannot both come down the later one does",
			map[string]int{"x B y D E": 4, "A x y D E": 4, "x y C z z": 4}, "A B C D E", "- B - D E"},
		{"a more general value of others counts as what it looks like",
			map[string]int{"X 14": 4}, "X 14.2>14", "X 14"},
		{"a part that is not there is a part that was dropped",
			map[string]int{"X 14": 4}, "X -", "X -"},
		{"and those without it add to those whose part is dropped",
			map[string]int{"X -": 4}, "X 14", "X -"},
		{"a level without a value is dropped",
			map[string]int{"X 14": 4}, "X 15>->14", "X -"},
		{"a record without any part there is leaves",
			nil, "- -", "- -"},
		{"a record without parts leaves",
			nil, "", ""},
		{"equal values at two levels are one",
			map[string]int{"X 14>14": 4}, "X 14>14", "X 14"},
		{"the place of a value matters",
			map[string]int{"14 X": 9}, "X 14", "- -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newChooser(t, boltcounter.Options{})
			var crowd []kanon.Record
			for parts, n := range tc.crowd {
				for i := range n {
					crowd = append(crowd, record(fmt.Sprint(parts, i), parts))
				}
			}
			choose(t, c, 5, crowd...)
			if got := choose(t, c, 5, record("me", tc.shows)); got[0] != tc.want {
				t.Errorf("%q leaves as %q, want %q", tc.shows, got[0], tc.want)
			}
		})
	}
}

func TestNobodyCountsForNobodyAndGetsWhatIsCommon(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	nobody := record("", "X 14")
	for range 5 {
		if got := choose(t, c, 2, nobody, nobody, nobody); slices.ContainsFunc(got, func(s string) bool { return s != "- -" }) {
			t.Fatalf("what nobody has shown leaves as %q", got)
		}
	}
	if got := choose(t, c, 2, record("a", "X 14"), nobody); got[0] != "- -" || got[1] != "- -" {
		t.Errorf("one subject and nobody are two: %q", got)
	}
	if got := choose(t, c, 2, record("b", "X 15"), nobody); got[0] != "X -" || got[1] != "X -" {
		t.Errorf("what two have shown leaves as %q", got)
	}
}

func TestABatchCountsAsAWhole(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	batch := []kanon.Record{record("a", "X"), record("b", "Y"), record("a", "X"), record("c", "X"), record("b", "X")}
	if got := choose(t, c, 3, batch...); strings.Join(got, ",") != "X,-,X,X,X" {
		t.Errorf("%q", got)
	}
	if got := choose(t, c, 4, record("a", "X"), record("a", "X"), record("a", "X"), record("a", "X")); got[0] != "-" {
		t.Errorf("three subjects and one of them again are four: %q", got)
	}
}

func TestSpacesDoNotCountForEachOther(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	th := kanon.Threshold{K: 2, Window: time.Hour}
	for _, step := range []struct {
		space, subject string
		want           int
	}{{"a", "s", 1}, {"b", "t", 1}, {"a", "t", 0}, {"b", "s", 0}} {
		got, err := c.Choose(t.Context(), step.space, th, []kanon.Record{record(step.subject, "X")})
		if err != nil || got.Levels[0][0] != step.want {
			t.Errorf("%v: %v, %v", step, got, err)
		}
	}
}

func TestABoundThatBitesIsTold(t *testing.T) {
	c := newChooser(t, boltcounter.Options{Bound: 1})
	th := kanon.Threshold{K: 1, Window: time.Hour}
	got, err := c.Choose(t.Context(), "adx", th, []kanon.Record{record("a", "X"), record("a", "Y")})
	if err != nil || got.Untracked != 1 || got.Levels[0][0]+got.Levels[1][0] != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestARecordOfTooManyCombinationsIsRefused(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	th := kanon.Threshold{K: 2, Window: time.Hour}
	for parts, ok := range map[string]bool{
		"a b c d e f":                         true,  // 2 to the 6th
		"a b c d e f g":                       false, // 2 to the 7th
		"a b c d e f -":                       true,
		"a>b>c d>e>f>g>h>i>j>k>l>m>n>o>p>q>r": true,
		"a>b>c>d d>e>f>g>h>i>j>k>l>m>n>o>p>q": false,
	} {
		_, err := c.Choose(t.Context(), "adx", th, []kanon.Record{record("secret-subject", parts)})
		if (err == nil) != ok {
			t.Errorf("%q: %v", parts, err)
		}
	}
}

func TestAThresholdThatMakesNoSenseIsRefused(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	for _, th := range []kanon.Threshold{{K: 0, Window: time.Hour}, {K: 1001, Window: time.Hour}, {K: 2}} {
		if _, err := c.Choose(t.Context(), "adx", th, nil); err == nil {
			t.Errorf("%+v is accepted", th)
		}
	}
}

func TestAShortSecretIsRefused(t *testing.T) {
	if _, err := kanon.NewChooser(nil, secret[1:]); err == nil {
		t.Error("31 bytes are accepted")
	}
}

func TestNothingLeavesOnAnErrorOfTheCounter(t *testing.T) {
	c := newChooser(t, boltcounter.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := c.Choose(ctx, "adx", kanon.Threshold{K: 1, Window: time.Hour}, []kanon.Record{record("subject-of-mine", "value-of-mine")})
	if !errors.Is(err, context.Canceled) || got.Levels != nil {
		t.Errorf("%v, %v", got, err)
	}
	if s := fmt.Sprint(err); strings.Contains(s, "of-mine") {
		t.Errorf("the error tells %q", s)
	}
}
