package geo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// Border says in which countries a recipient of personal data may be reached.
type Border struct {
	Recipient string
	Home      []string // ISO 3166-1 alpha-2: where personal data stays
	Country   string   // the one that the policy declares for the recipient; "": it is at home
}

// BorderError says that a recipient was found where it may not be. It names no
// address.
type BorderError struct {
	Recipient string
	Country   string // where it was found; "": the database does not know
}

func (e *BorderError) Error() string {
	if e.Country == "" {
		return fmt.Sprintf("recipient %s: its address is in no country that the GeoIP database knows; nothing may go there", e.Recipient)
	}
	return fmt.Sprintf("recipient %s: its address is in %s, which is neither the policy's home nor the country declared for it; nothing may go there", e.Recipient, e.Country)
}

// Check returns a *BorderError where an address is in a country that is neither
// of home nor the declared one. A public address that the database does not know
// is refused too: it may be anywhere. One that is Internal, and that the
// database does not speak of, is inside the operator's own network and passes.
// A nil Database refuses nothing.
func (d *Database) Check(b Border, addr netip.Addr) error {
	if d == nil {
		return nil
	}
	place, known := d.Lookup(addr)
	switch {
	case known && (slices.Contains(b.Home, place.Country) || place.Country == b.Country):
		return nil
	case !known && Internal(addr):
		return nil
	}
	return &BorderError{Recipient: b.Recipient, Country: place.Country}
}

// DialControl returns a function for net.Dialer.ControlContext that refuses to
// connect where Check refuses. It sees the address that is really dialled, after
// the name was resolved, so no answer of a DNS server gets around it. A Unix
// socket passes; what is no address of IP is refused. It must not be used with a
// proxy between, which alone would then be checked.
//
// For a nil Database it returns nil, with which a net.Dialer dials as ever.
func (d *Database) DialControl(b Border) func(ctx context.Context, network, address string, c syscall.RawConn) error {
	if d == nil {
		return nil
	}
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if strings.HasPrefix(network, "unix") {
			return nil
		}
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return &BorderError{Recipient: b.Recipient}
		}
		return d.Check(b, ap.Addr())
	}
}
