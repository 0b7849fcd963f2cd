package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// visit is one request at a gate: first everything is decided, and only then is
// anything changed.
type visit struct {
	g  *Gate
	rt *route
	r  *http.Request

	body    []byte // as it came
	read    bool   // whether the body has been read, to its end
	rest    io.Reader
	out     []byte // as it goes
	query   string
	headers http.Header
	release *rules.Release // of what stands outside all records
	report  payload.Report
}

// decide reads the request and decides on every part of it. It changes nothing.
func (v *visit) decide() *Problem {
	if p := v.liveStream(); p != nil {
		return p
	}
	if !v.g.app.Ready() {
		return storeUnavailable()
	}
	kind, p := v.readBody()
	if p != nil {
		return p
	}
	var scan *payload.Scan
	if kind == bodyJSON {
		s, err := v.rt.plan.Matcher.Scan(v.body, payload.DefaultLimits)
		if err != nil {
			if v.g.OnUnreadable != choicePass {
				return unreadable(err)
			}
			kind = bodyOther
		} else {
			scan = s
			defer scan.Free()
		}
	}
	people, p := v.resolve(scan)
	if p != nil {
		return p
	}
	parts, p := v.releases(people)
	if p != nil {
		return p
	}
	envelope := parts[len(parts)-1]
	parts = parts[:len(parts)-1]

	v.out = v.body
	switch kind {
	case bodyJSON:
		if scan.Split() {
			v.out, v.report = scan.Apply(nil, envelope, parts)
		} else {
			v.out, v.report = scan.Apply(nil, envelope, []payload.Part{envelope})
		}
		if v.report.BlockedAll || v.report.Blocked > 0 && v.report.Blocked == len(scan.Records) {
			return v.consentRequired()
		}
	case bodyForm:
		form, ok := v.rt.plan.Matcher.ApplyForm(string(v.body), payload.Query, envelope, nil, &v.report)
		if !ok {
			return v.consentRequired()
		}
		if form != string(v.body) {
			v.out = []byte(form)
		}
	case bodyMedia:
		if v.rt.noMedia || v.release.Action(v.rt.media).Op != payload.Pass {
			return unsupportedType("a photo or a recording may hold where it was taken, and that may not pass here now")
		}
	}
	return v.decideBeside(envelope)
}

// decideBeside decides on what stands beside the body: query, headers, cookies.
func (v *visit) decideBeside(part payload.Part) *Problem {
	query, ok := v.rt.plan.Matcher.ApplyForm(v.r.URL.RawQuery, payload.Query, part, nil, &v.report)
	if !ok {
		return v.consentRequired()
	}
	v.query = query
	v.headers, ok = v.rt.applyHeaders(v.g, v.r.Header, v.release, part, &v.report)
	if !ok {
		return v.consentRequired()
	}
	return nil
}

// readBody reads the body to its end and says what is in it.
func (v *visit) readBody() (bodyKind, *Problem) {
	r, g := v.r, v.g
	if r.Body == nil || r.Body == http.NoBody {
		v.read = true
		return bodyNone, nil
	}
	if r.ContentLength > g.MaxBody {
		return bodyNone, tooLarge(g.MaxBody)
	}
	body, err := readAll(r.Body, r.ContentLength, g.MaxBody)
	v.body = body
	if err != nil {
		if errors.Is(err, errTooLarge) {
			v.rest = r.Body
			return bodyNone, tooLarge(g.MaxBody)
		}
		return bodyNone, unreadableText("the body could not be read to its end")
	}
	v.read = true
	_ = r.Body.Close()
	if len(body) == 0 {
		return bodyNone, nil
	}
	if enc := r.Header.Values("Content-Encoding"); !identity(enc) {
		if g.OnUnreadable == choicePass {
			return bodyOther, nil
		}
		return bodyNone, unsupportedEncoding()
	}
	mediaType := mediaTypeOf(r.Header)
	kind := kindOfType(mediaType)
	if kind != bodyJSON && looksLikeJSON(body) {
		kind = bodyJSON // whatever it claims to be
	}
	if kind == bodyOther {
		if g.listed(mediaType) {
			return bodyMedia, nil
		}
		if g.OnUnreadable != choicePass {
			return bodyNone, unsupportedType("the gate reads JSON and forms; a type of media is listed with `media`")
		}
	}
	return kind, nil
}

