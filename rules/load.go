package rules

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// What a policy may weigh. The example policy with its packs is a tenth of it.
const (
	maxFile  = 1 << 20 // bytes
	maxFiles = 64
	maxDepth = 16 // of YAML
)

// Load reads the policy that the file of that name in fsys holds, with the
// packs that it includes, and checks and compiles it. Its error is of type
// [Problems] and names everything that is wrong, not only the first thing.
//
// An include is looked up beside the including file, then in the folder above
// it, then among the packs of [Embedded]. So a policy in rules/policies finds
// rules/packs, and one that stands alone finds those that ship with the program.
func Load(fsys fs.FS, name string) (*Policy, error) {
	l := &loader{fsys: fsys, show: func(name string) string { return name }}
	return l.policy(name)
}

// LoadFile is [Load] for a file on disk. It reads nothing outside the folder
// above the file's own, but for the embedded packs.
func LoadFile(file string) (*Policy, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	root := filepath.Dir(filepath.Dir(abs))
	name, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	l := &loader{fsys: os.DirFS(root), show: func(name string) string { return shown(root, name, file) }}
	return l.policy(filepath.ToSlash(name))
}

// shown is how a file is called in problems: as its user would call it.
func shown(root, name, asked string) string {
	full := filepath.Join(root, filepath.FromSlash(name))
	if filepath.IsAbs(asked) {
		return full
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, full); err == nil {
			return rel
		}
	}
	return full
}

// loader reads one policy with what it includes.
type loader struct {
	fsys   fs.FS
	show   func(name string) string
	j      journal
	loaded map[string]bool // by shown name
	stack  []string        // the files being read, for cycles
	all    []*source       // in the order in which they speak: packs before those that include them
	sum    []byte          // what the digest is made of
}

func (l *loader) policy(name string) (*Policy, error) {
	l.loaded = map[string]bool{}
	main := l.read(l.fsys, name, l.show(name), place{}, policyShape)
	if main == nil {
		return nil, l.j.problems()
	}
	src := merge(&l.j, l.all)
	p := build(&l.j, src)
	if ps := l.j.problems(); ps != nil {
		return nil, ps
	}
	p.digest = sha256.Sum256(l.sum)
	return p, nil
}

// read reads a file and what it includes, and notes their sources.
func (l *loader) read(fsys fs.FS, name, shown string, from place, sh *shape) *source {
	data, err := readLimited(fsys, name)
	if err != nil {
		at := from
		if at.file == "" {
			at.file = shown
		}
		l.j.add(at, "%s cannot be read: %v", shown, err)
		return nil
	}
	l.sum = fmt.Appendf(l.sum, "%d:%s%d:", len(name), name, len(data))
	l.sum = append(l.sum, data...)
	root := parse(&l.j, shown, data)
	if root == nil {
		return nil
	}
	what := "a policy"
	if sh == packShape {
		what = "a pack (which holds categories and nothing else)"
	}
	sh.check(&l.j, shown, root, what)
	if root.Kind != yaml.MappingNode {
		return nil
	}
	src := readSource(shown, root)
	src.pack = sh == packShape
	l.loaded[shown] = true
	l.stack = append(l.stack, shown)
	for _, inc := range src.includes {
		l.include(fsys, name, inc)
	}
	l.stack = l.stack[:len(l.stack)-1]
	l.all = append(l.all, src)
	return src
}

