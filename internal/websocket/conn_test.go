package websocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// pair returns a client's end and what a proxy has of it.
func pair(t *testing.T, buffered []byte, limit int) (client net.Conn, c *conn) {
	t.Helper()
	client, far := net.Pipe()
	c = NewConn(far, buffered, limit, shout, shout).(*conn)
	t.Cleanup(func() { _, _ = client.Close(), c.Close() })
	return client, c
}

// readAll reads until it fails, and returns the error.
func readAll(r io.Reader) ([]byte, error) {
	var b []byte
	buf := make([]byte, 7)
	for {
		n, err := r.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil {
			return b, err
		}
	}
}

func TestConnBuffered(t *testing.T) {
	in := encode(t, true, part(ws.OpText, true, "first"), part(ws.OpText, true, "second"))
	for n := range len(in) + 1 { // wherever the Hijack came
		client, c := pair(t, in[:n], 100)
		go func() {
			_, _ = client.Write(in[n:])
			_ = client.Close()
		}()
		got, err := readAll(c)
		if describe(t, true, got) != "text(FIRST) text(SECOND)" || !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes buffered: %x, %v", n, got, err)
		}
	}
}

func TestConnEndsWithinAFrame(t *testing.T) {
	in := encode(t, true, part(ws.OpText, false, "first"), part(ws.OpContinuation, true, "last"))
	for n := range len(in) {
		client, c := pair(t, nil, 100)
		go func() {
			_, _ = client.Write(in[:n])
			_ = client.Close()
		}()
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if got, err := readAll(c); len(got) > 0 || !errors.Is(err, want) {
			t.Errorf("after %d bytes: %x, %v", n, got, err)
		}
	}
}

func TestConnWriteInPieces(t *testing.T) {
	in := encode(t, false, part(ws.OpText, false, "a"), part(ws.OpContinuation, true, "b"), part(ws.OpBinary, true, strings.Repeat("x", 200)), part(ws.OpClose, true, "\x03\xe8bye"))
	for _, size := range []int{1, 3, len(in)} {
		client, c := pair(t, nil, 1000)
		done := make(chan []byte)
		go func() {
			b, _ := readAll(client)
			done <- b
		}()
		n, err := io.CopyBuffer(c, struct{ io.Reader }{bytes.NewReader(in)}, make([]byte, size))
		if n != int64(len(in)) || err != nil {
			t.Errorf("%d at a time: %d, %v", size, n, err)
		}
		_ = c.Close()
		if got := describe(t, false, <-done); got != "text(AB) binary("+strings.Repeat("x", 200)+"!) close(1000)" {
			t.Errorf("%d at a time: %q", size, got)
		}
	}
}

func TestConnDeadlines(t *testing.T) {
	client, c := pair(t, nil, 100)
	in := encode(t, true, part(ws.OpText, true, "first"))
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the read deadline: %v", err)
	}
	go func() { _, _ = client.Write(in) }()
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || describe(t, true, buf[:n]) != "text(FIRST)" {
		t.Errorf("after it: %x, %v", buf[:n], err)
	}
	if err := c.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second knows that the first may have sent half a frame
		if _, err := c.Write(encode(t, false, part(ws.OpText, true, "x"))); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("past the write deadline: %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
	}
}

func TestConnClose(t *testing.T) {
	client, c := pair(t, nil, 100)
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("half of a pipe is closed: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client's end: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("its own end: %v", err)
	}
}

func TestConnCloseWrite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(far, nil, 100, shout, shout)
	defer func() { _ = c.Close() }()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(client); len(b) > 0 || err != nil {
		t.Errorf("%x, %v", b, err)
	}
	go func() { _, _ = client.Write(encode(t, true, part(ws.OpText, true, "still"))) }()
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || describe(t, true, buf[:n]) != "text(STILL)" {
		t.Errorf("the other half: %x, %v", buf[:n], err)
	}
}

