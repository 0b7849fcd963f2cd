package deid

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func move(t testing.TB, use, lat, lon string) string {
	t.Helper()
	rawLat, rawLon := []byte(lat), []byte(lon)
	a, b, ok := make1(t, use).(payload.PairTransformer).AppendPair([]byte("a:"), []byte("b:"), rawLat, rawLon, &testParams)
	if string(rawLat) != lat || string(rawLon) != lon {
		t.Fatalf("%s, %s was changed", lat, lon)
	}
	if !ok {
		return unfit
	}
	if string(a[:2]) != "a:" || string(b[:2]) != "b:" {
		t.Fatalf("%s, %s became %s, %s, which was not appended", lat, lon, a, b)
	}
	return string(a[2:]) + " " + string(b[2:])
}

func TestGeo(t *testing.T) {
	for _, x := range []struct{ says, use, lat, lon, want string }{
		{"coordinates are rounded to the nearest", "{geo: {decimals: 1}}", "31.230416", "121.473701", "31.2 121.5"},
		{"negative ones are not rounded towards zero", "{geo: {decimals: 1}}", "-33.86", "-70.66", "-33.9 -70.7"},
		{"halves go away from zero on both sides", "{geo: {decimals: 1}}", "0.25", "-0.25", "0.3 -0.3"},
		{"there is no negative zero", "{geo: {decimals: 1}}", "-0.04", "-0", "0.0 0.0"},
		{"no decimals leave whole degrees", "{geo: {decimals: 0}}", "31.5", "-121.4", "32 -121"},
		{"four decimals are the most", "{geo: {decimals: 4}}", "31.230416", "121.473751", "31.2304 121.4738"},
		{"exponents are read and not written", "{geo: {decimals: 2}}", "3.123e1", "-1e-7", "31.23 0.00"},
		{"the date line is one line", "{geo: {decimals: 1}}", "10", "180", "10.0 -180.0"},
		{"also when rounded to", "{geo: {decimals: 1}}", "10", "179.99", "10.0 -180.0"},
		{"also from the other side", "{geo: {decimals: 1}}", "10", "-179.99", "10.0 -180.0"},
		{"a pole has no longitude", "{geo: {decimals: 1}}", "90", "121.5", "90.0 0.0"},
		{"neither when rounded to", "{geo: {decimals: 1}}", "-89.96", "-77.7", "-90.0 0.0"},
		{"a cell's centre stands for the cell", "{geo: {grid_km: 1000}}", "31.23", "121.47", "31.5 121.8"},
		{"the south has other cells", "{geo: {grid_km: 1000}}", "-31.23", "-121.47", "-31.5 -121.8"},
		{"the west end of a row is its east end", "{geo: {grid_km: 1000}}", "0", "180", "4.5 -175.4"},
		{"from the west end", "{geo: {grid_km: 1000}}", "0", "-180", "4.5 -175.4"},
		{"at a pole there are three cells", "{geo: {grid_km: 1000}}", "90", "0", "85.5 0.0"},
		{"at the other too", "{geo: {grid_km: 1000}}", "-90", "-100", "-85.5 -120.0"},
		{"the coarsest grid has four rows", "{geo: {grid_km: 5000}}", "0", "0", "23 0"},
	} {
		t.Run(x.says, func(t *testing.T) {
			if got := move(t, x.use, x.lat, x.lon); got != x.want {
				t.Errorf("%s of %s, %s is %s, want %s", x.use, x.lat, x.lon, got, x.want)
			}
		})
	}
}

func TestWhatIsNoPosition(t *testing.T) {
	for _, use := range []string{"{geo: {decimals: 1}}", "{geo: {grid_km: 10}}", "{geo: city}", "{geo: area}"} {
		for _, bad := range []string{
			"", "NaN", "Inf", "-Inf", "infinity", "0x1p4", "0x10", "1_0", "1e400", "31°12'N", "31,2", "31.2 ", "null", "1/2",
		} {
			if got := move(t, use, bad, "0"); got != unfit {
				t.Errorf("%s of latitude %q is %s", use, bad, got)
			}
			if got := move(t, use, "0", bad); got != unfit {
				t.Errorf("%s of longitude %q is %s", use, bad, got)
			}
		}
		for _, far := range [][2]string{{"90.000001", "0"}, {"-90.000001", "0"}, {"0", "180.000001"}, {"0", "-180.000001"}, {"121.47", "31.23"}} {
			if got := move(t, use, far[0], far[1]); got != unfit {
				t.Errorf("%s of %v is %s", use, far, got)
			}
		}
		if out, _ := apply(t, make1(t, use), "31.23", payload.Number); out != unfit {
			t.Errorf("%s of one coordinate is %s", use, out)
		}
	}
}

