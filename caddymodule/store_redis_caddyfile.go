package caddymodule

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	redis [<addresses...>] {
//	    address        <addresses...>
//	    username       <name>
//	    password       <secret>
//	    db             <number>
//	    sentinel       <master name> [<username> <password>]
//	    cluster
//	    wait           <replicas> <timeout>
//	    dial_timeout   <duration>
//	    read_timeout   <duration>
//	    write_timeout  <duration>
//	    pool_size      <connections>
//	    tls {
//	        ca                   <PEM file>
//	        server_name          <name>
//	        insecure_skip_verify
//	    }
//	}
//
// Where addresses stand on the first line, `address` is not given as well.
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	s.Addresses = d.RemainingArgs()
	seen := make(subdirectives)
	if len(s.Addresses) > 0 {
		seen["address"] = true
	}
	for d.NextBlock(0) {
		if err := seen.once(d); err != nil {
			return err
		}
		if err := s.unmarshalOption(d); err != nil {
			return err
		}
	}
	if s.Sentinel != nil && s.Cluster {
		return d.Err("a redis store is either found through sentinel or a cluster; give one of the two")
	}
	return nil
}

func (s *RedisStore) unmarshalOption(d *caddyfile.Dispenser) error {
	name := d.Val()
	switch name {
	case "address":
		s.Addresses = d.RemainingArgs()
		if len(s.Addresses) == 0 {
			return d.ArgErr()
		}
		return nil
	case "cluster":
		s.Cluster = true
		return noArgs(d)
	case "sentinel":
		args := d.RemainingArgs()
		s.Sentinel = new(RedisSentinel)
		switch len(args) {
		case 3:
			s.Sentinel.Username, s.Sentinel.Password = args[1], args[2]
			fallthrough
		case 1:
			s.Sentinel.Master = args[0]
			return nil
		}
		return d.Errf("sentinel takes the name of the master, or that and a username and password; it got %d arguments", len(args))
	case "wait":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.Err("wait takes the number of replicas that must acknowledge a write, and a timeout: wait 1 500ms")
		}
		replicas, err := strconv.Atoi(args[0])
		if err != nil {
			return d.Errf("wait: %q is no number of replicas", args[0])
		}
		timeout, err := caddy.ParseDuration(args[1])
		if err != nil {
			return d.Errf("wait: %v", err)
		}
		s.Wait = &RedisWait{Replicas: replicas, Timeout: caddy.Duration(timeout)}
		return nil
	case "tls":
		s.TLS = new(RedisTLS)
		return s.TLS.unmarshal(d)
	}

	var arg string
	switch name {
	case "username", "password", "db", "pool_size", "dial_timeout", "read_timeout", "write_timeout":
		if !d.NextArg() {
			// a secret that resolves to nothing is not given
			if name == "username" || name == "password" {
				return nil
			}
			return d.ArgErr()
		}
		arg = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	default:
		return d.Errf("unrecognized subdirective %q of store redis; it knows address, username, password, db, sentinel, cluster, wait, tls, pool_size, dial_timeout, read_timeout and write_timeout", name)
	}
	switch name {
	case "username":
		s.Username = arg
	case "password":
		s.Password = arg
	case "db":
		return parseInt(d, arg, &s.DB)
	case "pool_size":
		return parseInt(d, arg, &s.PoolSize)
	case "dial_timeout":
		return parseDuration(d, arg, &s.DialTimeout)
	case "read_timeout":
		return parseDuration(d, arg, &s.ReadTimeout)
	case "write_timeout":
		return parseDuration(d, arg, &s.WriteTimeout)
	}
	return nil
}

func (t *RedisTLS) unmarshal(d *caddyfile.Dispenser) error {
	if err := noArgs(d); err != nil {
		return err
	}
	seen := make(subdirectives)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.once(d); err != nil {
			return err
		}
		switch d.Val() {
		case "ca":
			if !d.AllArgs(&t.CA) {
				return d.ArgErr()
			}
		case "server_name":
			if !d.AllArgs(&t.ServerName) {
				return d.ArgErr()
			}
		case "insecure_skip_verify":
			t.InsecureSkipVerify = true
			if err := noArgs(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective %q of tls; it knows ca, server_name and insecure_skip_verify", d.Val())
		}
	}
	return nil
}

func noArgs(d *caddyfile.Dispenser) error {
	name := d.Val()
	if args := d.RemainingArgs(); len(args) > 0 {
		return d.Errf("%s takes no argument; it got %s", name, strings.Join(args, " "))
	}
	return nil
}

func parseInt(d *caddyfile.Dispenser, arg string, to *int) error {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 {
		return d.Errf("%q is no whole number of 0 or more", arg)
	}
	*to = n
	return nil
}

func parseDuration(d *caddyfile.Dispenser, arg string, to *caddy.Duration) error {
	v, err := caddy.ParseDuration(arg)
	if err != nil || v <= 0 {
		return d.Errf("%q is no duration; write it as 500ms, 3s or 1m", arg)
	}
	*to = caddy.Duration(v)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*RedisStore)(nil)
