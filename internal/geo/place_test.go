package geo

import (
	"net/netip"
	"testing"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

func TestLookup(t *testing.T) {
	guangzhou := Place{"CN", "CN-GD", 23.1291, 113.2644, true}
	city, country := open(t, geotest.City(t)), open(t, geotest.Country(t))
	for _, c := range []struct {
		says string
		in   *Database
		addr string
		want Place // zero: none
	}{
		{"an address of a city has its country, province and location", city, geotest.Guangzhou, guangzhou},
		{"one of IPv6 too", city, geotest.Shanghai, Place{"CN", "CN-SH", 31.2304, 121.4737, true}},
		{"one of which only the country is known has no more", city, geotest.UnitedStates, Place{Country: "US"}},
		{"a database of countries says countries", country, geotest.Guangzhou, Place{Country: "CN"}},
		{"IPv4 mapped into IPv6 is IPv4", city, "::ffff:" + geotest.Guangzhou, guangzhou},
		{"a zone does not count", city, geotest.Shanghai + "%eth0", Place{"CN", "CN-SH", 31.2304, 121.4737, true}},
		{"nor of a mapped one", city, "::ffff:" + geotest.Guangzhou + "%eth0", guangzhou},
		{"IPv4 behind NAT64 is IPv4", city, "64:ff9b::cb00:714d", guangzhou},
		{"an address that is not in the database has no place", city, geotest.Unknown, Place{}},
		{"one of IPv6 neither", city, geotest.Nowhere, Place{}},
		{"nor a private one", city, "10.0.0.1", Place{}},
		{"nor a loopback one", city, "127.0.0.1", Place{}},
		{"nor that of IPv6", city, "::1", Place{}},
		{"nor a link-local one", city, "fe80::1%eth0", Place{}},
		{"no database knows nothing", nil, geotest.Guangzhou, Place{}},
	} {
		t.Run(c.says, func(t *testing.T) {
			got, ok := c.in.Lookup(netip.MustParseAddr(c.addr))
			if got != c.want || ok != (c.want != Place{}) {
				t.Errorf("%s is in %+v, %v; want %+v", c.addr, got, ok, c.want)
			}
		})
	}
	if p, ok := city.Lookup(netip.Addr{}); ok {
		t.Errorf("no address is in %+v", p)
	}
}

func TestWhatADatabaseSaysOddly(t *testing.T) {
	for name, c := range map[string]struct {
		record geotest.Record
		want   Place
	}{
		"a country in lower case is none":            {geotest.CityRecord("cn", "GD", "Guangzhou", []float64{23, 113}), Place{}},
		"a country of three letters is none":         {geotest.CityRecord("CHN", "", "", nil), Place{}},
		"only where it is registered is not a place": {geotest.Record{"registered_country": geotest.Record{"iso_code": mmdbtype.String("CN")}}, Place{}},
		"a subdivision with its country is the same": {geotest.CityRecord("CN", "CN-GD", "", nil), Place{Country: "CN", Area: "CN-GD"}},
		"one of another country is none":             {geotest.CityRecord("CN", "US-CA", "", nil), Place{Country: "CN"}},
		"a subdivision that is no code is left out":  {geotest.CityRecord("CN", "Guangdong", "", nil), Place{Country: "CN"}},
		"one without a code too": {geotest.Record{
			"country":      geotest.Record{"iso_code": mmdbtype.String("CN")},
			"subdivisions": mmdbtype.Slice{geotest.Record{"names": geotest.Record{"en": mmdbtype.String("Guangdong")}}},
		}, Place{Country: "CN"}},
		"half a location is none": {geotest.Record{
			"country":  geotest.Record{"iso_code": mmdbtype.String("CN")},
			"location": geotest.Record{"latitude": mmdbtype.Float64(23)},
		}, Place{Country: "CN"}},
		"a location that is not on Earth is none": {geotest.CityRecord("CN", "", "", []float64{91, 0}), Place{Country: "CN"}},
		"the equator and the meridian meet in a location": {
			geotest.CityRecord("GH", "", "", []float64{0, 0}), Place{Country: "GH", HasLocation: true},
		},
		"a country that is no map is none": {geotest.Record{"country": mmdbtype.Uint16(7)}, Place{}},
	} {
		t.Run(name, func(t *testing.T) {
			records := geotest.Cities()
			records["192.0.2.0/24"] = c.record
			d := open(t, geotest.Build(t, "GeoLite2-City", records))
			got, ok := d.Lookup(netip.MustParseAddr("192.0.2.7"))
			if got != c.want || ok != (c.want != Place{}) {
				t.Errorf("got %+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
}

func TestFlatDatabasesAreRead(t *testing.T) {
	for name, record := range map[string]geotest.Record{
		"country_code beside country": {"country": mmdbtype.String("China"), "country_code": mmdbtype.String("CN")},
		"country alone":               {"country": mmdbtype.String("CN")},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, geotest.Build(t, "flat", map[string]geotest.Record{"203.0.113.0/24": record}))
			if got := at(d, geotest.Guangzhou); got != "CN" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestInternalAddresses(t *testing.T) {
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "fd00::1": true, "127.0.0.1": true, "::1": true,
		"169.254.0.1": true, "fe80::1%eth0": true, "100.64.0.1": true, "::ffff:10.0.0.1": true, "64:ff9b::a00:1": true,
		"100.63.255.255": false, "100.128.0.0": false, "8.8.8.8": false, "172.32.0.1": false, geotest.Guangzhou: false,
		geotest.Shanghai: false, "::ffff:8.8.8.8": false,
	} {
		if got := Internal(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}
