package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// robustCaddyfile is a gate with room for what these tests send.
const robustCaddyfile = `{
	consent {
		policy liaoxiaobang
		store embedded @DATA@/consent
	}
	log {
		format consent
	}
}
http://:@PORT@ {
	consent_gate backend {
		subject {http.request.header.X-User-ID}
		max_body 64MiB
	}
	reverse_proxy @COUNTER@
}
`

// counter is an upstream that counts the bytes of bodies and keeps none.
type counter struct {
	addr  string
	got   atomic.Int64
	leaks atomic.Int64 // chunks in which the mark stands
}

const leakMark = "zqneverarrives"

func startCounter(t *testing.T) *counter {
	t.Helper()
	c := new(counter)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = ln.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		keep := 0 // of the end of the last chunk, in which the mark may have begun
		for {
			n, err := r.Body.Read(buf[keep:])
			c.got.Add(int64(n))
			if bytes.Contains(buf[:keep+n], []byte(leakMark)) {
				c.leaks.Add(1)
			}
			if err != nil {
				break
			}
			end := keep + n
			keep = min(end, len(leakMark))
			copy(buf, buf[end-keep:end])
		}
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return c
}

func startRobust(t *testing.T) (*server, *counter) {
	t.Helper()
	c := startCounter(t)
	return startCaddy(t, strings.ReplaceAll(robustCaddyfile, "@COUNTER@", c.addr)), c
}

// stillUp sends an ordinary request and wants an ordinary answer.
func stillUp(t *testing.T, s *server, c *counter) {
	t.Helper()
	before := c.got.Load()
	r := s.do("POST", "/v1/report", `{"imei":"`+leakMark+`","note":"ok"}`, "Content-Type", "application/json")
	if r.Status != http.StatusOK {
		t.Errorf("an ordinary request afterwards was answered with %d: %s", r.Status, r.Body)
	}
	if got, want := c.got.Load()-before, int64(len(`{"note":"ok"}`)); got != want {
		t.Errorf("an ordinary request afterwards arrived with %d bytes, not %d", got, want)
	}
	if n := c.leaks.Load(); n != 0 {
		t.Errorf("what must not arrive did, %d times", n)
	}
}

// TestRobustNesting: what is nested deeper than anyone reads is refused, and
// costs no stack.
func TestRobustNesting(t *testing.T) {
	s, c := startRobust(t)
	const deep = 10_000
	leak := `{"imei":"` + leakMark + `"}`
	for name, body := range map[string]string{
		"objects":          strings.Repeat(`{"a":`, deep) + leak + strings.Repeat("}", deep),
		"arrays":           strings.Repeat("[", deep) + leak + strings.Repeat("]", deep),
		"arrays, unclosed": strings.Repeat("[", deep*10),
		"objects, open":    strings.Repeat(`{"a":`, deep*10),
	} {
		if r := s.do("POST", "/v1/report", body, "Content-Type", "application/json"); r.Status/100 != 4 {
			t.Errorf("%s: answered with %d", name, r.Status)
		}
	}
	// Inside a value it may be dropped instead.
	inside := `{"payload":"` + strings.ReplaceAll(strings.Repeat(`{"a":`, deep)+leak+strings.Repeat("}", deep), `"`, `\"`) + `"}`
	s.do("POST", "/v1/report", inside, "Content-Type", "application/json")
	s.do("GET", "/v1/report?"+strings.Repeat("a[", 4000)+"imei"+strings.Repeat("]", 4000)+"="+leakMark, "")
	stillUp(t, s, c)
}

