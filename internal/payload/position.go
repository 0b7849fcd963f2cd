package payload

import "bytes"

// coordinate rewrites one half of a position; the other half is rewritten in
// its own turn, from the same two original values.
func (w *splice) coordinate(h *Hit, t PairTransformer, p Part) (changed, ok bool) {
	s := w.s
	if h.Mate < 0 {
		return false, false
	}
	mate := &s.Hits[h.Mate]
	if _, with := p.Vector.decide(mate.Class, mate.Path); with != Transformer(t) {
		return false, false
	}
	lat, lon := h, mate
	if h.role&roleLon != 0 {
		lat, lon = mate, h
	}
	latText, lonText, ok := s.pair(lat, lon, t, p.Params)
	if !ok {
		return false, false
	}
	text := latText
	if h == lon {
		text = lonText
	}
	raw := w.src[h.Start:h.End]
	s.made = s.appendLike(s.made[:0], text, raw)
	if bytes.Equal(s.made, raw) {
		return false, true
	}
	w.replace(int(h.Start), int(h.End), s.made)
	return true, true
}

// position rewrites an object that is a position as a whole: its latitude and
// its longitude stay, in a coarser form, and nothing else that is in it does.
func (w *splice) position(i int32, h *Hit, t PairTransformer, p Part) (changed, ok bool) {
	s := w.s
	for j := i + 1; j < h.Next; j = s.Hits[j].Next {
		a := &s.Hits[j]
		if a.role&rolePosition == 0 || a.Mate < 0 || a.Parent != h.Start {
			continue
		}
		b := &s.Hits[a.Mate]
		for _, half := range []*Hit{a, b} {
			op, with := p.Vector.decide(half.Class, half.Path)
			if op > Transform || op == Transform && with != Transformer(t) {
				return false, false
			}
		}
		lat, lon := a, b
		if a.role&roleLon != 0 {
			lat, lon = b, a
		}
		latText, lonText, ok := s.pair(lat, lon, t, p.Params)
		if !ok {
			return false, false
		}
		s.made = append(s.made[:0], '{')
		for n, half := range []*Hit{a, b} { // in the order of the document
			if n > 0 {
				s.made = append(s.made, ',')
			}
			s.made = append(s.made, w.src[half.Key:half.Start]...)
			text := latText
			if half == lon {
				text = lonText
			}
			s.made = s.appendLike(s.made, text, w.src[half.Start:half.End])
		}
		s.made = append(s.made, '}')
		if bytes.Equal(s.made, w.src[h.Start:h.End]) {
			return false, true
		}
		w.replace(int(h.Start), int(h.End), s.made)
		return true, true
	}
	return false, false
}

// pair transforms a latitude and a longitude. The results stand in scratch
// memory until the next call.
func (s *Scan) pair(lat, lon *Hit, t PairTransformer, p *Params) (latText, lonText []byte, ok bool) {
	a, kind, ok := s.value(lat.Start, lat.End, &s.text)
	if !ok || kind > Number {
		return nil, nil, false
	}
	b, kind, ok := s.value(lon.Start, lon.End, &s.text2)
	if !ok || kind > Number {
		return nil, nil, false
	}
	s.made2, s.made3, ok = t.AppendPair(s.made2[:0], s.made3[:0], a, b, p)
	return s.made2, s.made3, ok
}

// appendLike appends a number as a string where the original is one.
func (s *Scan) appendLike(dst, number, original []byte) []byte {
	if s.syn == synJSON && original[0] == '"' {
		return appendQuoted(dst, number)
	}
	return s.appendValue(dst, number, Number)
}
