package payload

import (
	"bytes"
	"unicode/utf8"
)

// Part is what is done to the values of one record.
type Part struct {
	Vector *Vector
	Params *Params
}

// Apply returns the document as one recipient may have it: the very bytes of
// Src when nothing changes, else what is appended to dst[:0], which may be nil.
// records holds a Part for each of the Len records; envelope is for what stands
// outside them. The report says what was done; where it says BlockedAll the
// bytes are nil. A record that blocks is taken out of its array, or becomes
// null where it does not stand in one.
//
// What is dropped goes like this: a member goes with its key and the comma
// before it, or, where no member that stays stands before it, with all up to
// the next key; an element and the root become null; a field of a form goes
// with its separator; what is only a piece of a text becomes "***". What is
// inside a value is rewritten there, and wrapped again as it was.
func (s *Scan) Apply(dst []byte, envelope Part, records []Part) ([]byte, Report) {
	s.job = job{records: records, open: s.job.open[:0]}
	out, ok := s.apply(&s.job, dst, envelope, 0)
	rep := s.job.rep
	s.job.records = nil
	if !ok {
		rep.BlockedAll = true
		return nil, rep
	}
	return out, rep
}

// job is one call of Apply, for the document and all that is inside it.
type job struct {
	records []Part
	rep     Report
	open    []opened // objects that members are written into, the innermost last
}

// splice copies a text with some of its values replaced.
type splice struct {
	*job
	s    *Scan
	src  []byte
	room []byte // where out begins
	out  []byte // nil as long as nothing changed
	at   int    // src[:at] has been dealt with
	gov  int    // src[:gov] is exempt from Judgement.Unknown
	base int    // of job.open, how many belong to the texts around

	// What was noted last, since a document says the same over and over.
	notedOp             Op
	notedKey, notedPath Class
}

// apply rewrites one text. around is for what stands outside the records that
// begin in it; src[:gov] is exempt from Judgement.Unknown.
func (s *Scan) apply(j *job, dst []byte, around Part, gov int) (out []byte, ok bool) {
	w := splice{job: j, s: s, src: s.Src, room: dst[:0], gov: gov, base: len(j.open)}
	next := int32(0)
	for i := range s.Records {
		r := &s.Records[i]
		if !w.hits(next, r.lo, around) {
			return nil, false
		}
		next = max(next, r.hi)
		if int(r.Start) < w.at {
			continue // gone with something around it
		}
		w.closeUpTo(int(r.Start))
		at, out, open := w.at, w.out, len(w.open)
		if !w.hits(r.lo, r.hi, j.records[r.number]) {
			w.at, w.out, w.open = at, out, w.open[:open]
			w.rep.Blocked++
			switch {
			case r.element:
				w.remove(int(r.Start), int(r.End))
			case s.syn == synJSON:
				w.replace(int(r.Start), int(r.End), jsonNull)
			default:
				w.replace(int(r.Start), int(r.End), nil)
			}
		}
	}
	if !w.hits(next, int32(len(s.Hits)), around) {
		return nil, false
	}
	w.closeUpTo(len(w.src))
	if w.out == nil {
		return w.src, true
	}
	w.out = append(w.out, w.src[w.at:]...)
	out = w.out
	if lo := int(s.region[0]); s.syn == synForm && lo > 0 && len(out) == lo && out[lo-1] == '?' {
		out = out[:lo-1] // an address whose whole query is gone
	}
	return out, true
}

