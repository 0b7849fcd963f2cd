package deid

import (
	"errors"
	"math"

	"github.com/consentgate/consentgate/internal/payload"
)

// Coordinates are read in billionths of a degree, a tenth of a millimetre.
const (
	degreePlaces = 9
	degree       = 1_000_000_000
)

// Half the Earth's mean circumference in kilometres, from pole to pole: the
// mean radius of WGS 84's ellipsoid (6371.0088 km) times π.
const poleToPole = 6371.0088 * math.Pi

var geoDefinition = definition{
	Doc: Doc{
		Name:    "geo",
		Summary: "Moves a position to the nearest point of a coarse grid, so that all positions of one cell become the same.",
		Args: []Arg{
			{Name: "decimals", Type: Integer, Min: 0, Max: 4, Summary: "Rounds latitude and longitude to this many decimals of a degree: 1 is some 11 km north to south, 2 some 1.1 km."},
			{Name: "grid_km", Type: Number, Min: 0.1, Max: 5000, Summary: "Takes the centre of the cell of a grid whose cells are about this many kilometres wide and high, everywhere on Earth."},
			{Name: "place", Type: String, Enum: []string{"city", "area"}, Summary: "Puts another position in the place of the one that was measured: that of the city in which GeoIP sees the record's address, to two decimals; or the centre of the 500 km cell around that city, which is about a province. It is dropped where GeoIP knows no city."},
		},
		Scalar:   "place",
		OneOf:    true,
		Pair:     true,
		Examples: []string{"{geo: city}", "{geo: {decimals: 1}}", "{geo: {grid_km: 10}}"},
	},
	refuse: func(args any) error {
		if args == "country" {
			return errors.New("a country has no one position; write {geo: area} or {geo: {grid_km: 2000}}, or {ip: country} for an address")
		}
		return nil
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		if _, given := v["decimals"]; given {
			return geoDecimals{v.integer("decimals")}, nil
		}
		switch v.text("place") {
		case "city":
			return geoPlace{geoDecimals{cityDecimals}}, nil
		case "area":
			return geoPlace{newGeoGrid(areaKilometres)}, nil
		}
		return newGeoGrid(v["grid_km"].(float64)), nil
	},
}

// parsePosition reads a latitude from -90 to 90 and a longitude from -180 to
// 180 degrees, in billionths.
func parsePosition(latText, lonText []byte) (lat, lon int64, ok bool) {
	lat, _, latOK := parseDecimal(latText, degreePlaces)
	lon, _, lonOK := parseDecimal(lonText, degreePlaces)
	ok = latOK && lonOK &&
		lat >= -90*degree && lat <= 90*degree &&
		lon >= -180*degree && lon <= 180*degree
	return lat, lon, ok
}

// geoDecimals rounds to the nearest, halves away from zero, so that a place
// and its mirror image across the equator are treated alike. The date line is
// one line, -180; a pole is one point, with longitude 0.
type geoDecimals struct{ decimals int }

// Append refuses: one coordinate alone is on no grid.
func (geoDecimals) Append(dst, _ []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	return dst, kind, false
}

func (t geoDecimals) AppendPair(lat, lon, latText, lonText []byte, _ *payload.Params) ([]byte, []byte, bool) {
	y, x, ok := parsePosition(latText, lonText)
	if !ok {
		return lat, lon, false
	}
	lat, lon = t.coarsen(lat, lon, y, x)
	return lat, lon, true
}

// coarsen appends what a position in billionths of a degree becomes.
func (t geoDecimals) coarsen(lat, lon []byte, y, x int64) ([]byte, []byte) {
	one := pow10(t.decimals)
	y, x = roundTo(y, degree/one), roundTo(x, degree/one)
	if x == 180*one {
		x = -180 * one
	}
	if y == 90*one || y == -90*one {
		x = 0
	}
	return appendDecimal(lat, y, t.decimals), appendDecimal(lon, x, t.decimals)
}

// roundTo is n / unit to the nearest integer, halves away from zero.
func roundTo(n, unit int64) int64 {
	if n < 0 {
		return -((-n + unit/2) / unit)
	}
	return (n + unit/2) / unit
}

// geoGrid cuts the Earth into rows of equal height and each row into cells
// that are as wide as high, or a little wider so that a whole number of them
// goes round; at a pole that is three. A degree of longitude shrinks with the
// latitude, so a grid of degrees would have ever smaller cells, and tell ever
// more, towards the poles.
type geoGrid struct {
	rows   int
	places int // of the result: enough to name a cell, no more
}

func newGeoGrid(km float64) geoGrid {
	t := geoGrid{rows: int(poleToPole / km)}
	// A printed centre is off by at most a fortieth of a cell, so it lies in
	// the cell that it names, and transforming it again changes nothing.
	for math.Pow10(-t.places) > 180/float64(t.rows)/20 {
		t.places++
	}
	return t
}

// Append refuses: one coordinate alone is on no grid.
func (geoGrid) Append(dst, _ []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	return dst, kind, false
}

func (t geoGrid) AppendPair(lat, lon, latText, lonText []byte, _ *payload.Params) ([]byte, []byte, bool) {
	y, x, ok := parsePosition(latText, lonText)
	if !ok {
		return lat, lon, false
	}
	lat, lon = t.coarsen(lat, lon, y, x)
	return lat, lon, true
}

// coarsen appends what a position in billionths of a degree becomes.
func (t geoGrid) coarsen(lat, lon []byte, y, x int64) ([]byte, []byte) {
	row := min(int((float64(y)/degree+90)/180*float64(t.rows)), t.rows-1)
	columns := t.columns(row)
	// The east end of a row is its west end.
	column := int((float64(x)/degree+180)/360*float64(columns)) % columns
	unit := math.Pow10(t.places)
	y = int64(math.Round(t.latitude(row) * unit))
	x = int64(math.Round((-180 + (float64(column)+0.5)*360/float64(columns)) * unit))
	return appendDecimal(lat, y, t.places), appendDecimal(lon, x, t.places)
}

// latitude is that of the middle of a row, in degrees. Row 0 is at the south
// pole.
func (t geoGrid) latitude(row int) float64 {
	return -90 + (float64(row)+0.5)*180/float64(t.rows)
}

// columns is how many cells a row has.
func (t geoGrid) columns(row int) int {
	return max(1, int(2*float64(t.rows)*math.Cos(t.latitude(row)*math.Pi/180)))
}
