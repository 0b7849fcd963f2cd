package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestLinesAreReadOneByOne(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "subject json user_id\nmax_body 4KiB", ""))
	s.accept(t, "u1")
	in := `{"user_id":"u1","imei":"1","n":1}` + "\n\r\n" + `{"user_id":"u2","imei":"2","n":2}` + "\r\n" + `{"imei":"3","n":3}`
	want := `{"user_id":"u1","imei":"1","n":1}` + "\n\r\n" + `{"n":2}` + "\r\n" + `{"n":3}`
	for _, ct := range []string{"application/x-ndjson", "application/json", "text/plain", ""} {
		s.upstream.forget()
		if r := s.do("POST", "/v1/a", in, "Content-Type", ct); r.Status != 200 {
			t.Fatalf("%s: %d %s", ct, r.Status, r.Body)
		}
		got := s.upstream.last(t)
		if string(got.Body) != want {
			t.Errorf("as %q arrived\n%s", ct, got.Body)
		}
		if h := got.Header.Get("Consent-Gate"); h != `recipient=backend, policy="liaoxiaobang@2022-03-09", streamed` {
			t.Errorf("Consent-Gate: %s", h)
		}
	}
	s.upstream.forget()
	s.do("POST", "/v1/a", gzipped(in), "Content-Type", "application/x-ndjson", "Content-Encoding", "gzip")
	if got := gunzipped(t, s.upstream.last(t).Body); got != want {
		t.Errorf("gzip: %s arrived", got)
	}
	t.Run("longer than max_body altogether", func(t *testing.T) {
		for _, ct := range []string{"application/x-ndjson", "application/json"} {
			s.upstream.forget()
			if r := s.do("POST", "/v1/a", strings.Repeat(`{"imei":"1","n":1}`+"\n", 4000), "Content-Type", ct); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			if got := s.upstream.last(t).Body; string(got) != strings.Repeat(`{"n":1}`+"\n", 4000) {
				t.Errorf("%d bytes arrived", len(got))
			}
		}
	})
	for _, tt := range []struct {
		name, in string
		status   int
	}{
		{"a bad first line", `{"imei":` + "\n" + `{"n":1}`, 400},
		{"two texts on a line", `{"n":1}{"imei":2}`, 400},
		{"two texts on a line, after another", `{"n":1}` + "\n" + `{"n":1} {"imei":2}`, 502},
		{"a line that is too long", `{"n":"` + strings.Repeat("0", 8<<10) + `"}`, 413},
		{"two subjects on a line", `{"user_id":"u1","userId":"u2"}`, 400},
	} {
		s.upstream.forget()
		if r := s.do("POST", "/v1/a", tt.in, "Content-Type", "application/x-ndjson"); r.Status != tt.status {
			t.Errorf("%s: %d %s", tt.name, r.Status, r.Body)
		}
		if len(s.upstream.requests()) > 0 {
			t.Errorf("%s: something arrived", tt.name)
		}
	}
}

