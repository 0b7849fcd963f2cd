package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/consentgate/consentgate/internal/codec"
	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
)

// A stream of lines is read in windows, so that the states of its subjects are
// asked for together: as many lines as have come, up to these bounds.
const (
	windowLines = 256
	windowBytes = 256 << 10
)

// lineStream is a body of JSON texts, one a line (NDJSON), as its recipient may
// have it. It reads a window when asked for more, and keeps no more than that.
// A line that cannot be read, or about which nobody can say whose it is, ends
// it with an error: what came before has gone, and nothing after it goes.
type lineStream struct {
	judge
	lines   *codec.LineReader
	decoder io.ReadCloser
	encoder codec.WriteFlusher // nil: as it is
	out     bytes.Buffer       // of the window at hand
	sink    io.Writer
	err     error
	problem *Problem
	report  payload.Report
	whole   bool          // all of it has come, and no line keeps another waiting
	count   int           // records that have come
	raw     *bytes.Buffer // as it came from source, where the gate only observes
	source  io.Reader
	onEnd   func(*lineStream)

	// Until the request has been decided on, since it may yet be refused or decided on
	// anew, records for partners are put aside.
	deciding bool
	outgoing []ingest

	// A transport may close the body while it reads it.
	reading sync.Mutex
	closed  atomic.Bool
}

// newStream reads lines from r, which is encoded as enc.
func (j judge) newStream(r io.Reader, enc codec.Encoding) (*lineStream, *Problem) {
	s := &lineStream{judge: j}
	decoder, err := enc.NewReader(r)
	if err != nil {
		return nil, unsupportedEncoding()
	}
	s.decoder = decoder
	s.lines = codec.NewLineReader(decoder, int(j.g.MaxBody))
	s.sink = &s.out
	if enc != codec.Identity {
		if s.encoder, err = enc.NewWriter(&s.out); err != nil {
			return nil, unsupportedEncoding()
		}
		s.sink = s.encoder
	}
	return s, nil
}

// window is some lines of a stream, scanned.
type window struct {
	lines  [][]byte
	scans  []*payload.Scan // nil for a blank line
	people []consent.Subject
	spans  []int // how many of the people belong to each line
}

func (w *window) free() {
	for _, s := range w.scans {
		if s != nil {
			s.Free()
		}
	}
}

// next reads a window and puts what may go of it into out. After the last line,
// and after an error, s.err is set.
func (s *lineStream) next() {
	defer func() {
		if p := recover(); p != nil {
			s.g.caught(p) // it is a transport that reads
			s.fail(unreadableText("the body could not be read to its end"))
		}
	}()
	s.refresh()
	w, err := s.gather()
	defer func() { w.free() }()
	p := s.g.settled(func() {
		s.refresh()
		var late error
		if w, late = s.again(w); late != nil {
			err = late
		}
	}, func() *Problem { return s.process(w) })
	if p != nil {
		s.fail(p)
		return
	}
	var limit *payload.LimitError
	var syntax *payload.SyntaxError
	var problem *Problem
	switch {
	case err == nil:
	case errors.As(err, &problem):
		s.fail(problem)
	case errors.Is(err, io.EOF):
		s.end(io.EOF)
	case errors.Is(err, codec.ErrTooLarge):
		s.fail(tooLarge(s.g.MaxBody))
	case errors.As(err, &syntax), errors.As(err, &limit):
		s.fail(unreadable(err))
	default:
		s.fail(unreadableText("the body could not be read to its end"))
	}
	if s.encoder != nil && s.err == nil {
		if err := s.encoder.Flush(); err != nil {
			s.fail(unreadableText("the body could not be encoded again"))
		}
	}
}

// gather reads as many lines as have come. Those that it returns beside an
// error are good.
func (s *lineStream) gather() (w *window, err error) {
	w = &window{}
	size := 0
	for len(w.lines) < windowLines && size < windowBytes && (len(w.lines) == 0 || s.whole || s.lines.Ready()) {
		line, err := s.lines.Next()
		if err != nil {
			return w, err
		}
		line = bytes.Clone(line)
		size += len(line)
		if err := s.look(w, line); err != nil {
			return w, err
		}
	}
	return w, nil
}

// look adds a line to a window. Beside an error it may have been added, without
// its people.
func (s *lineStream) look(w *window, line []byte) error {
	text := line[:len(line)-len(codec.LineEnd(line))]
	if len(bytes.TrimSpace(text)) == 0 {
		w.lines, w.scans, w.spans = append(w.lines, line), append(w.scans, nil), append(w.spans, 0)
		return nil
	}
	scan, err := s.ln.plan.Matcher.Scan(text, payload.DefaultLimits)
	if err != nil {
		return err
	}
	w.lines, w.scans = append(w.lines, line), append(w.scans, scan)
	people, p := s.people(scan)
	if p != nil {
		return p
	}
	w.people, w.spans = append(w.people, people...), append(w.spans, len(people))
	return nil
}

// again looks at the lines of a window by the policy in force.
func (s *lineStream) again(old *window) (*window, error) {
	defer old.free()
	w := &window{}
	for _, line := range old.lines {
		if err := s.look(w, line); err != nil {
			return w, err
		}
	}
	return w, nil
}

