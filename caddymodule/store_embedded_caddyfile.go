package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	embedded [<path>]
func (s *EmbeddedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		s.Path = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unrecognized subdirective %q; the embedded store has none", d.Val())
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*EmbeddedStore)(nil)
