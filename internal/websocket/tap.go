package websocket

import (
	"bytes"
	"net"
)

// See is shown a message that passes. msg is not to be kept.
type See func(text bool, msg []byte)

// NewTap is [NewConn] for one that only looks: every byte passes as it is, and
// the messages are shown on their way. What cannot be read, such as a compressed
// message, ends the showing of that direction and nothing else; unread is told
// so, once for each.
func NewTap(c net.Conn, buffered []byte, limit int, fromClient, toClient See, unread func()) net.Conn {
	show := func(see See) Inspect {
		return func(text bool, msg []byte) ([]byte, error) {
			see(text, msg)
			return nil, nil
		}
	}
	var asUp, asDown pings
	return &tap{
		Conn: c, in: bytes.Clone(buffered), unread: unread,
		up:   &stream{masked: true, limit: limit, inspect: show(fromClient), asked: &asUp, answers: &asDown},
		down: &stream{limit: limit, inspect: show(toClient), asked: &asDown, answers: &asUp},
	}
}

// tap is a connection that is looked at. A direction that cannot be read any
// more is nil.
type tap struct {
	net.Conn
	in       []byte // read from the client and not yet taken
	up, down *stream
	unread   func()
}

// Read returns what the client sends.
func (t *tap) Read(p []byte) (n int, err error) {
	if len(t.in) > 0 {
		n = copy(p, t.in)
		t.in = t.in[n:]
	} else {
		n, err = t.Conn.Read(p)
	}
	t.look(&t.up, p[:n])
	return n, err
}

// Write sends what the server sends.
func (t *tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.look(&t.down, p[:n])
	return n, err
}

func (t *tap) look(direction **stream, p []byte) {
	s := *direction
	for s != nil && len(p) > 0 {
		n, err := s.take(p)
		s.taken() // the frames made anew go nowhere
		if err != nil {
			*direction = nil
			t.unread()
			return
		}
		p = p[n:]
	}
}
