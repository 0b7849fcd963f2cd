package media

import "slices"

// A span is a range of the file, in bytes from its start: [off, end).
type span struct{ off, end int }

func (s span) size() int              { return s.end - s.off }
func (s span) overlaps(o span) bool   { return s.off < o.end && o.off < s.end }
func (s span) within(o span) bool     { return o.off <= s.off && s.end <= o.end && s.off <= s.end }
func (s span) from(n int) span        { return span{s.off + n, s.end} }
func (s span) part(off, end int) span { return span{s.off + off, s.off + end} }

// A canvas reads the file as it came and writes to a copy, which is made when the first byte differs. What is read is
// always the original: an edit can then never make another part look harmless.
type canvas struct {
	src  []byte
	out  []byte
	cuts []span
	// budget bounds the bytes that are looked at, so that a file whose entries all point at one long value costs no
	// more than a constant times its length.
	budget int
	// inflated bounds what compressed text may become, over the whole file.
	inflated int
}

const (
	budgetFactor  = 8
	budgetFloor   = 64 << 10
	inflateBudget = 4 << 20
	maxDepth      = 8 // of images within metadata, and of boxes beyond a track's
)

func newCanvas(src []byte) *canvas {
	return &canvas{src: src, budget: budgetFactor*len(src) + budgetFloor, inflated: inflateBudget}
}

func (c *canvas) bytes(s span) []byte { return c.src[s.off:s.end] }

// spend takes n bytes off the budget.
func (c *canvas) spend(s span) error {
	c.budget -= s.size() + 1
	if c.budget < 0 {
		return malformed(s.off)
	}
	return nil
}

func (c *canvas) copied() []byte {
	if c.out == nil {
		c.out = slices.Clone(c.src)
	}
	return c.out
}

func (c *canvas) current() []byte {
	if c.out != nil {
		return c.out
	}
	return c.src
}

func (c *canvas) fill(s span, with byte) {
	if filled(c.current()[s.off:s.end], with) {
		return
	}
	b := c.copied()[s.off:s.end]
	for i := range b {
		b[i] = with
	}
}

func (c *canvas) zero(s span) { c.fill(s, 0) }

func (c *canvas) put(off int, b []byte) {
	if string(c.current()[off:off+len(b)]) != string(b) {
		copy(c.copied()[off:], b)
	}
}

// cut takes a span out of the file; only where no offset points past it.
func (c *canvas) cut(s span) {
	if s.size() > 0 {
		c.cuts = append(c.cuts, s)
	}
}

// changed tells whether the span differs from the original.
func (c *canvas) changed(s span) bool {
	return c.out != nil && string(c.out[s.off:s.end]) != string(c.src[s.off:s.end])
}

// result is the original where nothing was edited, else the copy without its cuts.
func (c *canvas) result() []byte {
	if c.out == nil && len(c.cuts) == 0 {
		return c.src
	}
	slices.SortFunc(c.cuts, func(a, b span) int { return a.off - b.off })
	from, kept, done := c.current(), make([]byte, 0, len(c.src)), 0
	for _, s := range c.cuts {
		kept = append(kept, from[done:s.off]...)
		done = s.end
	}
	return append(kept, from[done:]...)
}

// A mark remembers how far cuts had come, so that an attempt on a trailing part can be given up.
type mark int

func (c *canvas) mark() mark    { return mark(len(c.cuts)) }
func (c *canvas) unmark(m mark) { c.cuts = c.cuts[:m] }
