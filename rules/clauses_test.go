package rules

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Every test that the policy names under clauses is a test of this repository.
func TestClausesNameTests(t *testing.T) {
	tests := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && takesT(f) {
				tests[f.Name.Name] = path
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	clauses := shipped(t).Clauses()
	for _, clause := range []string{"3.2", "7", "9"} {
		if len(clauses[clause]) == 0 {
			t.Errorf("clause %s has no rule and no test", clause)
		}
	}
	for clause, names := range clauses {
		for _, name := range names {
			if test, _, _ := strings.Cut(name, "/"); tests[test] == "" {
				t.Errorf("clause %s names %s, which is no test of this repository", clause, name)
			}
		}
	}
}

// takesT reports whether a function is one that go test runs: its only
// parameter is of a type *testing.T or *testing.F.
func takesT(f *ast.FuncDecl) bool {
	if len(f.Type.Params.List) != 1 || f.Type.Results != nil {
		return false
	}
	star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	sel, ok := star.X.(*ast.SelectorExpr)
	return ok && (sel.Sel.Name == "T" || sel.Sel.Name == "F")
}
