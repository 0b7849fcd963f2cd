package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

const benchCaddyfile = `{
	consent {
		policy liaoxiaobang
		secret 0123456789abcdef0123456789abcdef
		store embedded @DATA@/store
		uncovered :@PORT@ /plain/* @UPSTREAM@
	}
}
http://:@PORT@ {
	handle /consent/* {
		consent_api {
			token ` + fixtureToken + `
		}
	}
	handle /plain/* {
		reverse_proxy @UPSTREAM@ {
			request_buffers 64KiB
		}
	}
	handle /gate/* {
		consent_gate backend {
			subject {http.request.header.X-User-ID}
		}
		reverse_proxy @UPSTREAM@ {
			request_buffers 64KiB
		}
	}
}
`

// BenchmarkGateway measures the CPU time that a request of 1 KB costs this
// process, through a gate and through nothing but `reverse_proxy` with
// `request_buffers`. Both have the same listener, the same client connections
// and the same upstream; client and upstream are a process of their own and do
// not count. Short batches of the one and of the other take turns, and the
// median of the ratios of neighbours is reported: what else the machine does
// falls on both.
func BenchmarkGateway(b *testing.B) {
	peer := startPeer(b, "gateway")
	addr := loadBench(b, benchCaddyfile, "@UPSTREAM@", peer.upstream)
	post(b, addr, `{"subject":"u-1","kind":"user","policy_version":"2022-03-09","accept_policy":true}`)
	for _, tt := range []struct {
		name, user string
		arrives    bool // the imei
	}{{"accepted", "u-1", true}, {"stranger", "u-2", false}} {
		b.Run(tt.name, func(b *testing.B) {
			plain := func(n int) { peer.send(addr, "/plain/v1", tt.user, n) }
			gate := func(n int) { peer.send(addr, "/gate/v1", tt.user, n) }
			gate(100)
			if got := peer.last(); strings.Contains(got, canaryIMEI) != tt.arrives || !strings.Contains(got, "screen_name") {
				b.Fatalf("the upstream got %s", got)
			}
			plain(100)
			const n = 400
			var ratios []float64
			var spent [2]time.Duration
			var allocs, size [2]uint64
			for i := 0; b.Loop(); i++ {
				var took [2]time.Duration
				for _, k := range [2]int{i % 2, 1 - i%2} { // who goes second has no advantage
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					start := cpuTime(b)
					[2]func(int){plain, gate}[k](n)
					took[k] = cpuTime(b) - start
					runtime.ReadMemStats(&after)
					allocs[k] += after.Mallocs - before.Mallocs
					size[k] += after.TotalAlloc - before.TotalAlloc
					spent[k] += took[k]
				}
				ratios = append(ratios, float64(took[1])/float64(took[0]))
			}
			slices.Sort(ratios)
			all := float64(n * b.N)
			b.ReportMetric(ratios[len(ratios)/2], "x/plain_reverse_proxy")
			b.ReportMetric(float64(spent[0].Microseconds())/all, "plain_µs/op")
			b.ReportMetric(float64(spent[1].Microseconds())/all, "gate_µs/op")
			b.ReportMetric(float64(size[0])/all, "plain_B/op")
			b.ReportMetric((float64(allocs[1])-float64(allocs[0]))/all, "more_allocs/op")
			b.ReportMetric((float64(size[1])-float64(size[0]))/all, "more_B/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadBench loads a Caddyfile in which @PORT@, @DATA@ and the words given, each
// before its text, are replaced.
func loadBench(b *testing.B, caddyfile string, words ...string) (addr string) {
	data := b.TempDir()
	addr = freeAddr(b)
	_, port, _ := net.SplitHostPort(addr)
	words = append(words, "@PORT@", port, "@DATA@", data)
	cfg, err := adapt([]byte(strings.NewReplacer(words...).Replace(caddyfile)))
	if err != nil {
		b.Fatal(err)
	}
	if cfg, err = forTest(cfg, filepath.Join(data, "caddy")); err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			b.Error(err)
		}
	})
	return addr
}

func post(b *testing.B, addr, event string) {
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/consent/v1/events", strings.NewReader(event))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+fixtureToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		b.Fatal(res.Status)
	}
}

// benchBody is like what apps send: most members pass for one who accepted,
// some of them for nobody else.
func benchBody() string {
	var s strings.Builder
	s.WriteString(`{"schema":"v1","imei":"` + canaryIMEI + `","events":[`)
	for n := 0; s.Len() < 900; n++ {
		if n > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, `{"event":"page_view","seq":%d,"ts":1699999%06d,"ok":true,"screen_name":"home feed","duration_ms":%d.25,"android_id":"9774d56d682e549%d","tags":["a","bb",%d]}`, n, n, 100+n, n, n)
	}
	s.WriteString(`]}`)
	return s.String()
}