// forward puts what was decided in the place of what came.
func (v *visit) forward() {
	r := v.r
	if v.read && r.Body != nil && r.Body != http.NoBody {
		v.setBody(v.out)
	}
	r.Trailer = nil
	r.Header = v.headers
	if len(v.out) != len(v.body) || len(v.out) > 0 && &v.out[0] != &v.body[0] {
		// What vouches for the old bytes does not for the new ones.
		for _, h := range []string{"Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Signature", "Signature-Input"} {
			delete(r.Header, h)
		}
		r.Header.Set("Content-Length", strconv.Itoa(len(v.out)))
	}
	v.setQuery(v.query)
	if v.rt.rules.Recipient().Kind == rules.FirstParty {
		r.Header[gateHeader] = []string{v.gateHeader()}
	}
}

func (v *visit) setBody(body []byte) {
	r := v.r
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	if len(body) == 0 {
		r.Body = http.NoBody
		r.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	if r.Header.Get("Content-Length") != "" {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
}

// setQuery replaces the query, also where Caddy keeps the original request: its
// error routes and the REQUEST_URI of FastCGI come from there.
func (v *visit) setQuery(query string) {
	r := v.r
	if query == r.URL.RawQuery {
		return
	}
	r.URL.RawQuery = query
	if query == "" {
		r.URL.ForceQuery = false
	}
	r.RequestURI = withQuery(r.RequestURI, query)
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return
	}
	if orig.URL != nil {
		orig.URL.RawQuery = query
		orig.URL.ForceQuery = r.URL.ForceQuery
	}
	orig.RequestURI = withQuery(orig.RequestURI, query)
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, orig))
}

func withQuery(uri, query string) string {
	for i := range len(uri) {
		if uri[i] == '?' {
			uri = uri[:i]
			break
		}
	}
	if query != "" {
		uri += "?" + query
	}
	return uri
}

// empty makes sure that nothing of a refused request can be sent on by whoever
// handles it after the gate: neither its body, nor what one who granted nothing
// would not let pass.
func (v *visit) empty() {
	r := v.r
	if r.Body != nil && !v.read {
		_ = r.Body.Close()
	}
	r.Body, r.ContentLength, r.Trailer, r.TransferEncoding = http.NoBody, 0, nil, nil
	r.GetBody = nil
	r.Header.Del("Content-Length")
	stranger := v.rt.rules.Stranger()
	part := payload.Part{Vector: stranger.Vector, Params: &payload.Params{Now: time.Now()}}
	var rep payload.Report
	query, ok := v.rt.plan.Matcher.ApplyForm(r.URL.RawQuery, payload.Query, part, nil, &rep)
	if !ok {
		query = ""
	}
	v.setQuery(query)
	headers, ok := v.rt.applyHeaders(v.g, r.Header, stranger, part, &rep)
	if !ok {
		headers = http.Header{}
	}
	r.Header = headers
}

// restore gives the request back as it came, for a gate that only observes.
func (v *visit) restore() {
	switch {
	case v.read && v.r.Body != nil && v.r.Body != http.NoBody:
		body := v.body
		v.r.Body = io.NopCloser(bytes.NewReader(body))
	case v.rest != nil:
		v.r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(v.body), v.rest), v.r.Body}
	}
}

func replacerOf(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil {
		repl = caddy.NewReplacer()
	}
	return repl
}

// queryValues returns the values of the parameters whose name folds to name.
func queryValues(raw, name string) (values []string) {
	q, _ := url.ParseQuery(raw)
	want := payload.Fold(name)
	for k, vs := range q {
		if payload.Fold(k) == want {
			values = append(values, vs...)
		}
	}
	return values
}
