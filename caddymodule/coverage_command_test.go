package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// programVariable holds the arguments, as JSON, with which the test binary is
// the program itself, so that tests can run its commands as users do.
const programVariable = "CONSENTGATE_TEST_PROGRAM"

// TestTheProgram is what the program starts with in tests, and shows that it
// has the command.
func TestTheProgram(t *testing.T) {
	if raw := os.Getenv(programVariable); raw != "" {
		var args []string
		if err := json.Unmarshal([]byte(raw), &args); err != nil {
			t.Fatal(err)
		}
		os.Args = append([]string{"consentgate"}, args...)
		caddycmd.Main()
		os.Exit(0)
	}
	if out, exit := program(t, "", "policy", "--help"); exit != 0 || !strings.Contains(out, "coverage") {
		t.Errorf("exit status %d:\n%s", exit, out)
	}
}

// programCommand is a command of consentgate that keeps to itself.
func programCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheProgram$")
	cmd.Env = append(os.Environ(), programVariable+"="+string(raw), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir())
	return cmd
}

// program runs a command of consentgate, with a configuration on its standard
// input, and returns all that it printed.
func program(t *testing.T, stdin string, args ...string) (output string, exit int) {
	t.Helper()
	cmd := programCommand(t, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func configFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	coveredSite   = "http://127.0.0.1:1 {\n\tconsent_gate backend\n\treverse_proxy u:1\n}\n"
	uncoveredSite = "http://127.0.0.1:1 {\n\treverse_proxy u:1\n}\n"
	uncoveredText = ":1 127.0.0.1 u:1 has no gate"
)

func TestPolicyCoverageOfTheShippedCaddyfile(t *testing.T) {
	for _, name := range []string{"BACKEND", "PARTNER", "ADX_URL", "GEOIP_DB", "CONSENT_PORT"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := runCommand(policyCoverageCommand(), "--config", "../Caddyfile")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, recipient := range []string{"backend", "analytics", "backend (responses: open_platform)", "public", "jpush", "wechat", "x5", "alipay", "wechatpay", "mob", "geetest", "amap", "adx", "measure_overseas"} {
		if !strings.Contains(out, "  "+recipient+" ") {
			t.Errorf("%s is not listed", recipient)
		}
	}
	if strings.Contains(out, verdictUncovered) || strings.Contains(out, "warning:") || strings.Contains(out, ":9000  *") {
		t.Errorf("the table is\n%s", out)
	}
}

func TestPolicyCoveragePrintsATable(t *testing.T) {
	file := configFile(t, "Caddyfile", coverageCaddyfile(t, "uncovered :8080 /health u:2", `http://:8080 {
	handle /v1/* {
		consent_gate backend {
			purposes service.operate post.publish
		}
		reverse_proxy u:1
	}
	handle /try/* {
		consent_gate adx {
			mode observe
		}
		reverse_proxy u:1
	}
	handle /health {
		reverse_proxy u:2
	}
	handle {
		reverse_proxy u:3
	}
}
`))
	out, err := runCommand(policyCoverageCommand(), "--config", file)
	if err == nil || err.Error() != "1 error" {
		t.Errorf("error %v", err)
	}
	want := `LISTENER  ROUTE    UPSTREAM  RECIPIENT  PURPOSES                      MODE     VERDICT
:8080     /health  u:2       -          -                             -        named
:8080     /try/*   u:1       adx        all                           observe  observed
:8080     /v1/*    u:1       backend    service.operate post.publish  enforce  gated
:8080     *        u:3       -          -                             -        NOT COVERED

warning: :8080 /try/* u:1: ` + "`mode observe`" + ` takes nothing away and refuses nothing

error: :8080 * u:3 has no gate.`
	if !strings.HasPrefix(out, want) {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}

	out, err = runCommand(policyCoverageCommand(), "--config", file, "--json")
	var cov coverage
	if jsonErr := json.Unmarshal([]byte(out[:strings.LastIndex(out, "}")+1]), &cov); err == nil || jsonErr != nil {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	if len(cov.Routes) != 4 || cov.Routes[3].Verdict != verdictUncovered || len(cov.Errors) != 1 || cov.Errors[0].Kind != "uncovered" {
		t.Errorf("printed %s", out)
	}
}

func TestPolicyCoverageTakesJSON(t *testing.T) {
	cfg, err := adapt([]byte(coverageCaddyfile(t, "", uncoveredSite)))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := runCommand(policyCoverageCommand(), "--config", configFile(t, "caddy.json", string(cfg))); err == nil || !strings.Contains(out, uncoveredText) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := runCommand(policyCoverageCommand()); err == nil || !strings.Contains(err.Error(), "there is no Caddyfile") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := runCommand(policyCoverageCommand(), "--config", configFile(t, "caddy.json", `{"apps":{"http":{"servers":3}}}`)); err == nil || !strings.Contains(err.Error(), "apps.http") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestValidateRefusesWhatIsNotCovered(t *testing.T) {
	plainLog := "{\n\tadmin off\n\tconsent {\n\t\tpolicy liaoxiaobang\n\t}\n}\n"
	for name, c := range map[string]struct{ caddyfile, want string }{
		"covered":          {coverageCaddyfile(t, "", coveredSite), "Valid configuration"},
		"uncovered":        {coverageCaddyfile(t, "", uncoveredSite), uncoveredText},
		"a stale name":     {coverageCaddyfile(t, "uncovered x", coveredSite), "`uncovered x` names no route"},
		"no http at all":   {coverageCaddyfile(t, "uncovered x", ""), "`uncovered x` names no route"},
		"a log":            {plainLog + coveredSite, "log default writes the addresses"},
		"no consent block": {uncoveredSite, uncoveredText},
	} {
		t.Run(name, func(t *testing.T) {
			file := configFile(t, "Caddyfile", c.caddyfile)
			fromFile, exit := program(t, "", "validate", "--config", file)
			fromStdin, exit2 := program(t, c.caddyfile, "validate", "--config", "-", "--adapter", "caddyfile")
			wantExit := 1
			if name == "covered" {
				wantExit = 0
			}
			if exit != wantExit || exit2 != wantExit {
				t.Errorf("exit status %d, and %d from stdin; want %d", exit, exit2, wantExit)
			}
			for _, out := range []string{fromFile, fromStdin} {
				if !strings.Contains(out, c.want) {
					t.Errorf("printed\n%s\nwhich lacks %s", out, c.want)
				}
			}
		})
	}
}

func TestRunRefusesWhatIsNotCovered(t *testing.T) {
	file := configFile(t, "Caddyfile", coverageCaddyfile(t, "", uncoveredSite))
	out, exit := program(t, "", "run", "--config", file)
	if exit == 0 || !strings.Contains(out, uncoveredText) {
		t.Errorf("exit status %d:\n%s", exit, out)
	}
	if strings.Contains(out, "server running") {
		t.Error("it has listened")
	}
	if out, exit := program(t, "", "policy", "coverage", "--config", file); exit != 1 || !strings.Contains(out, uncoveredText) {
		t.Errorf("exit status %d:\n%s", exit, out)
	}
}

// A reload that is refused leaves the configuration in force, whichever way it
// comes.
func TestAReloadThatIsNotCoveredIsRefused(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	ungated := strings.Replace(s.source, "reverse_proxy @UPSTREAM@", "reverse_proxy @UPSTREAM@\n\t}\n\thandle /open {\n\t\treverse_proxy @UPSTREAM@", 1)
	if err := s.reload(ungated); err == nil || !strings.Contains(err.Error(), "/open "+s.upstream.Addr+" has no gate") {
		t.Fatalf("error %v", err)
	}
	s.do(http.MethodPost, "/open", `{"imei":"356938035643809"}`)
	if got := s.upstream.last(t).Body; bytes.Contains(got, []byte("356938035643809")) {
		t.Errorf("the upstream got %s", got)
	}
}

// The same over the admin API, as `consentgate reload` does it.
func TestTheAdminAPIRefusesWhatIsNotCovered(t *testing.T) {
	admin := freeAddr(t)
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := func(site string) string {
		return strings.Replace(coverageCaddyfile(t, "", "http://127.0.0.1:"+port+" {\n"+site+"\n}\n"), "admin off", "admin "+admin, 1)
	}
	cmd := programCommand(t, "run", "--config", configFile(t, "Caddyfile", caddyfile("respond before")))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	get := func() string {
		res, err := http.Get("http://127.0.0.1:" + port + "/")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return fmt.Sprint(string(b), err)
	}
	eventually(t, "the server answers", func() bool { return get() == "before<nil>" })
	out, exit := program(t, "", "reload", "--config", configFile(t, "Caddyfile", caddyfile("reverse_proxy u:1")), "--address", admin)
	if exit == 0 || !strings.Contains(out, "has no gate") {
		t.Errorf("exit status %d:\n%s", exit, out)
	}
	if got := get(); got != "before<nil>" {
		t.Errorf("the server answers %s", got)
	}
}
