package rules

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/consentgate/consentgate/internal/deid"
)

var pages = []string{"../docs/policy.md", "../docs/policy.zh.md"}

// The examples of a page are one policy: what they say of one thing adds up.
func TestTheExamplesOfThePageArePolicies(t *testing.T) {
	fenced := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		whole := &yaml.Node{Kind: yaml.MappingNode}
		blocks := fenced.FindAllSubmatch(text, -1)
		for _, m := range blocks {
			var doc yaml.Node
			if err := yaml.Unmarshal(m[1], &doc); err != nil {
				t.Fatalf("%s: %v in\n%s", page, err, m[1])
			}
			addExample(t, whole, doc.Content[0])
		}
		out, err := yaml.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Load(fstest.MapFS{"p.yaml": {Data: out}}, "p.yaml")
		if err != nil {
			t.Fatalf("%s:\n%v\nin\n%s", page, err, out)
		}
		if len(blocks) < 10 || p.Recipient("adx").KAnonymity == nil || len(p.Recipient("adx").Set) != 2 {
			t.Errorf("%s: %d examples", page, len(blocks))
		}
	}
}

// addExample adds the members of an example to a policy.
func addExample(t *testing.T, to, from *yaml.Node) {
	t.Helper()
next:
	for i := 0; i+1 < len(from.Content); i += 2 {
		for k := 0; k+1 < len(to.Content); k += 2 {
			if to.Content[k].Value != from.Content[i].Value {
				continue
			}
			if to.Content[k+1].Kind != yaml.MappingNode || from.Content[i+1].Kind != yaml.MappingNode {
				t.Fatalf("two examples say what %s is", from.Content[i].Value)
			}
			addExample(t, to.Content[k+1], from.Content[i+1])
			continue next
		}
		to.Content = append(to.Content, from.Content[i], from.Content[i+1])
	}
}

// Every key of the language, every value that is one of several, every
// transform and every argument stands on the page.
func TestThePageKnowsTheWholeLanguage(t *testing.T) {
	var words []string
	var walk func(s *shape)
	walk = func(s *shape) {
		if s == nil {
			return
		}
		for _, f := range s.fields {
			words = append(words, f.name)
			walk(f.shape)
		}
		if len(s.enum) < len(detectorNames) { // those have a page of their own
			words = append(words, s.enum...)
		}
		walk(s.elem)
		walk(s.or)
	}
	walk(policyShape)
	for _, d := range deid.Docs() {
		words = append(words, d.Name)
		for _, a := range d.Args {
			words = append(words, a.Name)
			words = append(words, a.Enum...)
		}
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if !regexp.MustCompile(`(^|[^a-z_])` + regexp.QuoteMeta(w) + `([^a-z_]|$)`).MatchString(string(text)) {
				t.Errorf("%s does not speak of %s", page, w)
			}
		}
		if n := strings.Count(string(text), "\n## "); n != 7 {
			t.Errorf("%s has %d parts", page, n)
		}
	}
}

// The examples of transforms on the page are ones that can be made.
func TestTheTransformsOfThePageCanBeMade(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| .* \\| (.*) \\|$")
	use := regexp.MustCompile("`([^`]*)`")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]bool{}
		for _, r := range row.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(strings.Join(deid.Names(), " "), r[1]) {
				continue
			}
			for _, u := range use.FindAllStringSubmatch(r[2], -1) {
				var n yaml.Node
				if err := yaml.Unmarshal([]byte(u[1]), &n); err != nil {
					t.Fatalf("%s: %v", u[1], err)
				}
				if _, err := makeAction(item{n: n.Content[0]}.action(), deid.Env{Recipient: "adx", Category: "device.id.oaid"}); err != nil {
					t.Errorf("%s: %s: %v", page, u[1], err)
				}
				made[r[1]] = true
			}
		}
		for _, name := range deid.Names() {
			if !made[name] {
				t.Errorf("%s has no example of %s", page, name)
			}
		}
	}
}
