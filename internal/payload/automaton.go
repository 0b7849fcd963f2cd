package payload

import (
	"fmt"
	"slices"
)

// automaton follows all paths of a Matcher at once: a deterministic finite
// automaton whose alphabet is the keys that paths name, made by the subset
// construction. One state number is all that the scan carries for a container.
type automaton struct {
	document uint16 // start state of a document
	record   uint16 // start state of a record inside it
	states   []pathState
	// What the scan asks of every state, dense: the class, and marked.
	here []uint32
	// Transitions by the state's number and the key's, in one open-addressed
	// table of a power of two; the absent ones are pathState.other.
	from []uint32
	to   []uint16
}

// marked is set in automaton.here where a state has marks.
const marked = 1 << 16

type pathState struct {
	other uint16 // where every key leads that has no transition of its own
	class Class  // of what stands here
	marks []mark // of what stands here
}

// mark says that something other than a category stands at a place.
type mark struct {
	kind patternKind
	n    uint8 // for subjects and devices: the number of the source
}

type patternKind uint8

const (
	patCategory patternKind = iota
	patKeep
	patSubject
	patDevice
	patRecords
	patMember // a member that is written, see Write
	patAround // the object around one
	patAbove  // the object around that one, where it may have to be made
)

type pattern struct {
	Path
	kind patternKind
	n    int
}

// item is a pattern and how many of its steps have been made. len(steps)+1
// means below the last one.
type item struct{ pat, pos int }

// maxPathStates bounds the subset construction; its transitions are bounded by
// the same figure times eight.
const maxPathStates = 1 << 14

func (a *automaton) build(pats []pattern, syms map[string]uint16, in *interner) error {
	a.states = []pathState{{}} // state 0 is dead: nothing can match any more
	numbers := map[string]uint16{fmt.Sprint([]item{}): 0}
	sets := [][]item{nil}
	number := func(set []item) (uint16, bool) {
		slices.SortFunc(set, func(x, y item) int {
			if x.pat != y.pat {
				return x.pat - y.pat
			}
			return x.pos - y.pos
		})
		set = slices.Compact(set)
		key := fmt.Sprint(set)
		if n, ok := numbers[key]; ok {
			return n, true
		}
		if len(sets) >= maxPathStates {
			return 0, false
		}
		n := uint16(len(sets))
		numbers[key] = n
		sets = append(sets, set)
		a.states = append(a.states, accept(pats, set, in))
		return n, true
	}

	var document, record []item
	split := slices.ContainsFunc(pats, func(p pattern) bool { return p.kind == patRecords })
	for i, p := range pats {
		if p.kind != patRecords {
			record = append(record, item{i, 0})
		}
		if !split || !p.root() {
			document = append(document, item{i, 0})
		}
	}
	a.document, _ = number(document)
	a.record, _ = number(record)

	type edge struct {
		from uint32
		to   uint16
	}
	var edges []edge
	for n := 1; n < len(sets); n++ {
		other, ok := number(advance(pats, sets[n], ""))
		if !ok {
			return errTooManyPaths
		}
		a.states[n].other = other
		// Only the keys that some item waits for lead anywhere else.
		waited := map[string]bool{}
		for _, it := range sets[n] {
			if p := pats[it.pat]; it.pos < len(p.steps) && !p.steps[it.pos].any {
				waited[p.steps[it.pos].key] = true
			}
		}
		for key := range waited {
			to, ok := number(advance(pats, sets[n], key))
			if !ok {
				return errTooManyPaths
			}
			if to != other {
				edges = append(edges, edge{uint32(n)<<16 | uint32(syms[key]), to})
			}
		}
		if len(edges) > 8*maxPathStates {
			return errTooManyPaths
		}
	}
	a.here = make([]uint32, len(a.states))
	for n, s := range a.states {
		a.here[n] = uint32(s.class)
		if s.marks != nil {
			a.here[n] |= marked
		}
	}
	size := 8
	for size < 2*len(edges) {
		size *= 2
	}
	a.from, a.to = make([]uint32, size), make([]uint16, size)
	for _, e := range edges {
		i := spread(e.from) & uint32(size-1)
		for a.from[i] != 0 {
			i = (i + 1) & uint32(size-1)
		}
		a.from[i], a.to[i] = e.from, e.to
	}
	return nil
}

// advance makes the step key from every item; "" is any key that no item waits
// for.
func advance(pats []pattern, set []item, key string) []item {
	var next []item
	for _, it := range set {
		p := pats[it.pat]
		n := len(p.steps)
		if it.pos == 0 && p.floating {
			next = append(next, it)
		}
		switch {
		case it.pos < n && (p.steps[it.pos].any || key != "" && p.steps[it.pos].key == key):
			next = append(next, item{it.pat, it.pos + 1})
		case it.pos >= n && (p.below || p.kind == patKeep):
			// What is kept is kept whole. A category needs no such thing: a
			// matched value governs what is below it, see Apply.
			next = append(next, item{it.pat, n + 1})
		}
	}
	return next
}

// accept says what stands at a place that the items of set have reached.
func accept(pats []pattern, set []item, in *interner) (s pathState) {
	var cl class
	for _, it := range set {
		p := pats[it.pat]
		if it.pos < len(p.steps) {
			continue
		}
		switch p.kind {
		case patMember:
			cl.member = append(cl.member, p.n)
		case patAround:
			cl.around = append(cl.around, p.n)
		case patAbove:
			cl.above = append(cl.above, p.n)
		case patCategory:
			cl.categories = append(cl.categories, Category(p.n))
		case patKeep:
			cl.keep = append(cl.keep, keep{p.n, p.exact() && it.pos == len(p.steps)})
		default:
			s.marks = append(s.marks, mark{p.kind, uint8(p.n)})
			if p.kind == patRecords {
				// An object where an array of records is due is a record.
				cl.roots(pats)
			}
		}
	}
	slices.SortFunc(cl.keep, func(a, b keep) int { return 2*(a.list-b.list) + b2i(b.exact) - b2i(a.exact) })
	// A place that one list names both exactly and by a wildcard is named
	// exactly.
	cl.keep = slices.CompactFunc(cl.keep, func(a, b keep) bool { return a.list == b.list })
	s.class = in.intern(cl)
	return s
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// next returns the state below the member whose key has the number sym.
func (a *automaton) next(state, sym uint16) uint16 {
	if sym != 0 && state != 0 {
		want := uint32(state)<<16 | uint32(sym)
		last := uint32(len(a.from) - 1)
		for i := spread(want) & last; ; i = (i + 1) & last {
			switch a.from[i] {
			case want:
				return a.to[i]
			case 0:
				return a.states[state].other
			}
		}
	}
	return a.states[state].other
}

func spread(x uint32) uint32 {
	x *= 0x9e3779b1
	return x ^ x>>15
}
