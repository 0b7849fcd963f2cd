// Package deid turns personal data into something less: one transform a file,
// all of them behind [payload.Transformer].
//
// A transform gets one value and what the record allows it to know, and
// answers with another value, or says that the value does not fit it; the
// caller then drops the value. Three promises hold for all of them:
//
//   - The result never contains the value, unless the value already has the
//     form that the transform makes. What a transform keeps on purpose (an
//     address's prefix, a URL's path) is named in its [Doc].
//   - A value is foreign text of any length. Every transform is linear in it,
//     or refuses what is longer than anything genuine.
//   - Two transforms made from the same arguments are equal (==), so that two
//     categories which agree on what happens to a value do not count as a
//     conflict. [payload.Stricter] compares them.
//
// The package must never know who the subject is, what was consented to, where
// in a document a value stood, or the time other than from Params.Now. It
// keeps no state between values, reads no files, and logs nothing.
package deid

import (
	"fmt"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// Env says where in a policy a transform stands.
type Env struct {
	Recipient string // the recipient's name in the policy, without a per value
	Category  string // the category that the transform is for, not a pattern
}

// definition is one row of the table: what is documented and how it is made.
type definition struct {
	Doc
	// refuse, where set, looks at the argument first, for mistakes that
	// deserve a better answer than the general one.
	refuse func(args any) error
	build  func(v values, env Env) (payload.Transformer, error)
}

// table lists the transforms by name. A new one is a file and a line here.
var table = []definition{
	ageDefinition,
	constantDefinition,
	digestDefinition,
	geoDefinition,
	ipDefinition,
	maskDefinition,
	pseudonymDefinition,
	rangeDefinition,
	timeDefinition,
	uaDefinition,
	urlDefinition,
}

// Names returns the names of all transforms, sorted.
func Names() []string {
	var names []string
	for _, d := range table {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return names
}

// Docs describes all transforms, sorted by name. The same table checks the
// arguments that [New] is given, so what is generated from it is true.
func Docs() []Doc {
	var docs []Doc
	for _, d := range table {
		d.Args = slices.Clone(d.Args)
		docs = append(docs, d.Doc)
	}
	slices.SortFunc(docs, func(a, b Doc) int { return strings.Compare(a.Name, b.Name) })
	return docs
}

// New makes the transform that a policy calls name. args is its argument as
// YAML or JSON decodes it into an any: nil where the transform is written
// without one (`as: pseudonym`), else a scalar or a map (`as: {ip: {v4: 24}}`
// has the args {v4: 24}). An error says what is wrong and what to write
// instead; it does not say where, which the caller knows better.
//
// The result may be used by many goroutines at once.
func New(name string, args any, env Env) (payload.Transformer, error) {
	for _, d := range table {
		if d.Name != name {
			continue
		}
		if d.refuse != nil {
			if err := d.refuse(args); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		v, err := d.bind(args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; write %s", name, err, strings.Join(d.Examples, " or "))
		}
		t, err := d.build(v, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; write %s", name, err, strings.Join(d.Examples, " or "))
		}
		return t, nil
	}
	switch strings.ToLower(name) {
	case "hash", "md5", "sha1", "sha256", "hmac":
		return nil, fmt.Errorf("no transform is called %q: whoever has the id can compute its hash, so a hash of an id is that id; write pseudonym, or, where a partner has to join by the hash and people expressly said yes to that, {digest: %s} in an entry with such a purpose", name, digestFor(strings.ToLower(name)))
	}
	if near := nearest(name, Names()); near != "" {
		return nil, fmt.Errorf("no transform is called %q; did you mean %s?", name, near)
	}
	return nil, fmt.Errorf("no transform is called %q; there are %s", name, strings.Join(Names(), ", "))
}
