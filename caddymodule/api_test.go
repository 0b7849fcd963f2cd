package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

const apiToken = "the-token-of-this-test-0123456789"

// startAPI starts a Caddy with the consent API alone.
func startAPI(t *testing.T, store, options string) *server {
	t.Helper()
	return startCaddy(t, `{
	consent {
		policy liaoxiaobang
		secret 0123456789abcdef0123456789abcdef
		`+store+`
	}
}
http://:@PORT@ {
	log {
		format consent
	}
	handle /consent/* {
		consent_api {
			`+options+`
		}
	}
	respond "elsewhere" 200
}
`)
}

// call makes a call with the token.
func (s *server) call(method, path, body string, headers ...string) reply {
	s.t.Helper()
	headers = append(headers, "Authorization", "Bearer "+apiToken)
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	return s.do(method, path, body, headers...)
}

// want fails unless a call was answered with a status and, for a refusal, a
// problem of a kind.
func (r reply) want(t *testing.T, status int, kind string) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d: %s", r.Status, status, r.Body)
	}
	if kind == "" {
		return
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	p := r.json(t)
	if p["type"] != problemBase+kind || p["status"] != float64(status) || p["title"] == "" {
		t.Errorf("problem %s, want the type …/%s", r.Body, kind)
	}
}

func eachStore(t *testing.T, test func(t *testing.T, store string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, "store embedded @DATA@/store") })
	t.Run("redis", func(t *testing.T) { test(t, "store redis "+redistest.Start(t).Addr) })
}

