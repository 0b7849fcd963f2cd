package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox"
)

// bid is a bid request whose id and user tell it from others.
func bid(id, extra string) string {
	return fmt.Sprintf(`{"id":%q,"imp":[{"id":"1"}],"device":{"oaid":"9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d7b11","model":"Pixel","ip":"198.51.100.77"}%s}`, id, extra)
}

// bring sends a body as a user's, and returns the status.
func (s *server) bring(t *testing.T, user, body string, headers ...string) int {
	t.Helper()
	return s.do("POST", "/v1/bid", body, append([]string{"Content-Type", "application/json", "X-User-ID", user}, headers...)...).Status
}

// decides records an answer of a user's.
func (s *server) decides(t *testing.T, user, purpose, recipient, status string) {
	t.Helper()
	body := fmt.Sprintf(`{"subject":%q,"kind":"user","policy_version":"2022-03-09","grants":[{"purpose":%q,"status":%q}]}`, user, purpose, status)
	if recipient != "" {
		body = fmt.Sprintf(`{"subject":%q,"kind":"user","policy_version":"2022-03-09","grants":[{"purpose":%q,"recipient":%q,"status":%q}]}`, user, purpose, recipient, status)
	}
	r := s.do("POST", "/consent/v1/events", body, "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
}

// outboxCall calls the API about the outbox.
func (s *server) outboxCall(t *testing.T, method, path, body string, into any) {
	t.Helper()
	r := s.do(method, "/consent/v1/outbox"+path, body, "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	if err := json.Unmarshal(r.Body, into); err != nil {
		t.Fatal(err)
	}
}

// switched is an answer that a test changes: 0 is 204.
func switched(status *atomic.Int32) func(int, http.ResponseWriter) bool {
	return func(_ int, w http.ResponseWriter) bool {
		if n := status.Load(); n != 0 {
			w.WriteHeader(int(n))
			return false
		}
		return true
	}
}

// Consent counts when a record leaves, not when it came: what was withdrawn while
// the partner was down stays behind.
func TestForwardDecidesAgain(t *testing.T) {
	for name, store := range map[string]func(*testing.T) string{"embedded": func(*testing.T) string { return embedded }, "redis": redisForTest} {
		t.Run(name, func(t *testing.T) {
			p := startPartner(t)
			var status atomic.Int32
			status.Store(503)
			p.answer = switched(&status)
			s := startForwarding(t, p, forwarding(store(t), "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms"))
			for _, user := range []string{"keeps", "narrows", "refuses", "cancels"} {
				s.accept(t, user)
				s.decides(t, user, "ads.personalise", "adx", "granted")
				if n := s.bring(t, user, bid(user, "")); n != 200 {
					t.Fatalf("%d", n)
				}
			}
			eventually(t, "the partner has answered 503", func() bool { return len(p.got()) > 3 })
			s.decides(t, "narrows", "ads.personalise", "adx", "withdrawn")
			s.decides(t, "refuses", "ads.measure", "", "denied")
			s.decides(t, "refuses", "ads.personalise", "adx", "denied")
			if r := s.do("DELETE", "/consent/v1/subjects/cancels", "", "Authorization", "Bearer "+fixtureToken); r.Status >= 300 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			// What was on the wire when somebody withdrew has been answered by then: each
			// partition posts one batch at a time.
			before := len(p.got())
			eventually(t, "each has posted again", func() bool { return len(p.got()) > before+40 })
			p.mu.Lock()
			p.posts = nil
			p.mu.Unlock()
			status.Store(0)
			s.counted(t, `consentgate_outbox_waiting_records{recipient="adx"} 0`)
			var kept, narrowed string
			for _, one := range p.records(t, 2) {
				switch {
				case strings.Contains(one, `"keeps"`):
					kept = one
				case strings.Contains(one, `"narrows"`):
					narrowed = one
				}
				if strings.Contains(one, `"refuses"`) || strings.Contains(one, `"cancels"`) {
					t.Errorf("arrived: %s", one)
				}
			}
			if !strings.Contains(kept, `"oaid":"`) || strings.Contains(kept, "9f7a8a90") || strings.Contains(kept, `"lmt"`) {
				t.Errorf("of who keeps all granted: %s", kept)
			}
			if narrowed == "" || strings.Contains(narrowed, "oaid") || !strings.Contains(narrowed, `"lmt":1`) || !strings.Contains(narrowed, "Pixel") {
				t.Errorf("of who withdrew: %s", narrowed)
			}
		})
	}
}

// A record that came is not lost with the configuration under which it came, and
// letters that the partner would not take can be sent again.
func TestForwardAcrossReloadsAndDeadLetters(t *testing.T) {
	p := startPartner(t)
	var status atomic.Int32
	status.Store(500)
	p.answer = switched(&status)
	caddyfile := strings.ReplaceAll(forwarding(embedded, "", "retry 10ms 20ms\n\t\t\t\tkeyed"), "@PARTNER@", p.URL)
	s := startCaddy(t, caddyfile)
	s.accept(t, "u1")
	for i := range 5 {
		if n := s.bring(t, "u1", bid(fmt.Sprint(i), "")); n != 200 {
			t.Fatalf("%d", n)
		}
	}
	if err := s.reload(strings.Replace(caddyfile, "retry 10ms 20ms", "retry 15ms 20ms", 1)); err != nil {
		t.Fatal(err)
	}
	status.Store(404)
	var dead struct {
		Letters []struct {
			ID, Key string
			Status  int
			Record  json.RawMessage
		}
		Next *string
	}
	eventually(t, "the letters are dead", func() bool {
		s.outboxCall(t, "GET", "/adx/dead", "", &dead)
		return len(dead.Letters) == 5
	})
	for i, l := range dead.Letters {
		if l.Status != 404 || !strings.Contains(string(l.Record), fmt.Sprintf(`"id":"%d"`, i)) || strings.Contains(string(l.Record), "198.51.100.77") {
			t.Errorf("letter %d: %+v %s", i, l, l.Record)
		}
	}
	var page struct {
		Letters []struct{ ID string }
		Next    *string
	}
	s.outboxCall(t, "GET", "/adx/dead?limit=2&after="+dead.Letters[1].ID, "", &page)
	if len(page.Letters) != 2 || page.Letters[0].ID != dead.Letters[2].ID || page.Next == nil || *page.Next != dead.Letters[3].ID {
		t.Errorf("a page: %+v", page)
	}
	for query, want := range map[string]int{"?after=canary": 400, "?limit=1001": 400, "?limit=999": 200} {
		if r := s.do("GET", "/consent/v1/outbox/adx/dead"+query, "", "Authorization", "Bearer "+fixtureToken); r.Status != want || strings.Contains(string(r.Body), "canary") {
			t.Errorf("%s: %d %s", query, r.Status, r.Body)
		}
	}
	status.Store(0)
	p.mu.Lock()
	p.posts = nil
	p.mu.Unlock()
	var replayed struct{ Replayed int }
	s.outboxCall(t, "POST", "/adx/replay", fmt.Sprintf(`{"ids":[%q]}`, dead.Letters[0].ID), &replayed)
	if one := p.records(t, 1); replayed.Replayed != 1 || !strings.Contains(one[0], `{"id":"`+dead.Letters[0].Key+`","record":{"id":"0"`) {
		t.Errorf("%+v %q", replayed, one)
	}
	s.outboxCall(t, "POST", "/adx/replay", `{"all":true}`, &replayed)
	if replayed.Replayed != 4 {
		t.Errorf("%+v", replayed)
	}
	p.records(t, 5)
	for _, body := range []string{`{}`, `{"all":true,"ids":["1"]}`, `{"ids":[]}`} {
		if r := s.do("POST", "/consent/v1/outbox/adx/replay", body, "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json"); r.Status != 400 {
			t.Errorf("%s: %d", body, r.Status)
		}
	}
	var view struct {
		Partners []struct {
			Recipient, Full      string
			Records, Bound, Dead int64
		}
	}
	eventually(t, "nothing waits any more", func() bool {
		s.outboxCall(t, "GET", "", "", &view)
		return len(view.Partners) == 1 && view.Partners[0].Records == 0
	})
	if v := view.Partners[0]; v.Recipient != "adx" || v.Full != "refuse" || v.Bound != defaultBound || v.Dead != 0 {
		t.Errorf("%+v", v)
	}
	for path, want := range map[string]int{"/consent/v1/outbox": 401, "/consent/v1/outbox/adx/dead": 401} {
		if r := s.do("GET", path, ""); r.Status != want {
			t.Errorf("%s without a token: %d", path, r.Status)
		}
	}
	if r := s.do("GET", "/consent/v1/outbox/analytics/dead", "", "Authorization", "Bearer "+fixtureToken); r.Status != 404 {
		t.Errorf("of another: %d", r.Status)
	}
}

// A full outbox refuses, or makes room; the client hears of it.
func TestForwardWhenFull(t *testing.T) {
	for _, tt := range []struct {
		choice string
		want   int
	}{{"refuse", 503}, {"drop_oldest", 200}} {
		t.Run(tt.choice, func(t *testing.T) {
			p := startPartner(t)
			var status atomic.Int32
			status.Store(500)
			p.answer = switched(&status)
			s := startForwarding(t, p, forwarding(embedded, "", "retry 1m 1m\n\t\t\t\tbound 1MiB "+tt.choice))
			s.accept(t, "u1")
			body := func(i int) string {
				return fmt.Sprintf(`{"id":"%d","imp":[{"id":"1","ext":{"data":%q}}]}`, i, strings.Repeat("x", 30_000))
			}
			last := 0
			for i := range 8 { // one partition may hold 128 KiB
				last = s.bring(t, "u1", body(i))
			}
			if last != tt.want {
				t.Errorf("the last of them: %d", last)
			}
			if tt.choice == "drop_oldest" {
				s.counted(t, `consentgate_outbox_records_total{outcome="dropped_oldest",recipient="adx"} 4`)
				return
			}
			// While it is full a request is refused before anything of it is done.
			s.upstream.forget()
			if n := s.bring(t, "u1", body(9)); n == 200 && len(s.upstream.requests()) == 0 {
				t.Errorf("%d", n)
			} else if n == 503 && len(s.upstream.requests()) > 0 {
				t.Error("the upstream got what was refused")
			}
			// What brings no record needs no room, and neither does what goes where there is
			// some: the records of others.
			if r := s.do("GET", "/v1/bid", ""); r.Status != 200 {
				t.Errorf("without a body: %d", r.Status)
			}
			if n := s.bring(t, "stranger", body(9)); n != 200 {
				t.Errorf("of one who lets the partner have nothing: %d", n)
			}
			room := 0
			for i := range 3 * outbox.Partitions {
				user := fmt.Sprint("other-", i)
				s.accept(t, user)
				if s.bring(t, "u1", body(9)); s.bring(t, user, bid(user, "")) == 200 {
					room++
				}
			}
			if room < outbox.Partitions {
				t.Errorf("there was room for %d of %d", room, 3*outbox.Partitions)
			}
		})
	}
}

// A gate that only observes refuses nothing of its own; what it forwards is kept, or
// the client hears that it is not.
func TestForwardOfAGateThatObserves(t *testing.T) {
	p := startPartner(t)
	var status atomic.Int32
	status.Store(500)
	p.answer = switched(&status)
	s := startForwarding(t, p, forwarding(embedded, "mode observe", "retry 1m 1m\n\t\t\t\tbound 1MiB"))
	s.accept(t, "u1")
	if n := s.bring(t, "u1", `{"imei":`); n != 200 {
		t.Errorf("what cannot be read: %d", n)
	}
	big := strings.Repeat("x", 30_000)
	body := func(i int) string {
		return fmt.Sprintf(`{"id":"%d","imp":[{"id":"1","ext":{"data":%q}}],"note":"n"}`, i, big)
	}
	if n := s.bring(t, "u1", body(0)); n != 200 || string(s.upstream.last(t).Body) != body(0) {
		t.Errorf("%d, the upstream's was changed", n)
	}
	accepted, refused := 1, 0
	for i := range 12 {
		if s.bring(t, "u1", body(i)) == 200 {
			accepted++
		} else {
			refused++
		}
	}
	if r := s.do("POST", "/v1/bid", body(1)+"\n"+body(2)+"\n", "Content-Type", "application/x-ndjson", "X-User-ID", "u1"); r.Status != 503 {
		t.Errorf("lines: %d", r.Status)
	}
	if refused == 0 {
		t.Error("it was never full")
	}
	s.counted(t, fmt.Sprintf(`consentgate_outbox_waiting_records{recipient="adx"} %d`, accepted))
}

// Without the outbox nothing is accepted: the client is told to come again, whatever
// the upstream has said.
func TestForwardWithoutItsOutbox(t *testing.T) {
	r := redistest.Start(t)
	p := startPartner(t)
	s := startForwarding(t, p, forwarding("store redis {\n\t\t\taddress "+r.Addr+"\n\t\t}", "", "retry 10ms 20ms"))
	s.accept(t, "u1")
	if n := s.bring(t, "u1", bid("before", "")); n != 200 {
		t.Fatalf("%d", n)
	}
	p.records(t, 1)
	// Consent can be read, and nothing written.
	client := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer client.Close()
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if n := s.bring(t, "u1", bid("meanwhile", "")); n != 503 {
		t.Errorf("%d", n)
	}
	s.waitForLine("records for adx cannot be kept in the outbox", "redis outbox")
	r.Stop() // what was configured is forgotten with it
	r.Restart()
	eventually(t, "it is accepted again", func() bool { return s.bring(t, "u1", bid("after", "")) == 200 })
	eventually(t, "it arrives", func() bool {
		for _, one := range p.records(t, 2) {
			if strings.Contains(one, `"after"`) {
				return true
			}
		}
		return false
	})
}

// Elements of a batch and lines of a stream are records of their own, each in the
// release of its own subject, in order for each.
func TestForwardEachRecord(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, strings.Replace(forwarding(embedded, "subject json user_id\n\t\t\trecords batch", "format array\n\t\t\t\tgzip"), "subject {http.request.header.X-User-ID}\n\t\t\tsubject json", "subject json", 1))
	s.accept(t, "u1")
	s.accept(t, "u2")
	record := func(user string, n int) string {
		return fmt.Sprintf(`{"user_id":%q,"id":"%s-%d","device":{"model":"Pixel"},"secret":"s"}`, user, user, n)
	}
	body := `{"api_key":"k","batch":[` + record("u1", 1) + "," + record("nobody", 1) + "," + record("u2", 1) + "," + record("u1", 2) + `]}`
	if r := s.do("POST", "/v1/a", body, "Content-Type", "application/json"); r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	p.records(t, 3)
	lines := ""
	for n := 3; n < 3+2*windowLines; n++ {
		lines += `{"batch":[` + record("u1", n) + `]}` + "\n"
	}
	if r := s.do("POST", "/v1/a", lines, "Content-Type", "application/x-ndjson"); r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	all := p.records(t, 3+2*windowLines)
	if len(all) != 3+2*windowLines {
		t.Fatalf("%d records arrived", len(all))
	}
	next := 1
	for _, one := range all {
		if strings.Contains(one, "secret") || strings.Contains(one, "user_id") || strings.Contains(one, "nobody") || strings.Contains(one, "api_key") {
			t.Fatalf("arrived: %s", one)
		}
		if strings.Contains(one, `"u1-`) {
			if !strings.Contains(one, fmt.Sprintf(`"u1-%d"`, next)) {
				t.Fatalf("where u1-%d was due came %s", next, one)
			}
			next++
		}
	}
	if p.got()[0].Header.Get("Content-Encoding") != "gzip" {
		t.Error("it came uncompressed")
	}
	s.do("POST", "/v1/a", "batch=1&x=2", "Content-Type", "application/x-www-form-urlencoded")
}

