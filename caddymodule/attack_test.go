package caddymodule

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/attack"
)

const (
	attackToken = "attack-token-0123456789abcdef-0123456789"
	attackSeed  = 20260115
)

// attackCaddyfile is a gate of each kind that the cases are sent to, all of
// them in one mode.
func attackCaddyfile(mode string) string {
	var b strings.Builder
	b.WriteString(`{
	consent {
		policy liaoxiaobang
		store embedded @DATA@/consent
	}
	log {
		format consent
	}
}
http://:@PORT@ {
	log {
		format consent
	}
	handle /consent/* {
		consent_api {
			token ` + attackToken + `
		}
	}
`)
	for _, route := range []struct{ path, rest string }{
		{"/v1/*", "subject {http.request.header.X-User-ID}\ndevice {http.request.header.X-Install-ID}\npath /v1/users/{account.id}/*"},
		{"/batch/*", "subject json userId\nrecords batch"},
		{"/root/*", "subject json userId\nrecords ."},
		{"/many/*", "subject json userId"},
		{"/small/*", "subject {http.request.header.X-User-ID}\nmax_body 4096"},
	} {
		fmt.Fprintf(&b, "handle %s {\nconsent_gate backend {\nmode %s\n%s\n}\nreverse_proxy @UPSTREAM@\n}\n", route.path, mode, route.rest)
	}
	b.WriteString("}\n")
	return b.String()
}

// startAttack starts a Caddy under attack, with the two people whom its store
// knows and the upstream that the cases are to reach.
func startAttack(t *testing.T, mode string) (*server, *target) {
	t.Helper()
	up := startTarget(t)
	s := startCaddy(t, strings.ReplaceAll(attackCaddyfile(mode), "@UPSTREAM@", up.addr))
	s.attackPeople(t, attackToken)
	testLogs.reset()
	return s, up
}

// attackPeople has the store know the two people of the attacks.
func (s *server) attackPeople(t *testing.T, token string) {
	t.Helper()
	event := func(body string) {
		t.Helper()
		r := s.do("POST", "/consent/v1/events", body, "Authorization", "Bearer "+token, "Content-Type", "application/json")
		if r.Status != http.StatusCreated {
			t.Fatalf("the event was answered with %d: %s", r.Status, r.Body)
		}
	}
	answers := func(status string, purposes ...string) string {
		var g []string
		for _, p := range purposes {
			g = append(g, fmt.Sprintf(`{"purpose":%q,"status":%q}`, p, status))
		}
		return "[" + strings.Join(g, ",") + "]"
	}
	asked := []string{"account.profile", "media.capture", "media.geotag", "contacts.match", "account.security", "intake.third_party"}
	needed := []string{"service.account", "service.operate", "message.send", "media.voice", "post.publish"}
	event(`{"subject":"` + attack.GrantedID + `","kind":"user","policy_version":"2022-03-09","accept_policy":true,"grants":` + answers("granted", asked...) + `}`)
	event(`{"subject":"` + attack.DeniedID + `","kind":"user","policy_version":"2022-03-09","accept_policy":true,"grants":` + answers("denied", append(asked, needed...)...) + `}`)
}

// target is the upstream of the attacks. Connections stay open, and requests
// are kept by the case that they are of.
type target struct {
	addr string
	mu   sync.Mutex
	got  map[string][]*attack.Arrived // by the case's header; "" where there is none
}

func startTarget(t *testing.T) *target {
	t.Helper()
	u := &target{got: map[string][]*attack.Arrived{}}
	u.addr = listen(t, u.serve)
	return u
}

func (u *target) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		raw.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			if raw.Len() > 0 {
				u.keep("", &attack.Arrived{Raw: bytes.Clone(raw.Bytes())})
			}
			return
		}
		body, err := io.ReadAll(req.Body)
		u.keep(req.Header.Get(attack.CaseHeader), &attack.Arrived{
			Raw: bytes.Clone(raw.Bytes()), Target: req.RequestURI, Header: req.Header, Body: body, Trailer: req.Trailer, Cut: err != nil,
		})
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"); err != nil {
			return
		}
	}
}

func (u *target) keep(id string, a *attack.Arrived) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got[id] = append(u.got[id], a)
}

// take returns what has arrived of a case, and forgets it.
func (u *target) take(id string) []*attack.Arrived {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.got[id]
	delete(u.got, id)
	return got
}

// client sends cases over a connection that it keeps.
type client struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// send returns the status of the answer and all of it, 0 where there is none.
func (c *client) send(k *attack.Case) (status int, answer []byte, err error) {
	fresh := c.conn == nil
	status, answer, err = c.try(k)
	if err != nil && !fresh {
		c.close() // the server may have closed it meanwhile
		status, answer, err = c.try(k)
	}
	if err != nil || k.Hostile != "" {
		c.close()
	}
	return status, answer, err
}

