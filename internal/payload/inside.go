package payload

import (
	"bytes"
	"encoding/binary"
)

// Inside is what looks into values: for texts inside texts, and for personal
// data that no key names. A nil member looks for nothing.
type Inside struct {
	Detector Detector
	Opener   Opener
	// Cleaner takes the place out of photos, unless the category Place passes.
	Cleaner Cleaner
	Place   Category
}

// Opener undoes the codecs that values are wrapped in.
type Opener interface {
	// Possible is false only for what Open would not open. It must be cheap.
	Possible(text []byte) bool
	// Open undoes one codec and appends what was inside to dst. What is of a
	// codec but is damaged is Sealed; more than limit bytes are a Burst, and so
	// is what may have been before it broke.
	Open(dst, text []byte, limit int) (out []byte, seal Seal, o Opening)
}

// Opening is what came of opening a text.
type Opening uint8

// What can come of opening a text.
const (
	Unopened Opening = iota // it is of no codec
	Opened
	Sealed // it is of a codec, and nobody can say what is inside
	// Burst is Sealed, and took as much work as a whole document may: nothing
	// else in it is opened.
	Burst
)

// Cleaner takes the place where they were taken out of photos and films.
type Cleaner interface {
	// Known reports whether the bytes are of a format that Clean knows, by how
	// they begin.
	Known(head []byte) bool
	// Clean returns src itself where there is nothing to take out, else a
	// copy without it. An error means that nobody can say what is in it.
	Clean(src []byte) ([]byte, error)
}

// maxInside bounds how deep texts may stand inside texts. What is deeper is
// sealed.
const maxInside = 8

// maxOpened bounds how many values of a document may be open at once. Those that
// come after are sealed.
const maxOpened = 1 << 17

const (
	minCodec  = 12 // bytes of the shortest text of a codec that holds a member
	minInside = 6  // bytes of the shortest text that anything is looked for in
	minNumber = 10 // bytes of the shortest number that may name somebody
)

// inside is what a value holds, once it is opened.
type inside struct {
	scan  *Scan  // nil for a photo
	photo []byte // as it stands in the value
	seals []Seal // what it was wrapped in, the innermost first
}

// place is where a text stands that is inside a value.
type place struct {
	path     uint16 // state of the automaton
	sym      uint16 // number of the key that leads here
	frame    *frame // the object or array around the value
	in       *Scan  // that frame belongs to; nil: the text is a whole document
	governed bool
	record   int  // number of the record around; none: the envelope
	records  bool // the elements are records
	depth    int  // of texts inside texts
}

// above returns what frame.above is for an object or array that no other one of
// the same text encloses.
func (p place) above() int16 {
	if p.in != nil {
		return outside
	}
	return none
}

// child returns a scan for a text inside a value.
func (s *Scan) child(text []byte, at place) *Scan {
	c := s.m.children.Get().(*Scan)
	c.Src, c.at, c.work, c.firstID = text, at, s.work, len(s.IDs)
	c.frames = s.level(at.depth)
	return c
}

// noted is what a scan inside a value leaves in the document's.
type noted struct{ ids, count int }

func (s *Scan) noted() noted { return noted{len(s.IDs), s.count} }

// discard gives back a scan that came to nothing, with all that it noted.
func (s *Scan) discard(c *Scan, n noted) {
	s.IDs, s.count = s.IDs[:n.ids], n.count
	c.Free()
}

// spend takes n bytes from what may yet be looked at inside values. It returns
// false where that is not left.
func (s *Scan) spend(n int) bool {
	s.bytes -= n
	return s.bytes >= 0
}

// promising reports whether a look into the raw text of a string may show
// anything. It may err only on the side of looking.
func (m *Matcher) promising(syn syntax, raw []byte, governed bool) bool {
	first := raw
	for len(first) > 1 && (first[0] == ' ' || first[0] == '+' || first[0] == '\t' || first[0] == '\n' || first[0] == '\r') {
		first = first[1:]
	}
	switch first[0] {
	case '{', '[', '\\', '"':
		return true
	}
	if syn == synParts && m.spec.Inside.Cleaner != nil && m.spec.Inside.Cleaner.Known(raw) {
		return true
	}
	marks, escapes, telling := holds(raw)
	if marks || escapes && (syn == synJSON && hidden(raw) || syn != synJSON && bytes.Contains(raw, []byte(`\u`))) {
		return true
	}
	if o := m.spec.Inside.Opener; o != nil && len(raw) >= minCodec && o.Possible(raw) {
		return true
	}
	d := m.spec.Inside.Detector
	return telling && !governed && d != nil && d.Possible(raw)
}

// hidden reports whether the raw text of a JSON string has escapes that hide what
// it says: any but those of a quote and a backslash, unless that begins another.
func hidden(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return false
		}
		c := raw[i+1]
		raw = raw[i+2:]
		if c != '"' && c != '\\' || c == '\\' && len(raw) > 0 && raw[0] == 'u' {
			return true
		}
	}
}

