package caddymodule

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// loggedPaths are the paths that gates of this process have called personal.
// Caddy copies a request for its logs before any gate runs, so the encoder has
// to know them by itself. None is ever forgotten: there are no more of them than
// configurations have named.
var loggedPaths struct {
	rules atomic.Pointer[pathRules]
	mu    sync.Mutex
	known []string
}

// hideInLogs has the segments in braces of these patterns kept out of the logs.
func hideInLogs(patterns []string) {
	loggedPaths.mu.Lock()
	defer loggedPaths.mu.Unlock()
	for _, pattern := range patterns {
		if slices.Contains(loggedPaths.known, pattern) {
			continue
		}
		var rules pathRules
		if old := loggedPaths.rules.Load(); old != nil {
			rules = slices.Clone(*old)
		}
		r := pathRule{below: true} // whatever follows, the beginning is personal
		for segment := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
			personal := strings.HasPrefix(segment, "{")
			r.segments = append(r.segments, pathSegment{text: segment, any: segment == "*" || personal, personal: personal})
		}
		if n := len(r.segments); n > 0 && strings.HasSuffix(pattern, "/*") {
			r.segments = r.segments[:n-1]
		}
		rules = append(rules, r)
		loggedPaths.known = append(loggedPaths.known, pattern)
		loggedPaths.rules.Store(&rules)
	}
}

// withoutIDs returns a path as logs may have it.
func withoutIDs(path string) string {
	rules := loggedPaths.rules.Load()
	if rules == nil {
		return path
	}
	if i := strings.Index(path, "://"); i >= 0 && !strings.HasPrefix(path, "/") {
		host, rest, _ := strings.Cut(path[i+3:], "/")
		return path[:i+3] + host + withoutIDs("/"+rest)
	}
	if !strings.HasPrefix(path, "/") {
		return path
	}
	text, err := url.PathUnescape(path)
	if err != nil {
		return withheld
	}
	_, read, _ := readings(&url.URL{Path: text, RawPath: path})
	// A handler before the gate may have taken a prefix off, which the log has.
	for i := range read {
		if slices.ContainsFunc(*rules, func(r pathRule) bool { return r.match(read[i:]) }) {
			hidden := rules.hide(&url.URL{Path: "/" + strings.Join(read[i:], "/")})
			if i == 0 {
				return hidden
			}
			return (&url.URL{Path: "/" + strings.Join(read[:i], "/")}).EscapedPath() + hidden
		}
	}
	return path
}
