package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

func init() {
	caddy.RegisterModule(&Gate{})
}

// Gate lets through to one recipient only the personal data that the policy and
// the subject's consent allow. It stands in front of the handler that sends the
// request on, such as `reverse_proxy`: bodies, query strings, cookies and the
// headers that the policy names leave it as that recipient may have them, and
// everything else byte for byte as it came.
//
// A subject that is not named, or whom nobody knows, has granted nothing.
type Gate struct {
	// The recipient of the policy that the next handler sends to. Required.
	Recipient string `json:"recipient,omitempty"`

	// Where a request names the user that it is about, in order of precedence:
	// the first that yields a value wins.
	Subject []IDSource `json:"subject,omitempty"`

	// Where a request names the device, by an installation id that the app made
	// at random, in order of precedence.
	Device []IDSource `json:"device,omitempty"`

	// The purposes that this route serves. Default: all of the recipient's.
	Purposes []string `json:"purposes,omitempty"`

	// The exemptions of the policy that this route invokes. They hold for its upstream
	// and its responses, and never for what is forwarded. Default: none.
	Exempt []string `json:"exempt,omitempty"`

	// The path, in a JSON body, of the array that holds the records of many
	// subjects; `.` is the body itself. The JSON paths of Subject and Device
	// are then read inside each record. Default: the body is one record.
	Records string `json:"records,omitempty"`

	// What the gate does: `enforce` (the default), or `observe`, which decides
	// and counts, but refuses nothing and changes nothing.
	Mode string `json:"mode,omitempty"`

	// The longest body that is read, in bytes, before and after decoding; a
	// longer one is refused with 413. Of a stream, the longest line, event or
	// message. Default: 4 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// What happens to a body that cannot be read: what is, claims or looks like
	// JSON or a form and does not decode, and any type that Media does not
	// list. `block` (the default) refuses it with 400 or 415, `pass` sends it on
	// uninspected. A bad line of a stream is refused all the same.
	OnUnreadable string `json:"on_unreadable,omitempty"`

	// What happens when the store of consents cannot be asked: `block` (the
	// default) answers 503, `strip` treats the subject as one who has granted
	// nothing.
	OnStoreError string `json:"on_store_error,omitempty"`

	// Media types, such as `image/*`, whose bodies are no fields and may be sent
	// on. Unless `location.media` passes, photos and films of the formats that
	// internal/media knows lose the place where they were taken, or go where that
	// cannot be done, and other images are refused with 415. What is neither, such
	// as sound of a format that is not known, passes as it came.
	Media []string `json:"media,omitempty"`

	// The cookies that carry the session. To a first party they, and the
	// Authorization header, always pass: they are how people reach their own
	// rights.
	Session []string `json:"session,omitempty"`

	// Paths whose segments hold personal data, such as
	// `/v1/users/{account.id}/*`: a category in braces names what a segment
	// holds, `*` is any segment, and at the end any number of them. A segment
	// that may not pass refuses the request.
	Paths []string `json:"paths,omitempty"`

	// Which live streams the route lets through, message by message:
	// `websocket`, `sse` (events of a response) and `incremental` (bodies that
	// ask to be sent on as they come). Default: none, they are refused.
	Live []string `json:"live,omitempty"`

	// Who else gets each record that comes in, such as ad partners. Default: nobody.
	Forward []*Forward `json:"forward,omitempty"`

	// Whom the responses go to, where that is not the subject: they are
	// filtered as that recipient may have them. Default: responses pass.
	Response *Response `json:"response,omitempty"`

	app      *App
	partners []*partner // of Forward
	logger   *zap.Logger
	route    atomic.Pointer[route]
}

// IDSource is one place where a request names a subject. Exactly one member is
// given.
type IDSource struct {
	// Any placeholder, such as `{http.request.header.X-User-ID}` or
	// `{http.auth.user.id}`.
	Placeholder string `json:"placeholder,omitempty"`

	// A path in a JSON body, anchored at the record.
	JSON string `json:"json,omitempty"`

	// The name of a query parameter.
	Query string `json:"query,omitempty"`

	// The name of a cookie.
	Cookie string `json:"cookie,omitempty"`
}

// Response says how responses are filtered.
type Response struct {
	// The recipient of the policy that gets the responses. Required.
	Recipient string `json:"recipient,omitempty"`

	// Where a response names the user that it is about: `json` paths are read
	// in the response, all else in the request. Default: the gate's own.
	Subject []IDSource `json:"subject,omitempty"`

	// Likewise, the device.
	Device []IDSource `json:"device,omitempty"`

	// The purposes that the response serves. Default: all of the recipient's.
	Purposes []string `json:"purposes,omitempty"`

	// The path of the array that holds the records of many subjects, in a JSON
	// response; `.` is the body itself. Default: the body is one record.
	Records string `json:"records,omitempty"`
}

// route is what a gate makes of a policy.
type route struct {
	of    *Current
	up    lane
	down  *lane  // nil: responses pass
	name  string // of the policy, as the Consent-Gate header gives it
	paths pathRules
}