func (c *client) try(k *attack.Case) (int, []byte, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return 0, nil, err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	wait := 20 * time.Second
	if k.Hostile != "" {
		wait = 500 * time.Millisecond // some of them have no end that the gate could wait for
	}
	if err := c.conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return 0, nil, err
	}
	_, writeErr := c.conn.Write(k.Wire()) // an answer may come before all is written
	for {
		res, err := http.ReadResponse(c.r, &http.Request{Method: k.Method})
		if err != nil {
			return 0, nil, errors.Join(err, writeErr)
		}
		if res.StatusCode == http.StatusContinue {
			continue
		}
		var all bytes.Buffer
		_ = res.Header.Write(&all)
		if res.StatusCode/100 != 2 || k.Method != http.MethodConnect {
			if _, err := io.Copy(&all, res.Body); err != nil {
				return 0, nil, err
			}
		}
		_ = res.Body.Close()
		if res.Close {
			c.close()
		}
		return res.StatusCode, all.Bytes(), nil
	}
}

// finding is a case in which the gate was wrong.
type finding struct {
	kind string // one of gravity
	k    *attack.Case
	text string
	got  []byte
}

// gravity is the kinds of findings, the gravest first: what arrived and must
// not; what was refused and sent on; what a log or an answer holds; honest
// requests refused; honest requests that lost something. The last is none of
// the gate: a canary that arrived and was not seen.
var gravity = []string{"leak", "forwarded", "log", "answer", "refused", "missing", "unseen"}

// campaign is what came of many cases.
type campaign struct {
	sent, arrived, refused, honest, failed atomic.Int64
	leaky                                  atomic.Int64 // cases that arrived with what must not
	due                                    atomic.Int64 // cases that arrived and held what must not

	mu       sync.Mutex
	findings []finding
	statuses map[int]int
}

func (p *campaign) find(f finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.findings = append(p.findings, f)
}

// judge sends a case and says what is wrong with what came of it.
func (p *campaign) judge(c *client, up *target, k *attack.Case) {
	status, answer, err := c.send(k)
	got := up.take("c" + strconv.FormatUint(k.Index, 10))
	p.sent.Add(1)
	p.mu.Lock()
	p.statuses[status]++
	p.mu.Unlock()
	if err != nil {
		p.failed.Add(1)
		if k.Honest {
			p.find(finding{"refused", k, "no answer: " + err.Error(), nil})
		}
	}
	if k.Honest {
		p.honest.Add(1)
	}
	if status/100 != 2 {
		p.refused.Add(1)
		if k.Honest && err == nil {
			p.find(finding{"refused", k, fmt.Sprintf("an honest request was answered with %d: %s", status, answer), nil})
		}
		for _, a := range got {
			if k.Envelope != "none" && len(a.Body) == 0 && status >= 500 {
				continue // cut short before anything of it went
			}
			if status/100 == 4 {
				p.find(finding{"forwarded", k, fmt.Sprintf("answered with %d, and forwarded", status), a.Raw})
			}
		}
	}
	if status/100 != 2 || k.Subject != attack.Granted {
		for _, f := range k.AuditText("answer", answer) {
			p.find(finding{"answer", k, fmt.Sprintf("the answer holds %s (%s)", f.Canary.Value, f.In), answer})
		}
	}
	for _, a := range got {
		p.arrived.Add(1)
		found := k.Audit(a)
		due := !k.Swallowed && !a.Cut && slices.ContainsFunc(k.Canaries, func(c attack.Canary) bool { return c.Gone })
		if due {
			p.due.Add(1)
		}
		if len(found) > 0 && due {
			p.leaky.Add(1)
		} else if due {
			p.find(finding{"unseen", k, "arrived, and nothing was seen", a.Raw})
		}
		for _, f := range found {
			p.find(finding{"leak", k, fmt.Sprintf("%s %s arrived, seen in %s", f.Canary.Item, f.Canary.Value, f.In), a.Raw})
		}
		if len(found) > 0 || status/100 != 2 {
			continue
		}
		if err := k.Missing(a); err != nil {
			p.find(finding{"missing", k, err.Error(), a.Raw})
		}
	}
}

// run sends the cases from first on, n of them, and looks at the logs and at
// what reached the upstream of its own accord.
func (p *campaign) run(s *server, up *target, seed, first, n uint64) {
	const round = 2000
	for ; n > 0; first, n = first+round, n-min(n, round) {
		cases := make([]*attack.Case, min(n, round))
		var at atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c := &client{addr: s.Addr}
				defer c.close()
				for {
					i := int(at.Add(1)) - 1
					if i >= len(cases) {
						return
					}
					cases[i] = attack.New(seed, first+uint64(i))
					p.judge(c, up, cases[i])
				}
			})
		}
		wg.Wait()
		dragnet := attack.NewDragnet(cases)
		for _, hit := range dragnet.Search([]byte(testLogs.String())) {
			p.find(finding{"log", hit.Case, "the logs hold " + hit.Canary.Value, nil})
		}
		testLogs.reset()
		up.mu.Lock()
		rest := up.got
		up.got = map[string][]*attack.Arrived{}
		up.mu.Unlock()
		for _, as := range rest {
			for _, a := range as {
				for _, hit := range dragnet.Search(a.Raw) {
					if hit.Canary.Gone {
						p.find(finding{"leak", hit.Case, "arrived in a request of its own: " + hit.Canary.Value, a.Raw})
					}
				}
			}
		}
	}
}

