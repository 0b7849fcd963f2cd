package payload

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Limits bound what a scan accepts.
type Limits struct {
	Depth   int // of nested objects and arrays; at most MaxDepth
	Key     int // bytes of a member name as it stands, escapes included
	Members int // members and elements of all objects and arrays together
	Inside  int // bytes that may be looked at or decoded inside values, all together
}

// MaxDepth is the deepest nesting that any Limits may allow.
const MaxDepth = 256

// DefaultLimits are what a gate uses.
var DefaultLimits = Limits{Depth: MaxDepth, Key: 1024, Members: 1 << 20, Inside: 64 << 20}

// MaxBytes is the longest document that can be scanned; offsets are 32 bits.
const MaxBytes = 1 << 31

// Hit is a value that the policy has something to say about.
type Hit struct {
	Key        uint32 // offset of the member's key; noKey for elements and the root
	Start, End uint32 // the value
	Parent     uint32 // offset of the bracket that opens the enclosing container
	Next       int32  // index of the first hit after this value and all in it
	Mate       int32  // the other half of a position; -1: none
	Inside     int32  // index of what is in the value, once it is opened; -1: nothing
	Class      Class  // by its key, or by the name beside it
	Path       Class  // by its path
	role       role
}

const noKey = ^uint32(0)

// Record is the part of a document that is about one subject.
type Record struct {
	Start, End uint32
	lo, hi     int32 // its hits
	number     int   // among all records of the document
	element    bool  // of an array
}

// ID is a value that names whom a record is about.
type ID struct {
	Record     int // its number, below Scan.Len; -1: the envelope
	Device     bool
	Source     int // index in Spec.Subject or Spec.Device
	Start, End uint32
	in         *Scan
}

// Scan is what one pass over a document has found. It refers to the document,
// which must not change as long as the scan is used.
type Scan struct {
	Src     []byte
	Hits    []Hit
	Records []Record // that stand in Src itself

	*work
	m       *Matcher
	syn     syntax
	region  [2]uint32 // of Src, where it is a form: the fields
	form    FormSyntax
	insides []inside
	at      place // where it stands, if inside a value
	firstID int   // of all IDs, the first that may be in here
	outer   frame // what encloses the root
	frames  *[MaxDepth]frame
}

// work is what the scan of a document shares with those of the texts inside its
// values. They nest strictly, so that each level needs but one stack of frames.
type work struct {
	IDs []ID // of the document and all that is inside its values

	count   int    // of records
	members int    // that may still come
	bytes   int    // that may still be looked at or decoded
	opened  int    // values
	arena   []byte // what was decoded
	memo    [memoSize]memo
	levels  [maxInside + 2]*[MaxDepth]frame

	job job // of Apply

	// Scratch.
	text, text2        []byte // for unescaping
	made, made2, made3 []byte // for what a transform appends
	found              []Detected
}

// Len returns the number of records, those inside values included.
func (s *Scan) Len() int { return s.count }

// root reports whether the scan is that of the document.
func (s *Scan) root() bool { return s.at.depth == 0 }

// syntax is how a text writes its values.
type syntax uint8

