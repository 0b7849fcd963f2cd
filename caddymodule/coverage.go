package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// What coverage says of a route that reaches an upstream.
const (
	verdictGated     = "gated"       // a gate that enforces stands in front
	verdictObserved  = "observed"    // a gate stands in front, and changes nothing
	verdictNamed     = "named"       // no gate, as the operator has said
	verdictUncovered = "NOT COVERED" // no gate
)

// coverage is which gate guards which way to an upstream. It is made of a
// configuration alone, until checkBorders looks up names: nothing is dialled, and
// no request is looked at.
type coverage struct {
	Routes   []*coveredRoute   `json:"routes"`
	Unseen   []string          `json:"unseen,omitempty"` // apps and handlers that may reach an upstream, and that nobody here can read
	Warnings []string          `json:"warnings,omitempty"`
	Notes    []string          `json:"notes,omitempty"` // what could not be looked at
	Errors   []coverageProblem `json:"errors,omitempty"`

	app coveringApp
}

// coveringApp is what a configuration says of the app.
type coveringApp struct {
	Policy    string   `json:"policy"`
	GeoIP     string   `json:"geoip"`
	Uncovered []string `json:"uncovered"`
}

// coveredRoute is one way to an upstream.
type coveredRoute struct {
	Listen   string         `json:"listen"`   // the addresses of the server, such as ":443"
	Route    string         `json:"route"`    // what a request must match, such as "api.example.com /v1/*"
	Upstream string         `json:"upstream"` // where it goes, such as "127.0.0.1:3000" or "fastcgi 127.0.0.1:9000"
	Gates    []coveringGate `json:"gates"`    // in the order in which they run
	Verdict  string         `json:"verdict"`

	inErrors bool
	dials    []string // the addresses that are dialled, such as "partner.example:443"
	dynamic  bool     // others are, too
}

// name is how the operator names the route in `uncovered`: what the first three
// columns of the table say.
func (r *coveredRoute) name() string { return r.Listen + " " + r.Route + " " + r.Upstream }

// coveringGate is what a configuration says of a gate.
type coveringGate struct {
	Recipient    string   `json:"recipient"`
	Purposes     []string `json:"purposes,omitempty"` // none: all of the recipient's
	Mode         string   `json:"mode,omitempty"`
	OnUnreadable string   `json:"on_unreadable,omitempty"`
	OnStoreError string   `json:"on_store_error,omitempty"`
	// Response is set where the responses go to another recipient.
	Response *struct {
		Recipient string `json:"recipient"`
	} `json:"response,omitempty"`
	// Forward are the ways to partners, which are routes of their own.
	Forward []coveringForward `json:"forward,omitempty"`
}

// coveringForward is what a configuration says of a way to a partner.
type coveringForward struct {
	Recipient string   `json:"recipient"`
	URLs      []string `json:"urls"`
	Purposes  []string `json:"purposes,omitempty"`
}

// who names the recipients as the table does.
func (g coveringGate) who() string {
	if g.Response == nil {
		return g.Recipient
	}
	return g.Recipient + " (responses: " + g.Response.Recipient + ")"
}

func (g coveringGate) enforces() bool { return g.Mode != modeObserve }

// coverageProblem is one reason why a configuration must not be used.
type coverageProblem struct {
	Kind    string `json:"kind"` // uncovered, stale, two_gates, log_body, log_encoder
	Message string `json:"message"`
}

// coverageOf reads Caddy's JSON.
func coverageOf(config []byte) (*coverage, error) {
	var c struct {
		Logging loggingConfig              `json:"logging"`
		Apps    map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("the configuration is no JSON that Caddy takes: %w", err)
	}
	var app coveringApp
	if raw := c.Apps["consent"]; raw != nil {
		if err := json.Unmarshal(raw, &app); err != nil {
			return nil, fmt.Errorf("apps.consent: %w", err)
		}
	}
	httpApp := c.Apps["http"]
	cov, err := httpCoverage(httpApp, app.Uncovered)
	if err != nil {
		return nil, err
	}
	cov.app = app
	for name := range c.Apps {
		if !slices.Contains(appsWithoutUpstreams, name) {
			cov.Unseen = append(cov.Unseen, "app "+name)
		}
	}
	slices.Sort(cov.Unseen)
	if httpApp != nil {
		cov.Errors = append(cov.Errors, c.Logging.problems()...)
	}
	return cov, nil
}

// appsWithoutUpstreams are the apps that send no request on, and http itself.
var appsWithoutUpstreams = []string{"http", "tls", "pki", "events", "caddy.filesystems", "consent"}

