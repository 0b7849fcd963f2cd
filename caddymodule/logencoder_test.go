package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// canary stands wherever a request can hold personal data. No log may.
const canary = "356938035643809"

// requestWithCanaries is a request with the canary in its query, its headers,
// its cookies and its body, and with an address in X-Forwarded-For.
func requestWithCanaries(method, path string) string {
	body := `{"imei":"` + canary + `"}`
	return fmt.Sprintf("%s %s?imei=%s HTTP/1.1\r\nHost: app.test\r\nX-Imei: %s\r\nX-User-ID: u%s\r\nCookie: did=%s\r\n"+
		"X-Forwarded-For: 203.0.113.77\r\nReferer: https://a.test/?imei=%s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		method, path, canary, canary, canary, canary, canary, canary, len(body), body)
}

// At every level, whatever becomes of a request: nothing of the person in the
// bytes of the logs.
func TestNoLogHoldsWhatARequestHolds(t *testing.T) {
	for _, level := range []string{"INFO", "DEBUG"} {
		for _, wrap := range []string{"json", "console"} {
			t.Run(level+"/"+wrap, func(t *testing.T) {
				log := "log {\n\t\tlevel " + level + "\n\t\tformat consent {\n\t\t\twrap " + wrap + "\n\t\t}\n\t}"
				s := startCaddy(t, `{
	`+log+`
	servers {
		trace
		trusted_proxies static 127.0.0.0/8
	}
}
http://:@PORT@ {
	`+log+`
	log_append imei {query.imei}
	log_append body {http.request.body}
	@rewritten path /rewrite
	rewrite @rewritten /ok?again={query.imei}
	reverse_proxy /dead @DEAD@
	reverse_proxy /up @UPSTREAM@
	handle /failing {
		error "no" 503
	}
	consent_test_panic /panic
	respond "{query.imei}"
	handle_errors 503 {
		reverse_proxy @DEAD@
	}
}
`)
				for _, path := range []string{"/ok", "/rewrite", "/dead", "/up", "/failing"} {
					s.raw(requestWithCanaries("POST", path))
				}
				// net/http closes the connection of a handler that panics.
				if _, err := http.Get("http://" + s.Addr + "/panic?imei=" + canary); err == nil {
					t.Error("the handler did not panic")
				}
				for _, logged := range []string{"handled request", "connection refused", "503", "/dead", "panic serving a request"} {
					s.waitForLog(logged)
				}
				if got := s.logs(); strings.Contains(got, canary) || strings.Contains(got, "203.0.113.77") {
					for _, line := range strings.Split(got, "\n") {
						if strings.Contains(line, canary) || strings.Contains(line, "203.0.113.77") {
							t.Errorf("logged: %s", line)
						}
					}
				}
			})
		}
	}
}

func TestKeepNamesMoreFieldsOfServerLogs(t *testing.T) {
	s := startCaddy(t, `http://:@PORT@ {
	log {
		format consent {
			keep route
		}
	}
	log_append route booking
	log_append imei {query.imei}
	respond ok
}
`)
	s.do("GET", "/a?imei="+canary, "")
	s.waitForLog(`"route":"booking"`)
	if strings.Contains(s.logs(), canary) {
		t.Errorf("logged: %s", s.logs())
	}
}

// newTestEncoder returns the encoder around Caddy's JSON.
func newTestEncoder(t *testing.T) *LogEncoder {
	t.Helper()
	enc := &logging.JSONEncoder{}
	if err := enc.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	e := new(LogEncoder)
	e.wrap(enc)
	return e
}

func TestLogFields(t *testing.T) {
	type point struct {
		Query string `json:"query"`
		Name  string `json:"name"`
		URL   string `json:"url"`
	}
	for name, c := range map[string]struct {
		field zapcore.Field
		want  string // of the entry, after its message
	}{
		"headers":           {zap.Any("headers", http.Header{"X-Imei": {canary}}), ``},
		"response headers":  {zap.Any("resp-headers", http.Header{"Set-Cookie": {canary}}), ``},
		"user":              {zap.String("user_id", canary), ``},
		"remote":            {zap.String("remote_addr", "203.0.113.5:1"), ``},
		"client":            {zap.String("client_ip", "203.0.113.5"), ``},
		"number":            {zap.Int("n", 7), `"n":7`},
		"duration":          {zap.Duration("d", time.Second), `"d":1`},
		"URI":               {zap.String("uri", "/a?imei="+canary), `"uri":"/a"`},
		"URL":               {zap.String("url", "http://h/a?imei="+canary), `"url":"http://h/a"`},
		"error":             {zap.Error(errors.New(`Get "http://h/a?imei=` + canary + `": EOF`)), `"error":"Get \"http://h/a?…\": EOF"`},
		"errors":            {zap.Errors("errors", []error{errors.New("x?imei=" + canary)}), `"errors":[{"error":"x?…"}]`},
		"texts":             {zap.Strings("problems", []string{"a?imei=" + canary, "b"}), `"problems":["a?…","b"]`},
		"bytes":             {zap.ByteString("text", []byte("a?imei="+canary)), `"text":"a?…"`},
		"binary":            {zap.Binary("raw", []byte(canary)), ``},
		"upstream":          {zap.String("upstream", "203.0.113.5:80"), `"upstream":"203.0.113.5:80"`},
		"address in a text": {zap.String("why", "from 203.0.113.5"), `"why":"from …"`},
		"Stringer":          {zap.Stringer("at", netip.MustParseAddr("203.0.113.5")), `"at":"…"`},
		"struct":            {zap.Any("p", point{canary, "n", "/a?imei=" + canary}), `"p":{"name":"n","url":"/a"}`},
		"map in a list":     {zap.Any("list", []any{map[string]any{"cookie": canary, "n": 1}}), `"list":[{"n":1}]`},
		"what has no JSON":  {zap.Any("f", func() {}), `"f":"…"`},
		"request as a map":  {zap.Any("request", map[string]any{"method": "GET", "body": canary, "x": canary}), `"request":{"method":"GET"}`},
		"inlined":           {zap.Inline(inlined{}), `"n":1`},
		"object":            {zap.Object("o", inlined{}), `"o":{"n":1}`},
		"objects":           {zap.Objects("os", []inlined{{}, {}}), `"os":[{"n":1},{"n":1}]`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTestEncoder(t)
			for _, how := range []string{"with the entry", "before"} {
				enc, fields := e.Clone(), []zapcore.Field{c.field}
				if how == "before" {
					c.field.AddTo(enc)
					fields = nil
				}
				b, err := enc.EncodeEntry(zapcore.Entry{Message: "m"}, fields)
				if err != nil {
					t.Fatal(err)
				}
				_, got, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(b.String()), "}"), `"msg":"m"`)
				if got = strings.TrimPrefix(got, ","); got != c.want {
					t.Errorf("%s: %s, want %s", how, got, c.want)
				}
			}
		})
	}
}

