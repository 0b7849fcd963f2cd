package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// routeConfig is one route as Caddy's JSON has it.
type routeConfig struct {
	Group  string            `json:"group"`
	Match  matchConfig       `json:"match"`
	Handle []json.RawMessage `json:"handle"`
}

// coverageWalk follows requests through the routes of one server.
type coverageWalk struct {
	cov    *coverage
	listen string
	named  map[string]routeConfig
	depth  int
}

// maxRouteDepth bounds how deep routes may nest; named routes can invoke
// themselves.
const maxRouteDepth = 100

// passage is what is certain of every request that comes to a point of the
// configuration.
type passage struct {
	where    []string // what it had to match
	inErrors bool
	gates    []coveringGate    // it has passed these
	when     []conditionalGate // and these, if it matches what they match
}

// conditionalGate is a gate in a route with matchers. A later route with the
// same matchers is guarded by it, as long as nothing in between changes what
// they look at.
type conditionalGate struct {
	gate  coveringGate
	match string
	// fixed tells that a gate changes nothing that the matchers look at.
	fixed bool
	// within is the group of a route that does change it. Routes of one group
	// exclude each other, so those of the same group are still guarded.
	within string
}

// fork returns a passage that can be changed without changing p.
func (p passage) fork(where ...string) passage {
	p.where = append(slices.Clone(p.where), where...)
	p.gates = slices.Clone(p.gates)
	p.when = slices.Clone(p.when)
	return p
}

// enter is the passage of the requests that match one route.
func (p passage) enter(rt routeConfig) passage {
	var where []string
	if label := rt.Match.label(); label != "" {
		where = append(where, label)
	}
	in := p.fork(where...)
	in.when = nil
	match := rt.Match.key()
	for _, c := range p.when {
		if c.within != "" && c.within != rt.Group {
			continue
		}
		c.within = ""
		if match != "" && c.match == match {
			in.gates = append(in.gates, c.gate)
			continue
		}
		in.when = append(in.when, c)
	}
	return in
}

// change is what a handler may do to what later matchers look at.
type change int

const (
	changesNothing change = iota
	changesAsGate         // headers and query, never host, path or method
	changesAll
)

// changed takes back the conditional gates that can no longer be relied on.
func (p *passage) changed(by change, group string) {
	kept := p.when[:0:0]
	for _, c := range p.when {
		harmless := by == changesNothing || by == changesAsGate && c.fixed
		switch {
		case harmless:
		case group == "" || c.within != "" && c.within != group:
			continue
		default:
			c.within = group
		}
		kept = append(kept, c)
	}
	p.when = kept
}

func (w *coverageWalk) server(srv serverConfig) error {
	if _, err := w.routes(srv.Routes, passage{}); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	// An error may come from ahead of every gate, so no request is known to
	// have met one.
	if _, err := w.routes(srv.Errors.Routes, passage{where: []string{"handle_errors"}, inErrors: true}); err != nil {
		return fmt.Errorf("errors.routes: %w", err)
	}
	return nil
}

// routes follows requests through a list of routes. What gates do in it holds
// in it alone.
func (w *coverageWalk) routes(list []routeConfig, p passage) (change, error) {
	if w.depth++; w.depth > maxRouteDepth {
		return 0, fmt.Errorf("routes nest deeper than %d; does a named route invoke itself?", maxRouteDepth)
	}
	defer func() { w.depth-- }()
	p = p.fork()
	var all change
	for i, rt := range list {
		in := p.enter(rt)
		before := len(in.gates)
		var does change
		for k, raw := range rt.Handle {
			by, err := w.handler(raw, &in)
			if err != nil {
				return 0, fmt.Errorf("%d.handle.%d: %w", i, k, err)
			}
			in.changed(by, "")
			does = max(does, by)
		}
		p.changed(does, rt.Group)
		all = max(all, does)
		if rt.Group != "" {
			continue // another route of the group may have taken its turn
		}
		for _, g := range in.gates[before:] {
			if rt.Match.always() {
				p.gates = append(p.gates, g)
			} else if key := rt.Match.key(); key != "" {
				p.when = append(p.when, conditionalGate{gate: g, match: key, fixed: rt.Match.fixed()})
			}
		}
	}
	return all, nil
}

