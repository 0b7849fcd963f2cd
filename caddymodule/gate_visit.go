package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/codec"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// visit is one request at a gate: first everything is decided, and only then is
// anything changed.
type visit struct {
	judge
	rt   *route
	down judge // for the responses, where they are filtered

	body   []byte // as it came
	read   bool   // whether the body has been read, to its end
	rest   io.Reader
	out    []byte // as it goes
	stream *lineStream

	query   string
	path    string // escaped; "": as it came
	headers []headerEdit
	release *rules.Release // of what stands outside all records
	report  payload.Report

	outgoing []ingest // records for partners; those of a stream go as they come
}

// decide reads the request and decides on every part of it. It changes nothing.
func (v *visit) decide() *Problem {
	if p := v.liveStream(); p != nil {
		return p
	}
	if !v.g.app.Ready() {
		return storeUnavailable()
	}
	v.judges()
	if p := v.readBody(); p != nil {
		return p
	}
	if v.stream != nil {
		return v.decideStream()
	}
	return v.g.settled(func() {
		v.rt, v.stream, v.report = v.g.route.Load(), nil, payload.Report{}
		v.judges()
	}, v.decideWhole)
}

// judges makes the judges of the request.
func (v *visit) judges() {
	v.judge = newJudge(v.g, &v.rt.up, v.r)
	if v.rt.down != nil {
		v.down = newJudge(v.g, v.rt.down, v.r)
	}
}

// decideWhole decides on a request whose body has come whole.
func (v *visit) decideWhole() *Problem {
	m, p := v.open(v.r.Header, v.body)
	if p != nil {
		return p
	}
	defer m.free()
	if m.kind == bodyLines {
		s, p := v.newStream(bytes.NewReader(v.body), m.enc)
		if p != nil {
			return p
		}
		s.whole = true
		v.stream = s
		return v.decideStream()
	}
	ruling, p := v.rule(m.scan)
	if p != nil {
		return p
	}
	v.release = ruling.release
	if v.out, p = v.apply(&m, ruling, &v.report); p != nil {
		return p
	}
	if p = v.decideBeside(ruling.envelope); p != nil {
		return p
	}
	v.outgoing, p = v.ingests(m.scan, ruling, 0)
	return p
}

// apply returns a message as the recipient may have it, as it goes on the wire.
func (j judge) apply(m *message, ru ruling, rep *payload.Report) ([]byte, *Problem) {
	if m.opaque && !j.placePasses(ru.release) {
		return nil, unsupportedType("a photo of this kind may hold where it was taken, and that may not pass here now")
	}
	if m.scan == nil {
		if m.kind == bodyOther {
			return m.raw, nil
		}
		return m.finish(m.plain)
	}
	out, r := m.scan.Apply(nil, ru.envelope, ru.parts)
	rep.Add(&r)
	if r.BlockedAll || r.Blocked > 0 && r.Blocked == m.scan.Len() {
		return nil, j.consentRequired(ru.release, rep)
	}
	return m.finish(out)
}

// placePasses reports whether the place where a photo was taken may pass.
func (j judge) placePasses(rel *rules.Release) bool {
	place, ok := j.ln.place()
	return ok && rel.Action(place).Op == payload.Pass
}

// decideBeside decides on what stands beside the body: path, query, headers,
// cookies.
func (v *visit) decideBeside(part payload.Part) *Problem {
	var ok bool
	var missing []payload.Category
	if v.path, missing, ok = v.rt.paths.apply(v.r.URL, v.release, part, &v.report); !ok {
		return v.needed(v.release, missing)
	}
	if v.query, ok = v.ln.applyQuery(v.r.URL.RawQuery, part, &v.report); !ok {
		return v.consentRequired(v.release, &v.report)
	}
	v.headers, ok = v.ln.applyHeaders(v.g, v.r.Header, v.release, part, &v.report)
	if !ok {
		return v.consentRequired(v.release, &v.report)
	}
	return nil
}

// applyQuery returns a query as the recipient may have it.
func (ln *lane) applyQuery(query string, part payload.Part, rep *payload.Report) (out string, ok bool) {
	if query == "" {
		return "", true
	}
	made, ok := ln.applyForm([]byte(query), payload.Query, part, nil, rep)
	if !ok || same(made, nil) {
		return "", ok
	}
	if string(made) == query {
		return query, true
	}
	return string(codec.FixChecksums([]byte(query), made)), true
}

// applyForm rewrites a query or a cookie header. ok is false where a field
// blocks; what cannot be read at all comes back empty.
func (ln *lane) applyForm(src []byte, syn payload.FormSyntax, part payload.Part, spare func(string) bool, rep *payload.Report) (out []byte, ok bool) {
	scan, err := ln.plan.Matcher.ScanForm(src, syn, spare, payload.DefaultLimits)
	if err != nil {
		rep.Sealed++
		return nil, true
	}
	return applyWhole(scan, part, rep)
}

// applyWhole rewrites a text of one person, and frees its scan. ok is false where
// a field blocks, which is left to the caller and not counted.
func applyWhole(scan *payload.Scan, part payload.Part, rep *payload.Report) (out []byte, ok bool) {
	defer scan.Free()
	parts := make([]payload.Part, scan.Len())
	for i := range parts {
		parts[i] = part
	}
	out, r := scan.Apply(nil, part, parts)
	blocked := r.BlockedAll || r.Blocked > 0
	r.Blocked, r.BlockedAll = 0, false
	rep.Add(&r)
	return out, !blocked
}

