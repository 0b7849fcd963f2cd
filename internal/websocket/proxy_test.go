package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	other "github.com/coder/websocket"
)

// gate is a reverse proxy whose upgraded connections are inspected.
func gate(t *testing.T, limit int, backend http.HandlerFunc) (address string) {
	t.Helper()
	behind := httptest.NewServer(backend)
	t.Cleanup(behind.Close)
	u, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorLog = nil
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(hijacker{w, limit}, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

type hijacker struct {
	http.ResponseWriter
	limit int
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	buffered, _ := rw.Peek(rw.Reader.Buffered())
	inspected := NewConn(c, buffered, h.limit, shout, shout)
	// The answer to the upgrade goes through the writer as it is.
	return inspected, bufio.NewReadWriter(bufio.NewReader(inspected), rw.Writer), nil
}

func dial(t *testing.T, address string) (context.Context, *other.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	c, _, err := other.Dial(ctx, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(-1)
	return ctx, c
}

// accept returns a backend that upgrades every request.
func accept(t *testing.T, serve func(ctx context.Context, c *other.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := other.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(-1)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		serve(ctx, c)
	}
}

func echo(ctx context.Context, c *other.Conn) {
	for {
		typ, msg, err := c.Read(ctx)
		if err != nil || c.Write(ctx, typ, msg) != nil {
			return
		}
	}
}

func TestProxy(t *testing.T) {
	ctx, c := dial(t, gate(t, 1<<21, accept(t, echo)))
	for _, size := range []int{0, 1, 125, 126, 127, 4095, 65535, 65536, 1 << 20} {
		text := strings.Repeat("x", size)
		if err := c.Write(ctx, other.MessageText, []byte(text)); err != nil {
			t.Fatal(size, err)
		}
		if typ, got, err := c.Read(ctx); err != nil || typ != other.MessageText || string(got) != strings.ToUpper(text) {
			t.Fatalf("%d bytes of text: %v, %d bytes, %v", size, typ, len(got), err)
		}
		if err := c.Write(ctx, other.MessageBinary, []byte(text)); err != nil {
			t.Fatal(size, err)
		}
		if typ, got, err := c.Read(ctx); err != nil || typ != other.MessageBinary || string(got) != text+"!!" {
			t.Fatalf("%d bytes: %v, %d bytes, %v", size, typ, len(got), err)
		}
	}
	// A writer sends fragments.
	w, err := c.Writer(ctx, other.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := w.Write(bytes.Repeat([]byte("茶x"), 100)); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	if _, got, err := c.Read(ctx); err != nil || string(got) != strings.Repeat("茶X", 10_000) {
		t.Fatalf("fragments: %d bytes, %v", len(got), err)
	}
	if err := c.Close(other.StatusNormalClosure, ""); err != nil {
		t.Errorf("the close handshake: %v", err)
	}
}

// Either side finds its ping's payload in the pong, as this implementation
// insists on.
func TestProxyPings(t *testing.T) {
	pinged := make(chan error, 1)
	ctx, c := dial(t, gate(t, 1000, accept(t, func(ctx context.Context, c *other.Conn) {
		ctx = c.CloseRead(ctx)
		for range 3 {
			if err := c.Ping(ctx); err != nil {
				pinged <- err
				return
			}
		}
		pinged <- nil
		<-ctx.Done()
	})))
	ctx = c.CloseRead(ctx)
	for range 3 {
		if err := c.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-pinged; err != nil {
		t.Error(err)
	}
}

func TestProxyCloseReasons(t *testing.T) {
	got := make(chan error, 1)
	_, c := dial(t, gate(t, 1000, accept(t, func(ctx context.Context, c *other.Conn) {
		_, _, err := c.Read(ctx)
		got <- err
	})))
	_ = c.Close(4001, "imei 860123456789012")
	var closed other.CloseError
	if err := <-got; !errors.As(err, &closed) || closed.Code != 4001 || closed.Reason != "" {
		t.Errorf("the server got %v", err)
	}

	ctx, c := dial(t, gate(t, 1000, accept(t, func(_ context.Context, c *other.Conn) {
		_ = c.Close(4002, "imei 860123456789012")
	})))
	if _, _, err := c.Read(ctx); !errors.As(err, &closed) || closed.Code != 4002 || closed.Reason != "" {
		t.Errorf("the client got %v", err)
	}
}

// Whoever breaks the rules, both sides get a close frame, and neither gets what
// was refused.
func TestProxyEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  other.MessageType
		msg  string
		code other.StatusCode
	}{
		{"refused", other.MessageText, "refuse me", PolicyViolation},
		{"not UTF-8", other.MessageText, "a\xff", InvalidText},
		{"too big", other.MessageBinary, strings.Repeat("x", 1001), MessageTooBig},
		{"much too big", other.MessageBinary, strings.Repeat("x", 1<<20), MessageTooBig},
	} {
		type result struct {
			before, after string
			err           error
		}
		read := func(ctx context.Context, c *other.Conn) (r result) {
			var msg []byte
			if _, msg, r.err = c.Read(ctx); r.err == nil {
				r.before = string(msg)
				_, msg, r.err = c.Read(ctx)
				r.after = string(msg)
			}
			return r
		}
		write := func(ctx context.Context, c *other.Conn) {
			_ = c.Write(ctx, other.MessageText, []byte("fine"))
			_ = c.Write(ctx, tt.typ, []byte(tt.msg)) // may fail: the gate does not wait for the whole of it
		}
		check := func(who string, r result, before string) {
			t.Helper()
			if r.before != before || r.after != "" || other.CloseStatus(r.err) != tt.code {
				t.Errorf("%s: the %s got %q, %q and %v, want code %d", tt.name, who, r.before, r.after, r.err, tt.code)
			}
		}

		server := make(chan result, 1)
		ctx, c := dial(t, gate(t, 1000, accept(t, func(ctx context.Context, c *other.Conn) {
			server <- read(ctx, c)
		})))
		go write(ctx, c)
		check("client", read(ctx, c), "")
		check("server", <-server, "FINE")

		ctx, c = dial(t, gate(t, 1000, accept(t, func(ctx context.Context, c *other.Conn) {
			go write(ctx, c)
			server <- read(ctx, c)
		})))
		check("client, of the server's", read(ctx, c), "FINE")
		check("server, of its own", <-server, "")
	}
}
