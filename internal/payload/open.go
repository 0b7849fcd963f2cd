package payload

import (
	"bytes"
	"errors"
	"slices"
)

// Seal puts a codec around a text again.
type Seal interface {
	Seal(dst, text []byte) ([]byte, error)
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
	if isUTF7(text) || isMultipart(text) || at.depth > maxInside && bytes.IndexByte(text, '\\') >= 0 {
		return in, Sealed // or an escape that nobody will undo any more
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
