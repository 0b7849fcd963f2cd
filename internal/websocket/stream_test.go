package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// encode returns the bytes of frames, masked where they are a client's.
func encode(t testing.TB, masked bool, frames ...ws.Frame) []byte {
	t.Helper()
	var b []byte
	for _, f := range frames {
		if masked {
			f = ws.MaskFrame(f)
		}
		one, err := ws.CompileFrame(f)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, one...)
	}
	return b
}

// describe tells the frames of b, for comparison: "text(abc) close(1000)".
func describe(t testing.TB, masked bool, b []byte) string {
	t.Helper()
	names := map[ws.OpCode]string{ws.OpText: "text", ws.OpBinary: "binary", ws.OpPing: "ping", ws.OpPong: "pong", ws.OpClose: "close"}
	var said []string
	for r := bytes.NewReader(b); r.Len() > 0; {
		h, err := ws.ReadHeader(r)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if h.Masked != masked || !h.Fin || h.Rsv != 0 {
			t.Fatalf("frame %+v", h)
		}
		if masked {
			ws.Cipher(payload, h.Mask, 0)
		}
		if h.OpCode == ws.OpClose && len(payload) == 2 {
			payload = fmt.Append(nil, int(payload[0])<<8+int(payload[1]))
		}
		said = append(said, fmt.Sprintf("%s(%s)", names[h.OpCode], payload))
	}
	return strings.Join(said, " ")
}

var errRefused = errors.New("refused")

// shout is an Inspect that leaves its mark on whatever it has seen.
func shout(text bool, msg []byte) ([]byte, error) {
	if bytes.Contains(msg, []byte("refuse")) {
		return nil, errRefused
	}
	if text {
		return bytes.ToUpper(msg), nil
	}
	return append(msg, '!'), nil
}

func newStream(masked bool, limit int) *stream {
	return &stream{masked: masked, limit: limit, inspect: shout, asked: new(pings), answers: new(pings)}
}

// takeAll gives s all of b, in pieces of at most size bytes, and returns what
// comes out.
func takeAll(s *stream, b []byte, size int) (out []byte, err *Error) {
	for len(b) > 0 && err == nil {
		piece := bytes.Clone(b[:min(size, len(b))])
		var n int
		n, err = s.take(piece)
		b = b[n:]
		out = append(out, s.out.Bytes()...)
		s.taken()
	}
	return out, err
}

func part(op ws.OpCode, fin bool, payload string) ws.Frame {
	return ws.NewFrame(op, fin, []byte(payload))
}

func rsv(f ws.Frame, bits byte) ws.Frame {
	f.Header.Rsv = bits
	return f
}

