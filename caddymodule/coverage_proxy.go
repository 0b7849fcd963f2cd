package caddymodule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// What stands before the address of an upstream that is reached otherwise than
// by a plain reverse_proxy.
const (
	kindForwardAuth = "forward_auth"
	kindDynamic     = "dynamic"
	dynamicA        = "a" // of dynamic upstreams: the addresses of one name
)

// proxyConfig is what coverage reads of a reverse_proxy.
type proxyConfig struct {
	Upstreams []struct {
		Dial string `json:"dial"`
	} `json:"upstreams"`
	Dynamic *struct {
		Source  string `json:"source"`
		Service string `json:"service"`
		Proto   string `json:"proto"`
		Name    string `json:"name"`
		Port    string `json:"port"`
	} `json:"dynamic_upstreams"`
	Transport struct {
		Protocol string `json:"protocol"`
	} `json:"transport"`
	Rewrite struct {
		Method string `json:"method"`
	} `json:"rewrite"`
	Headers struct {
		Request struct {
			Set http.Header `json:"set"`
		} `json:"request"`
	} `json:"headers"`
	HandleResponse json.RawMessage `json:"handle_response"`
}

// proxy notes one way to an upstream.
func (w *coverageWalk) proxy(raw json.RawMessage, p passage) (change, error) {
	var cfg proxyConfig
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return 0, fmt.Errorf("reverse_proxy: %w", err)
	}
	w.cov.Routes = append(w.cov.Routes, &coveredRoute{
		Listen: w.listen, Route: p.label(), Upstream: cfg.label(),
		Gates: slices.Clone(p.gates), inErrors: p.inErrors,
		dials: cfg.dials(), dynamic: cfg.Dynamic != nil && cfg.Dynamic.Source != dynamicA,
	})
	if len(cfg.HandleResponse) == 0 {
		return changesNothing, nil
	}
	if err := w.children(cfg.HandleResponse, p.fork(nestedLabel("reverse_proxy"))); err != nil {
		return 0, fmt.Errorf("reverse_proxy.handle_response: %w", err)
	}
	return changesAll, nil // forward_auth copies headers into the request
}

// dials returns the addresses that the proxy sends to, as far as they stand in the
// configuration.
func (c proxyConfig) dials() (dials []string) {
	for _, u := range c.Upstreams {
		dials = append(dials, u.Dial)
	}
	if d := c.Dynamic; d != nil && d.Source == dynamicA {
		dials = append(dials, net.JoinHostPort(d.Name, cmp.Or(d.Port, "80")))
	}
	return dials
}

// label is where the proxy sends to.
func (c proxyConfig) label() string {
	var words []string
	switch {
	case c.Rewrite.Method == http.MethodGet && c.Headers.Request.Set.Get("X-Forwarded-Uri") != "":
		words = append(words, kindForwardAuth)
	case c.Transport.Protocol != "" && c.Transport.Protocol != "http":
		words = append(words, c.Transport.Protocol)
	}
	for _, u := range c.Upstreams {
		words = append(words, u.Dial)
	}
	if d := c.Dynamic; d != nil {
		words = append(words, kindDynamic)
		for _, word := range []string{d.Source, d.Service, d.Proto, d.Name, d.Port} {
			if word != "" {
				words = append(words, word)
			}
		}
	}
	if len(words) == 0 {
		return "(no upstream)"
	}
	return strings.Join(words, " ")
}
