package payload

import "slices"

// Values calls f for every scalar of a category that the document holds, those
// in arrays and inside values too, in order, with the number of its record; -1
// is the envelope. What was only found by its looks is left out. text is the
// value as [Transformer] gets it, and is valid until f returns.
func (s *Scan) Values(c Category, f func(record int, text []byte)) {
	v := values{want: make([]int8, len(s.m.classes)), c: c, f: f}
	v.of(s)
}

type values struct {
	c    Category
	want []int8 // by class: whether it holds the category; 0: not looked yet
	f    func(record int, text []byte)

	whole bool // see Shown
}

// of goes through the hits of one text.
func (v *values) of(s *Scan) {
	next := int32(0)
	for i := range s.Records {
		r := &s.Records[i]
		v.hits(s, next, r.lo, s.at.record)
		v.hits(s, max(next, r.lo), r.hi, r.number)
		next = max(next, r.hi)
	}
	v.hits(s, next, int32(len(s.Hits)), s.at.record)
}

func (v *values) hits(s *Scan, lo, hi int32, record int) {
	for i := lo; i < hi; i++ {
		h := &s.Hits[i]
		class := h.Class
		if h.role&roleFound != 0 && !v.whole {
			class = 0
		}
		if v.holds(s.m, class) || v.holds(s.m, h.Path) {
			if v.whole {
				v.all(s, i)
			} else {
				v.scalars(s, h, record)
			}
		}
		if h.Inside != none {
			if in := s.insides[h.Inside].scan; in != nil {
				v.of(in)
			}
		}
	}
}

func (v *values) holds(m *Matcher, c Class) bool {
	if v.want[c] == 0 {
		v.want[c] = -1
		if slices.Contains(m.classes[c].categories, v.c) {
			v.want[c] = 1
		}
	}
	return v.want[c] > 0
}

// scalars calls f for a value that is a scalar, or for those in an array.
// Members of an object speak for themselves.
func (v *values) scalars(s *Scan, h *Hit, record int) {
	raw := s.Src[h.Start:h.End]
	if s.syn != synJSON {
		if text, _, ok := s.value(h.Start, h.End, &s.text); ok {
			v.f(record, text)
		}
		return
	}
	for i := 0; i < len(raw); {
		switch raw[i] {
		case '[', ']', ',', ' ', '\t', '\n', '\r':
			i++
			continue
		}
		end := valueEnd(raw, i)
		if raw[i] != '{' {
			if text, kind, ok := scalar(raw[i:end], &s.text); ok && kind != NullValue {
				v.f(record, text)
			}
		}
		i = end
	}
}
