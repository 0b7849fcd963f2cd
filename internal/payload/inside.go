package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
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

// maxOpened bounds how many values of a document may be open at once. Those that
// come after are sealed.
const maxOpened = 1 << 17

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
	if o := m.spec.Inside.Opener; o != nil && o.Possible(raw) {
		return true
	}
	if marks, escapes := holds(raw); marks || escapes && syn == synJSON && hidden(raw) {
		return true
	}
	d := m.spec.Inside.Detector
	return !governed && d != nil && d.Possible(raw)
}

// hidden reports whether the raw text of a JSON string has escapes that hide what
// it says: any but those of a quote and a backslash.
func hidden(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return false
		}
		if c := raw[i+1]; c != '"' && c != '\\' {
			return true
		}
		raw = raw[i+2:]
	}
}

// holds reports whether text holds a '=', '%', '+' or '{', and whether it holds a
// backslash.
func holds(text []byte) (marks, escapes bool) {
	if len(text) < 8 {
		for _, c := range text {
			marks = marks || c == '=' || c == '%' || c == '+' || c == '{'
			escapes = escapes || c == '\\'
		}
		return marks, escapes
	}
	var m, e uint64
	for i := 0; ; i += 8 {
		i = min(i, len(text)-8) // the last eight overlap those before
		x := binary.LittleEndian.Uint64(text[i : i+8])
		equals, percent, plus, brace, back := x^'='*ones, x^'%'*ones, x^'+'*ones, x^'{'*ones, x^'\\'*ones
		m |= (equals-ones)&^equals | (percent-ones)&^percent | (plus-ones)&^plus | (brace-ones)&^brace
		e |= (back - ones) &^ back
		if i == len(text)-8 {
			return m&highs != 0, e&highs != 0
		}
	}
}

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
	if c := s.detect(text, at); c != nil {
		return inside{scan: c}, Opened
	}
	return inside{}, Unopened
}

// lookBetweenNULs looks at a text with NULs in it, such as one in UTF-16. No
// honest text has any, so nothing in it is rewritten: it is sealed where without
// them it would be something.
func (s *Scan) lookBetweenNULs(text []byte, at place) (in inside, o Opening) {
	plain := bytes.ReplaceAll(text, []byte{0}, nil)
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		plain = bytes.TrimPrefix(plain, []byte(mark))
	}
	if !s.spend(len(text)) {
		return in, Sealed
	}
	if bytes.ContainsAny(plain, "{[=") {
		return in, Sealed
	}
	before := s.noted()
	if in, o = s.look(plain, at); o == Opened && in.scan == nil && in.photo == nil || o == Unopened {
		return inside{}, Unopened
	}
	if in.scan != nil {
		s.discard(in.scan, before)
	}
	return inside{}, Sealed
}

// openText opens a text that is another text in some codec.
func (s *Scan) openText(text []byte, at place) (in inside, o Opening) {
	if len(bytes.TrimLeft(text, " \t\r\n")) < minInside {
		return in, Unopened
	}
	if !s.spend(len(text)) {
		return in, Sealed
	}
	if isUTF7(text) {
		return in, Sealed
	}
	// A codec first: what it holds may show in it.
	if in, o = s.openCodec(text, at); o != Unopened {
		return in, o
	}
	if in, o = s.openJSON(text, at); o != Unopened {
		return in, o
	}
	if bytes.IndexByte(text, '=') >= 0 {
		if c, o := s.openForm(text, at); o != Unopened {
			return inside{scan: c}, o
		}
	}
	if in, o = s.openPercent(text, at); o != Unopened {
		return in, o
	}
	return s.openToken(text, at)
}