// A client that repeats a request with its Idempotency-Key repeats the keys of the
// records, and no two partners get the same.
func TestForwardKeys(t *testing.T) {
	p, other := startPartner(t), startPartner(t)
	s := startCaddy(t, strings.NewReplacer("@PARTNER@", p.URL, "@OTHER@", other.URL).Replace(
		forwarding(embedded, "forward analytics @OTHER@ {\n\t\t\t\tbatch 1\n\t\t\t\tformat single\n\t\t\t}", "keyed")))
	s.accept(t, "u1")
	s.decides(t, "u1", "ads.personalise", "adx", "granted")
	for range 2 {
		s.bring(t, "u1", bid("same", ""), "Idempotency-Key", `"k1"`)
	}
	s.bring(t, "u1", bid("same", ""), "Idempotency-Key", `"k2"`)
	s.bring(t, "u1", bid("same", ""))
	keys := map[string]int{}
	var oaid []string
	for _, one := range p.records(t, 4) {
		var r struct {
			ID     string
			Record struct{ Device struct{ OAID string } }
		}
		if err := json.Unmarshal([]byte(one), &r); err != nil {
			t.Fatal(err)
		}
		keys[r.ID]++
		oaid = append(oaid, r.Record.Device.OAID)
	}
	if len(keys) != 3 {
		t.Errorf("the keys: %v", keys)
	}
	other.records(t, 4)
	for _, got := range other.got() {
		if keys[strings.Trim(got.Key, `"`)] > 0 {
			t.Error("two partners got one key")
		}
		var r struct{ Device struct{ OAID string } }
		if err := json.Unmarshal(got.Raw, &r); err != nil || r.Device.OAID == "" || r.Device.OAID == oaid[0] {
			t.Errorf("two partners can join by %q, %v", r.Device.OAID, err)
		}
	}
	for _, id := range oaid {
		if id == "" || id != oaid[0] {
			t.Errorf("pseudonyms of one person: %q", oaid)
		}
	}
}

