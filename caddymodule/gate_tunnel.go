package caddymodule

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// extendedConnect reports whether the request opens a WebSocket over a stream of
// HTTP/2 (RFC 8441) or HTTP/3 (RFC 9220). The test is reverse_proxy's own: what
// else asks for a tunnel it would send on as it comes.
func extendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect &&
		(r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" || r.ProtoMajor == 3 && r.Proto == "websocket")
}

// tunnelWriter is the response to an extended CONNECT. Once it is a success, its
// body and the request's are the two directions of a connection.
type tunnelWriter struct {
	*caddyhttp.ResponseWriterWrapper
	conn    net.Conn // as the proxy sees it
	status  int      // 0: nothing has come yet
	started bool     // the headers were sent
}

// openTunnel puts a connection in the place of the request's body and of the
// writer for its response.
func (v *visit) openTunnel(w http.ResponseWriter) http.ResponseWriter {
	if v.r.ProtoMajor == 2 {
		// Whatever of the headers may pass: without this one reverse_proxy would
		// take the tunnel for a body.
		v.r.Header[":protocol"] = []string{"websocket"}
	}
	conn := v.socket(&tunnel{ReadCloser: v.r.Body, w: w, control: http.NewResponseController(w)}, nil)
	v.r.Body = conn
	return &tunnelWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, conn: conn}
}

// WriteHeader implements http.ResponseWriter.
func (t *tunnelWriter) WriteHeader(status int) {
	if status >= 200 && t.status == 0 {
		t.status = status
	}
	t.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements io.Writer.
func (t *tunnelWriter) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	if t.status < 300 {
		return t.conn.Write(p)
	}
	return t.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: the wrapper's own would go past Write.
func (t *tunnelWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{t}, r)
}

// FlushError sends the headers. What is written to the connection has been sent
// already, and to flush here would be to use the stream beside whoever else writes
// to the connection, such as a close frame.
func (t *tunnelWriter) FlushError() error {
	if t.started && t.status < 300 {
		return nil
	}
	t.started = true
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// tunnel is a stream of HTTP/2 or HTTP/3 as a connection.
type tunnel struct {
	io.ReadCloser
	writing sync.Mutex // a connection may be written to by several at once, a response may not
	w       http.ResponseWriter
	control *http.ResponseController
}

// Write sends what it is given at once.
func (t *tunnel) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	n, err := t.w.Write(p)
	if err == nil {
		err = t.control.Flush()
	}
	return n, err
}

func (t *tunnel) SetReadDeadline(at time.Time) error  { return t.control.SetReadDeadline(at) }
func (t *tunnel) SetWriteDeadline(at time.Time) error { return t.control.SetWriteDeadline(at) }

func (t *tunnel) SetDeadline(at time.Time) error {
	if err := t.SetReadDeadline(at); err != nil {
		return err
	}
	return t.SetWriteDeadline(at)
}

// LocalAddr implements net.Conn; nobody asks a stream for it.
func (*tunnel) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (*tunnel) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// Interface guards
var (
	_ net.Conn      = (*tunnel)(nil)
	_ io.ReaderFrom = (*tunnelWriter)(nil)
)