func TestADecisionIsRecordedShownAndWithdrawn(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		const id = "/consent/v1/subjects/u1"

		r := s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true,
			"grants":[{"purpose":"media.geotag","status":"granted","recipient":null,"expires_at":null},
			{"purpose":"sdk.amap","recipient":"amap","status":"granted","expires_at":"2099-01-01T00:00:00Z"}],
			"minor_until":null,"guardian":null,"evidence":{"channel":"app","prompt":"sha256:00","locale":"zh-CN"}}`)
		r.want(t, http.StatusCreated, "")
		first, err := consent.DecodeEntry(r.Body)
		if err != nil {
			t.Fatalf("the entry %s: %v", r.Body, err)
		}
		if first.Seq != 1 || first.Type != consent.EntryDecision || first.PolicyVersion != "2022-03-09" {
			t.Errorf("entry %+v", first)
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", r.Header)
		}

		state := s.call("GET", id, "").json(t)
		if state["known"] != true || state["policy_version"] != "2022-03-09" || state["version"] != 1.0 || state["head"] != first.Hash ||
			state["subject"] != string(first.Subject) {
			t.Errorf("state %v", state)
		}
		if got := fmt.Sprint(state["grants"]); !strings.Contains(got, "purpose:media.geotag recipient:<nil> status:granted") ||
			!strings.Contains(got, "purpose:sdk.amap recipient:amap status:granted") || strings.Contains(got, "purpose:policy") {
			t.Errorf("grants %s", got)
		}
		if _, shown := state["salt"]; shown {
			t.Error("the salt is shown")
		}

		s.call("POST", "/consent/v1/events", `{"subject":"u1","grants":[{"purpose":"media.geotag","status":"withdrawn"}]}`).want(t, 201, "")
		if got := string(s.call("GET", id, "").Body); !strings.Contains(got, `"purpose":"media.geotag","recipient":null,"status":"withdrawn"`) {
			t.Errorf("state %s", got)
		}

		var ledger struct {
			Entries []json.RawMessage
			Next    *uint64
		}
		page := func(query string) []consent.Entry {
			t.Helper()
			ledger.Next = nil
			if err := json.Unmarshal(s.call("GET", id+"/ledger"+query, "").Body, &ledger); err != nil {
				t.Fatal(err)
			}
			var entries []consent.Entry
			for _, raw := range ledger.Entries {
				e, err := consent.DecodeEntry(raw)
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, e)
			}
			return entries
		}
		all := page("")
		if err := consent.VerifyChain(all); err != nil || len(all) != 2 || ledger.Next != nil {
			t.Errorf("%d entries, next %v: %v", len(all), ledger.Next, err)
		}
		if got := page("?limit=1"); len(got) != 1 || got[0].Seq != 1 || ledger.Next == nil || *ledger.Next != 1 {
			t.Errorf("first page %v, next %v", got, ledger.Next)
		}
		if got := page("?after=1&limit=1"); len(got) != 1 || got[0].Seq != 2 || ledger.Next != nil {
			t.Errorf("second page %v, next %v", got, ledger.Next)
		}

		receipt := s.call("GET", id+"/receipt?verified=2026-01-01T00:00:00Z", "").json(t)
		if receipt["schema_version"] != consent.ReceiptSchema || receipt["pii_principal_id"] != string(first.Subject) ||
			!strings.Contains(fmt.Sprint(receipt["request"]), "2026-01-16") {
			t.Errorf("receipt %v", receipt)
		}
		if strings.Contains(s.logs(), "u1") {
			t.Errorf("the id is logged: %s", s.logs())
		}
	})
}

func TestIdempotencyKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		event := `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true}`
		first := s.call("POST", "/consent/v1/events", event, "Idempotency-Key", "k1")
		first.want(t, 201, "")
		again := s.call("POST", "/consent/v1/events", event, "Idempotency-Key", "k1")
		again.want(t, 201, "")
		if string(again.Body) != string(first.Body) || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("first %s, again %s %v", first.Body, again.Body, again.Header)
		}
		s.call("POST", "/consent/v1/events", `{"subject":"u1","accept_policy":false}`, "Idempotency-Key", "k1").want(t, 422, "idempotency-key-reused")
		s.call("POST", "/consent/v1/events", event, "Idempotency-Key", strings.Repeat("k", 257)).want(t, 400, "invalid-request")
		s.call("POST", "/consent/v1/events", event, "Idempotency-Key", "a", "Idempotency-Key", "b").want(t, 400, "invalid-request")
	})
}

func TestCancellingAndRegisteringAnew(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		accept := `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true%s}`
		s.call("POST", "/consent/v1/events", fmt.Sprintf(accept, "")).want(t, 201, "")
		r := s.call("DELETE", "/consent/v1/subjects/u1", "")
		r.want(t, 200, "")
		if e, err := consent.DecodeEntry(r.Body); err != nil || e.Type != consent.EntryCancel {
			t.Errorf("entry %s: %v", r.Body, err)
		}
		s.call("POST", "/consent/v1/events", fmt.Sprintf(accept, "")).want(t, 410, "cancelled")
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"d1"}`).want(t, 410, "cancelled")
		s.call("DELETE", "/consent/v1/subjects/u1", "").want(t, 410, "cancelled")
		state := s.call("GET", "/consent/v1/subjects/u1", "").json(t)
		if state["cancelled"] != true || state["known"] != false || state["policy_version"] != nil {
			t.Errorf("state %v", state)
		}
		s.call("POST", "/consent/v1/events", fmt.Sprintf(accept, `,"register":true`)).want(t, 201, "")
		if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["known"] != true || state["version"] != 3.0 {
			t.Errorf("state %v", state)
		}
	})
}

func TestLinks(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		r := s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"d/1"}`)
		r.want(t, 201, "")
		device := r.json(t)["device"]
		links := func(path string) string { return fmt.Sprint(s.call("GET", path, "").json(t)["links"]) }
		if got := links("/consent/v1/subjects/u1"); got != fmt.Sprintf("[%v]", device) {
			t.Errorf("links of the user %s, want %v", got, device)
		}
		if got := links("/consent/v1/subjects/d%2F1?kind=device"); got == "[]" {
			t.Error("the device has no link")
		}
		s.call("DELETE", "/consent/v1/subjects/u1/links/d%2F1", "").want(t, 204, "")
		if got := links("/consent/v1/subjects/u1"); got != "[]" {
			t.Errorf("links after the log-out: %s", got)
		}
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"0"}`).want(t, 422, "invalid-event")
		s.call("POST", "/consent/v1/subjects/u1/links", `{}`).want(t, 422, "invalid-event")
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"d","x":1}`).want(t, 400, "malformed-body")
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"d","device":"e"}`).want(t, 400, "malformed-body")
		s.call("POST", "/consent/v1/subjects/u1/links?kind=device", `{"device":"d"}`).want(t, 400, "invalid-request")
	})
}

