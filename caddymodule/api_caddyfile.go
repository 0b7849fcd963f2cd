package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/consent"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("consent_api", parseAPI)
	httpcaddyfile.RegisterDirectiveOrder("consent_api", httpcaddyfile.Before, "respond")
}

func parseAPI(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	api := new(API)
	return api, api.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	consent_api [<matcher>] {
//	    token <secrets...>
//	    self  <placeholder> [user|device]
//	}
//
// Several tokens may be given, so that one can be replaced while the other is
// still in use. A token that resolves to nothing counts as not given.
func (a *API) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consent_api
	if err := noArgs(d); err != nil {
		return err
	}
	seen := make(subdirectives)
	for d.NextBlock(0) {
		if err := seen.once(d); err != nil {
			return err
		}
		switch d.Val() {
		case "token":
			a.Tokens = d.RemainingArgs()
		case "self":
			args := d.RemainingArgs()
			if len(args) == 0 || len(args) > 2 {
				return d.Err("self takes a placeholder that names the caller, and the kind of subject that it is (user or device): self {http.auth.user.id}")
			}
			a.Self = &Self{Subject: args[0]}
			if len(args) == 2 {
				a.Self.Kind = consent.Kind(args[1])
				if a.Self.Kind != consent.User && a.Self.Kind != consent.Device {
					return d.Errf("self: %q is no kind of subject; it is user or device", args[1])
				}
			}
		default:
			return d.Errf("unrecognized subdirective %q of consent_api; it knows token and self", d.Val())
		}
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*API)(nil)
