package caddymodule

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// gateHeader tells a first party what its gate has done.
const gateHeader = "Consent-Gate"

// headerRules are the categories that each header may hold, by its name as it
// is compared: folded, since X_Imei is X-Imei to many a server.
type headerRules struct {
	exact  map[string]headerRule // by canonical name
	folded map[string][]payload.Category

	forwardedFor []payload.Category // of X-Forwarded-For

	place    payload.Category // where photos were taken
	hasPlace bool
}

func newHeaderRules(p *rules.Policy) headerRules {
	h := headerRules{exact: map[string]headerRule{}, folded: map[string][]payload.Category{}}
	for name := range ordinary {
		h.exact[name] = headerRule{ordinary: true}
	}
	for name, cats := range p.Headers() {
		h.exact[name] = headerRule{cats, ordinary[name]}
		f := payload.Fold(name)
		h.folded[f] = append(h.folded[f], cats...)
	}
	h.forwardedFor = h.of("X-Forwarded-For").categories
	h.place, h.hasPlace = p.Category("location.media")
	return h
}

// headerRule is what is known of a header by its name.
type headerRule struct {
	categories []payload.Category
	ordinary   bool
}

func (h *headerRules) of(name string) headerRule {
	r, ok := h.exact[name]
	if !ok && (strings.IndexByte(name, '_') >= 0 || strings.IndexByte(name, '.') >= 0) {
		r.categories = h.folded[payload.Fold(name)]
	}
	return r
}

// place returns the category of where photos were taken.
func (ln *lane) place() (payload.Category, bool) {
	return ln.headers.place, ln.headers.hasPlace
}

// headerEdit is one change of a request's headers.
type headerEdit struct {
	name   string
	values []string
	gone   bool
}

// edit makes the changes, in the map itself: whoever kept an older copy of the
// request has the same one.
func edit(h http.Header, edits []headerEdit) {
	for _, e := range edits {
		if e.gone {
			delete(h, e.name)
		} else {
			h[e.name] = e.values
		}
	}
}

// applyHeaders returns what is to be changed for the headers to be as the
// recipient may have them. ok is false when one of them blocks.
func (ln *lane) applyHeaders(g *Gate, in http.Header, rel *rules.Release, part payload.Part, rep *payload.Report) (edits []headerEdit, ok bool) {
	rec := ln.rules.Recipient()
	first := rec.Kind == rules.FirstParty
	for name, values := range in {
		if rec.Headers != nil && !slices.Contains(rec.Headers, name) && !framing[name] {
			edits = append(edits, headerEdit{name: name, gone: true})
			continue
		}
		var made []string
		switch {
		case name == "Cookie":
			made, ok = ln.applyCookies(g, values, first, part, rep)
		case first && name == "Authorization":
			made, ok = values, true
		default:
			made, ok = ln.applyHeader(name, values, rel, part, rep)
		}
		if !ok {
			return nil, false
		}
		if len(made) == 0 || !slices.Equal(made, values) {
			edits = append(edits, headerEdit{name, made, len(made) == 0})
		}
	}
	// reverse_proxy adds these from the connection, unless they are nil.
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if rec.Headers != nil && !slices.Contains(rec.Headers, name) {
			edits = append(edits, headerEdit{name: name})
		}
	}
	for _, c := range ln.headers.forwardedFor {
		if rel.Action(c).Op != payload.Pass {
			edits = append(edits, headerEdit{name: "X-Forwarded-For"})
		}
	}
	return edits, true
}

// applyHeader deals with one header: by its name where a category claims it,
// else by what its values hold.
func (ln *lane) applyHeader(name string, values []string, rel *rules.Release, part payload.Part, rep *payload.Report) (out []string, ok bool) {
	rule := ln.headers.of(name)
	cats := rule.categories
	act := payload.Action{}
	for _, c := range cats {
		act = payload.Stricter(act, rel.Action(c))
	}
	switch act.Op {
	case payload.Pass:
		if rule.ordinary {
			return values, true
		}
		return ln.lookInto(values, part, rep)
	case payload.Block:
		rep.Note(payload.Block, cats...)
		return nil, false
	case payload.Transform:
		made := transformed(values, act.T, part.Params)
		if made == nil {
			rep.Note(payload.Drop, cats...)
			return nil, true
		}
		if !slices.Equal(made, values) {
			rep.Note(payload.Transform, cats...)
		}
		return made, true
	}
	rep.Note(payload.Drop, cats...)
	return nil, true
}

