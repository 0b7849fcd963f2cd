package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

const (
	killWorkers = 6
	killPeople  = 4  // of each worker
	killStep    = 40 // records that are accepted between two events, at least
	killPace    = 3 * time.Millisecond
)

// killSeed, when set, repeats a run's choices.
const killSeed = "CONSENT_TEST_KILL_SEED"

// killLease, when set, is how long a gateway's leases in Redis outlive it.
const killLease = "CONSENT_TEST_LEASE"

func init() {
	if life, err := time.ParseDuration(os.Getenv(killLease)); err == nil {
		outboxOptions.LeaseLife, outboxOptions.LeaseRetry = life, life/10
	}
}

// A record whose request was answered 2xx arrives, whatever becomes of the partner, the
// gateway and Redis meanwhile. Whatever comes again is what came before, the records
// of each subject come in order, and nothing comes that may not.
func TestForwardThroughKills(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		k := startKill(t, 1, "store embedded "+t.TempDir())
		k.run(map[string]func(){
			"kill":       func() { k.gateways[0].kill(); k.gateways[0].start() },
			"kill again": func() { k.gateways[0].kill(); k.gateways[0].start(); k.gateways[0].kill(); k.gateways[0].start() },
		})
	})
	t.Run("redis", func(t *testing.T) {
		r := redistest.Start(t)
		k := startKill(t, 2, "store redis {\n\t\t\taddress "+r.Addr+"\n\t\t}")
		refused := func() { k.grows("a request is refused", k.load.refused.Load, 1) }
		k.run(map[string]func(){
			"kill one":        func() { k.gateways[0].kill(); k.moves(); k.gateways[0].start() },
			"kill the other":  func() { k.gateways[1].kill(); k.moves(); k.gateways[1].start() },
			"kill both":       func() { k.gateways[0].kill(); k.gateways[1].kill(); k.gateways[0].start(); k.gateways[1].start() },
			"redis dies":      func() { r.Stop(); refused(); r.Restart() },
			"redis stops":     func() { r.Pause(); refused(); r.Resume() },
			"redis blinks":    r.Restart,
			"all of it dies":  func() { r.Stop(); k.gateways[1].kill(); r.Restart(); k.gateways[1].start() },
			"a kill in a gap": func() { r.Pause(); k.gateways[0].kill(); refused(); r.Resume(); k.gateways[0].start() },
		})
	})
}

// kill is one such run.
type kill struct {
	t        *testing.T
	rng      *rand.Rand
	partner  *frailPartner
	gateways []*killGateway
	load     *killLoad
}

func startKill(t *testing.T, gateways int, store string) *kill {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(killSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", killSeed, seed)
	k := &kill{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), partner: startFrailPartner(t),
		load: &killLoad{client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: killWorkers}}, stop: make(chan struct{}), sent: map[string]bool{}, wrong: map[string]int{}},
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(upstream.Close)
	t.Cleanup(k.load.client.CloseIdleConnections)
	for range gateways {
		ln, err := net.Listen("tcp", "127.0.0.3:0") // see frailPartner.up
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		ln.Close()
		config := strings.NewReplacer("@ADDR@", addr, "@STORE@", store, "@UPSTREAM@", strings.TrimPrefix(upstream.URL, "http://"), "@PARTNER@", k.partner.Addr).Replace(killCaddyfile)
		g := &killGateway{t: t, addr: addr, config: configFile(t, "Caddyfile", config)}
		t.Cleanup(g.kill)
		g.start()
		k.gateways = append(k.gateways, g)
		k.load.gateways = append(k.load.gateways, addr)
	}
	return k
}

const killCaddyfile = `{
	admin off
	consent {
		policy liaoxiaobang
		secret 0123456789abcdef0123456789abcdef
		@STORE@
	}
	log {
		format consent
	}
}
http://@ADDR@ {
	handle /consent/* {
		consent_api {
			token ` + fixtureToken + `
		}
	}
	handle /records/* {
		consent_gate backend {
			subject json user_id
			forward adx http://@PARTNER@/events {
				record_ids off
				keyed
				batch 50 20ms
				timeout 500ms
				retry 10ms 200ms
				breaker 5 200ms
			}
		}
		reverse_proxy @UPSTREAM@
	}
	handle /batches/* {
		consent_gate backend {
			subject json user_id
			records batch
			forward adx http://@PARTNER@/events {
				record_ids off
				keyed
				batch 50 20ms
				timeout 500ms
				retry 10ms 200ms
				breaker 5 200ms
			}
		}
		reverse_proxy @UPSTREAM@
	}
}
`

