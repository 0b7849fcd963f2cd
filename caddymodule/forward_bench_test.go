package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

const forwardBenchCaddyfile = `{
	consent {
		policy liaoxiaobang
		secret 0123456789abcdef0123456789abcdef
		store @STORE@
	}
}
http://:@PORT@ {
	handle /consent/* {
		consent_api {
			token ` + fixtureToken + `
		}
	}
	handle /gate/* {
		consent_gate backend {
			subject json user_id
		}
		reverse_proxy @UPSTREAM@
	}
	handle /forward/* {
		consent_gate backend {
			subject json user_id
			forward adx http://@PARTNER@/events {
				@FORWARD@
			}
		}
		reverse_proxy @UPSTREAM@
	}
}
`

// benchSubjects is how many people send.
const benchSubjects = 400

// forwardEngines are the engines of the outbox, as durable as they can be told to
// be. Each returns the store's line in a Caddyfile, and how many bytes it takes.
var forwardEngines = []struct {
	name  string
	start func(b *testing.B) (store string, size func() int64)
}{
	{"redis everysec", func(b *testing.B) (string, func() int64) { return benchRedis(b, "everysec") }},
	{"redis always", func(b *testing.B) (string, func() int64) { return benchRedis(b, "always") }},
	{"embedded", func(b *testing.B) (string, func() int64) {
		dir := b.TempDir()
		return "embedded " + dir, func() int64 {
			info, err := os.Stat(filepath.Join(dir, outboxFile))
			if err != nil {
				b.Fatal(err)
			}
			return info.Size()
		}
	}},
}

func benchRedis(b *testing.B, fsync string) (string, func() int64) {
	r := redistest.Start(b, "appendfsync", fsync)
	return "redis {\n\t\t\taddress " + r.Addr + "\n\t\t}", func() int64 {
		host, port, _ := net.SplitHostPort(r.Addr)
		out, err := exec.Command("redis-cli", "-h", host, "-p", port, "INFO", "memory").Output()
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(out), "used_memory:")
		var n int64
		if _, err := fmt.Sscan(rest, &n); err != nil {
			b.Fatal(err)
		}
		return n
	}
}

// forwardBench is a gateway in this process, and its client, upstream and partner in
// another.
type forwardBench struct {
	*peer
	addr string
	size func() int64
}

// startForwardBench loads a gateway that forwards with the settings given. A partner
// that is down has an address at which nobody listens.
func startForwardBench(b *testing.B, engine func(*testing.B) (string, func() int64), settings string, down bool) *forwardBench {
	f := &forwardBench{peer: startPeer(b, "forward")}
	var store string
	store, f.size = engine(b)
	upstream, partner, _ := strings.Cut(f.upstream, " ")
	if down {
		partner = freeAddr(b)
	}
	f.addr = loadBench(b, forwardBenchCaddyfile, "@STORE@", store, "@UPSTREAM@", upstream, "@PARTNER@", partner, "@FORWARD@", settings)
	for n := range benchSubjects {
		post(b, f.addr, fmt.Sprintf(`{"subject":"u-%d","kind":"user","policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"ads.personalise","recipient":"adx","status":"granted"}]}`, n))
	}
	return f
}

// ask sends the peer a command, and scans its answer.
func (f *forwardBench) ask(command string, into ...any) {
	fmt.Fprintln(f.in, command)
	line := f.read()
	if _, err := fmt.Sscan(line, into...); err != nil {
		f.b.Fatalf("%s: %s: %v", command, line, err)
	}
}

// lines sends requests of 100 lines over some connections, and waits for their
// answers.
func (f *forwardBench) lines(path string, connections, requests int) {
	var sent string
	if f.ask(fmt.Sprintf("lines %s %s %d %d", f.addr, path, connections, requests), &sent); sent != "sent" {
		f.b.Fatal(sent)
	}
}

// arrived is how many records the partner has.
func (f *forwardBench) arrived() (n int) {
	f.ask("arrived", &n)
	return n
}

