package deid

import (
	"math"
	"slices"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

// moveTo is what a position near Beijing becomes for a record in a place.
func moveTo(t *testing.T, use string, place *payload.Place) string {
	t.Helper()
	p := payload.Params{Place: place}
	a, b, ok := make1(t, use).(payload.PairTransformer).AppendPair(nil, nil, []byte("39.904211"), []byte("116.407395"), &p)
	if !ok {
		return unfit
	}
	return string(a) + " " + string(b)
}

func TestAPositionBecomesThatOfTheCity(t *testing.T) {
	guangzhou := &payload.Place{Country: "CN", Area: "CN-GD", Lat: 23.1291, Lon: 113.2644, HasLatLon: true}
	for _, c := range []struct {
		says, use string
		place     *payload.Place
		want      string
	}{
		{"the city's position goes, whatever was measured", "{geo: city}", guangzhou, "23.13 113.26"},
		{"negative ones too", "{geo: city}", &payload.Place{Country: "CL", Lat: -33.4513, Lon: -70.6653, HasLatLon: true}, "-33.45 -70.67"},
		{"a whole degree has two decimals", "{geo: city}", &payload.Place{Country: "GH", HasLatLon: true}, "0.00 0.00"},
		{"the date line is one line", "{geo: city}", &payload.Place{Country: "FJ", Lat: -17, Lon: 180, HasLatLon: true}, "-17.00 -180.00"},
		{"of an area the centre of the city's cell goes", "{geo: area}", guangzhou, "24.8 112.5"},
		{"the same for the next city", "{geo: area}", &payload.Place{Country: "CN", Area: "CN-GD", Lat: 22.5431, Lon: 114.0579, HasLatLon: true}, "24.8 112.5"},
		{"a country alone is no city", "{geo: city}", &payload.Place{Country: "CN", Area: "CN-GD"}, unfit},
		{"and no area", "{geo: area}", &payload.Place{Country: "CN", Area: "CN-GD"}, unfit},
		{"without a place nothing fits", "{geo: city}", nil, unfit},
		{"not for an area either", "{geo: area}", nil, unfit},
		{"a place that is not on Earth is none", "{geo: city}", &payload.Place{Country: "CN", Lat: 91, HasLatLon: true}, unfit},
		{"nor one that is no number", "{geo: area}", &payload.Place{Country: "CN", Lat: math.NaN(), HasLatLon: true}, unfit},
	} {
		t.Run(c.says, func(t *testing.T) {
			if got := moveTo(t, c.use, c.place); got != c.want {
				t.Errorf("%s is %s, want %s", c.use, got, c.want)
			}
		})
	}
	if _, _, ok := make1(t, "{geo: city}").(payload.PairTransformer).AppendPair(nil, nil, []byte("1"), []byte("2"), nil); ok {
		t.Error("without params something fits")
	}
}

func TestAnAddressBecomesItsPlace(t *testing.T) {
	for use, want := range map[string]string{"{ip: area}": "CN-GD", "{ip: country}": "CN"} {
		checkAll(t, use, payload.String, []example{
			{"IPv4", "203.0.113.77", want},
			{"IPv6 with brackets and a port", "[2001:db8::1]:443", want},
			{"white space around it", " 203.0.113.77\n", want},
			{"nothing does not fit", "", unfit},
			{"a host name does not fit", "host.example.cn", unfit},
			{"a hash of an address does not fit", "d41d8cd98f00b204e9800998ecf8427e", unfit},
			{"a list does not fit", "203.0.113.77, 198.51.100.1", unfit},
		})
		checkAll(t, use, payload.Number, []example{{"a number does not fit", "3405803853", unfit}})
		for says, p := range map[string]*payload.Params{"no params": nil, "no place": {}, "a place without a name": {Place: &payload.Place{}}} {
			if out, _ := applyWith(t, make1(t, use), "203.0.113.77", payload.String, p); out != unfit {
				t.Errorf("%s with %s is %s", use, says, out)
			}
		}
	}
	only := &payload.Params{Place: &payload.Place{Country: "US"}}
	if out, _ := applyWith(t, make1(t, "{ip: area}"), "203.0.113.77", payload.String, only); out != unfit {
		t.Errorf("an area that is not known is %s", out)
	}
	if out, _ := applyWith(t, make1(t, "{ip: country}"), "203.0.113.77", payload.String, only); out != "US" {
		t.Errorf("the country alone is %s", out)
	}
}

func TestWhichTransformsNeedAPlace(t *testing.T) {
	needs := []string{"{geo: city}", "{geo: area}", "{ip: area}", "{ip: country}"}
	for _, use := range uses {
		tr := make1(t, use)
		if _, placed := tr.(payload.Placed); placed != slices.Contains(needs, use) {
			t.Errorf("%s: %v", use, placed)
		}
		// What says that it needs none must do without.
		if _, pair := tr.(payload.PairTransformer); slices.Contains(needs, use) || pair {
			continue
		}
		without := testParams
		without.Place = nil
		for _, in := range seeds {
			with, _ := apply(t, tr, in, payload.String)
			if out, _ := applyWith(t, tr, in, payload.String, &without); out != with {
				t.Errorf("%s of %q is %q, and %q without a place", use, in, with, out)
			}
		}
	}
}
