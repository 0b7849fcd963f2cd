package payload

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
var DefaultLimits = Limits{Depth: MaxDepth, Key: 1024, Members: 1 << 20, Inside: 128 << 20}

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
	governed   bool  // a category governs something around it
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
	limit   int    // of them
	opened  int    // values
	arena   []byte // what was decoded
	memo    [memoSize]memo
	plain   [plainSize]plain
	levels  [maxInside + 2]*[MaxDepth]frame

	job   job       // of Apply
	where []located // of the records, once one was looked for; see record

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
	return s.within()
}

// within returns the scan, unless what stands inside its values took more work
// than a document may: then values were sealed for want of it, and to drop them
// silently would be worse than to refuse.
func (s *Scan) within() (*Scan, error) {
	if s.bytes >= 0 {
		return s, nil
	}
	err := &LimitError{What: "decoding", Limit: s.work.limit}
	s.Free()
	return nil, err
}

// start returns a scan for a document as a whole.
func (m *Matcher) start(src []byte, lim Limits) *Scan {
	s := m.scans.Get().(*Scan)
	s.Src, s.count, s.opened, s.frames = src, 0, 0, s.level(0)
	// What is done inside values grows with the document, and no faster; a short
	// one may be compressed.
	s.members, s.bytes = lim.Members, min(lim.Inside, 32*len(src)+16<<20)
	s.limit = s.bytes
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
	s.where = nil
	clear(s.plain[:])
	s.IDs, s.arena, s.syn = s.IDs[:0], s.arena[:0], synJSON
	s.m.scans.Put(s)
}
