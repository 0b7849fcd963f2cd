package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/consentgate/consentgate/internal/outbox"
)

// These tests are on real sockets. They wait for what must happen, and how long
// that takes decides nothing.

// patience is how long they wait.
const patience = 20 * time.Second

// wire is a delivery on real sockets.
type wire struct {
	*testing.T
	queue *memory
	seen  *seen
	logs  *observer.ObservedLogs
}

// overWire starts one that does not wait long between repetitions.
func overWire(t *testing.T, p Partner) *wire {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	w := &wire{T: t, queue: newMemory(), seen: newSeen(), logs: logs}
	p.Name = "adx"
	p.Limit.Age = time.Millisecond
	p.Backoff = Backoff{time.Millisecond, 5 * time.Millisecond}
	p.Breaker = Breaker{1 << 30, time.Millisecond}
	d, err := New(w.queue, p, passAll, Options{w.seen, zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// send puts one record into the queue.
func (w *wire) send(body string) {
	_, _ = w.queue.Append(w.Context(), "adx", outbox.Bound{}, []outbox.Record{{Key: "k", Body: []byte(body), At: time.Now()}})
}

// until waits for something that must become true.
func (w *wire) until(what string, true func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("it never was that %s: %v", what, w.seen)
		}
	}
}

func (w *wire) empty() {
	w.Helper()
	w.until("all has gone", func() bool { return w.queue.waiting() == 0 })
}

// raw listens, and has each connection served by the next function; the last
// one serves all that follow. It returns the URL.
func raw(t *testing.T, serve ...func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f := serve[min(n, len(serve)-1)]
			all.Go(func() { defer c.Close(); f(c) })
		}
	})
	return "http://" + l.Addr().String() + "/events?token=canary"
}

// request reads one POST, and returns what it holds.
func request(c net.Conn) string {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return ""
	}
	body, _ := io.ReadAll(r.Body)
	return string(body)
}

// reset closes a connection so that the other end is told of it by a reset.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func ok(c net.Conn) {
	for request(c) != "" {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func TestWhatServersDoToConnections(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  func(net.Conn)
		reason Reason
	}{
		{"closes before it reads", func(net.Conn) {}, Broken},
		{"resets before it answers", func(c net.Conn) { request(c); reset(c) }, Broken},
		{"resets midway through the status line", func(c net.Conn) { request(c); fmt.Fprint(c, "HTTP/1.1 20"); reset(c) }, Broken},
		{"resets midway through the headers", func(c net.Conn) { request(c); fmt.Fprint(c, "HTTP/1.1 200 OK\r\nServer: x\r\n"); reset(c) }, Broken},
		{"cuts off the answer", func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
		}, Broken},
		{"sends garbage", func(c net.Conn) { request(c); fmt.Fprint(c, "canary\x00\xff\r\n\r\n") }, Broken},
		{"speaks another protocol first", func(c net.Conn) { fmt.Fprint(c, "220 canary ESMTP\r\n"); request(c) }, Broken},
		{"sends chunks that are none", func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, Broken},
		{"sends headers without end", func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}, Broken},
		{"switches protocols and goes on without end", func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: canary\r\nConnection: Upgrade\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, ServerError},
		{"never answers", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, Timeout},
		{"sends a byte, and no more", func(c net.Conn) { request(c); fmt.Fprint(c, "H"); _, _ = io.Copy(io.Discard, c) }, Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := patience
			if c.reason == Timeout {
				timeout = 50 * time.Millisecond
			}
			w := overWire(t, Partner{URLs: []string{raw(t, c.first, ok)}, Timeout: timeout})
			w.send(`1`)
			w.empty()
			if w.seen.why(c.reason) == 0 || w.seen.now().delivered != 1 {
				t.Error(w.seen)
			}
			for _, l := range w.logs.All() {
				if containsCanary(l.Message + string(mustJSON(l.ContextMap()))) {
					t.Errorf("told: %+v", l)
				}
			}
		})
	}
}

