package caddymodule

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// hijackable is a response whose connection can be had.
type hijackable struct {
	*httptest.ResponseRecorder
	hijacked bool
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.hijacked = true
	return nil, nil, nil
}

// A client is answered 503, and nothing of what the upstream has said, where the
// records of its request cannot be kept, whatever the reason and whichever way the
// upstream answers.
func TestWhatCannotBeKeptIsNotAccepted(t *testing.T) {
	closed := &partner{app: &App{}, of: &Forward{Recipient: "adx"}} // its outbox is not open
	for name, p := range map[string]*partner{"the outbox is not open": closed, "keeping panics": nil} {
		for way, upstream := range map[string]func(w http.ResponseWriter){
			"with a body": func(w http.ResponseWriter) {
				w.Header().Set("X-Upstream", "1")
				w.WriteHeader(http.StatusOK)
				_, _ = w.Write([]byte("canary"))
			},
			"with a flush":    func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
			"with nothing":    func(http.ResponseWriter) {},
			"with an upgrade": func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				w := &hijackable{ResponseRecorder: httptest.NewRecorder()}
				w.Header().Set("Access-Control-Allow-Origin", "*")
				v := &visit{judge: judge{g: &Gate{logger: zap.NewNop()}, r: httptest.NewRequest("POST", "/", nil)}}
				v.outgoing = []ingest{{lane: &forwardLane{partner: p}}}
				err := v.accepted(w, func(w http.ResponseWriter) error { upstream(w); return nil })
				if err != nil || w.Code != http.StatusServiceUnavailable || w.hijacked || strings.Contains(w.Body.String(), "canary") {
					t.Errorf("%v, %d, hijacked: %v, %s", err, w.Code, w.hijacked, w.Body)
				}
				if h := w.Header(); h.Get("X-Upstream") != "" || h.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("headers: %v", h)
				}
			})
		}
	}
}

func TestAForwardOfNothingIsNoConfiguration(t *testing.T) {
	g := &Gate{Recipient: "backend", MaxBody: defaultMaxBody, Forward: []*Forward{nil}}
	if err := g.check(); err == nil || !strings.Contains(err.Error(), "forward is null") {
		t.Errorf("%v", err)
	}
}
