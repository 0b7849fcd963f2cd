// Package geotest makes GeoIP databases for tests, of addresses that are nobody's.
package geotest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Record is what a database says of a network, as it is written into the file.
type Record = mmdbtype.Map

// The networks that the databases of this package know, all of them for
// documentation (RFC 5737, RFC 3849), and an address in each.
const (
	Guangzhou    = "203.0.113.77"    // 203.0.113.0/24: CN-GD, 23.1291 113.2644
	Shanghai     = "2001:db8:1::7"   // 2001:db8:1::/48: CN-SH, 31.2304 121.4737
	NewYork      = "198.51.100.7"    // 198.51.100.0/24: US-NY, 40.7128 -74.0060
	UnitedStates = "2001:db8:2::7"   // 2001:db8:2::/48: US, no more
	Unknown      = "192.0.2.7"       // 192.0.2.0/24: known to no database
	Nowhere      = "2001:db8:ffff::" // likewise
)

// CityRecord is a record as databases of cities have it. An empty area, and a
// nil location, are left out.
func CityRecord(country, area, city string, location []float64) Record {
	r := Record{
		"country":            Record{"iso_code": mmdbtype.String(country), "names": names(country)},
		"registered_country": Record{"iso_code": mmdbtype.String(country)},
	}
	if city != "" {
		r["city"] = Record{"names": names(city)}
	}
	if area != "" {
		r["subdivisions"] = mmdbtype.Slice{Record{"iso_code": mmdbtype.String(area), "names": names(area)}}
	}
	if location != nil {
		r["location"] = Record{
			"accuracy_radius": mmdbtype.Uint16(20),
			"latitude":        mmdbtype.Float64(location[0]), "longitude": mmdbtype.Float64(location[1]),
		}
	}
	return r
}

func names(name string) Record {
	return Record{"en": mmdbtype.String(name), "zh-CN": mmdbtype.String(name)}
}

// Cities is what City holds.
func Cities() map[string]Record {
	return map[string]Record{
		"203.0.113.0/24":  CityRecord("CN", "GD", "Guangzhou", []float64{23.1291, 113.2644}),
		"2001:db8:1::/48": CityRecord("CN", "SH", "Shanghai", []float64{31.2304, 121.4737}),
		"198.51.100.0/24": CityRecord("US", "NY", "New York", []float64{40.7128, -74.0060}),
		"2001:db8:2::/48": CityRecord("US", "", "", nil),
	}
}

// City returns a database of cities.
func City(t testing.TB) []byte { return Build(t, "GeoLite2-City", Cities()) }

// Country returns a database of countries alone.
func Country(t testing.TB) []byte {
	return Build(t, "GeoLite2-Country", map[string]Record{
		"203.0.113.0/24":  CityRecord("CN", "", "", nil),
		"2001:db8:1::/48": CityRecord("CN", "", "", nil),
		"198.51.100.0/24": CityRecord("US", "", "", nil),
	})
}

// Build returns a database of that type with one record for each network.
func Build(t testing.TB, databaseType string, records map[string]Record) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: databaseType, IncludeReservedNetworks: true, RecordSize: 24, BuildEpoch: 1767225600,
	})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// File writes a database into a file of a new directory, and returns its name.
func File(t testing.TB, database []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "geoip.mmdb")
	Replace(t, path, database)
	return path
}

// Replace puts a database in the place of a file, as geoipupdate does: written
// beside it and renamed.
func Replace(t testing.TB, path string, database []byte) {
	t.Helper()
	beside := path + ".new"
	if err := os.WriteFile(beside, database, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
}
