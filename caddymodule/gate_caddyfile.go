package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("consent_gate", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		g := new(Gate)
		return g, g.UnmarshalCaddyfile(h.Dispenser)
	})
	// Ahead of handle and route, so that a gate beside one is never skipped;
	// after what finds out who the user is; inside encode.
	httpcaddyfile.RegisterDirectiveOrder("consent_gate", httpcaddyfile.Before, "invoke")
}

// UnmarshalCaddyfile sets up the gate from Caddyfile tokens. Syntax:
//
//	consent_gate <recipient> {
//		subject        <placeholder> | json <path> | query <name> | cookie <name>
//		device         <placeholder> | json <path> | query <name> | cookie <name>
//		purposes       <purpose...>
//		exempt         <exemption...>
//		records        <path>
//		mode           enforce | observe
//		max_body       <size>
//		on_unreadable  block | pass
//		on_store_error block | strip
//		media          <type...>
//		session        <cookie...>
//		path           <pattern...>
//		live           websocket | sse | incremental ...
//		forward        <recipient> <url...> { ... }
//		response       <recipient> {
//			subject  <placeholder> | json <path> | query <name> | cookie <name>
//			device   <placeholder> | json <path> | query <name> | cookie <name>
//			purposes <purpose...>
//			records  <path>
//		}
//	}
//
// subject, device, exempt and forward may be repeated; see Forward for what stands in
// the block of forward.
func (g *Gate) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive
	if !d.Args(&g.Recipient) {
		return d.Err("which recipient of the policy does this route go to? Write consent_gate RECIPIENT")
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		name := d.Val()
		switch name {
		case "subject", "device", "exempt", "forward":
		default:
			if seen[name] {
				return d.Errf("%s is given twice", name)
			}
			seen[name] = true
		}
		if err := g.unmarshalSubdirective(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) unmarshalSubdirective(d *caddyfile.Dispenser, name string) error {
	word := func(to *string) error {
		if !d.Args(to) || d.NextArg() {
			return d.Errf("%s takes one argument", name)
		}
		return nil
	}
	words := func(to *[]string) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s takes at least one argument", name)
		}
		*to = append(*to, args...)
		return nil
	}
	switch name {
	case "subject":
		return unmarshalSource(d, name, &g.Subject)
	case "device":
		return unmarshalSource(d, name, &g.Device)
	case "purposes":
		return words(&g.Purposes)
	case "exempt":
		return words(&g.Exempt)
	case "media":
		return words(&g.Media)
	case "session":
		return words(&g.Session)
	case "path":
		return words(&g.Paths)
	case "live":
		return words(&g.Live)
	case "response":
		g.Response = new(Response)
		return g.Response.unmarshal(d)
	case "forward":
		f := new(Forward)
		g.Forward = append(g.Forward, f)
		return f.unmarshal(d)
	case "records":
		return word(&g.Records)
	case "mode":
		return word(&g.Mode)
	case "on_unreadable":
		return word(&g.OnUnreadable)
	case "on_store_error":
		return word(&g.OnStoreError)
	case "max_body":
		var size string
		if err := word(&size); err != nil {
			return err
		}
		n, err := humanize.ParseBytes(size)
		if err != nil || n == 0 || n > 1<<31 {
			return d.Errf("max_body %s is no size between 1 byte and 2 GiB: write 4MiB", size)
		}
		g.MaxBody = int64(n)
		return nil
	}
	return d.Errf("unrecognized subdirective %q of consent_gate; it knows subject, device, purposes, exempt, records, mode, max_body, on_unreadable, on_store_error, media, session, path, live, forward and response", name)
}

// unmarshal reads what stands after `response`.
func (p *Response) unmarshal(d *caddyfile.Dispenser) error {
	if !d.Args(&p.Recipient) || d.NextArg() {
		return d.Err("which recipient of the policy gets the responses? Write response RECIPIENT")
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "subject" && name != "device" {
			return d.Errf("%s is given twice", name)
		}
		seen[name] = true
		switch name {
		case "subject":
			if err := unmarshalSource(d, name, &p.Subject); err != nil {
				return err
			}
		case "device":
			if err := unmarshalSource(d, name, &p.Device); err != nil {
				return err
			}
		case "purposes":
			if p.Purposes = d.RemainingArgs(); len(p.Purposes) == 0 {
				return d.Errf("%s takes at least one argument", name)
			}
		case "records":
			if !d.Args(&p.Records) || d.NextArg() {
				return d.Errf("%s takes one argument", name)
			}
		default:
			return d.Errf("unrecognized subdirective %q of response; it knows subject, device, purposes and records", name)
		}
	}
	return nil
}

func unmarshalSource(d *caddyfile.Dispenser, name string, to *[]IDSource) error {
	args := d.RemainingArgs()
	var s IDSource
	switch {
	case len(args) == 1:
		s.Placeholder = args[0]
	case len(args) == 2 && args[0] == "json":
		s.JSON = args[1]
	case len(args) == 2 && args[0] == "query":
		s.Query = args[1]
	case len(args) == 2 && args[0] == "cookie":
		s.Cookie = args[1]
	default:
		return d.Errf("%s takes a placeholder, or json PATH, query NAME or cookie NAME", name)
	}
	*to = append(*to, s)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Gate)(nil)
