package payload

import (
	"encoding/binary"
	"math/bits"
)

// memo remembers what a key means by its very bytes, so that the keys that
// recur, within a document and from one to the next, are neither folded nor
// looked up again. Up to 16 bytes, two overlapping words and the length are the
// whole key.
type memo struct {
	a, b uint64
	n    uint16
	entry
}

const memoSize = 512

// lookup finds what the key src[start:end], which has no escapes, means.
func (s *Scan) lookup(src []byte, start, end int) entry {
	n := end - start
	for _, c := range src[start:end] {
		if c == '\\' {
			e, err := s.lookupEscaped(src, start, end)
			if err != nil {
				return entry(s.m.every) // some drop a lone surrogate, and nobody sends one
			}
			return e
		}
	}
	if n > 16 || start+8 > len(src) {
		return s.m.lookup(src[start:end])
	}
	a, b := keyWords(src, start, n)
	e := &s.memo[memoSlot(a, b, n)]
	if e.a != a || e.b != b || int(e.n) != n {
		e = s.remember(a, b, src[start:end])
	}
	return e.entry
}

// remember finds the key of these words in the other slot that it may have, or
// looks it up, and leaves it in its first slot.
func (s *Scan) remember(a, b uint64, key []byte) *memo {
	slot := memoSlot(a, b, len(key))
	e, other := &s.memo[slot], &s.memo[slot^1]
	*e, *other = *other, *e
	if e.a != a || e.b != b || int(e.n) != len(key) {
		*e = memo{a, b, uint16(len(key)), s.m.lookup(key)}
	}
	return e
}

// lookupEscaped is lookup for a key with escapes. A lone surrogate, which one
// parser drops and another replaces, is refused: there is no saying what the
// receiver will make of such a key.
func (s *Scan) lookupEscaped(src []byte, start, end int) (entry, error) {
	var lone bool
	s.text, lone = unescape(s.text[:0], src[start:end])
	if lone {
		return 0, &SyntaxError{start, "lone surrogate in a member name"}
	}
	return s.m.lookup(s.text), nil
}

// keyWords returns the first and the last word of the key of n <= 16 bytes at
// i; i+8 <= len(src).
func keyWords(src []byte, i, n int) (a, b uint64) {
	a = binary.LittleEndian.Uint64(src[i : i+8])
	if n < 8 {
		return a & (1<<(8*n) - 1), 0
	}
	return a, binary.LittleEndian.Uint64(src[i+n-8 : i+n])
}

func memoSlot(a, b uint64, n int) uint64 {
	return hashWords(a, b, n) >> (64 - 9) // log2(memoSize)
}

func hashWords(a, b uint64, n int) uint64 {
	return (a ^ bits.RotateLeft64(b, 29) ^ uint64(n)) * 0x9e3779b97f4a7c15
}

// plain remembers a string that is not promising, so that the names, models and
// versions that a batch repeats are looked at once. It is kept for one document:
// what it holds is people's.
type plain struct {
	text     []byte // in Src
	governed bool   // it was looked at where a category governs it: a detector was not asked
}

const (
	plainSize    = 64
	plainLongest = 256 // bytes of a text that is worth comparing
)

// isPlain reports whether there is nothing to look for in the string from start to
// end in Src.
func (s *Scan) isPlain(start, end int, governed bool) bool {
	n, raw := end-start, s.Src[start:end]
	if n > plainLongest || start+8 > len(s.Src) {
		return !s.m.promising(s.syn, raw, governed)
	}
	a, b := keyWords(s.Src, start, n)
	e := &s.plain[hashWords(a, b, n)>>(64-6)] // log2(plainSize)
	if e.governed == governed && string(e.text) == string(raw) {
		return true
	}
	if s.m.promising(s.syn, raw, governed) {
		return false
	}
	*e = plain{raw, governed}
	return true
}