// hits deals with the hits from lo up to hi. It returns false when one of them
// blocks.
func (w *splice) hits(lo, hi int32, p Part) bool {
	s, v := w.s, p.Vector
	w.notedOp = Pass // what was noted, was noted for another vector
	for i := lo; i < hi; {
		h := &s.Hits[i]
		if len(w.open) > w.base {
			w.closeUpTo(int(h.Start))
		}
		if int(h.Start) < w.at {
			i++ // within what a record's blocking or an envelope took along
			continue
		}
		class := h.Class
		if h.role&roleFound != 0 {
			class = w.found(h, v)
		}
		op, t := v.decide(class, h.Path)
		if h.role&(roleKey|roleSealed) != 0 {
			op = w.harden(h, class, op)
		}
		if v.writes != nil && op != Block {
			if wr := v.writes[h.Path]; wr != nil && (wr.member || op == Pass) && w.write(i, wr) {
				i = h.Next
				continue
			}
		}
		switch op {
		case Pass:
			switch {
			case v.governs[class] || v.governs[h.Path]:
				w.gov = max(w.gov, int(h.End))
			case v.judge.Unknown != Pass && int(h.Start) >= w.gov && !v.kept[h.Path] && h.role&roleWhole == 0 && !w.container(h) && !w.names(h, v):
				w.rep.Unknown++
				w.drop(h)
				i++
				continue
			}
			if h.Inside != none && !w.inside(h, p) {
				return false
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
			w.null(h)
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

// names reports whether a value that passes, or some of it, is known by this name
// beside it. Without the name, nobody who looks at what was released would know any
// more what the value is: neither its receiver, nor we where consent has changed.
func (w *splice) names(h *Hit, v *Vector) bool {
	if h.role&rolePairName == 0 || h.Mate == none {
		return false
	}
	value := &w.s.Hits[h.Mate]
	op, _ := v.decide(value.Class, value.Path)
	return v.governs[value.Class] && op <= Transform
}

// found returns the class of a hit that was found by its looks, as far as this
// recipient heeds looks.
func (w *splice) found(h *Hit, v *Vector) Class {
	if h.role&roleDetected == 0 {
		return h.Class
	}
	if v.judge.Looks == Apply && !v.exact[h.Path] {
		return h.Class
	}
	if v.judge.Looks == ReportOnly {
		for _, c := range w.s.m.classes[h.Class].categories {
			w.rep.looked.add(c)
		}
	}
	return 0
}

// harden returns what happens to a hit of which less than the whole cannot be
// taken out.
func (w *splice) harden(h *Hit, class Class, op Op) Op {
	if h.role&roleSealed != 0 {
		w.rep.Sealed++
		return max(op, Drop)
	}
	if class != 0 && op > Pass {
		return max(op, Drop)
	}
	return op
}

// note records in the report what is done to a hit.
func (w *splice) note(v *Vector, op Op, h *Hit) {
	if op != w.notedOp || h.Class != w.notedKey || h.Path != w.notedPath {
		w.notedOp, w.notedKey, w.notedPath = op, h.Class, h.Path
		w.rep.note(w.s.m, v, op, h.Class, h.Path)
	}
}

// container reports whether what is in a value is judged for itself, rather
// than the value as a whole.
func (w *splice) container(h *Hit) bool {
	if h.Inside != none {
		in := &w.s.insides[h.Inside]
		return in.scan != nil && in.scan.contains()
	}
	if w.s.syn != synJSON {
		return false
	}
	c := w.src[h.Start]
	return c == '{' || c == '['
}

// contains reports whether the text is a JSON object or array.
func (s *Scan) contains() bool {
	if s.syn != synJSON {
		return false
	}
	i := skipSpace(s.Src, 0)
	return i < len(s.Src) && (s.Src[i] == '{' || s.Src[i] == '[')
}

// inside rewrites what is inside a value. It returns false when something
// there blocks.
func (w *splice) inside(h *Hit, p Part) bool {
	in := &w.s.insides[h.Inside]
	var made []byte
	if in.scan == nil {
		place := w.s.m.spec.Inside.Place
		if p.Vector.action(place).Op == Pass {
			return true
		}
		clean, err := w.s.m.spec.Inside.Cleaner.Clean(in.photo)
		if err != nil {
			w.rep.Note(Drop, place)
			w.drop(h)
			return true
		}
		if len(clean) == len(in.photo) && (len(clean) == 0 || &clean[0] == &in.photo[0]) {
			return true
		}
		w.rep.Note(Drop, place)
		made = clean
	} else {
		c := in.scan
		gov := 0
		judged := c.contains() || h.role&roleWhole != 0 && c.syn == synForm && len(in.seals) > 0
		if !judged || int(h.Start) < w.gov || p.Vector.kept[h.Path] {
			gov = len(c.Src)
		}
		if c.syn == synText && (p.Vector.judge.Looks == Off || p.Vector.exact[h.Path]) {
			return true
		}
		out, ok := c.apply(w.job, nil, p, gov)
		if !ok {
			return false
		}
		if len(out) == len(c.Src) && (len(out) == 0 || &out[0] == &c.Src[0]) {
			return true
		}
		made = out
	}
	for _, seal := range in.seals {
		var err error
		if made, err = seal.Seal(nil, made); err != nil {
			w.rep.Sealed++
			w.drop(h)
			return true
		}
	}
	if w.s.syn == synJSON && !utf8.Valid(made) {
		w.rep.Sealed++
		w.drop(h)
		return true
	}
	w.replace(int(h.Start), int(h.End), w.s.appendValue(nil, made, String))
	return true
}

// transform de-identifies the value of hit i. ok is false when the value does
// not fit and is to be dropped.
func (w *splice) transform(i int32, h *Hit, t Transformer, p Part) (changed, ok bool) {
	raw := w.src[h.Start:h.End]
	if pair, isPair := t.(PairTransformer); isPair {
		if w.s.syn == synJSON && raw[0] == '{' {
			return w.position(i, h, pair, p)
		}
		return w.coordinate(h, pair, p)
	}
	made, ok := w.s.mapScalars(w.s.made[:0], h, t, p.Params)
	w.s.made = made
	if !ok || bytes.Equal(made, raw) {
		return false, ok
	}
	w.replace(int(h.Start), int(h.End), made)
	return true, true
}