// process decides on the lines of a window and writes what may go.
func (s *lineStream) process(w *window) *Problem {
	if len(w.lines) == 0 {
		return nil
	}
	var verdicts []Verdict
	if len(w.people) > 0 {
		var p *Problem
		if verdicts, p = s.verdicts(w.people); p != nil {
			return p
		}
	}
	at := 0
	var outgoing []ingest
	for i, line := range w.lines {
		scan, n := w.scans[i], 0
		if i < len(w.spans) {
			n = w.spans[i]
		}
		if scan == nil {
			if err := s.write(line); err != nil {
				return unreadableText("the body could not be encoded again")
			}
			continue
		}
		if n == 0 {
			break // whose it is could not be told
		}
		var own []Verdict
		if verdicts != nil {
			own = verdicts[at : at+n]
		}
		ru := s.ruling(scan, own, n)
		ru.people, ru.verdicts = w.people[at:at+n], own
		at += n
		in, p := s.ingests(scan, ru, s.count)
		if p != nil {
			return p
		}
		outgoing = append(outgoing, in...)
		out, rep := scan.Apply(nil, ru.envelope, ru.parts)
		s.count += scan.Len()
		if rep.BlockedAll && !scan.Split() {
			rep.Blocked = 1
		}
		gone := rep.BlockedAll || rep.Blocked > 0 && rep.Blocked == scan.Len() || string(out) == "null" && !same(out, scan.Src)
		s.report.Add(&rep)
		if gone {
			continue
		}
		if err := s.write(out); err != nil {
			return unreadableText("the body could not be encoded again")
		}
		if err := s.write(codec.LineEnd(line)); err != nil {
			return unreadableText("the body could not be encoded again")
		}
	}
	if s.deciding {
		s.outgoing = outgoing
		return nil
	}
	return s.keep(outgoing)
}

// keep makes the records of a window durable before a byte of it goes on.
func (s *lineStream) keep(outgoing []ingest) *Problem {
	return s.g.keep(s.r.Context(), joined(outgoing))
}

func (s *lineStream) write(b []byte) error {
	_, err := s.sink.Write(b)
	return err
}

// fail ends the stream with a refusal.
func (s *lineStream) fail(p *Problem) {
	s.problem = p
	s.out.Reset()
	s.end(p)
}

// end closes what the stream holds.
func (s *lineStream) end(err error) {
	if s.err != nil {
		return
	}
	if s.encoder != nil && errors.Is(err, io.EOF) {
		if e := s.encoder.Close(); e != nil {
			err = e
		}
	}
	s.err = err
	_ = s.decoder.Close()
	if s.onEnd != nil {
		s.onEnd(s)
	}
}

// Read implements io.Reader.
func (s *lineStream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	defer func() {
		if s.closed.Load() {
			s.end(http.ErrBodyReadAfterClose) // Close came meanwhile, and left it to this one
		}
	}()
	// Whoever reads on after Close sends a request again, and must not take what
	// is left for all of it.
	if s.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	for s.out.Len() == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.out.Reset()
		s.next()
	}
	return s.out.Read(p)
}

// Close implements io.Closer. The server closes what the stream reads from once
// the handler has returned.
func (s *lineStream) Close() error {
	s.closed.Store(true)
	if s.reading.TryLock() {
		s.end(http.ErrBodyReadAfterClose)
		s.reading.Unlock()
	}
	return nil
}

// decideStream decides on the first window, so that a stream that is wrong from
// the start is refused, and on what stands beside the body: with the strictest
// of what any line may turn out to be.
func (v *visit) decideStream() *Problem {
	s := v.stream
	s.deciding = true
	s.next()
	if s.problem != nil {
		return s.problem
	}
	ru, p := v.rule(nil)
	if p != nil {
		return p
	}
	v.release = ru.release
	for _, source := range append(v.ln.subject[:len(v.ln.subject):len(v.ln.subject)], v.ln.device...) {
		if source.JSON != "" {
			v.release = v.ln.rules.Strictest(ru.release, v.ln.rules.Stranger())
			ru.envelope.Vector, ru.envelope.Params.Key = v.release.Vector, nil
			if v.release.Vector.Placed() {
				places := places{judge: v.judge, n: 1}
				ru.envelope.Params.Place = places.of(0)
			}
			break
		}
	}
	if p := v.decideBeside(ru.envelope); p != nil {
		return p
	}
	if p := s.keep(s.outgoing); p != nil {
		return p
	}
	s.deciding, s.outgoing = false, nil
	return nil
}

// watchStream counts what became of the stream, at its end.
func (v *visit) watchStream() {
	if v.stream.err != nil { // the first window was all, and the request is counted
		v.g.countReport(v.g.Recipient, &v.stream.report, v.stream.ln.of.Policy)
		return
	}
	v.stream.onEnd = func(s *lineStream) {
		if s.problem != nil {
			v.g.app.metrics.countRequest(v.g.Recipient, v.g.outcome("stream_"+s.problem.Kind))
		}
		v.g.countReport(v.g.Recipient, &s.report, s.ln.of.Policy)
	}
}

// setStream makes the stream the request's body.
func (v *visit) setStream() {
	r, s := v.r, v.stream
	v.watchStream()
	r.Body, r.GetBody = s, nil
	r.ContentLength, r.TransferEncoding = -1, nil
	r.Header.Del("Content-Length")
}

// Interface guards
var _ io.ReadCloser = (*lineStream)(nil)
