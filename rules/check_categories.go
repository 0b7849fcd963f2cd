package rules

import (
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// bare are the folded keys that a pack must not list: in the next backend they
// hold something else.
var bare = []string{
	"id", "ids", "name", "title", "key", "k", "value", "val", "v", "type", "data", "item", "items", "list", "object",
}

// checkKeys checks what one file says of where a category stands. It comes
// before merging: that a pack and a policy both list a key is no mistake.
func checkKeys(j *journal, c category, pack bool) {
	seen := map[string]word{}
	for _, k := range c.keys {
		f := payload.Fold(k.s)
		switch {
		case f == "":
			j.add(k.at, "the key %q folds to nothing, since '_', '-', '.', space and leading '$', '@', '#' do not count: take it away", k.s)
		case pack && slices.Contains(bare, f):
			j.add(k.at, "the key %q is too bare for a pack, since other data has such members too: write a path, such as **.%s.%s", k.s, lastStep(c.id.s), k.s)
		case seen[f].s != "":
			j.add(k.at, "the key %q is compared as %q, and so is %q on line %d: list it once", k.s, f, seen[f].s, seen[f].at.line)
		default:
			seen[f] = k
		}
	}
	seen = map[string]word{}
	for _, p := range c.paths {
		if _, err := payload.ParsePath(p.s); err != nil {
			j.add(p.at, "%v", err)
		} else if seen[p.s].s != "" {
			j.add(p.at, "the path %q stands here already, on line %d: list it once", p.s, seen[p.s].at.line)
		}
		seen[p.s] = p
	}
	seen = map[string]word{}
	for _, h := range c.headers {
		f := strings.ToLower(h.s)
		if seen[f].s != "" {
			j.add(h.at, "the header %q stands here already, on line %d: list it once", h.s, seen[f].at.line)
		}
		seen[f] = h
	}
}

func lastStep(id string) string { return id[strings.LastIndexByte(id, '.')+1:] }

func (c *checker) categories() {
	if len(c.src.categories) == 0 {
		c.j.add(c.src.at, "the policy knows no category of data: include packs/identifiers.yaml or write categories")
	}
	for _, cat := range c.src.categories {
		if cat.title.ZH == "" && cat.title.EN == "" {
			c.j.add(cat.id.at, "%s has no title: write title: {zh: …, en: …}", cat.id.s)
		}
	}
}