// BenchmarkForwardThroughput measures how many records a second go from a client
// through the gateway and the outbox to a partner that answers at once. A request to
// the gateway has 100 lines of about 1 KB, and so has a POST to the partner. Gateway,
// client, upstream, partner and Redis share the machine. The time is from the first
// request to the last record's arrival.
func BenchmarkForwardThroughput(b *testing.B) {
	for _, engine := range forwardEngines {
		b.Run(engine.name, func(b *testing.B) {
			const requests = 200
			f := startForwardBench(b, engine.start, "batch 100 1s", false)
			settle := func(n int) {
				for f.arrived() < n {
					time.Sleep(2 * time.Millisecond)
				}
			}
			f.lines("/forward/v1", 4, 20)
			f.lines("/gate/v1", 4, 20)
			settle(20 * perBenchRequest)
			from, accepted, records := f.arrived(), time.Duration(0), 0
			cpu := cpuTime(b)
			b.ResetTimer()
			for b.Loop() {
				begun := time.Now()
				f.lines("/forward/v1", 4, requests)
				accepted += time.Since(begun)
				records += requests * perBenchRequest
				settle(from + records)
			}
			b.StopTimer()
			took := b.Elapsed()
			b.ReportMetric(float64(records)/took.Seconds(), "records/s")
			b.ReportMetric(float64(records)/accepted.Seconds(), "accepted/s")
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(records), "gateway_cpu_µs/record")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkForwardLatency measures what forward costs a client that sends single
// records at a steady pace: requests through a gate that forwards and through the
// same gate that does not take turns. Once the upstream answers at once, so that
// nothing hides the outbox's write, and once after 5 ms, as a near one does. Of several
// rounds it tells the medians, those of the rounds' ratios among them.
func BenchmarkForwardLatency(b *testing.B) {
	for _, engine := range forwardEngines {
		for _, upstream := range []time.Duration{0, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("%s, upstream %s", engine.name, upstream), func(b *testing.B) {
				f := startForwardBench(b, engine.start, "batch 100 1s", false)
				var ok string
				f.ask(fmt.Sprintf("upstream %d", upstream), &ok)
				const n, rate = 1000, 400
				measure := func(n int) (m [4]float64) {
					f.ask(fmt.Sprintf("time %s %d %d /gate/v1 /forward/v1", f.addr, n, rate), &m[0], &m[1], &m[2], &m[3])
					return m
				}
				measure(200)
				var all [6][]float64
				for b.Loop() {
					m := measure(n)
					for i, v := range append(m[:], m[2]/m[0], m[3]/m[1]) {
						all[i] = append(all[i], v)
					}
				}
				for i, unit := range []string{"gate_p50_µs", "gate_p99_µs", "forward_p50_µs", "forward_p99_µs", "p50_ratio", "p99_ratio"} {
					slices.Sort(all[i])
					b.ReportMetric(all[i][len(all[i])/2], unit)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkForwardMemory shows that a partner that is down costs the gateway no
// memory, however much waits for it: an outbox of 64 MiB is filled, and then as much
// again, which drops the oldest.
func BenchmarkForwardMemory(b *testing.B) {
	for _, engine := range forwardEngines {
		b.Run(engine.name, func(b *testing.B) {
			f := startForwardBench(b, engine.start, "batch 100 1s\n\t\t\t\tbound 64MiB drop_oldest", true)
			f.lines("/forward/v1", 4, 8)
			empty := heap(true)
			var peak atomic.Uint64
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						peak.Store(max(peak.Load(), heap(false)))
					case <-stop:
						return
					}
				}
			}()
			const requests = 2 * (64 << 20) / (perBenchRequest * 900)
			for b.Loop() {
				f.lines("/forward/v1", 4, requests)
			}
			close(stop)
			<-done
			const mib = 1 << 20
			b.ReportMetric(float64(empty)/mib, "heap_before_MiB")
			b.ReportMetric(float64(peak.Load())/mib, "heap_peak_MiB")
			b.ReportMetric(float64(heap(true))/mib, "heap_after_MiB")
			b.ReportMetric(float64(f.size())/mib, "engine_MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// heap is what is in use, of what is garbage or not.
func heap(collected bool) uint64 {
	if collected {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// perBenchRequest is how many lines a request has.
const perBenchRequest = 100

// benchBid is a bid request of about 1 KB.
func benchBid(user, n int) string {
	return fmt.Sprintf(`{"user_id":"u-%d","id":"%08d","at":2,"tmax":120,"cur":["CNY"],"imp":[{"id":"1","tagid":"home-feed-3","bidfloor":12.5,"bidfloorcur":"CNY","secure":1,"banner":{"w":640,"h":320,"pos":1,"mimes":["image/jpeg","image/png","image/webp"],"api":[3,5,6],"format":[{"w":640,"h":320},{"w":320,"h":160},{"w":300,"h":250}]},"ext":{"data":{"slot":"feed","row":3},"note":"%s"}}],"app":{"id":"com.example.chat","bundle":"com.example.chat","name":"chat","ver":"6.1.%d","cat":["IAB14"]},"device":{"oaid":"9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d%04d","imei":"`+canaryIMEI+`","make":"Google","model":"Pixel 8","os":"Android","osv":"14","ip":"198.51.100.%d","ua":"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36","connectiontype":2,"geo":{"lat":23.10662,"lon":113.32446,"accuracy":20}},"bcat":["IAB25","IAB26"],"badv":["example.com"]}`,
		user, n, strings.Repeat("x", 80), n%10, user, user%250)
}

// runForwardPeer is the process that is client, upstream and partner. It begins with
// the addresses of the latter two, and ends when its input does.
func runForwardPeer(in io.Reader, out io.Writer) error {
	var records, delay atomic.Int64
	upstream, err := answering(func([]byte) { time.Sleep(time.Duration(delay.Load())) })
	if err != nil {
		return err
	}
	partner, err := answering(func(body []byte) { records.Add(int64(bytes.Count(body, []byte("\n")))) })
	if err != nil {
		return err
	}
	fmt.Fprintln(out, upstream, partner)
	clients := map[string][]*bufio.ReadWriter{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		number := func(i int) (n int) {
			_, err = fmt.Sscan(words[i], &n)
			return n
		}
		switch words[0] {
		case "arrived":
			fmt.Fprintln(out, records.Load())
		case "upstream":
			delay.Store(int64(number(1)))
			fmt.Fprintln(out, "ok")
		case "lines":
			if err = sendLines(clients, words[1], words[2], number(3), number(4)); err == nil {
				fmt.Fprintln(out, "sent")
			}
		case "time":
			var quantiles string
			if quantiles, err = sendTimed(words[1], words[4:], number(2), number(3)); err == nil {
				fmt.Fprintln(out, quantiles)
			}
		default:
			err = fmt.Errorf("no command: %s", words[0])
		}
		if err != nil {
			return err
		}
	}
	return lines.Err()
}