// peerProcess, when set, makes the test binary the client and the upstream of
// BenchmarkGateway, or, as "forward", those and the partner of BenchmarkForward….
const peerProcess = "CONSENT_TEST_PEER"

// peer is that process, as its parent sees it.
type peer struct {
	b        *testing.B
	upstream string
	in       io.Writer
	out      *bufio.Reader
}

func startPeer(b *testing.B, kind string) *peer {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), peerProcess+"="+kind)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		if err := child.Wait(); err != nil {
			b.Error(err)
		}
	})
	p := &peer{b: b, in: in, out: bufio.NewReader(out)}
	p.upstream = p.read()
	return p
}

func (p *peer) read() string {
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.b.Fatal("the client ended: ", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// send lets the client send n requests, and waits for their answers.
func (p *peer) send(addr, path, user string, n int) {
	fmt.Fprintf(p.in, "send %s %s %s %d\n", addr, path, user, n)
	if got := p.read(); got != "sent" {
		p.b.Fatal(got)
	}
}

// last returns the last body that the upstream got.
func (p *peer) last() string {
	fmt.Fprintln(p.in, "last")
	return p.read()
}

// runPeer is the child process. It ends when its parent does.
func runPeer(in io.Reader, out io.Writer) error {
	if os.Getenv(peerProcess) == "forward" {
		return runForwardPeer(in, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var last atomic.Pointer[[]byte]
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(conn, &last)
		}
	}()
	fmt.Fprintln(out, ln.Addr())
	var clients []*bufio.ReadWriter
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var addr, path, user string
		var n int
		if lines.Text() == "last" {
			fmt.Fprintf(out, "%s\n", *last.Load())
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "send %s %s %s %d", &addr, &path, &user, &n); err != nil {
			return err
		}
		const connections = 4
		for len(clients) < connections {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			clients = append(clients, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn)))
		}
		body := benchBody()
		request := []byte("POST " + path + " HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: okhttp/4.12.0\r\nAccept: application/json\r\n" +
			"Accept-Encoding: gzip\r\nAccept-Language: zh-CN\r\nX-User-ID: " + user + "\r\nX-Request-ID: 7f3c9a52-61d8-4b0e-9f25-c0de0badcafe\r\n" +
			"Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
		var wg sync.WaitGroup
		problems := make([]error, len(clients))
		for i, c := range clients {
			wg.Go(func() { problems[i] = exchange(c, request, n/len(clients)) })
		}
		wg.Wait()
		for _, err := range problems {
			if err != nil {
				return err
			}
		}
		fmt.Fprintln(out, "sent")
	}
	return lines.Err()
}

// exchange sends a request n times, each after the answer to the one before.
func exchange(c *bufio.ReadWriter, request []byte, n int) error {
	for range n {
		if _, err := c.Write(request); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		first, _, err := readMessage(c.Reader)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(first, "HTTP/1.1 200 ") {
			return fmt.Errorf("the answer is %s", first)
		}
	}
	return nil
}

