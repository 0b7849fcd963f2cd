package media

// Tags of TIFF 6.0, Exif 3.0 (CIPA DC-008), DNG 1.7 and GeoTIFF 1.1 that are told apart here.
const (
	tagStripOffsets    = 0x0111
	tagStripByteCounts = 0x0117
	tagTileOffsets     = 0x0144
	tagTileByteCounts  = 0x0145
	tagSubIFDs         = 0x014a
	tagGlobalIFD       = 0x0190
	tagThumbnail       = 0x0201
	tagThumbnailLength = 0x0202
	tagXMP             = 0x02bc
	tagIPTC            = 0x83bb
	tagPhotoshop       = 0x8649
	tagExif            = 0x8769
	tagICC             = 0x8773
	tagGPS             = 0x8825
	tagInterop         = 0xa005
)

// What goes whatever it says: vendors' own blocks, whose layout only the vendor knows; who owns the device and its
// numbers; the weather; the projection of a map.
var tagsGone = map[uint16]bool{
	0x927c: true, // MakerNote
	0xc634: true, // DNGPrivateData
	0xa430: true, // CameraOwnerName
	0xa431: true, // BodySerialNumber
	0xa435: true, // LensSerialNumber
	0xc62f: true, // CameraSerialNumber
	0xfde8: true, // OwnerName, as raw converters write it
	0xfde9: true, // SerialNumber, likewise
	0x9400: true, // Temperature
	0x9401: true, // Humidity
	0x9402: true, // Pressure
	0x9403: true, // WaterDepth
	0x830e: true, // ModelPixelScale
	0x8480: true, // IntergraphMatrix
	0x8482: true, // ModelTiepoint
	0x85d8: true, // ModelTransformation
	0x87af: true, // GeoKeyDirectory
	0x87b0: true, // GeoDoubleParams
	0x87b1: true, // GeoAsciiParams
}

// Ranges of the tags that the standards define, MPF's (CIPA DC-007) among them. In a block of metadata a tag of nobody's
// is a vendor's, and a value of it that is no text goes like a MakerNote. A40B, which a vendor fills too, is left out.
var tagsKnown = [][2]uint16{
	{0x0001, 0x0002}, {0x00fe, 0x0214}, {0x1000, 0x1002}, {0x4746, 0x4749}, {0x8298, 0x829d}, {tagIPTC, tagIPTC},
	{tagPhotoshop, tagPhotoshop}, {tagExif, tagExif}, {tagICC, tagICC}, {0x8822, 0x8835}, {0x9000, 0x9012},
	{0x9101, 0x9214}, {0x9286, 0x9292}, {0x9404, 0x9405}, {0x9c9b, 0x9c9f}, {0xa000, 0xa40a}, {0xa40c, 0xa420},
	{0xa432, 0xa462}, {0xa500, 0xa500}, {0xb000, 0xb205}, {0xc4a5, 0xc4a5}, {tagXMP, tagXMP},
}

func tagKnown(tag uint16) bool {
	for _, r := range tagsKnown {
		if r[0] <= tag && tag <= r[1] {
			return true
		}
	}
	return false
}

// Types of values, by their number in an entry.
const (
	typeByte      = 1
	typeASCII     = 2
	typeShort     = 3
	typeLong      = 4
	typeSByte     = 6
	typeUndefined = 7
	typeIFD       = 13
	typeUTF8      = 129
)

// tiffSize is the length of one value of a type, in bytes; 0 for a type that does not exist.
func tiffSize(typ uint16) int {
	switch typ {
	case typeByte, typeASCII, typeSByte, typeUndefined, typeUTF8:
		return 1
	case typeShort, 8:
		return 2
	case typeLong, 9, 11, typeIFD:
		return 4
	case 5, 10, 12:
		return 8
	}
	return 0
}
