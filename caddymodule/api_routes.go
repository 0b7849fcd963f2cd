package caddymodule

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// apiPath is where the API stands.
const apiPath = "/consent/v1"

// apiRoute is one resource of the API.
type apiRoute struct {
	name    string   // its path as logs and metrics know it
	path    []string // below apiPath; what stands in braces is a parameter
	methods map[string]func(c *apiCall, params []string) *Problem
}

var apiRoutes = []*apiRoute{
	newRoute("/events", methods{http.MethodPost: recordEvent}),
	newRoute("/policy", methods{http.MethodGet: showPolicy}),
	newRoute("/subjects/{id}", methods{http.MethodGet: showState, http.MethodDelete: cancelSubject}),
	newRoute("/subjects/{id}/ledger", methods{http.MethodGet: showLedger}),
	newRoute("/subjects/{id}/receipt", methods{http.MethodGet: showReceipt}),
	newRoute("/subjects/{id}/links", methods{http.MethodPost: linkDevice}),
	newRoute("/subjects/{id}/links/{device}", methods{http.MethodDelete: unlinkDevice}),
	newRoute("/outbox", methods{http.MethodGet: showOutbox}),
	newRoute("/outbox/{recipient}/dead", methods{http.MethodGet: showDead}),
	newRoute("/outbox/{recipient}/sample", methods{http.MethodGet: showSample}),
	newRoute("/outbox/{recipient}/replay", methods{http.MethodPost: replayDead}),
}

type methods = map[string]func(c *apiCall, params []string) *Problem

func newRoute(path string, m methods) *apiRoute {
	return &apiRoute{name: apiPath + path, path: strings.Split(path[1:], "/"), methods: m}
}

// allow lists the methods of a resource for the header Allow.
func (r *apiRoute) allow() string {
	names := slices.Collect(maps.Keys(r.methods))
	if r.methods[http.MethodGet] != nil {
		names = append(names, http.MethodHead)
	}
	names = append(names, http.MethodOptions)
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// match returns the parameters in a path, and false when it is another path.
func (r *apiRoute) match(segments []string) (params []string, ok bool) {
	if len(segments) != len(r.path) {
		return nil, false
	}
	for i, want := range r.path {
		switch {
		case want[0] == '{' && segments[i] != "":
			params = append(params, segments[i])
		case want != segments[i]:
			return nil, false
		}
	}
	return params, true
}

// apiSegments cuts an escaped path into its segments below apiPath, still
// escaped; ours is false when the path is not of the API.
func apiSegments(path string) (segments []string, ours bool) {
	rest, ok := strings.CutPrefix(path, apiPath)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, false
	}
	return strings.Split(strings.TrimPrefix(rest, "/"), "/"), true
}

// findRoute finds the resource that a path names. Parameters are unescaped
// one by one, so that an id may hold a slash as %2F.
func findRoute(segments []string) (*apiRoute, []string, *Problem) {
	for _, r := range apiRoutes {
		params, ok := r.match(segments)
		if !ok {
			continue
		}
		for i := range params {
			plain, err := url.PathUnescape(params[i])
			if err != nil {
				return r, nil, notFound()
			}
			params[i] = plain
		}
		return r, params, nil
	}
	return nil, nil, notFound()
}

func notFound() *Problem {
	return &Problem{
		Status: http.StatusNotFound, Kind: "not-found", Title: "There is no such resource",
		Detail: "The API has /consent/v1/events, /consent/v1/policy, /consent/v1/subjects/{id} and /consent/v1/outbox; ids are percent-encoded.",
	}
}