// A stream that goes wrong later ends the upstream's request, which never looks
// complete.
func TestABadLineEndsTheConnection(t *testing.T) {
	complete := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		complete <- fmt.Sprint(err == nil, " ", len(b), " ", bytes.Contains(b, []byte("imei")))
	}))
	defer backend.Close()
	caddyfile := gateCaddyfile(embedded, "backend", "", "")
	s := startCaddy(t, strings.ReplaceAll(caddyfile, "@UPSTREAM@", strings.TrimPrefix(backend.URL, "http://")))
	body := strings.Repeat(`{"n":1,"imei":"1"}`+"\n", 50_000) + `{"imei":"x"` + "\n" + `{"n":2}`
	r := s.do("POST", "/v1/a", body, "Content-Type", "application/x-ndjson")
	if r.Status/100 == 2 {
		t.Errorf("%d", r.Status)
	}
	select {
	case got := <-complete:
		if !strings.HasPrefix(got, "false") || strings.HasSuffix(got, "true") {
			t.Errorf("the upstream's request: complete, bytes, leak: %s", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the upstream's request did not end")
	}
}

// Lines go as they come: the first arrives while the client still holds the
// second back.
func TestLinesDoNotWait(t *testing.T) {
	first := make(chan string, 8)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			first <- lines.Text()
		}
	}))
	defer backend.Close()
	s := startCaddy(t, strings.ReplaceAll(gateCaddyfile(embedded, "backend", "live incremental", ""), "@UPSTREAM@", strings.TrimPrefix(backend.URL, "http://")))
	r, w := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+s.Addr+"/v1/a", r)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Incremental", "?1")
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	for n := range 3 {
		fmt.Fprintf(w, `{"imei":"1","n":%d}`+"\n", n)
		select {
		case got := <-first:
			if got != fmt.Sprintf(`{"n":%d}`, n) {
				t.Errorf("%s arrived", got)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a line waited for the next")
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// responseGate filters the responses for the open platform.
const responseGate = "response open_platform {\n\t\t\tsubject json user_id\n\t\t\trecords friends\n\t\t}"

func TestResponsesAreFiltered(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", responseGate+"\nmax_body 64KiB", ""))
	s.accept(t, "u1")
	r := s.do("POST", "/consent/v1/events", `{"subject":"u1","kind":"user","policy_version":"2022-03-09","grants":[{"purpose":"third_party.profile","recipient":"open_platform:c1","status":"granted"}]}`,
		"Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != 201 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	body := `{"count":2,"friends":[{"user_id":"u1","nickname":"甲","phone":"13800138000","page":1},{"user_id":"u2","nickname":"乙","page":1}]}`
	get := func(headers ...string) reply {
		t.Helper()
		s.upstream.forget()
		return s.do("GET", "/v1/friends", "", append([]string{"Accept-Encoding", "gzip", "Range", "bytes=0-5", "If-None-Match", `"x"`}, headers...)...)
	}
	check := func(when string, r reply, want map[string]any) {
		t.Helper()
		var got struct {
			Friends []map[string]any `json:"friends"`
		}
		if err := json.Unmarshal(r.Body, &got); err != nil || len(got.Friends) != 2 {
			t.Fatalf("%s: %d %s", when, r.Status, r.Body)
		}
		if id, ok := got.Friends[0]["user_id"]; ok && (id == "u1" || want["nickname"] == nil) {
			t.Errorf("%s: the id is %v", when, id)
		}
		if got.Friends[0]["nickname"] != want["nickname"] || got.Friends[1]["nickname"] != nil || strings.Contains(string(r.Body), "13800138000") {
			t.Errorf("%s: %s", when, r.Body)
		}
	}
	s.upstream.answer(200, "application/json", body)
	check("with a grant", get("X-Client-Id", "c1"), map[string]any{"nickname": "甲"})
	got := s.upstream.last(t)
	if got.Header.Get("Range") != "" || got.Header.Get("If-None-Match") != "" || got.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("the upstream was asked for\n%s", got.Raw)
	}
	check("another client", get("X-Client-Id", "c2"), map[string]any{})
	check("no client", get(), map[string]any{})

	s.upstream.mu.Lock()
	s.upstream.respond = func(received) []byte {
		z := gzipped(body)
		return []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nSet-Cookie: uid=u1\r\nX-User: 13800138000\r\nX-Imei: 1\r\nEtag: \"u1\"\r\nX-Page: 2\r\nContent-Length: %d\r\n\r\n%s", len(z), z))
	}
	s.upstream.mu.Unlock()
	r = get("X-Client-Id", "c2")
	if text := gunzipped(t, r.Body); strings.Contains(text, "甲") || !strings.Contains(text, `"page":1`) {
		t.Errorf("gzip: %s", text)
	}
	for _, name := range []string{"Set-Cookie", "X-Imei", "Etag"} {
		if r.Header.Get(name) != "" {
			t.Errorf("%s: %s", name, r.Header.Get(name))
		}
	}
	if r.Header.Get("X-Page") != "2" || strings.Contains(fmt.Sprint(r.Header), "13800138000") {
		t.Errorf("headers: %v", r.Header)
	}
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"what cannot be read", "application/json", `{"nickname":`, 502},
		{"a binary", "application/octet-stream", "\x00\x01", 502},
		{"markup", "text/html", "<p>nickname</p>", 502},
		{"too long", "application/json", `{"n":"` + strings.Repeat("0", 65<<10) + `"}`, 502},
		{"events", "text/event-stream", "data: {\"nickname\":\"x\"}\n\n", 502},
		{"bad lines", "application/x-ndjson", `{"nickname":` + "\n", 502},
	} {
		s.upstream.answer(200, tt.contentType, tt.body)
		r := get("X-Client-Id", "c1")
		if r.Status != tt.status || r.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(string(r.Body), "nickname") {
			t.Errorf("%s: %d %s", tt.name, r.Status, r.Body)
		}
	}
	s.upstream.answer(404, "text/html", "<p>nickname</p>")
	if r := get("X-Client-Id", "c1"); r.Status != 404 || len(r.Body) > 0 {
		t.Errorf("an error page: %d %s", r.Status, r.Body)
	}
	s.upstream.answer(200, "application/x-ndjson", `{"user_id":"u1","nickname":"x","page":1}`+"\n"+`{"user_id":"u2","nickname":"y","page":1}`+"\n")
	if r := get("X-Client-Id", "c1"); r.Status != 200 || !strings.Contains(string(r.Body), `"x"`) || strings.Contains(string(r.Body), `"y"`) {
		t.Errorf("lines: %d %s", r.Status, r.Body)
	}
}