// TestRobustMembers: a million members are one body like any other, or too
// many; neither takes the gate down.
func TestRobustMembers(t *testing.T) {
	s, c := startRobust(t)
	var b strings.Builder
	b.WriteString(`{"imei":"` + leakMark + `"`)
	for i := range 1_000_000 {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	b.WriteString("}")
	for name, body := range map[string]string{
		"distinct": b.String(),
		"alike":    "{" + strings.TrimSuffix(strings.Repeat(`"imei":"`+leakMark+`",`, 1_000_000), ",") + "}",
		"elements": "[" + strings.TrimSuffix(strings.Repeat(`{"imei":"`+leakMark+`"},`, 500_000), ",") + "]",
	} {
		start := time.Now()
		r := s.do("POST", "/v1/report", body, "Content-Type", "application/json")
		if r.Status/100 != 2 && r.Status/100 != 4 {
			t.Errorf("%s: answered with %d", name, r.Status)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	stillUp(t, s, c)
}

// TestRobustStream: a hundred megabytes of lines go through in little memory.
func TestRobustStream(t *testing.T) {
	s, c := startRobust(t)
	const total, most = 100 << 20, 64 << 20
	line := []byte(`{"imei":"` + leakMark + `","note":"` + strings.Repeat("ok ", 60) + `"}` + "\n")
	kept := int64(len(`{"note":"` + strings.Repeat("ok ", 60) + `"}` + "\n"))
	lines := int64(total/len(line) + 1)

	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}
	runtime.GC()
	before := heap()
	var peak atomic.Int64
	r, w := io.Pipe()
	go func() {
		block := bytes.Repeat(line, 100)
		for n := lines; n > 0; n -= 100 {
			if n < 100 {
				block = block[:n*int64(len(line))]
			}
			if _, err := w.Write(block); err != nil {
				return
			}
			if n%20000 < 100 {
				peak.Store(max(peak.Load(), heap()))
			}
		}
		_ = w.Close()
	}()
	req, err := http.NewRequest("POST", "http://"+s.Addr+"/v1/report", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("answered with %d", res.StatusCode)
	}
	if got := c.got.Load(); got != lines*kept {
		t.Errorf("%d bytes arrived, not %d", got, lines*kept)
	}
	t.Logf("%d MiB of lines; the heap in use grew from %.1f MiB to %.1f MiB", lines*int64(len(line))>>20, float64(before)/(1<<20), float64(peak.Load())/(1<<20))
	if grown := peak.Load() - before; grown > most {
		t.Errorf("the heap grew by %d MiB, more than %d", grown>>20, most>>20)
	}
	stillUp(t, s, c)
}

// TestRobustClients: those who send a byte at a time, stop half-way or hang up
// keep nobody else from being served.
func TestRobustClients(t *testing.T) {
	s, c := startRobust(t)
	body := `{"imei":"` + leakMark + `","note":"ok"}`
	head := fmt.Sprintf("POST /v1/report HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	dial := func() *net.TCPConn {
		t.Helper()
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn.(*net.TCPConn)
	}
	write := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("a byte at a time", func(t *testing.T) {
		conn := dial()
		if err := conn.SetNoDelay(true); err != nil {
			t.Fatal(err)
		}
		for _, b := range []byte(head + body) {
			write(conn, string([]byte{b}))
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("answered with %v, %v", res, err)
		}
	})
	t.Run("a byte at a time, in chunks", func(t *testing.T) {
		conn := dial()
		write(conn, "POST /v1/report HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, b := range []byte(body) {
			write(conn, "1\r\n"+string([]byte{b})+"\r\n")
		}
		write(conn, "0\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("answered with %v, %v", res, err)
		}
	})
	before := c.got.Load()
	t.Run("half-closed in the middle", func(t *testing.T) {
		for _, kind := range []string{"application/json", "application/x-ndjson", "application/x-www-form-urlencoded"} {
			conn := dial()
			write(conn, strings.Replace(head, "application/json", kind, 1)+body[:20])
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
	t.Run("gone in the middle", func(t *testing.T) {
		for range 50 {
			conn := dial()
			write(conn, head+body[:20])
			if err := conn.SetLinger(0); err != nil { // a reset, not an end
				t.Fatal(err)
			}
			_ = conn.Close()
		}
	})
	t.Run("silent", func(t *testing.T) {
		for range 200 {
			write(dial(), head+body[:9])
		}
	})
	if got := c.got.Load() - before; got != 0 {
		t.Errorf("%d bytes of requests that never ended arrived", got)
	}
	stillUp(t, s, c)
}