func TestStream(t *testing.T) {
	const limit = 1000
	text := func(s string) ws.Frame { return part(ws.OpText, true, s) }
	long := strings.Repeat("x", limit)
	for _, tt := range []struct {
		name   string
		frames []ws.Frame
		want   string
		code   int
	}{
		{"text", []ws.Frame{text("abc")}, "text(ABC)", 0},
		{"binary", []ws.Frame{part(ws.OpBinary, true, "\xff")}, "binary(\xff!)", 0},
		{"an empty message", []ws.Frame{text("")}, "text()", 0},
		{"several", []ws.Frame{text("a"), text("b"), part(ws.OpBinary, true, "c")}, "text(A) text(B) binary(c!)", 0},
		{"fragments are joined", []ws.Frame{part(ws.OpText, false, "a"), part(ws.OpContinuation, false, ""), part(ws.OpContinuation, false, "b"), part(ws.OpContinuation, true, "c"), text("d")}, "text(ABC) text(D)", 0},
		{"a character in two fragments", []ws.Frame{part(ws.OpText, false, "\xe8\x8c"), part(ws.OpContinuation, true, "\xb6")}, "text(茶)", 0},
		{"control frames between fragments", []ws.Frame{part(ws.OpText, false, "a"), part(ws.OpPing, true, ""), part(ws.OpContinuation, true, "b")}, "ping() text(AB)", 0},
		{"at the limit", []ws.Frame{text(long)}, "text(" + strings.ToUpper(long) + ")", 0},
		{"a pong nobody asked for", []ws.Frame{part(ws.OpPong, true, "imei")}, "pong()", 0},
		{"a pong nobody asked for, of a number's length", []ws.Frame{part(ws.OpPong, true, "\x00\x00\x00\x00\x00\x00\x00\x01")}, "pong()", 0},
		{"a ping's payload stays", []ws.Frame{part(ws.OpPing, true, "imei"), part(ws.OpPing, true, "imei2")}, "ping(\x00\x00\x00\x00\x00\x00\x00\x01) ping(\x00\x00\x00\x00\x00\x00\x00\x02)", 0},
		{"a close", []ws.Frame{part(ws.OpClose, true, "")}, "close()", 0},
		{"a close with a reason", []ws.Frame{part(ws.OpClose, true, "\x03\xe8imei 860123456789012")}, "close(1000)", 0},
		{"a close with a code of the application", []ws.Frame{part(ws.OpClose, true, "\x0f\xa1")}, "close(4001)", 0},
		{"a close for a restart", []ws.Frame{part(ws.OpClose, true, "\x03\xf4")}, "close(1012)", 0},
		{"whatever follows a close", []ws.Frame{part(ws.OpClose, true, ""), text("imei"), part(ws.OpPing, true, ""), rsv(text("x"), 7)}, "close()", 0},
		{"a close between fragments", []ws.Frame{part(ws.OpText, false, "imei"), part(ws.OpClose, true, ""), part(ws.OpContinuation, true, "")}, "close()", 0},

		{"refused", []ws.Frame{text("a"), text("refuse"), text("b")}, "text(A)", PolicyViolation},
		{"refused over fragments", []ws.Frame{part(ws.OpText, false, "ref"), part(ws.OpContinuation, true, "use")}, "", PolicyViolation},
		{"over the limit", []ws.Frame{text("a"), text(long + "x")}, "text(A)", MessageTooBig},
		{"over the limit in fragments", []ws.Frame{part(ws.OpBinary, false, long), part(ws.OpContinuation, true, "x")}, "", MessageTooBig},
		{"text that is not UTF-8", []ws.Frame{text("a\xff")}, "", InvalidText},
		{"text that ends in half a character", []ws.Frame{part(ws.OpText, false, "a"), part(ws.OpContinuation, true, "\xe8\x8c")}, "", InvalidText},
		{"RSV1", []ws.Frame{rsv(text("a"), 4)}, "", ProtocolError},
		{"RSV2", []ws.Frame{rsv(text("a"), 2)}, "", ProtocolError},
		{"RSV3 on a ping", []ws.Frame{rsv(part(ws.OpPing, true, ""), 1)}, "", ProtocolError},
		{"RSV1 on a continuation", []ws.Frame{part(ws.OpText, false, "a"), rsv(part(ws.OpContinuation, true, ""), 4)}, "", ProtocolError},
		{"a reserved data frame", []ws.Frame{part(3, true, "imei")}, "", ProtocolError},
		{"a reserved control frame", []ws.Frame{part(0xb, true, "imei")}, "", ProtocolError},
		{"a continuation of nothing", []ws.Frame{part(ws.OpContinuation, true, "imei")}, "", ProtocolError},
		{"a message within a message", []ws.Frame{part(ws.OpText, false, "a"), text("imei")}, "", ProtocolError},
		{"a ping in fragments", []ws.Frame{part(ws.OpPing, false, "imei")}, "", ProtocolError},
		{"too long a ping", []ws.Frame{part(ws.OpPing, true, strings.Repeat("x", 126))}, "", ProtocolError},
		{"half a close code", []ws.Frame{part(ws.OpClose, true, "\x03")}, "", ProtocolError},
		{"a close code that is never sent", []ws.Frame{part(ws.OpClose, true, "\x03\xed")}, "", ProtocolError}, // 1005
		{"a close code out of range", []ws.Frame{part(ws.OpClose, true, "\x00\x01")}, "", ProtocolError},
	} {
		for _, masked := range []bool{true, false} {
			in := encode(t, masked, tt.frames...)
			for _, size := range []int{1, 2, 7, len(in)} {
				out, err := takeAll(newStream(masked, limit), in, size)
				if got := describe(t, masked, out); got != tt.want {
					t.Errorf("%s (masked %v, %d bytes at a time): %.200q, want %.200q", tt.name, masked, size, got, tt.want)
				}
				if (err != nil) != (tt.code != 0) || err != nil && err.Code != tt.code {
					t.Errorf("%s (masked %v, %d bytes at a time): %v, want code %d", tt.name, masked, size, err, tt.code)
				}
				if tt.code == PolicyViolation && !errors.Is(err, errRefused) {
					t.Errorf("%s: %v does not say why", tt.name, err)
				}
			}
			// The other side's frames are against the rules.
			if _, err := takeAll(newStream(!masked, limit), in, len(in)); err == nil || err.Code != ProtocolError {
				t.Errorf("%s: masked %v where it must not be: %v", tt.name, masked, err)
			}
		}
	}
}

