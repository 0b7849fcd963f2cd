package caddymodule

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
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

	// The exemptions of the policy that this route invokes. Default: none.
	Exempt []string `json:"exempt,omitempty"`

	// The path, in a JSON body, of the array that holds the records of many
	// subjects; `.` is the body itself. The JSON paths of Subject and Device
	// are then read inside each record. Default: the body is one record.
	Records string `json:"records,omitempty"`

	// What the gate does: `enforce` (the default), or `observe`, which decides
	// and counts, but refuses nothing and changes nothing.
	Mode string `json:"mode,omitempty"`

	// The longest body that is read, in bytes; a longer one is refused with
	// 413. Default: 4 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// What happens to a body that cannot be read: what is, claims or looks like
	// JSON or a form and does not decode, and any type that Media does not
	// list. `block` (the default) refuses it with 400 or 415, `pass` sends it on
	// uninspected.
	OnUnreadable string `json:"on_unreadable,omitempty"`

	// What happens when the store of consents cannot be asked: `block` (the
	// default) answers 503, `strip` treats the subject as one who has granted
	// nothing.
	OnStoreError string `json:"on_store_error,omitempty"`

	// Media types, such as `image/*`, whose bodies are no fields and may be sent
	// on. They can hide where they were taken, so they pass only where
	// `location.media` may.
	Media []string `json:"media,omitempty"`

	// The cookies that carry the session. To a first party they, and the
	// Authorization header, always pass: they are how people reach their own
	// rights.
	Session []string `json:"session,omitempty"`

	app    *App
	logger *zap.Logger
	route  atomic.Pointer[route]
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

// route is what a gate makes of a policy.
type route struct {
	of      *Current
	plan    *rules.Plan
	rules   *rules.Route
	headers headerRules
	name    string // of the policy, as the Consent-Gate header gives it
	media   payload.Category
	noMedia bool // the policy knows nothing of locations in media
}

const (
	modeObserve    = "observe"
	choicePass     = "pass"
	choiceStrip    = "strip"
	defaultMaxBody = 4 << 20
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
	app, err := ctx.App("consent")
	if err != nil {
		return fmt.Errorf("consent_gate: %w", err)
	}
	g.app = app.(*App)
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
	for _, s := range append(append([]IDSource(nil), g.Subject...), g.Device...) {
		given := 0
		for _, v := range []string{s.Placeholder, s.JSON, s.Query, s.Cookie} {
			if v != "" {
				given++
			}
		}
		if given != 1 {
			wrong("a subject or device is one of a placeholder, json PATH, query NAME and cookie NAME")
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

// makeRoute compiles a policy for this route.
func (g *Gate) makeRoute(cur *Current) (*route, error) {
	p := cur.Policy
	in := rules.Inbound{Subject: jsonPaths(g.Subject), Device: jsonPaths(g.Device), Records: g.Records}
	plan, err := p.Plan(in, rules.RouteSpec{Recipient: g.Recipient, Purposes: g.Purposes, Exempt: g.Exempt})
	if err != nil {
		return nil, err
	}
	rt := &route{
		of: cur, plan: plan, rules: plan.Routes[0], headers: newHeaderRules(p),
		name: fmt.Sprintf("%q", p.ID()+"@"+p.InForce()),
	}
	media, ok := p.Category("location.media")
	rt.media, rt.noMedia = media, !ok
	return rt, nil
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
	v := visit{g: g, rt: rt, r: r}
	if refusal := v.decide(); refusal != nil {
		if g.Mode != modeObserve {
			g.app.metrics.countRequest(g.Recipient, refusal.Kind)
			v.empty()
			refusal.write(w)
			return nil
		}
		g.app.metrics.countRequest(g.Recipient, "observed_"+refusal.Kind)
		v.restore()
		return next.ServeHTTP(w, r)
	}
	if g.Mode == modeObserve {
		v.count("observed")
		v.restore()
		return next.ServeHTTP(w, r)
	}
	v.count("forwarded")
	v.forward()
	return next.ServeHTTP(w, r)
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

// mediaTypeOf returns the lower-cased media type that the request claims, or
// "" for none or one that cannot be read.
func mediaTypeOf(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return t
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
