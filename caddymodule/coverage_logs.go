package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// loggingConfig is what coverage reads of Caddy's logs.
type loggingConfig struct {
	Logs map[string]*logConfig `json:"logs"`
}

type logConfig struct {
	Include []string        `json:"include"`
	Exclude []string        `json:"exclude"`
	Core    json.RawMessage `json:"core"`
	Writer  struct {
		Output string `json:"output"`
	} `json:"writer"`
	Encoder struct {
		Format string `json:"format"`
	} `json:"encoder"`
}

// problems names the logs that get entries of HTTP servers and write them
// through another encoder than `consent`. Caddy always has a default log.
func (l loggingConfig) problems() (found []coverageProblem) {
	names := []string{caddy.DefaultLoggerName}
	for name := range l.Logs {
		if name != caddy.DefaultLoggerName {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	for _, name := range names {
		cfg := l.Logs[name]
		if cfg == nil {
			cfg = new(logConfig)
		}
		option := "`log " + name + "`"
		if name == caddy.DefaultLoggerName {
			option = "the global option `log`"
		}
		switch {
		case !cfg.getsRequests():
		case cfg.Core != nil:
			found = append(found, coverageProblem{"log_encoder", fmt.Sprintf("log %s hands requests to a core of its own, past every encoder. Take `core` out of it, or exclude `http`", name)})
		case cfg.Writer.Output == "discard", cfg.Encoder.Format == "consent":
		default:
			found = append(found, coverageProblem{"log_encoder", fmt.Sprintf("log %s writes the addresses, queries and headers of requests. Write `format consent` in %s", name, option)})
		}
	}
	return found
}

// getsRequests reports whether entries that show a request can reach the log:
// those of servers, and those of handlers.
func (c *logConfig) getsRequests() bool {
	asked := append([]string{"http.log.access", "http.log.error", "http.handlers.reverse_proxy", "http.stdlib"}, c.Include...)
	for _, name := range asked {
		if (name == "http" || strings.HasPrefix(name, "http.")) && c.allows(name) {
			return true
		}
	}
	return false
}

// allows is Caddy's rule: of include and exclude the longer name wins.
func (c *logConfig) allows(logger string) bool {
	longest := func(namespaces []string) (n int) {
		for _, ns := range namespaces {
			if strings.HasPrefix(logger+".", ns+".") {
				n = max(n, len(ns))
			}
		}
		return n
	}
	accept, reject := longest(c.Include), longest(c.Exclude)
	if len(c.Include) > 0 && accept == 0 || slices.Contains(c.Exclude, "*") {
		return false
	}
	return reject == 0 || accept > reject
}
