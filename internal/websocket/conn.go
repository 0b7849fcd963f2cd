package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// patience bounds how long an ending connection waits for a side that does not
// read or does not hang up.
const patience = time.Second

// conn is the client's side of a connection, as the proxy sees it.
type conn struct {
	net.Conn
	patience time.Duration

	// The reader's.
	up         stream
	in         []byte // read from the client and not yet taken
	buf        []byte
	toldServer bool
	over       chan struct{} // closed once both have their close frames

	// The writer's, and whoever else writes to the client.
	write    sync.Mutex
	down     stream
	writeErr error // the client is at half a frame

	// The ending.
	mu         sync.Mutex
	err        *Error
	until      time.Time // how long it may take
	toldClient bool
}

// NewConn wraps the client's side of an upgraded connection, for a proxy that
// copies both ways. What is read from it, a client's masked frames, passes
// fromClient, and what is written to it, a server's frames, passes toClient; a
// nil Inspect refuses every message. buffered is what has already been read from
// the client (from the bufio.Reader of a Hijack, which the proxy must not read
// from as well). No extension may have been agreed on: without
// Sec-WebSocket-Extensions in the request there is none.
//
// Fragments are joined. A message of more than limit bytes ends the connection
// with code 1009, text that is not UTF-8 with 1007, and a frame that breaks the
// protocol, or that needs an extension, with 1002: see the constants. Control
// frames pass between fragments. A close frame loses its reason. The payload of
// a ping does not cross, but comes back in its pong; that of other pongs is
// dropped.
//
// When the connection is ended here, each side is sent a close frame with the
// code, where it still takes one, and Read and Write fail with an [*Error] once
// that has gone out or a second has passed. Bytes that were read by then are
// dropped. Deadlines are those of c, until the connection is being ended. Close
// closes c. CloseWrite does what that of c does.
//
// One Read and one Write may run at the same time. Memory is bounded by about
// twice the limit, or what an Inspect makes of that, a direction.
func NewConn(c net.Conn, buffered []byte, limit int, fromClient, toClient Inspect) net.Conn {
	var asUp, asDown pings
	return &conn{
		Conn:     c,
		patience: patience,
		up:       stream{masked: true, limit: limit, inspect: fromClient, asked: &asUp, answers: &asDown},
		down:     stream{limit: limit, inspect: toClient, asked: &asDown, answers: &asUp},
		in:       bytes.Clone(buffered),
		over:     make(chan struct{}),
	}
}

// Read returns inspected frames.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.up.out.Len() > 0 {
			return c.up.out.Read(p)
		}
		c.up.taken()
		if err := c.ending(); err != nil {
			if c.tellServer(err) {
				continue
			}
			c.linger()
			return 0, err
		}
		if len(c.in) > 0 {
			n, err := c.up.take(c.in)
			c.in = c.in[n:]
			if err != nil {
				c.end(err)
				c.tellClient()
			}
			continue
		}
		if c.buf == nil {
			c.buf = make([]byte, batch)
		}
		n, err := c.Conn.Read(c.buf)
		c.in = c.buf[:n]
		switch {
		case n > 0 || err == nil || c.ending() != nil: // the error comes again, or was made to wake this up
		case errors.Is(err, io.EOF) && !c.up.between():
			return 0, io.ErrUnexpectedEOF
		default:
			return 0, err
		}
	}
}

// tellServer puts the close frame where the server is next in line to get it. It
// reports whether there is something to be read, which is once.
func (c *conn) tellServer(err *Error) bool {
	if c.toldServer {
		return false
	}
	c.toldServer = true
	if c.up.closed {
		return false
	}
	appendFrame(&c.up.out, true, ws.OpClose, closeCode(err))
	return true
}

// linger reads what the client still sends, and drops it: to hang up on it would
// make the network drop its close frame. It ends with the client's hanging up,
// or with the patience.
func (c *conn) linger() {
	select {
	case <-c.over:
		return
	default:
	}
	c.mu.Lock()
	_ = c.Conn.SetReadDeadline(c.until)
	c.mu.Unlock()
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{c.Conn})
	close(c.over)
}

// Write takes frames, in pieces of any size, and sends the inspected ones.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.writeFrames(p)
	c.tellClient()
	var ended *Error
	if errors.As(err, &ended) {
		c.awaitReader()
	}
	return n, err
}

func (c *conn) writeFrames(p []byte) (n int, err error) {
	c.write.Lock()
	defer c.write.Unlock()
	for n < len(p) {
		if err := c.ending(); err != nil {
			if c.late() {
				return n, err
			}
			return len(p), nil // the server may not know yet that it is over
		}
		if c.writeErr != nil {
			return n, c.writeErr
		}
		k, ended := c.down.take(p[n:])
		n += k
		if c.down.out.Len() > 0 {
			_, c.writeErr = c.Conn.Write(c.down.out.Bytes())
			c.down.taken()
		}
		if ended != nil {
			c.end(ended)
			return n, ended
		}
	}
	return n, c.writeErr
}

// awaitReader waits until the reader has handed over the server's close frame
// and the client has hung up: the proxy hangs up on everyone when a Write fails.
func (c *conn) awaitReader() {
	timer := time.NewTimer(c.patience)
	defer timer.Stop()
	select {
	case <-c.over:
	case <-timer.C:
	}
}

// end begins the ending, unless it has begun, and wakes the reader.
func (c *conn) end(err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err, c.until = err, time.Now().Add(c.patience)
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// ending returns why the connection is being ended, or nil.
func (c *conn) ending() *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !time.Now().Before(c.until)
}

// tellClient sends the client its close frame, if it is due and not yet sent. If
// a Write is under way then that does it afterwards: it calls this too.
func (c *conn) tellClient() {
	for c.mustTellClient() && c.write.TryLock() {
		c.sayGoodbye()
		c.write.Unlock()
	}
}

func (c *conn) mustTellClient() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil && !c.toldClient
}

func (c *conn) sayGoodbye() {
	c.mu.Lock()
	told, err := c.toldClient, c.err
	c.toldClient = true
	_ = c.Conn.SetWriteDeadline(c.until)
	c.mu.Unlock()
	if !told && !c.down.closed && c.writeErr == nil {
		var out bytes.Buffer
		appendFrame(&out, false, ws.OpClose, closeCode(err))
		_, c.writeErr = c.Conn.Write(out.Bytes())
	}
}

func closeCode(err *Error) []byte {
	return binary.BigEndian.AppendUint16(nil, uint16(err.Code))
}

// CloseWrite tells the client that no more frames come.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *conn) SetDeadline(t time.Time) error      { return c.deadline(c.Conn.SetDeadline, t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.deadline(c.Conn.SetReadDeadline, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadline(c.Conn.SetWriteDeadline, t) }

// deadline sets one, but not over that of the ending.
func (c *conn) deadline(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil
	}
	return set(t)
}
