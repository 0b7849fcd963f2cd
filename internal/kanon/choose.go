package kanon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxCombinations is the most that one record may show: the product, over its
// parts, of its levels and the dropped one.
const MaxCombinations = 64

// Part is one quasi-identifier of a record.
type Part struct {
	// Levels are its values, from the one as released to the most general, each
	// in canonical bytes: equal values are equal bytes. Behind the last it is
	// dropped, which is no level of its own here. It is dropped from the first
	// nil on; nil at the start, or no level, is a part that the record does not
	// have, where there is nothing to hide.
	Levels [][]byte
}

// known is how many levels have a value.
func (p Part) known() int {
	if i := slices.IndexFunc(p.Levels, func(v []byte) bool { return v == nil }); i >= 0 {
		return i
	}
	return len(p.Levels)
}

// Record is what one record shows.
type Record struct {
	// Subject is the keyed digest of the subject. "" is nobody: such a record
	// counts for no combination, and leaves with what others made common.
	Subject string
	// Parts are the quasi-identifiers, in one order for all records of a space.
	Parts []Part
}

// Choice says how records may leave.
type Choice struct {
	// Levels gives for each record the level of each part: an index into
	// Part.Levels, or its length, where the part is dropped, as it is where the
	// value at that level is nil.
	Levels [][]int
	// Untracked is how many combinations found the space at its bound.
	Untracked int
}

// Chooser picks the levels at which records may leave. Make one with
// [NewChooser]; many goroutines may use it.
type Chooser struct {
	counter Counter
	digest  *digester
}

// NewChooser returns a Chooser that counts with counter, under digests keyed
// with secret. All gateways that count together need the same secret, of
// [MinSecret] bytes or more; under another one they start from nothing.
func NewChooser(counter Counter, secret []byte) (*Chooser, error) {
	d, err := newDigester(secret)
	if err != nil {
		return nil, err
	}
	return &Chooser{counter: counter, digest: d}, nil
}

// Choose notes what the records show, and picks for each the levels at which at
// least t.K distinct subjects have shown its combination within t.Window, this
// very batch included. It starts at the values as released. As long as their
// combination is too rare, the part that is rarest by itself goes up one level;
// of parts that are equally rare, the first. Then, from the last part to the
// first, each that can come down again without becoming too rare does: no part
// is raised for nothing.
//
// The space names the recipient and its list of quasi-identifiers: another list
// is another space. An error means that no record may leave; the caller waits
// and calls again, which counts nobody twice.
func (c *Chooser) Choose(ctx context.Context, space string, t Threshold, records []Record) (Choice, error) {
	if err := t.Check(); err != nil {
		return Choice{}, err
	}
	m := c.digest.pool.Get().(*mill)
	defer c.digest.pool.Put(m)
	b, err := gather(m, space, t.K, records)
	if err != nil {
		return Choice{}, err
	}
	counts, err := c.counter.Show(ctx, m.space(space), t, b.sightings)
	if err != nil {
		return Choice{}, fmt.Errorf("k-anonymity: counting: %w", err)
	}
	if len(counts.Of) != len(b.sightings) {
		return Choice{}, errors.New("k-anonymity: the counter gave another number of answers than were asked")
	}
	choice := Choice{Levels: make([][]int, len(records)), Untracked: counts.Untracked}
	for i, l := range b.lattices {
		choice.Levels[i] = l.choose(counts.Of, t.K)
	}
	return choice, nil
}

// batch is what the records of one call show together.
type batch struct {
	sightings []Sighting // each combination once
	lattices  []lattice  // of each record
}

// gather lists each combination that the records show, with who shows it.
func gather(m *mill, space string, k int, records []Record) (*batch, error) {
	b := &batch{lattices: make([]lattice, len(records))}
	nodes := 0
	for i, r := range records {
		l, err := newLattice(r.Parts)
		if err != nil {
			return nil, err
		}
		b.lattices[i] = l
		nodes += l.size
	}
	slab := make([]int32, nodes)

	// One subject after the other, so that it is enough to remember of each
	// combination who was noted last.
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(records[i].Subject, records[j].Subject) })

	known := make(map[string]int32)
	var last []int // of each sighting: the number of the subject that was noted last
	var tuple []byte
	var subject [32]byte
	number, now := 0, ""
	for _, i := range order {
		r, l := &records[i], &b.lattices[i]
		l.nodes, slab = slab[:l.size:l.size], slab[l.size:]
		if r.Subject != now {
			now = r.Subject
			number++
			subject = m.subject(now)
		}
		for node := range l.size - 1 {
			tuple = l.appendTuple(tuple[:0], r.Parts, node)
			s, ok := known[string(tuple)]
			if !ok {
				s = int32(len(b.sightings))
				known[string(tuple)] = s
				b.sightings = append(b.sightings, Sighting{Combination: m.combination(space, tuple)})
				last = append(last, 0)
			}
			l.nodes[node] = s
			if now == "" || last[s] == number {
				continue
			}
			last[s] = number
			if sighting := &b.sightings[s]; len(sighting.Members) < k {
				sighting.Members = append(sighting.Members, member(subject, sighting.Combination))
			}
		}
	}
	return b, nil
}

// lattice is every choice of a level for each part of one record. Its nodes are
// numbered: part i at level n adds n times its stride. The last node is the one
// with everything dropped.
type lattice struct {
	size   int
	top    []int   // of each part: the level at which it is dropped
	stride []int   // of each part
	nodes  []int32 // of each node: its place in sightings; of the last one, none
}

func newLattice(parts []Part) (lattice, error) {
	both := make([]int, 2*len(parts))
	l := lattice{size: 1, top: both[:len(parts)], stride: both[len(parts):]}
	for i, p := range parts {
		l.top[i], l.stride[i] = p.known(), l.size
		if l.size *= l.top[i] + 1; l.size > MaxCombinations {
			return lattice{}, fmt.Errorf("k-anonymity: a record has more than %d combinations of levels: name fewer quasi-identifiers or levels", MaxCombinations)
		}
	}
	return l, nil
}

// level is the level of part i in a node.
func (l *lattice) level(node, i int) int { return node / l.stride[i] % (l.top[i] + 1) }

// appendTuple appends the values of a node, unambiguously.
func (l *lattice) appendTuple(dst []byte, parts []Part, node int) []byte {
	for i := range parts {
		var value []byte
		if n := l.level(node, i); n < l.top[i] {
			value = parts[i].Levels[n]
		}
		dst = appendValue(dst, value)
	}
	return dst
}

// choose returns the level of each part.
func (l *lattice) choose(counts []int, k int) []int {
	last := l.size - 1
	enough := func(node int) bool { return node == last || counts[l.nodes[node]] >= k }
	levels := make([]int, len(l.top))
	node := 0
	for !enough(node) {
		rarest, least := -1, 0
		for i, n := range levels {
			if n == l.top[i] {
				continue
			}
			alone := last - (l.top[i]-n)*l.stride[i]
			if count := counts[l.nodes[alone]]; rarest < 0 || count < least {
				rarest, least = i, count
			}
		}
		levels[rarest]++
		node += l.stride[rarest]
	}
	for i := len(levels) - 1; i >= 0; i-- {
		for n := range levels[i] {
			if down := node - (levels[i]-n)*l.stride[i]; enough(down) {
				levels[i], node = n, down
				break
			}
		}
	}
	return levels
}
