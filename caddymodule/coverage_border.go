package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/geo"
	"github.com/consentgate/consentgate/rules"
)

// resolver is what looks names up; *net.Resolver is one.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	resolvingAtMost = 5 * time.Second // all names together
	resolvingAtOnce = 8
	slowAfter       = time.Second // then it is told that something is under way
)

// checkBorders warns of upstreams whose address is in another country than the
// policy says. It looks names up, and so is for a command that somebody waits
// for. Without a GeoIP database it does nothing. progress gets a line when it
// takes long.
func (c *coverage) checkBorders(ctx context.Context, dns resolver, progress io.Writer) {
	path := caddy.NewReplacer().ReplaceAll(c.app.GeoIP, "")
	if path == "" {
		return
	}
	db, err := geo.Open(path)
	if err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the countries of the upstreams are not checked: %v", err))
		return
	}
	source := policySource{name: caddy.NewReplacer().ReplaceAll(c.app.Policy, "")}
	policy, err := source.load()
	if err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the countries of the upstreams are not checked: the policy has problems: %v", err))
		return
	}
	found := resolveAll(ctx, dns, c.hosts(), progress)
	for _, r := range c.Routes {
		for _, g := range r.Gates {
			if rec := policy.Recipient(g.Recipient); rec != nil {
				c.border(r, rec, policy.Home(), db, found)
			}
		}
	}
	c.Warnings, c.Notes = distinct(c.Warnings), distinct(c.Notes)
}

// distinct takes out what was said before.
func distinct(texts []string) (out []string) {
	for _, text := range texts {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// border says what is wrong with where one route sends what one recipient gets.
func (c *coverage) border(r *coveredRoute, rec *rules.Recipient, home []string, db *geo.Database, found map[string]resolved) {
	if r.dynamic {
		c.Notes = append(c.Notes, r.name()+": the countries of its upstreams are not checked: only a name server tells which they are")
	}
	for _, dial := range r.dials {
		host, ok := dialledHost(dial)
		if !ok {
			if host != "" {
				c.Notes = append(c.Notes, fmt.Sprintf("%s: the country of %s is not checked: only a request tells the name", r.name(), dial))
			}
			continue
		}
		answer := found[host]
		if answer.err != nil {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: the country of %s is not checked: %v", r.name(), host, answer.err))
			continue
		}
		var where []string
		for _, addr := range answer.addrs {
			var border *geo.BorderError
			if errors.As(db.Check(geo.Border{Recipient: rec.ID, Home: home, Country: rec.Country}, addr), &border) {
				country := border.Country
				if country == "" {
					country = "a country that the GeoIP database does not know"
				}
				where = append(where, fmt.Sprintf("%s (%s)", country, addr))
			}
		}
		if where == nil {
			continue
		}
		declared := "declares no country for " + rec.ID
		if rec.Country != "" {
			declared = "declares " + rec.ID + " to be in " + rec.Country
		}
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s is in %s, and the policy, at home in %s, %s", r.name(), host, strings.Join(where, ", "), strings.Join(home, ", "), declared))
	}
}

// dialledHost returns the host of an address that Caddy dials. ok is false for
// one that is known only to each request, and, with an empty host, for a socket
// on this machine.
func dialledHost(dial string) (host string, ok bool) {
	known := caddy.NewReplacer().ReplaceKnown(dial, "")
	if strings.Contains(known, "{") {
		return known, false
	}
	addr, err := caddy.ParseNetworkAddress(known)
	switch {
	case err != nil:
		return known, false
	case addr.IsUnixNetwork() || addr.IsFdNetwork() || addr.Host == "":
		return "", false
	}
	return addr.Host, true
}

// hosts returns the hosts of all routes that have a gate, each once.
func (c *coverage) hosts() (hosts []string) {
	for _, r := range c.Routes {
		for _, dial := range r.dials {
			if host, ok := dialledHost(dial); ok && len(r.Gates) > 0 && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// resolved is what a name server said of a host.
type resolved struct {
	addrs []netip.Addr
	err   error
}

// resolveAll looks hosts up, several at once. What has no answer in time is an
// error.
func resolveAll(ctx context.Context, dns resolver, hosts []string, progress io.Writer) map[string]resolved {
	ctx, cancel := context.WithTimeout(ctx, resolvingAtMost)
	defer cancel()
	answers := make([]resolved, len(hosts))
	atOnce := make(chan struct{}, resolvingAtOnce)
	var all sync.WaitGroup
	for i, host := range hosts {
		all.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			answers[i] = resolve(ctx, dns, host)
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(slowAfter):
		fmt.Fprintf(progress, "looking up the names of %d upstreams, for %v at most\n", len(hosts), resolvingAtMost)
		<-done
	}
	found := make(map[string]resolved, len(hosts))
	for i, host := range hosts {
		found[host] = answers[i]
	}
	return found
}

// resolve looks one host up; an address is itself.
func resolve(ctx context.Context, dns resolver, host string) resolved {
	if addr, err := netip.ParseAddr(host); err == nil {
		return resolved{addrs: []netip.Addr{addr}}
	}
	addrs, err := dns.LookupNetIP(ctx, "ip", host)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %v", resolvingAtMost)
	case err == nil && len(addrs) == 0:
		err = errors.New("the name has no address")
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return resolved{addrs, err}
}