const (
	modeObserve    = "observe"
	choicePass     = "pass"
	choiceStrip    = "strip"
	defaultMaxBody = 4 << 20

	liveWebSocket   = "websocket"
	liveSSE         = "sse"
	liveIncremental = "incremental"
)

// CaddyModule returns the Caddy module information.
func (*Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.consent_gate",
		New: func() caddy.Module { return new(Gate) },
	}
}

// Provision compiles the policy for this route.
func (g *Gate) Provision(ctx caddy.Context) error {
	g.logger = ctx.Logger()
	if g.MaxBody == 0 {
		g.MaxBody = defaultMaxBody
	}
	if err := g.check(); err != nil {
		return err
	}
	hideInLogs(g.Paths)
	app, err := ctx.App("consent")
	if err != nil {
		return fmt.Errorf("consent_gate: %w", err)
	}
	g.app = app.(*App)
	for _, f := range g.Forward {
		p, err := g.app.partner(f)
		if err != nil {
			return fmt.Errorf("consent_gate: %w", err)
		}
		g.partners = append(g.partners, p)
	}
	rt, err := g.makeRoute(g.app.Current())
	if err != nil {
		return fmt.Errorf("consent_gate: %w", err)
	}
	g.route.Store(rt)
	g.app.OnPolicy(func(next *Current) (func(), error) {
		rt, err := g.makeRoute(next)
		if err != nil {
			return nil, fmt.Errorf("consent_gate %s: %w", g.Recipient, err)
		}
		return func() { g.route.Store(rt) }, nil
	})
	return nil
}

// check finds what is wrong with the configuration itself.
func (g *Gate) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("consent_gate: "+format, args...)) }
	if g.Recipient == "" {
		wrong("no recipient: write `consent_gate RECIPIENT`")
	}
	switch g.Mode {
	case "", "enforce", modeObserve:
	default:
		wrong("mode is enforce or observe, not %q", g.Mode)
	}
	switch g.OnUnreadable {
	case "", "block", choicePass:
	default:
		wrong("on_unreadable is block or pass, not %q", g.OnUnreadable)
	}
	switch g.OnStoreError {
	case "", "block", choiceStrip:
	default:
		wrong("on_store_error is block or strip, not %q", g.OnStoreError)
	}
	if g.MaxBody < 1 || g.MaxBody > payload.MaxBytes {
		wrong("max_body is between 1 and %d bytes, not %d", payload.MaxBytes, g.MaxBody)
	}
	sources := slices.Concat(g.Subject, g.Device)
	if d := g.Response; d != nil {
		if d.Recipient == "" {
			wrong("response names the recipient that gets the responses: write `response RECIPIENT`")
		}
		sources = slices.Concat(sources, d.Subject, d.Device)
	}
	for i, f := range g.Forward {
		if f == nil {
			wrong("forward is null: leave it out, or say to whom and where")
			return errors.Join(errs...)
		}
		if err := f.check(); err != nil {
			errs = append(errs, err)
		}
		if slices.ContainsFunc(g.Forward[:i], func(o *Forward) bool { return o.Recipient == f.Recipient }) {
			wrong("forward %s is given twice", f.Recipient)
		}
	}
	for _, name := range g.Live {
		switch name {
		case liveWebSocket, liveSSE, liveIncremental:
		default:
			wrong("live is websocket, sse or incremental, not %q", name)
		}
	}
	for _, s := range sources {
		given := 0
		for _, v := range []string{s.Placeholder, s.JSON, s.Query, s.Cookie} {
			if v != "" {
				given++
			}
		}
		switch {
		case given != 1:
			wrong("a subject or device is one of a placeholder, json PATH, query NAME and cookie NAME")
		case s.Placeholder != "" && !placeholder.MatchString(s.Placeholder):
			wrong("%s is no placeholder, so that everybody would be the same person: write {http.request.header.X-User-ID}, json PATH, query NAME or cookie NAME", s.Placeholder)
		}
	}
	for _, t := range g.Media {
		if major, minor, ok := strings.Cut(t, "/"); !ok || major == "" || major == "*" || minor == "" {
			wrong("media %q is no type: write image/*, or video/mp4", t)
		} else if k := kindOfType(strings.ToLower(t)); k != bodyOther {
			wrong("media %q can hold fields: it is read, and cannot be listed", t)
		}
	}
	return errors.Join(errs...)
}

// placeholder is a text with something in it that each request fills in.
var placeholder = regexp.MustCompile(`^[^{}]*\{[^{}]+\}([^{}]|\{[^{}]+\})*$`)

