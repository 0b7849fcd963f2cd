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
	// Open undoes one codec and appends what was inside to dst. More than limit
	// bytes, and what is of a codec but is damaged, is Sealed.
	Open(dst, text []byte, limit int) (out []byte, seal Seal, o Opening)
}

// Opening is what came of opening a text.
type Opening uint8

// What can come of opening a text.
const (
	Unopened Opening = iota // it is of no codec
	Opened
	Sealed // it is of a codec, and nobody can say what is inside
)

// Seal puts a codec around a text again.
type Seal interface {
	Seal(dst, text []byte) ([]byte, error)
}

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

const (
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
	c := s.m.scans.Get().(*Scan)
	c.Src, c.at, c.root = text, at, s.root
	return c
}

// promising reports whether a look into the raw text of a string may show
// anything. It may err only on the side of looking.
func (s *Scan) promising(raw []byte, governed bool) bool {
	m := s.m
	switch raw[0] {
	case '{', '[', '\\', ' ', '"':
		return true
	}
	if o := m.spec.Inside.Opener; o != nil && o.Possible(raw) {
		return true
	}
	if hasPairs(raw) || bytes.IndexByte(raw, '{') >= 0 || bytes.Contains(raw, escapedASCII) {
		return true
	}
	d := m.spec.Inside.Detector
	return !governed && d != nil && d.Possible(raw)
}

// escapedASCII begins the escape of a character that needs none, and so hides
// it.
var escapedASCII = []byte(`\u00`)

// hasPairs reports whether text holds a '=' or a '%'.
func hasPairs(text []byte) bool {
	for ; len(text) >= 8; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		if ((x^'='*ones-ones)|(x^'%'*ones-ones))&^x&highs != 0 {
			return true
		}
	}
	for _, c := range text {
		if c == '=' || c == '%' {
			return true
		}
	}
	return false
}

// lookInto looks into the string whose raw text is given. hit is its index, or
// none: then h is what becomes its hit, should there be something to say.
func (s *Scan) lookInto(raw []byte, hit int32, h Hit, at place) {
	text := raw
	if s.syn != synJSON || bytes.IndexByte(raw, '\\') >= 0 {
		var ok bool
		if text, ok = s.textInside(raw); !ok {
			s.mark(hit, h, func(h *Hit) { h.role |= roleSealed })
			return
		}
	}
	s.note(text, hit, h, at)
}

// textInside returns the text of a raw value in memory that stays. ok is false
// where it cannot be decoded.
func (s *Scan) textInside(raw []byte) (text []byte, ok bool) {
	n := len(s.root.arena)
	switch s.syn {
	case synJSON:
		s.root.arena, _ = unescape(s.root.arena, raw)
	case synForm:
		s.root.arena, ok = appendDecoded(s.root.arena, raw, s.form.form)
		if !ok {
			return nil, false
		}
	default:
		return raw, true
	}
	return s.root.arena[n:len(s.root.arena):len(s.root.arena)], true
}

// note records what a look into the text of a value shows.
func (s *Scan) note(text []byte, hit int32, h Hit, at place) {
	in, o := s.look(text, at)
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
	if in, o = s.openText(text, at); o != Unopened || at.governed {
		return in, o
	}
	if c := s.detect(text, at); c != nil {
		return inside{scan: c}, Opened
	}
	return inside{}, Unopened
}

// openText opens a text that is another text in some codec.
func (s *Scan) openText(text []byte, at place) (in inside, o Opening) {
	t := bytes.TrimLeft(text, " \t\r\n")
	if len(t) < minInside {
		return in, Unopened
	}
	switch t[0] {
	case '{', '[', '"':
		if at.depth > maxInside {
			return in, Sealed
		}
		c := s.child(text, at)
		if err := c.scan(s.m.limits(s.root)); err == nil {
			return inside{scan: c.worth()}, Opened
		}
		c.Free()
		if s.names(t) {
			return in, Sealed // somebody less strict may read it
		}
	default:
		if in, o = s.openBehind(text, at); o != Unopened {
			return in, o
		}
	}
	if in, o = s.openCodec(text, at); o != Unopened {
		return in, o
	}
	if bytes.IndexByte(t, '=') >= 0 {
		if c, o := s.openForm(text, at); o != Unopened {
			return inside{scan: c}, o
		}
	}
	return s.openPercent(text, at)
}

// maxPrefix bounds what may stand before a JSON text in a value, such as the
// packet type of Socket.IO, or what keeps a script from being run.
const maxPrefix = 64

