package payload

import "bytes"

// Part is what is done to the values of one record.
type Part struct {
	Vector *Vector
	Params *Params
}

// Apply returns the document as one recipient may have it: the very bytes of
// Src when nothing changes, else what is appended to dst[:0], which may be nil. records holds a Part for each of
// Scan.Records; envelope is for what stands outside them. The report says what
// was done; where it says BlockedAll the bytes are nil. A record that blocks is
// taken out of its array, or becomes null where it does not stand in one.
//
// What is dropped goes like this: a member goes with its key and the comma
// before it, or, where no member that stays stands before it, with all up to
// the next key; an element and the root become null.
func (s *Scan) Apply(dst []byte, envelope Part, records []Part) ([]byte, Report) {
	w := splice{s: s, src: s.Src, room: dst[:0]}
	next := int32(0)
	for i := range s.Records {
		r := &s.Records[i]
		if !w.apply(next, r.lo, envelope) {
			w.rep.BlockedAll = true
			return nil, w.rep
		}
		next = max(next, r.hi)
		if int(r.Start) < w.at {
			continue // gone with something around it
		}
		at, out := w.at, w.out
		if !w.apply(r.lo, r.hi, records[i]) {
			w.at, w.out = at, out
			w.rep.Blocked++
			if r.element {
				w.remove(int(r.Start), int(r.End))
			} else {
				w.replace(int(r.Start), int(r.End), jsonNull)
			}
		}
	}
	if !w.apply(next, int32(len(s.Hits)), envelope) {
		w.rep.BlockedAll = true
		return nil, w.rep
	}
	if w.out == nil {
		return w.src, w.rep
	}
	return append(w.out, w.src[w.at:]...), w.rep
}

// splice copies a document with some of its values replaced.
type splice struct {
	s    *Scan
	src  []byte
	room []byte // where out begins
	out  []byte // nil as long as nothing changed
	at   int    // src[:at] has been dealt with
	gov  int    // src[:gov] is governed by a category that passes
	rep  Report

	// What was noted last, since a document says the same over and over.
	notedOp             Op
	notedKey, notedPath Class
}

// apply deals with the hits from lo up to hi. It returns false when one of them
// blocks.
func (w *splice) apply(lo, hi int32, p Part) bool {
	s, v := w.s, p.Vector
	w.notedOp = Pass // what was noted, was noted for another vector
	for i := lo; i < hi; {
		h := &s.Hits[i]
		if int(h.Start) < w.at {
			i++ // within what a record's blocking or an envelope took along
			continue
		}
		op, t := v.decide(h.Class, h.Path)
		switch op {
		case Pass:
			switch {
			case v.governs[h.Class] || v.governs[h.Path]:
				w.gov = max(w.gov, int(h.End))
			case v.judge.Unknown != Pass && int(h.Start) >= w.gov && !v.kept[h.Path] && !w.container(h):
				w.rep.Unknown++
				w.drop(h)
			}
			i++
			continue
		case Transform:
			if changed, ok := w.transform(i, h, t, p); ok {
				if changed {
					w.note(v, Transform, h)
				}
			} else {
				w.note(v, Drop, h)
				w.drop(h)
			}
		case Null:
			w.note(v, Null, h)
			w.replace(int(h.Start), int(h.End), jsonNull)
		case Drop:
			w.note(v, Drop, h)
			w.drop(h)
		default:
			w.note(v, Block, h)
			return false
		}
		i = h.Next
	}
	return true
}

var jsonNull = []byte("null")

// note records in the report what is done to a hit.
func (w *splice) note(v *Vector, op Op, h *Hit) {
	if op != w.notedOp || h.Class != w.notedKey || h.Path != w.notedPath {
		w.notedOp, w.notedKey, w.notedPath = op, h.Class, h.Path
		w.rep.note(w.s.m, v, op, h.Class, h.Path)
	}
}

func (w *splice) container(h *Hit) bool {
	c := w.src[h.Start]
	return c == '{' || c == '['
}

