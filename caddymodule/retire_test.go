package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// childConfig, when set, makes the test binary a `policy retire` of that
// configuration, which tells its progress after every subject.
const childConfig = "CONSENT_TEST_RETIRE_CONFIG"

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		r := &retirement{config: config, confirm: "liaoxiaobang", out: os.Stdout, progress: os.Stderr, now: time.Now}
		if err := r.run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(peerProcess) != "" {
		if err := runPeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// retireConfig is the configuration of a gateway, as a Caddyfile.
func retireConfig(t *testing.T, store string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Caddyfile")
	config := "{\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t\tsecret 0123456789abcdef0123456789abcdef\n\t\tstore " + store + "\n\t}\n}\nhttp://:8080 {\n\trespond ok\n}\n"
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openRetired opens the store of such a configuration.
func openRetired(t *testing.T, store string) (consent.Store, *consent.Service) {
	t.Helper()
	raw, err := (&retirement{config: retireConfig(t, store)}).readConfig()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	app := new(App)
	if err := json.Unmarshal(raw, app); err != nil {
		t.Fatal(err)
	}
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	identifier, err := consent.NewIdentifier(app.secret)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := app.store.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	policy := app.loaded.Policy
	return opened, consent.NewService(opened, func() consent.Policy { return policy }, identifier, time.Now, nil)
}

// seed records so many subjects. A machine under load may need a second attempt;
// the key makes a repetition harmless.
func seed(t *testing.T, service *consent.Service, n int) {
	t.Helper()
	const atOnce, attempts = 8, 20
	var writers sync.WaitGroup
	accept := true
	for w := range atOnce {
		writers.Go(func() {
			for i := w; i < n; i += atOnce {
				var err error
				for range attempts {
					if _, _, _, err = service.Record(t.Context(), consent.Event{
						Subject: fmt.Sprint("subject-", i), PolicyVersion: "2022-03-09", AcceptPolicy: &accept,
					}, "seed"); err == nil {
						break
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// retireStores are the stores that gateways can have, as a Caddyfile names them.
func retireStores(t *testing.T, test func(t *testing.T, store string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, "embedded "+t.TempDir()) })
	t.Run("redis", func(t *testing.T) { test(t, "redis "+redistest.Start(t, "appendfsync", "no").Addr) })
	t.Run("redis cluster", func(t *testing.T) {
		test(t, "redis "+redistest.StartCluster(t, 3)[0].Addr+" {\n\t\t\tcluster\n\t\t}")
	})
}

func TestRetireCancelsEverySubject(t *testing.T) {
	retireStores(t, func(t *testing.T, store string) {
		const n = 700 // more than a page
		opened, service := openRetired(t, store)
		seed(t, service, n)
		if err := service.Link(t.Context(), "subject-0", "device-0"); err != nil {
			t.Fatal(err)
		}
		if _, err := service.Cancel(t.Context(), consent.User, "subject-1"); err != nil {
			t.Fatal(err)
		}
		opened.Close()
		config := retireConfig(t, store)

		for _, args := range [][]string{{}, {"--confirm", "liaoxiaoban"}, {"--confirm", ""}} {
			out, err := runCommand(policyRetireCommand(), append(args, "--config", config)...)
			if err == nil || !strings.Contains(err.Error(), "nothing is done") {
				t.Errorf("with %q: %v, %s", args, err, out)
			}
		}
		out, err := runCommand(policyRetireCommand(), "--config", config, "--dry-run")
		if err != nil || !strings.Contains(out, fmt.Sprintf("%d subjects would be cancelled; 1 are already", n)) {
			t.Errorf("dry run: %v, %s", err, out)
		}
		openAgain(t, store, func(service *consent.Service) {
			if st, err := service.State(t.Context(), consent.User, "subject-0"); err != nil || !st.Known() || st.Salt == nil {
				t.Errorf("after a dry run: %+v, %v", st, err)
			}
		})

		out, err = runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang")
		if err != nil || !strings.Contains(out, fmt.Sprintf("liaoxiaobang is retired: %d subjects cancelled, 1 were already", n)) {
			t.Fatalf("%v: %s", err, out)
		}
		openAgain(t, store, func(service *consent.Service) { allRetired(t, service, n) })
		out, err = runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang")
		if err != nil || !strings.Contains(out, fmt.Sprintf("0 subjects cancelled, %d were already", n+1)) {
			t.Errorf("again: %v, %s", err, out)
		}
	})
}

// openAgain lets go of the store when it is done with it.
func openAgain(t *testing.T, store string, use func(*consent.Service)) {
	t.Helper()
	opened, service := openRetired(t, store)
	use(service)
	opened.Close()
}

// allRetired checks that each of n subjects is cancelled, once, and that the
// proof of it stays.
func allRetired(t *testing.T, service *consent.Service, n int) {
	t.Helper()
	for i := range n {
		name := fmt.Sprint("subject-", i)
		st, err := service.State(t.Context(), consent.User, name)
		if err != nil {
			t.Fatal(err)
		}
		if !st.Tombstoned || st.Salt != nil || len(st.Grants)+len(st.Links) > 0 {
			t.Fatalf("%s: %+v", name, st)
		}
		entries, err := service.Ledger(t.Context(), consent.User, name, 0, 100)
		if err == nil {
			err = consent.VerifyChain(entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		cancels := 0
		for _, e := range entries {
			if e.Type == consent.EntryCancel {
				cancels++
			}
		}
		if last := entries[len(entries)-1]; cancels != 1 || last.Hash != st.Head || last.Type != consent.EntryCancel {
			t.Fatalf("%s: %d cancellations, the last entry is %+v", name, cancels, last)
		}
	}
}

// Killed in the middle, run again: the first one's work counts, and nobody is
// cancelled twice.
func TestRetireMayBeKilledAndRunAgain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("embedded", func(t *testing.T) { killAndResume(t, self, "embedded "+t.TempDir()) })
	t.Run("redis", func(t *testing.T) { killAndResume(t, self, "redis "+redistest.Start(t, "appendfsync", "no").Addr) })
}

// killAndResume kills the command after a fifth of the subjects. It cannot
// finish before: it tells of each, and a pipe holds no more than 64 KiB that
// nobody has read.
func killAndResume(t *testing.T, self, store string) {
	const n = 3000
	opened, service := openRetired(t, store)
	seed(t, service, n)
	opened.Close()
	config := retireConfig(t, store)

	child := exec.Command(self)
	child.Env = append(os.Environ(), childConfig+"="+config)
	stderr, err := child.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if !strings.Contains(lines.Text(), " cancelled, ") {
			continue
		}
		if told++; told == n/5 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("it was not killed in time")
	}

	done := 0
	openAgain(t, store, func(service *consent.Service) {
		for i := range n {
			if st, err := service.State(t.Context(), consent.User, fmt.Sprint("subject-", i)); err != nil {
				t.Fatal(err)
			} else if st.Tombstoned {
				done++
			}
		}
	})
	if done < n/5 || done == n {
		t.Fatalf("%d of %d were cancelled when it was killed", done, n)
	}
	child = exec.Command(self)
	child.Env = append(os.Environ(), childConfig+"="+config)
	out, err := child.Output()
	if want := fmt.Sprintf("%d subjects cancelled, %d were already", n-done, done); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s; want %s", err, out, want)
	}
	openAgain(t, store, func(service *consent.Service) { allRetired(t, service, n) })
}

func TestRetireAsksToStopTheGatewayThatHasTheStore(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	s.call("POST", "/consent/v1/events", `{"subject":"u1","accept_policy":false}`).want(t, 201, "")
	config := retireConfig(t, "embedded "+s.Data+"/store")
	out, err := runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang")
	if err == nil || !strings.Contains(err.Error(), "Stop the gateway first") {
		t.Errorf("%v: %s", err, out)
	}
	if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["known"] != true {
		t.Errorf("state %v", state)
	}
}

// With Redis the gateways go on, and act on it at once.
func TestAGatewayThatRunsSeesTheRetirement(t *testing.T) {
	r := redistest.Start(t)
	s := startAPI(t, "store redis "+r.Addr, "token "+apiToken)
	const accept = `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"media.geotag","status":"granted"}]%s}`
	s.call("POST", "/consent/v1/events", fmt.Sprintf(accept, "")).want(t, 201, "")
	s.waitForLog("changes of consent reach the cache")
	app := configuredApp(t)
	id, _ := app.Identifier().Identify(consent.User, "u1")
	verdict := func() Verdict {
		v, err := app.Cache().Get(t.Context(), consent.Subject{User: id})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := verdict(); !v.Known || v.Salt == nil {
		t.Fatalf("verdict %+v", v)
	}
	config := retireConfig(t, "redis "+r.Addr)
	if out, err := runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the gateway has heard of it", func() bool { v := verdict(); return !v.Known && v.Salt == nil })
	s.call("POST", "/consent/v1/events", fmt.Sprintf(accept, "")).want(t, http.StatusGone, "cancelled")
	var ledger struct{ Entries []consent.Entry }
	if err := json.Unmarshal(s.call("GET", "/consent/v1/subjects/u1/ledger", "").Body, &ledger); err != nil {
		t.Fatal(err)
	}
	if n := len(ledger.Entries); n != 2 || !strings.Contains(string(ledger.Entries[1].Event), `"channel":"retire"`) {
		t.Errorf("ledger %+v", ledger)
	}
}

func TestRetireCountsWhoCouldNotBeCancelled(t *testing.T) {
	r := redistest.Start(t)
	_, service := openRetired(t, "redis "+r.Addr)
	seed(t, service, 10)
	const damaged = "consent:{aaaaaaaaaaaaaaaaaaaaaa}:state"
	op := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer op.Close()
	if err := op.HSet(t.Context(), damaged, "version", "x", "salt", canary).Err(); err != nil {
		t.Fatal(err)
	}
	config := retireConfig(t, "redis "+r.Addr)
	out, err := runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang")
	if err == nil || !strings.Contains(err.Error(), "10 subjects cancelled, and 1 could not be") ||
		!strings.Contains(out, "aaaaaaaaaaaaaaaaaaaaaa: ") || strings.Contains(out, canary) {
		t.Errorf("%v: %s", err, out)
	}
	allRetired(t, service, 10)
	r.Stop()
	if _, err := runCommand(policyRetireCommand(), "--config", config, "--confirm", "liaoxiaobang"); err == nil || !strings.Contains(err.Error(), "run the command again") {
		t.Errorf("with Redis away: %v", err)
	}
}

func TestRetireTellsItsProgress(t *testing.T) {
	store := "embedded " + t.TempDir()
	opened, service := openRetired(t, store)
	seed(t, service, 10)
	opened.Close()
	var now time.Duration
	var progress bytes.Buffer
	r := &retirement{
		config: retireConfig(t, store), confirm: "liaoxiaobang", out: io.Discard, progress: &progress, every: time.Second,
		now: func() time.Time { now += 400 * time.Millisecond; return time.Unix(0, int64(now)) },
	}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "3 cancelled, 0 were already, 0 failed\n6 cancelled, 0 were already, 0 failed\n9 cancelled, 0 were already, 0 failed\n"
	if progress.String() != want {
		t.Errorf("progress:\n%s", progress.String())
	}
}

func TestWhatCannotBeRetiredSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	used := "embedded " + filepath.Join(dir, "used")
	opened, service := openRetired(t, used)
	if _, err := opened.Bind(t.Context(), "another's"); err != nil {
		t.Fatal(err)
	}
	seed(t, service, 1)
	opened.Close()
	for name, c := range map[string]struct{ config, want string }{
		"no file":         {filepath.Join(dir, "nosuch"), "reading config from file"},
		"no JSON":         {file("config.txt", "consent {}"), "--adapter"},
		"no app":          {file("Caddyfile", "http://:8080\n"), "no global option consent"},
		"no store":        {retireConfig(t, "embedded "+filepath.Join(dir, "new")), "holds no consent store"},
		"another secret":  {retireConfig(t, used), "belongs to another root secret"},
		"an unknown name": {file("x.json", `{"apps":{"consent":{"policy":"liaoxiaobang","stor":{}}}}`), "stor"},
		"no policy":       {file("y.json", `{"apps":{"consent":{}}}`), "no policy"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runCommand(policyRetireCommand(), "--config", c.config, "--confirm", "liaoxiaobang")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %s; want %s", err, out, c.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
		t.Error("a store was made")
	}
	openAgain(t, used, func(service *consent.Service) {
		if st, err := service.State(t.Context(), consent.User, "subject-0"); err != nil || !st.Known() {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
