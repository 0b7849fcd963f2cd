package caddymodule

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// The tests that the policy names under clauses: what it promises and no rule
// can express.

// TestClause32IncidentCanary: clause 3.2, incidents. Canaries planted in
// everything that a request can hold reach neither the upstream, nor the logs,
// nor the metrics, nor an answer, whatever becomes of the request. And each way
// in which a request can go wrong moves a counter that an operator alerts on.
func TestClause32IncidentCanary(t *testing.T) {
	redis := redistest.Start(t)
	s := startCaddy(t, gateCaddyfile("store redis "+redis.Addr+uncoveredErrors, "backend", "max_body 2KiB",
		"\thandle /pay/* {\n\t\tconsent_gate alipay {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}\n"+
			"\thandle /metrics {\n\t\tmetrics\n\t}\n\thandle_errors {\n\t\treverse_proxy @UPSTREAM@\n\t}"))
	var answers strings.Builder
	send := func(path, body string, headers ...string) reply {
		t.Helper()
		headers = append([]string{
			"X-User-ID", canaryUser, "X-Imei", canaryIMEI, "Cookie", "theme=1; imei=" + canaryIMEI,
			"X-Forwarded-For", canaryIP, "Referer", "https://www.example.com/?mac=" + canaryMAC,
		}, headers...)
		if !strings.Contains(strings.Join(headers, "\n"), "Content-Type") {
			headers = append(headers, "Content-Type", "application/json")
		}
		r := s.do("POST", path+"?imei="+canaryIMEI+"&ip="+canaryIP, body, headers...)
		fmt.Fprintf(&answers, "%s\n%v\n%s\n", path, r.Header, r.Body)
		return r
	}
	planted := fmt.Sprintf(`{"imei":%q,"deep":[{"MAC":%q,"user_id":%q}],"ip":%q,"phone":"13800138000","n":1}`, canaryIMEI, canaryMAC, canaryUser, canaryIP)

	if r := send("/v1/a", planted); r.Status != 200 || string(s.upstream.last(t).Body) != `{"deep":[{}],"n":1}` {
		t.Errorf("%d %s, and %s arrived", r.Status, r.Body, s.upstream.last(t).Body)
	}
	send("/pay/a", planted).want(t, 403, "consent-required")
	send("/v1/a", planted[:len(planted)-1]).want(t, 400, "unreadable-body")
	send("/v1/a", "the imei is "+canaryIMEI, "Content-Type", "application/x-unheard-of").want(t, 415, "unsupported-type")
	send("/v1/a", planted, "Content-Encoding", "unheard-of").want(t, 415, "unsupported-encoding")
	send("/v1/a", planted+strings.Repeat(" ", 2048)).want(t, 413, "body-too-large")
	send("/v1/a", planted, "X-User-ID", "another").want(t, 400, "subject-conflict")
	send("/dead/a", planted) // the error route sends it to the upstream
	redis.Stop()
	refused := 0
	eventually(t, "the gate closes", func() bool {
		r := send("/v1/a", planted)
		if r.Status == 503 {
			refused++
		}
		return r.Status == 503
	})
	api := s.do("GET", "/consent/v1/subjects/"+url.PathEscape(canaryUser), "", "Authorization", "Bearer "+fixtureToken)
	api.want(t, 503, "store-unavailable")
	answers.Write(api.Body)

	metrics := string(s.do("GET", "/metrics", "").Body)
	for _, alert := range []string{
		`consentgate_requests_total{outcome="consent-required",recipient="alipay"} 1`,
		`consentgate_requests_total{outcome="unreadable-body",recipient="backend"} 1`,
		`consentgate_requests_total{outcome="unsupported-type",recipient="backend"} 1`,
		`consentgate_requests_total{outcome="unsupported-encoding",recipient="backend"} 1`,
		`consentgate_requests_total{outcome="body-too-large",recipient="backend"} 1`,
		`consentgate_requests_total{outcome="subject-conflict",recipient="backend"} 1`,
		fmt.Sprintf(`consentgate_requests_total{outcome="store-unavailable",recipient="backend"} %d`, refused),
		`consentgate_store_errors_total{operation="read"} 1`,
		`consentgate_watcher_up 0`,
	} {
		if !strings.Contains(metrics, alert) {
			t.Errorf("the metrics lack %s", alert)
		}
	}
	for _, counted := range []string{
		`consentgate_categories_total{action="drop",category="device.id.imei",recipient="backend"} `,
		`consentgate_categories_total{action="drop",category="device.id.mac",recipient="backend"} `,
		`consentgate_categories_total{action="drop",category="account.id",recipient="backend"} `,
		`consentgate_categories_total{action="drop",category="network.ip",recipient="backend"} `,
		`consentgate_store_errors_total{operation="load"} `,
		`consentgate_requests_total{outcome="forwarded",recipient="backend"} `,
	} {
		if !strings.Contains(metrics, counted) || strings.Contains(metrics, counted+"0\n") {
			t.Errorf("the metrics do not count %s", counted)
		}
	}

	s.waitForLog("the link to the consent store is down")
	s.waitForLog("/dead/a")
	arrived := s.upstream.requests()
	if len(arrived) < 2 {
		t.Errorf("only %d requests reached the upstream: its error route shows nothing", len(arrived))
	}
	for _, got := range arrived {
		if l := leaks(string(got.Raw)); l != nil || strings.Contains(string(got.Raw), "13800138000") {
			t.Errorf("%v reached the upstream:\n%s", l, got.Raw)
		}
	}
	for where, text := range map[string]string{"the logs": s.logs(), "the metrics": metrics, "the answers": answers.String()} {
		if l := leaks(text); l != nil || strings.Contains(text, "13800138000") {
			t.Errorf("%v stand in %s:\n%s", l, where, text)
		}
	}
}

