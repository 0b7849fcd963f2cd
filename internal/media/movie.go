package media

import "bytes"

// movie cleans moov.
func (f *film) movie(b box) error {
	c := f.c
	var tracks []box
	err := c.known(b.body, 1, map[string]func(box) error{
		"mvhd": nil, "iods": nil, "clip": nil, "ctab": nil, "pssh": nil, "trex": nil,
		"mvex": func(box) error { f.fragmented = true; return nil },
		"cmov": func(b box) error { return unsupported(b.at.off) }, // compressed
		"rmra": func(b box) error { return unsupported(b.at.off) }, // a reference to another film
		"udta": c.orFree(f.userData), "meta": c.orFree(f.meta),
		"trak": func(b box) error { tracks = append(tracks, b); return nil },
	})
	for _, t := range tracks {
		if err == nil {
			err = f.track(t)
		}
	}
	return err
}

// Kinds of tracks by their handler. Metadata that runs along with the film (camm, gpmd, mebx and the like) is none of
// them and goes, with its samples.
const (
	trackGone = iota
	trackKept
	trackText // kept where no sample tells a place: drones write subtitles of coordinates
)

var handlers = map[string]int{
	"vide": trackKept, "soun": trackKept, "auxv": trackKept, "pict": trackKept, "tmcd": trackKept, "hint": trackKept,
	"text": trackText, "sbtl": trackText, "subt": trackText, "clcp": trackText,
}

// A sampleTable is what says where a track's samples stand.
type sampleTable struct {
	handler                     string
	sizes, compact, runs        span
	chunks, wideChunks, entries span
}

func (f *film) track(b box) error {
	c := f.c
	var t sampleTable
	body := func(s *span) func(box) error {
		return func(b box) error { *s = b.body; return c.spend(b.body) }
	}
	table := map[string]func(box) error{
		"stsd": body(&t.entries), "stsz": body(&t.sizes), "stz2": body(&t.compact), "stsc": body(&t.runs),
		"stco": body(&t.chunks), "co64": body(&t.wideChunks),
		"stts": nil, "ctts": nil, "cslg": nil, "stss": nil, "stps": nil, "padb": nil, "stdp": nil, "stsh": nil,
		"sdtp": nil, "sbgp": nil, "sgpd": nil, "subs": nil, "saiz": nil, "saio": nil, "senc": nil,
	}
	information := map[string]func(box) error{
		"vmhd": nil, "smhd": nil, "hmhd": nil, "nmhd": nil, "sthd": nil, "gmhd": nil, "hdlr": nil, "dinf": nil,
		"stbl": func(b box) error { return c.known(b.body, 4, table) },
	}
	inMedia := map[string]func(box) error{
		"mdhd": nil, "elng": nil, "udta": c.orFree(f.userData),
		"hdlr": func(b box) error {
			if b.body.size() < 12 || t.handler != "" {
				return malformed(b.at.off)
			}
			t.handler = string(c.src[b.body.off+8 : b.body.off+12])
			return nil
		},
		"minf": func(b box) error { return c.known(b.body, 3, information) },
	}
	if err := c.known(b.body, 2, map[string]func(box) error{
		"tkhd": nil, "edts": nil, "tref": nil, "tapt": nil, "load": nil, "imap": nil, "clip": nil, "matt": nil,
		"txas": nil, "trgr": nil, "udta": c.orFree(f.userData), "meta": c.orFree(f.meta),
		"mdia": func(b box) error { return c.known(b.body, 2, inMedia) },
	}); err != nil {
		return err
	}
	if t.handler == "" {
		return malformed(b.at.off)
	}
	kind := handlers[t.handler]
	if kind == trackKept {
		return f.chunksHeld(t)
	}
	if f.fragmented { // The samples are in fragments, whose tables are not read here.
		return unsupported(b.at.off)
	}
	samples, err := f.samples(t)
	if err != nil {
		return err
	}
	if kind == trackText && !tellsPlace(c.bytes(t.entries)) {
		told := false
		for _, s := range samples {
			told = told || tellsPlace(c.bytes(s))
		}
		if !told {
			return nil
		}
	}
	for _, s := range samples {
		c.zero(s)
	}
	return c.free(b)
}

// chunkOffsets calls do with the number of each chunk, from 0, and its place in the film.
func (f *film) chunkOffsets(t sampleTable, do func(i int, off uint64) error) error {
	s, wide := t.chunks, 4
	if t.wideChunks.size() > 0 {
		s, wide = t.wideChunks, 8
	}
	if s.size() == 0 {
		return nil
	}
	r := reader{c: f.c, s: s}
	r.number(4)
	n := r.u32()
	if r.bad || n > r.s.size()/wide {
		return malformed(s.off)
	}
	for i := range n {
		if err := do(i, r.number(wide)); err != nil {
			return err
		}
	}
	return nil
}

// chunksHeld checks that each chunk begins in the film's data: a film that was cut short does not pass.
func (f *film) chunksHeld(t sampleTable) error {
	return f.chunkOffsets(t, func(_ int, off uint64) error {
		s, ok := place(f.at, off, 0)
		if !ok || !f.held(s) {
			return malformed(f.at.off)
		}
		return nil
	})
}

