package media

import (
	"bytes"
	"encoding/binary"
)

// Markers of ITU-T T.81 and the identifiers of segments.
const (
	markerTEM  = 0x01
	markerRST0 = 0xd0
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerAPP0 = 0xe0
	markerCOM  = 0xfe

	idExif        = "Exif\x00"
	idXMP         = "http://ns.adobe.com/xap/1.0/\x00"
	idXMPMore     = "http://ns.adobe.com/xmp/extension/\x00"
	idMPF         = "MPF\x00"
	idPhotoshop   = "Photoshop 3.0\x00"
	idJFXX        = "JFXX\x00"
	xmpMoreHeader = len(idXMPMore) + 32 + 4 + 4 // digest, full length, offset
)

// Segments that decide how the pixels look, and hold nothing else: size and density, colour profile, gain map
// parameters (ISO 21496-1), colour transform, quality.
var jpegKept = []struct {
	marker byte
	id     string
}{
	{markerAPP0, "JFIF\x00"},
	{markerAPP0 + 2, "ICC_PROFILE\x00"},
	{markerAPP0 + 2, "urn:iso:std:iso:ts:21496:-1\x00"},
	{markerAPP0 + 12, "Ducky"},
	{markerAPP0 + 13, "Adobe_CM"},
	{markerAPP0 + 14, "Adobe"},
}

// jpegFile cleans a photo and what stands behind its end: further JPEGs (MPF, gain maps) and one film (motion photo)
// are cleaned like files of their own, zero bytes stay, and from the first byte of anything else the rest is cut off.
// Every edit before that keeps its length, so that the offsets of MPF and of the containers in XMP stay right.
func (c *canvas) jpegFile(s span) error {
	end, err := c.jpeg(s, 0)
	if err != nil {
		return err
	}
	for rest := s.from(end - s.off); rest.size() > 0; {
		for rest.off < rest.end && c.src[rest.off] == 0 && Sniff(c.bytes(rest)) == None {
			rest.off++
		}
		if rest.size() == 0 {
			return nil
		}
		undo := c.mark()
		if Sniff(c.bytes(rest)) == JPEG {
			end, err = c.jpeg(rest, 1)
		} else {
			end, err = c.trailingFilm(rest)
		}
		if err != nil {
			c.unmark(undo)
			c.cut(rest)
			return c.spend(span{})
		}
		rest.off = end
	}
	return nil
}

// jpeg cleans one image in place, and returns where it ends.
func (c *canvas) jpeg(s span, depth int) (end int, err error) {
	if depth > maxDepth || s.size() < 4 || c.src[s.off] != 0xff || c.src[s.off+1] != markerSOI {
		return 0, malformed(s.off)
	}
	var more []span // the segments of extended XMP
	scans := 0
	for i := s.off + 2; ; {
		if i+2 > s.end || c.src[i] != 0xff {
			return 0, malformed(i)
		}
		marker := c.src[i+1]
		switch {
		case marker == 0xff: // fill byte
			i++
			continue
		case marker == markerEOI:
			if depth == 0 && scans == 0 {
				return 0, malformed(i)
			}
			c.extendedXMP(more)
			return i + 2, nil
		case marker == markerTEM:
			i += 2
			continue
		case marker == 0, marker >= markerRST0 && marker <= markerSOI:
			return 0, malformed(i)
		}
		if i+4 > s.end {
			return 0, malformed(i)
		}
		n := int(binary.BigEndian.Uint16(c.src[i+2:]))
		if n < 2 || i+2+n > s.end {
			return 0, malformed(i + 2)
		}
		payload := span{i + 4, i + 2 + n}
		if err := c.spend(payload); err != nil {
			return 0, err
		}
		i = payload.end
		switch {
		case marker == markerSOS:
			if scans++; len(c.src[i:s.end]) == 0 {
				return 0, malformed(i)
			}
			if i, err = c.entropy(span{i, s.end}); err != nil {
				return 0, err
			}
		case marker == markerAPP0+1 && bytes.HasPrefix(c.bytes(payload), []byte(idXMPMore)):
			more = append(more, payload)
		case marker >= markerAPP0 && marker <= markerAPP0+15:
			if err := c.application(marker, payload, depth); err != nil {
				return 0, err
			}
		case marker == markerCOM && tellsPlace(c.bytes(payload)):
			c.zero(payload)
		}
	}
}

// entropy finds the marker that ends a scan.
func (c *canvas) entropy(s span) (int, error) {
	if err := c.spend(s); err != nil {
		return 0, err
	}
	for i := s.off; ; {
		k := bytes.IndexByte(c.src[i:s.end], 0xff)
		if k < 0 || i+k+1 >= s.end {
			return 0, malformed(s.end)
		}
		i += k
		if m := c.src[i+1]; m != 0 && m != 0xff && (m < markerRST0 || m >= markerSOI) {
			return i, nil
		}
		if i++; c.src[i] == 0 {
			i++
		}
	}
}

// application cleans an APPn segment. One that is not known is zeroed: thermal cameras, action cameras and drones keep
// places in theirs.
func (c *canvas) application(marker byte, s span, depth int) error {
	b := c.bytes(s)
	has := func(n byte, id string) bool { return marker == markerAPP0+n && bytes.HasPrefix(b, []byte(id)) }
	for _, k := range jpegKept {
		if marker == k.marker && bytes.HasPrefix(b, []byte(k.id)) {
			return nil
		}
	}
	switch {
	case has(1, idExif):
		return c.exif(s, depth)
	case has(1, idXMP):
		return c.xmp(s.from(len(idXMP)))
	case has(2, idMPF):
		if err := c.tiff(s.from(len(idMPF)), depth+1, true); err == nil {
			return nil
		}
	case has(13, idPhotoshop):
		return c.resources(s.from(len(idPhotoshop)), depth)
	case has(0, idJFXX) && len(b) > 6:
		return c.picture(s.from(6), depth)
	}
	c.zero(s)
	return c.spend(span{})
}

// extendedXMP looks at the segments of extended XMP together, for a property may run across them. Their digest names
// the whole, so they stay as they are or go as a whole.
func (c *canvas) extendedXMP(more []span) {
	if len(more) == 0 {
		return
	}
	var whole []byte
	ok := true
	for _, s := range more {
		b := c.bytes(s)
		if len(b) < xmpMoreHeader ||
			string(b[:xmpMoreHeader-4]) != string(c.bytes(more[0])[:xmpMoreHeader-4]) ||
			int(binary.BigEndian.Uint32(b[xmpMoreHeader-4:])) != len(whole) {
			ok = false
			break
		}
		whole = append(whole, b[xmpMoreHeader:]...)
	}
	if ok {
		blanks, readable := xmpBlanks(whole)
		ok = readable && len(blanks) == 0
	}
	if !ok {
		for _, s := range more {
			c.zero(s)
		}
	}
}