// run lets people send while one thing after the other fails: the partner in each way
// that it has, and amid that one of the events. Then all is well again, and what
// arrived is compared with what was accepted.
func (k *kill) run(events map[string]func()) {
	t := k.t
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for w := range killWorkers {
		var people []*killPerson
		for i := range killPeople {
			p := &killPerson{name: fmt.Sprintf("s%d", w*killPeople+i), user: fmt.Sprintf("%s-%d-%d", killCanary, w, i)}
			k.gateways[0].consents(p.user)
			people = append(people, p)
		}
		rng := rand.New(rand.NewPCG(k.rng.Uint64(), uint64(w)))
		work.Go(func() { k.load.work(ctx, w, people, rng) })
	}
	names := slices.Sorted(maps.Keys(events))
	begun := time.Now()
	for i, n := range k.rng.Perm(len(partnerFaults)) {
		if i%len(names) == 0 {
			k.rng.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
		}
		mode, event := partnerFaults[n], names[i%len(names)]
		k.moves()
		k.partner.becomes(mode)
		if mode != partnerDown && k.rng.IntN(2) == 0 {
			k.met(mode, 1)
		}
		k.moves()
		events[event]()
		k.moves()
		if mode != partnerDown {
			k.met(mode, 2)
		}
		k.partner.becomes(partnerWell)
		k.grows("the partner takes records again", func() int64 { return int64(k.partner.records()) }, 1)
		t.Logf("%5.1f s: partner %s, %s: %d accepted, %d taken", time.Since(begun).Seconds(), mode, event, k.load.accepted.Load(), k.partner.records())
	}
	close(k.load.stop)
	work.Wait()
	k.check()
}

// moves waits until some more records were accepted.
func (k *kill) moves() {
	k.t.Helper()
	k.grows("records are accepted", k.load.accepted.Load, killStep+k.rng.Int64N(killStep))
}

func (k *kill) met(m partnerMode, n int64) {
	k.t.Helper()
	k.grows("the partner is met: "+string(m), func() int64 { return int64(k.partner.posts(m)) }, n)
}

// grows waits until a count has grown.
func (k *kill) grows(what string, count func() int64, by int64) {
	k.t.Helper()
	from := count()
	eventually(k.t, what, func() bool { return count() >= from+by })
}

