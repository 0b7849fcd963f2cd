package payload

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// frame is an open object or array.
type frame struct {
	start    uint32
	hit      int32  // of the container itself; -1: none
	lat, lon int32  // hits of an object's position; none or several: below 0
	pair     int32  // the last hit that waits for a name beside it; -1: none
	path     uint16 // state of the automaton
	sym      uint16 // number of the key that leads here
	above    int16  // frame of the object that has this key; none: the record starts here
	named    Class  // what the name beside a value says
	namer    int32  // the hit of that name, counted from 1; 0: it has none
	object   bool
	governed bool // a category governs all in here
	numbers  int8 // of an array: how many numbers it holds, if fewer than 3
	records  bool // the elements are records
	only     bool // is the one record where an array of them is due
}

const (
	none    = -1
	several = -2
	// outside is frame.above where the object with the key belongs to the scan
	// in whose value this one's text was found.
	outside = -2
)

// scan reads Src, which stands at s.at, as a JSON text.
func (s *Scan) scan(lim Limits) error {
	src := s.Src
	if len(src) > MaxBytes {
		return &LimitError{What: "length", Limit: MaxBytes, Offset: MaxBytes}
	}
	if !utf8.Valid(src) {
		return &SyntaxError{invalidUTF8(src), "invalid UTF-8"}
	}
	var (
		m        = s.m
		maxDepth = min(lim.Depth, MaxDepth)
		members  = s.members
		unknown  = m.spec.Unknown
		looks    = m.looks.any
		frames   = s.frames
		memos    = &s.work.memo
		depth    int
		i        int
		// What encloses the root.
		f      = &s.outer
		record = none        // the open record
		whose  = s.at.record // its number, or that of the record around the text

		// Of the value at hand:
		key  = noKey
		path = s.at.path
		ent  entry
	)
	*f = frame{hit: none, path: s.at.path, sym: s.at.sym, above: s.at.above(), governed: s.at.governed, records: s.at.records}
	if s.root() && !m.records {
		record, whose = s.open(0), 0
		s.Records[0].End = uint32(len(src))
	}

value: // src[i:] is white space and a value
	if i >= len(src) || src[i] <= ' ' {
		i = skipSpace(src, i)
	}
	if i >= len(src) {
		return &SyntaxError{i, "unexpected end"}
	}
	{
		c := src[i]
		start := i
		here := uint32(0)
		if path != 0 {
			here = m.paths.here[path]
		}
		opensRecords, governed := false, f.governed
		hit := int32(none)
		r := role(0)
		if ent != 0 || here != 0 || unknown {
			r = ent.role()
			if here&marked != 0 {
				for _, k := range m.paths.states[path].marks {
					if k.kind == patRecords {
						opensRecords = true
					} else if c != '{' && c != '[' {
						s.IDs = append(s.IDs, ID{whose, k.kind == patDevice, int(k.n), uint32(start), 0, s})
					}
				}
			}
			class, above := ent.class(), Class(here)
			if f.named != 0 && r&rolePairValue != 0 {
				class = s.both(class, f.named)
			}
			// A coordinate matters where something governs it, a value where
			// it may yet be named, a scalar that nothing governs where asked.
			if class|above != 0 || r&rolePairValue != 0 || r&rolePosition != 0 && governed ||
				unknown && !governed && c != '{' && c != '[' {
				hit = int32(len(s.Hits))
				s.Hits = append(s.Hits, Hit{
					Key: key, Start: uint32(start), Parent: f.start,
					Next: hit + 1, Mate: none, Inside: none, Class: class, Path: above, role: r,
				})
				governed = governed || class != 0 || above != 0 && len(m.classes[above].categories) > 0
				if r&rolePosition != 0 && f.object && c != '{' && c != '[' {
					f.coordinate(r, hit)
				}
				if r&rolePairValue != 0 {
					s.Hits[hit].Mate = f.pair // a chain, until the object closes
					f.pair = hit
				}
			}
		}

		switch {
		case c == '"':
			end := i + 1
			if end+8 > len(src) {
				end = stringEnd(src, end)
			} else if stop := stops(binary.LittleEndian.Uint64(src[end : end+8])); stop != 0 {
				end += bits.TrailingZeros64(stop) >> 3
			} else {
				end = stringEnd(src, end+8)
			}
			if end < len(src) && src[end] == '"' {
				i = end + 1
			} else {
				var err error
				if i, err = stringEndSlow(src, end); err != nil {
					return err
				}
			}
			if r&rolePairName != 0 && f.object {
				if e := s.lookup(src, start+1, i-1); e.class() != 0 && e.role()&roleKey == 0 {
					f.named, f.namer = s.both(f.named, e.class()), hit+1
				}
			}
		case c == '-' || c-'0' <= 9:
			i = digitsEnd(src, i+1)
			// A plain integer is done; all else is left to who knows better.
			if c <= '0' || i < len(src) && (src[i] == '.' || src[i]|0x20 == 'e') {
				end, err := numberEnd(src, start)
				if err != nil {
					return err
				}
				i = end
			}
		case c == '{' || c == '[':
			if depth >= maxDepth {
				return &LimitError{"depth", maxDepth, i}
			}
			inner := &frames[depth]
			depth++
			*inner = frame{start: uint32(i), hit: hit, lat: none, lon: none, pair: none, path: path, governed: governed, object: c == '{'}
			switch {
			case f.object:
				inner.sym, inner.above = ent.sym(), int16(depth-2)
			case f.records:
				inner.above = none
			case depth == 1:
				inner.sym, inner.above = s.at.sym, s.at.above()
			default: // arrays are no steps
				inner.sym, inner.above = f.sym, f.above
			}
			if c == '[' {
				inner.records = opensRecords || depth == 1 && f.records
			}
			if record == none && (opensRecords || f.records) && !inner.records {
				// Where an array of records is due, an object is one record.
				record = s.open(i)
				s.Records[record].governed = f.governed
				whose = s.Records[record].number
				inner.path = m.paths.record
				inner.sym, inner.above = 0, none
				if hit != none {
					s.Records[record].lo = hit
				}
				inner.only = true
			}
			f = inner
			i = skipSpace(src, i+1)
			if i >= len(src) {
				return &SyntaxError{i, "unexpected end"}
			}
			if c == '{' {
				if src[i] == '}' {
					goto closing
				}
				goto member
			}
			if src[i] == ']' {
				goto closing
			}
			goto element
		default:
			end, err := literalEnd(src, i)
			if err != nil {
				return err
			}
			i = end
		}
		if hit != none {
			s.Hits[hit].End = uint32(i)
		}
		if here&marked != 0 {
			ids := s.IDs
			for j := len(ids) - 1; j >= 0 && ids[j].End == 0; j-- {
				ids[j].End = uint32(i)
			}
		}
		switch {
		case !looks:
		case c == '"':
			if raw := src[start+1 : i-1]; len(raw) >= minInside && !s.isPlain(start+1, i-1, governed) {
				s.members = members
				s.lookInto(raw, hit, Hit{
					Key: key, Start: uint32(start), End: uint32(i), Parent: f.start, Path: Class(here), role: r,
				}, place{path, s.symOf(f, ent), f, s, governed, whose, opensRecords && record == none, s.at.depth + 1})
				members = s.members
			}
		case c <= '9' && !governed:
			if i-start >= minNumber {
				s.lookAtNumber(src[start:i], hit, Hit{Key: key, Start: uint32(start), End: uint32(i), Parent: f.start, Path: Class(here), role: r})
			}
			if key == noKey && f.numbers < 3 {
				f.numbers++
			}
		}
	}

after: // a value has ended at i
	if depth == 0 {
		if i = skipSpace(src, i); i != len(src) {
			return &SyntaxError{i, trailing}
		}
		if record == 0 && !m.records {
			s.Records[0].hi = int32(len(s.Hits))
		}
		s.members = members
		return nil
	}
	if f.records {
		r := &s.Records[record]
		r.End, r.hi = uint32(i), int32(len(s.Hits))
		record, whose = none, s.at.record
	}
	if i >= len(src) || src[i] <= ' ' {
		if i = skipSpace(src, i); i >= len(src) {
			return &SyntaxError{i, "unexpected end"}
		}
	}
	if src[i] == ',' {
		i++
		if f.object {
			if i >= len(src) || src[i] <= ' ' {
				i = skipSpace(src, i)
			}
			goto member
		}
		goto element
	}
	if f.object {
		if src[i] != '}' {
			return &SyntaxError{i, "expected ',' or '}'"}
		}
	} else if src[i] != ']' {
		return &SyntaxError{i, "expected ',' or ']'"}
	}

closing: // src[i] closes f
	i++
	if f.numbers == 2 && looks && !f.governed {
		s.lookAtPair(f, src[f.start:i])
	}
	if f.hit != none {
		h := &s.Hits[f.hit]
		h.End, h.Next = uint32(i), int32(len(s.Hits))
	}
	if f.object {
		if f.lat >= 0 && f.lon >= 0 {
			s.Hits[f.lat].Mate, s.Hits[f.lon].Mate = f.lon, f.lat
		}
		if f.pair != none {
			s.namePairs(f)
		}
		if f.only {
			r := &s.Records[record]
			r.End, r.hi = uint32(i), int32(len(s.Hits))
			record, whose = none, s.at.record
		}
	}
	if depth--; depth > 0 {
		f = &frames[depth-1]
	}
	goto after

element: // src[i:] is white space and an element of the array f
	if members--; members < 0 {
		return &LimitError{"members", lim.Members, i}
	}
	key, ent, path = noKey, 0, f.path
	if f.records {
		i = skipSpace(src, i)
		record = s.open(i)
		s.Records[record].element, s.Records[record].governed = true, f.governed
		whose = s.Records[record].number
		path = m.paths.record
	}
	goto value

member: // src[i] is the quote that opens a key of the object f
	if i >= len(src) || src[i] != '"' {
		return &SyntaxError{i, "expected a member name"}
	}
	if members--; members < 0 {
		return &LimitError{"members", lim.Members, i}
	}
	{
		key = uint32(i)
		i++
		// Most keys end within a word: one load finds the quote and is the key.
		end := i
		var a, b uint64
		if i+8 <= len(src) {
			a = binary.LittleEndian.Uint64(src[i : i+8])
			if stop := stops(a); stop != 0 {
				n := bits.TrailingZeros64(stop) >> 3
				end += n
				a &= 1<<(8*n) - 1
			} else {
				end = stringEnd(src, i+8)
				if n := end - i; n <= 16 {
					b = binary.LittleEndian.Uint64(src[end-8 : end])
				}
			}
		} else {
			end = stringEnd(src, i)
		}
		if end < len(src) && src[end] == '"' {
			if n := end - i; n <= 16 && i+8 <= len(src) {
				e := &memos[memoSlot(a, b, n)]
				if e.a != a || e.b != b || int(e.n) != n {
					e = s.remember(a, b, src[i:end])
				}
				ent = e.entry
			} else {
				ent = m.lookup(src[i:end])
			}
		} else {
			start := i
			var err error
			if end, err = stringEndSlow(src, end); err != nil {
				return err
			}
			end--
			if ent, err = s.lookupEscaped(src, start, end); err != nil {
				return err
			}
		}
		if end-i > lim.Key {
			return &LimitError{"key", lim.Key, i}
		}
		i = end + 1
	}
	if path = f.path; path != 0 {
		path = m.paths.next(path, ent.sym())
	}
	if ent.suffixes() != 0 {
		ent = ent.withClass(s.enclosed(ent, f))
	}
	if i < len(src) && src[i] != ':' {
		i = skipSpace(src, i)
	}
	if i >= len(src) || src[i] != ':' {
		return &SyntaxError{i, "expected ':'"}
	}
	i++
	goto value
}

// open begins a record at offset i and returns its index in Records.
func (s *Scan) open(i int) int {
	s.Records = append(s.Records, Record{Start: uint32(i), lo: int32(len(s.Hits)), number: s.count})
	s.count++
	return len(s.Records) - 1
}

// symOf returns the number of the key under which a value of the frame f stands.
func (s *Scan) symOf(f *frame, e entry) uint16 {
	if f.object {
		return e.sym()
	}
	return f.sym
}