// openBehind opens a JSON text that stands behind something short.
func (s *Scan) openBehind(text []byte, at place) (in inside, o Opening) {
	i := bytes.IndexAny(text[:min(len(text), maxPrefix)], "{[")
	if i < 0 || bytes.IndexByte(text[i:], '"') < 0 {
		return in, Unopened
	}
	if at.depth > maxInside {
		return in, Sealed
	}
	c := s.child(text[i:], at)
	if err := c.scan(s.m.limits(s.root)); err != nil {
		c.Free()
		if s.names(text[i:]) {
			return in, Sealed
		}
		return in, Unopened
	}
	if c = c.worth(); c == nil {
		return in, Unopened // the rest has yet to be looked at
	}
	return inside{scan: c, seals: []Seal{prefix(text[:i])}}, Opened
}

// prefix is what stands before a text.
type prefix []byte

// Seal implements Seal.
func (p prefix) Seal(dst, text []byte) ([]byte, error) { return append(append(dst, p...), text...), nil }

// worth returns the scan, or nil, and the scan is gone, where there is nothing
// to be done in it.
func (s *Scan) worth() *Scan {
	if len(s.Hits) > 0 || len(s.Records) > 0 || s.namesIDs() {
		return s
	}
	s.Free()
	return nil
}

// namesIDs reports whether some ID refers to this scan.
func (s *Scan) namesIDs() bool {
	ids := s.root.IDs
	for i := len(ids) - 1; i >= 0; i-- {
		if ids[i].in == s {
			return true
		}
	}
	return false
}

// openCodec opens what the Opener knows.
func (s *Scan) openCodec(text []byte, at place) (in inside, o Opening) {
	op := s.m.spec.Inside.Opener
	if op == nil || !op.Possible(text) {
		return in, Unopened
	}
	n := len(s.root.arena)
	arena, seal, o := op.Open(s.root.arena, text, s.root.bytes)
	if o != Opened {
		return in, o
	}
	s.root.arena = arena
	inner := arena[n:len(arena):len(arena)]
	s.root.bytes -= len(inner)
	if s.root.bytes < 0 || at.depth > maxInside {
		return in, Sealed
	}
	at.depth++
	if in, o = s.lookDecoded(inner, at); o != Opened {
		s.root.arena = s.root.arena[:n]
		return in, o
	}
	in.seals = append(in.seals, seal)
	return in, Opened
}

// lookDecoded is look for bytes that a codec gave, which may be no text.
func (s *Scan) lookDecoded(inner []byte, at place) (in inside, o Opening) {
	if cl := s.m.spec.Inside.Cleaner; cl != nil && cl.Known(inner) {
		return inside{photo: inner}, Opened
	}
	if in, o = s.openText(inner, at); o != Unopened || at.governed || !printable(inner) {
		return in, o
	}
	if c := s.detect(inner, at); c != nil {
		return inside{scan: c}, Opened
	}
	return in, Unopened
}

// openPercent opens a text that is percent-encoded as a whole.
func (s *Scan) openPercent(text []byte, at place) (in inside, o Opening) {
	if bytes.IndexByte(text, '%') < 0 {
		return in, Unopened
	}
	n := len(s.root.arena)
	arena, ok := appendDecoded(s.root.arena, text, false)
	if !ok || len(arena)-n == len(text) {
		return in, Unopened
	}
	if at.depth > maxInside {
		return in, Sealed
	}
	s.root.arena = arena
	at.depth++
	if in, o = s.look(arena[n:len(arena):len(arena)], at); o != Opened {
		s.root.arena = s.root.arena[:n]
		return in, o
	}
	in.seals = append(in.seals, percent{})
	return in, Opened
}

// percent is percent-encoding.
type percent struct{}

// Seal implements Seal.
func (percent) Seal(dst, text []byte) ([]byte, error) { return appendEncoded(dst, text, false), nil }

// limits are what is left for a text inside the root's document.
func (m *Matcher) limits(root *Scan) Limits {
	return Limits{Depth: MaxDepth, Key: DefaultLimits.Key, Members: root.members}
}

// names reports whether some word in a text that is nearly JSON, with ':' or
// '=' after it, is a key that a category claims.
func (s *Scan) names(text []byte) bool {
	for i := 0; i < len(text); {
		if !wordByte(text[i]) {
			i++
			continue
		}
		start := i
		for i < len(text) && wordByte(text[i]) {
			i++
		}
		end := i
		for i < len(text) && (text[i] == '"' || text[i] == '\'' || text[i] == '\\' || text[i] == ' ' || text[i] == '\t') {
			i++
		}
		if i < len(text) && (text[i] == ':' || text[i] == '=') && end-start <= DefaultLimits.Key {
			if e := s.m.lookup(text[start:end]); e.class() != 0 && e.role()&roleKey == 0 || e.suffixes() != 0 {
				return true
			}
		}
	}
	return false
}

func wordByte(c byte) bool {
	return c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$' || c == '@' || c == '#'
}
