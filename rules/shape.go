package rules

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// form is what sort of YAML a place of the language holds.
type form uint8

const (
	object  form = iota // a mapping with the keys in fields
	mapping             // a mapping from names of the author's choice to elem
	list                // a sequence of elem
	text                // a scalar, read as it is spelled
	boolean
	integer
	scalar // a text, a number, true or false, as JSON has them
	action // one word, or one transform with its arguments; checked where it is made
)

// shape describes one place of the rule language. The loader checks files
// against it and the JSON Schema is generated from it, so that editors and the
// gateway cannot come to know different languages.
type shape struct {
	form     form
	doc      string
	fields   []field  // of an object
	elem     *shape   // of a mapping or a list
	names    *grammar // of a mapping's keys
	grammar  *grammar // of a text
	enum     []string // of a text
	min, max int      // of an integer; of a list: min elements
	oneToo   bool     // a list of one may be written without brackets
	or       *shape   // or this, where the YAML node is of its form
}

// field is a key of an object.
type field struct {
	name     string
	required bool
	shape    *shape
}

// grammar is what a text must look like.
type grammar struct {
	re   *regexp.Regexp
	want string // "a date such as 2022-03-09"
}

func (s *shape) field(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

func (s *shape) fieldNames() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// fits reports whether a node is of the form at all.
func (s *shape) fits(n *yaml.Node) bool {
	switch s.form {
	case object, mapping:
		return n.Kind == yaml.MappingNode
	case list:
		return n.Kind == yaml.SequenceNode || s.oneToo && n.Kind == yaml.ScalarNode
	case text:
		return n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && n.ShortTag() != "!!bool"
	case boolean:
		return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool"
	case integer:
		return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int"
	case scalar:
		return n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null"
	}
	return true
}

func (f form) String() string {
	return [...]string{"a mapping", "a mapping", "a list", "a text", "true or false", "a whole number", "a text, a number, true or false", "an action"}[f]
}

// check reports where a node is not of the shape. It goes on after a problem,
// so that all of a file's are found at once.
func (s *shape) check(j *journal, file string, n *yaml.Node, what string) {
	if !s.fits(n) {
		if s.or != nil && s.or.fits(n) {
			s.or.check(j, file, n, what)
			return
		}
		want := s.form.String()
		if s.or != nil {
			want += " or " + s.or.form.String()
		}
		j.add(placeOf(file, n), "%s must be %s%s", what, want, spell(n))
		return
	}
	switch s.form {
	case object:
		s.checkObject(j, file, n, what)
	case mapping:
		seen := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			checkKey(j, file, k, seen)
			if s.names != nil && !s.names.re.MatchString(k.Value) {
				j.add(placeOf(file, k), "%q: a name in %s must be %s", k.Value, what, s.names.want)
			}
			s.elem.check(j, file, v, k.Value)
		}
	case list:
		if n.Kind == yaml.ScalarNode {
			s.elem.check(j, file, n, what)
			return
		}
		if len(n.Content) < s.min {
			j.add(placeOf(file, n), "%s is empty: list at least one, or leave it out", what)
		}
		for _, e := range n.Content {
			s.elem.check(j, file, e, "an element of "+what)
		}
	case text:
		switch {
		case strings.TrimSpace(n.Value) == "":
			j.add(placeOf(file, n), "%s is empty", what)
		case s.enum != nil && !slices.Contains(s.enum, n.Value):
			j.add(placeOf(file, n), "%s cannot be %q: %s", what, n.Value, suggest(n.Value, s.enum))
		case s.grammar != nil && !s.grammar.re.MatchString(n.Value):
			j.add(placeOf(file, n), "%s cannot be %q: write %s", what, n.Value, s.grammar.want)
		}
	case integer:
		if v, err := strconv.Atoi(n.Value); err != nil || v < s.min || v > s.max {
			j.add(placeOf(file, n), "%s must be a whole number from %d to %d", what, s.min, s.max)
		}
	}
}

func (s *shape) checkObject(j *journal, file string, n *yaml.Node, what string) {
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		checkKey(j, file, k, seen)
		if k.Kind != yaml.ScalarNode {
			continue
		}
		f := s.field(k.Value)
		if f == nil {
			j.add(placeOf(file, k), "unknown key %q in %s: %s", k.Value, what, suggest(k.Value, s.fieldNames()))
			continue
		}
		f.shape.check(j, file, v, f.name)
	}
	for _, f := range s.fields {
		if f.required && seen[f.name] == nil {
			j.add(placeOf(file, n), "%s lacks %q%s", what, f.name, example(f.shape))
		}
	}
}

// checkKey refuses keys that are no texts, and those that came before: YAML
// readers differ in which of two they take.
func checkKey(j *journal, file string, k *yaml.Node, seen map[string]*yaml.Node) {
	if k.Kind != yaml.ScalarNode {
		j.add(placeOf(file, k), "a key must be a text")
		return
	}
	if first := seen[k.Value]; first != nil {
		j.add(placeOf(file, k), "the key %q stands here already, on line %d: write it once", k.Value, first.Line)
		return
	}
	seen[k.Value] = k
}

// spell tells an author who wrote a scalar what it was taken for.
func spell(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	switch n.ShortTag() {
	case "!!null":
		return ", and is empty"
	case "!!bool":
		return ", not " + n.Value + " (in quotes it is a text)"
	}
	return ", not " + strconv.Quote(n.Value)
}

func example(s *shape) string {
	switch {
	case s.grammar != nil:
		return ": " + s.grammar.want
	case s.enum != nil:
		return ": one of " + strings.Join(s.enum, ", ")
	}
	return ""
}
