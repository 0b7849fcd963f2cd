package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Write is a member that a Vector writes itself: so that what a record says of
// a decision is what was decided. It takes the place of the member that the
// record has there; members that fold to the same name go, since nobody knows
// which of them a receiver believes. Where the object around it has none, it is
// added at the object's end. Only JSON texts are written into, those inside
// values too; paths go through arrays, so each object of an array gets its own.
type Write struct {
	// Path is anchored at the record, and names one place: it has no wildcards.
	// Its last step is written as it is spelled here.
	Path string
	// Value is a JSON scalar, as it is to stand.
	Value string
	// Create makes the object around the member where the object around that
	// one has none, or has what is no object there. Nothing beyond that is
	// made: what a whole part of a document would have to be made for was not
	// asked for in the first place.
	Create bool
}

// MaxWrites bounds the members that one Vector writes.
const MaxWrites = 32

// maxSpecWrites bounds those of all Vectors of a Matcher.
const maxSpecWrites = 1 << 12

func (w Write) parse() (Path, error) {
	p, err := ParsePath(w.Path)
	if err != nil {
		return p, err
	}
	switch {
	case !p.exact():
		return p, fmt.Errorf("path %q: what is written has one place, so the path has no wildcards", w.Path)
	case w.Create && len(p.steps) < 2:
		return p, fmt.Errorf("path %q: create makes the object around a member, and this one stands in the record itself", w.Path)
	}
	return p, nil
}

// Check reports what is wrong with the path.
func (w Write) Check() error {
	_, err := w.parse()
	return err
}

// SamePlace reports whether two paths, both of them sound, name one member.
func (w Write) SamePlace(o Write) bool {
	p, _ := w.parse()
	q, _ := o.parse()
	return samePlace(p.steps, q.steps)
}

// Around reports whether the object around the other member, or one further
// out, is this member.
func (w Write) Around(o Write) bool {
	p, _ := w.parse()
	q, _ := o.parse()
	return len(p.steps) < len(q.steps) && samePlace(p.steps, q.steps[:len(p.steps)])
}

func samePlace(p, q []step) bool {
	return slices.EqualFunc(p, q, func(a, b step) bool { return a.key == b.key && a.any == b.any })
}

// patterns returns what the scan has to note for the write numbered n.
func (w Write) patterns(n int) ([]pattern, error) {
	if n >= maxSpecWrites {
		return nil, errors.New("too many members are written: write fewer")
	}
	p, err := w.parse()
	if err != nil {
		return nil, err
	}
	last := len(p.steps) - 1
	pats := []pattern{
		{Path: p, kind: patMember, n: n},
		{Path: Path{steps: p.steps[:last]}, kind: patAround, n: n},
	}
	if w.Create {
		pats = append(pats, pattern{Path: Path{steps: p.steps[:last-1]}, kind: patAbove, n: n})
	}
	return pats, nil
}

// root reports whether a pattern speaks of the record's own object.
func (p pattern) root() bool { return (p.kind == patAround || p.kind == patAbove) && len(p.steps) == 0 }

// written says of a place which writes, by number, concern it.
type written struct {
	member []int // it is their member
	around []int // it is the object around
	above  []int // it is the object around that one
}

func (w *written) sort() {
	for _, list := range []*[]int{&w.member, &w.around, &w.above} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// roots adds what speaks of a record's own object.
func (w *written) roots(pats []pattern) {
	for _, p := range pats {
		switch {
		case !p.root():
		case p.kind == patAround:
			w.around = append(w.around, p.n)
		default:
			w.above = append(w.above, p.n)
		}
	}
}

// writing is what a Vector does at one place.
type writing struct {
	member bool  // what stands here is written by the object around
	puts   []put // into the object that stands here
}

// put is one member of an object that is written.
type put struct {
	key   []byte // the name, quoted
	value []byte
	path  []step // of the member
	whole bool   // value is an object, and stands only for one that is missing
}

// prepare reads the writes once, and notes which classes they concern: vectors
// are made while requests wait.
func (m *Matcher) prepare() {
	for _, w := range m.spec.Writes {
		p, _ := w.parse() // it is sound, since it was compiled
		m.puts = append(m.puts, put{key: quote(p.steps[len(p.steps)-1].spelled), value: []byte(w.Value), path: p.steps})
	}
	for c := range m.classes {
		if cl := &m.classes[c]; cl.member != nil || cl.around != nil || cl.above != nil {
			m.written = append(m.written, Class(c))
		}
	}
}

// writings prepares the writes of the numbers given, by class.
func (m *Matcher) writings(numbers []int) []*writing {
	if len(numbers) == 0 {
		return nil
	}
	numbers = slices.Sorted(slices.Values(numbers))
	all := make([]*writing, len(m.classes))
	for _, c := range m.written {
		cl := &m.classes[c]
		var w writing
		for _, n := range numbers {
			p := m.puts[n]
			w.member = w.member || slices.Contains(cl.member, n)
			if slices.Contains(cl.around, n) {
				w.puts = append(w.puts, p)
			}
			if around := p.path[:len(p.path)-1]; slices.Contains(cl.above, n) && !w.makes(around) {
				w.puts = append(w.puts, put{key: quote(around[len(around)-1].spelled), value: m.made(numbers, around), path: around, whole: true})
			}
		}
		if w.member || w.puts != nil {
			all[c] = &w
		}
	}
	return all
}

// makes reports whether the object at a path is made already.
func (w *writing) makes(path []step) bool {
	return slices.ContainsFunc(w.puts, func(p put) bool { return p.whole && samePlace(p.path, path) })
}

// made returns an object with all that is written into the object at a path.
func (m *Matcher) made(numbers []int, around []step) []byte {
	out := []byte{'{'}
	for _, n := range numbers {
		if p := m.puts[n]; samePlace(p.path[:len(p.path)-1], around) {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(append(append(out, p.key...), ':'), p.value...)
		}
	}
	return append(out, '}')
}

func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a text is encoded, and a buffer takes it
	return bytes.TrimSpace(b.Bytes())
}

