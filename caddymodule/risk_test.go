package caddymodule

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentgate/consentgate/internal/risk"
	"github.com/consentgate/consentgate/rules"
)

// runRisk runs the command in a folder.
func runRisk(t *testing.T, dir string, in []byte, args ...string) (string, error) {
	t.Helper()
	cmd := &cobra.Command{}
	defineRisk(cmd, func() time.Time { return riskNow })
	cmd.SetIn(bytes.NewReader(in))
	t.Chdir(dir)
	return runCommand(cmd, args...)
}

// traffic writes what made-up people sent and what two partners got of it.
func traffic(t *testing.T) (dir string, raw []byte) {
	t.Helper()
	p, err := (&policySource{name: "liaoxiaobang"}).load()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	records, subjects := bidRequests(600)
	raw = bytes.Join(records, []byte("\n"))
	writeFile(t, dir, "raw.ndjson", raw)
	writeFile(t, dir, "adx.ndjson", released(t, p, "adx", records, subjects))
	writeFile(t, dir, "abroad.ndjson", released(t, p, "measure_overseas", records, subjects))
	return dir, raw
}

func writeFile(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readReport(t *testing.T, dir, name string) *risk.Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	r := new(risk.Report)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func riskField(t *testing.T, m *risk.Figures, path string) risk.Field {
	t.Helper()
	for _, f := range m.Fields {
		if f.Path == path {
			return f
		}
	}
	t.Fatalf("no field %s", path)
	return risk.Field{}
}

func TestRiskOfWhatThePolicyReleases(t *testing.T) {
	dir, _ := traffic(t)
	out, err := runRisk(t, dir, nil, "--recipient", "adx", "--policy", "liaoxiaobang", "--subject", "device.ifa", "adx.ndjson",
		"--before", "raw.ndjson", "--other", "abroad.ndjson", "--other-recipient", "measure_overseas",
		"--html", "report.html", "--json", "report.json")
	if err == nil || !strings.HasSuffix(err.Error(), "checks fail") {
		t.Fatalf("error %v: a sample in which one has a model of their own must fail\n%s", err, out)
	}
	r := readReport(t, dir, "report.json")
	m, before := r.Sample, r.Before
	if r.Policy.ID != "liaoxiaobang" || r.Policy.Version != "2022-03-09" || r.Recipient.Country != "CN" || m.Subjects != 600 || before.Subjects != 600 {
		t.Errorf("%+v %+v: %d and %d subjects", r.Policy, r.Recipient, m.Subjects, before.Subjects)
	}
	if m.Unique.RecordShare > 0.5 || before.Unique.RecordShare != 1 || m.K.Median < 2 || before.K.Max != 1 {
		t.Errorf("alone: %v after, %v before; k %+v, %+v", m.Unique, before.Unique, m.K, before.K)
	}

	for path, want := range map[string]risk.Field{
		"device.geo.lat": {Role: risk.Quasi, Sensitive: true, Category: "location.precise", Action: "de-identified", Because: risk.ByCategory},
		"device.model":   {Role: risk.Quasi, Category: "device.model", Action: "pass", Because: risk.ByCategory},
		"device.ifa":     {Role: risk.Pseudonym, Subject: true, Category: "device.id.idfa", Action: "pseudonym", Because: risk.ByFlag},
		"id":             {Role: risk.RecordID, Because: risk.ByKeep},
		"imp.bidfloor":   {Role: risk.Other, Because: risk.ByKeep},
	} {
		got := riskField(t, m, path)
		got = risk.Field{Role: got.Role, Sensitive: got.Sensitive, Subject: got.Subject, Undeclared: got.Undeclared, Category: got.Category, Action: got.Action, Because: got.Because}
		if got != want {
			t.Errorf("%s is %+v, want %+v", path, got, want)
		}
	}
	if f := riskField(t, before, "user.email"); f.Role != risk.Direct || f.Undeclared {
		t.Errorf("before: %+v", f)
	}
	if f := riskField(t, before, "device.ifa"); f.Role != risk.Direct {
		t.Errorf("before, what becomes a pseudonym is one: %+v", f)
	}
	if f := riskField(t, m, "device.model"); f.Unique == 0 || f.Marginal == 0 {
		t.Errorf("the model that one alone has: %+v", f)
	}
	if len(m.Sensitive) != 1 || m.Sensitive[0].Name != "location.precise" || len(m.Sensitive[0].Paths) != 2 {
		t.Errorf("sensitive %+v", m.Sensitive)
	}
	l := r.Link
	var pairs []string
	for _, p := range l.Pairs {
		pairs = append(pairs, p.Path)
	}
	if len(l.Shared) != 0 || l.Comparable || !slices.Equal(pairs, []string{"device.make", "device.model", "device.os", "device.osv"}) {
		t.Errorf("link %+v", l)
	}
	failed := map[risk.CheckName]bool{}
	for _, c := range r.Verdict.Checks {
		failed[c.Name] = !c.Pass
	}
	for name, want := range map[risk.CheckName]bool{
		risk.CheckK: true, risk.CheckUnique: true, risk.CheckDirect: false, risk.CheckUndeclared: false, risk.CheckLooks: false, risk.CheckShared: false,
	} {
		if got, ok := failed[name]; !ok || got != want {
			t.Errorf("%s failed: %t (%t)", name, got, ok)
		}
	}

	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	js, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range append(riskCanaries, "M2011K2C", "203.0.11", "iPhone") {
		for name, text := range map[string]string{"terminal": out, "JSON": string(js), "HTML": string(page)} {
			if strings.Contains(text, canary) {
				t.Errorf("%s holds %s", name, canary)
			}
		}
	}
	if !strings.Contains(string(page), "Ad exchange (OpenRTB 2.6)") || !strings.Contains(out, "Policy liaoxiaobang, version 2022-03-09") {
		t.Errorf("titles are missing:\n%s", out)
	}
}

func TestRiskOfWhatWasNeverDeIdentifiedIsAnAlarm(t *testing.T) {
	dir, _ := traffic(t)
	// What the gate should have stopped, and a phone number in what may stay.
	leak := []byte(`{"id":"r-1","imp":[{"id":"1","ext":{"note":"call 13800138000"}}],"device":{"model":"M1"},"user":{"email":"canary@example.com"},"unlisted":1}` + "\n")
	writeFile(t, dir, "leak.ndjson", bytes.Repeat(leak, 30))
	out, err := runRisk(t, dir, nil, "--recipient", "adx", "--policy", "liaoxiaobang", "leak.ndjson", "--json", "leak.json")
	if err == nil {
		t.Fatalf("passes:\n%s", out)
	}
	m := readReport(t, dir, "leak.json").Sample
	for _, path := range []string{"user.email", "unlisted"} {
		if f := riskField(t, m, path); !f.Undeclared || f.Role != risk.Quasi {
			t.Errorf("%+v", f)
		}
	}
	if f := riskField(t, m, "device.model"); f.Undeclared {
		t.Errorf("%+v", f)
	}
	if want := []risk.Count{{Category: "contact.phone", Records: 30}}; !slices.Equal(m.Looks, want) {
		t.Errorf("looks %v", m.Looks)
	}
	for _, canary := range riskCanaries {
		if strings.Contains(out, canary) {
			t.Errorf("the summary holds %s:\n%s", canary, out)
		}
	}
	// Raw traffic as the sample: the raw advertising id stands where a pseudonym
	// should, and two who get it can join it.
	_, _ = runRisk(t, dir, nil, "--recipient", "adx", "--policy", "liaoxiaobang", "raw.ndjson", "--other", "raw.ndjson", "--json", "joined.json")
	if l := readReport(t, dir, "joined.json").Link; len(l.Shared) == 0 || l.ExactShare != 1 {
		t.Errorf("%+v", l)
	}
}

func TestRiskWithinItsThresholdsSucceeds(t *testing.T) {
	dir := t.TempDir()
	var b, packed bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&b, `{"model":"m%d","os":"o%d","who":"p-%d"}`+"\n", i%2, i%4, i)
	}
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(b.Bytes())
	_ = w.Close()
	for name, in := range map[string][]byte{"plain": b.Bytes(), "gzip": packed.Bytes()} {
		out, err := runRisk(t, dir, in, "-", "--ignore", "who")
		if err != nil || !strings.Contains(out, "Within all thresholds.") || !strings.Contains(out, "k, smallest class            50") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := runRisk(t, dir, b.Bytes(), "-", "--ignore", "who", "--min-k", "51")
	if err == nil || err.Error() != "1 of 3 checks fail" {
		t.Errorf("%v\n%s", err, out)
	}
	// Only JSON on the standard output.
	out, err = runRisk(t, dir, b.Bytes(), "-", "--quasi", "model", "--json", "-")
	var r risk.Report
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || !slices.Equal(r.Sample.Quasi, []string{"model"}) || r.Sample.K.Min != 100 {
		t.Errorf("%v\n%s", err, out)
	}
	// Chinese.
	if _, err = runRisk(t, dir, b.Bytes(), "-", "--ignore", "who", "--html", "zh.html", "--lang", "zh"); err != nil {
		t.Error(err)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "zh.html")); err != nil || !bytes.Contains(page, []byte("重标识风险评估")) {
		t.Errorf("%v: %.200s", err, page)
	}
}

