package payload

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// FormSyntax says how a flat list of names and values is written.
type FormSyntax struct {
	separators string
	form       bool // '+' is a space
	lead       bool // white space may stand before a name
	guess      bool // it may be no such list at all: what does not decode stands for itself
}

var (
	// Query is the syntax of query strings and of
	// application/x-www-form-urlencoded bodies. A ';' separates too: some
	// servers take it so.
	Query = FormSyntax{separators: "&;", form: true}
	// Lines is Query with line breaks between queries, as beacons send them.
	Lines = FormSyntax{separators: "&;\r\n", form: true}
	// Cookies is the syntax of the Cookie header (RFC 6265, section 4.2.1).
	Cookies = FormSyntax{separators: ";", lead: true}

	// link is the syntax of what looks like a query inside a value, with or
	// without the address before it.
	link = FormSyntax{separators: "&;?#\r\n", form: true, guess: true}
)

// ScanForm notes what stands where in a query string, a form or a Cookie
// header. spare, where not nil, is asked for the names of fields that always
// pass.
//
// Names are undone of percent-encoding, as often as it takes, and compared
// folded; "a[b]" is the member b of a. A name that does not decode is sealed:
// nobody can say what the receiver makes of it.
func (m *Matcher) ScanForm(src []byte, syn FormSyntax, spare func(name string) bool, lim Limits) (*Scan, error) {
	if len(src) > MaxBytes {
		return nil, &LimitError{What: "length", Limit: MaxBytes, Offset: MaxBytes}
	}
	s := m.start(src, lim)
	if err := s.fields(syn, 0, len(src), spare); err != nil {
		s.Free()
		return nil, err
	}
	return s.within()
}

// openForm reads the text as a query, with or without an address before it.
func (s *Scan) openForm(text []byte, at place) (*Scan, Opening) {
	if bytes.IndexByte(bytes.TrimRight(text, "="), '=') < 0 {
		return nil, Unopened // padding, and no pairs
	}
	if at.depth > maxInside || !printable(text) {
		if s.namesField(text) || at.depth > maxInside && s.holdsMore(text) {
			return nil, Sealed
		}
		return nil, Unopened
	}
	lo := 0
	// Only what stands before any '=' can be the address.
	if i := bytes.IndexAny(text, "?#="); i >= 0 && text[i] != '=' {
		lo = i + 1
	}
	n := s.noted()
	c := s.child(text, at)
	if d := s.m.looks.detector; d != nil && lo > 0 && !at.governed && d.Possible(text[:lo]) && utf8.Valid(text[:lo]) {
		c.found = d.Append(c.found[:0], text[:lo])
		c.spans(c.found)
	}
	if err := c.fields(link, lo, len(text), nil); err != nil {
		s.discard(c, n)
		return nil, Sealed
	}
	if c = c.worth(); c == nil {
		return nil, Unopened
	}
	return c, Opened
}

// holdsMore reports whether a piece of a query, which is too deep to be opened,
// may be of a codec, or is a number that may name somebody.
func (s *Scan) holdsMore(text []byte) bool {
	op, d := s.m.spec.Inside.Opener, s.m.looks.detector
	for piece := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '=' || r == '&' || r == ';' }) {
		if bytes.IndexByte(piece, '%') >= 0 || op != nil && len(piece) >= minInside && op.Possible(piece) {
			return true
		}
		if d != nil && s.m.looks.class(d.Number(piece)) != 0 {
			return true
		}
	}
	return false
}

// fields reads the fields in src[lo:hi].
func (s *Scan) fields(syn FormSyntax, lo, hi int, spare func(string) bool) error {
	s.syn, s.form, s.region = synForm, syn, [2]uint32{uint32(lo), uint32(hi)}
	src := s.Src
	f := s.startFields()
	seps := separators(syn.separators)
	for at := lo; at <= hi; {
		end := at
		eq := -1
		for ; end < hi; end++ {
			c := src[end]
			if c < 0x80 && seps[c] {
				break
			}
			if c == '=' && eq < 0 {
				eq = end
			}
		}
		name := at
		for syn.guess && name < end && src[name] == '=' {
			name++ // a rule of them is no field, and costs no more than a look
		}
		if eq >= 0 && eq < name {
			eq = -1
			if i := bytes.IndexByte(src[name:end], '='); i >= 0 {
				eq = name + i
			}
		}
		for syn.lead && name < end && (src[name] == ' ' || src[name] == '\t') {
			name++
		}
		if eq >= 0 && len(bytes.Trim(src[eq:end], "=")) == 0 {
			eq = -1 // nothing, or the padding of what is no name
		}
		next := end + 1
		if name == end {
			at = next
			continue
		}
		if s.members--; s.members < 0 {
			return &LimitError{"members", DefaultLimits.Members, name}
		}
		value, nameEnd := end, end
		if eq >= 0 {
			value, nameEnd = eq+1, eq
		}
		raw := src[name:nameEnd]
		if spare == nil || !spare(string(raw)) {
			if syn.lead {
				raw = bytes.TrimRight(raw, " \t")
			}
			s.field(f, raw, Hit{Key: uint32(name), Start: uint32(value), End: uint32(end), Parent: uint32(lo)}, fieldKind{bare: eq < 0})
		}
		at = next
	}
	s.endFields(f)
	return nil
}

