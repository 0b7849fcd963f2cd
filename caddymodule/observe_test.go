package caddymodule

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const metricsRoute = "\thandle /metrics {\n\t\tmetrics\n\t}"

// counted waits until the metrics have each line.
func (s *server) counted(t *testing.T, lines ...string) {
	t.Helper()
	var got string
	for _, line := range lines {
		eventually(t, "the metrics count "+line, func() bool {
			got = string(s.do("GET", "/metrics", "").Body)
			return strings.Contains(got, "\n"+line+"\n")
		})
	}
}

// What a gate that only observes would have done shows in its metrics: of
// requests, of each line of a stream, of responses, and of messages.
func TestObserveCounts(t *testing.T) {
	const answer = `{"imei":"` + canaryIMEI + `","n":1}`
	echo := startEcho(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/v1/json":
			_, _ = io.WriteString(w, answer)
		case "/v1/lines":
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, answer+"\n"+answer+"\n")
		case "/v1/bad":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer+"}")
		default:
			_, _ = w.Write(body)
		}
	}))
	defer backend.Close()
	observe := "mode observe\n\t\t\tlive websocket\n\t\t\tresponse analytics"
	s := startCaddy(t, strings.ReplaceAll(gateCaddyfile(embedded, "backend", observe, metricsRoute+
		"\n\thandle /ws {\n\t\tconsent_gate backend {\n\t\t\t"+observe+"\n\t\t}\n\t\treverse_proxy "+echo+"\n\t}"),
		"@UPSTREAM@", strings.TrimPrefix(backend.URL, "http://")))

	// The bad line is beyond the window that is decided on before the request goes on.
	lines := strings.Repeat(answer+"\n", windowLines+1) + `{"half":` + "\n" + answer + "\n"
	if r := s.do("POST", "/v1/echo", lines, "Content-Type", "application/x-ndjson"); string(r.Body) != lines {
		t.Errorf("of the lines arrived %s", r.Body)
	}
	s.counted(t, `consentgate_requests_total{outcome="observed_stream_unreadable-body",recipient="backend"} 1`,
		`consentgate_categories_total{action="drop",category="device.id.imei",recipient="backend"} 1`)
	for path, want := range map[string]string{"/v1/json": answer, "/v1/lines": answer + "\n" + answer + "\n", "/v1/bad": answer + "}"} {
		if r := s.do("GET", path, ""); string(r.Body) != want {
			t.Errorf("%s answers %s", path, r.Body)
		}
	}
	s.counted(t, `consentgate_requests_total{outcome="observed_responded",recipient="analytics"} 2`,
		`consentgate_requests_total{outcome="observed_response_unreadable-body",recipient="analytics"} 2`)

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		c, _, err := websocket.Dial(ctx, "ws://"+s.Addr+"/ws", &websocket.DialOptions{CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		msg := `{"mac":"` + canaryMAC + `","n":"` + strings.Repeat("long ", 200) + `"}`
		if err := c.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"echo " + msg, `{"imei":"2","n":2}`} {
			if _, got, err := c.Read(ctx); err != nil || string(got) != want {
				t.Errorf("%q came back, %v", got, err)
			}
		}
		c.CloseNow()
	}
	s.counted(t, `consentgate_categories_total{action="drop",category="device.id.mac",recipient="backend"} 1`,
		`consentgate_requests_total{outcome="observed_message_unreadable-body",recipient="backend"} 2`)
}