// readBody reads the body to its end, or as far as it takes to see that it is
// a stream of lines.
func (v *visit) readBody() *Problem {
	r, g := v.r, v.g
	if r.Body == nil || r.Body == http.NoBody || extendedConnect(r) {
		v.read = true
		return nil
	}
	mediaType, _ := mediaTypeOf(r.Header)
	if kindOfType(mediaType) == bodyLines {
		if _, err := codec.ParseEncodings(r.Header.Values("Content-Encoding")); err != nil {
			return unsupportedEncoding() // before a client is told to go on
		}
		in := bufio.NewReaderSize(r.Body, 512)
		v.rest = in
		head, _ := in.Peek(4) // what went wrong shows again
		enc, p := encodingOf(r.Header, head)
		if p != nil {
			return p
		}
		s, p := v.newStream(in, enc)
		v.stream = s
		return p
	}
	if r.ContentLength > g.MaxBody && (r.Header.Get("Expect") != "" || kindOfType(mediaType) == bodyForm || kindOfType(mediaType) == bodyParts) {
		return tooLarge(g.MaxBody) // and it need not be sent
	}
	body, err := readAll(r.Body, r.ContentLength, g.MaxBody)
	v.body = body
	if errors.Is(err, errTooLarge) {
		v.rest = r.Body
		if v.startsWithLines(body) {
			s, p := v.newStream(io.MultiReader(bytes.NewReader(body), r.Body), codec.Identity)
			v.stream = s
			return p
		}
		return tooLarge(g.MaxBody)
	}
	if err != nil {
		v.rest = r.Body // which goes on to say so
		return unreadableText("the body could not be read to its end")
	}
	v.read = true
	_ = r.Body.Close()
	return nil
}

// startsWithLines reports whether a body begins with a JSON text on a line of
// its own, and goes on with another.
func (v *visit) startsWithLines(body []byte) bool {
	if len(v.r.Header.Values("Content-Encoding")) > 0 || !looksLikeJSON(body) {
		return false
	}
	line, rest, ok := bytes.Cut(bytes.TrimLeft(body, "\r\n"), []byte("\n"))
	if !ok || !looksLikeJSON(rest) {
		return false
	}
	s, err := v.ln.plan.Matcher.Scan(line, payload.DefaultLimits)
	if err == nil {
		s.Free()
	}
	return err == nil
}

// forward puts what was decided in the place of what came.
func (v *visit) forward() {
	r := v.r
	edit(r.Header, v.headers)
	changed := false
	switch {
	case v.stream != nil:
		v.setStream()
		changed = true
	case v.read && r.Body != nil && r.Body != http.NoBody && !extendedConnect(r):
		changed = !same(v.out, v.body)
		v.setBody(v.out)
	}
	r.Trailer = nil
	if changed {
		// What vouches for the old bytes does not for the new ones.
		for _, h := range []string{"Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Signature", "Signature-Input"} {
			delete(r.Header, h)
		}
	}
	v.setQuery(v.query)
	if v.path != "" {
		v.setPath(v.path)
	}
	if v.ln.rules.Recipient().Kind == rules.FirstParty {
		r.Header[gateHeader] = []string{v.gateHeader()}
	}
}

func (v *visit) setBody(body []byte) {
	r := v.r
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	if h := r.Header["Content-Length"]; len(h) > 0 || len(body) != len(v.body) {
		var buf [20]byte
		length := strconv.AppendInt(buf[:0], int64(len(body)), 10)
		if len(h) != 1 || h[0] != string(length) {
			r.Header["Content-Length"] = []string{string(length)}
		}
	}
	if len(body) == 0 {
		r.Body = http.NoBody
		r.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
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
	v.setOriginal(func(orig *http.Request) {
		if orig.URL != nil {
			orig.URL.RawQuery = query
			orig.URL.ForceQuery = r.URL.ForceQuery
		}
		orig.RequestURI = withQuery(orig.RequestURI, query)
	})
}

// setOriginal changes the request that Caddy keeps.
func (v *visit) setOriginal(change func(*http.Request)) {
	r := v.r
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return
	}
	change(&orig)
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, orig))
}

func withQuery(uri, query string) string {
	uri, _, _ = strings.Cut(uri, "?")
	if query != "" {
		uri += "?" + query
	}
	return uri
}

// empty makes sure that nothing of a refused request can be sent on by whoever
// handles it after the gate: neither its body, nor what one who granted nothing
// would not let pass.
func (v *visit) empty() {
	r := v.r // the server closes its body, and waits for none that a client holds back
	r.Body, r.ContentLength, r.Trailer, r.TransferEncoding = http.NoBody, 0, nil, nil
	r.GetBody = nil
	r.Header.Del("Content-Length")
	stranger := v.ln.rules.Stranger()
	part := payload.Part{Vector: stranger.Vector, Params: &payload.Params{Now: time.Now()}}
	var rep payload.Report
	query, ok := v.ln.applyQuery(r.URL.RawQuery, part, &rep)
	if !ok {
		query = ""
	}
	v.setQuery(query)
	path, _, ok := v.rt.paths.apply(r.URL, stranger, part, &rep)
	if !ok {
		path = v.rt.paths.hide(r.URL)
	}
	if path != "" {
		v.setPath(path)
	}
	headers, ok := v.ln.applyHeaders(v.g, r.Header, stranger, part, &rep)
	if !ok {
		clear(r.Header)
	}
	edit(r.Header, headers)
}

// restore gives the request back as it came, for a gate that only observes.
func (v *visit) restore() {
	switch {
	case v.stream != nil:
		v.watchStream()
		v.r.Body = &observedLines{v.stream, v.r.Body}
	case v.read && v.r.Body != nil && v.r.Body != http.NoBody && !extendedConnect(v.r):
		v.r.Body = io.NopCloser(bytes.NewReader(v.body))
	case v.rest != nil:
		v.r.Body = readCloser{io.MultiReader(bytes.NewReader(v.body), v.rest), v.r.Body}
	}
}

type readCloser struct {
	io.Reader
	io.Closer
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