// startFields prepares the object that the fields are members of.
func (s *Scan) startFields() *frame {
	f := &s.frames[0]
	*f = frame{
		hit: none, lat: none, lon: none, pair: none, object: true,
		path: s.at.path, sym: s.at.sym, above: s.at.above(), governed: s.at.governed,
	}
	if s.root() && !s.m.records {
		s.Records[s.open(0)].End = uint32(len(s.Src))
		s.at.record = 0
	}
	return f
}

func (s *Scan) endFields(f *frame) {
	if f.lat >= 0 && f.lon >= 0 {
		s.Hits[f.lat].Mate, s.Hits[f.lon].Mate = f.lon, f.lat
	}
	if f.pair != none {
		s.namePairs(f)
	}
	if s.root() && !s.m.records {
		s.Records[0].hi = int32(len(s.Hits))
	}
}

// separators returns the set of the separators, all of them ASCII.
func separators(list string) (set [0x80]bool) {
	for i := range len(list) {
		set[list[i]] = true
	}
	return set
}

// fieldKind says what is special about a field.
type fieldKind struct {
	bare   bool // it has no value, and its name may be a text by itself
	opaque bool // its value is not looked into
}

// field notes what there is to say of one field. h says where it stands.
func (s *Scan) field(f *frame, rawName []byte, h Hit, kind fieldKind) {
	m := s.m
	name := s.readName(rawName)
	here := m.paths.here[name.path]
	h.Class, h.Path, h.role = name.class, Class(here), name.role
	if !kind.bare { // else it is looked into by itself
		h.role |= s.textName(name.text)
		if isUTF7(rawName) {
			h.role |= roleSealed
		}
	}
	if !name.sure {
		h.Path = 0
	}
	opensRecords := false
	if here&marked != 0 {
		for _, k := range m.paths.states[name.path].marks {
			if k.kind == patRecords {
				opensRecords = s.at.record == none
			} else {
				s.IDs = append(s.IDs, ID{s.at.record, k.kind == patDevice, int(k.n), h.Start, h.End, s})
			}
		}
	}
	governed := f.governed || len(m.classes[h.Class].categories) > 0 || len(m.classes[h.Path].categories) > 0
	if kind.bare && !governed {
		h.Start = h.Key
	}
	hit := int32(none)
	if h.Class|h.Path != 0 || h.role&(roleFound|rolePairValue) != 0 || m.spec.Unknown && !governed {
		hit = int32(len(s.Hits))
		h.Next, h.Mate, h.Inside = hit+1, none, none
		s.Hits = append(s.Hits, h)
		if h.role&rolePosition != 0 && governed {
			f.coordinate(h.role, hit)
		}
		if h.role&rolePairValue != 0 {
			s.Hits[hit].Mate, f.pair = f.pair, hit
		}
	}
	raw := s.Src[h.Start:h.End]
	if h.role&rolePairName != 0 {
		if text, _, ok := s.value(h.Start, h.End, &s.text); ok {
			if e := m.lookup(text); e.class() != 0 && e.role()&roleKey == 0 {
				f.named, f.namer = s.both(f.named, e.class()), hit+1
			}
		}
	}
	if m.looks.any && !kind.opaque && len(raw) >= minInside && h.role&roleSealed == 0 && m.promising(s.syn, raw, governed) {
		s.lookInto(raw, hit, h, place{name.path, name.sym, name.frame, s, governed, s.at.record, opensRecords, s.at.depth + 1})
	}
}

// fieldName is what the name of a field means.
type fieldName struct {
	class Class  // all that the name and its steps say
	path  uint16 // state of the automaton
	sym   uint16
	frame *frame // the object that the last step is a member of
	role  role
	sure  bool // there is but one reading of the name
	text  []byte
}

// maxDecodings bounds how often a name is undone of percent-encoding. What is
// still encoded then is sealed.
const maxDecodings = 4

