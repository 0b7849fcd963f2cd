package media

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
)

const maxXMPDepth = 64

// xmp blanks with spaces, within a packet of XMP (ISO 16684-1), the properties that tell a place, as attributes and as
// elements. A packet that is no plain UTF-8 XML is blanked as a whole.
func (c *canvas) xmp(s span) error {
	if err := c.spend(s); err != nil {
		return err
	}
	packet := bytes.TrimRight(c.bytes(s), "\x00")
	s.end = s.off + len(packet)
	blanks, ok := xmpBlanks(packet)
	if !ok {
		c.fill(s, ' ')
		return nil
	}
	for _, b := range blanks {
		c.fill(s.part(b.off, b.end), ' ')
	}
	return nil
}

// xmpBlanks lists what has to go; not ok means all of it.
func xmpBlanks(packet []byte) (blanks []span, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(packet))
	var open []xml.Name
	goneFrom, goneDepth := 0, 0 // of the element that is being blanked
	for {
		start := int(d.InputOffset())
		t, err := d.RawToken()
		if err != nil {
			return blanks, errors.Is(err, io.EOF) && len(open) == 0
		}
		here := span{start, int(d.InputOffset())}
		switch t := t.(type) {
		case xml.StartElement:
			if open = append(open, t.Name); len(open) > maxXMPDepth {
				return nil, false
			}
			switch {
			case goneDepth > 0:
			case namesPlace(t.Name.Local):
				goneFrom, goneDepth = start, len(open)
			case t.Name.Space != "rdf" && slices.ContainsFunc(t.Attr, func(a xml.Attr) bool {
				return a.Name.Space != "xmlns" && a.Name.Local != "xmlns" && tellsPlace([]byte(a.Value))
			}):
				// <Item name="Latitude" value="…"/>: what one attribute names, another holds.
				goneFrom, goneDepth = start, len(open)
			default:
				if blanks, ok = xmpAttributes(packet, here, len(t.Attr), blanks); !ok {
					return nil, false
				}
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != t.Name {
				return nil, false
			}
			if len(open) == goneDepth {
				blanks, goneDepth = append(blanks, span{goneFrom, here.end}), 0
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if goneDepth == 0 && (holdsImage(t) || tellsPlace(t)) {
				blanks = append(blanks, here)
			}
		case xml.Comment:
			if tellsPlace(t) {
				blanks = append(blanks, here)
			}
		case xml.ProcInst:
			if tellsPlace(t.Inst) {
				return nil, false
			}
		default: // A document type may define entities.
			return nil, false
		}
	}
}

// xmpAttributes lists the attributes of a start tag that have to go. The decoder has found the tag well formed; want is
// how many attributes it saw, and another count here means that we and it disagree.
func xmpAttributes(packet []byte, tag span, want int, blanks []span) ([]span, bool) {
	const space = " \t\r\n"
	i := tag.off + 1 + bytes.IndexAny(packet[tag.off+1:tag.end], space+"/>")
	for ; ; want-- {
		for i < tag.end && bytes.IndexByte([]byte(space), packet[i]) >= 0 {
			i++
		}
		if i >= tag.end || packet[i] == '/' || packet[i] == '>' {
			return blanks, want == 0
		}
		rest := packet[i:tag.end]
		equals := bytes.IndexByte(rest, '=')
		if equals < 0 {
			return nil, false
		}
		open := equals + 1
		for open < len(rest) && bytes.IndexByte([]byte(space), rest[open]) >= 0 {
			open++
		}
		if open >= len(rest) || rest[open] != '"' && rest[open] != '\'' {
			return nil, false
		}
		length := bytes.IndexByte(rest[open+1:], rest[open])
		if length < 0 {
			return nil, false
		}
		name, value := string(bytes.TrimRight(rest[:equals], space)), rest[open+1:open+1+length]
		end := i + open + 1 + length + 1
		if name != "xmlns" && !bytes.HasPrefix(rest, []byte("xmlns:")) &&
			(namesPlace(name) || holdsImage(value) || tellsPlace(value)) {
			blanks = append(blanks, span{i, end})
		}
		i = end
	}
}
