package geo

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Place is what a database knows of an address. What it does not know is zero.
type Place struct {
	Country string // ISO 3166-1 alpha-2, such as "CN"
	Area    string // ISO 3166-2, the largest subdivision, such as "CN-GD"
	// Latitude and Longitude are those of the city, in degrees (WGS 84). A
	// database that knows no city may give the middle of the country instead.
	Latitude, Longitude float64
	HasLocation         bool
}

// Lookup returns the place of an address; ok is false where the database knows
// no country for it, or cannot be read there. An IPv4 address inside IPv6, as
// ::ffff:203.0.113.7 or behind 64:ff9b::/96 (RFC 6052), is an IPv4 address, and
// a zone does not count. Private and reserved addresses have no place unless
// the database says so.
func (d *Database) Lookup(addr netip.Addr) (p Place, ok bool) {
	if d == nil || !addr.IsValid() {
		return Place{}, false
	}
	defer func() {
		if recover() != nil { // a file that is damaged where nobody has looked yet
			p, ok = Place{}, false
		}
	}()
	e := d.current.Load()
	result := e.reader.Lookup(plain(addr))
	if result.Err() != nil || !result.Found() {
		return Place{}, false
	}
	return e.layout.place(result)
}

var (
	translated = netip.MustParsePrefix("64:ff9b::/96")
	sharedIPv4 = netip.MustParsePrefix("100.64.0.0/10")
)

// plain returns the address that a database is to be asked for.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if translated.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// Internal reports whether an address belongs to no network but the one that it
// is used in: private (RFC 1918, RFC 4193), loopback, link-local, or shared by a
// carrier (RFC 6598).
func Internal(addr netip.Addr) bool {
	addr = plain(addr)
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || sharedIPv4.Contains(addr)
}

// layout is how the records of a database say a country.
type layout uint8

const (
	nested    layout = iota // MaxMind's GeoIP2 and GeoLite2, DB-IP: country.iso_code
	flatCode                // IPinfo Lite: country_code
	flatNamed               // country, two letters
)

// Of a database that is opened so many networks are looked at for a country: with
// and without a record. Databases of places have one in nearly each that has any.
// The bounds hold for a damaged file too, whose tree may fork without end.
const (
	probed  = 10_000
	visited = 100_000
)

// layoutOf finds out how a database says countries.
func layoutOf(reader *maxminddb.Reader) (layout, error) {
	records, all := probed, visited
	for result := range reader.Networks(maxminddb.IncludeNetworksWithoutData(), maxminddb.IncludeAliasedNetworks()) {
		if err := result.Err(); err != nil {
			return 0, fmt.Errorf("%w: %w", errDamaged, err)
		}
		if result.Found() {
			for _, l := range []layout{nested, flatCode, flatNamed} {
				if _, ok := l.place(result); ok {
					return l, nil
				}
			}
			records--
		}
		if all--; all == 0 || records == 0 {
			break
		}
	}
	return 0, fmt.Errorf("says no countries (it is a %q); use a database of cities or countries", reader.Metadata.DatabaseType)
}

// place reads one record.
func (l layout) place(result maxminddb.Result) (Place, bool) {
	if l != nested {
		key := "country_code"
		if l == flatNamed {
			key = "country"
		}
		var country string
		if err := result.DecodePath(&country, key); err != nil || !isCountry(country) {
			return Place{}, false
		}
		return Place{Country: country}, true
	}
	var record struct {
		Country struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Subdivisions []struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"subdivisions"`
		Location struct {
			Latitude  *float64 `maxminddb:"latitude"`
			Longitude *float64 `maxminddb:"longitude"`
		} `maxminddb:"location"`
	}
	if err := result.Decode(&record); err != nil || !isCountry(record.Country.Code) {
		return Place{}, false
	}
	p := Place{Country: record.Country.Code}
	if subs := record.Subdivisions; len(subs) > 0 {
		// Some write the whole code, most what stands behind the country.
		if code := strings.TrimPrefix(subs[0].Code, p.Country+"-"); isSubdivision(code) {
			p.Area = p.Country + "-" + code
		}
	}
	lat, lon := record.Location.Latitude, record.Location.Longitude
	if lat != nil && lon != nil && *lat >= -90 && *lat <= 90 && *lon >= -180 && *lon <= 180 {
		p.Latitude, p.Longitude, p.HasLocation = *lat, *lon, true
	}
	return p, true
}

// isCountry reports whether a text has the form of ISO 3166-1 alpha-2. It goes
// to partners and into messages, so what a file says is not taken on trust.
func isCountry(code string) bool {
	return len(code) == 2 && isUpper(code[0]) && isUpper(code[1])
}

// isSubdivision reports whether a text has the form of what ISO 3166-2 puts
// behind the country.
func isSubdivision(code string) bool {
	if len(code) < 1 || len(code) > 3 {
		return false
	}
	for i := range len(code) {
		if !isUpper(code[i]) && (code[i] < '0' || code[i] > '9') {
			return false
		}
	}
	return true
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