// handler follows requests through one handler.
func (w *coverageWalk) handler(raw json.RawMessage, p *passage) (change, error) {
	var h struct {
		Handler string          `json:"handler"`
		Routes  []routeConfig   `json:"routes"`  // subroute
		Name    string          `json:"name"`    // invoke
		Request json.RawMessage `json:"request"` // headers
		Errors  struct {
			Routes []routeConfig `json:"routes"`
		} `json:"errors"`
		Key   string `json:"key"` // log_append
		Value string `json:"value"`
	}
	if err := json.Unmarshal(raw, &struct{ Handler *string }{&h.Handler}); err != nil {
		return 0, err
	}
	switch h.Handler {
	case "subroute", "invoke", "headers", "log_append":
		if err := json.Unmarshal(raw, &h); err != nil {
			return 0, fmt.Errorf("%s: %w", h.Handler, err)
		}
	}
	switch h.Handler {
	case "consent_gate":
		var g coveringGate
		if err := json.Unmarshal(raw, &g); err != nil {
			return 0, fmt.Errorf("consent_gate: %w", err)
		}
		w.forwards(g, *p)
		p.gates = append(p.gates, g)
		return changesAsGate, nil
	case "reverse_proxy":
		return w.proxy(raw, *p)
	case "subroute":
		does, err := w.routes(h.Routes, *p)
		if err != nil {
			return 0, fmt.Errorf("subroute.routes.%w", err)
		}
		// An error restores the address of the request, which the gates of
		// the enclosing routes have cleaned, and matchers may have judged.
		failed := p.fork("handle_errors")
		failed.inErrors, failed.when = true, nil
		if _, err := w.routes(h.Errors.Routes, failed); err != nil {
			return 0, fmt.Errorf("subroute.errors.routes.%w", err)
		}
		if len(h.Errors.Routes) > 0 {
			does = changesAll
		}
		return does, nil
	case "invoke":
		rt, ok := w.named[h.Name]
		if !ok {
			return changesAll, nil // Caddy answers 500
		}
		does, err := w.routes([]routeConfig{rt}, p.fork("&("+h.Name+")"))
		if err != nil {
			return 0, fmt.Errorf("invoke %s: %w", h.Name, err)
		}
		return does, nil
	case "headers":
		if len(h.Request) == 0 || string(h.Request) == "null" {
			return changesNothing, nil
		}
		return changesAll, nil // the host is one of the headers
	case "log_append":
		if strings.Contains(h.Value, "{http.request.body") || strings.Contains(h.Value, "{http.response.body") {
			w.cov.problem("log_body", "%s: log_append %s writes bodies into the log, with all that is personal in them. Take it out", w.place(*p), h.Key)
		}
		return changesNothing, nil
	}
	if slices.Contains(handlersThatOnlyAnswer, h.Handler) {
		return changesNothing, nil
	}
	if !slices.Contains(handlersThatPrepare, h.Handler) {
		w.cov.Unseen = append(w.cov.Unseen, "handler "+h.Handler+" at "+w.place(*p))
	}
	if err := w.children(raw, p.fork(nestedLabel(h.Handler))); err != nil {
		return 0, fmt.Errorf("%s: %w", h.Handler, err)
	}
	return changesAll, nil
}

// Handlers that reach no upstream. The first kind leaves to later matchers
// what they look at; the second may change it, or hold routes.
var (
	handlersThatOnlyAnswer = []string{
		"consent_api", "consent_console", "static_response", "error", "file_server", "encode", "templates",
		"tracing", "metrics", "copy_response", "copy_response_headers", "push", "timeouts", "acme_server",
	}
	handlersThatPrepare = []string{"authentication", "intercept", "map", "request_body", "rewrite", "vars"}
)

func nestedLabel(handler string) string {
	if handler == "reverse_proxy" || handler == "intercept" {
		return "handle_response"
	}
	return handler
}

// children follows requests through the routes and handlers that stand anywhere
// in the configuration of a handler. Some run after its answer, with the
// request as it is then: what is certain at the handler is certain there.
func (w *coverageWalk) children(raw json.RawMessage, p passage) error {
	if w.depth++; w.depth > maxRouteDepth {
		return fmt.Errorf("nested deeper than %d", maxRouteDepth)
	}
	defer func() { w.depth-- }()
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return w.listed(list, p)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil // a scalar
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := w.child(object[key], p); err != nil {
			return err
		}
	}
	return nil
}

// listed follows requests through an array: routes in their order, and anything
// else by itself.
func (w *coverageWalk) listed(list []json.RawMessage, p passage) error {
	var routes []routeConfig
	for _, item := range list {
		var rt routeConfig
		if json.Unmarshal(item, &rt) == nil && rt.Handle != nil {
			routes = append(routes, rt)
		} else if err := w.child(item, p); err != nil {
			return err
		}
	}
	_, err := w.routes(routes, p)
	return err
}

func (w *coverageWalk) child(raw json.RawMessage, p passage) error {
	var is struct {
		Handler string            `json:"handler"`
		Handle  []json.RawMessage `json:"handle"`
	}
	if json.Unmarshal(raw, &is) == nil {
		switch {
		case is.Handler != "":
			in := p.fork()
			_, err := w.handler(raw, &in)
			return err
		case is.Handle != nil:
			return w.listed([]json.RawMessage{raw}, p)
		}
	}
	return w.children(raw, p)
}

// place names a point of the configuration.
func (w *coverageWalk) place(p passage) string { return w.listen + " " + p.label() }

// label is what the requests of a passage had to match.
func (p passage) label() string {
	if len(p.where) == 0 {
		return "*"
	}
	return strings.Join(p.where, " ")
}
