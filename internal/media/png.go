package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Ancillary chunks that say how pixels look or when they are shown, and hold no text of a maker's own (PNG 3rd
// edition, its registered extensions, and the index that one vendor puts before IDAT). Others are cut.
var pngKept = map[string]bool{
	"cHRM": true, "gAMA": true, "sBIT": true, "sRGB": true, "iCCP": true, "bKGD": true, "hIST": true, "tRNS": true,
	"pHYs": true, "sPLT": true, "tIME": true, "cICP": true, "mDCV": true, "cLLI": true, "mDCv": true, "cLLi": true,
	"acTL": true, "fcTL": true, "fdAT": true, "oFFs": true, "pCAL": true, "sCAL": true, "sTER": true, "gIFg": true,
	"iDOT": true,
}

const maxText = 1 << 20 // of one compressed text, inflated

// png cleans the chunks of a PNG. Those that stay keep their length, changed ones get a new CRC; what stands after IEND
// is cut off.
func (c *canvas) png() error {
	i, first := len(pngSignature), true
	for {
		if len(c.src)-i < 12 {
			return malformed(i)
		}
		n := int64(binary.BigEndian.Uint32(c.src[i:]))
		if n > int64(len(c.src)-i-12) {
			return malformed(i)
		}
		chunk := span{i, i + 12 + int(n)}
		kind, data := string(c.src[i+4:i+8]), span{i + 8, chunk.end - 4}
		if crc32.ChecksumIEEE(c.src[i+4:data.end]) != binary.BigEndian.Uint32(c.src[data.end:]) {
			return malformed(data.end)
		}
		if err := c.spend(chunk); err != nil {
			return err
		}
		if first != (kind == "IHDR") {
			return malformed(i)
		}
		first, i = false, chunk.end
		switch {
		case kind == "IEND":
			c.cut(span{i, len(c.src)})
			return nil
		case kind[0]&0x20 == 0, pngKept[kind]: // critical: it makes the pixels
		case kind == "eXIf":
			if err := c.exif(data, 0); err != nil {
				return err
			}
		case kind == "tEXt", kind == "zTXt", kind == "iTXt":
			keep, err := c.pngText(kind, data)
			if err != nil {
				return err
			}
			if !keep {
				c.cut(chunk)
			}
		default:
			c.cut(chunk)
		}
		if c.changed(data) {
			c.put(data.end, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(c.out[data.off-4:data.end])))
		}
	}
}

const pngXMP = "XML:com.adobe.xmp"

// pngText decides on a chunk of text; a packet of XMP that is not compressed is cleaned in place.
func (c *canvas) pngText(kind string, data span) (keep bool, err error) {
	key, rest, ok := bytes.Cut(c.bytes(data), []byte{0})
	if !ok || len(key) == 0 || len(key) > 79 || tellsPlace(key) || namesPlace(string(key)) {
		return false, nil
	}
	// Converters write whole blocks of Exif, IPTC and XMP so, in hexadecimal. Of them only the colour profile is needed.
	if name, ok := bytes.CutPrefix(lower(key), []byte("raw profile type ")); ok && string(name) != "icc" && string(name) != "icm" {
		return false, nil
	}
	compressed := kind == "zTXt"
	switch kind {
	case "zTXt":
		if len(rest) == 0 || rest[0] != 0 {
			return false, nil
		}
		rest = rest[1:]
	case "iTXt":
		if len(rest) < 2 || rest[0] > 1 || rest[1] != 0 {
			return false, nil
		}
		compressed = rest[0] == 1
		language, after, ok1 := bytes.Cut(rest[2:], []byte{0})
		translated, after, ok2 := bytes.Cut(after, []byte{0})
		if !ok1 || !ok2 || tellsPlace(language) || tellsPlace(translated) {
			return false, nil
		}
		rest = after
	}
	if !compressed {
		if string(key) == pngXMP {
			return true, c.xmp(span{data.end - len(rest), data.end})
		}
		return !tellsPlace(rest) && !holdsImage(rest), nil
	}
	text, ok := c.inflate(rest)
	if !ok {
		return false, nil
	}
	if string(key) == pngXMP {
		blanks, ok := xmpBlanks(text)
		return ok && len(blanks) == 0, nil
	}
	return !tellsPlace(text) && !holdsImage(text), nil
}

// inflate is the text of a zlib stream within the caps, whole and with nothing behind it.
func (c *canvas) inflate(b []byte) ([]byte, bool) {
	limit := min(maxText, c.inflated)
	in := bytes.NewReader(b)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, false
	}
	text, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil || len(text) > limit || in.Len() > 0 {
		return nil, false
	}
	c.inflated -= len(text)
	return text, true
}