// check waits until nothing is left to send, and compares.
func (k *kill) check() {
	t := k.t
	eventually(t, "nothing waits any more", func() bool { return k.gateways[0].waiting() == 0 })
	k.load.mu.Lock()
	defer k.load.mu.Unlock()
	k.partner.mu.Lock()
	defer k.partner.mu.Unlock()
	lost := 0
	for id := range k.load.sent {
		if !k.partner.taken[id] {
			if lost++; lost <= 5 {
				t.Errorf("%s was accepted and has not arrived", id)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d records were lost", lost, len(k.load.sent))
	}
	for _, wrong := range []map[string]int{k.load.wrong, k.partner.wrong} {
		told := 0
		for what, n := range wrong {
			if told++; told <= 10 {
				t.Errorf("%d times: %s", n, what)
			}
		}
	}
	t.Logf("%d records accepted, %d arrived; %d requests refused, %d broken off; %d records and %d POSTs came again",
		len(k.load.sent), len(k.partner.taken), k.load.refused.Load(), k.load.broken.Load(), k.partner.repeat.records, k.partner.repeat.posts)
	if len(k.partner.taken) < killStep*len(partnerFaults) || k.load.broken.Load() == 0 || k.partner.repeat.records == 0 || k.partner.repeat.posts == 0 {
		t.Error("too little of it happened for this to mean anything")
	}
	for _, g := range k.gateways {
		g.checkLog()
	}
}

// killGateway is the program, in a process of its own.
type killGateway struct {
	t            *testing.T
	addr, config string
	cmd          *exec.Cmd
	log          logBuffer
}

// start starts it, and waits until it serves.
func (g *killGateway) start() {
	g.t.Helper()
	cmd := programCommand(g.t, "run", "--config", g.config, "--adapter", "caddyfile")
	cmd.Env = append(cmd.Env, killLease+"=1500ms")
	cmd.Stdout, cmd.Stderr = &g.log, &g.log
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.cmd = cmd
	// Caddy serves before all of its apps have started; what needs them is refused
	// until then.
	eventually(g.t, "the gateway serves", func() bool { return g.waiting() >= 0 })
}

// kill ends it with SIGKILL.
func (g *killGateway) kill() {
	if g.cmd == nil {
		return
	}
	if err := g.cmd.Process.Kill(); err != nil {
		g.t.Errorf("the gateway had ended by itself: %v\n%s", err, g.log.String())
	}
	_ = g.cmd.Wait() // it was killed, and that is its error
	g.cmd = nil
}

// call calls its API. It returns 0 where nobody answers.
func (g *killGateway) call(method, path, body string, into any) int {
	req, err := http.NewRequest(method, "http://"+g.addr+"/consent/v1/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+fixtureToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	if into != nil {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			return 0
		}
	}
	return res.StatusCode
}

// consents records that a user accepts the policy and ads.
func (g *killGateway) consents(user string) {
	g.t.Helper()
	event := fmt.Sprintf(`{"subject":%q,"kind":"user","policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"ads.personalise","recipient":"adx","status":"granted"}]}`, user)
	if status := g.call("POST", "events", event, nil); status != http.StatusCreated {
		g.t.Fatalf("%d\n%s", status, g.log.String())
	}
}

// waiting is how many records wait in the outbox; -1 where it cannot be asked.
func (g *killGateway) waiting() int64 {
	var view struct {
		Partners []struct{ Records, Dead int64 }
	}
	if g.call("GET", "outbox", "", &view) != http.StatusOK || len(view.Partners) != 1 {
		return -1
	}
	if dead := view.Partners[0].Dead; dead > 0 {
		g.t.Fatalf("%d records are dead", dead)
	}
	return view.Partners[0].Records
}

// checkLog checks that it has not crashed, raced or told anything.
func (g *killGateway) checkLog() {
	log := g.log.String()
	for _, word := range []string{"panic", "DATA RACE", "fatal error", killCanary, canaryIMEI, canaryIP} {
		if at := strings.Index(log, word); at >= 0 {
			g.t.Errorf("a gateway's log has %q: …%s…", word, log[max(0, at-200):min(len(log), at+2000)])
		}
	}
}

// A client that repeats a request repeats the keys of its records, and each of them
// has its own: two lines, or two elements, of one person are two records.
func TestForwardKeysWithinARequest(t *testing.T) {
	for _, tt := range []struct{ contentType, body string }{
		{"application/x-ndjson", bid("1", "") + "\n" + bid("2", "") + "\n" + bid("3", "") + "\n"},
		{"application/x-ndjson", `{"batch":[` + bid("1", "") + "," + bid("2", "") + "]}\n" + `{"batch":[` + bid("3", "") + "]}\n"},
		{"application/json", `{"batch":[` + bid("1", "") + "," + bid("2", "") + "," + bid("3", "") + "]}"},
	} {
		p := startPartner(t)
		inside := ""
		if strings.Contains(tt.body, "batch") {
			inside = "records batch"
		}
		s := startForwarding(t, p, forwarding(embedded, inside, "keyed"))
		s.accept(t, "u1")
		for range 2 {
			if r := s.do("POST", "/v1/a", tt.body, "Content-Type", tt.contentType, "X-User-ID", "u1", "Idempotency-Key", "k"); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
		}
		ids := map[string]string{}
		for _, one := range p.records(t, 6) {
			var r struct {
				ID     string
				Record struct{ ID string }
			}
			if err := json.Unmarshal([]byte(one), &r); err != nil {
				t.Fatal(err)
			}
			if before, again := ids[r.ID]; again && before != r.Record.ID {
				t.Errorf("%s: records %s and %s have one key", tt.contentType, before, r.Record.ID)
			}
			ids[r.ID] = r.Record.ID
		}
		if len(ids) != 3 {
			t.Errorf("%s: of 3 records, sent twice, there are %d keys", tt.contentType, len(ids))
		}
	}
}