// The server's frame is bad: the reader, who waits for the client, is woken to
// tell the server, and only when all is said does Write fail.
func TestConnEndedByTheServer(t *testing.T) {
	client, c := pair(t, nil, 100)
	c.patience = time.Hour // nothing here waits for it
	toServer := make(chan []byte)
	go func() {
		b, err := readAll(c)
		var ended *Error
		if !errors.As(err, &ended) || ended.Code != PolicyViolation || !errors.Is(err, errRefused) {
			t.Errorf("Read ends with %v", err)
		}
		toServer <- b
	}()
	toClient := make(chan []byte)
	go func() {
		b := make([]byte, len("\x81\x04FINE\x88\x02\x03\xf0"))
		_, _ = io.ReadFull(client, b)
		_ = client.Close() // as a client does then
		toClient <- b
	}()
	_, err := c.Write(encode(t, false, part(ws.OpText, true, "fine"), part(ws.OpText, true, "refuse"), part(ws.OpText, true, "more")))
	var ended *Error
	if !errors.As(err, &ended) || ended.Code != PolicyViolation {
		t.Errorf("Write ends with %v", err)
	}
	if got := describe(t, false, <-toClient); got != "text(FINE) close(1008)" {
		t.Errorf("the client gets %q", got)
	}
	if got := describe(t, true, <-toServer); got != "close(1008)" {
		t.Errorf("the server gets %q", got)
	}
}

// The client's frame is bad, and it goes on sending: all of that is dropped, and
// what the server sends meanwhile too.
func TestConnEndedByTheClient(t *testing.T) {
	client, c := pair(t, nil, 100)
	c.patience = time.Hour
	toClient := make(chan []byte)
	go func() {
		b, _ := readAll(client)
		toClient <- b
	}()
	hungUp := make(chan struct{})
	go func() {
		_, _ = client.Write(encode(t, true, part(ws.OpText, true, "fine"), rsv(part(ws.OpText, true, "imei"), 4)))
		_, _ = client.Write(bytes.Repeat(encode(t, true, part(ws.OpText, true, "more")), 10_000))
		<-hungUp
		_ = client.Close()
	}()
	got := make([]byte, len(encode(t, true, part(ws.OpText, true, "fine"), part(ws.OpClose, true, "\x03\xea"))))
	if _, err := io.ReadFull(c, got); err != nil || describe(t, true, got) != "text(FINE) close(1002)" {
		t.Errorf("the server gets %x, %v", got, err)
	}
	frame := encode(t, false, part(ws.OpText, true, "late"))
	if n, err := c.Write(frame); n != len(frame) || err != nil {
		t.Errorf("a server that does not know yet: %d, %v", n, err)
	}
	close(hungUp)
	var ended *Error
	if n, err := c.Read(got); n > 0 || !errors.As(err, &ended) || ended.Code != ProtocolError {
		t.Errorf("then: %d, %v", n, err)
	}
	if got := describe(t, false, <-toClient); got != "close(1002)" {
		t.Errorf("the client gets %q", got)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
}

// Neither side does anything about it: it ends all the same.
func TestConnEndsWithoutHelp(t *testing.T) {
	client, c := pair(t, encode(t, true, part(ws.OpText, true, "refuse")), 100)
	c.patience = 20 * time.Millisecond
	got, err := readAll(c)
	var ended *Error
	if !errors.As(err, &ended) || describe(t, true, got) != "close(1008)" {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := c.Write([]byte("x")); !errors.As(err, &ended) {
		t.Errorf("a Write long after: %v", err)
	}
	_ = client.Close()

	client, c = pair(t, nil, 100) // nobody reads
	c.patience = 20 * time.Millisecond
	if _, err := c.Write(encode(t, false, part(ws.OpText, true, "refuse"))); !errors.As(err, &ended) {
		t.Errorf("%v", err)
	}
	_ = client.Close()
}

// A close frame that already went is not followed by another.
func TestConnEndedAfterAClose(t *testing.T) {
	client, c := pair(t, encode(t, true, part(ws.OpClose, true, "\x03\xe8bye")), 100)
	c.patience = 20 * time.Millisecond
	toClient := make(chan []byte)
	go func() {
		b, _ := readAll(client)
		toClient <- b
	}()
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil || describe(t, true, buf[:n]) != "close(1000)" {
		t.Errorf("the server gets %x, %v", buf[:n], err)
	}
	if _, err := c.Write(encode(t, false, part(ws.OpText, true, "refuse"))); err == nil {
		t.Error("no error")
	}
	if got, err := readAll(c); len(got) > 0 || err == nil {
		t.Errorf("the server gets also %x, %v", got, err)
	}
	_ = c.Close()
	if got := describe(t, false, <-toClient); got != "close(1008)" {
		t.Errorf("the client gets %q", got)
	}
}
