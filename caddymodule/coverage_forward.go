package caddymodule

import (
	"net"
	"net/url"

	"github.com/caddyserver/caddy/v2"
)

// forwards notes the ways to partners that a gate opens. Such a way always
// enforces, whatever the mode of the gate.
func (w *coverageWalk) forwards(g coveringGate, p passage) {
	for _, f := range g.Forward {
		for _, raw := range f.URLs {
			label, dials := forwardLabel(raw)
			w.cov.Routes = append(w.cov.Routes, &coveredRoute{
				Listen: w.listen, Route: p.label(), Upstream: "forward " + label,
				Gates:    []coveringGate{{Recipient: f.Recipient, Purposes: f.Purposes}},
				inErrors: p.inErrors, dials: dials,
			})
		}
	}
}

// forwardLabel returns an address as the list shows it, without what may be a
// credential, and what is dialled for it.
func forwardLabel(raw string) (label string, dials []string) {
	u, err := url.Parse(caddy.NewReplacer().ReplaceKnown(raw, ""))
	if err != nil || u.Host == "" {
		return "(an address that cannot be read)", nil
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + u.Host + u.Path, []string{net.JoinHostPort(u.Hostname(), port)}
}
