package caddymodule

import (
	"bytes"
	"net/http"
)

// eventStream filters a response of server-sent events (HTML, section 9.2.6)
// as it comes, one event at a time.
type eventStream struct {
	f      *filter
	buf    []byte
	seen   bool // the beginning, where a byte order mark may stand
	begun  bool
	failed bool
}

// Write implements io.Writer.
func (e *eventStream) Write(p []byte) (int, error) {
	if e.failed {
		return 0, errFiltered
	}
	e.buf = append(e.buf, p...)
	if !e.seen && len(e.buf) >= 3 {
		e.seen, e.buf = true, bytes.TrimPrefix(e.buf, []byte("\xef\xbb\xbf"))
	}
	for {
		end := eventEnd(e.buf)
		if end < 0 {
			break
		}
		if !e.send(e.buf[:end]) {
			return 0, errFiltered
		}
		e.buf = e.buf[end:]
	}
	if int64(len(e.buf)) > e.f.g.MaxBody {
		return 0, e.fail(tooLarge(e.f.g.MaxBody))
	}
	return len(p), nil
}

func (e *eventStream) fail(p *Problem) error {
	e.failed, e.f.problem = true, p
	return errFiltered
}

// finish implements liveBody. An event that did not come whole is none.
func (e *eventStream) finish() {
	if !e.failed {
		e.begin()
	}
}

func (e *eventStream) abort()        {}
func (e *eventStream) started() bool { return e.begun }

func (e *eventStream) begin() bool {
	if e.begun {
		return true
	}
	ru, p := e.f.rule(nil)
	if p == nil {
		p = e.f.start(ru, -1)
	}
	if p != nil {
		_ = e.fail(p)
		return false
	}
	e.begun = true
	return true
}

// eventEnd returns the offset after the first event, which a blank line ends;
// -1 where none has come whole.
func eventEnd(b []byte) int {
	at := 0
	for {
		n := bytes.IndexAny(b[at:], "\r\n")
		if n < 0 {
			return -1
		}
		end := at + n + 1
		if b[at+n] == '\r' {
			if end == len(b) {
				return -1 // a '\n' may follow
			}
			if b[end] == '\n' {
				end++
			}
		}
		if n == 0 {
			return end
		}
		at = end
	}
}

// send decides on an event and sends what may go of it.
func (e *eventStream) send(event []byte) bool {
	if !e.begin() {
		return false
	}
	out, p := e.rewrite(event)
	if p != nil {
		if p.Status == http.StatusForbidden {
			return true // the event alone may not go
		}
		_ = e.fail(p)
		return false
	}
	if _, err := e.f.ResponseWriter.Write(out); err != nil {
		e.failed = true
		return false
	}
	_ = http.NewResponseController(e.f.ResponseWriter).Flush()
	return true
}

// rewrite returns an event as the recipient may have it. Its data is one
// message, over as many lines as it takes; comments go.
func (e *eventStream) rewrite(event []byte) ([]byte, *Problem) {
	var out, data []byte
	has, comments := false, false
	for line := range bytes.Lines(bytes.ReplaceAll(bytes.ReplaceAll(event, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "":
			comments = comments || len(line) > 0
		case "data":
			if has {
				data = append(data, '\n')
			}
			has, data = true, append(data, value...)
		case "event", "id", "retry":
			made, p := e.message(value)
			if p != nil {
				return nil, p
			}
			out = append(append(append(append(out, name...), ": "...), made...), '\n')
		default: // receivers ignore it, and so need not have it
		}
	}
	made, p := e.message(data)
	if p != nil {
		return nil, p
	}
	if has {
		for line := range bytes.SplitSeq(made, []byte("\n")) {
			out = append(append(append(out, "data: "...), line...), '\n')
		}
	} else if len(out) == 0 && comments {
		out = append(out, ":\n"...) // it keeps the connection open
	}
	return append(out, '\n'), nil
}

func (e *eventStream) message(text []byte) ([]byte, *Problem) {
	out, rep, p := e.f.message(true, text)
	e.f.report.Add(&rep)
	return out, p
}

// Interface guards
var _ liveBody = (*eventStream)(nil)