// replace puts with in the place of src[start:end].
func (w *splice) replace(start, end int, with []byte) {
	if w.out == nil {
		if w.out = w.room; cap(w.out) < len(w.src) {
			w.out = make([]byte, 0, len(w.src)+64)
		}
	}
	w.out = append(w.out, w.src[w.at:start]...)
	w.out = append(w.out, with...)
	w.at = end
}

// drop removes a member, or makes an element or the root null.
func (w *splice) drop(h *Hit) {
	if h.Key == noKey {
		w.replace(int(h.Start), int(h.End), jsonNull)
		return
	}
	w.remove(int(h.Key), int(h.End))
}

// remove takes out the member or the element at src[start:end] with one comma:
// the one before it, or, where it is the first that is left, the one after.
func (w *splice) remove(start, end int) {
	// A removal of this second kind ends just where the next member starts.
	first := w.at == start
	if !first {
		i := start - 1
		for src := w.src; src[i] == ' ' || src[i] == '\t' || src[i] == '\n' || src[i] == '\r'; i-- {
		}
		if w.src[i] == ',' {
			w.replace(i, end, nil)
			return
		}
	}
	if i := skipSpace(w.src, end); i < len(w.src) && w.src[i] == ',' {
		end = skipSpace(w.src, i+1)
	}
	w.replace(start, end, nil)
}

// transform de-identifies the value of hit i. ok is false when the value does
// not fit and is to be dropped.
func (w *splice) transform(i int32, h *Hit, t Transformer, p Part) (changed, ok bool) {
	raw := w.src[h.Start:h.End]
	if pair, isPair := t.(PairTransformer); isPair {
		if raw[0] == '{' {
			return w.position(i, h, pair, p)
		}
		return w.coordinate(h, pair, p)
	}
	made, ok := w.s.mapScalars(w.s.made[:0], raw, t, p.Params)
	w.s.made = made
	if !ok || bytes.Equal(made, raw) {
		return false, ok
	}
	w.replace(int(h.Start), int(h.End), made)
	return true, true
}

// mapScalars appends the transformed form of raw, a scalar or an array of
// them, however deep. Elements that do not fit, objects among them, become
// null.
func (s *Scan) mapScalars(dst, raw []byte, t Transformer, p *Params) ([]byte, bool) {
	switch raw[0] {
	case '{':
		return dst, false
	case '[':
	default:
		return s.mapScalar(dst, raw, t, p)
	}
	at := 0
	for i := 0; i < len(raw); {
		switch raw[i] {
		case '[', ']', ',', ' ', '\t', '\n', '\r':
			i++
			continue
		}
		end := valueEnd(raw, i)
		dst = append(dst, raw[at:i]...)
		n, ok := len(dst), false
		if raw[i] != '{' {
			dst, ok = s.mapScalar(dst, raw[i:end], t, p)
		}
		if !ok {
			dst = append(dst[:n], jsonNull...)
		}
		i, at = end, end
	}
	return append(dst, raw[at:]...), true
}

func (s *Scan) mapScalar(dst, raw []byte, t Transformer, p *Params) ([]byte, bool) {
	text, kind, ok := scalar(raw, &s.text)
	if !ok {
		return dst, false
	}
	if kind == NullValue {
		return append(dst, raw...), true // null says nothing
	}
	made, now, ok := t.Append(s.made2[:0], text, kind, p)
	s.made2 = made
	if !ok {
		return dst, false
	}
	if now == kind && bytes.Equal(made, text) {
		return append(dst, raw...), true // however it is spelled
	}
	return appendScalar(dst, made, now), true
}

// valueEnd returns the offset after the value at i of a valid text.
func valueEnd(src []byte, i int) int {
	depth := 0
	for {
		switch src[i] {
		case '"':
			for i = stringEnd(src, i+1); src[i] != '"'; i = stringEnd(src, i+2) {
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(src) && src[i] > ' ' && src[i] != ',' && src[i] != ']' && src[i] != '}' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