// readName finds what all readings of a name mean.
func (s *Scan) readName(raw []byte) (n fieldName) {
	n.sure = true
	if bytes.IndexByte(raw, '%') < 0 && (!s.form.form || bytes.IndexByte(raw, '+') < 0) {
		s.readSteps(raw, &n)
		n.text = raw
		return n
	}
	var a, b []byte
	name := raw
	for i := 0; ; i++ {
		before := n.path
		s.readSteps(name, &n)
		n.sure = n.sure && (i == 0 || n.path == before)
		decoded, ok := appendDecoded(a[:0], name, s.form.form && i == 0)
		if !ok && s.form.guess {
			return n
		}
		// Some receivers end a name at the first control character.
		if !ok || i == maxDecodings || bytes.IndexFunc(decoded, func(r rune) bool { return r < ' ' }) >= 0 {
			n.role |= roleSealed
			return n
		}
		if bytes.Equal(decoded, name) {
			n.text = name
			return n
		}
		name, a, b = decoded, b, decoded
	}
}

// textName returns roleSealed for a name that is rather a piece of a text in
// which a category is named, or of a codec.
func (s *Scan) textName(name []byte) role {
	if s.m.spec.Inside.Opener != nil && len(name) >= minWrapped && s.m.lookup(name) == 0 {
		at := s.at
		at.depth++
		before := s.noted()
		in, o := s.openCodec(name, at)
		if o == Unopened {
			in, o = s.openToken(name, at)
		}
		if in.scan != nil {
			s.discard(in.scan, before)
		}
		if o == Sealed || in.scan != nil || in.photo != nil {
			return roleSealed
		}
	}
	if i := bytes.IndexByte(name, '{'); i >= 0 && s.opensLikeJSON(name[i:]) {
		return roleSealed
	}
	if bytes.ContainsAny(name, "{\"") && s.names(name) {
		return roleSealed
	}
	return 0
}

// readSteps finds what one reading of a name means: "a[b]" has the steps a and
// b.
func (s *Scan) readSteps(name []byte, n *fieldName) {
	m := s.m
	n.frame, n.path, n.role = &s.frames[0], s.at.path, n.role&roleSealed
	depth := 0
	for rest, more := name, true; more; {
		step := rest
		if i := bytes.IndexAny(rest, "[]"); i >= 0 {
			step, rest = rest[:i], rest[i+1:]
		} else {
			more = false
		}
		if len(step) == 0 {
			continue
		}
		if depth > 0 {
			if depth >= MaxDepth {
				n.role |= roleSealed
				return
			}
			s.frames[depth] = frame{object: true, hit: none, sym: n.sym, above: int16(depth - 1), path: n.path}
			n.frame = &s.frames[depth]
		}
		e := m.lookup(step)
		if e.suffixes() != 0 {
			e = e.withClass(s.enclosed(e, n.frame))
		}
		n.path = m.paths.next(n.path, e.sym())
		n.sym = e.sym()
		switch {
		case n.class != 0 && n.role&roleKey == 0 && e.role()&roleKey != 0:
			// What a name says goes before what another one looks like.
			n.role &= roleFound
		case n.role&roleKey != 0 && e.class() != 0 && e.role()&roleKey == 0:
			n.class, n.role = e.class(), n.role&roleSealed|e.role()
		default:
			n.role = n.role&roleFound | e.role()
			n.class = s.union(n.class, e.class())
		}
		if c := m.paths.states[n.path].class; len(m.classes[c].categories) > 0 && more {
			n.class = s.union(n.class, c)
		}
		depth++
	}
}

// union returns a class at least as strict as both, and no stricter where one
// holds all that the other does.
func (s *Scan) union(a, b Class) Class {
	m := s.m
	switch {
	case a == 0 || a != b && covers(m.classes[b].categories, m.classes[a].categories):
		return b
	case b == 0 || covers(m.classes[a].categories, m.classes[b].categories):
		return a
	}
	return m.every
}

// appendDecoded appends text without its percent-encoding; plus says that '+'
// is a space. ok is false for an escape that is none.
func appendDecoded(dst, text []byte, plus bool) (out []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '%':
			if i+2 >= len(text) {
				return dst, false
			}
			hi, lo := unhex(text[i+1]), unhex(text[i+2])
			if hi|lo > 0xf {
				return dst, false
			}
			dst = append(dst, hi<<4|lo)
			i += 2
		case c == '+' && plus:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

// appendLenient is appendDecoded that leaves what is no escape as it stands.
func appendLenient(dst, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '%')
		if i < 0 {
			return append(dst, text...)
		}
		dst, text = append(dst, text[:i]...), text[i:]
		n := min(3, len(text))
		var ok bool
		if dst, ok = appendDecoded(dst, text[:n], false); !ok {
			dst, n = append(dst, '%'), 1
		}
		text = text[n:]
	}
	return dst
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// appendEncoded appends text percent-encoded, so that it can stand as a name or
// a value (RFC 3986, section 2.3: all but the unreserved characters and '*', which
// forms leave too); plus says that a space becomes '+'.
func appendEncoded(dst, text []byte, plus bool) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range text {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~*", c) >= 0:
			dst = append(dst, c)
		case c == ' ' && plus:
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&0xf])
		}
	}
	return dst
}
