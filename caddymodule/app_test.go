package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// samplePolicy is a policy of one recipient, in which a purpose can be added.
func samplePolicy(version string, morePurposes string) string {
	return fmt.Sprintf(`policy:
  id: sample
  versions: [2024-01-01, %s]
  controller: Sample
  contact: privacy@sample.test
  home: [CN]
include: [packs/identifiers.yaml]
categories:
  sample.note:
    title: {zh: 备注, en: Note}
    keys: [note]
purposes:
  service.operate:
    title: {zh: 运行, en: Operate}
    basis: necessary
    uses: [sample.note]
recipients:
  backend:
    kind: first_party
    title: {zh: 后端, en: Backend}
    purposes: [service.operate%s]
`, version, morePurposes)
}

// configuredApp returns the app of the running configuration.
func configuredApp(t *testing.T) *App {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("consent")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App)
}

const appCaddyfile = `{
	consent {
		policy @DATA@/policy.yaml
		store embedded @DATA@/store
		secret 0123456789abcdef0123456789abcdef
	}
}
http://:@PORT@ {
	handle /metrics {
		metrics
	}
	handle /consent/* {
		consent_api {
			token ` + apiToken + `
		}
	}
	handle {
		consent_gate backend {
			subject {http.request.header.X-User-ID}
		}
		reverse_proxy @UPSTREAM@
	}
}
`

// startWithPolicy starts appCaddyfile with a policy file of its own.
func startWithPolicy(t *testing.T, policy string) *server {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startCaddy(t, strings.ReplaceAll(appCaddyfile, "@DATA@/policy.yaml", path))
	s.policy = path
	return s
}

