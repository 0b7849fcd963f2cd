package rules

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
)

// A removal is one member or element taken out of the policy that ships.
type removal struct {
	path []string // from the root: keys, and elements as "[3]"
	yaml []byte   // the policy without it
}

func (r removal) String() string { return strings.ReplaceAll(strings.Join(r.path, "."), ".[", "[") }

// removals takes every member and every element of a document out, one at a
// time.
func removals(doc *yaml.Node) (all []removal) {
	var walk func(n *yaml.Node, at []string)
	walk = func(n *yaml.Node, at []string) {
		step := 1
		if n.Kind == yaml.MappingNode {
			step = 2
		}
		for i := 0; i < len(n.Content); i += step {
			name := fmt.Sprintf("[%d]", i)
			if step == 2 {
				name = n.Content[i].Value
			}
			here := slices.Concat(at, []string{name})
			whole := n.Content
			n.Content = append(append([]*yaml.Node(nil), whole[:i]...), whole[i+step:]...)
			out, err := yaml.Marshal(doc)
			n.Content = whole
			if err != nil {
				panic(err) // what was read can be written
			}
			all = append(all, removal{here, out})
			walk(n.Content[i+step-1], here)
		}
	}
	walk(doc.Content[0], nil)
	return all
}

const shippedFile = "policies/liaoxiaobang.yaml"

// shippedFiles are the files that ship. The packs among them are cut down to
// one name for each category: what data is called is not decided by the policy,
// and a thousand policies load faster without it.
func shippedFiles(t *testing.T) fstest.MapFS {
	files := fstest.MapFS{}
	packs, err := fs.Glob(Embedded, "packs/*.yaml")
	if err != nil || len(packs) == 0 {
		t.Fatalf("no packs: %v", err)
	}
	for _, name := range packs {
		data, err := Embedded.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var pack yaml.Node
		if err := yaml.Unmarshal(data, &pack); err != nil {
			t.Fatal(err)
		}
		for _, m := range (item{n: pack.Content[0]}).get("categories").members() {
			for _, place := range []string{"keys", "paths", "headers", "detect"} {
				if n := m.item.get(place).n; n != nil && n.Kind == yaml.SequenceNode {
					n.Content = n.Content[:1]
				}
			}
		}
		if data, err = yaml.Marshal(&pack); err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

// loadChanged loads another text in the place of the policy that ships.
func loadChanged(files fstest.MapFS, text []byte) (*Policy, error) {
	files = maps.Clone(files)
	files[shippedFile] = &fstest.MapFile{Data: text}
	return Load(files, shippedFile)
}

// shown reports whether the goldens differ from what they are without a
// removal. It looks first where the removal is most likely to show.
func (r removal) shown(was map[string]string, now *Policy) bool {
	var likely, others []golden
	for _, g := range goldens(now) {
		name := strings.TrimSuffix(path.Base(g.file), ".md")
		of := now.Recipient(name)
		near := of == nil && strings.TrimSuffix(g.file, ".md") == r.path[0]
		if of != nil && len(r.path) > 1 {
			near = r.path[0] == "recipients" && r.path[1] == name
			for _, u := range of.Purposes {
				near = near || g.file == "policy.md" && r.path[0] == "clauses"
				near = near || r.path[0] == "purposes" && r.path[1] == u
			}
		}
		near = near || g.file == "policy.md" && r.path[0] == "clauses"
		near = near || r.path[len(r.path)-1] == "since" && g.file == "since.md"
		if near {
			likely = append(likely, g)
		} else {
			others = append(others, g)
		}
	}
	if len(likely)+len(others) != len(was) {
		return true
	}
	for _, g := range append(likely, others...) {
		if g.render() != was[g.file] {
			return true
		}
	}
	return false
}

// silent says why a removal shows in no golden, or "" where it must.
func (r removal) silent(was, now *Policy) string {
	switch {
	case r.path[0] == "include" && !reflect.DeepEqual(was.Categories(), now.Categories()):
		return "a pack that adds names to categories of other packs shows in what is recognised"
	case len(r.path) == 5 && r.path[2] == "release" && r.path[4] == "purpose" && onlyUser(now, r):
		return "no other purpose of the recipient uses what the entry speaks of, so it fits for none but this one anyway"
	}
	return ""
}

// onlyUser reports whether one purpose of the recipient alone uses what an
// entry decides about.
func onlyUser(p *Policy, r removal) bool {
	rec := p.Recipient(r.path[1])
	var i int
	if _, err := fmt.Sscanf(r.path[3], "[%d]", &i); err != nil {
		return false
	}
	e := p.src.recipients[rec.index].release[i]
	for n, id := range p.ids {
		if uses := rec.rules[n].uses; covers(e.category.s, id) && uses&(uses-1) != 0 {
			return false
		}
	}
	return true
}

// TestEveryRuleIsNeeded takes each line of the policy that ships away, one at a
// time: then it is no policy any more, or a golden turns red.
func TestEveryRuleIsNeeded(t *testing.T) {
	data, err := os.ReadFile(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	whole, err := yaml.Marshal(&doc)
	if err != nil {
		t.Fatal(err)
	}
	files := shippedFiles(t)
	base, err := loadChanged(files, whole)
	if err != nil {
		t.Fatal(err)
	}
	was := map[string]string{}
	for _, g := range goldens(base) {
		was[g.file] = g.render()
	}

	all := removals(&doc)
	if len(all) < 1000 {
		t.Fatalf("only %d removals: the walk is wrong", len(all))
	}
	work := make(chan removal)
	var wg sync.WaitGroup
	var mu sync.Mutex
	refused, red, silent := 0, 0, map[string]int{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for r := range work {
				p, err := loadChanged(files, r.yaml)
				shows := err == nil && r.shown(was, p)
				mu.Lock()
				switch {
				case err != nil:
					refused++
				case len(r.path) > 2 && r.path[2] == "sensitive_ok":
					t.Errorf("without %v the policy is still valid", r)
				case shows:
					red++
				case r.silent(base, p) != "":
					silent[r.silent(base, p)]++
				default:
					t.Errorf("without %v nothing is different", r)
				}
				mu.Unlock()
			}
		})
	}
	for i, r := range all {
		if i%everyRemoval == 0 {
			work <- r
		}
	}
	close(work)
	wg.Wait()
	t.Logf("%d removals: %d refused, %d in a golden", len(all), refused, red)
	for why, n := range silent {
		t.Logf("%d silent: %s", n, why)
	}
}
