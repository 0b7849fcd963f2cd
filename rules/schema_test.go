package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

func TestTheSchemaIsThatOfTheLoader(t *testing.T) {
	got, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, _ := os.ReadFile("schema.json"); string(want) != string(got) {
		t.Error("schema.json is old: run go test ./rules -run Schema -update")
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(got, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("p*/*.yaml")
	if len(files) < 3 {
		t.Fatalf("only %d files to validate", len(files))
	}
	for _, f := range files {
		if err := validate(t, resolved, f, nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	unknown := func(doc map[string]any) { doc["recipient"] = 1 }
	if validate(t, resolved, "policies/liaoxiaobang.yaml", unknown) == nil {
		t.Error("an unknown key is valid")
	}
}

func validate(t *testing.T, s *jsonschema.Resolved, file string, change func(map[string]any)) error {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatal(err)
	}
	asSpelled(&node)
	var doc map[string]any
	if err := node.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(doc)
	}
	return s.Validate(doc)
}

// asSpelled makes dates the texts that JSON has for them.
func asSpelled(n *yaml.Node) {
	if n.Tag == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		asSpelled(c)
	}
}