const (
	synJSON  syntax = iota
	synForm         // names and values, see [FormSyntax]
	synParts        // the parts of a multipart body
	synText         // a text that has no members
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

// memo remembers what a key means by its very bytes, so that the keys that
// recur, within a document and from one to the next, are neither folded nor
// looked up again. Up to 16 bytes, two overlapping words and the length are the
// whole key.
type memo struct {
	a, b uint64
	n    uint16
	entry
}

const memoSize = 512

func newScan(m *Matcher) *Scan { return &Scan{m: m, work: new(work)} }

// Scan validates src as one JSON text and returns what stands where. It is
// strict: RFC 8259, valid UTF-8, nothing before or after but white space. The
// error is a *SyntaxError or a *LimitError. The caller calls Free when neither
// the Scan nor a slice of it is used any more.
func (m *Matcher) Scan(src []byte, lim Limits) (*Scan, error) {
	s := m.start(src, lim)
	if err := s.scan(lim); err != nil {
		s.Free()
		return nil, err
	}
	return s, nil
}

// start returns a scan for a document as a whole.
func (m *Matcher) start(src []byte, lim Limits) *Scan {
	s := m.scans.Get().(*Scan)
	s.Src, s.count, s.opened, s.frames = src, 0, 0, s.level(0)
	// What is done inside values grows with the document, and no faster; a short
	// one may be compressed.
	s.members, s.bytes = lim.Members, min(lim.Inside, 16*len(src)+8<<20)
	s.at = place{path: m.paths.document, record: none, records: m.spec.Records == "."}
	return s
}

// level returns the stack of frames for texts that deep inside values.
func (w *work) level(depth int) *[MaxDepth]frame {
	if w.levels[depth] == nil {
		w.levels[depth] = new([MaxDepth]frame)
	}
	return w.levels[depth]
}

// Text returns what the value of an ID says: the string without quotes and
// escapes, or the number or word as it stands. It is valid until the next call
// of a method. ok is false for a string that has no text.
func (s *Scan) Text(id ID) (text []byte, ok bool) {
	text, _, ok = id.in.value(id.Start, id.End, &s.text)
	return text, ok
}

// Split reports whether the Matcher was asked to find records inside the
// document. Else the document is the only one.
func (s *Scan) Split() bool { return s.m.records }

// Free gives the scan back.
func (s *Scan) Free() {
	const (
		keepHits  = 1 << 14 // what a very large body grew is not kept
		keepBytes = 1 << 18
	)
	for i := range s.insides {
		if in := s.insides[i].scan; in != nil {
			in.Free()
		}
		s.insides[i] = inside{}
	}
	if cap(s.Hits) > keepHits {
		s.Hits = nil
	}
	if cap(s.Records) > keepHits {
		s.Records = nil
	}
	if cap(s.insides) > keepHits {
		s.insides = nil
	}
	s.Src, s.Hits, s.Records, s.insides = nil, s.Hits[:0], s.Records[:0], s.insides[:0]
	if !s.root() {
		s.work, s.frames = nil, nil
		s.syn, s.at = synJSON, place{}
		s.m.children.Put(s)
		return
	}
	if cap(s.arena) > keepBytes {
		s.arena = nil
	}
	clear(s.IDs)
	s.IDs, s.arena, s.syn = s.IDs[:0], s.arena[:0], synJSON
	s.m.scans.Put(s)
}

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
					f.named = s.both(f.named, e.class())
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
			if raw := src[start+1 : i-1]; len(raw) >= minInside && m.promising(s.syn, raw, governed) {
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
		s.Records[record].element = true
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

// enclosed returns the class of a key with suffixes in the object f.
func (s *Scan) enclosed(e entry, f *frame) Class {
	var at *frame
	in := s
	return s.m.enclosed(e, func(n int) (uint16, bool) {
		if n == 0 {
			in, at = s, f
		} else if at != nil {
			in, at = in.around(at)
		}
		if at == nil || at.above == none {
			return 0, false
		}
		return at.sym, true
	})
}

// around returns the object that has the key which leads to the frame f, and
// the scan that it belongs to; nil where there is none.
func (s *Scan) around(f *frame) (*Scan, *frame) {
	for f.above == outside {
		s, f = s.at.in, s.at.frame
		if f.object {
			return s, f
		}
	}
	if f.above == none {
		return s, nil
	}
	return s, &s.frames[f.above]
}

// symOf returns the number of the key under which a value of the frame f stands.
func (s *Scan) symOf(f *frame, e entry) uint16 {
	if f.object {
		return e.sym()
	}
	return f.sym
}

// coordinate notes a half of the position of the object f.
func (f *frame) coordinate(r role, hit int32) {
	half := &f.lat
	if r&roleLon != 0 {
		half = &f.lon
	}
	if *half == none {
		*half = hit
	} else {
		*half = several
	}
}

// both returns a class at least as strict as either. Two names beside one value
// are no honest document: the value takes every category that there is.
func (s *Scan) both(a, b Class) Class {
	if a == 0 || a == b {
		return b
	}
	if b == 0 {
		return a
	}
	return s.m.every
}

// namePairs gives the values of the closing object f the class of the name
// beside them.
func (s *Scan) namePairs(f *frame) {
	for h := f.pair; h != none; {
		hit := &s.Hits[h]
		h, hit.Mate = hit.Mate, none
		switch {
		case f.named == 0:
		case hit.role&roleDetected != 0: // a name goes before looks
			hit.Class, hit.role = f.named, hit.role&^(roleDetected|roleKey)
		default:
			hit.Class = s.both(hit.Class, f.named)
		}
	}
}

// lookup finds what the key src[start:end], which has no escapes, means.
func (s *Scan) lookup(src []byte, start, end int) entry {
	n := end - start
	for _, c := range src[start:end] {
		if c == '\\' {
			e, err := s.lookupEscaped(src, start, end)
			if err != nil {
				return entry(s.m.every) // some drop a lone surrogate, and nobody sends one
			}
			return e
		}
	}
	if n > 16 || start+8 > len(src) {
		return s.m.lookup(src[start:end])
	}
	a, b := keyWords(src, start, n)
	e := &s.memo[memoSlot(a, b, n)]
	if e.a != a || e.b != b || int(e.n) != n {
		e = s.remember(a, b, src[start:end])
	}
	return e.entry
}

// remember finds the key of these words in the other slot that it may have, or
// looks it up, and leaves it in its first slot.
func (s *Scan) remember(a, b uint64, key []byte) *memo {
	slot := memoSlot(a, b, len(key))
	e, other := &s.memo[slot], &s.memo[slot^1]
	*e, *other = *other, *e
	if e.a != a || e.b != b || int(e.n) != len(key) {
		*e = memo{a, b, uint16(len(key)), s.m.lookup(key)}
	}
	return e
}

// lookupEscaped is lookup for a key with escapes. A lone surrogate, which one
// parser drops and another replaces, is refused: there is no saying what the
// receiver will make of such a key.
func (s *Scan) lookupEscaped(src []byte, start, end int) (entry, error) {
	var lone bool
	s.text, lone = unescape(s.text[:0], src[start:end])
	if lone {
		return 0, &SyntaxError{start, "lone surrogate in a member name"}
	}
	return s.m.lookup(s.text), nil
}

// keyWords returns the first and the last word of the key of n <= 16 bytes at
// i; i+8 <= len(src).
func keyWords(src []byte, i, n int) (a, b uint64) {
	a = binary.LittleEndian.Uint64(src[i : i+8])
	if n < 8 {
		return a & (1<<(8*n) - 1), 0
	}
	return a, binary.LittleEndian.Uint64(src[i+n-8 : i+n])
}

func memoSlot(a, b uint64, n int) uint64 {
	h := (a ^ bits.RotateLeft64(b, 29) ^ uint64(n)) * 0x9e3779b97f4a7c15
	return h >> (64 - 9) // log2(memoSize)
}
