package websocket

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	batch   = 4 << 10  // bytes of output after which take returns
	maxKept = 64 << 10 // bytes of a buffer that is kept for the next message
)

// stream is one direction of a connection: frames go in as bytes, in pieces of
// any size, and inspected frames come out.
type stream struct {
	masked  bool // the frames are a client's
	limit   int
	inspect Inspect
	asked   *pings // that went this way
	answers *pings // that went the other way, and whose pongs go this way

	head    [ws.MaxHeaderSize]byte
	headLen int // bytes of head that are there
	headBuf [ws.MaxHeaderSize]byte
	reader  bytes.Reader
	h       ws.Header // of the frame whose payload is being read
	payload bool      // it is being read
	left    int64     // bytes of it still to come
	done    int64     // bytes of it that came

	op      ws.OpCode // of the message being assembled, 0 for none
	msg     []byte
	control []byte
	out     bytes.Buffer
	closed  bool // a close frame went out: it was the last
}

// take takes what it can of p, and adds frames to s.out: after about a batch of
// them it returns, so that the output is bounded by one message more than that.
// It returns how many bytes it took. After an error, what is in s.out is still
// good to go, and nothing may follow.
func (s *stream) take(p []byte) (n int, err *Error) {
	for n < len(p) && s.out.Len() < batch {
		if s.closed {
			return len(p), nil
		}
		if !s.payload {
			k, err := s.takeHeader(p[n:])
			if err != nil {
				return n, err
			}
			n += k
		}
		if s.payload {
			n += s.takePayload(p[n:])
			if s.left == 0 {
				s.payload = false
				if err := s.frame(); err != nil {
					return n, err
				}
			}
		}
	}
	return n, nil
}

// takeHeader collects a frame's header, and judges it once it is whole.
func (s *stream) takeHeader(p []byte) (n int, err *Error) {
	for n < len(p) && (s.headLen < ws.MinHeaderSize || s.headLen < headerSize(s.head[1])) {
		s.head[s.headLen] = p[n]
		s.headLen++
		n++
	}
	if s.headLen < ws.MinHeaderSize || s.headLen < headerSize(s.head[1]) {
		return n, nil
	}
	s.reader.Reset(s.head[:s.headLen])
	s.headLen = 0
	h, bad := ws.ReadHeaderBuffer(&s.reader, s.headBuf[:])
	if bad != nil || ws.CheckHeader(h, s.state()) != nil {
		return n, &Error{Code: ProtocolError}
	}
	if h.OpCode.IsData() && h.Length > int64(s.limit-len(s.msg)) {
		return n, &Error{Code: MessageTooBig}
	}
	s.h, s.left, s.done, s.payload = h, h.Length, 0, true
	if h.OpCode == ws.OpText || h.OpCode == ws.OpBinary {
		s.op = h.OpCode
	}
	s.control = s.control[:0]
	return n, nil
}

// headerSize returns how long a header is, from its second byte (RFC 6455,
// section 5.2).
func headerSize(b byte) int {
	n := ws.MinHeaderSize
	switch b & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b&0x80 != 0 {
		n += 4
	}
	return n
}

// state is what the header that comes next is judged by.
func (s *stream) state() ws.State {
	state := ws.StateClientSide // we read as a client does: from a server
	if s.masked {
		state = ws.StateServerSide
	}
	if s.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	return state
}

// takePayload appends to the message, or to the control frame.
func (s *stream) takePayload(p []byte) int {
	p = p[:min(int64(len(p)), s.left)]
	to := &s.msg
	if s.h.OpCode.IsControl() {
		to = &s.control
	}
	at := len(*to)
	*to = append(*to, p...)
	if s.h.Masked {
		ws.Cipher((*to)[at:], s.h.Mask, int(s.done%4))
	}
	s.done += int64(len(p))
	s.left -= int64(len(p))
	return len(p)
}

// frame deals with a frame that is whole.
func (s *stream) frame() *Error {
	switch s.h.OpCode {
	case ws.OpPing:
		s.emit(ws.OpPing, s.asked.ask(s.control))
	case ws.OpPong:
		s.emit(ws.OpPong, s.answers.answer(s.control))
	case ws.OpClose:
		if len(s.control) > 0 && !isCloseCode(s.control) {
			return &Error{Code: ProtocolError}
		}
		s.emit(ws.OpClose, s.control[:min(2, len(s.control))]) // without the reason, which is text
		s.closed = true
		s.msg = nil
	default:
		if s.h.Fin {
			return s.message()
		}
	}
	return nil
}

// message deals with a message that is whole.
func (s *stream) message() *Error {
	op, msg := s.op, s.msg
	s.op, s.msg = 0, s.msg[:0]
	if cap(msg) > maxKept {
		s.msg = nil
	}
	if op == ws.OpText && !utf8.Valid(msg) {
		return &Error{Code: InvalidText}
	}
	if s.inspect == nil {
		return &Error{Code: PolicyViolation}
	}
	made, err := s.inspect(op == ws.OpText, msg)
	if err != nil {
		return &Error{PolicyViolation, err}
	}
	s.emit(op, made)
	return nil
}

// emit adds a frame to the output.
func (s *stream) emit(op ws.OpCode, payload []byte) {
	appendFrame(&s.out, s.masked, op, payload)
}

// appendFrame writes one frame, masked with a key of its own where it is a
// client's.
func appendFrame(out *bytes.Buffer, masked bool, op ws.OpCode, payload []byte) {
	h := ws.Header{Fin: true, OpCode: op, Masked: masked, Length: int64(len(payload))}
	if masked {
		_, _ = rand.Read(h.Mask[:]) // never fails
	}
	_ = ws.WriteHeader(out, h) // nor does a buffer
	at := out.Len()
	out.Write(payload)
	if masked {
		ws.Cipher(out.Bytes()[at:], h.Mask, 0)
	}
}

// taken returns the output's buffer to be written to again.
func (s *stream) taken() {
	if s.out.Cap() > maxKept {
		s.out = bytes.Buffer{}
	}
	s.out.Reset()
}

// between reports whether the stream is between two messages.
func (s *stream) between() bool {
	return s.closed || !s.payload && s.headLen == 0 && s.op == 0
}

// isCloseCode reports whether a close frame may begin with b: with a code that
// RFC 6455, section 7.4, or the registry that it set up lets an endpoint send.
func isCloseCode(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	code := binary.BigEndian.Uint16(b)
	return 1000 <= code && code <= 1014 && (code < 1004 || code > 1006) || 3000 <= code && code <= 4999
}