// answer answers the requests of a connection.
func answer(conn net.Conn, last *atomic.Pointer[[]byte]) {
	defer conn.Close()
	const response = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"
	r := bufio.NewReader(conn)
	for {
		_, body, err := readMessage(r)
		if err != nil {
			return
		}
		last.Store(&body)
		if _, err := io.WriteString(conn, response); err != nil {
			return
		}
	}
}

// readMessage reads a message that has a Content-Length, and returns its first
// line and its body.
func readMessage(r *bufio.Reader) (first string, body []byte, err error) {
	length := 0
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if n == 0 {
			first = string(line)
		}
		if len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return "", nil, err
			}
		}
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return first, body, err
}

// BenchmarkDetection tells how much longer a body of 20 KB takes where values
// are looked into (detectors, opened codecs, photos) than with keys and paths
// alone, under the policy that ships.
func BenchmarkDetection(b *testing.B) {
	b.Run("batch", func(b *testing.B) { benchDetection(b, func(int) (string, string) { return "page_view", "home feed" }) })
	b.Run("no_text_twice", func(b *testing.B) {
		benchDetection(b, func(n int) (string, string) {
			letters := []byte{'a' + byte(n%26), 'a' + byte(n/26%26), 'a' + byte(n/676)}
			return "page_" + string(letters), "home " + string(letters)
		})
	})
}

// benchDetection compares on a document of some 20 KB, whose events have texts of
// the names given.
func benchDetection(b *testing.B, names func(n int) (event, screen string)) {
	doc := []byte(`{"schema":"v1","events":[`)
	for n := 0; len(doc) < 20_000; n++ {
		if n > 0 {
			doc = append(doc, ',')
		}
		event, screen := names(n)
		doc = fmt.Appendf(doc, `{"event":%q,"seq":%d,"ts":1699999%06d,"ok":true,"screen_name":%q,`+
			`"duration_ms":%d.25,"ref":null,"%s":"3569380%07d%d","tags":["a","bb",%d],"note":"值 with \"escapes\" and text %s"}`,
			event, n, n, screen, n%977, []string{"imei", "idfa", "oaid", "android_id", "mac", "phone", "email", "iccid", "imsi", "gaid"}[n%10], n, n%10, n%7, screen)
	}
	doc = append(doc, "]}"...)
	with := benchPlan(b, rules.Embedded, rules.Inbound{Opener: opener{}, Cleaner: cleaner{}})
	bare := fstest.MapFS{}
	detect := regexp.MustCompile(`(?m)^ +detect:.*\n`)
	err := fs.WalkDir(rules.Embedded, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(rules.Embedded, name)
		bare[name] = &fstest.MapFile{Data: detect.ReplaceAll(text, nil)}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	without := benchPlan(b, bare, rules.Inbound{})
	var room []byte
	rewrite := func(p *rules.Plan, n int) time.Duration {
		start := time.Now()
		for range n {
			s, err := p.Matcher.Scan(doc, payload.DefaultLimits)
			if err != nil {
				b.Fatal(err)
			}
			part := payload.Part{Vector: p.Routes[0].Stranger().Vector, Params: &payload.Params{}}
			out, _ := s.Apply(room, part, []payload.Part{part})
			if len(out) == len(doc) {
				b.Fatal("nothing was dropped")
			}
			room = out
			s.Free()
		}
		return time.Since(start)
	}
	var ratios []float64
	least := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		const n = 10
		a, z := rewrite(with, n), rewrite(without, n)
		ratios = append(ratios, float64(a)/float64(z))
		least[0], least[1] = min(least[0], a/n), min(least[1], z/n)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x/keys_alone")
	b.ReportMetric(float64(least[0])/float64(least[1]), "x/keys_alone_at_best")
	b.ReportMetric(0, "ns/op")
}

func benchPlan(b *testing.B, from fs.FS, in rules.Inbound) *rules.Plan {
	policy, err := rules.Load(from, "policies/liaoxiaobang.yaml")
	if err != nil {
		b.Fatal(err)
	}
	plan, err := policy.Plan(in, rules.RouteSpec{Recipient: "backend"})
	if err != nil {
		b.Fatal(err)
	}
	return plan
}