// include finds and reads an included file.
func (l *loader) include(fsys fs.FS, from string, inc word) {
	if !fs.ValidPath(path.Clean(strings.TrimLeft(path.Clean(inc.s), "./"))) || path.IsAbs(inc.s) {
		l.j.add(inc.at, "include %q: write a path relative to this file, such as packs/identifiers.yaml", inc.s)
		return
	}
	dir := path.Dir(from)
	type candidate struct {
		fsys        fs.FS
		name, shown string
	}
	var tries []candidate
	for _, d := range []string{dir, path.Dir(dir)} {
		if n := path.Join(d, inc.s); fs.ValidPath(n) {
			shown := l.show(n)
			if shipped := fs.FS(Embedded); fsys == shipped && l.fsys != shipped {
				shown = "embedded " + n
			}
			tries = append(tries, candidate{fsys, n, shown})
		}
	}
	if n := path.Clean(inc.s); fs.ValidPath(n) {
		tries = append(tries, candidate{Embedded, n, "embedded " + n})
	}
	for _, c := range tries {
		if st, err := fs.Stat(c.fsys, c.name); err != nil || st.IsDir() {
			continue
		}
		for _, open := range l.stack {
			if open == c.shown {
				l.j.add(inc.at, "include %q: the file includes itself (%s)", inc.s, strings.Join(append(l.stack, c.shown), " → "))
				return
			}
		}
		switch {
		case l.loaded[c.shown]: // by another file: once is enough
		case len(l.loaded) == maxFiles:
			l.j.add(inc.at, "include %q: more than %d files in one policy", inc.s, maxFiles)
		default:
			l.read(c.fsys, c.name, c.shown, inc.at, packShape)
		}
		return
	}
	var names []string
	shipped, _ := fs.Glob(Embedded, "packs/*.yaml")
	names = append(names, shipped...)
	l.j.add(inc.at, "include %q: there is no such file beside this one, in the folder above, or among the packs that ship with the program: %s", inc.s, suggest(inc.s, names))
}

func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		// Without the path, which the caller spells as the user did.
		if e := (*fs.PathError)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes: split it into packs", maxFile)
	}
	return data, nil
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlAnchor  = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced$`)
	yamlControl = regexp.MustCompile(`[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{fffe}\x{ffff}]`)
)

// placeOfSyntax says where a document stops being YAML. The parser tells a line
// or nothing; of what it tells nothing about, the text is searched for it.
func placeOfSyntax(file string, data []byte, err error) (place, string) {
	at, msg := place{file: file, line: 1, column: 1}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		at.line = max(at.line, 1)
		return at, m[2]
	}
	offset := -1
	if m := yamlAnchor.FindStringSubmatch(err.Error()); m != nil {
		offset = bytes.Index(data, []byte("*"+m[1]))
	} else if m := yamlControl.FindIndex(data); m != nil {
		offset = m[0]
	}
	if offset >= 0 {
		before := data[:offset]
		at.line = 1 + bytes.Count(before, []byte("\n"))
		at.column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	}
	return at, msg
}

// parse turns bytes into the root node of the one YAML document that they hold.
func parse(j *journal, file string, data []byte) *yaml.Node {
	if !utf8.Valid(data) {
		j.add(place{file: file}, "the file is not UTF-8: save it as UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			j.add(place{file: file}, "the file is empty: it must hold a policy or a pack")
			return nil
		}
		at, msg := placeOfSyntax(file, data, err)
		j.add(at, "this is not YAML: %s", msg)
		return nil
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case err == nil:
		j.add(placeOf(file, &next), "a second YAML document: one file holds one policy or one pack")
		return nil
	case !errors.Is(err, io.EOF):
		at, msg := placeOfSyntax(file, data, err)
		j.add(at, "this is not YAML: %s", msg)
		return nil
	}
	if len(doc.Content) != 1 || !acyclic(j, file, doc.Content[0], 0) {
		return nil
	}
	return doc.Content[0]
}

// acyclic refuses what would let a rule stand in another place than where it
// takes effect: anchors, aliases and merge keys. It also spares the loader
// from documents that multiply when aliases are followed.
func acyclic(j *journal, file string, n *yaml.Node, depth int) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		j.add(placeOf(file, n), "the alias *%s: aliases are not part of the language, write the value out", n.Value)
		return false
	case n.Anchor != "":
		j.add(placeOf(file, n), "the anchor &%s: anchors are not part of the language, take it away", n.Anchor)
		return false
	case n.ShortTag() == "!!merge":
		j.add(placeOf(file, n), "the merge key <<: is not part of the language, write the members out")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		j.add(placeOf(file, n), "the tag %s: tags are not part of the language, take it away", n.Tag)
		return false
	case depth > maxDepth:
		j.add(placeOf(file, n), "more than %d levels deep", maxDepth)
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = acyclic(j, file, c, depth+1) && ok
	}
	return ok
}
