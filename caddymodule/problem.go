package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
)

// problemBase is what the type of every problem starts with. Clients compare
// types as opaque strings, so it never changes, wherever the project may move.
const problemBase = "https://consentgate.org/problems/"

// Problem is a refusal as RFC 9457 describes it. Neither of its texts, nor
// Extra, may hold a value from the request.
type Problem struct {
	Status int
	// Kind is the last segment of the type: "consent-required".
	Kind string
	// Title says in a few words what Kind means, the same for every
	// occurrence.
	Title string
	// Detail says what is wrong with this request and what to do about it.
	Detail string
	// Extra holds members of this kind's own, such as `purposes`.
	Extra map[string]any

	// another says that nothing is wrong but that another policy has come into
	// force: see settled.
	another bool
	// enforced says that it holds where a gate only observes, too.
	enforced bool
}

// Error makes a Problem an error, so that it can be returned through code that
// knows nothing of HTTP.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// MarshalJSON renders the problem details object.
func (p *Problem) MarshalJSON() ([]byte, error) {
	members := make(map[string]any, len(p.Extra)+4)
	maps.Copy(members, p.Extra)
	members["type"] = problemBase + p.Kind
	members["title"] = p.Title
	members["status"] = p.Status
	if p.Detail != "" {
		members["detail"] = p.Detail
	}
	return json.Marshal(members)
}

// write answers the request with the problem. Headers that belong to it, such
// as Allow or Retry-After, are set before.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := p.MarshalJSON()
	if err != nil {
		// only Extra can be at fault; the refusal itself must not fail
		body, _ = (&Problem{Status: p.Status, Kind: p.Kind, Title: p.Title}).MarshalJSON()
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Del("Last-Modified")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// Interface guards
var (
	_ error          = (*Problem)(nil)
	_ json.Marshaler = (*Problem)(nil)
)