func TestAnAnswerWithoutEndIsTaken(t *testing.T) {
	w := overWire(t, Partner{Timeout: patience, URLs: []string{raw(t, func(c net.Conn) {
		request(c)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})}})
	w.send(`1`)
	w.empty()
	if w.seen.now().delivered != 1 || len(w.seen.now().failed) != 0 {
		t.Error(w.seen)
	}
}

// A server that does not want a body answers before it has read it, and resets.
func TestARefusalBeforeTheBodyIsReadCounts(t *testing.T) {
	w := overWire(t, Partner{URLs: []string{raw(t, func(c net.Conn) {
		// Enough of it that headers are in, and then the rest is left unread.
		_, _ = io.ReadFull(c, make([]byte, 400))
		fmt.Fprint(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 100\r\n\r\nno")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.CopyN(io.Discard, c, 1<<16)
	})}, Timeout: patience})
	w.send(`"` + strings.Repeat("x", 1<<20) + `"`)
	w.empty()
	if w.seen.now().dead[413] != 1 {
		t.Error(w.seen)
	}
}

func TestAnIdleConnectionThatWasClosedIsNoFailure(t *testing.T) {
	var served atomic.Int32
	w := overWire(t, Partner{URLs: []string{raw(t, func(c net.Conn) {
		if request(c) != "" {
			served.Add(1)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // and closes, unannounced
		}
	})}})
	for n := range 20 {
		w.send(`1`)
		w.until("it was served", func() bool { return int(served.Load()) > n && w.queue.waiting() == 0 })
	}
	if len(w.seen.now().failed) != 0 {
		t.Error(w.seen)
	}
}

// unreachable is a URL where nobody listens.
func unreachable(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String() + "/canary"
}

func TestWhereOneURLCannotBeReachedTheNextIsTriedAndKept(t *testing.T) {
	var a, b atomic.Int32
	count := func(n *atomic.Int32, status int) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { n.Add(1); rw.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s
	}
	first, second := count(&a, 200), count(&b, 200)
	w := overWire(t, Partner{URLs: []string{unreachable(t), first.URL, second.URL}})
	for range 5 {
		w.send(`1`)
		w.empty()
	}
	if a.Load() != 5 || b.Load() != 0 || w.seen.why(Unreachable) != 1 {
		t.Fatalf("%d, %d, %v", a.Load(), b.Load(), w.seen)
	}
	first.Close()
	for range 5 {
		w.send(`1`)
		w.empty()
	}
	if b.Load() != 5 || w.seen.why(Unreachable)+w.seen.why(Broken) != 2 {
		t.Errorf("%d, %v", b.Load(), w.seen)
	}
}

func TestAStatusIsAnAnswerAndNoReasonToGoElsewhere(t *testing.T) {
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 5 {
			rw.WriteHeader(503)
		}
	}))
	defer s.Close()
	w := overWire(t, Partner{URLs: []string{s.URL, unreachable(t)}})
	w.send(`1`)
	w.empty()
	if w.seen.why(Busy) != 4 || w.seen.why(Unreachable) != 0 {
		t.Error(w.seen)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var elsewhere, here atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if n := here.Add(1); n <= 5 {
			http.Redirect(rw, r, other.URL, []int{301, 302, 303, 307, 308}[n-1])
		}
	}))
	defer s.Close()
	w := overWire(t, Partner{URLs: []string{s.URL}})
	w.send(`1`)
	w.empty()
	if elsewhere.Load() != 0 || w.seen.why(Redirect) != 5 {
		t.Error(elsewhere.Load(), w.seen)
	}
}

// secure starts a server with TLS, and returns options that trust it.
func secure(t *testing.T, set func(*httptest.Server)) (*httptest.Server, TransportOptions, *sync.Map) {
	t.Helper()
	seen := &sync.Map{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.Proto, r.Header) }))
	set(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not like its TLS
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return s, TransportOptions{TLS: &tls.Config{RootCAs: roots}}, seen
}

