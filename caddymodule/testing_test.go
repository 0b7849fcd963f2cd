package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// A server is a real Caddy in this process, with an upstream that records
// what arrives. Caddy's configuration is one per process, so tests that start
// one do not run in parallel.
type server struct {
	t        *testing.T
	Addr     string // host:port of the Caddy under test
	Data     string // the directory for the embedded store
	upstream *upstream
	source   string
	policy   string // the policy's file, where the test has one of its own
}

// startCaddy adapts and loads a Caddyfile. In it, these words are replaced:
//
//	@PORT@      a free port, to listen on as http://:@PORT@
//	@UPSTREAM@  host:port of the recording upstream
//	@DEAD@      host:port on which nothing listens
//	@DATA@      a new directory
//
// The admin API is off. Logs go to the buffer that logs returns, through the
// encoder that the Caddyfile names, or else through `consent`.
func startCaddy(t *testing.T, caddyfile string) *server {
	t.Helper()
	s := &server{t: t, Addr: freeAddr(t), Data: t.TempDir(), upstream: startUpstream(t), source: caddyfile}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	testLogs.reset()
	err := s.reload(caddyfile)
	for n := 0; n < 5 && err != nil && strings.Contains(err.Error(), "address already in use"); n++ {
		s.Addr = freeAddr(t) // somebody else was faster
		err = s.reload(caddyfile)
	}
	if err != nil {
		t.Fatalf("loading the Caddyfile: %v", err)
	}
	return s
}

// reload loads another Caddyfile, with the same words replaced.
func (s *server) reload(caddyfile string) error {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	caddyfile = strings.NewReplacer(
		"@PORT@", port, "@UPSTREAM@", s.upstream.Addr, "@DEAD@", deadAddr(s.t), "@DATA@", s.Data,
	).Replace(caddyfile)
	cfg, err := adapt([]byte(caddyfile))
	if err != nil {
		return err
	}
	if cfg, err = forTest(cfg, filepath.Join(s.Data, "caddy")); err != nil {
		return err
	}
	return caddy.Load(cfg, true)
}

// adapt turns a Caddyfile into JSON; warnings are errors.
func adapt(caddyfile []byte) ([]byte, error) {
	cfg, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			return nil, fmt.Errorf("warning: %v", w)
		}
	}
	return cfg, nil
}

// forTest switches the admin API off and sends the logs to the test's buffer.
func forTest(cfg []byte, storage string) ([]byte, error) {
	var c map[string]any
	if err := json.Unmarshal(cfg, &c); err != nil {
		return nil, err
	}
	c["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	c["storage"] = map[string]any{"module": "file_system", "root": storage}
	logging, _ := c["logging"].(map[string]any)
	if logging == nil {
		logging = map[string]any{}
		c["logging"] = logging
	}
	logs, _ := logging["logs"].(map[string]any)
	if logs == nil {
		logs = map[string]any{}
		logging["logs"] = logs
	}
	if logs["default"] == nil {
		logs["default"] = map[string]any{"encoder": map[string]any{"format": "consent"}}
	}
	for _, l := range logs {
		l.(map[string]any)["writer"] = map[string]any{"output": "consent_test"}
	}
	return json.Marshal(c)
}

// logs returns all that Caddy has logged since it was started.
func (s *server) logs() string { return testLogs.String() }

// waitForLog waits until the logs contain text.
func (s *server) waitForLog(text string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the logs contain %q", text), func() bool {
		return strings.Contains(s.logs(), text)
	})
}

// waitForLine waits until one line of the logs contains all the texts: engines
// of earlier tests, which live on for a while, log too.
func (s *server) waitForLine(texts ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("a line of the logs contains %q", texts), func() bool {
		for line := range strings.Lines(s.logs()) {
			all := true
			for _, text := range texts {
				all = all && strings.Contains(line, text)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s; logs:\n%s", what, testLogs.String())
		}
	}
}

// A reply is a response, read to its end.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// do sends a request. headers are names and values in turn; the header Host
// sets the request's host.
func (s *server) do(method, target, body string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.Addr+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	res, err := tr.RoundTrip(req)
	// After a reload the old listener may still be handed a connection, and
	// closes it unanswered; nothing has read the request then.
	for n := 0; n < 20 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)); n++ {
		req.Body = io.NopCloser(strings.NewReader(body))
		res, err = tr.RoundTrip(req)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{Status: res.StatusCode, Header: res.Header, Body: b}
}

// raw sends bytes as they are, and reads one response to them.
func (s *server) raw(request string) reply {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{Status: res.StatusCode, Header: res.Header, Body: b}
}

// json decodes the body into a tree.
func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.Body, &v); err != nil {
		t.Fatalf("status %d, body %q: %v", r.Status, r.Body, err)
	}
	return v
}

// A received is a request as it arrived at the upstream.
type received struct {
	Raw     []byte // every byte, as it stood on the wire
	Line    string // the request line
	Header  http.Header
	Host    string
	Body    []byte
	Trailer http.Header
}

// An upstream records the requests that reach it.
type upstream struct {
	Addr string

	mu      sync.Mutex
	got     []received
	respond func(received) []byte // the raw response
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	u.answer(http.StatusOK, "application/json", `{"ok":true}`)
	u.Addr = listen(t, u.serve)
	return u
}

// listen serves each connection to the address that it returns, until the test
// ends.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return ln.Addr().String()
}

func (u *upstream) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	line, err := r.Peek(1)
	if err != nil || len(line) == 0 {
		return
	}
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(raw.String(), "\r\n")
	got := received{Raw: raw.Bytes(), Line: first, Header: req.Header, Host: req.Host, Body: body, Trailer: req.Trailer}
	u.mu.Lock()
	u.got = append(u.got, got)
	respond := u.respond
	u.mu.Unlock()
	_, _ = conn.Write(respond(got))
}

// answer sets what the upstream answers from now on. headers are names and
// values in turn.
func (u *upstream) answer(status int, contentType, body string, headers ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n",
		status, http.StatusText(status), contentType, len(body))
	for i := 0; i+1 < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n" + body)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.respond = func(received) []byte { return []byte(b.String()) }
}

// requests returns what has arrived so far.
func (u *upstream) requests() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]received(nil), u.got...)
}

// last returns the last request that arrived.
func (u *upstream) last(t *testing.T) received {
	t.Helper()
	got := u.requests()
	if len(got) == 0 {
		t.Fatal("nothing reached the upstream")
	}
	return got[len(got)-1]
}

// forget forgets what has arrived so far.
func (u *upstream) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = nil
}

// freeAddr returns a loopback address on which nothing listens now.
func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// deadAddr returns an address that refuses connections.
func deadAddr(t *testing.T) string { return freeAddr(t) }

// writeFile writes a file into the data directory and returns its path.
func (s *server) writeFile(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.Data, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func init() { caddy.RegisterModule(testLogWriter{}) }

// testLogs holds what the Caddy under test has logged.
var testLogs logBuffer

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) Close() error { return nil }

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// testLogWriter is a log writer that fills testLogs.
type testLogWriter struct{}

func (testLogWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.writers.consent_test",
		New: func() caddy.Module { return new(testLogWriter) },
	}
}

func (testLogWriter) String() string                      { return "consent_test" }
func (testLogWriter) WriterKey() string                   { return "consent_test" }
func (testLogWriter) OpenWriter() (io.WriteCloser, error) { return &testLogs, nil }