func TestIDsMayBeOfAnyScript(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	for _, id := range []string{"用户/一", "a b", "../x", "u1?kind=device", "100%"} {
		s.call("POST", "/consent/v1/events", fmt.Sprintf(`{"subject":%q,"policy_version":"2022-03-09","accept_policy":true}`, id)).want(t, 201, "")
		if state := s.call("GET", "/consent/v1/subjects/"+url.PathEscape(id), "").json(t); state["known"] != true {
			t.Errorf("%q: %v", id, state)
		}
	}
}

// Every refusal is a problem, and none repeats what was sent.
func TestRefusalsOfTheAPI(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	const events = "/consent/v1/events"
	jsonType := []string{"Authorization", "Bearer " + apiToken, "Content-Type", "application/json"}
	for name, c := range map[string]struct {
		reply  reply
		status int
		kind   string
	}{
		"no token":          {s.do("GET", "/consent/v1/policy", ""), 401, "unauthenticated"},
		"wrong token":       {s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer "+canary), 401, "unauthenticated"},
		"part of the token": {s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer "+apiToken[:20]), 401, "unauthenticated"},
		"empty token":       {s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer "), 401, "unauthenticated"},
		"another scheme":    {s.do("GET", "/consent/v1/policy", "", "Authorization", "Basic "+apiToken), 401, "unauthenticated"},
		"two tokens":        {s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer "+apiToken, "Authorization", "Bearer x"), 401, "unauthenticated"},
		"unknown path":      {s.call("GET", "/consent/v1/persons/"+canary, ""), 404, "not-found"},
		"no id":             {s.call("GET", "/consent/v1/subjects/", ""), 404, "not-found"},
		"too deep":          {s.call("GET", "/consent/v1/subjects/"+canary+"/links/a/b", ""), 404, "not-found"},
		"id of nobody":      {s.call("GET", "/consent/v1/subjects/00000000-0000-0000-0000-000000000000", ""), 404, "no-subject"},
		"method":            {s.call("PUT", "/consent/v1/subjects/"+canary, "{}"), 405, "method-not-allowed"},
		"parameter":         {s.call("GET", "/consent/v1/subjects/u1?sort="+canary, ""), 400, "invalid-request"},
		"kind":              {s.call("GET", "/consent/v1/subjects/u1?kind="+canary, ""), 400, "invalid-request"},
		"kind twice":        {s.call("GET", "/consent/v1/subjects/u1?kind=user&kind=device", ""), 400, "invalid-request"},
		"limit":             {s.call("GET", "/consent/v1/subjects/u1/ledger?limit=0", ""), 400, "invalid-request"},
		"after":             {s.call("GET", "/consent/v1/subjects/u1/ledger?after=-1", ""), 400, "invalid-request"},
		"verified":          {s.call("GET", "/consent/v1/subjects/u1/receipt?verified=today", ""), 400, "invalid-request"},
		"parameter of POST": {s.call("POST", events+"?kind=user", `{"subject":"u1"}`), 400, "invalid-request"},
		"no type":           {s.do("POST", events, `{}`, "Authorization", "Bearer "+apiToken), 415, "unsupported-type"},
		"other type":        {s.do("POST", events, `{}`, "Authorization", "Bearer "+apiToken, "Content-Type", "text/plain"), 415, "unsupported-type"},
		"encoded":           {s.do("POST", events, `{}`, append(jsonType, "Content-Encoding", "gzip")...), 415, "unsupported-encoding"},
		"too large":         {s.call("POST", events, `{"subject":"`+strings.Repeat("a", consent.MaxEventSize)+`"}`), 413, "body-too-large"},
		"no JSON":           {s.call("POST", events, `{"subject":"`+canary), 400, "malformed-body"},
		"unknown member":    {s.call("POST", events, `{"subject":"u1","grant":[]}`), 400, "malformed-body"},
		"member twice":      {s.call("POST", events, `{"subject":"u1","subject":"`+canary+`"}`), 400, "malformed-body"},
		"no subject":        {s.call("POST", events, `{"accept_policy":false}`), 422, "invalid-event"},
		"unknown version":   {s.call("POST", events, `{"subject":"u1","accept_policy":true,"policy_version":"`+canary+`"}`), 422, "invalid-event"},
		"unknown purpose":   {s.call("POST", events, `{"subject":"u1","grants":[{"purpose":"p`+canary+`","status":"denied"}]}`), 422, "invalid-event"},
		"unknown recipient": {s.call("POST", events, `{"subject":"u1","grants":[{"purpose":"sdk.amap","recipient":"r`+canary+`","status":"denied"}]}`), 422, "invalid-event"},
		"unknown status":    {s.call("POST", events, `{"subject":"u1","grants":[{"purpose":"sdk.amap","recipient":"amap","status":"`+canary+`"}]}`), 422, "invalid-event"},
	} {
		t.Run(name, func(t *testing.T) {
			c.reply.want(t, c.status, c.kind)
			if strings.Contains(string(c.reply.Body), canary) || strings.Contains(fmt.Sprint(c.reply.Header), canary) {
				t.Errorf("what was sent is repeated: %s %v", c.reply.Body, c.reply.Header)
			}
			if c.status == 422 && c.kind == "invalid-event" {
				errs, _ := c.reply.json(t)["errors"].([]any)
				if len(errs) != 1 || !strings.HasPrefix(errs[0].(map[string]any)["pointer"].(string), "/") || errs[0].(map[string]any)["detail"] == "" {
					t.Errorf("errors %v", errs)
				}
			}
			if c.status == 401 && c.reply.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if c.status == 405 && c.reply.Header.Get("Allow") != "DELETE, GET, HEAD, OPTIONS" {
				t.Errorf("Allow: %s", c.reply.Header.Get("Allow"))
			}
		})
	}
	if strings.Contains(s.logs(), canary) {
		t.Errorf("logged: %s", s.logs())
	}
}

// A body without Content-Length is bounded as well.
func TestAChunkedBodyIsBounded(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	body := strings.Repeat("a", consent.MaxEventSize+1)
	s.raw(fmt.Sprintf("POST /consent/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		apiToken, len(body), body)).want(t, 413, "body-too-large")
}

func TestHEADAndOPTIONS(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	r := s.call("HEAD", "/consent/v1/policy", "")
	r.want(t, 200, "")
	if len(r.Body) != 0 || r.Header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %v %q", r.Header, r.Body)
	}
	r = s.do("OPTIONS", "/consent/v1/events", "")
	r.want(t, 204, "")
	if r.Header.Get("Allow") != "OPTIONS, POST" {
		t.Errorf("Allow: %s", r.Header.Get("Allow"))
	}
	if r := s.do("GET", "/consent/v2/policy", ""); string(r.Body) != "" && r.Status != 200 {
		t.Errorf("what is not of the API: %d %s", r.Status, r.Body)
	}
}

func TestThePolicyHoldsWhatADialogNeeds(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	p := s.call("GET", "/consent/v1/policy", "").json(t)
	if p["id"] != "liaoxiaobang" || p["version"] != "2022-03-09" {
		t.Errorf("policy %v", p)
	}
	for _, u := range p["purposes"].([]any) {
		title, _ := u.(map[string]any)["title"].(map[string]any)
		if title["zh"] == "" || title["en"] == "" {
			t.Errorf("purpose without titles: %v", u)
		}
	}
}

// self: what everyone may do with the own consent, and no more.
func TestSelfActsForItselfAlone(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken+"\n\t\t\tself {http.request.header.X-Verified-User}")
	as := func(user, method, path, body string) reply {
		t.Helper()
		return s.do(method, path, body, "X-Verified-User", user, "Content-Type", "application/json", "Authorization", "Bearer a-token-of-the-app")
	}
	const events = "/consent/v1/events"
	as("u1", "POST", events, `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"media.geotag","status":"granted"}]}`).want(t, 201, "")
	as("u1", "GET", "/consent/v1/subjects/u1", "").want(t, 200, "")
	as("u1", "GET", "/consent/v1/subjects/u1/ledger", "").want(t, 200, "")
	as("u1", "GET", "/consent/v1/subjects/u1/receipt", "").want(t, 200, "")
	as("u1", "GET", "/consent/v1/policy", "").want(t, 200, "")

	as("u1", "POST", events, `{"subject":"u2","accept_policy":false}`).want(t, 403, "not-yours")
	as("u1", "POST", events, `{"subject":"u1","kind":"device","accept_policy":false}`).want(t, 403, "not-yours")
	as("u1", "GET", "/consent/v1/subjects/u2", "").want(t, 403, "not-yours")
	as("u1", "GET", "/consent/v1/subjects/u1?kind=device", "").want(t, 403, "not-yours")
	as("u1", "DELETE", "/consent/v1/subjects/u2", "").want(t, 403, "not-yours")
	for _, member := range []string{`"minor_until":null`, `"minor_until":"2030-01-01T00:00:00Z"`, `"guardian":null`, `"register":true`} {
		r := as("u1", "POST", events, `{"subject":"u1","accept_policy":false,`+member+`}`)
		r.want(t, 403, "token-needed")
	}
	as("u1", "POST", "/consent/v1/subjects/u1/links", `{"device":"d1"}`).want(t, 403, "token-needed")
	as("u1", "DELETE", "/consent/v1/subjects/u1/links/d1", "").want(t, 403, "token-needed")
	as("", "GET", "/consent/v1/subjects/u1", "").want(t, 401, "unauthenticated")
	s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"d1"}`).want(t, 201, "")
	as("u1", "DELETE", "/consent/v1/subjects/u1", "").want(t, 200, "")
	as("u1", "POST", events, `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true}`).want(t, 410, "cancelled")
}

func TestTheTokenIsMadeOnceBesideTheData(t *testing.T) {
	const caddyfile = `{
	consent {
		policy liaoxiaobang
		store embedded @DATA@/store
		secret {$NOT_SET_ANYWHERE}
	}
}
http://:@PORT@ {
	consent_api {
		token {env.NOT_SET_ANYWHERE}
	}
}
`
	s := startCaddy(t, caddyfile)
	read := func(name string) string {
		t.Helper()
		path := filepath.Join(s.Data, "store", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		return strings.TrimSpace(string(b))
	}
	token, secret := read(tokenFile), read(secretFile)
	if len(token) < 32 || len(secret) < 32 || token == secret {
		t.Fatalf("token %q, secret %q", token, secret)
	}
	if logs := s.logs(); strings.Contains(logs, token) || strings.Contains(logs, secret) || !strings.Contains(logs, tokenFile) {
		t.Errorf("logs: %s", logs)
	}
	if err := s.reload(caddyfile); err != nil {
		t.Fatal(err)
	}
	if read(tokenFile) != token || read(secretFile) != secret {
		t.Error("a reload made new ones")
	}
	s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer "+token).want(t, 200, "")
	s.do("GET", "/consent/v1/policy", "", "Authorization", "Bearer ").want(t, 401, "unauthenticated")
}

func TestAnUnreachableRedisIs503(t *testing.T) {
	s := startAPI(t, "store redis @DEAD@", "token "+apiToken)
	r := s.call("GET", "/consent/v1/subjects/"+canary, "")
	r.want(t, 503, "store-unavailable")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.call("POST", "/consent/v1/events", `{"subject":"`+canary+`","accept_policy":false}`).want(t, 503, "store-unavailable")
	s.call("GET", "/consent/v1/policy", "").want(t, 200, "")
	s.waitForLog("the link to the consent store is down")
	if strings.Contains(s.logs(), canary) {
		t.Errorf("logged: %s", s.logs())
	}
}
