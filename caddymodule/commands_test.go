package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/consentgate/consentgate/rules"
)

// runCommand runs a command and returns what it printed.
func runCommand(cmd *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestPolicyCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, policy string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.yaml", samplePolicy("2025-01-01", ""))
	if out, err := runCommand(policyCheckCommand(), good); err != nil || !strings.Contains(out, "no problems") {
		t.Errorf("%v: %s", err, out)
	}

	bad := file("bad.yaml", strings.NewReplacer("basis: necessary", "basis: neccessary", "kind: first_party", "kind: first").
		Replace(samplePolicy("2025-01-01", "")))
	out, err := runCommand(policyCheckCommand(), bad)
	if err == nil {
		t.Error("a policy with problems passes")
	}
	for _, want := range []string{"bad.yaml:15:12: ", "bad.yaml:19:11: ", `"necessary"`, "first_party"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %s:\n%s", want, out)
		}
	}

	// What the purpose did not use before needs a new version.
	more := file("more.yaml", strings.Replace(samplePolicy("2025-01-01", ""), "uses: [sample.note]", "uses: [sample.note, device.id.imei]", 1))
	if out, err := runCommand(policyCheckCommand(), more); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := runCommand(policyCheckCommand(), more, "--against", good); err == nil || !strings.Contains(out, "service.operate") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := runCommand(policyCheckCommand(), good, "--against", bad); err == nil || !strings.Contains(err.Error(), "itself not valid") {
		t.Errorf("error %v", err)
	}
}

func TestPolicySchemaPrintsTheSchemaThatShips(t *testing.T) {
	want, err := rules.Embedded.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	out, err := runCommand(policySchemaCommand())
	if err != nil || out != string(want) || !json.Valid(want) {
		t.Errorf("%v: %.80s", err, out)
	}
}