// openToken opens what is of a codec in the middle of a text, such as behind
// "Bearer ". A text with several of them is sealed.
func (s *Scan) openToken(text []byte, at place) (in inside, o Opening) {
	op := s.m.spec.Inside.Opener
	if op == nil || at.depth > maxInside {
		return in, Unopened
	}
	before := s.noted()
	for start := 0; start < len(text); {
		if !tokenByte(text[start]) {
			start++
			continue
		}
		end := start
		for end < len(text) && tokenByte(text[end]) {
			end++
		}
		for text[start] == '/' && start < end-1 {
			start++ // of an address
		}
		run := text[start:end]
		if len(run) >= minWrapped && len(run) < len(text) && op.Possible(run) {
			found, o := s.openCodec(run, at)
			worth := found.scan != nil || found.photo != nil
			if o == Sealed || worth && (in.scan != nil || in.photo != nil) {
				for _, c := range []*Scan{found.scan, in.scan} {
					if c != nil {
						s.discard(c, before)
					}
				}
				return inside{}, Sealed
			}
			if worth {
				in = found
				in.seals = append(in.seals, around{text[:start], text[end:]})
			}
		}
		start = end
	}
	if in.scan == nil && in.photo == nil {
		return inside{}, Unopened
	}
	rest := in.seals[len(in.seals)-1].(around)
	if !at.governed && s.m.looks.key(slices.Concat(rest.before, []byte(" "), rest.after)) != 0 {
		if in.scan != nil {
			s.discard(in.scan, before)
		}
		return inside{}, Sealed
	}
	return in, Opened
}

// tokenByte reports whether a byte may stand in base64 of either alphabet.
func tokenByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}

// maxAround bounds what may stand before and after a JSON text in a value, such
// as the packet type of Socket.IO, a call around it, or what keeps a script from
// being run.
const maxAround = 64

// isUTF7 reports whether a text holds a brace or a quote in UTF-7 (RFC 2152),
// which nobody writes by chance.
func isUTF7(text []byte) bool {
	return bytes.Contains(text, []byte("+AHs")) || bytes.Contains(text, []byte("+ACI"))
}

// openJSON opens a JSON text, alone in a value or with little around it.
func (s *Scan) openJSON(text []byte, at place) (in inside, o Opening) {
	i := bytes.IndexAny(text[:min(len(text), maxAround)], "{[")
	if start := len(text) - len(bytes.TrimLeft(text, " \t\r\n")); text[start] == '"' && bytes.HasSuffix(bytes.TrimRight(text, " \t\r\n"), []byte{'"'}) {
		i = start // a string, unless it is prose in quotes
	}
	if i < 0 {
		i = bytes.Index(text, []byte(`{"`)) // in prose, say
	}
	if i < 0 {
		if bytes.ContainsAny(text, "{\"") && s.names(text) {
			return in, Sealed
		}
		return in, Unopened
	}
	if at.depth > maxInside {
		return in, Sealed
	}
	end := len(text)
	for {
		n := s.noted()
		c := s.child(text[i:end], at)
		err := c.scan(s.limits())
		if err == nil {
			if in, o = s.openedJSON(c, text, i, end); o == Sealed {
				s.discard(c, n)
				in = inside{}
			}
			return in, o
		}
		s.discard(c, n)
		var limit *LimitError
		if errors.As(err, &limit) {
			return in, Sealed
		}
		var syntax *SyntaxError
		if text[i] == '"' || end < len(text) || !errors.As(err, &syntax) || !syntax.Trailing() || len(text)-i-syntax.Offset > maxAround {
			break
		}
		end = i + syntax.Offset // what follows stands after a whole text
		if !s.spend(end - i) {
			return in, Sealed
		}
	}
	if s.opensLikeJSON(text[i:]) || s.names(text) {
		return in, Sealed // somebody less strict may read it
	}
	return in, Unopened
}