// samples lists where a track's samples stand, chunk by chunk.
func (f *film) samples(t sampleTable) ([]span, error) {
	size, err := f.sizes(t)
	if err != nil {
		return nil, err
	}
	runs := reader{c: f.c, s: t.runs}
	runs.number(4)
	left := runs.u32()
	perChunk, nextRun := 0, 0
	readRun := func() { // first chunk, samples per chunk, description
		nextRun = -1
		if left--; left >= 0 {
			nextRun = runs.u32() - 1
		}
	}
	readRun()
	var out []span
	err = f.chunkOffsets(t, func(i int, off uint64) error {
		for i == nextRun {
			perChunk = runs.u32()
			runs.number(4)
			readRun()
		}
		total, err := size(perChunk)
		if err != nil || runs.bad {
			return malformed(t.runs.off)
		}
		s, ok := place(f.at, off, total)
		if !ok || !f.held(s) {
			return malformed(f.at.off)
		}
		out = append(out, s)
		return f.c.spend(s)
	})
	return out, err
}

// sizes returns a function that sums the sizes of the next n samples.
func (f *film) sizes(t sampleTable) (func(n int) (uint64, error), error) {
	r, wide, each := reader{c: f.c, s: t.sizes}, 32, uint64(0)
	r.number(4)
	each = r.number(4)
	if t.compact.size() > 0 {
		r = reader{c: f.c, s: t.compact}
		r.number(4)
		wide, each = r.u32()&0xff, 0
	}
	count := r.u32()
	if r.bad || wide != 32 && wide != 16 && wide != 8 {
		return nil, malformed(t.sizes.off)
	}
	if each == 0 && count > r.s.size()/(wide/8) {
		return nil, malformed(t.sizes.off)
	}
	return func(n int) (total uint64, err error) {
		if n > count {
			return 0, malformed(t.sizes.off)
		}
		count -= n
		if each > 0 {
			return each * uint64(n), nil
		}
		for range n {
			total += r.number(wide / 8)
		}
		return total, nil
	}, nil
}

const boxXML = "xml "

// meta cleans a meta box: tags of a film, or the items of an image. QuickTime's has no version; it begins with hdlr.
func (f *film) meta(b box) error {
	c := f.c
	s := b.body
	if s.size() < 8 || string(c.src[s.off+4:s.off+8]) != "hdlr" {
		if s.size() < 4 {
			return malformed(s.off)
		}
		s = s.from(4)
	}
	var keys []string
	var list, info, location box
	var store span
	keep := func(into *box) func(box) error {
		return func(b box) error {
			if into.kind != "" {
				return malformed(b.at.off)
			}
			*into = b
			return c.spend(b.body)
		}
	}
	if err := c.known(s, 2, map[string]func(box) error{
		"hdlr": nil, "pitm": nil, "iref": nil, "dinf": nil, "grpl": nil, "ipro": nil,
		"iprp": f.properties,
		"keys": func(b box) (err error) { keys, err = f.keys(b); return err },
		"ilst": keep(&list), "iinf": keep(&info), "iloc": keep(&location),
		"idat": func(b box) error { store = b.body; return nil },
		boxXML: func(b box) error { return c.xmp(b.body.from(min(4, b.body.size()))) },
	}); err != nil {
		return err
	}
	if info.kind != "" || location.kind != "" {
		return f.items(info, location, store)
	}
	if list.kind == "" {
		return nil
	}
	return c.children(list.body, 3, func(b box) error { return f.tag(b, keys) })
}

// keys reads the names that the items of a list refer to by number.
func (f *film) keys(b box) ([]string, error) {
	if b.body.size() < 8 {
		return nil, malformed(b.body.off)
	}
	var out []string
	err := f.c.children(b.body.from(8), 3, func(b box) error {
		out = append(out, string(f.c.bytes(b.body)))
		return f.c.spend(b.body)
	})
	return out, err
}

// tag decides on one item of a list of tags.
func (f *film) tag(b box, keys []string) error {
	c := f.c
	name := b.kind
	if r := (reader{c: c, s: b.at.from(4)}); keys != nil {
		if i := r.u32(); i >= 1 && i <= len(keys) {
			name = keys[i-1]
		}
	}
	if err := c.spend(b.body); err != nil {
		return err
	}
	switch {
	case name == "free", name == "\xa9xyz", namesPlace(name):
		return c.free(b)
	case name == "covr":
		return c.orFree(func(b box) error {
			return c.children(b.body, 4, func(b box) error {
				if b.kind != "data" || b.body.size() < 8 {
					return c.free(b)
				}
				return c.picture(b.body.from(8), 1)
			})
		})(b)
	case name == "----" && bytes.Contains(c.bytes(b.body), []byte("iTunSMPB")):
		return nil
	case tellsPlace(c.bytes(b.body)):
		return c.free(b)
	}
	return nil
}