// makeRoute compiles a policy for this route.
func (g *Gate) makeRoute(cur *Current) (*route, error) {
	p := cur.Policy
	rt := &route{of: cur, name: fmt.Sprintf("%q", p.ID()+"@"+p.InForce())}
	var err error
	specs := []rules.RouteSpec{{Recipient: g.Recipient, Purposes: g.Purposes, Exempt: g.Exempt}}
	for _, f := range g.Forward {
		specs = append(specs, rules.RouteSpec{Recipient: f.Recipient, Purposes: f.Purposes})
	}
	rt.up, err = newLane(cur, g.Subject, g.Device, g.Records, specs...)
	if err != nil {
		return nil, err
	}
	if err := inCrowds(rt.up.plan.Routes[0]); err != nil {
		return nil, err
	}
	for i, r := range rt.up.plan.Routes[1:] {
		if r.Recipient().Per != "" {
			return nil, fmt.Errorf("forward %s: nobody can tell which party behind it a record is for: forward to a recipient without per", r.Recipient().ID)
		}
		ids, err := newRecordIDs(r.Recipient().ID, g.Forward[i].recordIDPaths(r.Recipient()))
		if err != nil {
			return nil, fmt.Errorf("forward %s: record_ids: %w", r.Recipient().ID, err)
		}
		rt.up.forwards = append(rt.up.forwards, forwardLane{partner: g.partners[i], rules: r, purposes: specs[i+1].Purposes, ids: ids})
	}
	for _, pattern := range g.Paths {
		r, err := parsePath(pattern, p)
		if err != nil {
			return nil, err
		}
		rt.paths = append(rt.paths, r)
	}
	if d := g.Response; d != nil {
		subject, device := d.Subject, d.Device
		if subject == nil && device == nil {
			subject, device = g.Subject, g.Device
		}
		down, err := newLane(cur, subject, device, d.Records, rules.RouteSpec{Recipient: d.Recipient, Purposes: d.Purposes, Exempt: g.Exempt})
		if err != nil {
			return nil, fmt.Errorf("response: %w", err)
		}
		if err := inCrowds(down.rules); err != nil {
			return nil, fmt.Errorf("response: %w", err)
		}
		down.down, rt.down = true, &down
	}
	return rt, nil
}

// inCrowds refuses a recipient that asks for k-anonymity where data goes to it one
// by one: what a request holds cannot wait for others to show the same.
func inCrowds(r *rules.Route) error {
	if rec := r.Recipient(); rec.KAnonymity != nil {
		return fmt.Errorf("the recipient %s asks for k-anonymity, which is kept for what is forwarded: write `forward %s URL` in the gate of the route where its records come in", rec.ID, rec.ID)
	}
	return nil
}

// newLane compiles the policy for what goes to one recipient.
func newLane(cur *Current, subject, device []IDSource, records string, specs ...rules.RouteSpec) (lane, error) {
	in := rules.Inbound{
		Subject: jsonPaths(subject), Device: jsonPaths(device), Records: records,
		Opener: opener{}, Cleaner: cleaner{},
	}
	plan, err := cur.Policy.Plan(in, specs...)
	if err != nil {
		return lane{}, err
	}
	return lane{
		of: cur, plan: plan, rules: plan.Routes[0], headers: newHeaderRules(cur.Policy),
		subject: newSources(subject), device: newSources(device), addresses: newAddressRule(cur.Policy),
	}, nil
}

func jsonPaths(sources []IDSource) (paths []string) {
	for _, s := range sources {
		if s.JSON != "" {
			paths = append(paths, s.JSON)
		}
	}
	return paths
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rt := g.route.Load()
	delete(r.Header, gateHeader)
	for name := range r.Header {
		if len(name) == len(gateHeader) && strings.Contains(name, "_") && payload.Fold(name) == "consentgate" {
			delete(r.Header, name) // Consent_Gate is the same header to many a server
		}
	}
	v := visit{judge: judge{g: g, ln: &rt.up, r: r}, rt: rt} // decide makes it a judge who knows the subject
	if refusal := v.decide(); refusal != nil {
		if g.Mode != modeObserve || refusal.enforced {
			g.app.metrics.countRequest(g.Recipient, refusal.Kind)
			if r.ProtoMajor == 1 && r.Header.Get("Expect") != "" && !v.read {
				w.Header().Set("Connection", "close") // the body that was announced never comes
			}
			v.empty()
			refusal.write(w)
			return nil
		}
		g.app.metrics.countRequest(g.Recipient, observed+refusal.Kind)
		v.restore()
		return v.observe(w, next)
	}
	if g.Mode == modeObserve {
		v.count("observed")
		v.restore()
		if v.webSocket() {
			w = v.openSocket(w)
		}
		return v.accepted(w, func(w http.ResponseWriter) error { return v.observe(w, next) })
	}
	v.count("forwarded")
	v.forward()
	if v.webSocket() {
		w = v.openSocket(w)
	}
	return v.accepted(w, func(w http.ResponseWriter) error {
		if rt.down != nil {
			return v.respond(w, next)
		}
		return next.ServeHTTP(w, r)
	})
}

// caught logs a panic of what runs beside the request's own goroutine, where the
// server does not catch it and it would be the end of the process. What it says may
// hold a value, and is left out.
func (g *Gate) caught(p any) {
	g.logger.Error("a panic, for which a message is refused", zap.String("type", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
}

// listed reports whether the media type is one that Media lists.
func (g *Gate) listed(mediaType string) bool {
	for _, t := range g.Media {
		t = strings.ToLower(t)
		if t == mediaType || strings.HasSuffix(t, "/*") && strings.HasPrefix(mediaType, t[:len(t)-1]) {
			return true
		}
	}
	return false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