// opensLikeJSON reports whether a text that is not JSON begins so much like it
// that it must have been meant to be: with a member, or with elements of which
// one is an object or of a codec.
func (s *Scan) opensLikeJSON(text []byte) bool {
	if bytes.Contains(text, []byte(`\u`)) {
		text = undone(text)
	}
	if text[0] == '[' {
		if i := bytes.IndexByte(text, '{'); i >= 0 && s.opensLikeJSON(text[i:]) {
			return true
		}
		op := s.m.spec.Inside.Opener
		for piece := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '"' || r == '\'' }) {
			if op != nil && len(piece) >= minWrapped && op.Possible(piece) {
				return true
			}
		}
		return false
	}
	rest := bytes.TrimLeft(text[1:], " \t\r\n")
	quoted := len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'')
	if quoted {
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return bytes.IndexByte(rest, ':') > 0
		}
		rest = rest[end+2:]
	} else {
		// Keys without quotes, as JSON5 has them; not "{name} said".
		n := 0
		for n < len(rest) && wordByte(rest[n]) {
			n++
		}
		if n == 0 || bytes.IndexByte(rest, '}') < 0 {
			return false
		}
		rest = rest[n:]
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}

// minWrapped is how long a text of a codec must be to be told from a word.
const minWrapped = 16

// openedJSON returns what is inside text, whose part from i to end is JSON and
// has been scanned by c, which the caller discards where it is Sealed.
func (s *Scan) openedJSON(c *Scan, text []byte, i, end int) (in inside, o Opening) {
	if i == 0 && end == len(text) {
		return inside{scan: c.worth()}, Opened
	}
	rest := slices.Concat(text[:i], []byte(" "), text[end:])
	if more := bytes.IndexAny(text[end:], "{["); s.names(rest) || more >= 0 && s.opensLikeJSON(text[end+more:]) {
		return in, Sealed // more of it, which is not looked into
	}
	if c = c.worth(); c == nil {
		return in, Unopened // the rest has yet to be looked at
	}
	if s.m.looks.key(rest) != 0 {
		return in, Sealed
	}
	return inside{scan: c, seals: []Seal{around{text[:i], text[end:]}}}, Opened
}

// around is what stands before and after a text.
type around struct{ before, after []byte }

