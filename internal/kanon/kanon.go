// Package kanon keeps combinations of quasi-identifiers (a place, a device
// model, a version, an age band) from leaving until enough people share them. A
// recipient names its quasi-identifiers, a number k and a window; a combination
// leaves as it is only once at least k distinct subjects have shown it within
// the window, whichever gateway they came through. Until then the rarest part
// of it is generalised or dropped ([Chooser]).
//
// # What is counted
//
// A record shows the combination of its values, and every more general one: who
// shows "model X, version 14.2" shows "model X", "version 14.2" and "version 14"
// too. A combination is what the recipient would see of it, byte for byte; at
// which level a value stands does not matter, and a part that a record does not
// have is a part that was dropped, since the recipient can tell neither from the
// other. The combination without any value is not counted and may always leave.
//
// What is promised is that k subjects have shown what leaves, not that k have
// left with it: most of them may have left with a more precise combination.
//
// # Exactness
//
// A [Counter] keeps, for each combination, the k subjects that showed it last,
// and when each last did. If k have shown it within the window, these are k of
// them; if fewer have, these are all of them. So the answer is exact, and there
// is no error to allow for; an estimate such as HyperLogLog's (0.81 % with 16384
// registers) can count subjects that do not exist. Whatever goes wrong makes the count smaller: a
// greater k or window than before, two digests that are equal, a store that
// lost data, a clock that was set. What is counted too low leaves more general.
//
// # What rests in a store
//
// Keyed digests alone, made before an engine is asked: of the space, of the
// combination, and of the subject in that combination. Who reads the store
// learns neither values nor subjects, and cannot follow one subject from one
// combination to another, be it of the same recipient, but by the time at which
// a batch was counted.
//
// The package must never know what a part means, whose consent stands behind a
// record, or how a value is generalised.
package kanon

import (
	"context"
	"fmt"
	"time"
)

// MaxK is the greatest k: what is kept of a combination grows with it.
const MaxK = 1000

// MaxWindow is the longest window, in which a quiet combination rests.
const MaxWindow = 400 * 24 * time.Hour

// DefaultBound is how many combinations of one space are tracked at a time
// where nothing else is said.
const DefaultBound = 1_000_000

// Threshold says when a combination is common enough to leave.
type Threshold struct {
	// K is how many distinct subjects must have shown it, from 1 to [MaxK].
	K int
	// Window is how far back a subject counts, from 1 ms to [MaxWindow]. Engines
	// count in whole milliseconds.
	Window time.Duration
}

// Check returns an error that says what is wrong with the threshold.
func (t Threshold) Check() error {
	if t.K < 1 || t.K > MaxK {
		return fmt.Errorf("k-anonymity: k is %d: give a number from 1 to %d", t.K, MaxK)
	}
	if t.Window < time.Millisecond || t.Window > MaxWindow {
		return fmt.Errorf("k-anonymity: the window is %v: give a duration from 1ms to %v", t.Window, MaxWindow)
	}
	return nil
}

// Space is the keyed digest of the name of a space: what is counted in one says
// nothing in another.
type Space [8]byte

// Combination is the keyed digest of values in a space.
type Combination [16]byte

// Member is the keyed digest of a subject in one combination. Two subjects with
// one digest count as one.
type Member [8]byte

// Sighting is one combination, and the subjects that show it now.
type Sighting struct {
	Combination Combination
	// Members are distinct. More than k of them say no more than k do. Without
	// any the sighting asks and notes nothing.
	Members []Member
}

// Counts is what a counter answers.
type Counts struct {
	// Of says for each sighting how many distinct subjects have shown its
	// combination within the window, these included; k stands for k or more.
	Of []int
	// Untracked is how many combinations were not noted, since the space was at
	// its bound. Their count is 0.
	Untracked int
}

// Counter counts distinct subjects for combinations. Its methods may be called
// by many goroutines. Each engine is bound in how many combinations of a space
// it tracks; beyond that a new one stays unknown, and so too rare, until an old
// one has expired. A space has one threshold: a call with a smaller k or window
// may make the engine forget what that does not need.
type Counter interface {
	// Show notes what was shown, all of it, and then counts. Each combination
	// stands in sightings at most once. After an error some of the sightings may be
	// noted; to show them again changes nothing, and nothing may be released on
	// the strength of the call.
	Show(ctx context.Context, space Space, t Threshold, sightings []Sighting) (Counts, error)
}
