package payload

// enclosed returns the class of a key with suffixes in the object f.
func (s *Scan) enclosed(e entry, f *frame) Class {
	var at *frame
	in := s
	return s.m.enclosed(e, func(n int) (uint16, bool) {
		if n == 0 {
			in, at = s, f
		} else if at != nil {
			in, at = in.around(at)
		}
		if at == nil || at.above == none {
			return 0, false
		}
		return at.sym, true
	})
}

// around returns the object that has the key which leads to the frame f, and
// the scan that it belongs to; nil where there is none.
func (s *Scan) around(f *frame) (*Scan, *frame) {
	for f.above == outside {
		s, f = s.at.in, s.at.frame
		if f.object {
			return s, f
		}
	}
	if f.above == none {
		return s, nil
	}
	return s, &s.frames[f.above]
}

// coordinate notes a half of the position of the object f.
func (f *frame) coordinate(r role, hit int32) {
	half := &f.lat
	if r&roleLon != 0 {
		half = &f.lon
	}
	if *half == none {
		*half = hit
	} else {
		*half = several
	}
}

// both returns a class at least as strict as either. Two names beside one value
// are no honest document: the value takes every category that there is.
func (s *Scan) both(a, b Class) Class {
	if a == 0 || a == b {
		return b
	}
	if b == 0 {
		return a
	}
	return s.m.every
}

// namePairs gives the values of the closing object f the class of the name
// beside them, and tells the name which value it is of.
func (s *Scan) namePairs(f *frame) {
	if f.named != 0 && f.namer > 0 {
		s.Hits[f.namer-1].Mate = f.pair
	}
	for h := f.pair; h != none; {
		hit := &s.Hits[h]
		h, hit.Mate = hit.Mate, none
		switch {
		case f.named == 0:
		case hit.role&roleDetected != 0: // a name goes before looks
			hit.Class, hit.role = f.named, hit.role&^(roleDetected|roleKey)
		default:
			hit.Class = s.both(hit.Class, f.named)
		}
	}
}
