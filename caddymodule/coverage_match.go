package caddymodule

import (
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// matchConfig is the matcher sets of a route: one of them must match, in all
// its matchers.
type matchConfig []map[string]json.RawMessage

// always reports whether every request matches.
func (m matchConfig) always() bool {
	return len(m) == 0 || slices.ContainsFunc(m, func(set map[string]json.RawMessage) bool { return len(set) == 0 })
}

// key is equal for two routes that the same request matches or does not match,
// and empty where that cannot be told.
func (m matchConfig) key() string {
	if m.always() || !m.only(steadyMatchers) {
		return ""
	}
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// fixed reports whether a gate leaves alone all that the matchers look at.
func (m matchConfig) fixed() bool { return m.only(fixedMatchers) }

// steadyMatchers give the same answer twice for the same request; `file`,
// `vars` and `expression` need not, and of others nothing is known.
// fixedMatchers do so even after a gate.
var (
	steadyMatchers = []string{
		"client_ip", "header", "header_regexp", "host", "method", "path", "path_regexp", "protocol", "query", "remote_ip",
	}
	fixedMatchers = []string{"host", "method", "path", "path_regexp"}
)

func (m matchConfig) only(names []string) bool {
	for _, set := range m {
		for name, raw := range set {
			if name == "not" {
				var inner matchConfig
				if json.Unmarshal(raw, &inner) != nil || inner == nil || !inner.only(names) {
					return false
				}
				continue
			}
			if !slices.Contains(names, name) {
				return false
			}
		}
	}
	return true
}

// label is what a person reads of the matchers: methods, hosts and paths, and
// the names of all others. It is the same before and after Caddy has
// normalised them.
func (m matchConfig) label() string {
	if m.always() {
		return ""
	}
	sets := make([]string, len(m))
	for i, set := range m {
		var words []string
		for _, known := range []struct {
			name      string
			normalise func([]string) []string
		}{{"method", methodLabels}, {"host", hostLabels}, {"path", pathLabels}} {
			var values []string
			if raw := set[known.name]; raw != nil && json.Unmarshal(raw, &values) == nil {
				words = append(words, strings.Join(known.normalise(values), ","))
			}
		}
		var others []string
		for name := range set {
			if name != "method" && name != "host" && name != "path" {
				others = append(others, "+"+name)
			}
		}
		slices.Sort(others)
		sets[i] = strings.Join(append(words, others...), " ")
	}
	return strings.Join(sets, " | ")
}

func methodLabels(methods []string) []string {
	for i, m := range methods {
		methods[i] = strings.ToUpper(m)
	}
	return methods
}

func hostLabels(hosts []string) []string {
	for i, h := range hosts {
		if ascii, err := idna.ToASCII(h); err == nil {
			h = ascii
		}
		if h = strings.ToLower(h); strings.Contains(h, "xn--") {
			if readable, err := idna.ToUnicode(h); err == nil {
				h = readable
			}
		}
		hosts[i] = h
	}
	slices.Sort(hosts)
	return hosts
}

func pathLabels(paths []string) []string {
	if slices.Contains(paths, "*") {
		return []string{"*"}
	}
	for i, p := range paths {
		paths[i] = strings.ToLower(p)
	}
	return paths
}
