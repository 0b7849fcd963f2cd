package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// The canaries: values that must not arrive anywhere for one who has granted
// nothing.
const (
	canaryIMEI = "356938035643809"
	canaryMAC  = "00-00-5E-00-53-7F"
	canaryIP   = "203.0.113.77"
	canaryUser = "u-canary-5531"
)

var canaries = []string{canaryIMEI, canaryMAC, canaryIP, canaryUser}

func leaks(text string) (found []string) {
	for _, c := range canaries {
		if strings.Contains(text, c) {
			found = append(found, c)
		}
	}
	return found
}

// gateCaddyfile puts a gate with these subdirectives in front of the upstream.
func gateCaddyfile(store, recipient, gate, beside string) string {
	return "{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tsecret 0123456789abcdef0123456789abcdef\n\t\t" + store + "\n\t}\n\tlog {\n\t\tformat consent\n\t\tlevel DEBUG\n\t}\n}\n" +
		"http://:@PORT@ {\n\tlog {\n\t\tformat consent\n\t}\n\thandle /consent/* {\n\t\tconsent_api {\n\t\t\ttoken " + fixtureToken + "\n\t\t}\n\t}\n" +
		"\thandle /v1/* {\n\t\tconsent_gate " + recipient + " {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\t" + gate + "\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}\n" +
		"\thandle /dead/* {\n\t\tconsent_gate " + recipient + " {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t}\n\t\treverse_proxy @DEAD@\n\t}\n" + beside + "\n}\n"
}

const embedded = "store embedded @DATA@/store"

func (s *server) accept(t *testing.T, user string) {
	t.Helper()
	r := s.do("POST", "/consent/v1/events", fmt.Sprintf(`{"subject":%q,"kind":"user","policy_version":"2022-03-09","accept_policy":true}`, user),
		"Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
}

func problemKind(t *testing.T, r reply) string {
	t.Helper()
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("status %d, content type %q: no problem", r.Status, ct)
	}
	kind := fmt.Sprint(r.json(t)["type"])
	return kind[strings.LastIndexByte(kind, '/')+1:]
}

// Every place in which personal data can stand, for one who granted nothing.
func TestNothingPersonalPassesForAStranger(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded+uncoveredErrors, "backend", "", "\thandle_errors {\n\t\treverse_proxy @UPSTREAM@\n\t}"))
	head := "Host: x\r\nX-User-ID: " + canaryUser + "\r\nX-Imei: " + canaryIMEI + "\r\nX_Imei: " + canaryIMEI +
		"\r\nCookie: theme=1; imei=" + canaryIMEI + "; uid=" + canaryUser + "\r\nX-Forwarded-For: " + canaryIP +
		"\r\nForwarded: for=" + canaryIP + "\r\nX-Real-IP: " + canaryIP + "\r\nConsent-Gate: recipient=" + canaryUser +
		"\r\nReferer: https://www.example.com/?imei=" + canaryIMEI + "\r\nConnection: close\r\n"
	body := `{"imei":"` + canaryIMEI + `","event":1,"n":1.0,"deep":[{"MAC":"` + canaryMAC + `"}],"x":[{"name":"imei","value":"` + canaryIMEI + `"}]}`
	chunked := fmt.Sprintf("Transfer-Encoding: chunked\r\nTrailer: X-Imei\r\nContent-Type: text/plain\r\n\r\n%x\r\n%s\r\n0\r\nX-Imei: %s\r\n\r\n", len(body), body, canaryIMEI)
	for _, path := range []string{"/v1/a", "/dead/a"} {
		s.upstream.forget()
		s.raw("POST " + path + "?imei=" + canaryIMEI + "&lang=zh&ip=" + canaryIP + " HTTP/1.1\r\n" + head + chunked)
		got := s.upstream.last(t) // of /dead by way of the error route
		if l := leaks(string(got.Raw)); l != nil {
			t.Errorf("%s: %v arrived:\n%s", path, l, got.Raw)
		}
		if !strings.Contains(got.Line, "lang=zh") {
			t.Errorf("%s: what is not personal was lost: %s", path, got.Line)
		}
		if path == "/v1/a" && string(got.Body) != `{"event":1,"n":1.0,"deep":[{}],"x":[{"name":"imei"}]}` {
			t.Errorf("%s: body %s", path, got.Body)
		}
		if len(got.Trailer) > 0 || strings.Contains(string(got.Raw), "X-Forwarded-For") {
			t.Errorf("%s: a trailer or an address arrived:\n%s", path, got.Raw)
		}
	}
	if l := leaks(s.logs()); l != nil {
		t.Errorf("%v stand in the logs:\n%s", l, s.logs())
	}
}

