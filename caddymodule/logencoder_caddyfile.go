package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/zapcore"
)

// UnmarshalCaddyfile sets up the encoder. Syntax:
//
//	consent {
//	    wrap <another encoder>
//	    keep <fields...>
//	}
//
// Both are optional, and so is the block.
func (e *LogEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the encoder's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(subdirectives)
	for d.NextBlock(0) {
		if err := seen.once(d); err != nil {
			return err
		}
		switch d.Val() {
		case "wrap":
			if !d.NextArg() {
				return d.ArgErr()
			}
			name := d.Val()
			id := "caddy.logging.encoders." + name
			mod, err := caddyfile.UnmarshalModule(d, id)
			if err != nil {
				return err
			}
			enc, ok := mod.(zapcore.Encoder)
			if !ok {
				return d.Errf("module %s (%T) is no log encoder", id, mod)
			}
			e.WrappedRaw = caddyconfig.JSONModuleObject(enc, "format", name, nil)
		case "keep":
			e.Keep = d.RemainingArgs()
			if len(e.Keep) == 0 {
				return d.ArgErr()
			}
		default:
			return d.Errf("unrecognized subdirective %q; `consent` as a log format knows wrap and keep", d.Val())
		}
	}
	return nil
}

// subdirectives remembers which subdirectives of a block have been seen.
type subdirectives map[string]bool

// once returns an error when the current subdirective has been seen before.
func (s subdirectives) once(d *caddyfile.Dispenser) error {
	if s[d.Val()] {
		return d.Errf("%s is given twice; give it once", d.Val())
	}
	s[d.Val()] = true
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*LogEncoder)(nil)
