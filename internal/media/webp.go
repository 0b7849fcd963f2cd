package media

import "encoding/binary"

// Flags of the chunk VP8X (RFC 9649, 2.7.1).
const (
	vp8xXMP  = 0x04
	vp8xExif = 0x08
)

// webp cleans the chunks of a WebP. Exif and XMP keep their length; chunks that are not known are cut, as is what
// stands behind the length that the file claims.
func (c *canvas) webp() error {
	size := int64(binary.LittleEndian.Uint32(c.src[4:]))
	if size < 4 || size+8 > int64(len(c.src)) {
		return malformed(4)
	}
	all := span{12, int(size) + 8}
	flags, exif, xmp, image, left := -1, false, false, false, int(size)
	err := c.riff(all, func(kind string, chunk, data span) error {
		switch kind {
		case "VP8X":
			if data.size() < 10 || flags >= 0 {
				return malformed(data.off)
			}
			flags = data.off
		case "VP8 ", "VP8L":
			image = true
		case "ICCP", "ALPH", "ANIM":
		case "ANMF":
			image = true
			if data.size() < 16 {
				return malformed(data.off)
			}
			return c.riff(data.from(16), func(kind string, _, data span) error {
				if kind != "VP8 " && kind != "VP8L" && kind != "ALPH" {
					c.zero(data)
				}
				return nil
			})
		case "EXIF":
			exif = true
			return c.exif(data, 0)
		case "XMP ":
			xmp = true
			return c.xmp(data)
		default:
			c.cut(chunk)
			left -= chunk.size()
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !image:
		return malformed(all.end)
	}
	if flags >= 0 { // The flags may claim less than there is, never more.
		keep := c.src[flags]
		if !exif {
			keep &^= vp8xExif
		}
		if !xmp {
			keep &^= vp8xXMP
		}
		c.put(flags, []byte{keep})
	}
	c.put(4, binary.LittleEndian.AppendUint32(nil, uint32(left)))
	c.cut(span{all.end, len(c.src)})
	return nil
}

// riff calls f for each chunk: all of it with its padding, and its data.
func (c *canvas) riff(s span, f func(kind string, chunk, data span) error) error {
	for s.size() > 0 {
		if s.size() < 8 {
			return malformed(s.off)
		}
		n := int64(binary.LittleEndian.Uint32(c.src[s.off+4:]))
		if n+n&1 > int64(s.size()-8) {
			return malformed(s.off + 4)
		}
		chunk, data := s.part(0, 8+int(n+n&1)), s.part(8, 8+int(n))
		if err := c.spend(chunk); err != nil {
			return err
		}
		c.zero(span{data.end, chunk.end})
		if err := f(string(c.src[s.off:s.off+4]), chunk, data); err != nil {
			return err
		}
		s.off = chunk.end
	}
	return nil
}