func TestRefusalsForwardNothing(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded+uncoveredErrors, "backend", "max_body 1KiB", "\thandle_errors {\n\t\treverse_proxy @UPSTREAM@\n\t}"))
	big := `{"imei":"` + canaryIMEI + `","x":"` + strings.Repeat("x", 2000) + `"}`
	for _, tt := range []struct {
		name, body string
		headers    []string
		status     int
		kind       string
	}{
		{"no JSON", `{"imei":"` + canaryIMEI + `",}`, nil, 400, "unreadable-body"},
		{"two values", `{"imei":"` + canaryIMEI + `"}{}`, nil, 400, "unreadable-body"},
		{"a byte order mark", "\xef\xbb\xbf" + `{"imei":"` + canaryIMEI + `"}`, nil, 400, "unreadable-body"},
		{"too deep", strings.Repeat("[", 300) + strings.Repeat("]", 300), nil, 400, "unreadable-body"},
		{"JSON that claims to be text and does not decode", `{"imei":"` + canaryIMEI, []string{"Content-Type", "text/plain"}, 400, "unreadable-body"},
		{"text", "imei " + canaryIMEI, []string{"Content-Type", "text/plain"}, 415, "unsupported-type"},
		{"no type", "imei " + canaryIMEI, []string{"Content-Type", ""}, 415, "unsupported-type"},
		{"a multipart form", "--x\r\n", []string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "unreadable-body"},
		{"gzip that breaks off", "\x1f\x8b", []string{"Content-Encoding", "gzip"}, 400, "unreadable-body"},
		{"an unknown encoding", "{}", []string{"Content-Encoding", "compress"}, 415, "unsupported-encoding"},
		{"two encodings", `{}`, []string{"Content-Encoding", "gzip, br"}, 415, "unsupported-encoding"},
		{"too large", big, nil, 413, "body-too-large"},
		{"an upgrade", "", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, 415, "unsupported-type"},
		{"an incremental body", `{}`, []string{"Incremental", "?1"}, 415, "unsupported-type"},
		{"two subjects", `{}`, []string{"X-User-ID", "u1", "X-User-ID", "u2"}, 400, "subject-conflict"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.upstream.forget()
			headers := append([]string{"X-Imei", canaryIMEI}, tt.headers...)
			if !strings.Contains(strings.Join(tt.headers, " "), "Content-Type") {
				headers = append(headers, "Content-Type", "application/json")
			}
			r := s.do("POST", "/v1/a?imei="+canaryIMEI, tt.body, headers...)
			if r.Status != tt.status || problemKind(t, r) != tt.kind {
				t.Errorf("%d %s, want %d %s", r.Status, r.Body, tt.status, tt.kind)
			}
			if l := leaks(string(r.Body)); l != nil {
				t.Errorf("the refusal repeats %v", l)
			}
			for _, got := range s.upstream.requests() {
				t.Errorf("something was forwarded:\n%s", got.Raw)
			}
		})
	}
	if l := leaks(s.logs()); l != nil {
		t.Errorf("%v stand in the logs", l)
	}
}

func TestJSONUnderAnyTypeIsRead(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	for _, ct := range []string{"application/json", "application/json; charset=utf-8", "text/plain", "", "application/vnd.api+json", "application/x-www-form-urlencoded", "image/png"} {
		s.upstream.forget()
		s.do("POST", "/v1/a", ` {"imei":"`+canaryIMEI+`","n":1}`, "Content-Type", ct)
		if got := s.upstream.last(t); string(got.Body) != ` {"n":1}` {
			t.Errorf("as %q: %s arrived", ct, got.Body)
		}
	}
	s.upstream.forget()
	s.do("POST", "/v1/a", "imei="+canaryIMEI+"&n=1&im%65i=2", "Content-Type", "application/x-www-form-urlencoded")
	if got := s.upstream.last(t); string(got.Body) != "n=1" || got.Header.Get("Content-Length") != "3" {
		t.Errorf("of a form, %s arrived", got.Raw)
	}
}

func TestWhatIsAcceptedArrivesByteForByte(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	s.accept(t, "u1")
	body := "{ \"imei\" : \"" + canaryIMEI + "\",\n\t\"n\":1.50e+1 , \"t\":\"\\u4f60\\/\" }"
	s.do("POST", "/v1/a?imei=1&x=%zz", body, "X-User-ID", "u1", "Content-Type", "application/json", "Content-Digest", "sha-256=:x:")
	got := s.upstream.last(t)
	if string(got.Body) != body || got.Header.Get("Content-Digest") == "" || !strings.Contains(got.Line, "?imei=1&x=%zz ") {
		t.Errorf("%s arrived", got.Raw)
	}
	if h := got.Header.Get("Consent-Gate"); h != `recipient=backend, policy="liaoxiaobang@2022-03-09"` {
		t.Errorf("Consent-Gate: %s", h)
	}
}

