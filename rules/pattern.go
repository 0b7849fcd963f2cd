package rules

import (
	"slices"
	"strings"
)

// covers reports whether a pattern covers a category: itself, with '.*' also
// everything below it, or with '*' everything.
func covers(pattern, category string) bool {
	if pattern == "*" {
		return true
	}
	stem, below := strings.CutSuffix(pattern, ".*")
	if !strings.HasPrefix(category, stem) {
		return false
	}
	rest := category[len(stem):]
	return rest == "" || below && rest[0] == '.'
}

// weight orders patterns by how much they say: the more steps the longer, and
// of X and X.*, which are equally deep, X speaks of less and weighs more.
func weight(pattern string) int {
	stem, below := strings.CutSuffix(pattern, ".*")
	if pattern == "*" {
		return 0
	}
	w := 2 * (strings.Count(stem, ".") + 1)
	if !below {
		w++
	}
	return w
}

// coverage returns the numbers of the categories that any of the patterns
// covers.
func coverage(patterns []word, ids []string) bitset {
	b := newBitset(len(ids))
	for _, p := range patterns {
		for i, id := range ids {
			if covers(p.s, id) {
				b.set(i)
			}
		}
	}
	return b
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b bitset) empty() bool    { return !slices.ContainsFunc(b, func(w uint64) bool { return w != 0 }) }
func (b bitset) add(other bitset) {
	for i, w := range other {
		b[i] |= w
	}
}
