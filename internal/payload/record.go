package payload

// ApplyRecord returns the record of that number, below Len, as one recipient may
// have it, apart from all else in the document: a slice of the text that it stands
// in when nothing changes, else what is appended to dst[:0], which may be nil. ok
// is false for a record that blocks, for one that goes as a whole, for one that is
// no JSON object or array, and for one that stands in what some category governs:
// once it is apart, nobody would know that any more.
func (s *Scan) ApplyRecord(dst []byte, number int, p Part) (out []byte, rep Report, ok bool) {
	in, r := s.record(number)
	if r == nil || in.syn != synJSON || r.governed {
		return nil, rep, false
	}
	start, end := skipSpace(in.Src, int(r.Start)), int(r.End)
	for end > start && isSpace(in.Src[end-1]) {
		end--
	}
	if start == end || in.Src[start] != '{' && in.Src[start] != '[' {
		return nil, rep, false
	}
	for i := r.lo; i < r.hi && int(in.Hits[i].Start) == start; i++ {
		h := &in.Hits[i]
		if op, _ := p.Vector.decide(h.Class, h.Path); op != Pass {
			rep.note(in.m, p.Vector, op, h.Class, h.Path)
			return nil, rep, false
		}
	}
	s.job = job{open: s.job.open[:0]}
	w := splice{job: &s.job, s: in, src: in.Src[:end], room: dst[:0], at: start}
	ok = w.hits(r.lo, r.hi, p)
	if ok {
		w.closeUpTo(end)
	}
	rep = s.job.rep
	switch {
	case !ok:
		return nil, rep, false
	case w.out == nil:
		return w.src[start:], rep, true
	}
	return append(w.out, w.src[w.at:]...), rep, true
}

// located is where a record stands.
type located struct {
	in *Scan
	at int // its index there
}

// record finds a record by its number, and the scan of the text that it stands
// in.
func (s *Scan) record(number int) (*Scan, *Record) {
	if number < len(s.Records) && s.Records[number].number == number {
		return s, &s.Records[number] // as most are
	}
	if number >= s.count {
		return nil, nil
	}
	// Looking through all texts once for each record would take far too long.
	if len(s.where) != s.count {
		s.where = make([]located, s.count)
		s.locate()
	}
	w := s.where[number]
	if w.in == nil {
		return nil, nil
	}
	return w.in, &w.in.Records[w.at]
}

// locate notes where the records of this text stand, and of those in it.
func (s *Scan) locate() {
	for i := range s.Records {
		s.where[s.Records[i].number] = located{s, i}
	}
	for i := range s.insides {
		if c := s.insides[i].scan; c != nil {
			c.locate()
		}
	}
}
