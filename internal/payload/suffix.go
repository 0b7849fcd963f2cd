package payload

import (
	"cmp"
	"slices"
)

// suffix is a path that begins with "**", seen from its last step: the keys
// that must enclose that one, the nearest first. Such paths would multiply the
// states of the automaton, and the key at hand rules nearly all of them out.
type suffix struct {
	above []uint16 // numbers of keys; anyKey: any
	class Class    // with all that the key itself and shorter suffixes say
	cats  []Category
}

const anyKey = ^uint16(0)

// bySuffix reports whether a pattern is followed as a suffix.
func (p pattern) bySuffix() bool {
	return p.kind == patCategory && p.floating && len(p.steps) > 0 && !p.steps[len(p.steps)-1].any
}

// buildSuffixes attaches the suffixes to the entries of their last keys.
func (m *Matcher) buildSuffixes(pats []pattern, syms map[string]uint16, in *interner) {
	byKey := map[string][]suffix{}
	for _, p := range pats {
		if !p.bySuffix() {
			continue
		}
		n := len(p.steps) - 1
		s := suffix{cats: []Category{Category(p.n)}}
		for i := n - 1; i >= 0; i-- {
			sym := anyKey
			if !p.steps[i].any {
				sym = syms[p.steps[i].key]
			}
			s.above = append(s.above, sym)
		}
		key := p.steps[n].key
		byKey[key] = append(byKey[key], s)
	}
	m.suffixes = [][]suffix{nil}
	for key, list := range byKey {
		e := m.keys[key]
		for i := range list {
			for _, other := range list {
				if list[i].implies(other) {
					list[i].cats = append(list[i].cats, other.cats...)
				}
			}
		}
		for i := range list {
			cats := append(slices.Clone(list[i].cats), in.all[e.class()].categories...)
			list[i].class = in.class(cats)
			list[i].cats = in.all[list[i].class].categories
		}
		slices.SortStableFunc(list, func(a, b suffix) int { return cmp.Compare(len(b.above), len(a.above)) })
		m.suffixes = append(m.suffixes, list)
		m.keys[key] = e.withSuffixes(uint16(len(m.suffixes) - 1))
	}
}

// implies reports whether s matches only where other does too.
func (s suffix) implies(other suffix) bool {
	if len(s.above) < len(other.above) {
		return false
	}
	for i, sym := range other.above {
		if sym != anyKey && sym != s.above[i] {
			return false
		}
	}
	return true
}

// enclosed returns the class of a key with suffixes. up returns the number of
// the next enclosing key, and false where there is none.
func (m *Matcher) enclosed(e entry, up func(n int) (uint16, bool)) Class {
	class := e.class()
	found := false
	for _, s := range m.suffixes[e.suffixes()] {
		if !s.matches(up) {
			continue
		}
		switch {
		case !found:
			class, found = s.class, true
		case !covers(m.classes[class].categories, s.cats):
			// No path implies the other, and both match: see Scan.both.
			return m.every
		}
	}
	return class
}

func (s suffix) matches(up func(n int) (uint16, bool)) bool {
	for n, want := range s.above {
		if sym, ok := up(n); !ok || want != anyKey && want != sym {
			return false
		}
	}
	return true
}

func covers(all, some []Category) bool {
	for _, c := range some {
		if !slices.Contains(all, c) {
			return false
		}
	}
	return true
}
