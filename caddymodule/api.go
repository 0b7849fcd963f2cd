package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/consent"
)

func init() {
	caddy.RegisterModule(API{})
}

// API is a handler that serves the consent API below `/consent/v1/`: it records
// what subjects decide, and shows it to those who may know. What is asked of
// other paths goes to the next handler.
//
// Every call needs a bearer token, which opens everything, or, where `self` is
// set, a caller whom Caddy has identified, who may do with the own consent what
// everyone may: accept, grant, refuse, withdraw, read, cancel.
//
// The paths of these calls name subjects, so this handler keeps them out of the
// access log. It writes a line of its own for each call instead, in which a
// subject is a keyed digest.
type API struct {
	// Bearer tokens that open the whole API; write placeholders such as
	// `{env.CONSENT_API_TOKEN}`. Several may be in use at once. One that
	// resolves to nothing counts as not given.
	//
	// Where none is given, and `self` neither, one is made at the first start
	// with the embedded store, and kept beside the data in `consent.token`,
	// readable by the owner alone. With any other store that is an error.
	Tokens []string `json:"tokens,omitempty"`

	// Lets callers without a token act for themselves.
	Self *Self `json:"self,omitempty"`

	app    *App
	logger *zap.Logger
	tokens [][sha256.Size]byte // digests: they have one length, whatever the tokens have
}

// Self says who a caller without a token is.
type Self struct {
	// A placeholder that names the caller, such as `{http.auth.user.id}`. It
	// must come from something that has verified the caller, such as
	// `forward_auth` or `basic_auth`: never from a header that clients set.
	// Where it is empty, a token is needed.
	Subject string `json:"subject,omitempty"`

	// What kind of subject that is: `user` or `device`. Default: `user`.
	Kind consent.Kind `json:"kind,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.consent_api",
		New: func() caddy.Module { return new(API) },
	}
}

// Provision resolves the tokens and finds the app.
func (a *API) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	app, err := consentApp(ctx)
	if err != nil {
		return err
	}
	a.app = app
	repl := caddy.NewReplacer()
	for _, t := range a.Tokens {
		if t = repl.ReplaceAll(t, ""); t != "" {
			a.tokens = append(a.tokens, sha256.Sum256([]byte(t)))
		}
	}
	if len(a.tokens) == 0 && a.Self == nil {
		return app.requireToken()
	}
	return nil
}

// Validate checks what the Caddyfile cannot have got wrong.
func (a *API) Validate() error {
	if a.Self == nil {
		return nil
	}
	if a.Self.Subject == "" {
		return errors.New("consent_api: self names no placeholder")
	}
	switch a.Self.Kind {
	case "", consent.User, consent.Device:
		return nil
	}
	return fmt.Errorf("consent_api: self: %q is no kind of subject; it is user or device", a.Self.Kind)
}

// consentApp returns the app that the handlers of this configuration share.
func consentApp(ctx caddy.Context) (*App, error) {
	mod, err := ctx.AppIfConfigured("consent")
	if err != nil {
		return nil, fmt.Errorf("the global option consent is missing, or has problems: %w", err)
	}
	return mod.(*App), nil
}

// caller is who makes a call.
type caller struct {
	all  bool         // holds a token
	kind consent.Kind // otherwise, who it is
	id   string
}

// may reports whether the caller may act for a subject.
func (c caller) may(kind consent.Kind, id string) bool {
	return c.all || c.kind == kind && c.id == id
}

// String is for logs.
func (c caller) String() string {
	if c.all {
		return "token"
	}
	return "self"
}

// apiCall is one call on its way.
type apiCall struct {
	*http.Request
	w       http.ResponseWriter
	app     *App
	service *consent.Service
	caller  caller
	subject string // for the log: the digest of whom the call is about
}

// ServeHTTP serves the calls below /consent/v1.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	segments, ours := apiSegments(r.URL.EscapedPath())
	if !ours {
		return next.ServeHTTP(w, r)
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)

	rec := caddyhttp.NewResponseRecorder(w, nil, nil)
	c := &apiCall{Request: r, w: rec, app: a.app}
	name := "unknown"
	route, params, problem := findRoute(segments)
	if route != nil {
		name = route.name
	}
	if problem == nil {
		problem = a.serve(c, route, params)
	}
	if problem != nil {
		problem.write(rec)
	}
	status := rec.Status()
	a.app.metrics.countCall(r.Method+" "+name, strconv.Itoa(status))
	a.logger.Info("call", zap.String("call", r.Method+" "+name), zap.Int("status", status),
		zap.String("by", c.caller.String()), zap.String("subject", c.subject))
	return nil
}

// serve authenticates the caller and makes the call.
func (a *API) serve(c *apiCall, route *apiRoute, params []string) *Problem {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if c.Method == http.MethodOptions {
		h.Set("Allow", route.allow())
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var ok bool
	if c.caller, ok = a.authenticate(c.Request); !ok {
		h.Set("WWW-Authenticate", `Bearer realm="consent"`)
		return &Problem{
			Status: http.StatusUnauthorized, Kind: "unauthenticated", Title: "A token is needed",
			Detail: "Send one of the API's tokens as `Authorization: Bearer TOKEN`.",
		}
	}
	call := route.methods[c.Method]
	if c.Method == http.MethodHead {
		call = route.methods[http.MethodGet]
	}
	if call == nil {
		h.Set("Allow", route.allow())
		return &Problem{
			Status: http.StatusMethodNotAllowed, Kind: "method-not-allowed", Title: "The resource does not have this method",
			Detail: "It has " + route.allow() + ".",
		}
	}
	if c.service = a.app.Service(); c.service == nil {
		return unavailable(h)
	}
	return call(c, params)
}

// authenticate finds out who calls. A token that is none of ours may be meant
// for whatever identified the caller, so it does not count against self.
func (a *API) authenticate(r *http.Request) (caller, bool) {
	if values := r.Header["Authorization"]; len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if strings.EqualFold(scheme, "Bearer") && a.tokenKnown(strings.TrimSpace(token)) {
			return caller{all: true}, true
		}
	}
	if a.Self == nil {
		return caller{}, false
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return caller{}, false
	}
	self := caller{kind: a.Self.Kind, id: repl.ReplaceAll(a.Self.Subject, "")}
	if self.kind == "" {
		self.kind = consent.User
	}
	return self, self.id != ""
}

// tokenKnown compares without telling, by the time it takes, how much of a
// token is right.
func (a *API) tokenKnown(token string) bool {
	sum := sha256.Sum256([]byte(token))
	known := 0
	for i := range a.tokens {
		known |= subtle.ConstantTimeCompare(sum[:], a.tokens[i][:])
	}
	if made := a.app.token.Load(); made != nil && len(a.tokens) == 0 && a.Self == nil {
		known |= subtle.ConstantTimeCompare(sum[:], made[:])
	}
	return known == 1 && token != ""
}

// Interface guards
var (
	_ caddy.Provisioner           = (*API)(nil)
	_ caddy.Validator             = (*API)(nil)
	_ caddyhttp.MiddlewareHandler = (*API)(nil)
)