// The lines of a stream are records of their own, and each has a key of its own.
func TestForwardKeysOfAStream(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, forwarding(embedded, "", "keyed"))
	s.accept(t, "u1")
	const lines = windowLines + 10
	var body strings.Builder
	for i := range lines {
		body.WriteString(bid(fmt.Sprint(i), "") + "\n")
	}
	for range 2 {
		r := s.do("POST", "/v1/bid", body.String(), "Content-Type", "application/x-ndjson", "X-User-ID", "u1", "Idempotency-Key", "k1")
		if r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	ids := map[string]string{}
	for _, one := range p.records(t, 2*lines) {
		var r struct {
			ID     string
			Record struct{ ID string }
		}
		if err := json.Unmarshal([]byte(one), &r); err != nil {
			t.Fatal(err)
		}
		if known, ok := ids[r.ID]; ok && known != r.Record.ID {
			t.Fatalf("the records %s and %s have one key", known, r.Record.ID)
		}
		ids[r.ID] = r.Record.ID
	}
	if len(ids) != lines {
		t.Errorf("%d records came twice, with %d keys", lines, len(ids))
	}
}

// The client never waits for a partner, however slow.
func TestForwardDoesNotWaitForThePartner(t *testing.T) {
	p := startPartner(t)
	hold := make(chan struct{})
	var once sync.Once
	p.answer = func(int, http.ResponseWriter) bool { <-hold; return true }
	t.Cleanup(func() { once.Do(func() { close(hold) }) })
	s := startForwarding(t, p, forwarding(embedded, "", "timeout 1m"))
	s.accept(t, "u1")
	for i := range 20 {
		if n := s.bring(t, "u1", bid(fmt.Sprint(i), "")); n != 200 {
			t.Fatalf("%d", n)
		}
	}
	s.counted(t, `consentgate_outbox_records_total{outcome="accepted",recipient="adx"} 20`, `consentgate_outbox_waiting_records{recipient="adx"} 20`)
	once.Do(func() { close(hold) })
	p.records(t, 20)
}