// ordinary are headers that HTTP itself gives a meaning in which no person
// stands, or that carry one this gate must not touch (Trace Context). Whether
// they pass is for their categories; their values are not searched.
var ordinary = func() map[string]bool {
	set := map[string]bool{}
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Access-Control-Allow-Credentials",
		"Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
		"Access-Control-Max-Age", "Access-Control-Request-Headers", "Access-Control-Request-Method", "Age", "Allow", "Alt-Svc", "Cache-Control", "Connection", "Content-Encoding", "Content-Language",
		"Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Dnt", "Expect", "Expires", "Host", "If-Match",
		"If-Modified-Since", "If-None-Match", "If-Unmodified-Since",
		"Keep-Alive", "Last-Modified", "Max-Forwards", "Pragma", "Priority", "Range", "Retry-After", "Sec-Fetch-Dest",
		"Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc", "Sec-Websocket-Accept", "Sec-Websocket-Key",
		"Sec-Websocket-Protocol", "Sec-Websocket-Version", "Server", "Strict-Transport-Security", "Te", "Traceparent", "Trailer",
		"Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests", "Vary", "Via",
		"Www-Authenticate",
	} {
		set[name] = true
	}
	return set
}()

// lookInto searches the values of a header that no category claims, or whose
// category passes, for what they hold.
func (ln *lane) lookInto(values []string, part payload.Part, rep *payload.Report) (out []string, ok bool) {
	for i, value := range values {
		made, ok := ln.applyText(value, part, rep)
		if !ok {
			return nil, false
		}
		if out == nil && made == value {
			continue
		}
		if out == nil {
			out = append(make([]string, 0, len(values)), values[:i]...)
		}
		if made != "" || value == "" {
			out = append(out, made)
		}
	}
	if out == nil {
		return values, true
	}
	return out, true
}

// applyText rewrites a text that stands for itself.
func (ln *lane) applyText(value string, part payload.Part, rep *payload.Report) (out string, ok bool) {
	scan := ln.plan.Matcher.ScanValue([]byte(value), payload.DefaultLimits)
	if scan == nil {
		return value, true
	}
	made, ok := applyWhole(scan, part, rep)
	if bytes.ContainsAny(made, "\r\n\x00") {
		return "", ok
	}
	return string(made), ok
}

// framing are the headers without which a request cannot be read. They hold
// nothing of a person.
var framing = map[string]bool{"Content-Length": true, "Content-Type": true, "Content-Encoding": true}

// applyCookies deals with the Cookie header.
func (ln *lane) applyCookies(g *Gate, values []string, first bool, part payload.Part, rep *payload.Report) (out []string, ok bool) {
	var spare func(string) bool
	if first && len(g.Session) > 0 {
		spare = func(name string) bool { return slices.Contains(g.Session, name) }
	}
	for _, value := range values {
		made, ok := ln.applyForm([]byte(value), payload.Cookies, part, spare, rep)
		if !ok {
			return nil, false
		}
		if len(made) > 0 {
			out = append(out, string(made))
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
	var room [256]byte
	b := append(room[:0], "recipient="...)
	b = append(b, v.ln.rules.Recipient().ID...)
	b = append(b, ", policy="...)
	b = append(b, v.rt.name...)
	if v.stream != nil {
		return string(append(b, ", streamed"...))
	}
	before, names := 0, 0
	open := func(list string) {
		before, names = len(b), 0
		b = append(b, list...)
	}
	name := func(c payload.Category) {
		if names++; names > 1 {
			b = append(b, ' ')
		}
		b = append(b, v.rt.of.Policy.CategoryName(c)...)
	}
	end := func() {
		if b = append(b, ')'); names == 0 {
			b = b[:before]
		}
	}
	open(", dropped=(")
	v.report.Dropped(name)
	end()
	open(", changed=(")
	v.report.Changed(name)
	end()
	if v.report.Blocked > 0 {
		b = append(b, ", blocked="...)
		b = strconv.AppendInt(b, int64(v.report.Blocked), 10)
	}
	if v.report.Sealed > 0 {
		b = append(b, ", sealed="...)
		b = strconv.AppendInt(b, int64(v.report.Sealed), 10)
	}
	return string(b)
}

// count counts the request and what was done to its categories.
func (v *visit) count(outcome string) {
	v.g.app.metrics.countRequest(v.g.Recipient, outcome)
	v.g.countReport(v.g.Recipient, &v.report, v.rt.of.Policy)
}

// countReport counts what was done to categories.
func (g *Gate) countReport(recipient string, rep *payload.Report, p *rules.Policy) {
	if rep.Untouched() {
		return
	}
	m := g.app.metrics
	each := func(action string) func(payload.Category) {
		return func(c payload.Category) { m.countCategory(recipient, p.CategoryName(c), action, 1) }
	}
	rep.Dropped(each("drop"))
	rep.Changed(each("transform"))
	rep.BlockedBy(each("block"))
	rep.Looked(each("report"))
	if rep.Sealed > 0 {
		m.countCategory(recipient, "", "sealed", 1)
	}
	if rep.Unknown > 0 {
		m.countCategory(recipient, "", "unknown", 1)
	}
}
