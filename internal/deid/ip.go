package deid

import (
	"bytes"
	"errors"
	"net/netip"

	"github.com/consentgate/consentgate/internal/payload"
)

// Longest spelling of an address that is looked at: 45 characters of IPv6,
// brackets, a port, and room for a zone.
const maxAddress = 128

var ipDefinition = definition{
	Doc: Doc{
		Name:    "ip",
		Summary: "Keeps an IP address's network prefix and sets the rest to zero, while a port and a zone go; or puts the place of the record's address there.",
		Args: []Arg{
			{Name: "v4", Type: Integer, Min: 0, Max: 24, Default: 24, Summary: "How many bits of an IPv4 address to keep. The last octet never stays."},
			{Name: "v6", Type: Integer, Min: 0, Max: 64, Default: 48, Summary: "How many bits of an IPv6 address to keep. The interface identifier never stays."},
			{Name: "place", Type: String, Enum: []string{"area", "country"}, Summary: "Keeps nothing of the address: in its place goes the province (ISO 3166-2, CN-GD) or the country (ISO 3166-1, CN) in which GeoIP sees the record's address. It is dropped where GeoIP does not know."},
		},
		Scalar:   "place",
		Bare:     true,
		Examples: []string{"{ip: {v4: 24, v6: 48}}", "{ip: area}"},
	},
	refuse: func(args any) error {
		a, _ := args.(map[string]any)
		if _, place := a["place"]; place && len(a) > 1 {
			return errors.New("place stands alone: nothing of the address is kept beside it; write {ip: area} or {ip: country}")
		}
		if args == "city" {
			return errors.New("no standard text stands for a city; write {ip: area} or {ip: country}")
		}
		return nil
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		if place := v.text("place"); place != "" {
			return ipPlace{area: place == "area"}, nil
		}
		return ip{v4: v.integer("v4"), v6: v.integer("v6")}, nil
	},
}

// ip keeps a prefix. It reads one address in the forms of RFC 4291 and, since
// forwarding headers hold them, "1.2.3.4:567", "[2001:db8::1]" and
// "[2001:db8::1]:567"; the result is always the bare address. An IPv4 address
// inside IPv6 (::ffff:1.2.3.4) is an IPv4 address. Lists, prefixes and host
// names do not fit.
type ip struct{ v4, v6 int }

// sixToFour is 2002::/16, whose next 32 bits are a site's IPv4 address
// (RFC 3056): a /48 of it would hold that address whole. Other embeddings need
// no rule. Teredo (RFC 4380) and NAT64 (RFC 6052) put the client's IPv4 address
// into the last 32 bits, which never stay.
var sixToFour = netip.MustParsePrefix("2002::/16")

func (t ip) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	addr, ok := ParseAddress(text)
	if !ok || kind != payload.String {
		return dst, kind, false
	}
	bits := t.v4
	switch {
	case addr.Is4():
	case sixToFour.Contains(addr):
		bits = min(t.v6, sixToFour.Bits()+t.v4)
	default:
		bits = t.v6
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return dst, kind, false
	}
	return network.Addr().AppendTo(dst), kind, true
}

// ipPlace puts a place where an address was.
type ipPlace struct{ area bool }

// Placed marks the transform as one that needs Params.Place.
func (ipPlace) Placed() {}

func (t ipPlace) Append(dst, text []byte, kind payload.Kind, p *payload.Params) ([]byte, payload.Kind, bool) {
	if _, ok := ParseAddress(text); !ok || kind != payload.String || p == nil || p.Place == nil {
		return dst, kind, false
	}
	place := p.Place.Country
	if t.area {
		place = p.Place.Area
	}
	return append(dst, place...), kind, place != ""
}

// ParseAddress reads one IP address in the forms that the ip transform reads,
// without white space around it, port, brackets and zone. An IPv4 address inside
// IPv6 comes back as IPv4. ok is false for anything else.
func ParseAddress(text []byte) (addr netip.Addr, ok bool) {
	if len(text) > maxAddress {
		return netip.Addr{}, false
	}
	text = bytes.TrimSpace(text)
	if a, err := netip.ParseAddr(string(text)); err == nil {
		addr = a
	} else if ap, err := netip.ParseAddrPort(string(text)); err == nil {
		addr = ap.Addr()
	} else if n := len(text); n > 2 && text[0] == '[' && text[n-1] == ']' {
		a, err := netip.ParseAddr(string(text[1 : n-1]))
		if err != nil || !a.Is6() {
			return netip.Addr{}, false
		}
		addr = a
	} else {
		return netip.Addr{}, false
	}
	return addr.WithZone("").Unmap(), true
}