// opened is an object that members are written into, as long as the splice is
// in it.
type opened struct {
	start, end uint32 // of its brackets
	puts       []put
	done       uint64 // of them
}

// write does at a hit what the vector writes there. It returns true where that
// is all that is to be done with the value.
func (w *splice) write(i int32, wr *writing) bool {
	h := &w.s.Hits[i]
	if w.s.syn != synJSON {
		return false
	}
	if h.Key != noKey {
		if o := w.object(h.Parent); o != nil && w.puts(i, h, o, wr.member) {
			return true
		}
	}
	if wr.puts != nil && w.src[h.Start] == '{' {
		w.open = append(w.open, opened{start: h.Start, end: h.End - 1, puts: wr.puts})
	}
	return false
}

// object returns the open object that begins at an offset, or nil.
func (w *splice) object(start uint32) *opened {
	if n := len(w.open); n > w.base && w.open[n-1].start == start {
		return &w.open[n-1]
	}
	return nil
}

// puts does what concerns a member of an object that is written into.
func (w *splice) puts(i int32, h *Hit, o *opened, member bool) bool {
	for k := range o.puts {
		p := &o.puts[k]
		spelled := bytes.HasPrefix(w.src[h.Key:], p.key)
		switch {
		case p.whole && spelled && o.done>>k&1 == 0:
			o.done |= 1 << k
			if w.holdsObject(i, h) {
				return false // it is written into
			}
			w.put(h, p)
			return true
		case !p.whole && member && spelled && o.done>>k&1 == 0:
			o.done |= 1 << k
			w.put(h, p)
			return true
		}
	}
	if member {
		w.rep.Written++
		w.drop(h) // it is spelled otherwise, or is not the first
	}
	return member
}

func (w *splice) put(h *Hit, p *put) {
	if bytes.Equal(w.src[h.Start:h.End], p.value) {
		return
	}
	w.rep.Written++
	w.replace(int(h.Start), int(h.End), p.value)
}

// holdsObject reports whether a member is an object, or has one in its array or
// its text, at which what is to be written is written.
func (w *splice) holdsObject(i int32, h *Hit) bool {
	switch {
	case w.src[h.Start] == '{':
		return true
	case h.Inside != none:
		c := w.s.insides[h.Inside].scan
		if c == nil || !c.contains() {
			return false
		}
		for k := range c.Hits {
			if c.Hits[k].Path == h.Path && c.Src[c.Hits[k].Start] == '{' {
				return true
			}
		}
		return false
	}
	for k := i + 1; k < h.Next; k++ {
		if at := &w.s.Hits[k]; at.Path == h.Path && w.src[at.Start] == '{' {
			return true
		}
	}
	return false
}

// closeUpTo leaves the objects that end before an offset, and writes what they
// still lack.
func (w *splice) closeUpTo(at int) {
	for len(w.open) > w.base {
		o := w.open[len(w.open)-1]
		if int(o.end) > at {
			return
		}
		w.open = w.open[:len(w.open)-1]
		if int(o.end) < w.at {
			continue // gone, with something around it
		}
		for k := range o.puts {
			if o.done>>k&1 == 0 {
				w.add(&o, &o.puts[k])
			}
		}
	}
}

// spaces are the white space of JSON.
const spaces = " \t\n\r"

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// add puts a member behind all others of an object.
func (w *splice) add(o *opened, p *put) {
	end := int(o.end)
	for end > w.at && isSpace(w.src[end-1]) {
		end--
	}
	w.replace(end, end, nil)
	if last := bytes.TrimRight(w.out, spaces); last[len(last)-1] != '{' {
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, p.key...)
	w.out = append(w.out, ':')
	w.out = append(w.out, p.value...)
	w.rep.Written++
}