func TestStreamWithoutInspectRefuses(t *testing.T) {
	s := newStream(false, 10)
	s.inspect = nil
	out, err := takeAll(s, encode(t, false, part(ws.OpText, true, "imei")), 100)
	if len(out) > 0 || err == nil || err.Code != PolicyViolation {
		t.Errorf("%q, %v", out, err)
	}
}

func TestStreamMasksAnew(t *testing.T) {
	in := encode(t, true, part(ws.OpText, true, "abc"), part(ws.OpText, true, "abc"))
	out, _ := takeAll(newStream(true, 10), in, 100)
	if len(out) != len(in) || bytes.Equal(out[2:6], in[2:6]) || bytes.Equal(out[2:6], out[11:15]) {
		t.Errorf("keys %x of %x", out, in)
	}
}

// What a header announces is not believed, and what an endless message brings
// is not kept.
func TestStreamMemory(t *testing.T) {
	const limit = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, length := range []string{"\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "\x7f\x00\x00\x00\x00\x00\x10\x00\x01"} {
		if _, err := takeAll(newStream(false, limit), []byte("\x82"+length), 100); err == nil || err.Code != MessageTooBig {
			t.Errorf("%x: %v", length, err)
		}
	}
	if _, err := takeAll(newStream(false, limit), []byte("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), 100); err == nil || err.Code != ProtocolError {
		t.Errorf("a negative length: %v", err)
	}
	if _, err := takeAll(newStream(false, limit), []byte("\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00x"), 100); err != nil {
		t.Errorf("a length at the limit: %v", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > limit/2 {
		t.Errorf("allocated %d bytes for what was only announced", used)
	}

	s := newStream(false, limit)
	more := encode(t, false, part(ws.OpContinuation, false, strings.Repeat("x", 1000)))
	_, err := takeAll(s, encode(t, false, part(ws.OpBinary, false, "x")), 100)
	n := 0
	for ; err == nil && n < 2000; n++ {
		_, err = takeAll(s, more, len(more))
	}
	if err == nil || err.Code != MessageTooBig || n != limit/1000+1 {
		t.Errorf("%d fragments: %v", n, err)
	}
}

// Many small frames in one piece do not pile up.
func TestStreamOutputIsBounded(t *testing.T) {
	in := bytes.Repeat(encode(t, false, part(ws.OpText, true, strings.Repeat("x", 100))), 10_000)
	s := newStream(false, 1000)
	n, err := s.take(in)
	if err != nil || n == 0 || s.out.Len() > batch+200 {
		t.Errorf("%d bytes taken, %d bytes out, %v", n, s.out.Len(), err)
	}
	s.out.Reset()
	out, err := takeAll(s, in[n:], len(in))
	if want := len(in) - n; err != nil || len(out) != want {
		t.Errorf("%d bytes, want %d: %v", len(out), want, err)
	}
}

func TestPings(t *testing.T) {
	var p pings
	if p.ask(nil) != nil || p.answer(nil) != nil {
		t.Error("an empty ping gets a number")
	}
	var sent [][]byte
	for i := range maxPings + 2 {
		sent = append(sent, bytes.Clone(p.ask(fmt.Append(nil, "payload ", i))))
	}
	for _, i := range []int{0, 1} {
		if got := p.answer(sent[i]); got != nil {
			t.Errorf("ping %d is not forgotten: %q", i, got)
		}
	}
	for _, i := range []int{5, 2, maxPings + 1} { // in any order, and not all
		if got := p.answer(sent[i]); string(got) != fmt.Sprint("payload ", i) {
			t.Errorf("ping %d: %q", i, got)
		}
		if got := p.answer(sent[i]); got != nil {
			t.Errorf("ping %d is answered twice: %q", i, got)
		}
	}
	for _, foreign := range []string{"", "x", "payload 3", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if got := p.answer([]byte(foreign)); got != nil {
			t.Errorf("%q is answered: %q", foreign, got)
		}
	}
}

func FuzzStream(f *testing.F) {
	for _, masked := range []bool{true, false} {
		f.Add(encode(f, masked, part(ws.OpText, false, "a"), part(ws.OpPing, true, "b"), part(ws.OpContinuation, true, "c"), part(ws.OpClose, true, "\x03\xe8why")), masked, uint16(3))
		f.Add(encode(f, masked, part(ws.OpBinary, true, strings.Repeat("x", 300)), part(ws.OpPong, true, "b")), masked, uint16(100))
	}
	f.Fuzz(func(t *testing.T, in []byte, masked bool, size uint16) {
		const limit = 1000
		mark := func(_ bool, msg []byte) ([]byte, error) {
			if len(msg) == 13 {
				return nil, errRefused
			}
			return fmt.Appendf(nil, "seen %d", len(msg)), nil
		}
		run := func(size int) (string, *Error) {
			s := newStream(masked, limit)
			s.inspect = mark
			out, err := takeAll(s, in, size)
			if cap(s.msg) > 4*limit || cap(s.control) > 4*ws.MaxControlFramePayloadSize {
				t.Fatalf("%d bytes kept", cap(s.msg))
			}
			return describe(t, masked, out), err
		}
		whole, err := run(len(in) + 1)
		pieces, piecesErr := run(int(size)%64 + 1)
		if whole != pieces || (err == nil) != (piecesErr == nil) || err != nil && *err != *piecesErr {
			t.Fatalf("whole: %q, %v; in pieces: %q, %v", whole, err, pieces, piecesErr)
		}
		for frame := range strings.SplitSeq(whole, ") ") {
			op, payload, _ := strings.Cut(strings.TrimSuffix(frame, ")"), "(")
			switch op {
			case "text", "binary":
				if !strings.HasPrefix(payload, "seen ") {
					t.Fatalf("went through: %q", frame)
				}
			case "pong":
				if payload != "" {
					t.Fatalf("went through: %q", frame)
				}
			case "close":
				if len(payload) > 4 {
					t.Fatalf("went through: %q", frame)
				}
			case "ping":
				if payload != "" && !strings.HasPrefix(payload, "\x00\x00\x00\x00") {
					t.Fatalf("went through: %q", frame)
				}
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	in := encode(b, true, part(ws.OpText, true, strings.Repeat("x", 1000)))
	s := newStream(true, 1<<20)
	s.inspect = func(_ bool, msg []byte) ([]byte, error) { return msg, nil }
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.take(in)
		s.taken()
	}
}