// Seal implements Seal.
func (a around) Seal(dst, text []byte) ([]byte, error) {
	return append(append(append(dst, a.before...), text...), a.after...), nil
}

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
	for _, id := range s.IDs[s.firstID:] {
		if id.in == s {
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
	n := len(s.arena)
	arena, seal, o := op.Open(s.arena, text, s.bytes)
	switch o {
	case Opened:
	case Burst:
		s.bytes = 0
		return in, Sealed
	default:
		return in, o
	}
	s.arena = arena
	inner := arena[n:len(arena):len(arena)]
	if !s.spend(len(inner)) || at.depth > maxInside {
		return in, Sealed
	}
	at.depth++
	if in, o = s.lookDecoded(inner, at); o != Opened {
		s.arena = s.arena[:n]
		if o == Unopened && !printable(inner) {
			o = Sealed // it began like something to look into, and nobody can say what it is
		}
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
	if in, o = s.openText(inner, at); o != Unopened {
		return in, o
	}
	if t := bytes.TrimLeft(bytes.TrimPrefix(inner, []byte("\ufeff")), " \t\r\n\v\f\x00\x1e"); len(t) >= minInside && (t[0] == '{' || t[0] == '[') {
		return in, Sealed // nobody wraps what only happens to begin like JSON
	}
	if at.governed {
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
	if at.depth > maxInside {
		return in, Sealed
	}
	n := len(s.arena)
	arena, ok := appendDecoded(s.arena, text, false)
	if !ok {
		// Many decoders leave as it stands what they cannot undo.
		arena = appendLenient(s.arena, text)
	}
	if len(arena)-n == len(text) {
		return in, Unopened
	}
	if !s.spend(len(text)) {
		return in, Sealed
	}
	s.arena = arena
	at.depth++
	before := s.noted()
	if in, o = s.look(arena[n:len(arena):len(arena)], at); o != Opened {
		s.arena = s.arena[:n]
		return in, o
	}
	if !ok {
		if in.scan == nil {
			return inside{}, Unopened
		}
		s.discard(in.scan, before)
		return inside{}, Sealed
	}
	in.seals = append(in.seals, percent{})
	return in, Opened
}

// percent is percent-encoding.
type percent struct{}

// Seal implements Seal.
func (percent) Seal(dst, text []byte) ([]byte, error) { return appendEncoded(dst, text, false), nil }

// limits are what is left for a text inside the document.
func (s *Scan) limits() Limits {
	return Limits{Depth: MaxDepth, Key: DefaultLimits.Key, Members: s.members}
}

// names reports whether something in a text that is nearly JSON reads like a key
// that a category claims: in quotes, or behind a brace or a comma where there
// are braces, and with ':' or '=' after it.
func (s *Scan) names(text []byte) bool {
	if bytes.IndexByte(text, ':') < 0 && bytes.IndexByte(text, '=') < 0 {
		return false
	}
	if bytes.Contains(text, []byte(`\u`)) {
		text = undone(text)
	}
	braces := bytes.IndexByte(text, '{') >= 0
	// What PHP's serialize makes has the values behind a semicolon.
	serialized := braces && bytes.Contains(text, []byte("s:"))
	before := byte(0) // the last byte that is no white space
	for i := 0; i < len(text); {
		c := text[i]
		if !wordByte(c) {
			if c > ' ' && c != '\\' {
				before = c
			}
			i++
			continue
		}
		start := i
		for i < len(text) && (wordByte(text[i]) || text[i] == ' ') {
			i++
		}
		word := bytes.TrimRight(text[start:i], " ")
		after := i
		quoted := false
		for after < len(text) && strings.IndexByte(" \t\r\n\\\"'", text[after]) >= 0 {
			quoted = quoted || text[after] == '"' || text[after] == '\''
			after++
		}
		opened := before == '"' || before == '\''
		if after < len(text) && (text[after] == ':' || text[after] == '=' || text[after] == ';' && serialized) && len(word) <= DefaultLimits.Key &&
			(opened && quoted || braces && !opened && (before == '{' || before == ',' || before == '(')) {
			e := s.m.lookup(word)
			if e.class() != 0 && e.role()&roleKey == 0 || e.suffixes() != 0 {
				return true
			}
			if e.role()&rolePairName != 0 && s.namesPair(text[after+1:]) {
				return true
			}
		}
		before = 'a'
	}
	return false
}

// namesPair reports whether a text begins with a word in quotes that is a key
// which a category claims: the name of a pair.
func (s *Scan) namesPair(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n\\\"'")
	n := 0
	for n < len(text) && (wordByte(text[n]) || text[n] == ' ') {
		n++
	}
	e := s.m.lookup(text[:n])
	return e.class() != 0 && e.role()&roleKey == 0 || e.suffixes() != 0
}

// namesField reports whether a word before a '=' is a key that a category
// claims.
func (s *Scan) namesField(text []byte) bool {
	start := 0
	for i, c := range text {
		switch {
		case c == '=' && i > start && i-start <= DefaultLimits.Key:
			if e := s.m.lookup(text[start:i]); e.class() != 0 || e.suffixes() != 0 {
				return true
			}
			start = i + 1
		case !wordByte(c) && c != ' ':
			start = i + 1
		}
	}
	return false
}

// undone returns text with the escapes of JSON for single characters undone.
func undone(text []byte) (out []byte) {
	for i := 0; i < len(text); {
		if text[i] == '\\' && i+6 <= len(text) && text[i+1] == 'u' {
			if r, ok := hex4(text, i+2); ok {
				if !utf16.IsSurrogate(r) {
					out = utf8.AppendRune(out, r)
				}
				i += 6
				continue
			}
		}
		out = append(out, text[i])
		i++
	}
	return out
}

func wordByte(c byte) bool {
	return c >= 0x80 || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$' || c == '@' || c == '#'
}
