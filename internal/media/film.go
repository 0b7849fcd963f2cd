package media

import "slices"

// A film is a file of boxes: MP4, MOV, 3GP, HEIF. Offsets in it count from its start, which is not that of the whole
// file where the film follows a photo.
type film struct {
	c          *canvas
	at         span
	data       []span // bodies of mdat, in order
	fragmented bool
	found      bool // moov or meta
}

// Top-level boxes that hold no metadata, and those that are looked into; a box that is cut short and of another kind
// is no box but what somebody appended.
var filmKept = map[string]bool{
	"ftyp": true, "styp": true, "mdat": true, "wide": true, "pdin": true, "sidx": true, "ssix": true, "prft": true,
	"mfra": true, "moov": true, "moof": true, "meta": true, "udta": true, "free": true, "skip": true, "uuid": true,
	"mpvd": true, "pnot": true, "PICT": true,
}

// filmFile cleans a film in place and cuts off what is no box behind it.
func (c *canvas) filmFile(s span) error {
	end, err := c.film(s, 0)
	if err != nil {
		return err
	}
	c.cut(span{end, s.end})
	return nil
}

// trailingFilm cleans the film of a motion photo.
func (c *canvas) trailingFilm(s span) (int, error) {
	if Sniff(c.bytes(s)) != QuickTime {
		return 0, unsupported(s.off)
	}
	return c.film(s, 1)
}

func (c *canvas) film(s span, depth int) (end int, err error) {
	if depth > maxDepth {
		return 0, malformed(s.off)
	}
	f := &film{c: c, at: s}
	var boxes []box
	for end = s.off; end < s.end; {
		b, ok := c.nextBox(span{end, s.end}, true)
		if !ok {
			if filmKept[b.kind] || !f.found {
				return 0, malformed(end)
			}
			break
		}
		if err := c.spend(b.at); err != nil {
			return 0, err
		}
		switch b.kind {
		case "mdat":
			f.data = append(f.data, b.body)
		case "moof":
			f.fragmented = true
		case "moov", "meta":
			f.found = true
		}
		boxes = append(boxes, b)
		end = b.at.end
	}
	if !f.found {
		return 0, malformed(s.off)
	}
	for _, b := range boxes {
		if err := f.top(b, depth); err != nil {
			return 0, err
		}
	}
	return end, nil
}

func (f *film) top(b box, depth int) error {
	c := f.c
	switch b.kind {
	case "moov":
		return f.movie(b)
	case "meta":
		return f.meta(b)
	case "moof":
		return f.fragment(b)
	case "udta":
		return c.orFree(f.userData)(b)
	case "uuid":
		return c.uuid(b)
	case "mpvd": // the film of a motion photo in HEIC
		return c.orFree(func(b box) error {
			end, err := c.film(b.body, depth+1)
			if err == nil {
				c.zero(span{end, b.body.end})
			}
			return err
		})(b)
	case "free", "skip": // where editors leave what they took out
		c.zero(b.body)
		return nil
	}
	if !filmKept[b.kind] || b.kind == "PICT" {
		return c.free(b)
	}
	return nil
}

// fragment cleans a movie fragment.
func (f *film) fragment(b box) error {
	return f.c.known(b.body, 1, map[string]func(box) error{"mfhd": nil, "traf": func(b box) error {
		return f.c.known(b.body, 2, map[string]func(box) error{
			"tfhd": nil, "tfdt": nil, "trun": nil, "sbgp": nil, "sgpd": nil, "subs": nil, "saiz": nil, "saio": nil,
			"senc": nil,
		})
	}})
}

// held finds the data of a film that holds a span; a span elsewhere would be a structure that pretends to be data.
func (f *film) held(s span) bool {
	i, _ := slices.BinarySearchFunc(f.data, s.off, func(d span, off int) int {
		if d.end <= off {
			return -1
		}
		return 1
	})
	return i < len(f.data) && s.within(f.data[i])
}

// Items of user data (QuickTime File Format; 3GPP TS 26.244) that are kept where their text tells no place. Others go:
// ©xyz and loci are places, and what cameras add of their own often is.
var userDataKept = map[string]bool{
	"\xa9nam": true, "\xa9too": true, "\xa9swr": true, "\xa9day": true, "\xa9mak": true, "\xa9mod": true,
	"\xa9cmt": true, "\xa9enc": true, "\xa9fmt": true, "\xa9inf": true, "\xa9cpy": true, "\xa9ART": true, "\xa9alb": true,
	"titl": true, "auth": true, "cprt": true, "perf": true, "yrrc": true, "dscp": true, "gnre": true, "albm": true,
	"hnti": true, "hinf": true, "hint": true, "name": true, "WLOC": true, "AllF": true, "SelO": true, "LOOP": true,
	"chpl": true, "tsel": true, "kind": true, "strk": true, "ludt": true, "free": true,
}

func (f *film) userData(b box) error {
	return f.c.children(b.body, 2, func(b box) error {
		if b.kind == "meta" {
			return f.c.orFree(f.meta)(b)
		}
		if err := f.c.spend(b.body); err != nil {
			return err
		}
		if !userDataKept[b.kind] || b.kind == "free" || tellsPlace(f.c.bytes(b.body)) {
			return f.c.free(b)
		}
		return nil
	})
}
