package deid

import (
	"math"

	"github.com/consentgate/consentgate/internal/payload"
)

const (
	cityDecimals   = 2   // some 1.1 km, which is no more than GeoIP knows of a city
	areaKilometres = 500 // a province of China is 100 to 1,600 km across
)

// geoPlace answers with the position that GeoIP gives for the record's address,
// made coarser. What was measured does not enter the result, which so says
// nothing of a person that their address has not said already.
type geoPlace struct {
	coarser interface {
		coarsen(lat, lon []byte, y, x int64) ([]byte, []byte)
	}
}

// Placed marks the transform as one that needs Params.Place.
func (geoPlace) Placed() {}

// Append refuses: one coordinate alone is no position.
func (geoPlace) Append(dst, _ []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	return dst, kind, false
}

func (t geoPlace) AppendPair(lat, lon, latText, lonText []byte, p *payload.Params) ([]byte, []byte, bool) {
	if p == nil || p.Place == nil || !p.Place.HasLatLon {
		return lat, lon, false
	}
	// What was no position does not become one.
	if _, _, ok := parsePosition(latText, lonText); !ok {
		return lat, lon, false
	}
	y, x := math.Round(p.Place.Lat*degree), math.Round(p.Place.Lon*degree)
	if !(math.Abs(y) <= 90*degree && math.Abs(x) <= 180*degree) {
		return lat, lon, false
	}
	lat, lon = t.coarser.coarsen(lat, lon, int64(y), int64(x))
	return lat, lon, true
}
