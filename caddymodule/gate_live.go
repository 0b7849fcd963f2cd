package caddymodule

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/internal/websocket"
)

// live reports whether the route lets a kind of live stream through.
func (g *Gate) live(kind string) bool { return slices.Contains(g.Live, kind) }

// liveStream refuses what cannot be read to its end before it is sent on,
// unless the route opts in and the gate can read it message by message.
func (v *visit) liveStream() *Problem {
	r := v.r
	if (r.Method == http.MethodConnect || r.Header.Get(":protocol") != "") && !(extendedConnect(r) && v.g.live(liveWebSocket)) {
		return unsupportedType("tunnels are refused")
	}
	if inc := r.Header.Get("Incremental"); inc != "" && inc != "?0" && !v.g.live(liveIncremental) {
		return unsupportedType("incremental bodies are refused on this route")
	}
	upgrade := r.Header.Values("Upgrade")
	if len(upgrade) == 0 {
		return nil
	}
	if len(upgrade) == 1 && strings.EqualFold(upgrade[0], "h2c") {
		// Offered by some clients on every request, and free to be ignored
		// (RFC 9110, section 7.8).
		if v.g.Mode != modeObserve {
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
			r.Header.Del("Http2-Settings")
		}
		return nil
	}
	if v.webSocket() {
		if v.g.live(liveWebSocket) {
			return nil
		}
		return unsupportedType("WebSocket is refused on this route")
	}
	return unsupportedType("upgrades to other protocols are refused")
}

// webSocket reports whether the request opens a WebSocket, by an upgrade (RFC 6455,
// section 4.1) or an extended CONNECT.
func (v *visit) webSocket() bool {
	r := v.r
	return extendedConnect(r) || r.ProtoMajor == 1 && r.Method == http.MethodGet && len(r.Header.Values("Upgrade")) == 1 &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// socketWriter hands out, in the place of the client's connection, one whose
// messages are inspected.
type socketWriter struct {
	*caddyhttp.ResponseWriterWrapper
	v *visit
}

// openSocket prepares the request and returns the writer for its response.
func (v *visit) openSocket(w http.ResponseWriter) http.ResponseWriter {
	if v.g.Mode != modeObserve {
		// An extension such as compression would hide what the messages say.
		v.r.Header.Del("Sec-Websocket-Extensions")
	}
	if extendedConnect(v.r) {
		return v.openTunnel(w)
	}
	return &socketWriter{&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, v}
}

// Hijack implements http.Hijacker.
func (s *socketWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	var buffered []byte
	if n := rw.Reader.Buffered(); n > 0 {
		if buffered, err = rw.Peek(n); err != nil {
			_ = c.Close()
			return nil, nil, err
		}
	}
	inspected := s.v.socket(c, buffered)
	return inspected, bufio.NewReadWriter(bufio.NewReader(inspected), rw.Writer), nil
}

// socket returns the client's connection with its messages inspected, or, where
// the gate only observes, looked at.
func (v *visit) socket(c net.Conn, buffered []byte) net.Conn {
	limit := int(v.g.MaxBody)
	if v.g.Mode != modeObserve {
		return websocket.NewConn(c, buffered, limit, v.fromClient, v.toClient)
	}
	return websocket.NewTap(c, buffered, limit,
		func(text bool, msg []byte) { _, _ = v.fromClient(text, msg) },
		func(text bool, msg []byte) { _, _ = v.toClient(text, msg) },
		func() { v.g.app.metrics.countRequest(v.g.Recipient, observed+"message_unreadable-body") })
}

var errRefused = errors.New("the message may not pass")

// fromClient rewrites a message to the upstream.
func (v *visit) fromClient(text bool, msg []byte) ([]byte, error) {
	return v.inspect(v.judge, text, msg)
}

// toClient rewrites a message to whoever gets the responses.
func (v *visit) toClient(text bool, msg []byte) ([]byte, error) {
	if v.rt.down == nil {
		return msg, nil
	}
	return v.inspect(v.down, text, msg)
}

// inspect rewrites one message of a WebSocket. The subject's state is looked at
// anew for each, so that a withdrawal holds at once.
func (v *visit) inspect(j judge, text bool, msg []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			v.g.caught(p) // it is a proxy that copies
			out, err = nil, errRefused
		}
	}()
	out, rep, p := j.message(text, msg)
	j.refresh()
	if p != nil {
		v.g.app.metrics.countRequest(j.ln.rules.Recipient().ID, v.g.outcome("message_"+p.Kind))
		return nil, errRefused
	}
	v.g.countReport(j.ln.rules.Recipient().ID, &rep, j.ln.of.Policy)
	return out, nil
}

// message rewrites a message that has no headers to say what it is, by the policy
// in force when it comes.
func (j judge) message(text bool, msg []byte) (out []byte, rep payload.Report, p *Problem) {
	j.refresh()
	p = j.g.settled(j.refresh, func() (p *Problem) {
		out, rep, p = j.rewrite(text, msg)
		return p
	})
	return out, rep, p
}

func (j judge) rewrite(text bool, msg []byte) (out []byte, rep payload.Report, p *Problem) {
	if len(msg) == 0 {
		return msg, rep, nil
	}
	if !text || looksLikeJSON(msg) {
		m, p := j.open(http.Header{}, msg)
		if p == nil && m.kind == bodyLines {
			p = unreadableText("the message is several JSON texts")
		}
		if p != nil && text {
			return j.prose(msg) // "[DONE]", say
		}
		if p != nil {
			return nil, rep, p
		}
		defer m.free()
		ru, p := j.rule(m.scan)
		if p != nil {
			return nil, rep, p
		}
		out, p := j.apply(&m, ru, &rep)
		return out, rep, p
	}
	return j.prose(msg)
}

// prose rewrites a message that is a text of no form. One that holds what nobody
// can vouch for goes nowhere.
func (j judge) prose(msg []byte) (out []byte, rep payload.Report, p *Problem) {
	ru, p := j.rule(nil)
	if p != nil {
		return nil, rep, p
	}
	made, ok := j.ln.applyText(string(msg), ru.envelope, &rep)
	switch {
	case !ok:
		return nil, rep, j.consentRequired(ru.release, &rep)
	case rep.Sealed > 0:
		return nil, rep, unreadableText("the message is nearly JSON")
	}
	return []byte(made), rep, nil
}

// Interface guards
var _ http.Hijacker = (*socketWriter)(nil)
