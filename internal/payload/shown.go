package payload

// Shown calls f for all that a document shows of a category to whoever gets it, in
// order. Beside what [Scan.Values] gives, that is what stands in objects that the
// category governs, their keys too, strings that have no text, and what was found
// by its looks. It tells whether two documents show the same; it is no way to read
// a value. text is valid until f returns.
func (s *Scan) Shown(c Category, f func(text []byte)) {
	v := values{want: make([]int8, len(s.m.classes)), c: c, f: func(_ int, text []byte) { f(text) }, whole: true}
	v.of(s)
}

// all calls f for everything in the value of hit i.
func (v *values) all(s *Scan, i int32) {
	h := &s.Hits[i]
	switch {
	case h.role&roleKey != 0 && h.Key != noKey:
		v.f(0, s.Src[h.Key:h.End])
	case s.syn != synJSON || h.role&roleSpan != 0:
		v.text(s, int(h.Start), int(h.End))
	default:
		v.walk(s, int(h.Start), i+1, h.Next)
	}
}

// walk goes through a JSON value. The hits from lo up to hi stand in it: those of
// the category speak for themselves.
func (v *values) walk(s *Scan, at int, lo, hi int32) {
	for end := valueEnd(s.Src, at); at < end; {
		for lo < hi && int(s.Hits[lo].Start) < at {
			lo++
		}
		if lo < hi && int(s.Hits[lo].Start) == at && (v.holds(s.m, s.Hits[lo].Class) || v.holds(s.m, s.Hits[lo].Path)) {
			at = valueEnd(s.Src, at)
			continue
		}
		switch s.Src[at] {
		case '{', '}', '[', ']', ',', ':', ' ', '\t', '\n', '\r':
			at++
			continue
		}
		next := valueEnd(s.Src, at)
		if s.Src[at] != 'n' { // null says nothing
			v.text(s, at, next)
		}
		at = next
	}
}

// text calls f for what a scalar says or, where that is nothing, for its bytes.
func (v *values) text(s *Scan, start, end int) {
	text, _, ok := s.value(uint32(start), uint32(end), &s.text)
	if !ok {
		text = s.Src[start:end]
	}
	v.f(0, text)
}
