package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/codec"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// respond serves the request and filters the response.
func (v *visit) respond(w http.ResponseWriter, next caddyhttp.Handler) (err error) {
	h := v.r.Header
	h.Del("Te")
	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
		// A part of what is there, or word that it is as it was, says nothing
		// of what may pass. A condition of a write is another matter.
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
			h.Del(name)
		}
	}
	h.Set("Accept-Encoding", "identity")
	f := v.newFilter(w)
	// reverse_proxy panics where the upstream breaks off, and where a Write
	// fails, as it does here for what may not pass.
	defer func() {
		e := recover()
		if e == nil {
			return
		}
		if f.live != nil {
			f.live.abort()
		}
		if aborted, _ := e.(error); !errors.Is(aborted, http.ErrAbortHandler) || f.problem == nil || f.live != nil && f.live.started() {
			panic(e)
		}
		err = f.end(nil)
	}()
	return f.finish(next.ServeHTTP(f, v.r))
}

func (v *visit) newFilter(w http.ResponseWriter) *filter {
	return &filter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		judge:                 v.down, policy: v.rt.of.Policy, own: http.Header{},
	}
}

// filter is a response on its way to a recipient. Whole bodies are kept until
// they have come and been decided on; lines and events go as they come.
type filter struct {
	*caddyhttp.ResponseWriterWrapper
	judge
	policy *rules.Policy
	status int // 0: nothing has come yet
	// own is what the handler sets, and header what it had set when the
	// response began: trailers come later. The client's map is another one, and
	// whoever starts the response fills it.
	own, header http.Header
	buf         bytes.Buffer
	problem     *Problem
	live        liveBody // nil: the body is kept
	passed      bool     // the response is of a kind that has no body to filter
	report      payload.Report
}

// liveBody takes a body as it comes.
type liveBody interface {
	io.Writer
	// finish is called after the last Write; abort is, where there should have
	// been more. Neither returns before all that it started has ended.
	finish()
	abort()
	// started reports whether something has been sent.
	started() bool
}

var errFiltered = errors.New("the response may not pass")

// Header implements http.ResponseWriter.
func (f *filter) Header() http.Header { return f.own }

// WriteHeader implements http.ResponseWriter.
func (f *filter) WriteHeader(status int) {
	if f.status != 0 {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return // hints of what is to come; what they hold nobody has decided on
	}
	f.status = status
	f.header = f.own.Clone()
	if status == http.StatusSwitchingProtocols || extendedConnect(f.r) && status < 300 {
		ru, p := f.rule(nil)
		if p == nil {
			p = f.start(ru, -1)
		}
		f.passed, f.problem = p == nil, p
		return
	}
	if f.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified {
		return
	}
	mediaType, _ := mediaTypeOf(f.header)
	switch {
	case mediaType == "text/event-stream":
		if !f.g.live(liveSSE) {
			f.problem = unsupportedType("streams of events are closed on this route")
			return
		}
		f.live = &eventStream{f: f}
	case kindOfType(mediaType) == bodyLines:
		f.live = newResponseLines(f)
	}
}

// Write implements io.Writer.
func (f *filter) Write(p []byte) (int, error) {
	if f.status == 0 {
		f.WriteHeader(http.StatusOK)
	}
	switch {
	case f.problem != nil:
		return 0, errFiltered
	case f.passed:
		return f.ResponseWriter.Write(p)
	case f.live != nil:
		return f.live.Write(p)
	}
	if int64(f.buf.Len()+len(p)) > f.g.MaxBody {
		f.problem = tooLarge(f.g.MaxBody)
		return 0, errFiltered
	}
	return f.buf.Write(p)
}