func TestObserveChangesNothing(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "mode observe", ""))
	body := `{"imei":"1","n":1}`
	s.do("POST", "/v1/a?imei=1", body, "X-Imei", "2", "Content-Type", "application/json", "Consent-Gate", "recipient=x")
	got := s.upstream.last(t)
	if string(got.Body) != body || !strings.Contains(got.Line, "imei=1") || got.Header.Get("X-Imei") != "2" {
		t.Errorf("%s arrived", got.Raw)
	}
	if got.Header.Get("Consent-Gate") != "" {
		t.Error("a client's Consent-Gate arrived")
	}
	s.do("POST", "/v1/a", `{"imei":`, "Content-Type", "application/json")
	if got := s.upstream.last(t); string(got.Body) != `{"imei":` {
		t.Errorf("what cannot be read was changed: %s", got.Body)
	}
}

// A gate that stands beside a handle, and not in it, must still run first.
func TestAGateBesideAHandleRuns(t *testing.T) {
	s := startCaddy(t, "{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\t"+embedded+"\n\t}\n}\nhttp://:@PORT@ {\n\thandle {\n\t\treverse_proxy @UPSTREAM@\n\t}\n\tconsent_gate backend\n}\n")
	s.do("POST", "/", `{"imei":"`+canaryIMEI+`"}`, "Content-Type", "application/json")
	if got := s.upstream.last(t); string(got.Body) != "{}" {
		t.Errorf("%s arrived", got.Body)
	}
}

func TestStoreDown(t *testing.T) {
	redis := redistest.Start(t)
	store := "store redis {\n\t\t\taddress " + redis.Addr + "\n\t\t}"
	s := startCaddy(t, gateCaddyfile(store, "backend", "", "\thandle /strip/* {\n\t\tconsent_gate backend {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\ton_store_error strip\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}"))
	s.accept(t, "u1")
	send := func(path string) reply {
		s.upstream.forget()
		return s.do("POST", path, `{"imei":"`+canaryIMEI+`","n":1}`, "X-User-ID", "u1", "Content-Type", "application/json")
	}
	if r := send("/v1/a"); r.Status != 200 || !strings.Contains(string(s.upstream.last(t).Body), canaryIMEI) {
		t.Fatalf("with the store up: %d %s", r.Status, r.Body)
	}
	redis.Stop()
	// The lease and the watcher end what is cached; until then it is true.
	eventually(t, "the gate closes", func() bool { return send("/v1/a").Status == 503 })
	if r := send("/v1/a"); problemKind(t, r) != "store-unavailable" || len(s.upstream.requests()) > 0 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if r := send("/strip/a"); r.Status != 200 || string(s.upstream.last(t).Body) != `{"n":1}` {
		t.Errorf("on_store_error strip: %d, %s arrived", r.Status, s.upstream.last(t).Body)
	}
}

func TestWithdrawalHoldsFromItsAcknowledgement(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	for range 20 {
		s.accept(t, "u1")
		s.upstream.forget()
		s.do("POST", "/v1/a", `{"imei":"1"}`, "X-User-ID", "u1", "Content-Type", "application/json")
		if got := s.upstream.last(t); string(got.Body) != `{"imei":"1"}` {
			t.Fatalf("after acceptance %s arrived", got.Body)
		}
		s.do("POST", "/consent/v1/events", `{"subject":"u1","kind":"user","accept_policy":false}`, "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
		s.do("POST", "/v1/a", `{"imei":"1"}`, "X-User-ID", "u1", "Content-Type", "application/json")
		if got := s.upstream.last(t); string(got.Body) != `{}` {
			t.Fatalf("after withdrawal %s arrived", got.Body)
		}
	}
}

// A source that says the same of every request would make one person of
// everybody.
func TestASubjectThatIsNoPlaceholderIsRefused(t *testing.T) {
	for _, source := range []string{"X-User-ID", "query", "{http.request.header.X-User-ID", "json", "user}"} {
		cfg, err := adapt([]byte(strings.NewReplacer("@PORT@", "1", "@UPSTREAM@", "127.0.0.1:1", "@DATA@", t.TempDir()).Replace(
			"{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tstore embedded @DATA@\n\t}\n}\nhttp://:@PORT@ {\n\tconsent_gate backend {\n\t\tsubject " + source + "\n\t}\n\treverse_proxy @UPSTREAM@\n}\n")))
		if err == nil {
			var c caddy.Config
			if err = json.Unmarshal(cfg, &c); err == nil {
				err = caddy.Validate(&c)
			}
		}
		if err == nil || !strings.Contains(err.Error(), "placeholder") {
			t.Errorf("subject %s: %v", source, err)
		}
	}
}
