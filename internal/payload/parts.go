package payload

import "strings"

// Field is one part of a multipart body (RFC 7578), by offsets.
type Field struct {
	Name       string
	FileName   string
	Start, End int  // with all that goes when it is taken out
	From, To   int  // the content
	Opaque     bool // it is known to be no text, and is not looked into
}

// ScanParts notes what stands where in a multipart body, whose parts are given
// in order.
func (m *Matcher) ScanParts(src []byte, parts []Field, lim Limits) (*Scan, error) {
	if len(src) > MaxBytes {
		return nil, &LimitError{What: "length", Limit: MaxBytes, Offset: MaxBytes}
	}
	s := m.start(src, lim)
	s.syn, s.form = synParts, FormSyntax{}
	f := s.startFields()
	for _, p := range parts {
		if s.members--; s.members < 0 {
			s.Free()
			return nil, &LimitError{"members", lim.Members, p.Start}
		}
		n := len(s.Hits)
		s.field(f, []byte(p.Name), Hit{Key: uint32(p.Start), Start: uint32(p.From), End: uint32(p.To), Parent: uint32(p.End)}, fieldKind{opaque: p.Opaque})
		if class := s.fileClass(p.FileName); class != 0 {
			s.fileName(n, p, class)
		}
	}
	s.endFields(f)
	return s.within()
}

// fileClass returns the class of what a file's name betrays, with its extension
// or without.
func (s *Scan) fileClass(name string) Class {
	class := s.m.looks.key([]byte(name))
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		class = s.union(class, s.m.looks.key([]byte(name[:i])))
	}
	return class
}

// fileName gives the field that was just read the class of its file's name,
// which cannot be taken out alone.
func (s *Scan) fileName(n int, p Field, class Class) {
	hit := int32(none)
	if n < len(s.Hits) {
		hit = int32(n)
	}
	h := Hit{Key: uint32(p.Start), Start: uint32(p.From), End: uint32(p.To), Parent: uint32(p.End)}
	s.mark(hit, h, func(h *Hit) {
		h.Class = s.union(h.Class, class)
		h.role |= roleKey
	})
}

// ScanText looks into a body that is a text as a whole, in whatever codec.
// opened is false where it is in none, so that nobody can say what is in it.
func (m *Matcher) ScanText(src []byte, lim Limits) (s *Scan, opened bool, err error) {
	if len(src) > MaxBytes {
		return nil, false, &LimitError{What: "length", Limit: MaxBytes, Offset: MaxBytes}
	}
	s = m.start(src, lim)
	s.syn = synText
	if !m.records {
		s.Records[s.open(0)].End = uint32(len(src))
		s.at.record = 0
	}
	at := s.at
	at.depth = 1
	in, o := s.lookDecoded(src, at)
	h := Hit{Key: noKey, End: uint32(len(src)), role: roleWhole}
	switch {
	case o != Opened, in.scan != nil && in.partly():
		if in.scan != nil {
			in.scan.Free()
		}
		s.Free()
		return nil, false, nil
	case in.scan != nil || in.photo != nil:
		s.insides = append(s.insides, in)
		s.mark(none, h, func(h *Hit) { h.Inside = 0 })
	}
	if !m.records {
		s.Records[0].hi = int32(len(s.Hits))
	}
	if s, err = s.within(); err != nil {
		return nil, false, err
	}
	return s, true, nil
}

// partly reports whether there is more to the text than what was opened: a text
// of no form in which something was found, what may be a query, or JSON with
// something around it.
func (in *inside) partly() bool {
	for _, seal := range in.seals {
		if _, ok := seal.(around); ok {
			return true
		}
	}
	return in.scan.syn == synText || in.scan.syn == synForm && len(in.seals) == 0
}

// ScanValue looks into a text that stands for itself, such as the value of a
// header. It returns nil where nothing in it is worth a word.
func (m *Matcher) ScanValue(text []byte, lim Limits) *Scan {
	if !m.looks.any || len(text) < minInside || len(text) > MaxBytes || !m.promising(synText, text, false) {
		return nil
	}
	s := m.start(text, lim)
	s.syn = synText
	if !m.records {
		s.Records[s.open(0)].End = uint32(len(text))
		s.at.record = 0
	}
	at := s.at
	at.depth = 1
	h := Hit{Key: noKey, End: uint32(len(text)), role: roleWhole}
	s.note(text, none, h, at)
	if !m.records {
		s.Records[0].hi = int32(len(s.Hits))
	}
	if len(s.Hits) == 0 {
		s.Free()
		return nil
	}
	return s
}