// A grid keeps its promise where no cell, on any latitude, is much smaller or
// larger than another.
func TestGridCellsAreAboutEqual(t *testing.T) {
	for _, km := range []float64{0.1, 1, 10, 333, 1000, 5000} {
		g := newGeoGrid(km)
		height := math.Pi / float64(g.rows)
		if side := height * 6371.0088; side < km || side > 1.01*km*poleToPole/(poleToPole-km) {
			t.Errorf("rows of %v km are %v km high", km, side)
		}
		for _, row := range []int{0, 1, g.rows / 7, g.rows / 3, g.rows / 2, g.rows - 2, g.rows - 1} {
			south := float64(row)*height - math.Pi/2
			area := 2 * math.Pi * (math.Sin(south+height) - math.Sin(south)) / float64(g.columns(row))
			if ratio := area / (height * height); ratio < 0.95 || ratio > 1.35 {
				t.Errorf("%v km: a cell of row %d has %.2f times the area asked", km, row, ratio)
			}
		}
	}
}

func TestGridRowsMirrorEachOther(t *testing.T) {
	g := newGeoGrid(10)
	for row := range g.rows {
		if a, b := g.columns(row), g.columns(g.rows-1-row); a != b {
			t.Fatalf("row %d has %d columns, its mirror %d", row, a, b)
		}
	}
}

var plainDecimal = regexp.MustCompile(`^-?(0|[1-9]\d*)(\.\d+)?$`)

func FuzzGeo(f *testing.F) {
	for _, p := range [][2]float64{{0, 0}, {90, 180}, {-90, -180}, {31.230416, 121.473701}, {-33.85, -70.65}, {89.99, 179.99}, {-0.04, -0.05}, {1e-9, -1e-9}} {
		f.Add(p[0], p[1], uint8(0))
		f.Add(p[0], p[1], uint8(6))
	}
	all := []string{
		"{geo: {decimals: 0}}", "{geo: {decimals: 1}}", "{geo: {decimals: 2}}", "{geo: {decimals: 4}}",
		"{geo: {grid_km: 0.1}}", "{geo: {grid_km: 1}}", "{geo: {grid_km: 10}}", "{geo: {grid_km: 777.7}}", "{geo: {grid_km: 5000}}",
	}
	// How far, in degrees of latitude, the result may lie from the position.
	reach := []float64{.5, .05, .005, .00005, .001, .006, .06, 4, 24}
	f.Fuzz(func(t *testing.T, lat, lon float64, which uint8) {
		i := int(which) % len(all)
		got := move(t, all[i], strconv.FormatFloat(lat, 'g', -1, 64), strconv.FormatFloat(lon, 'g', -1, 64))
		inside := math.Abs(lat) <= 90 && math.Abs(lon) <= 180
		if !inside {
			// Beyond a billionth of a degree, that is.
			if got != unfit && (math.Abs(lat) > 90+1e-9 || math.Abs(lon) > 180+1e-9 || lat != lat || lon != lon) {
				t.Fatalf("%v, %v became %s", lat, lon, got)
			}
			return
		}
		var a, b string
		if n, _ := fmt.Sscan(got, &a, &b); n != 2 || !plainDecimal.MatchString(a) || !plainDecimal.MatchString(b) {
			t.Fatalf("%s of %v, %v is %q", all[i], lat, lon, got)
		}
		if again := move(t, all[i], a, b); again != got {
			t.Fatalf("%s of %v, %v is %s, and of that %s", all[i], lat, lon, got, again)
		}
		y, _ := strconv.ParseFloat(a, 64)
		x, _ := strconv.ParseFloat(b, 64)
		if math.Abs(y-lat) > reach[i]+1e-8 || x < -180 || x >= 180 {
			t.Fatalf("%s of %v, %v is %s", all[i], lat, lon, got)
		}
		for _, s := range []string{a, b} {
			if s[0] == '-' && regexp.MustCompile(`^-[0.]*$`).MatchString(s) {
				t.Fatalf("%s of %v, %v is %s, with a negative zero", all[i], lat, lon, got)
			}
		}
		// East and west of the date line are one place.
		if math.Abs(lon) == 180 && move(t, all[i], a, "180") != move(t, all[i], a, "-180") {
			t.Fatalf("at %v the date line is two", lat)
		}
	})
}

func BenchmarkGeo(b *testing.B) {
	for _, use := range []string{"{geo: {decimals: 1}}", "{geo: {grid_km: 10}}"} {
		b.Run(use, func(b *testing.B) {
			tr := make1(b, use).(payload.PairTransformer)
			dst, dst2 := make([]byte, 0, 32), make([]byte, 0, 32)
			lat, lon := []byte("31.230416"), []byte("121.473701")
			b.ReportAllocs()
			for b.Loop() {
				tr.AppendPair(dst, dst2, lat, lon, &testParams)
			}
		})
	}
}
