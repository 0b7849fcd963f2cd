// Package boltcounter counts distinct subjects for combinations of
// quasi-identifiers in a bbolt file of this machine: a [kanon.Counter] for one
// gateway.
//
// It keeps to one bucket of the file, "kanon", and in that to three:
//
//	combinations  SPACE COMBINATION → when it expires; then, newest first, at most k times: when a subject last showed it, digest of the subject
//	expiry        when to look whether it has expired, SPACE COMBINATION → nothing
//	live          SPACE → how many combinations it has
//
// Times are in ms, numbers 8 bytes, big-endian; SPACE, COMBINATION and the
// subjects are keyed digests of 8, 16 and 8 bytes. Every combination has one
// entry under expiry. It is not moved each time the combination is shown, but
// when it comes up: each call looks at the entries that are due, and deletes
// what has expired or enters it anew. It looks at twice as many as it was
// shown, and 64: more than it can add, so that the file, whose free pages bbolt
// uses again, is as large as what is alive, and no call takes long.
//
// A file of its own is best. Its commits do not queue before those that a client
// waits for, and it may be lost or deleted: what has not been counted leaves
// more general.
//
// The package must never know what a combination or a subject is.
package boltcounter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/consentgate/consentgate/internal/kanon"
)

var (
	bucketKanon        = []byte("kanon")
	bucketCombinations = []byte("combinations")
	bucketExpiry       = []byte("expiry")
	bucketLive         = []byte("live")
)

// File is where the counter writes: a *bolt.DB, or what guards one. A panic of
// bbolt, over pages that make no sense, is the file's to catch.
type File interface {
	Update(func(*bolt.Tx) error) error
}

