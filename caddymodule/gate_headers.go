package caddymodule

import (
	"net/http"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// gateHeader tells a first party what its gate has done.
const gateHeader = "Consent-Gate"

// headerRules are the categories that each header may hold, by its name as it
// is compared: folded, since X_Imei is X-Imei to many a server.
type headerRules struct {
	exact  map[string][]payload.Category // by canonical name
	folded map[string][]payload.Category
}

func newHeaderRules(p *rules.Policy) headerRules {
	h := headerRules{exact: p.Headers(), folded: map[string][]payload.Category{}}
	for name, cats := range h.exact {
		f := payload.Fold(name)
		h.folded[f] = append(h.folded[f], cats...)
	}
	return h
}

func (h headerRules) categories(name string) []payload.Category {
	if cats, ok := h.exact[name]; ok || !strings.ContainsAny(name, "_.") {
		return cats
	}
	return h.folded[payload.Fold(name)]
}

// applyHeaders returns the headers as the recipient may have them. ok is false
// when one of them blocks.
func (rt *route) applyHeaders(g *Gate, in http.Header, rel *rules.Release, part payload.Part, rep *payload.Report) (out http.Header, ok bool) {
	rec := rt.rules.Recipient()
	first := rec.Kind == rules.FirstParty
	out = make(http.Header, len(in)+2)
	for name, values := range in {
		if rec.Headers != nil && !slices.Contains(rec.Headers, name) && !framing[name] {
			continue
		}
		if name == "Cookie" {
			if values, ok = rt.applyCookies(g, values, first, part, rep); !ok {
				return nil, false
			}
			if len(values) > 0 {
				out[name] = values
			}
			continue
		}
		cats := rt.headers.categories(name)
		if len(cats) == 0 || first && name == "Authorization" {
			out[name] = values
			continue
		}
		act := payload.Action{}
		for _, c := range cats {
			act = payload.Stricter(act, rel.Action(c))
		}
		switch act.Op {
		case payload.Pass:
			out[name] = values
		case payload.Block:
			rep.Note(payload.Block, cats...)
			return nil, false
		case payload.Transform:
			made := transformed(values, act.T, part.Params)
			if made == nil {
				rep.Note(payload.Drop, cats...)
				continue
			}
			out[name] = made
			if !slices.Equal(made, values) {
				rep.Note(payload.Transform, cats...)
			}
		default:
			rep.Note(payload.Drop, cats...)
		}
	}
	// reverse_proxy adds these from the connection, unless they are nil.
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if rec.Headers != nil && !slices.Contains(rec.Headers, name) {
			out[name] = nil
		}
	}
	for _, c := range rt.headers.categories("X-Forwarded-For") {
		if rel.Action(c).Op != payload.Pass {
			out["X-Forwarded-For"] = nil
		}
	}
	return out, true
}

// framing are the headers without which a request cannot be read. They hold
// nothing of a person.
var framing = map[string]bool{"Content-Length": true, "Content-Type": true, "Content-Encoding": true}

// applyCookies deals with the Cookie header.
func (rt *route) applyCookies(g *Gate, values []string, first bool, part payload.Part, rep *payload.Report) (out []string, ok bool) {
	var spare func(string) bool
	if first && len(g.Session) > 0 {
		spare = func(name string) bool { return slices.Contains(g.Session, name) }
	}
	for _, value := range values {
		value, ok := rt.plan.Matcher.ApplyForm(value, payload.Cookies, part, spare, rep)
		if !ok {
			return nil, false
		}
		if value != "" {
			out = append(out, value)
		}
	}
	return out, true
}

// transformed returns the transformed values, or nil where one does not fit.
func transformed(values []string, t payload.Transformer, p *payload.Params) []string {
	out := make([]string, 0, len(values))
	for _, value := range values {
		made, _, ok := t.Append(nil, []byte(value), payload.String, p)
		if !ok || strings.ContainsAny(string(made), "\r\n\x00") {
			return nil
		}
		out = append(out, string(made))
	}
	return out
}

// gateHeader renders the header as a dictionary of RFC 9651.
func (v *visit) gateHeader() string {
	p := v.rt.of.Policy
	b := make([]byte, 0, 128)
	b = append(b, "recipient="...)
	b = append(b, v.rt.rules.Recipient().ID...)
	b = append(b, ", policy="...)
	b = append(b, v.rt.name...)
	list := func(key string, each func(func(payload.Category))) {
		n := 0
		each(func(c payload.Category) {
			if n == 0 {
				b = append(append(append(b, ", "...), key...), "=("...)
			} else {
				b = append(b, ' ')
			}
			n++
			b = append(b, p.CategoryName(c)...)
		})
		if n > 0 {
			b = append(b, ')')
		}
	}
	list("dropped", v.report.Dropped)
	list("changed", v.report.Changed)
	if v.report.Blocked > 0 {
		b = append(b, ", blocked="...)
		b = appendInt(b, v.report.Blocked)
	}
	return string(b)
}

// count counts the request and what was done to its categories.
func (v *visit) count(outcome string) {
	m, p := v.g.app.metrics, v.rt.of.Policy
	m.countRequest(v.g.Recipient, outcome)
	if v.report.Untouched() {
		return
	}
	each := func(action string) func(payload.Category) {
		return func(c payload.Category) { m.countCategory(v.g.Recipient, p.CategoryName(c), action, 1) }
	}
	v.report.Dropped(each("drop"))
	v.report.Changed(each("transform"))
	v.report.BlockedBy(each("block"))
}
