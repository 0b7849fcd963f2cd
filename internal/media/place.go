package media

import (
	"bytes"
	"regexp"
	"strings"
)

// A text that uses one of these words is taken to tell a place. Free text that names a town tells one too, but no list
// knows all towns: such a text is content, which its author wrote.
var placeWords = []string{
	"gps", "latitude", "longitude", "longtitude", "geotag", "geolocation", "iso6709", "geo:",
	"经度", "纬度", "坐标", "定位",
}

// The plain word is too common in what editors write of themselves; as a key it names a place.
var locationKey = regexp.MustCompile(`location["']?\s*[:=]`)

// Coordinates as ISO 6709 writes them, +23.1066+113.3245/, and as a pair of fractions with enough digits to be a place
// within some ten metres.
var (
	iso6709 = regexp.MustCompile(`[+-]\d{2,6}(\.\d+[+-]\d{3,7}\.\d|[+-]\d{3,7}([+-]\d+)?/)`)
	pair    = regexp.MustCompile(`\d{1,3}\.\d{4,}[^\d\n]{1,8}\d{1,3}\.\d{4,}`)
)

// tellsPlace tells whether a text says that it is about a place, or looks like coordinates. UTF-16 is understood as
// far as its ASCII goes.
func tellsPlace(text []byte) bool {
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, nil)
	}
	low := lower(text)
	for _, w := range placeWords {
		if bytes.Contains(low, []byte(w)) {
			return true
		}
	}
	if bytes.Contains(low, []byte("location")) && locationKey.Match(low) {
		return true
	}
	if !bytes.ContainsAny(low, "0123456789") { // the expressions are slow, and most texts are none of theirs
		return false
	}
	return bytes.ContainsAny(low, "+-") && iso6709.Match(low) || bytes.IndexByte(low, '.') >= 0 && pair.Match(low)
}

// lower folds ASCII only, and bytes that are no UTF-8 stay.
func lower(b []byte) []byte {
	out := make([]byte, len(b))
	for i, x := range b {
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		out[i] = x
	}
	return out
}

// Names of properties, without their namespace and in lower case, that hold a place, its weather (POLICY.md 1.3), the
// address of the author or the owner and number of the device. Exif 3.0 in XMP, IPTC Photo Metadata 2023.1, Photoshop,
// W3C wgs84_pos, and what makers of drones write.
var placeNames = map[string]bool{
	"city": true, "state": true, "country": true, "countrycode": true, "countryname": true, "province": true,
	"provincestate": true, "worldregion": true, "lat": true, "long": true, "lon": true, "address": true,
	"ambienttemperature": true, "humidity": true, "pressure": true, "waterdepth": true, "creatorcontactinfo": true,
	"makernote": true, "ownr": true, "apid": true,
}

var placeParts = []string{
	"gps", "location", "latitude", "longitude", "longtitude", "altitude", "geotag", "coordinate",
	"ciadr", "serialnumber", "serialno", "ownername",
}

// namesPlace tells whether a property's name, with or without a prefix, is one that holds a place or an owner.
func namesPlace(name string) bool {
	whole := strings.ToLower(name)
	name = strings.ToLower(name[strings.LastIndexAny(name, ":.")+1:])
	if placeNames[name] {
		return true
	}
	for _, p := range placeParts {
		if strings.Contains(whole, p) {
			return true
		}
	}
	return false
}

// holdsImage tells whether a text is an image in base64, which has metadata of its own.
func holdsImage(text []byte) bool {
	text = bytes.TrimSpace(text)
	for _, magic := range []string{"/9j/", "iVBORw0", "UklGR", "SUkq", "TU0A", "AAAA"} {
		if bytes.HasPrefix(text, []byte(magic)) {
			return true
		}
	}
	return bytes.HasPrefix(text, []byte("data:"))
}