// clause7Policy is a policy of which the second version asks for more: place is
// used for a changed purpose, and mood for a new one.
func clause7Policy(versions, since, more string) string {
	purposes := "service.operate, service.locate"
	if more != "" {
		purposes += ", service.insight"
	}
	return `policy:
  id: sample
  versions: [` + versions + `]
  controller: Sample
  home: [CN]
categories:
  sample.note: {title: {zh: 备注, en: Note}, keys: [note]}
  sample.place: {title: {zh: 地点, en: Place}, keys: [place]}
  sample.mood: {title: {zh: 心情, en: Mood}, keys: [mood]}
purposes:
  service.operate: {title: {zh: 运行, en: Operate}, basis: necessary, uses: [sample.note]}
  service.locate: {title: {zh: 定位, en: Locate}, basis: consent, since: ` + since + `, uses: [sample.place]}
` + more + `recipients:
  backend:
    kind: first_party
    title: {zh: 后端, en: Backend}
    purposes: [` + purposes + `]
`
}

// TestClause7AcceptancePerVersion: clause 7, changes of the policy. A version
// binds whoever agreed to it, from then on: acceptance is recorded per version,
// and what is newer than the version somebody accepted does not run for them.
func TestClause7AcceptancePerVersion(t *testing.T) {
	s := startWithPolicy(t, clause7Policy("2024-01-01", "2024-01-01", ""))
	arrives := func(user string) string {
		t.Helper()
		s.upstream.forget()
		s.do("POST", "/", `{"note":"n","place":"p","mood":"m"}`, "Content-Type", "application/json", "X-User-ID", user)
		return string(s.upstream.last(t).Body)
	}
	expect := func(when, user, want string) {
		t.Helper()
		if got := arrives(user); got != want {
			t.Errorf("%s, of %s arrives %s, want %s", when, user, got, want)
		}
	}
	record := func(event string) reply { t.Helper(); return s.call("POST", "/consent/v1/events", event) }
	const first, second = "2024-01-01", "2026-01-01"
	agree := func(user, version string) reply {
		t.Helper()
		return record(fmt.Sprintf(`{"subject":%q,"policy_version":%q,"accept_policy":true,"grants":[{"purpose":"service.locate","status":"granted"}]}`, user, version))
	}

	expect("before agreeing", "u1", `{}`)
	agree("u1", second).want(t, 422, "invalid-event") // there is no such version yet
	agree("u1", first).want(t, 201, "")
	agree("u2", first).want(t, 201, "")
	expect("agreed to the first version", "u1", `{"note":"n","place":"p"}`)

	// The same file, changed; the gateway reads it again by itself.
	insight := "  service.insight: {title: {zh: 洞察, en: Insight}, basis: necessary, since: 2026-01-01, uses: [sample.mood]}\n"
	if err := os.WriteFile(s.policy, []byte(clause7Policy(first+", "+second, second, insight)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.waitForLine("the changed policy is in force", s.policy)
	expect("agreed to the old version alone", "u1", `{"note":"n"}`)
	expect("unknown", "u3", `{}`)

	// An answer to the changed purpose is no agreement to the changed policy.
	record(`{"subject":"u1","policy_version":"2026-01-01","grants":[{"purpose":"service.locate","status":"granted"}]}`).want(t, 201, "")
	expect("answered, and has not agreed", "u1", `{"note":"n"}`)

	agree("u1", second).want(t, 201, "")
	expect("agreed to the second version", "u1", `{"note":"n","place":"p","mood":"m"}`)
	expect("somebody who did not", "u2", `{"note":"n"}`)
	agree("u3", second).want(t, 201, "")
	expect("new", "u3", `{"note":"n","place":"p","mood":"m"}`)
	agree("u1", first).want(t, 422, "invalid-event") // nobody agrees backwards

	// What is recorded says who agreed to which version, and when.
	for user, version := range map[string]string{"u1": second, "u2": first, "u3": second} {
		state := s.call("GET", "/consent/v1/subjects/"+user, "").json(t)
		if acceptance, _ := state["acceptance"].(map[string]any); state["policy_version"] != version || acceptance["policy_version"] != version || acceptance["at"] == nil {
			t.Errorf("%s: %v", user, state)
		}
	}
	var accepted []string
	for _, e := range s.call("GET", "/consent/v1/subjects/u1/ledger", "").json(t)["entries"].([]any) {
		e := e.(map[string]any)
		if event, _ := e["event"].(map[string]any); event["accept_policy"] == true {
			accepted = append(accepted, fmt.Sprint(e["policy_version"]))
		}
	}
	if got := strings.Join(accepted, " "); got != first+" "+second {
		t.Errorf("the ledger has acceptance of %q", got)
	}

	record(`{"subject":"u1","accept_policy":false}`).want(t, 201, "")
	expect("agreement taken back", "u1", `{}`)
}

// TestClause9ReceiptDueDate: clause 9, answers within 15 days. An export made
// for somebody whose identity was verified says by when they must have it.
func TestClause9ReceiptDueDate(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken+"\n\t\t\tself {http.request.header.X-Verified-User}")
	s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true}`).want(t, 201, "")
	for _, tt := range []struct{ verified, at, due string }{
		{"2026-01-02", "2026-01-02T00:00:00Z", "2026-01-17T00:00:00Z"},
		{"2026-01-02T10:30:00Z", "2026-01-02T10:30:00Z", "2026-01-17T10:30:00Z"},
		{"2026-01-02T10:30:00+08:00", "2026-01-02T02:30:00Z", "2026-01-17T02:30:00Z"},
		{"2024-02-20", "2024-02-20T00:00:00Z", "2024-03-06T00:00:00Z"}, // a leap year
		{"2025-12-20", "2025-12-20T00:00:00Z", "2026-01-04T00:00:00Z"},
	} {
		for _, who := range []string{"u1", "somebody-of-whom-nothing-is-recorded"} {
			r := s.call("GET", "/consent/v1/subjects/"+who+"/receipt?verified="+url.QueryEscape(tt.verified), "")
			r.want(t, 200, "")
			request, _ := r.json(t)["request"].(map[string]any)
			if request["verified_at"] != tt.at || request["due_at"] != tt.due {
				t.Errorf("verified %s: %v, want due %s", tt.verified, request, tt.due)
			}
		}
	}
	self := s.do("GET", "/consent/v1/subjects/u1/receipt?verified=2026-01-02", "", "X-Verified-User", "u1")
	if request, _ := self.json(t)["request"].(map[string]any); request["due_at"] != "2026-01-17T00:00:00Z" {
		t.Errorf("for the subject itself: %v", request)
	}
	// A receipt that answers no request has no date, and one without a day is refused.
	if r := s.call("GET", "/consent/v1/subjects/u1/receipt", "").json(t); r["request"] != nil {
		t.Errorf("without a request: %v", r["request"])
	}
	for _, bad := range []string{"2026-02-30", "2026-1-2", "20260102", "yesterday", "2026-01-02T25:00:00Z"} {
		s.call("GET", "/consent/v1/subjects/u1/receipt?verified="+bad, "").want(t, 400, "invalid-request")
	}
}
