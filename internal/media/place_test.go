package media

import "testing"

func TestTellsPlace(t *testing.T) {
	for text, want := range map[string]bool{
		"+23.1066+113.3245/":                           true,
		"+23.1066+113.3245+021.000/":                   true,
		"+230624+1131928/":                             true,
		"23.10662, 113.32446":                          true,
		"GPS (113.3245, 23.1066, 20)":                  true,
		"[latitude: 23.1] [longitude: 113.3]":          true,
		"Location: Guangzhou":                          true,
		"北纬 23 度，经度 113 度":                             true,
		"G\x00P\x00S\x00":                              true,
		"":                                             false,
		"a red flower":                                 false,
		"2025-03-01T12:30:00+0800":                     false,
		"xmp.iid:55012345-1234-5678-9012-345678901234": false,
		"saved to new location":                        false,
		"24/1 70/1 28/10 28/10":                        false,
		"0.5, 0.25":                                    false,
	} {
		if got := tellsPlace([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestNamesPlace(t *testing.T) {
	for name, want := range map[string]bool{
		"exif:GPSLatitude": true, "photoshop:City": true, "Iptc4xmpExt:LocationCreated": true, "geo:lat": true,
		"drone-dji:GpsLongtitude": true, "aux:SerialNumber": true, "com.apple.quicktime.location.ISO6709": true,
		"CiAdrCity": true, "exif:DateTimeOriginal": false, "tiff:Orientation": false, "xmp:Rating": false,
		"com.apple.quicktime.make": false, "crs:Saturation": false,
	} {
		if got := namesPlace(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSniff(t *testing.T) {
	for head, want := range map[string]Format{
		"\xff\xd8\xff\xe0": JPEG, "\xff\xd8": None, pngSignature: PNG, "RIFF\x00\x00\x00\x00WEBP": WebP,
		"RIFF\x00\x00\x00\x00AVI ": None, "GIF89a": GIF, "GIF88a": None, "II*\x00": TIFF, "MM\x00*": TIFF,
		"\x00\x00\x00\x18ftypheic": HEIF, "\x00\x00\x00\x18ftypavif": HEIF, "\x00\x00\x00\x18ftypisom": QuickTime,
		"\x00\x00\x00\x18ftypqt  ": QuickTime, "\x00\x00\x00\x08wide": QuickTime, "": None, "{\"a\":1}": None,
	} {
		if got := Sniff([]byte(head)); got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
	if JPEG.String() != "jpeg" || Format(99).String() != "none" {
		t.Error("names")
	}
}