// A request that is on its way while another policy comes into force is decided
// on by that one as a whole, and what the person granted counts.
func TestARequestDuringAChangeOfPolicy(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2025-01-01","accept_policy":true}`).want(t, 201, "")
	for _, tt := range []struct{ contentType, begins, goes string }{
		{"application/json", `{"note":`, `"n"}`},
		{"application/x-ndjson", `{"note":1}` + "\n", `{"note":2}` + "\n"},
	} {
		body, begun := io.Pipe()
		req, err := http.NewRequest("POST", "http://"+s.Addr+"/", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.contentType)
		req.Header.Set("X-User-ID", "u1")
		answer := make(chan int)
		go func() {
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				answer <- 0
				return
			}
			_ = res.Body.Close()
			answer <- res.StatusCode
		}()
		if _, err := io.WriteString(begun, tt.begins); err != nil {
			t.Fatal(err)
		}
		testLogs.reset()
		if err := os.WriteFile(s.policy, []byte(samplePolicy("2025-01-01", "")+"# for "+tt.contentType+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.waitForLine("the changed policy is in force", s.policy)
		if _, err := io.WriteString(begun, tt.goes); err != nil {
			t.Fatal(err)
		}
		_ = begun.Close()
		if status := <-answer; status != 200 {
			t.Fatalf("status %d", status)
		}
		if got := string(s.upstream.last(t).Body); got != tt.begins+tt.goes {
			t.Errorf("%s: arrived %s", tt.contentType, got)
		}
	}
}

func TestAChangedPolicyComesIntoForce(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	version := func() any { return s.call("GET", "/consent/v1/policy", "").json(t)["version"] }
	s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2025-01-01","accept_policy":true}`).want(t, 201, "")
	s.do("POST", "/", `{"note":"n"}`, "Content-Type", "application/json", "X-User-ID", "u1")
	if got := string(s.upstream.last(t).Body); got != `{"note":"n"}` {
		t.Fatalf("arrived: %s", got)
	}

	rewrite := func(policy string) {
		t.Helper()
		if err := os.WriteFile(s.policy, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(strings.Replace(samplePolicy("2026-01-01", ""), "basis: necessary", "basis: neccessary", 1))
	s.waitForLine("the changed policy is refused", s.policy)
	if !strings.Contains(s.logs(), "policy.yaml:") || version() != "2025-01-01" {
		t.Errorf("version %v, logs %s", version(), s.logs())
	}

	// A policy that is sound but has no place for a gate that runs.
	rewrite(strings.Replace(samplePolicy("2026-01-01", ""), "  backend:\n", "  frontend:\n", 1))
	s.waitForLine("the changed policy is refused", s.policy, "consent_gate backend")
	if version() != "2025-01-01" {
		t.Errorf("version %v", version())
	}

	rewrite(strings.Replace(samplePolicy("2026-01-01", ""), "basis: necessary", "basis: consent\n    since: 2026-01-01", 1))
	s.waitForLine("the changed policy is in force", s.policy)
	if version() != "2026-01-01" {
		t.Errorf("version %v", version())
	}
	s.do("POST", "/", `{"note":"n"}`, "Content-Type", "application/json", "X-User-ID", "u1")
	if got := string(s.upstream.last(t).Body); strings.Contains(got, "note") {
		t.Errorf("under a policy that asks for consent there arrived %s", got)
	}
	metrics := string(s.do("GET", "/metrics", "").Body)
	for _, want := range []string{
		`consentgate_policy_info{policy="sample",version="2026-01-01"} 1`,
		`consentgate_policy_reloads_total{result="refused"} 2`, `consentgate_policy_reloads_total{result="taken"} 1`,
		`consentgate_watcher_up 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestMetricsHoldNothingOfThePerson(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	s.do("POST", "/?imei="+canary, `{"imei":"`+canary+`"}`, "Content-Type", "application/json", "X-User-ID", canary, "X-Imei", canary)
	s.call("GET", "/consent/v1/subjects/"+canary, "")
	metrics := string(s.do("GET", "/metrics", "").Body)
	if strings.Contains(metrics, canary) {
		t.Error("the metrics hold the canary")
	}
	for _, want := range []string{
		`consentgate_requests_total{outcome="forwarded",recipient="backend"} 1`,
		`consentgate_categories_total{action="drop",category="device.id.imei",recipient="backend"}`,
		`consentgate_api_calls_total{call="GET /consent/v1/subjects/{id}",status="200"} 1`,
		`consentgate_cache_misses_total 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestAnUnchangedReloadKeepsTheEngine(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	caddyfile := s.source
	before := configuredApp(t)
	if err := s.reload(caddyfile + "\n"); err != nil {
		t.Fatal(err)
	}
	after := configuredApp(t)
	if before == after || before.Cache() != after.Cache() || before.Current() != after.Current() {
		t.Error("the reload did not keep the cache and the policy")
	}
	// What the old configuration still serves works on.
	if _, err := before.Cache().Get(context.Background(), consent.Subject{}); err != nil {
		t.Error(err)
	}
	// Another cache is another engine on the same open file.
	if err := s.reload(strings.Replace(caddyfile, "store embedded", "cache {\n\t\t\tlease 1s\n\t\t}\n\t\tstore embedded", 1)); err != nil {
		t.Fatal(err)
	}
	if last := configuredApp(t); last.Cache() == after.Cache() {
		t.Error("the lease did not change")
	}
	s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2025-01-01","accept_policy":true}`).want(t, 201, "")
}

func TestAReloadTakesAChangedPolicyAtOnce(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	if err := os.WriteFile(s.policy, []byte(samplePolicy("2026-01-01", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(s.source); err != nil {
		t.Fatal(err)
	}
	if got := s.call("GET", "/consent/v1/policy", "").json(t)["version"]; got != "2026-01-01" {
		t.Errorf("version %v", got)
	}
	s.do("POST", "/", `{"note":"n"}`, "Content-Type", "application/json", "X-User-ID", "u1")
	s.upstream.last(t)
}

// caddy validate must work beside a running server, and leave nothing behind.
func TestValidatingOpensNothing(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	dir := t.TempDir()
	for _, store := range []string{s.Data + "/store", filepath.Join(dir, "new")} {
		cfg, err := adapt([]byte(strings.NewReplacer("@PORT@", "1", "@UPSTREAM@", "127.0.0.1:1", "@DATA@/store", store).Replace(s.source)))
		if err != nil {
			t.Fatal(err)
		}
		if cfg, err = forTest(cfg, dir); err != nil {
			t.Fatal(err)
		}
		var c caddy.Config
		if err := caddy.StrictUnmarshalJSON(cfg, &c); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&c); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
		t.Errorf("validating made the store: %v", err)
	}
}

func TestWhatCannotStartSaysWhatToDo(t *testing.T) {
	global := func(options string) string {
		return "{\n\tconsent {\n\t\t" + options + "\n\t}\n}\nhttp://:@PORT@ {\n\tconsent_api\n}\n"
	}
	const secret = "\n\t\tsecret 0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct{ caddyfile, want string }{
		"no policy":            {global("store embedded @DATA@/s"), "no policy; write `policy FILE`"},
		"unknown policy":       {global("policy nosuch"), "there is no such file, and the policies that ship with the program are: liaoxiaobang"},
		"missing file":         {global("policy @DATA@/nosuch.yaml"), "nosuch.yaml"},
		"short secret":         {global("policy liaoxiaobang\n\t\tsecret short"), "the root secret has 5 bytes; it needs 32 or more"},
		"redis, no secret":     {global("policy liaoxiaobang\n\t\tstore redis 127.0.0.1:1"), "no root secret"},
		"redis, no token":      {global("policy liaoxiaobang\n\t\tstore redis 127.0.0.1:1" + secret), "consent_api: no token"},
		"redis, no address":    {global("policy liaoxiaobang\n\t\tstore redis" + secret), "write `address host:6379`"},
		"redis, wait for none": {global("policy liaoxiaobang\n\t\tstore redis h:1 {\n\t\t\twait 0 1s\n\t\t}" + secret), "at least one replica"},
		"redis, two servers":   {global("policy liaoxiaobang\n\t\tstore redis h:1 i:1" + secret), "several addresses"},
		"no app":               {"http://:@PORT@ {\n\tconsent_api\n}\n", "the global option consent is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, Addr: freeAddr(t), Data: t.TempDir(), upstream: startUpstream(t)}
			t.Cleanup(func() { _ = caddy.Stop() })
			if err := s.reload(c.caddyfile); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, and should contain %q", err, c.want)
			}
		})
	}
}

// Data whose secret is lost must not be served under a new one: it would hide
// every refusal.
func TestALostSecretIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	store := &EmbeddedStore{Path: dir}
	if err := store.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	first, err := rootSecret(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := rootSecret(store, nil); err != nil || string(again) != string(first) {
		t.Errorf("again: %v", err)
	}
	opened, err := store.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if err := os.Remove(filepath.Join(dir, secretFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := rootSecret(store, nil); err == nil || !strings.Contains(err.Error(), "restore the file") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, secretFile)); !os.IsNotExist(err) {
		t.Error("a new secret was made")
	}
	if given, err := rootSecret(store, []byte("given")); err != nil || string(given) != "given" {
		t.Errorf("given: %v", err)
	}
}

func TestASecretFileThatIsCutShortIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), secretFile)
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readOrMakeSecretFile(path); err == nil {
		t.Error("no error")
	}
}

func TestAnEmbeddedStoreInUseIsAClearError(t *testing.T) {
	s := &server{t: t, Addr: freeAddr(t), Data: t.TempDir(), upstream: startUpstream(t)}
	t.Cleanup(func() { _ = caddy.Stop() })
	held := &EmbeddedStore{Path: filepath.Join(s.Data, "store")}
	if err := held.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	opened, err := held.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	err = s.reload("{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tsecret 0123456789abcdef0123456789abcdef\n\t\tstore embedded @DATA@/store\n\t}\n}\nhttp://:@PORT@\n")
	if err == nil || !strings.Contains(err.Error(), "is another consentgate using it?") {
		t.Errorf("error %v", err)
	}
}

// A Redis that is away when the gateway starts is found once it is there.
func TestRedisMayComeLater(t *testing.T) {
	r := redistest.Start(t)
	r.Stop()
	s := startAPI(t, "store redis "+r.Addr, "token "+apiToken)
	s.call("GET", "/consent/v1/subjects/u1", "").want(t, http.StatusServiceUnavailable, "store-unavailable")
	r.Restart()
	s.waitForLog("changes of consent reach the cache")
	s.call("POST", "/consent/v1/events", `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true}`).want(t, 201, "")
}

func TestSecretsStandInNoConfiguration(t *testing.T) {
	t.Setenv("CONSENT_TEST_SECRET", "the-root-secret-0123456789abcdef")
	t.Setenv("CONSENT_TEST_TOKEN", apiToken)
	t.Setenv("CONSENT_TEST_PASSWORD", "the-password-of-redis")
	startCaddy(t, `{
	consent {
		policy liaoxiaobang
		secret {env.CONSENT_TEST_SECRET}
		store redis @DEAD@ {
			password {env.CONSENT_TEST_PASSWORD}
		}
	}
}
http://:@PORT@ {
	consent_api {
		token {env.CONSENT_TEST_TOKEN}
	}
}
`)
	app := configuredApp(t)
	redis := app.store.(*RedisStore)
	if string(app.secret) != os.Getenv("CONSENT_TEST_SECRET") || redis.config.Password != "the-password-of-redis" {
		t.Error("the secrets are not resolved")
	}
	for _, exported := range []string{app.Secret, redis.Password, redis.Key(), app.engineKey()} {
		for _, secret := range []string{"the-root-secret", apiToken, "the-password"} {
			if strings.Contains(exported, secret) {
				t.Errorf("%q holds a secret", exported)
			}
		}
	}
}

func TestTheStoreStaysOpenUntilItsReleaseIsDue(t *testing.T) {
	delay := releaseDelay
	t.Cleanup(func() { releaseDelay = delay })
	releaseDelay = time.Millisecond
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	key := configuredApp(t).store.Key()
	if err := s.reload("http://:@PORT@ {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is closed", func() bool { _, open := openStores.References(key); return !open })
	if err := s.reload(s.source); err != nil {
		t.Fatalf("opening it again: %v", err)
	}
}