func TestEventsAreFilteredOneByOne(t *testing.T) {
	gate := "live sse\n\t\tresponse analytics"
	next := make(chan string)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for text := range next {
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
	}))
	defer backend.Close()
	s := startCaddy(t, strings.ReplaceAll(gateCaddyfile(embedded, "backend", gate, ""), "@UPSTREAM@", strings.TrimPrefix(backend.URL, "http://")))
	go func() { next <- "event: a\ndata: {\"imei\":\"1\",\ndata: \"n\":1}\nid: 7\n\n" }()
	res, err := http.Get("http://" + s.Addr + "/v1/a")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	event := func() (text string) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil || line == "\n" {
				return text
			}
			text += line
		}
	}
	if got := event(); got != "event: a\nid: 7\ndata: {\"n\":1}\n" {
		t.Errorf("%q", got)
	}
	next <- ": phone 13800138000\n\ndata: my phone is 13800138000\n\n"
	if got := event(); got != ":\n" {
		t.Errorf("%q", got)
	}
	if got := event(); got != "data: my phone is ***\n" {
		t.Errorf("%q", got)
	}
	close(next)
}

func TestMessagesOfASocketAreInspected(t *testing.T) {
	upstream := startEcho(t)
	s := startCaddy(t, strings.ReplaceAll(gateCaddyfile(embedded, "backend", "live websocket\n\t\tresponse analytics",
		"\thandle /closed/* {\n\t\tconsent_gate backend\n\t\treverse_proxy @UPSTREAM@\n\t}"), "@UPSTREAM@", upstream))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, res, err := websocket.Dial(ctx, "ws://"+s.Addr+"/closed/a", nil); err == nil || res == nil || res.StatusCode != 415 {
		t.Errorf("a route that does not opt in: %v", err)
	}
	dial := func() *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(ctx, "ws://"+s.Addr+"/v1/ws", &websocket.DialOptions{
			HTTPHeader: http.Header{"X-User-Id": {"u1"}}, CompressionMode: websocket.CompressionContextTakeover,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := dial()
	send := func(msg string) string {
		t.Helper()
		if err := c.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		_, echo, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, other, err := c.Read(ctx); err != nil || strings.Contains(string(other), `"2"`) || !strings.Contains(string(other), `"n":2`) {
			t.Errorf("to the client: %s %v", other, err)
		}
		return strings.TrimPrefix(string(echo), "echo ")
	}
	for _, tt := range []struct{ in, want string }{
		{`{"imei":"1","n":1}`, `{"n":1}`}, {"call 13800138000", "call ***"}, {`42["e",{"imei":"1","n":1}]`, `42["e",{"n":1}]`}, {"ping", "ping"},
	} {
		if got := send(tt.in); got != tt.want {
			t.Errorf("of %s arrived %s", tt.in, got)
		}
	}
	s.accept(t, "u1")
	// What comes back is analytics' to see: a pseudonym.
	if got := send(`{"imei":"1","n":1}`); !strings.HasPrefix(got, `{"imei":"`) || strings.Contains(got, `"1"`) {
		t.Errorf("once accepted, %s arrived", got)
	}
	if err := c.Write(ctx, websocket.MessageBinary, []byte("\x00private")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a binary message: %v", err)
	}
	c.CloseNow()
}
