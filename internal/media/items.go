package media

import (
	"encoding/binary"
	"math"
)

// Items that are images, or how images are put together (ISO/IEC 23008-12 and the codecs' own). What is neither, nor
// Exif, nor XMP, is zeroed.
var itemsKept = map[string]bool{
	"hvc1": true, "hvc2": true, "lhv1": true, "av01": true, "avc1": true, "vvc1": true, "j2k1": true, "unci": true,
	"mski": true, "grid": true, "iovl": true, "iden": true, "tmap": true, "hvt1": true, "a1op": true, "dimg": true,
	"evc1": true, "rrtp": true,
}

// items cleans the items of an image file in place.
func (f *film) items(info, location box, store span) error {
	where, err := f.locations(location, store)
	if err != nil || info.kind == "" {
		return err
	}
	r := reader{c: f.c, s: info.body}
	if version := r.number(4) >> 24; version == 0 {
		r.number(2)
	} else {
		r.number(4)
	}
	if r.bad {
		return malformed(info.body.off)
	}
	return f.c.children(r.s, 3, func(b box) error {
		if b.kind != "infe" {
			return f.c.free(b)
		}
		r := reader{c: f.c, s: b.body}
		version := r.number(4) >> 24
		id := uint64(0)
		if version == 3 {
			id = r.number(4)
		} else {
			id = r.number(2)
		}
		r.number(2)
		kind, content := "", ""
		if version >= 2 {
			kind = string(binary.BigEndian.AppendUint32(nil, uint32(r.number(4))))
		}
		r.text()
		if kind == "mime" {
			content = r.text()
		}
		if r.bad {
			return malformed(b.body.off)
		}
		return f.item(kind, content, where[id])
	})
}

func (f *film) item(kind, content string, extents []span) error {
	c := f.c
	if itemsKept[kind] {
		return nil
	}
	for _, s := range extents {
		if err := c.spend(s); err != nil {
			return err
		}
	}
	if len(extents) == 1 {
		s := extents[0]
		switch {
		case kind == "Exif" && s.size() > 4:
			// Four bytes say how far behind them the TIFF header stands.
			skip := binary.BigEndian.Uint32(c.bytes(s))
			if int64(skip) > int64(s.size()-4) {
				break
			}
			s = s.from(4)
			if head := s.part(0, int(skip)); string(c.bytes(head)) != "Exif\x00\x00" {
				c.zero(head)
			}
			return c.exif(s.from(int(skip)), 0)
		case kind == "mime" && content == "application/rdf+xml":
			return c.xmp(s)
		case kind == "jpeg":
			end, err := c.jpeg(s, 1)
			if err == nil {
				c.zero(span{end, s.end})
			}
			return err
		}
	}
	if kind == "jpeg" {
		return unsupported(f.at.off)
	}
	for _, s := range extents {
		c.zero(s)
	}
	return nil
}

// locations reads iloc: the extents of each item. An item that is built from another (construction method 2) has none
// of its own.
func (f *film) locations(b box, store span) (map[uint64][]span, error) {
	out := map[uint64][]span{}
	if b.kind == "" {
		return out, nil
	}
	r := reader{c: f.c, s: b.body}
	version := r.number(4) >> 24
	widths := r.number(2)
	width := func(shift int) int { return int(widths >> shift & 15) }
	offsets, lengths, bases, indexes := width(12), width(8), width(4), width(0)
	idWidth := 2
	if version == 2 {
		idWidth = 4
	}
	if version == 0 {
		indexes = 0
	}
	for _, w := range []int{offsets, lengths, bases, indexes} {
		if w > 8 {
			return nil, malformed(b.body.off)
		}
	}
	for range r.number(idWidth) {
		id := r.number(idWidth)
		method := uint64(0)
		if version > 0 {
			method = r.number(2) & 15
		}
		reference := r.number(2)
		base := r.number(bases)
		extents := r.number(2)
		if extents > 1 && offsets+lengths == 0 { // they would cost nothing
			return nil, malformed(b.body.off)
		}
		for range extents {
			r.number(indexes)
			off, n := r.number(offsets), r.number(lengths)
			if r.bad {
				return nil, malformed(b.body.off)
			}
			if method > 1 || reference != 0 {
				continue
			}
			within := f.at
			if method == 1 {
				within = store
			}
			if off > math.MaxInt64/2 || base > math.MaxInt64/2 {
				return nil, malformed(b.body.off)
			}
			if n == 0 && off+base <= uint64(within.size()) {
				n = uint64(within.size()) - off - base
			}
			s, ok := place(within, off+base, n)
			if !ok || method == 0 && !f.held(s) {
				return nil, malformed(b.body.off)
			}
			out[id] = append(out[id], s)
		}
		if r.bad {
			return nil, malformed(b.body.off)
		}
	}
	return out, nil
}

// Properties that place an image on the ground (OGC GeoHEIF).
var propertiesGone = map[string]bool{"tiep": true, "mtxf": true, "mcrs": true}

// properties frees the descriptions that tell a place. A property keeps its number, by which items refer to it.
func (f *film) properties(b box) error {
	c := f.c
	return c.children(b.body, 3, func(b box) error {
		if b.kind != "ipco" {
			return nil
		}
		return c.children(b.body, 4, func(b box) error {
			switch {
			case b.kind == "uuid":
				return c.free(b)
			case propertiesGone[b.kind]:
				return c.free(b)
			case b.kind == "udes", b.kind == "altt":
				if err := c.spend(b.body); err != nil {
					return err
				}
				if tellsPlace(c.bytes(b.body)) {
					return c.free(b)
				}
			}
			return nil
		})
	})
}
