package caddymodule

import (
	"bytes"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/codec"
)

// A gate that only observes decides on copies of what passes, and counts.

// observed is what the outcomes that it counts begin with.
const observed = "observed_"

// outcome returns the name under which a result is counted.
func (g *Gate) outcome(result string) string {
	if g.Mode == modeObserve {
		return observed + result
	}
	return result
}

// newStream is the judge's. One that only observes keeps what it reads.
func (v *visit) newStream(r io.Reader, enc codec.Encoding) (*lineStream, *Problem) {
	if v.g.Mode != modeObserve {
		return v.judge.newStream(r, enc)
	}
	raw := new(bytes.Buffer)
	s, p := v.judge.newStream(io.TeeReader(r, raw), enc)
	if s != nil {
		s.raw, s.source = raw, r
	}
	return s, p
}

// observedLines is a body of lines as it came, which is decided on line by line
// as it passes.
type observedLines struct {
	s *lineStream
	io.Closer
}

// Read implements io.Reader.
func (o *observedLines) Read(p []byte) (int, error) {
	for o.s.raw.Len() == 0 && o.s.err == nil {
		o.s.out.Reset()
		o.s.next()
	}
	if p := o.s.problem; p != nil && p.enforced {
		return 0, p // the upstream must not take what it got for all
	}
	if o.s.raw.Len() > 0 {
		return o.s.raw.Read(p)
	}
	return o.s.source.Read(p)
}

// observe serves the request and decides on the response.
func (v *visit) observe(w http.ResponseWriter, next caddyhttp.Handler) error {
	if v.rt.down == nil || v.down.g == nil {
		return next.ServeHTTP(w, v.r)
	}
	o := &observedResponse{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		f:                     v.newFilter(nowhere{}),
	}
	whole := false
	defer func() {
		if !whole && o.f.live != nil {
			o.f.live.abort()
		}
	}()
	err := next.ServeHTTP(o, v.r)
	whole = true
	_ = o.f.finish(nil)
	return err
}

// observedResponse is a response as it came, with a filter that gets a copy.
type observedResponse struct {
	*caddyhttp.ResponseWriterWrapper
	f     *filter
	blind bool // the filter has heard enough
}

// WriteHeader implements http.ResponseWriter.
func (o *observedResponse) WriteHeader(status int) {
	if status >= 200 && o.f.status == 0 {
		o.f.own = o.Header().Clone()
		o.f.WriteHeader(status)
	}
	o.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements io.Writer.
func (o *observedResponse) Write(p []byte) (int, error) {
	if o.f.status == 0 {
		o.WriteHeader(http.StatusOK)
	}
	n, err := o.ResponseWriter.Write(p)
	if !o.blind {
		_, bad := o.f.Write(p[:n])
		o.blind = bad != nil
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom: the wrapper's own would go past Write.
func (o *observedResponse) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{o}, r)
}

// nowhere is where a filtered copy goes.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// Interface guards
var (
	_ io.ReadCloser       = (*observedLines)(nil)
	_ io.ReaderFrom       = (*observedResponse)(nil)
	_ http.ResponseWriter = nowhere{}
)
