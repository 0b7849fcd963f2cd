package media

import "bytes"

// Introducers and labels of GIF89a.
const (
	gifExtension   = 0x21
	gifImage       = 0x2c
	gifTrailer     = 0x3b
	gifPlainText   = 0x01
	gifControl     = 0xf9
	gifComment     = 0xfe
	gifApplication = 0xff
)

// Applications whose extension says how to show the pixels.
var gifKept = map[string]bool{"NETSCAPE2.0": true, "ANIMEXTS1.0": true, "ICCRGBG1012": true}

// gif cleans the extensions of a GIF; those that are not known are cut, as is what stands behind the trailer.
func (c *canvas) gif() error {
	b := c.src
	if len(b) < 13 {
		return malformed(0)
	}
	i, images := 13+colourTable(b[10]), 0
	for {
		if i >= len(b) {
			return malformed(len(b))
		}
		start := i
		switch b[i] {
		case gifTrailer:
			if images == 0 {
				return malformed(i)
			}
			c.cut(span{i + 1, len(b)})
			return nil
		case gifImage:
			if i+10 > len(b) {
				return malformed(i)
			}
			images++
			_, end, err := c.subBlocks(i + 10 + colourTable(b[i+9]) + 1)
			if err != nil {
				return err
			}
			i = end
		case gifExtension:
			if i+2 > len(b) {
				return malformed(i)
			}
			text, end, err := c.subBlocks(i + 2)
			if err != nil {
				return err
			}
			keep := false
			switch b[i+1] {
			case gifControl:
				keep = true
			case gifComment, gifPlainText:
				keep = !tellsPlace(text)
			case gifApplication:
				if keep = b[i+2] == 11 && gifKept[string(b[i+3:i+14])]; !keep {
					if keep, err = c.gifXMP(span{i + 2, end}); err != nil {
						return err
					}
				}
			}
			if !keep {
				c.cut(span{start, end})
			}
			i = end
		default:
			return malformed(i)
		}
	}
}

func colourTable(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// subBlocks is the content of a chain of data sub-blocks, and where the chain ends.
func (c *canvas) subBlocks(i int) (text []byte, end int, err error) {
	start := i
	for {
		if i >= len(c.src) || i+1+int(c.src[i]) > len(c.src) {
			return nil, 0, malformed(min(i, len(c.src)))
		}
		n := int(c.src[i])
		if n == 0 {
			return text, i + 1, c.spend(span{start, i + 1})
		}
		text = append(text, c.src[i+1:i+1+n]...)
		i += 1 + n
	}
}

// gifXMPTail is what makes a packet that is not cut into sub-blocks readable as a chain of them, wherever the chain
// enters it: 01 FF FE … 01 00 00.
var gifXMPTail = func() []byte {
	out := []byte{1}
	for i := 255; i >= 0; i-- {
		out = append(out, byte(i))
	}
	return append(out, 0)
}()

// gifXMP cleans a packet of XMP in place: blanked with spaces, the chain still ends in the tail. False says that the
// extension is another.
func (c *canvas) gifXMP(s span) (bool, error) {
	b := c.bytes(s)
	head, tail := []byte("\x0bXMP DataXMP"), len(gifXMPTail)
	if !bytes.HasPrefix(b, head) || len(b) < len(head)+tail || !bytes.HasSuffix(b, gifXMPTail) {
		return false, nil
	}
	packet := s.part(len(head), len(b)-tail)
	if bytes.IndexByte(c.bytes(packet), 0) >= 0 {
		return false, nil
	}
	return true, c.xmp(packet)
}