// httpCoverage reads the JSON of the http app. uncovered is what the operator
// has named.
func httpCoverage(config []byte, uncovered []string) (*coverage, error) {
	cov := &coverage{Routes: []*coveredRoute{}}
	if config != nil {
		var app struct {
			Servers map[string]serverConfig `json:"servers"`
		}
		if err := json.Unmarshal(config, &app); err != nil {
			return nil, fmt.Errorf("apps.http: %w", err)
		}
		names := make([]string, 0, len(app.Servers))
		for name := range app.Servers {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			srv := app.Servers[name]
			w := coverageWalk{cov: cov, listen: srv.address(), named: srv.NamedRoutes}
			if err := w.server(srv); err != nil {
				return nil, fmt.Errorf("apps.http.servers.%s: %w", name, err)
			}
		}
	}
	slices.Sort(cov.Unseen)
	cov.Unseen = slices.Compact(cov.Unseen)
	slices.SortStableFunc(cov.Routes, func(a, b *coveredRoute) int {
		return strings.Compare(a.Listen, b.Listen)
	})
	cov.judge(uncovered)
	return cov, nil
}

// serverConfig is what coverage reads of one HTTP server.
type serverConfig struct {
	Listen      []string               `json:"listen"`
	Routes      []routeConfig          `json:"routes"`
	NamedRoutes map[string]routeConfig `json:"named_routes"`
	Errors      struct {
		Routes []routeConfig `json:"routes"`
	} `json:"errors"`
}

// address is where the server listens, as the list shows it.
func (s serverConfig) address() string {
	if len(s.Listen) == 0 {
		return "(nowhere)"
	}
	repl := caddy.NewReplacer()
	listen := make([]string, len(s.Listen))
	for i, addr := range s.Listen {
		listen[i] = repl.ReplaceAll(addr, "")
	}
	slices.Sort(listen)
	return strings.Join(listen, ",")
}

// judge gives each route its verdict, and says what is wrong.
func (c *coverage) judge(uncovered []string) {
	used := make(map[string]bool)
	for _, r := range c.Routes {
		enforcing := 0
		for _, g := range r.Gates {
			if g.enforces() {
				enforcing++
			}
			c.warn(r, g)
		}
		switch {
		case enforcing > 0:
			r.Verdict = verdictGated
		case len(r.Gates) > 0:
			r.Verdict = verdictObserved
		case slices.Contains(uncovered, r.name()):
			used[r.name()] = true
			r.Verdict = verdictNamed
		default:
			r.Verdict = verdictUncovered
			c.problem("uncovered", "%s", r.advice())
		}
		if enforcing > 1 {
			c.problem("two_gates", "%s: two gates in a row; the second decides on what the first has left. Keep one gate for one recipient", r.name())
		}
	}
	for _, name := range uncovered {
		if !used[name] {
			c.problem("stale", "`uncovered %s` names no route that lacks a gate: take it out, or write it as `policy coverage` shows the route", name)
		}
	}
}

// advice says what to do about a route without a gate.
func (r *coveredRoute) advice() string {
	what := "has no gate. Write `consent_gate RECIPIENT` before it, in the same block; a gate in another block, or with another matcher, does not guard it"
	switch {
	case strings.HasPrefix(r.Upstream, kindForwardAuth+" "):
		what = "runs before the gate and gets the headers and the address of the request as they came. Write it after the gate, in a `route` block"
	case r.inErrors:
		what = "has no gate. A request can come here without having met the gate of its own route: write `consent_gate RECIPIENT` before it, in `handle_errors` as well"
	}
	return fmt.Sprintf("%s %s. If nothing personal goes there, say so in the global option `consent`: `uncovered %s`", r.name(), what, caddyfileArgument(r.name()))
}

// warn lists what lets more through than a gate at its defaults.
func (c *coverage) warn(r *coveredRoute, g coveringGate) {
	var lax []string
	if !g.enforces() {
		lax = append(lax, "`mode observe` takes nothing away and refuses nothing")
	}
	if g.OnUnreadable == choicePass {
		lax = append(lax, "`on_unreadable pass` sends on what cannot be read")
	}
	if g.OnStoreError == choiceStrip {
		lax = append(lax, "`on_store_error strip` drops fields while the store is away, instead of refusing")
	}
	for _, text := range lax {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s", r.name(), text))
	}
}

func (c *coverage) problem(kind, format string, args ...any) {
	c.Errors = append(c.Errors, coverageProblem{Kind: kind, Message: fmt.Sprintf(format, args...)})
}

// caddyfileArgument writes text so that a Caddyfile reads it back as it is.
func caddyfileArgument(text string) string {
	if !strings.ContainsAny(text, "\"`\\#{}") {
		return text // words, which `uncovered` joins again
	}
	if !strings.Contains(text, "`") {
		return "`" + text + "`"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
