package caddymodule

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/geo"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// addressRule says which category holds the address of a record.
type addressRule struct {
	category payload.Category
	exists   bool
}

func newAddressRule(p *rules.Policy) (a addressRule) {
	a.category, a.exists = p.Category("network.ip")
	return a
}

// places looks up where the records of a message are, each by its own address as
// it came, before anything is taken out of it. It is made for one message, and
// does nothing until it is asked.
type places struct {
	judge
	scan  *payload.Scan // nil: there is none
	n     int           // how many people the message has: for each record, and for what stands outside
	addrs []netip.Addr  // of each; nil: not looked for yet
}

// of returns the place of the i-th of n people: by the first address that stands
// in the record, else by the first outside all records, else by the client's. An
// address that is internal to some network is none. Of a response there is no
// client to tell by: whoever asks is not whom it is about. nil means that the
// place is not known.
func (p *places) of(i int) *payload.Place {
	db := p.g.app.Geo()
	if db == nil {
		return nil
	}
	if p.addrs == nil {
		p.find()
	}
	addr := p.addrs[i]
	if !addr.IsValid() {
		addr = p.addrs[p.n-1]
	}
	at, ok := db.Lookup(addr)
	if !ok {
		return nil
	}
	return &payload.Place{Country: at.Country, Area: at.Area, Lat: at.Latitude, Lon: at.Longitude, HasLatLon: at.HasLocation}
}

// find collects the addresses in one pass over the message.
func (p *places) find() {
	p.addrs = make([]netip.Addr, p.n)
	last := p.n - 1
	if p.scan != nil && p.ln.addresses.exists {
		p.scan.Values(p.ln.addresses.category, func(record int, text []byte) {
			if record < 0 || record > last {
				record = last
			}
			if p.addrs[record].IsValid() {
				return
			}
			if addr, ok := deid.ParseAddress(text); ok && !geo.Internal(addr) {
				p.addrs[record] = addr
			}
		})
	}
	if !p.addrs[last].IsValid() && !p.ln.down {
		p.addrs[last] = clientAddress(p.r)
	}
}

// clientAddress returns the address of the client, behind the proxies that the
// server trusts.
func clientAddress(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := deid.ParseAddress([]byte(text))
	return addr
}