// Options are optional.
type Options struct {
	// Bound is how many combinations of one space are tracked at a time.
	// Default: [kanon.DefaultBound].
	Bound int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Counter is a [kanon.Counter] in a file. Make one with [New].
type Counter struct {
	file  File
	bound uint64
	now   func() time.Time
}

var _ kanon.Counter = (*Counter)(nil)

// New returns a counter in the file, which stays the caller's, and makes its
// bucket.
func New(file File, opts Options) (*Counter, error) {
	if opts.Bound == 0 {
		opts.Bound = kanon.DefaultBound
	}
	if opts.Bound < 0 {
		return nil, fmt.Errorf("k-anonymity: a bound of %d combinations: give a positive number", opts.Bound)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Counter{file: file, bound: uint64(opts.Bound), now: opts.Now}
	err := file.Update(func(tx *bolt.Tx) error {
		kanon, err := tx.CreateBucketIfNotExists(bucketKanon)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{bucketCombinations, bucketExpiry, bucketLive} {
			if _, err := kanon.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("k-anonymity: preparing the file: %w", err)
	}
	return c, nil
}

// Show implements [kanon.Counter]. It is one transaction.
func (c *Counter) Show(ctx context.Context, space kanon.Space, t kanon.Threshold, sightings []kanon.Sighting) (kanon.Counts, error) {
	if err := t.Check(); err != nil {
		return kanon.Counts{}, err
	}
	if err := ctx.Err(); err != nil {
		return kanon.Counts{}, err
	}
	// In the order of the keys, neighbours share pages.
	order := make([]int, len(sightings))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &sightings[i].Combination, &sightings[j].Combination
		return slices.Compare(a[:], b[:])
	})
	var counts kanon.Counts
	err := c.file.Update(func(tx *bolt.Tx) error {
		counts = kanon.Counts{Of: make([]int, len(sightings))}
		w, err := c.begin(tx, space, t)
		if err != nil {
			return err
		}
		if err := w.prune(2*len(sightings) + 64); err != nil {
			return err
		}
		for _, i := range order {
			count, tracked, err := w.show(&sightings[i])
			if err != nil {
				return err
			}
			if counts.Of[i] = count; !tracked {
				counts.Untracked++
			}
		}
		return w.end()
	})
	if err != nil {
		return kanon.Counts{}, fmt.Errorf("the k-anonymity file: %w", err)
	}
	return counts, nil
}

// showing is one call in its transaction.
type showing struct {
	combinations, expiry, live *bolt.Bucket

	k, now, window uint64 // times in ms
	space          kanon.Space
	tracked, bound uint64 // combinations of the space

	newer map[kanon.Member]bool // of show
}

func (c *Counter) begin(tx *bolt.Tx, space kanon.Space, t kanon.Threshold) (*showing, error) {
	b := tx.Bucket(bucketKanon)
	if b == nil {
		return nil, errors.New("its bucket is gone")
	}
	w := &showing{
		combinations: b.Bucket(bucketCombinations), expiry: b.Bucket(bucketExpiry), live: b.Bucket(bucketLive),
		k: uint64(t.K), now: uint64(max(0, c.now().UnixMilli())), window: uint64(t.Window.Milliseconds()),
		space: space, bound: c.bound, newer: make(map[kanon.Member]bool),
	}
	if w.combinations == nil || w.expiry == nil || w.live == nil {
		return nil, errors.New("a bucket in it is gone")
	}
	w.tracked = number(w.live.Get(space[:]))
	return w, nil
}

func (w *showing) end() error {
	return w.live.Put(w.space[:], binary.BigEndian.AppendUint64(nil, w.tracked))
}

// show notes one sighting, and returns the count of its combination. It is not
// tracked where there was no room.
func (w *showing) show(s *kanon.Sighting) (count int, tracked bool, err error) {
	key := slices.Concat(w.space[:], s.Combination[:])
	was := w.combinations.Get(key)
	if was == nil && len(s.Members) > 0 && w.tracked >= w.bound {
		return 0, false, nil
	}
	v := append(make([]byte, 0, valueSize(int(w.k))), make([]byte, 8)...)
	clear(w.newer)
	for _, m := range s.Members[:min(len(s.Members), int(w.k))] {
		v = appendSeen(v, w.now, m)
		w.newer[m] = true
	}
	for at, m := range subjects(was) {
		switch {
		case len(v) == valueSize(int(w.k)):
		case at > w.now: // of a clock that was ahead: rather none than for too long
		case at+w.window <= w.now || w.newer[m]:
		default:
			v = appendSeen(v, at, m)
		}
	}
	count = (len(v) - valueSize(0)) / seenSize
	if len(s.Members) == 0 {
		return count, true, nil
	}
	expires := w.now + w.window
	binary.BigEndian.PutUint64(v, expires)
	if was == nil {
		w.tracked++
		if err := w.expiry.Put(expiryKey(expires, key), nil); err != nil {
			return 0, false, err
		}
	}
	return count, true, w.combinations.Put(key, v)
}

// prune looks at the entries that are due, at most limit of them.
func (w *showing) prune(limit int) error {
	var due [][]byte
	cursor := w.expiry.Cursor()
	for k, _ := cursor.First(); k != nil && len(due) < limit && number(k) <= w.now; k, _ = cursor.Next() {
		due = append(due, slices.Clone(k)) // the pages change under it below
	}
	for _, entry := range due {
		if err := w.expiry.Delete(entry); err != nil {
			return err
		}
		key := entry[8:]
		v := w.combinations.Get(key)
		if v == nil {
			continue
		}
		if expires := number(v); expires > w.now {
			if err := w.expiry.Put(expiryKey(expires, key), nil); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(w.combinations.Delete(key), w.gone(kanon.Space(key))); err != nil {
			return err
		}
	}
	return nil
}

// gone takes one combination of a space out of the number of the live.
func (w *showing) gone(space kanon.Space) error {
	if space == w.space {
		w.tracked -= min(w.tracked, 1)
		return nil
	}
	n := number(w.live.Get(space[:]))
	if n <= 1 {
		return w.live.Delete(space[:])
	}
	return w.live.Put(space[:], binary.BigEndian.AppendUint64(nil, n-1))
}