// report prints the findings, alike ones as one.
func (p *campaign) report(t *testing.T) {
	t.Helper()
	type group struct {
		n     int
		first finding
	}
	groups := map[string]*group{}
	for _, f := range p.findings {
		key := f.kind + " | " + f.k.Hostile
		if f.k.Hostile == "" {
			key = strings.Join([]string{f.kind, f.k.Place, f.k.Wrapping, f.k.Spelling}, " | ")
		}
		if f.kind == "unseen" {
			continue
		}
		if groups[key] == nil {
			groups[key] = &group{first: f}
		}
		groups[key].n++
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		one, two := groups[a], groups[b]
		return cmp.Or(
			cmp.Compare(slices.Index(gravity, one.first.kind), slices.Index(gravity, two.first.kind)),
			cmp.Compare(two.n, one.n), cmp.Compare(a, b),
		)
	})
	for i, key := range keys {
		f := groups[key].first
		if i == 60 {
			t.Logf("and %d kinds of findings more", len(keys)-i)
			break
		}
		t.Errorf("%d × %s\n\tseed %d, index %d: %s\n\t%s\n\tsent: %s\n\tarrived: %s",
			groups[key].n, key, f.k.Seed, f.k.Index, f.k.Label(), f.text, clip(f.k.Wire()), clip(f.got))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logf("%d sent, %d arrived, %d refused, %d without an answer, %d honest; answers: %v", p.sent.Load(), p.arrived.Load(), p.refused.Load(), p.failed.Load(), p.honest.Load(), p.statuses)
}

func clip(b []byte) string {
	const most = 1200
	if len(b) > most {
		return fmt.Sprintf("%q… (%d bytes)", b[:most], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// attackSample says which attacks are sent: usual of them, unless somebody asks
// for others.
func attackSample(t *testing.T, usual uint64) (n, seed, first uint64) {
	t.Helper()
	n, seed = usual, attackSeed
	for name, to := range map[string]*uint64{"CONSENT_ATTACKS": &n, "CONSENT_ATTACK_SEED": &seed, "CONSENT_ATTACK_FIRST": &first} {
		if text := os.Getenv(name); text != "" {
			v, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatalf("%s is no number: %q", name, text)
			}
			*to = v
		}
	}
	return n, seed, first
}

// TestAttacks sends attacks through a gate and looks for what they carry at
// the far end. CONSENT_ATTACKS says how many, CONSENT_ATTACK_SEED which ones,
// CONSENT_ATTACK_FIRST from which on.
func TestAttacks(t *testing.T) {
	n, seed, first := attackSample(t, attackCases)
	s, up := startAttack(t, "enforce")
	p := &campaign{statuses: map[int]int{}}
	start := time.Now()
	p.run(s, up, seed, first, n)
	p.report(t)
	t.Logf("%.0f cases/s", float64(n)/time.Since(start).Seconds())
	if arrived := p.arrived.Load(); arrived < int64(n)/2 {
		t.Errorf("only %d of %d arrived: what does not arrive proves nothing", arrived, n)
	}
}

// TestAttacksAreSeenWithoutAGate: a gate that only observes lets all of it
// pass, and the audit must see all of it.
func TestAttacksAreSeenWithoutAGate(t *testing.T) {
	s, up := startAttack(t, "observe")
	p := &campaign{statuses: map[int]int{}}
	p.run(s, up, attackSeed, 0, attackCases*2/5)
	seen := map[string]bool{}
	for _, f := range p.findings {
		switch f.kind {
		case "leak":
			seen[f.k.Place] = true
		case "unseen":
			switch f.k.Hostile {
			case "smuggled", "bomb":
				continue // in a request of its own, or too long to be read to its end
			}
			t.Errorf("nothing was seen in seed %d, index %d: %s\n\tsent: %s\n\tarrived: %s", f.k.Seed, f.k.Index, f.k.Label(), clip(f.k.Wire()), clip(f.got))
		}
	}
	for _, place := range attack.Places() {
		if !seen[place] {
			t.Errorf("nothing was found of what stood in %s", place)
		}
	}
	if p.leaky.Load() < attackCases/4 {
		t.Errorf("only %d requests were seen to arrive with what must not", p.leaky.Load())
	}
	t.Logf("of %d requests that arrived with what must not, %d were seen", p.due.Load(), p.leaky.Load())
}