// holds reports whether text holds a '=', '%', '+' or '{', whether it holds a
// backslash, and whether it holds what no find is without: a digit, or one of
// ":;<=>?" beside the digits, an at sign, or the first byte of a wide digit.
func holds(text []byte) (marks, escapes, telling bool) {
	if len(text) < 8 {
		for _, c := range text {
			marks = marks || c == '=' || c == '%' || c == '+' || c == '{'
			escapes = escapes || c == '\\'
			telling = telling || c&0xf0 == 0x30 || c == '@' || c == wideLead
		}
		return marks, escapes, telling
	}
	var m, e, t uint64
	for i := 0; ; i += 8 {
		i = min(i, len(text)-8) // the last eight overlap those before
		x := binary.LittleEndian.Uint64(text[i : i+8])
		equals, percent, plus, brace, back := x^'='*ones, x^'%'*ones, x^'+'*ones, x^'{'*ones, x^'\\'*ones
		m |= (equals-ones)&^equals | (percent-ones)&^percent | (plus-ones)&^plus | (brace-ones)&^brace
		e |= (back - ones) &^ back
		digits, at, wide := x&(0xf0*ones)^0x30*ones, x^'@'*ones, x^wideLead*ones
		t |= (digits-ones)&^digits | (at-ones)&^at | (wide-ones)&^wide
		if i == len(text)-8 {
			return m&highs != 0, e&highs != 0, t&highs != 0
		}
	}
}

// wideLead is the first byte of U+FF10 and its neighbours in UTF-8.
const wideLead = 0xef

// lookInto looks into the string whose raw text is given. hit is its index, or
// none: then h is what becomes its hit, should there be something to say.
func (s *Scan) lookInto(raw []byte, hit int32, h Hit, at place) {
	text := raw
	if s.syn != synJSON || bytes.IndexByte(raw, '\\') >= 0 {
		ok := s.spend(len(raw))
		if ok {
			text, ok = s.textInside(raw)
		}
		if !ok {
			s.mark(hit, h, func(h *Hit) { h.role |= roleSealed })
			return
		}
	}
	s.note(text, hit, h, at)
}

// textInside returns the text of a raw value in memory that stays. ok is false
// where it cannot be decoded.
func (s *Scan) textInside(raw []byte) (text []byte, ok bool) {
	n := len(s.arena)
	switch s.syn {
	case synJSON:
		s.arena, _ = unescape(s.arena, raw)
	case synForm:
		s.arena, ok = appendDecoded(s.arena, raw, s.form.form)
		if !ok && s.form.guess {
			s.arena = s.arena[:n]
			return raw, true
		}
		if !ok {
			return nil, false
		}
	default:
		return raw, true
	}
	return s.arena[n:len(s.arena):len(s.arena)], true
}

// note records what a look into the text of a value shows.
func (s *Scan) note(text []byte, hit int32, h Hit, at place) {
	if s.opened >= maxOpened {
		s.mark(hit, h, func(h *Hit) { h.role |= roleSealed })
		return
	}
	look := s.look
	if s.syn == synParts {
		look = s.lookDecoded // a file is bytes, and may be a photo
	}
	in, o := look(text, at)
	switch o {
	case Sealed:
		s.mark(hit, h, func(h *Hit) { h.role |= roleSealed })
	case Opened:
		if in.scan == nil && in.photo == nil {
			return // nothing in it that is worth a word
		}
		// A text that is one find and nothing else is a value like any other.
		if c := in.scan; c != nil && c.syn == synText && len(in.seals) == 0 && len(c.Hits) == 1 && !at.governed {
			if w := &c.Hits[0]; int(w.Start) == len(text)-len(bytes.TrimLeft(text, " \t\r\n")) && int(w.End) == len(bytes.TrimRight(text, " \t\r\n")) {
				class, second := w.Class, w.Path
				c.Free()
				s.mark(hit, h, func(h *Hit) {
					h.Class, h.role = class, h.role|roleDetected
					if second != 0 {
						h.Class = s.both(class, second)
					}
				})
				return
			}
		}
		s.opened++
		n := int32(len(s.insides))
		s.insides = append(s.insides, in)
		s.mark(hit, h, func(h *Hit) { h.Inside = n })
	}
}

// mark changes a hit, which is made of h where there is none yet.
func (s *Scan) mark(hit int32, h Hit, change func(*Hit)) {
	if hit == none {
		hit = int32(len(s.Hits))
		h.Next, h.Mate, h.Inside = hit+1, none, none
		s.Hits = append(s.Hits, h)
	}
	change(&s.Hits[hit])
}

// look finds out what a text holds: another text in some codec, or personal
// data that its looks betray.
func (s *Scan) look(text []byte, at place) (in inside, o Opening) {
	if bytes.IndexByte(text, 0) >= 0 {
		return s.lookBetweenNULs(text, at)
	}
	if in, o = s.openText(text, at); o != Unopened || at.governed {
		return in, o
	}
	if bytes.Contains(text, []byte(`\u`)) {
		if o := s.lookUndone(text, at); o != Unopened {
			return inside{}, o
		}
	}
	if c := s.detect(text, at); c != nil {
		return inside{scan: c}, Opened
	}
	return inside{}, Unopened
}

// lookUndone looks at a text of no codec with the escapes of JSON in it undone, as a
// receiver may that takes it for a piece of JSON. It is sealed where without them it
// would be something.
func (s *Scan) lookUndone(text []byte, at place) Opening {
	plain := undone(text)
	if len(plain) == len(text) {
		return Unopened
	}
	if !s.spend(len(text)) {
		return Sealed
	}
	before := s.noted()
	in, o := s.look(plain, at)
	if in.scan != nil {
		s.discard(in.scan, before)
	}
	if o == Sealed || in.scan != nil || in.photo != nil {
		return Sealed
	}
	return Unopened
}

// around is what stands before and after a text.
type around struct{ before, after []byte }
