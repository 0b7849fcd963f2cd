package payload

import (
	"bytes"
	"math/bits"
	"unicode/utf8"
)

// Detector finds personal data by its looks. Kinds are bits: bit k stands for
// the kind k of Rule.Detect.
type Detector interface {
	// Possible is false only for a text in which Append would find nothing. It
	// must be cheap.
	Possible(text []byte) bool
	// Append appends what stands in text, in ascending order, without
	// overlaps.
	Append(dst []Detected, text []byte) []Detected
	// Number returns what a JSON number may be.
	Number(text []byte) (kinds uint32)
	// Pair returns what two decimals, the only elements of an array, are
	// together; 0 for nothing.
	Pair(a, b []byte) (kinds uint32)
}

// Detected is a span of a text and the kinds that it may be.
type Detected struct {
	Start, End int
	Kinds      uint32
}

// looks is what a Matcher makes of the kinds that its rules ask for.
type looks struct {
	any      bool // something looks into values
	detector Detector
	kinds    [32]Class
	pairs    map[uint32]Class // of kinds that one value may be at once
	every    Class
}

func (l *looks) compile(s Spec, in *interner) {
	l.detector = s.Inside.Detector
	l.any = l.detector != nil || s.Inside.Opener != nil || s.Inside.Cleaner != nil
	if l.detector == nil {
		return
	}
	var cats [32][]Category
	var asked []int
	for _, r := range s.Rules {
		for _, k := range r.Detect {
			cats[k] = append(cats[k], r.Category)
		}
	}
	for k, c := range cats {
		if c != nil {
			l.kinds[k] = in.class(c)
			asked = append(asked, k)
		}
	}
	// What is two things at once is treated as both. A value that is more than
	// two is rare enough to be treated as everything that anyone looks for.
	l.pairs = map[uint32]Class{}
	var all []Category
	for i, a := range asked {
		all = append(all, cats[a]...)
		for _, b := range asked[:i] {
			both := append(append([]Category(nil), cats[a]...), cats[b]...)
			l.pairs[1<<a|1<<b] = in.class(both)
		}
	}
	l.every = in.class(all)
}

// class returns the class of a value that may be of these kinds.
func (l *looks) class(kinds uint32) Class {
	switch bits.OnesCount32(kinds) {
	case 0:
		return 0
	case 1:
		return l.kinds[bits.TrailingZeros32(kinds)]
	case 2:
		return l.pairs[kinds]
	}
	return l.every
}

// key returns the class of a key that is itself personal data, as a whole.
func (l *looks) key(text []byte) Class {
	if l.detector == nil || len(text) < minInside || !l.detector.Possible(text) || !utf8.Valid(text) {
		return 0
	}
	var buf [4]Detected
	var kinds uint32
	for _, d := range l.detector.Append(buf[:0], text) {
		kinds |= d.Kinds
	}
	return l.class(kinds)
}

// lookAtNumber gives a number that may name somebody the class that it has.
func (s *Scan) lookAtNumber(raw []byte, hit int32, h Hit) {
	d := s.m.looks.detector
	if d == nil {
		return
	}
	if class := s.m.looks.class(d.Number(raw)); class != 0 {
		s.mark(hit, h, func(h *Hit) { h.Class, h.role = class, h.role|roleDetected })
	}
}

// lookAtPair deals with the array f, which holds two numbers: they may be a
// position.
func (s *Scan) lookAtPair(f *frame, raw []byte) {
	d := s.m.looks.detector
	if d == nil {
		return
	}
	var at [2]struct{ start, end int }
	i := 1
	for n := range at {
		i = skipSpace(raw, i)
		if c := raw[i]; c != '-' && (c < '0' || c > '9') {
			return
		}
		end, err := numberEnd(raw, i)
		if err != nil {
			return
		}
		at[n].start, at[n].end = i, end
		if i = skipSpace(raw, end); raw[i] != ",]"[n] {
			return
		}
		i++
	}
	a, b := raw[at[0].start:at[0].end], raw[at[1].start:at[1].end]
	class := s.m.looks.class(d.Pair(a, b))
	if class == 0 {
		return
	}
	// What stands in the array is these two; they get their hits anew, in order.
	n := len(s.Hits)
	for n > 0 && s.Hits[n-1].Start > f.start {
		n--
	}
	s.Hits = s.Hits[:n]
	roles := [2]role{roleLat, roleLon}
	if !beyondPoles(b) {
		// Where both may be latitudes: GeoJSON (RFC 7946) has the longitude first.
		roles = [2]role{roleLon, roleLat}
	}
	path := Class(s.m.paths.here[f.path])
	for k := range at {
		s.Hits = append(s.Hits, Hit{
			Key: noKey, Start: f.start + uint32(at[k].start), End: f.start + uint32(at[k].end), Parent: f.start,
			Next: int32(n + k + 1), Mate: int32(n + 1 - k), Inside: none, Class: class, Path: path, role: roles[k] | roleDetected,
		})
	}
}

// beyondPoles reports whether a number is no latitude.
func beyondPoles(raw []byte) bool {
	raw = bytes.TrimPrefix(raw, []byte("-"))
	whole, _, _ := bytes.Cut(raw, []byte("."))
	return len(whole) > 2 || len(whole) == 2 && whole[0] == '9'
}

// detect returns a scan of what the looks of a text betray, or nil.
func (s *Scan) detect(text []byte, at place) *Scan {
	d := s.m.looks.detector
	if d == nil || !d.Possible(text) {
		return nil
	}
	valid := text
	if !utf8.Valid(text) {
		// What a detector cannot read stands between what it can.
		valid = bytes.Clone(text)
		for i := 0; i < len(valid); {
			r, n := utf8.DecodeRune(valid[i:])
			if r == utf8.RuneError && n == 1 {
				valid[i] = ' '
			}
			i += n
		}
	}
	s.found = d.Append(s.found[:0], valid)
	if kinds := numberKinds(d, text); kinds != 0 {
		s.found = append(s.found[:0], Detected{0, len(text), kinds})
	}
	if len(s.found) == 0 {
		return nil
	}
	c := s.child(text, at)
	c.syn = synText
	c.spans(s.found)
	if len(c.Hits) == 0 {
		c.Free()
		return nil
	}
	return c
}

// numberKinds returns what a text is as a number, where it is one.
func numberKinds(d Detector, text []byte) uint32 {
	if c := text[0]; c != '-' && (c < '0' || c > '9') {
		return 0
	}
	if end, err := numberEnd(text, 0); err != nil || end < len(text) {
		return 0
	}
	return d.Number(text)
}

// spans makes hits of what was found in the text of the scan.
func (s *Scan) spans(found []Detected) {
	for _, f := range found {
		if class := s.m.looks.class(f.Kinds); class != 0 {
			s.Hits = append(s.Hits, Hit{
				Key: noKey, Start: uint32(f.Start), End: uint32(f.End), Next: int32(len(s.Hits) + 1),
				Mate: none, Inside: none, Class: class, role: roleDetected | roleSpan,
			})
		}
	}
}

// printable reports whether bytes are a text that somebody may read.
func printable(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
	}) < 0
}
