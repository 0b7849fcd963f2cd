package media

import (
	"bytes"
	"encoding/binary"
)

const (
	maxIFDs    = 256
	entrySize  = 12
	tiffHeader = 8
)

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// A tiffEdit walks the directories (IFDs) of one TIFF structure and takes entries out of them in place: the later
// entries move up, and what is freed is zero. Offsets are relative to the structure's start.
type tiffEdit struct {
	c     *canvas
	at    span
	order byteOrder
	depth int
	// block tells metadata from an image file. In a block all bytes that no kept entry claims are zeroed, for there
	// the remains of a vendor's note or of an earlier edit stand; and a directory that cannot be read is dropped. In a
	// file they may be pixels that a vendor's entry points at, and what cannot be read is an error.
	block bool
	queue []link
	seen  map[uint32]bool
	dirs  []span // directories as they will be
	kept  []span // values of kept entries
	image []span // pixels
	gone  []span // what was taken out
}

// exif cleans a block of Exif, with or without the prefix Exif\0\0. One that cannot be read is zeroed.
func (c *canvas) exif(s span, depth int) error {
	at := s
	if bytes.HasPrefix(c.bytes(at), []byte("Exif\x00")) && at.size() >= 6 {
		at = at.from(6)
	}
	if zeroed(c.bytes(at)) {
		return nil
	}
	if err := c.tiff(at, depth+1, true); err != nil {
		if c.budget < 0 {
			return err
		}
		c.zero(s)
	}
	return nil
}

// tiff cleans the TIFF structure of a block of metadata, or of a file.
func (c *canvas) tiff(s span, depth int, block bool) error {
	if depth > maxDepth || s.size() < tiffHeader {
		return malformed(s.off)
	}
	if err := c.spend(s); err != nil {
		return err
	}
	t := &tiffEdit{c: c, at: s, depth: depth, block: block, seen: map[uint32]bool{}}
	switch string(c.bytes(s)[:4]) {
	case "II*\x00":
		t.order = binary.LittleEndian
	case "MM\x00*":
		t.order = binary.BigEndian
	default:
		return unsupported(s.off)
	}
	first := t.order.Uint32(c.src[s.off+4:])
	if !t.follow(first, false) {
		return malformed(s.off + 4)
	}
	for len(t.queue) > 0 {
		dir := t.queue[0]
		t.queue = t.queue[1:]
		if err := t.directory(dir); err != nil {
			return err
		}
	}
	return t.finish()
}

// table is the span of a directory at an offset: its count, its entries and, where there is room, the next pointer.
func (t *tiffEdit) table(off uint32) (dir span, entries int, ok bool) {
	if int64(off) < tiffHeader || int64(off)+2 > int64(t.at.size()) {
		return span{}, 0, false
	}
	start := t.at.off + int(off)
	entries = int(t.order.Uint16(t.c.src[start:]))
	end := start + 2 + entries*entrySize
	if end > t.at.end {
		return span{}, 0, false
	}
	return span{start, min(end+4, t.at.end)}, entries, true
}

// A link leads to a directory. One that an entry names as Exif or the like is a leaf: what follows its entries is no
// pointer in every file, but the first value.
type link struct {
	off  uint32
	leaf bool
}

// follow queues a directory; false says that none can be there, or that the chain loops.
func (t *tiffEdit) follow(off uint32, leaf bool) bool {
	if _, _, ok := t.table(off); !ok || t.seen[off] || len(t.seen) >= maxIFDs {
		return false
	}
	t.seen[off] = true
	t.queue = append(t.queue, link{off, leaf})
	return true
}

// An entry is one field of a directory; value is where its value stands, in the entry itself up to four bytes.
type entry struct {
	raw   []byte
	tag   uint16
	typ   uint16
	value span
	gone  bool
}

func (e *entry) inline() bool { return e.value.size() <= 4 }

