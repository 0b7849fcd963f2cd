package caddymodule

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("consent", parseGlobalOption)
}

// parseGlobalOption parses the global option that configures the app.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("the global option consent is given twice; give it once")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "consent", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option. Syntax:
//
//	consent {
//	    policy <file|name>
//	    store  <embedded|redis> ...
//	    cache {
//	        capacity <subjects>
//	        lease    <duration>
//	    }
//	    secret <placeholder>
//	    geoip [<file>]
//	    uncovered <listener> <route> <upstream>
//	}
//
// uncovered may be repeated. Its words are those of the row of `consentgate
// policy coverage` that it names.
//
// A secret that resolves to nothing counts as not given. `geoip` without an
// argument is off.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consent
	if err := noArgs(d); err != nil {
		return err
	}
	seen := make(subdirectives)
	for d.NextBlock(0) {
		if d.Val() == "uncovered" {
			words := d.RemainingArgs()
			if len(words) == 0 {
				return d.Err("uncovered takes a route as `consentgate policy coverage` shows it: the listener, what it matches, and the upstream")
			}
			a.Uncovered = append(a.Uncovered, strings.Join(words, " "))
			continue
		}
		if err := seen.once(d); err != nil {
			return err
		}
		switch d.Val() {
		case "policy":
			if !d.AllArgs(&a.Policy) {
				return d.Err("policy takes one argument: the file of the policy, or the name of one that ships")
			}
		case "store":
			if !d.NextArg() {
				return d.Err("store takes the kind of the store: `store embedded ./data` or `store redis host:6379`")
			}
			kind := d.Val()
			id := storeNamespace + "." + kind
			mod, err := caddyfile.UnmarshalModule(d, id)
			if err != nil {
				return err
			}
			if _, ok := mod.(StoreModule); !ok {
				return d.Errf("module %s (%T) is no consent store", id, mod)
			}
			a.StoreRaw = caddyconfig.JSONModuleObject(mod, "type", kind, nil)
		case "cache":
			a.Caching = new(Caching)
			if err := a.Caching.unmarshal(d); err != nil {
				return err
			}
		case "secret":
			if d.NextArg() {
				a.Secret = d.Val()
			}
			if d.NextArg() {
				return d.ArgErr()
			}
		case "geoip":
			if d.NextArg() {
				a.GeoIP = d.Val()
			}
			if d.NextArg() {
				return d.Err("geoip takes one argument: the file of a GeoIP database, such as GeoLite2-City.mmdb")
			}
		default:
			return d.Errf("unrecognized subdirective %q of consent; it knows policy, store, cache, secret, geoip and uncovered", d.Val())
		}
	}
	return nil
}

func (c *Caching) unmarshal(d *caddyfile.Dispenser) error {
	if err := noArgs(d); err != nil {
		return err
	}
	seen := make(subdirectives)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.once(d); err != nil {
			return err
		}
		name := d.Val()
		var arg string
		switch name {
		case "capacity", "lease":
			if !d.AllArgs(&arg) {
				return d.ArgErr()
			}
		default:
			return d.Errf("unrecognized subdirective %q of cache; it knows capacity and lease", name)
		}
		if name == "lease" {
			if err := parseDuration(d, arg, &c.Lease); err != nil {
				return err
			}
			continue
		}
		n, err := strconv.Atoi(arg)
		if err != nil || n <= 0 {
			return d.Errf("capacity: %q is no number of subjects", arg)
		}
		c.Capacity = n
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
