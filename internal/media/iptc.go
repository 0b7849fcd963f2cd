package media

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Datasets of record 2 that name a place (IPTC-IIM 4.2): content location code and name, city, sub-location, state,
// country code and name.
var iimPlace = map[byte]bool{26: true, 27: true, 90: true, 92: true, 95: true, 100: true, 101: true}

const iimPreview = 202

// iim blanks the datasets that tell a place with spaces, and zeroes what stands after the last whole dataset.
func (c *canvas) iim(s span, depth int) error {
	if err := c.spend(s); err != nil {
		return err
	}
	for s.size() >= 5 && c.src[s.off] == 0x1c {
		record, set := c.src[s.off+1], c.src[s.off+2]
		n, head := int(binary.BigEndian.Uint16(c.src[s.off+3:])), 5
		if n&0x8000 != 0 { // The low bits count the bytes of the length.
			wide := n & 0x7fff
			if wide > 4 || s.size() < 5+wide {
				break
			}
			n, head = 0, 5+wide
			for _, b := range c.src[s.off+5 : s.off+head] {
				n = n<<8 | int(b)
			}
		}
		if n > s.size()-head {
			break
		}
		value := s.part(head, head+n)
		switch b := c.bytes(value); {
		case record == 2 && iimPlace[set]:
			c.fill(value, ' ')
		case record == 2 && set == iimPreview:
			if err := c.picture(value, depth); err != nil {
				return err
			}
		case tellsPlace(b):
			c.fill(value, ' ')
		}
		s = s.from(head + n)
	}
	c.zero(s)
	return nil
}

// Image resources of Photoshop that hold metadata of another kind.
const (
	irbThumbnail4 = 0x0409
	irbThumbnail  = 0x040c
	irbIPTC       = 0x0404
	irbDigest     = 0x0425 // of the IPTC block
	irbExif1      = 0x0422
	irbExif3      = 0x0423
	irbXMP        = 0x0424
)

var irbSignatures = map[string]bool{"8BIM": true, "MeSa": true, "PHUT": true, "AgHg": true, "DCSR": true}

// resources cleans Photoshop's image resource blocks; what cannot be read to its end is zeroed from there. Where the
// IPTC block changes, its digest goes: from the rest and a list of towns it would give the town away.
func (c *canvas) resources(s span, depth int) error {
	var digests, blocks []span
	for s.size() > 0 && !zeroed(c.bytes(s)) {
		if err := c.spend(span{s.off, s.off}); err != nil {
			return err
		}
		b := c.bytes(s)
		if len(b) < 12 || !irbSignatures[string(b[:4])] {
			break
		}
		id := binary.BigEndian.Uint16(b[4:])
		head := 6 + (1+int(b[6])+1)&^1
		if len(b) < head+4 {
			break
		}
		n := int(binary.BigEndian.Uint32(b[head:]))
		head += 4
		if n > len(b)-head {
			break
		}
		value, err := s.part(head, head+n), error(nil)
		switch id {
		case irbDigest:
			digests = append(digests, value)
		case irbIPTC:
			blocks = append(blocks, value)
			err = c.iim(value, depth)
		case irbXMP:
			err = c.xmp(value)
		case irbExif1, irbExif3:
			err = c.exif(value, depth)
		case irbThumbnail, irbThumbnail4:
			if n > 28 {
				err = c.picture(value.from(28), depth)
			}
		}
		if err != nil {
			return err
		}
		s = s.from(min(head+(n+1)&^1, s.size()))
	}
	c.zero(s)
	if slices.ContainsFunc(blocks, c.changed) {
		for _, d := range digests {
			c.zero(d)
		}
	}
	return nil
}

// picture cleans an image within metadata in place. One that cannot be cleaned is zeroed: the photo does without its
// thumbnail. Raw pixels have no metadata.
func (c *canvas) picture(s span, depth int) error {
	if err := c.spend(s); err != nil {
		return err
	}
	if !bytes.HasPrefix(c.bytes(s), []byte("\xff\xd8")) {
		switch Sniff(c.bytes(s)) {
		case None:
		case PNG:
			inner := newCanvas(c.bytes(s))
			if err := inner.png(); err != nil || inner.out != nil || len(inner.cuts) > 0 {
				c.zero(s)
			}
		default:
			c.zero(s)
		}
		return nil
	}
	end, err := c.jpeg(s, depth+1)
	if err != nil {
		c.zero(s)
		return nil
	}
	c.zero(span{end, s.end})
	return nil
}
