package caddymodule

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// partnerStub is an ad partner. It keeps what arrives.
type partnerStub struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	posts  []delivered
	answer func(n int, w http.ResponseWriter) bool // nil, or true: 200
	check  func(record string)                     // nil, or called for each as it arrives
}

// delivered is one POST that a partner has got.
type delivered struct {
	Header  http.Header
	Key     string
	Records []string
	Raw     []byte
}

func startPartner(t *testing.T) *partnerStub {
	p := &partnerStub{t: t}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *partnerStub) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(z)
		}
	}
	if err != nil {
		return // it broke off
	}
	got := delivered{Header: r.Header.Clone(), Key: r.Header.Get("Idempotency-Key"), Raw: body}
	switch r.Header.Get("Content-Type") {
	case "application/x-ndjson":
		lines := bufio.NewScanner(bytes.NewReader(body))
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			got.Records = append(got.Records, lines.Text())
		}
	default:
		var all []json.RawMessage
		if json.Unmarshal(body, &all) != nil {
			all = []json.RawMessage{body}
		}
		for _, one := range all {
			got.Records = append(got.Records, string(one))
		}
	}
	p.mu.Lock()
	n := len(p.posts)
	p.posts = append(p.posts, got)
	answer, check := p.answer, p.check
	p.mu.Unlock()
	for _, r := range got.Records {
		if check != nil {
			check(r)
		}
	}
	if answer != nil && !answer(n, w) {
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// got returns what has arrived.
func (p *partnerStub) got() []delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]delivered(nil), p.posts...)
}

// records waits until n records have arrived, and returns them.
func (p *partnerStub) records(t *testing.T, n int) (all []string) {
	t.Helper()
	eventually(t, "the records arrive", func() bool {
		all = nil
		for _, got := range p.got() {
			all = append(all, got.Records...)
		}
		return len(all) >= n
	})
	return all
}

// forwarding is a Caddyfile whose gate forwards to adx, and leaves the ids of
// records, by which tests know them.
func forwarding(store, inside, block string) string {
	return gateCaddyfile(store, "backend", inside+"\n\t\t\tforward adx @PARTNER@/events {\n\t\t\t\tbatch 100 50ms\n\t\t\t\trecord_ids off\n\t\t\t\t"+block+"\n\t\t\t}", metricsRoute)
}

func startForwarding(t *testing.T, p *partnerStub, caddyfile string) *server {
	t.Helper()
	return startCaddy(t, strings.ReplaceAll(caddyfile, "@PARTNER@", p.URL))
}

const bidRequest = `{"id":"r1","imp":[{"id":"1"}],"device":{"imei":"` + canaryIMEI + `","model":"Pixel","ip":"198.51.100.77","geo":{"lat":23.10662,"lon":113.32446}},"note":"to nobody"}`

func TestForward(t *testing.T) {
	for name, store := range map[string]func(*testing.T) string{"embedded": func(*testing.T) string { return embedded }, "redis": redisForTest} {
		t.Run(name, func(t *testing.T) {
			p := startPartner(t)
			s := startForwarding(t, p, forwarding(store(t), "", "header Authorization token-of-the-partner"))
			send := func(user string) {
				t.Helper()
				if r := s.do("POST", "/v1/bid", bidRequest, "Content-Type", "application/json", "X-User-ID", user, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); r.Status != 200 {
					t.Fatalf("%d %s", r.Status, r.Body)
				}
			}
			send("stranger")
			s.accept(t, "u1")
			send("u1")
			got := p.records(t, 1)
			if len(got) != 1 {
				t.Fatalf("of a stranger something arrived: %q", got)
			}
			first := p.got()[0]
			want := `{"id":"r1","imp":[{"id":"1"}],"device":{`
			if !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], `"model":"Pixel"`) || !strings.Contains(got[0], `"ip":"198.51.100.0"`) || !strings.Contains(got[0], `"lat":23.1,`) {
				t.Errorf("arrived: %s", got[0])
			}
			for _, secret := range []string{canaryIMEI, "198.51.100.77", "23.10662", "to nobody", `"u1"`} {
				if strings.Contains(got[0], secret) {
					t.Errorf("%s arrived: %s", secret, got[0])
				}
			}
			if first.Header.Get("Traceparent") != "" || first.Header.Get("Consent-Gate") != "" || first.Header.Get("Authorization") != "token-of-the-partner" || first.Key == "" {
				t.Errorf("headers: %v", first.Header)
			}
			if up := string(s.upstream.last(t).Body); !strings.Contains(up, canaryIMEI) || !strings.Contains(up, "198.51.100.77") {
				t.Errorf("the upstream's copy: %s", up)
			}
			s.counted(t, `consentgate_outbox_records_total{outcome="delivered",recipient="adx"} 1`, `consentgate_outbox_waiting_records{recipient="adx"} 0`,
				`consentgate_outbox_breaker{recipient="adx",state="closed"} 1`)
		})
	}
}

// redisForTest starts a Redis server and returns the store of it.
func redisForTest(t *testing.T) string {
	return "store redis {\n\t\t\taddress " + redistest.Start(t).Addr + "\n\t\t}"
}