func TestHTTP2IsSpokenWhereThePartnerDoes(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s, o, protocols := secure(t, func(s *httptest.Server) { s.EnableHTTP2 = h2 })
		transport := Transport(o)
		defer transport.CloseIdleConnections()
		w := overWire(t, Partner{URLs: []string{s.URL}, Transport: transport})
		w.send(`1`)
		w.empty()
		want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[h2]
		header, spoken := protocols.Load(want)
		if !spoken {
			t.Fatalf("%s was not spoken", want)
		}
		for name := range header.(http.Header) {
			switch name {
			case "Content-Type", "Content-Length", "User-Agent", "Idempotency-Key":
			default:
				t.Errorf("%s: the header %s", want, name)
			}
		}
	}
}

func TestAPartnerWhoseTLSIsNoGoodGetsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		set     func(*httptest.Server)
		trusted bool
	}{
		"that nobody vouches for": {func(*httptest.Server) {}, false},
		"of version 1.1": {func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, o, protocols := secure(t, c.set)
			if !c.trusted {
				o.TLS = nil
			} else {
				o.TLS.MinVersion = tls.VersionTLS10 // which is not to count
			}
			w := overWire(t, Partner{URLs: []string{s.URL}, Transport: Transport(o)})
			w.send(`1`)
			w.until("TLS failed", func() bool { return w.seen.why(TLS) > 2 })
			protocols.Range(func(any, any) bool { t.Error("it got something"); return false })
		})
	}
}

func TestAServerThatSpeaksNoTLSGetsNothing(t *testing.T) {
	for _, answer := range []string{"HTTP/1.1 400 canary\r\n\r\n", "220 canary ESMTP\r\n"} {
		url := raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1000))
			fmt.Fprint(c, answer)
		})
		w := overWire(t, Partner{URLs: []string{strings.Replace(url, "http:", "https:", 1)}})
		w.send(`1`)
		w.until("TLS failed", func() bool { return w.seen.why(TLS) > 2 })
		for _, l := range w.logs.All() {
			if containsCanary(string(mustJSON(l.ContextMap()))) {
				t.Errorf("told: %+v", l)
			}
		}
	}
}

func TestTheHookRefusesAddresses(t *testing.T) {
	s, o, protocols := secure(t, func(*httptest.Server) {})
	var allowed atomic.Bool
	errAbroad := errors.New("the address is abroad")
	o.Control = func(network, address string, _ syscall.RawConn) error {
		if network != "tcp4" || address != s.Listener.Addr().String() {
			t.Errorf("asked about %s %s", network, address)
		}
		if allowed.Load() {
			return nil
		}
		return errAbroad
	}
	transport := Transport(o)
	if _, err := transport.DialContext(t.Context(), "tcp", s.Listener.Addr().String()); !errors.Is(err, errAbroad) {
		t.Errorf("dialed: %v", err)
	}
	w := overWire(t, Partner{URLs: []string{s.URL}, Transport: transport})
	w.send(`1`)
	w.until("it was refused", func() bool { return w.seen.why(Address) > 2 })
	protocols.Range(func(any, any) bool { t.Error("it got something"); return false })
	if l := w.logs.FilterField(zap.String("error", errAbroad.Error())); l.Len() != 1 {
		t.Errorf("the log does not say why: %v", w.logs.All())
	}
	allowed.Store(true)
	w.empty()
	transport.CloseIdleConnections()
}

func TestNoProxyUnlessAskedFor(t *testing.T) {
	if Transport(TransportOptions{}).Proxy != nil || Transport(TransportOptions{EnvironmentProxy: true}).Proxy == nil {
		t.Error("the environment's proxy is used without being asked for, or not when it is")
	}
}
