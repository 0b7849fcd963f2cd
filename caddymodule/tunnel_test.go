package caddymodule

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// startEcho starts a WebSocket server that answers each message with itself, and
// with one that holds an IMEI.
func startEcho(t *testing.T) (addr string) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/none") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":"no such room"}`)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, msg, err := c.Read(r.Context())
			if err != nil {
				return
			}
			_ = c.Write(r.Context(), kind, append([]byte("echo "), msg...))
			_ = c.Write(r.Context(), kind, []byte(`{"imei":"2","n":2}`))
		}
	}))
	t.Cleanup(backend.Close)
	return strings.TrimPrefix(backend.URL, "http://")
}

// A WebSocket over a stream of HTTP/2 or HTTP/3 is inspected as any other.
func TestSocketsOverStreams(t *testing.T) {
	t.Run("HTTP2", func(t *testing.T) {
		// Go offers the extended CONNECT of HTTP/2 only when told so at its start.
		if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
			socketOverStream(t, connectHTTP2)
			return
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestSocketsOverStreams$/^HTTP2$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestSocketsOverStreams/HTTP2") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("HTTP3", func(t *testing.T) { socketOverStream(t, connectHTTP3) })
}

// connect opens a WebSocket: it returns the status, and the stream.
type connect func(t *testing.T, config *tls.Config, port, path string) (status int, stream io.ReadWriter)

func socketOverStream(t *testing.T, dial connect) {
	dir := t.TempDir()
	pool := selfSigned(t, dir)
	gate := func(path, inside string) string {
		return "\thandle " + path + " {\n\t\tconsent_gate backend {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\t" + inside + "\n\t\t}\n\t\treverse_proxy " + startEcho(t) + "\n\t}\n"
	}
	s := startCaddy(t, "{\n\tauto_https off\n\tskip_install_trust\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\t"+embedded+"\n\t}\n}\nhttps://localhost:@PORT@ {\n\ttls "+
		filepath.Join(dir, "cert.pem")+" "+filepath.Join(dir, "key.pem")+"\n"+
		gate("/v1/*", "live websocket\n\t\t\tresponse analytics")+gate("/closed/*", "max_body 1MiB")+gate("/plain/*", "live websocket")+"}\n")
	_, port, _ := net.SplitHostPort(s.Addr)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}

	if status, _ := dial(t, config, port, "/closed/ws"); status != 415 {
		t.Errorf("a route that does not opt in answers %d", status)
	}
	if status, body := dial(t, config, port, "/plain/none"); status != 404 {
		t.Errorf("a refusal of the upstream's arrives as %d", status)
	} else if text, _ := io.ReadAll(body); string(text) != `{"error":"no such room"}` {
		t.Errorf("and says %q", text)
	}
	status, stream := dial(t, config, port, "/v1/ws")
	if status != 200 {
		t.Fatalf("the socket: %d", status)
	}
	for _, tt := range []struct{ in, want string }{
		{`{"imei":"1","n":1}`, `echo {"n":1}`}, {"call 13800138000", "echo call ***"}, {"ping", "echo ping"},
	} {
		if err := wsutil.WriteClientText(stream, []byte(tt.in)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{tt.want, `{"n":2}`} {
			got, err := wsutil.ReadServerText(stream)
			if err != nil || string(got) != want {
				t.Fatalf("of %s came back %q %v, want %s", tt.in, got, err, want)
			}
		}
	}
	if err := wsutil.WriteClientBinary(stream, []byte("\x00private")); err != nil {
		t.Fatal(err)
	}
	h, err := ws.ReadHeader(stream)
	if err != nil || h.OpCode != ws.OpClose || h.Length != 2 {
		t.Fatalf("a binary message: %+v %v", h, err)
	}
	var code [2]byte
	if _, err := io.ReadFull(stream, code[:]); err != nil || int(code[0])<<8+int(code[1]) != int(websocket.StatusPolicyViolation) {
		t.Errorf("a binary message ends the connection with %v %v", code, err)
	}
}

func connectRequest(t *testing.T, port, path string) *http.Request {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	u := &url.URL{Scheme: "https", Host: "localhost:" + port, Path: path}
	return (&http.Request{
		Method: http.MethodConnect, URL: u, Host: u.Host, Header: http.Header{"Sec-Websocket-Version": {"13"}},
	}).WithContext(ctx)
}

type readWriter struct {
	io.Reader
	io.Writer
}

func connectHTTP2(t *testing.T, config *tls.Config, port, path string) (int, io.ReadWriter) {
	t.Helper()
	// net/http's own refuses the pseudo-header.
	transport := &http2.Transport{TLSClientConfig: config.Clone()} //nolint:staticcheck // see above
	t.Cleanup(transport.CloseIdleConnections)                      //nolint:staticcheck // see above
	req := connectRequest(t, port, path)
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	req.Body, req.ContentLength = r, -1
	req.Header[":protocol"] = []string{"websocket"}
	res, err := transport.RoundTrip(req) //nolint:staticcheck // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res.StatusCode, readWriter{res.Body, w}
}

func connectHTTP3(t *testing.T, config *tls.Config, port, path string) (int, io.ReadWriter) {
	t.Helper()
	req := connectRequest(t, port, path)
	config = config.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	conn, err := quic.DialAddr(req.Context(), "localhost:"+port, config, &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	client := (&http3.Transport{}).NewClientConn(conn)
	select {
	case <-client.ReceivedSettings():
	case <-req.Context().Done():
		t.Fatal("no settings came")
	}
	stream, err := client.OpenRequestStream(req.Context())
	if err != nil {
		t.Fatal(err)
	}
	req.Proto = "websocket"
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	res, err := stream.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, stream
}
