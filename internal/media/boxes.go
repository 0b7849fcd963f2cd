package media

import "encoding/binary"

// A box of ISO/IEC 14496-12, or an atom of QuickTime.
type box struct {
	kind string
	at   span // all of it
	body span // what stands behind its size and kind
}

// nextBox reads the box at the start of s; last says that it may reach to the end without saying so. Not ok: it does
// not fit.
func (c *canvas) nextBox(s span, last bool) (b box, ok bool) {
	if s.size() < 8 {
		return box{}, false
	}
	head, size := 8, uint64(binary.BigEndian.Uint32(c.src[s.off:]))
	b.kind = string(c.src[s.off+4 : s.off+8])
	switch {
	case size == 1 && s.size() >= 16:
		head, size = 16, binary.BigEndian.Uint64(c.src[s.off+8:])
	case size == 0 && last:
		size = uint64(s.size())
	}
	if size < uint64(head) || size > uint64(s.size()) {
		return b, false
	}
	b.at = s.part(0, int(size))
	b.body = b.at.from(head)
	return b, true
}

// children calls f for each box within a body. The four zero bytes that QuickTime ends a list with are allowed.
func (c *canvas) children(s span, depth int, f func(box) error) error {
	if depth > maxDepth {
		return malformed(s.off)
	}
	for s.size() > 0 {
		b, ok := c.nextBox(s, false)
		if !ok {
			if s.size() <= 8 && zeroed(c.bytes(s)) {
				return nil
			}
			return malformed(s.off)
		}
		if err := c.spend(span{b.at.off, b.body.off}); err != nil {
			return err
		}
		if err := f(b); err != nil {
			return err
		}
		s.off = b.at.end
	}
	return nil
}

// free empties a box and makes it free space, so that whatever stands behind it stays where it is.
func (c *canvas) free(b box) error {
	c.put(b.at.off+4, []byte("free"))
	c.zero(b.body)
	return c.spend(b.body)
}

// known frees the children of a kind that is not among those given, and calls f for the others where there is one.
func (c *canvas) known(s span, depth int, kinds map[string]func(box) error) error {
	return c.children(s, depth, func(b box) error {
		f, ok := kinds[b.kind]
		switch {
		case ok && f != nil:
			return f(b)
		case ok:
			return nil
		case b.kind == "uuid":
			return c.uuid(b)
		}
		return c.free(b)
	})
}

// orFree frees a box that f cannot read, unless the budget is spent.
func (c *canvas) orFree(f func(box) error) func(box) error {
	return func(b box) error {
		err := f(b)
		if err == nil || c.budget < 0 {
			return err
		}
		return c.free(b)
	}
}

// Boxes whose kind is a UUID: XMP (ISO 16684-3), and the projection of a spherical video.
const (
	uuidXMP       = "\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac"
	uuidSpherical = "\xff\xcc\x82\x63\xf8\x55\x4a\x93\x88\x14\x58\x7a\x02\x52\x1f\xdd"
)

func (c *canvas) uuid(b box) error {
	if b.body.size() >= 16 {
		switch string(c.src[b.body.off : b.body.off+16]) {
		case uuidXMP, uuidSpherical:
			return c.xmp(b.body.from(16))
		}
	}
	return c.free(b)
}

// A reader reads numbers off a body; after the first that is not there all are zero and bad is set.
type reader struct {
	c   *canvas
	s   span
	bad bool
}

func (r *reader) number(bytes int) uint64 {
	if r.bad || r.s.size() < bytes {
		r.bad = true
		return 0
	}
	var n uint64
	for _, b := range r.c.src[r.s.off : r.s.off+bytes] {
		n = n<<8 | uint64(b)
	}
	r.s.off += bytes
	return n
}

func (r *reader) u32() int { return int(r.number(4)) }

// text reads up to a zero byte, or to the end.
func (r *reader) text() string {
	b := r.c.bytes(r.s)
	for i, x := range b {
		if x == 0 {
			r.s.off += i + 1
			return string(b[:i])
		}
	}
	r.s.off = r.s.end
	return string(b)
}

// place is the span of size bytes at an offset from a base, or not ok.
func place(base span, off, size uint64) (span, bool) {
	if size > uint64(base.size()) || off > uint64(base.size())-size {
		return span{}, false
	}
	return base.part(int(off), int(off+size)), true
}
