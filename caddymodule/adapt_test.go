package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Each file holds a Caddyfile, a line of dashes, and the JSON that it adapts
// to, or a part of the error that it must give.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	const rule = "----------\n"
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, _ := strings.Cut(string(b), rule)
			want = strings.TrimSpace(want)
			var got string
			cfg, err := adapt([]byte(caddyfile))
			if err != nil {
				got = err.Error()
			} else {
				var b bytes.Buffer
				if err := json.Indent(&b, cfg, "", "\t"); err != nil {
					t.Fatal(err)
				}
				got = b.String()
			}
			if *update && (want == "" || strings.HasPrefix(want, "{")) {
				if err := os.WriteFile(file, []byte(caddyfile+rule+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err != nil && want != "" && !strings.HasPrefix(want, "{") {
				if !strings.Contains(got, want) {
					t.Errorf("the error is\n\t%s\nand should contain\n\t%s", got, want)
				}
				return
			}
			if got != want {
				t.Errorf("adapted to\n%s\nwant\n%s", got, want)
			}
		})
	}
}