// entry reads the field that starts at off; not ok says that its value is nowhere in the structure.
func (t *tiffEdit) entry(off int) (entry, bool) {
	raw := t.c.src[off : off+entrySize]
	e := entry{raw: raw, tag: t.order.Uint16(raw), typ: t.order.Uint16(raw[2:])}
	size := uint64(tiffSize(e.typ)) * uint64(t.order.Uint32(raw[4:]))
	if tiffSize(e.typ) == 0 {
		return e, false
	}
	start := uint64(off) + 8
	if size > 4 {
		start = uint64(t.at.off) + uint64(t.order.Uint32(raw[8:]))
		if start+size > uint64(t.at.end) {
			return e, false
		}
	}
	e.value = span{int(start), int(start + size)}
	return e, true
}

// integers reads the values of a field of offsets or lengths.
func (t *tiffEdit) integers(e *entry) ([]uint32, error) {
	if err := t.c.spend(e.value); err != nil {
		return nil, err
	}
	b := t.c.bytes(e.value)
	out := make([]uint32, 0, len(b)/2)
	switch e.typ {
	case typeShort:
		for ; len(b) >= 2; b = b[2:] {
			out = append(out, uint32(t.order.Uint16(b)))
		}
	case typeLong, typeIFD:
		for ; len(b) >= 4; b = b[4:] {
			out = append(out, t.order.Uint32(b))
		}
	}
	return out, nil
}

func (t *tiffEdit) directory(at link) error {
	dir, n, _ := t.table(at.off)
	if at.leaf {
		dir.end = dir.off + 2 + n*entrySize
	}
	if err := t.c.spend(dir); err != nil {
		return err
	}
	entries := make([]entry, n)
	for i := range entries {
		e, ok := t.entry(dir.off + 2 + i*entrySize)
		e.gone = !ok
		entries[i] = e
	}
	for i := range entries {
		if e := &entries[i]; !e.gone {
			if err := t.field(e); err != nil {
				return err
			}
		}
	}
	for _, p := range [][2]uint16{
		{tagThumbnail, tagThumbnailLength}, {tagStripOffsets, tagStripByteCounts}, {tagTileOffsets, tagTileByteCounts},
	} {
		if err := t.pictures(entries, p); err != nil {
			return err
		}
	}
	return t.rewrite(dir, entries)
}

// field decides on one entry.
func (t *tiffEdit) field(e *entry) error {
	c := t.c
	switch {
	case e.tag == tagGPS:
		e.gone = true
		return t.dropDirectories(e)
	case tagsGone[e.tag]:
		e.gone = true
	case t.block && !tagKnown(e.tag) && !e.inline() && e.typ != typeASCII && e.typ != typeUTF8:
		e.gone = true
	case e.tag == tagExif, e.tag == tagInterop, e.tag == tagSubIFDs, e.tag == tagGlobalIFD:
		offs, err := t.integers(e)
		if err != nil {
			return err
		}
		for _, off := range offs {
			if !t.follow(off, e.tag != tagSubIFDs) {
				if !t.block {
					return malformed(e.value.off)
				}
				e.gone = true
			}
		}
	case e.tag == tagXMP:
		return c.xmp(e.value)
	case e.tag == tagIPTC:
		return c.iim(e.value, t.depth)
	case e.tag == tagPhotoshop:
		return c.resources(e.value, t.depth)
	case e.tag == tagICC, e.inline():
	case e.typ == typeASCII, e.typ == typeUTF8, e.typ == typeByte, e.typ == typeUndefined, e.typ == typeSByte:
		if err := c.spend(e.value); err != nil {
			return err
		}
		if bytes.HasPrefix(c.bytes(e.value), []byte("\xff\xd8")) {
			return c.picture(e.value, t.depth)
		}
		e.gone = tellsPlace(c.bytes(e.value))
	}
	return nil
}

// dropDirectories marks the directories that a GPS entry points at, and their values.
func (t *tiffEdit) dropDirectories(e *entry) error {
	offs, err := t.integers(e)
	if err != nil {
		return err
	}
	for _, off := range offs {
		dir, n, ok := t.table(off)
		if !ok {
			if t.block {
				continue
			}
			return malformed(e.value.off)
		}
		if err := t.c.spend(dir); err != nil {
			return err
		}
		t.gone = append(t.gone, span{dir.off, dir.off + 2 + n*entrySize})
		for i := range n {
			if v, ok := t.entry(dir.off + 2 + i*entrySize); ok && !v.inline() {
				t.gone = append(t.gone, v.value)
			}
		}
	}
	return nil
}