// A sample of what left says what the partner got, each record once, and which of
// them are one person's.
func TestForwardSample(t *testing.T) {
	p := startPartner(t)
	var status atomic.Int32
	status.Store(500)
	p.answer = switched(&status)
	s := startForwarding(t, p, forwarding(embedded, "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms\n\t\t\t\tsample 3"))
	for i := range 8 {
		user := fmt.Sprint("u", i/2)
		if i%2 == 0 {
			s.accept(t, user)
		}
		if n := s.bring(t, user, bid(fmt.Sprint(i), "")); n != 200 {
			t.Fatalf("%d", n)
		}
	}
	eventually(t, "batches are posted again", func() bool { return len(p.got()) > 30 })
	status.Store(0)
	s.counted(t, `consentgate_outbox_waiting_records{recipient="adx"} 0`)
	r := s.do("GET", "/consent/v1/outbox/adx/sample", "", "Authorization", "Bearer "+fixtureToken)
	lines := strings.Split(strings.TrimSpace(string(r.Body)), "\n")
	if r.Status != 200 || r.Header.Get("Sample-Of") != "8" || len(lines) != 3 {
		t.Fatalf("%d, of %s: %q", r.Status, r.Header.Get("Sample-Of"), lines)
	}
	got := strings.Join(func() (all []string) {
		for _, one := range p.got() {
			all = append(all, one.Records...)
		}
		return all
	}(), "\n")
	for _, line := range lines {
		member, record, _ := strings.Cut(line, ",")
		if len(member) != len(`{"_subject":"0123456789abcdef"`) || !strings.Contains(got, "{"+record) {
			t.Errorf("in the sample: %s", line)
		}
	}
}