type inlined struct{}

func (inlined) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddInt("n", 1)
	enc.AddString("query", canary)
	return enc.AddReflected("cookies", canary)
}

func TestWhatIsKeptOfARequest(t *testing.T) {
	r, err := http.NewRequest("POST", "http://app.test/a?imei="+canary, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = "/a?imei="+canary, "203.0.113.5:99"
	r.Header.Set("X-Imei", canary)
	r.TransferEncoding = []string{canary}
	b, err := newTestEncoder(t).EncodeEntry(zapcore.Entry{Message: "m"}, []zapcore.Field{zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"request":{"proto":"HTTP/1.1","method":"POST","host":"app.test","uri":"/a"}`; !strings.Contains(b.String(), want) {
		t.Errorf("logged %s, want %s", b, want)
	}
}

func init() {
	caddy.RegisterModule(panicking{})
	httpcaddyfile.RegisterHandlerDirective("consent_test_panic", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return panicking{}, panicking{}.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("consent_test_panic", httpcaddyfile.Before, "respond")
}

// panicking is a handler that panics with what the request holds.
type panicking struct{}

func (panicking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.consent_test_panic", New: func() caddy.Module { return new(panicking) }}
}

func (panicking) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (panicking) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	panic("cannot handle " + r.RequestURI + " imei " + r.URL.Query().Get("imei"))
}