func TestRiskRefusesWhatCannotBeMeant(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "good.ndjson", []byte(`{"a":1}`+"\n"+`{"a":1}`+"\n"))
	writeFile(t, dir, "bad.ndjson", []byte(`{"a":1}`+"\n"+`{"a":canary-nick}`+"\n"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bad.ndjson"}, "bad.ndjson:2: no JSON"},
		{[]string{"good.ndjson", "--before", "bad.ndjson"}, "bad.ndjson:2: no JSON"},
		{[]string{"missing.ndjson"}, "missing.ndjson"},
		{[]string{"good.ndjson", "--policy", "liaoxiaobang"}, "go together"},
		{[]string{"good.ndjson", "--policy", "liaoxiaobang", "--recipient", "adxx"}, `no recipient "adxx"`},
		{[]string{"good.ndjson", "--policy", "liaoxiaobamg", "--recipient", "adx"}, "policies that ship"},
		{[]string{"good.ndjson", "--quasi", "a..b"}, "--quasi: "},
		{[]string{"good.ndjson", "--quasi", "b"}, "--quasi b: no record has anything there"},
		{[]string{"good.ndjson", "--subject", "b"}, "--subject b: "},
		{[]string{"good.ndjson", "--lang", "de"}, "--lang de"},
		{[]string{"good.ndjson", "--max-unique", "2"}, "--max-unique"},
		{[]string{"good.ndjson", "--max-unique", "NaN"}, "--max-unique"},
		{[]string{"good.ndjson", "--min-k", "0"}, "--min-k"},
		{[]string{"good.ndjson", "--subset", "4"}, "--subset"},
		{[]string{"good.ndjson", "--max-memory", "1KiB"}, "--max-memory"},
		{[]string{"good.ndjson", "--other-recipient", "adx"}, "--other-recipient needs"},
		{[]string{"-", "--before", "-"}, "only one"},
		{[]string{"good.ndjson", "--html", "no/such/folder.html"}, "no/such/folder.html"},
	} {
		out, err := runRisk(t, dir, nil, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error()+out, "canary") {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}

func TestRiskShowsProgressOnceItTakesLong(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "long.ndjson", bytes.Repeat([]byte(`{"a":1}`+"\n"), 5000))
	t.Chdir(dir)
	cmd := &cobra.Command{}
	now := riskNow
	defineRisk(cmd, func() time.Time { now = now.Add(600 * time.Millisecond); return now })
	out, err := runCommand(cmd, "long.ndjson")
	if err != nil || !strings.Contains(out, "long.ndjson: 2048 records\n") || strings.Contains(out, "long.ndjson: 1024 records\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRiskKnowsWhatTheFirstPartyAndOpenPlatformsGet(t *testing.T) {
	p, err := (&policySource{name: "liaoxiaobang"}).load()
	if err != nil {
		t.Fatal(err)
	}
	at := func(recipient string, steps ...string) risk.Assignment {
		t.Helper()
		flags, err := newPathFlags(nil)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := newRiskPolicy(p, recipient, riskNow)
		if err != nil {
			t.Fatal(err)
		}
		return (&riskFields{flags: flags, policy: policy}).classify(steps)
	}
	for _, c := range []struct {
		recipient, path string
		want            risk.Assignment
	}{
		// What no category matches goes to the first party alone.
		{"backend", "unlisted", risk.Assignment{Role: risk.Quasi, Because: risk.ByDefault}},
		{"geetest", "unlisted", risk.Assignment{Role: risk.Quasi, Undeclared: true, Because: risk.NotAllowed}},
		{"open_platform", "nickname", risk.Assignment{Role: risk.Quasi, Category: "account.nickname", Action: "pass", Because: risk.ByCategory}},
		{"open_platform", "user_id", risk.Assignment{Role: risk.Pseudonym, Category: "account.id", Action: "pseudonym", Because: risk.ByCategory}},
		{"geetest", "imei", risk.Assignment{Role: risk.Quasi, Undeclared: true, Category: "device.id.imei", Action: "drop", Because: risk.NotAllowed}},
	} {
		if got := at(c.recipient, strings.Split(c.path, ".")...); got != c.want {
			t.Errorf("%s %s: %+v, want %+v", c.recipient, c.path, got, c.want)
		}
	}
	if _, err := newRiskPolicy(p, rules.CrossBorder, riskNow); err == nil {
		t.Error("a recipient that there is none of")
	}
}

func TestRiskFlagsOverrideThePolicy(t *testing.T) {
	flags, err := newPathFlags(map[string][]string{
		"quasi": {"device.model", "**.geo"}, "sensitive": {"**.geo"}, "ignore": {"truth"}, "subject": {"truth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &riskFields{flags: flags}
	for path, want := range map[string]risk.Assignment{
		"device.Model":   {Role: risk.Quasi, Fixed: true, Because: risk.ByFlag},
		"device.geo.lat": {Role: risk.Quasi, Sensitive: true, Fixed: true, Because: risk.ByFlag},
		"truth":          {Role: risk.Ignored, Subject: true, Fixed: true, Because: risk.ByFlag},
		"device.os":      {Role: risk.Other, Fixed: true, Because: risk.ByFlag},
	} {
		if got := f.classify(strings.Split(path, ".")); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if err := flags.unmet(); err != nil {
		t.Error(err)
	}
}
