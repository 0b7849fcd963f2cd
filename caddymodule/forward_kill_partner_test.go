package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// partnerMode is what a partner does when it is not well.
type partnerMode string

const (
	partnerWell     partnerMode = "well"
	partnerDown     partnerMode = "down"             // nobody listens
	partnerSlow     partnerMode = "slow"             // it reads, and does not answer in time
	partnerResets   partnerMode = "resets"           // its connection ends amid a 200
	partnerBusy     partnerMode = "429"              // with Retry-After
	partnerErrs     partnerMode = "500"              // and takes nothing
	partnerBabbles  partnerMode = "garbage"          // no HTTP
	partnerHangsUp  partnerMode = "hangs up"         // before it has read the body
	partnerMoved    partnerMode = "302"              // to somewhere else, where nobody is
	partnerRenounce partnerMode = "503, Retry-After" // as proxies do
)

// partnerFaults are those that a test lets it have.
var partnerFaults = []partnerMode{
	partnerDown, partnerSlow, partnerResets, partnerBusy, partnerErrs, partnerBabbles, partnerHangsUp, partnerMoved, partnerRenounce,
}

// frailPartner is an ad partner with all that may be wrong with one. It keeps what
// it was promised: that whoever repeats a record repeats its key and its body, and
// that those of one subject come in order.
type frailPartner struct {
	Addr string
	t    *testing.T
	srv  *http.Server // nil: it is down

	mu     sync.Mutex
	mode   partnerMode
	met    map[partnerMode]int // POSTs in each mode
	lines  map[string]string   // by key: the record as it came first
	keys   map[string]string   // by the record's id: its key
	next   map[string]int      // by subject: the number that is due
	ids    map[string]string   // by subject: its pseudonym
	bodies map[string]string   // by Idempotency-Key: the POST
	taken  map[string]bool     // ids of records whose POST was answered 2xx
	wrong  map[string]int      // what should not have been
	repeat struct{ records, posts int }
}

func startFrailPartner(t *testing.T) *frailPartner {
	p := &frailPartner{
		t: t, mode: partnerWell, met: map[partnerMode]int{}, lines: map[string]string{}, keys: map[string]string{}, next: map[string]int{},
		ids: map[string]string{}, bodies: map[string]string{}, taken: map[string]bool{}, wrong: map[string]int{},
	}
	p.up()
	t.Cleanup(p.down)
	return p
}

// up listens, always on the same address. That is none from which connections are
// made, so that nobody has taken its port meanwhile.
func (p *frailPartner) up() {
	p.t.Helper()
	if p.srv != nil {
		return
	}
	at := p.Addr
	if at == "" {
		at = "127.0.0.2:0"
	}
	ln, err := net.Listen("tcp", at)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Addr = ln.Addr().String()
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	p.srv = srv
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			p.amiss("the partner: " + err.Error())
		}
	}()
}

func (p *frailPartner) down() {
	if p.srv != nil {
		_ = p.srv.Close()
		p.srv = nil
	}
}

// becomes sets what it does from now on.
func (p *frailPartner) becomes(m partnerMode) {
	p.mu.Lock()
	p.mode = m
	p.mu.Unlock()
	if m == partnerDown {
		p.down()
	} else {
		p.up()
	}
}

// posts is how many POSTs have come in a mode.
func (p *frailPartner) posts(m partnerMode) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met[m]
}

// records is how many records it has taken.
func (p *frailPartner) records() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken)
}

// amiss notes what should not have been.
func (p *frailPartner) amiss(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong[what]++
}

func (p *frailPartner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	mode := p.mode
	p.met[mode]++
	p.mu.Unlock()
	if mode == partnerHangsUp {
		hangUp(w, "")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it is gone
	}
	p.got(r.Header.Get("Idempotency-Key"), body, mode == partnerWell)
	switch mode {
	case partnerSlow:
		<-r.Context().Done()
	case partnerResets:
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
	case partnerBabbles:
		hangUp(w, "\x16\x03 no HTTP at all\r\n\r\n")
	case partnerBusy, partnerRenounce:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(map[partnerMode]int{partnerBusy: 429, partnerRenounce: 503}[mode])
	case partnerErrs:
		w.WriteHeader(http.StatusInternalServerError)
	case partnerMoved:
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusFound)
	}
}

// hangUp writes to the connection and resets it.
func hangUp(w http.ResponseWriter, last string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_, _ = io.WriteString(conn, last)
}

// got looks at what a POST has brought. taken says that it will be answered 2xx.
func (p *frailPartner) got(key string, body []byte, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, again := p.bodies[key]; again {
		p.repeat.posts++
		if before != string(body) {
			p.wrong["a POST came again with another body"]++
		}
	}
	p.bodies[key] = string(body)
	for _, secret := range []string{killCanary, canaryIMEI, canaryIP} {
		if bytes.Contains(body, []byte(secret)) || strings.Contains(key, secret) {
			p.wrong["arrived: "+secret]++
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		p.record(lines.Text(), taken)
	}
}

func (p *frailPartner) record(line string, taken bool) {
	var r struct {
		ID     string
		Record struct {
			ID     string
			Device struct{ OAID, Model string }
		}
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.ID == "" {
		p.wrong["a line is no record with its key: "+line]++
		return
	}
	id := r.Record.ID
	var subject string
	var n int
	who, number, _ := strings.Cut(id, "-")
	subject = who
	if _, err := fmt.Sscan(number, &n); err != nil || !strings.HasPrefix(who, "s") || r.Record.Device.OAID == "" || r.Record.Device.Model != "Pixel" {
		p.wrong["nobody who may be here: "+line]++
		return
	}
	if before, again := p.keys[id]; !again {
		p.keys[id] = r.ID
		if due := p.next[subject]; n != due {
			p.wrong[fmt.Sprintf("out of order: %s came when %d was due", id, due)]++
		}
		p.next[subject] = n + 1
	} else {
		p.repeat.records++
		if before != r.ID {
			p.wrong["a record came again with another key: "+id]++
		}
	}
	if before, again := p.lines[r.ID]; !again {
		p.lines[r.ID] = line
	} else if before != line {
		p.wrong["two records have one key: "+before+" and "+line]++
	}
	if before, again := p.ids[subject]; !again {
		p.ids[subject] = r.Record.Device.OAID
	} else if before != r.Record.Device.OAID {
		p.wrong["one person has two pseudonyms"]++
	}
	if taken {
		p.taken[id] = true
	}
}