// ReadFrom implements io.ReaderFrom: the wrapper's own would go past Write.
func (f *filter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

// FlushError keeps a flush from sending what has not been decided on.
func (f *filter) FlushError() error {
	if f.passed {
		return http.NewResponseController(f.ResponseWriter).Flush()
	}
	return nil
}

// Flush implements http.Flusher.
func (f *filter) Flush() { _ = f.FlushError() }

// finish sends what may be sent, once the upstream has answered.
func (f *filter) finish(err error) error {
	if f.live != nil {
		f.live.finish()
		return f.end(err)
	}
	if err != nil || f.status == 0 || f.passed {
		return err
	}
	var out []byte
	var ru ruling
	if f.problem == nil {
		out, ru, f.problem = f.decide()
		if p := f.problem; p != nil && f.status >= 300 && (p.Kind == "unsupported-type" || p.Kind == "unreadable-body") {
			// Of an error page or a redirect the status says enough.
			out, f.problem = nil, nil
			f.header.Del("Content-Type")
			f.header.Del("Content-Encoding")
			ru, f.problem = f.rule(nil)
		}
	}
	if f.problem == nil {
		f.problem = f.start(ru, len(out))
	}
	if f.problem == nil {
		_, err = f.ResponseWriter.Write(out)
	}
	return f.end(err)
}

// end counts the response, and refuses it where it may not pass.
func (f *filter) end(err error) error {
	m, recipient := f.g.app.metrics, f.ln.rules.Recipient().ID
	f.g.countReport(recipient, &f.report, f.policy)
	if f.problem == nil {
		m.countRequest(recipient, f.g.outcome("responded"))
		return err
	}
	m.countRequest(recipient, f.g.outcome("response_"+f.problem.Kind))
	if f.g.Mode == modeObserve {
		return nil
	}
	if f.live != nil && f.live.started() {
		// What came before has gone; the client must not take it for all.
		panic(http.ErrAbortHandler)
	}
	f.problem.ofResponse().write(f.ResponseWriter)
	return nil
}

// ofResponse is a problem of a body that the upstream sent, and for which the
// client is not to blame.
func (p *Problem) ofResponse() *Problem {
	if p.Status == http.StatusForbidden || p.Status >= 500 {
		return p
	}
	q := *p
	q.Status, q.Extra = http.StatusBadGateway, nil
	return &q
}

// decide decides on a body that has come whole.
func (f *filter) decide() (out []byte, ru ruling, p *Problem) {
	p = f.g.settled(func() {
		f.refresh()
		f.report = payload.Report{}
	}, func() (p *Problem) {
		out, ru, p = f.decideWhole()
		return p
	})
	return out, ru, p
}

func (f *filter) decideWhole() ([]byte, ruling, *Problem) {
	if f.buf.Len() == 0 {
		ru, p := f.rule(nil)
		return nil, ru, p
	}
	m, p := f.open(f.header, f.buf.Bytes())
	if p != nil {
		return nil, ruling{}, p
	}
	defer m.free()
	if m.kind == bodyLines {
		return f.decideLines(&m)
	}
	ru, p := f.rule(m.scan)
	if p != nil {
		return nil, ru, p
	}
	out, p := f.apply(&m, ru, &f.report)
	return out, ru, p
}

// decideLines decides on lines that did not say that they are.
func (f *filter) decideLines(m *message) ([]byte, ruling, *Problem) {
	s, p := f.newStream(bytes.NewReader(m.raw), m.enc)
	if p != nil {
		return nil, ruling{}, p
	}
	out, err := io.ReadAll(s)
	if err != nil {
		if s.problem == nil {
			s.problem = unreadable(err)
		}
		return nil, ruling{}, s.problem
	}
	f.report.Add(&s.report)
	ru, p := f.rule(nil)
	return out, ru, p
}

// start sends the status and the headers. length is -1 for a body whose length
// is not known yet.
func (f *filter) start(ru ruling, length int) *Problem {
	out, p := f.headers(ru)
	if p != nil {
		return p
	}
	h := f.ResponseWriter.Header()
	maps.Copy(h, out)
	if length >= 0 && (length > 0 || len(f.header.Values("Content-Length")) > 0) && f.r.Method != http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	f.ResponseWriter.WriteHeader(f.status)
	return nil
}

// headers returns the headers as the recipient may have them.
func (f *filter) headers(ru ruling) (http.Header, *Problem) {
	first := f.ln.rules.Recipient().Kind == rules.FirstParty
	out := http.Header{}
	for name, values := range f.header {
		switch name {
		case "Etag", "Accept-Ranges", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Signature", "Signature-Input", "Trailer", "Content-Length", gateHeader:
			continue // they vouch for the bytes that came
		case "Set-Cookie":
			if first { // to all others it is a session of the subject's own
				if kept := f.cookies(values, ru); len(kept) > 0 {
					out[name] = kept
				}
			}
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		made, ok := f.ln.applyHeader(name, slices.Clone(values), ru.release, ru.envelope, &f.report)
		if !ok {
			return nil, f.consentRequired(ru.release, &f.report)
		}
		if len(made) > 0 {
			out[name] = made
		}
	}
	return out, nil
}

// cookies returns the cookies that may be set: those whose name and value the
// recipient may have as they are.
func (f *filter) cookies(values []string, ru ruling) (kept []string) {
	for _, value := range values {
		pair, _, _ := strings.Cut(value, ";")
		name, _, _ := strings.Cut(pair, "=")
		if !slices.Contains(f.g.Session, strings.TrimSpace(name)) {
			made, ok := f.ln.applyForm([]byte(pair), payload.Cookies, ru.envelope, nil, &f.report)
			if !ok || string(made) != pair {
				continue
			}
		}
		kept = append(kept, value)
	}
	return kept
}

// responseLines filters a response of lines as it comes.
type responseLines struct {
	f    *filter
	in   *io.PipeWriter
	done chan struct{}
	// The goroutine's, until done.
	begun   bool
	problem *Problem
}

func newResponseLines(f *filter) *responseLines {
	r, w := io.Pipe()
	l := &responseLines{f: f, in: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.problem = l.run(r)
		_ = r.CloseWithError(errFiltered)
	}()
	return l
}

// run copies the lines that may go.
func (l *responseLines) run(r io.Reader) *Problem {
	f := l.f
	enc, err := codec.ParseEncodings(f.header.Values("Content-Encoding"))
	if err != nil {
		return unsupportedEncoding()
	}
	s, p := f.newStream(r, enc)
	if p != nil {
		return p
	}
	defer s.Close()
	ru, p := f.rule(nil)
	if p != nil {
		return p
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		if !l.begun && (n > 0 || errors.Is(err, io.EOF)) {
			l.begun = true
			if p := f.start(ru, -1); p != nil {
				return p
			}
		}
		if n > 0 {
			if _, werr := f.ResponseWriter.Write(buf[:n]); werr != nil {
				return nil // the client has gone
			}
			_ = http.NewResponseController(f.ResponseWriter).Flush()
		}
		if err != nil {
			f.report.Add(&s.report)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if s.problem == nil {
				s.problem = unreadableText("the response could not be read to its end")
			}
			return s.problem
		}
	}
}

// Write implements io.Writer.
func (l *responseLines) Write(p []byte) (int, error) { return l.in.Write(p) }

func (l *responseLines) finish() {
	_ = l.in.Close()
	<-l.done
	l.f.problem = l.problem
}

func (l *responseLines) abort() {
	_ = l.in.CloseWithError(http.ErrAbortHandler)
	<-l.done
	l.f.problem = l.problem
}

func (l *responseLines) started() bool { return l.begun }

// Interface guards
var (
	_ liveBody            = (*responseLines)(nil)
	_ http.ResponseWriter = (*filter)(nil)
	_ http.Flusher        = (*filter)(nil)
	_ io.ReaderFrom       = (*filter)(nil)
)
