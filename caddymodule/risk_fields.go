package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/internal/risk"
	"github.com/consentgate/consentgate/rules"
)

// riskFields says what the fields of a sample are: by the flags first, then by
// what the policy lets go to the recipient.
type riskFields struct {
	flags  *pathFlags
	policy *riskPolicy // nil: there is none
	raw    bool        // the sample is from before anything was de-identified
}

// riskOptions returns how a sample is read.
func (f *riskFields) riskOptions() risk.Options {
	o := risk.Options{Classify: f.classify, Fold: payload.Fold, Known: f.flags.known}
	if f.policy != nil {
		o.Known = func(step string) bool { return f.flags.known(step) || f.policy.words[payload.Fold(step)] }
		if !f.raw {
			o.Inspect = f.policy.inspect
		}
	}
	return o
}

// classify says what the field at a path is.
func (f *riskFields) classify(steps []string) risk.Assignment {
	doc := skeleton(steps)
	a := risk.Assignment{Role: risk.Quasi, Because: risk.ByDefault}
	if f.policy != nil {
		a = f.policy.classify(doc)
	}
	if f.raw && a.Undeclared {
		// It is what de-identification is for, and no fault here.
		a.Undeclared, a.Because = false, risk.ByCategory
		if a.Category == "" {
			a.Because = risk.ByDefault
		}
	}
	if f.raw && a.Role == risk.Pseudonym {
		a.Role, a.Fixed = risk.Direct, true // not yet one
	}
	f.flags.apply(doc, &a)
	return a
}

// skeleton is a record that holds nothing but a value at the path.
func skeleton(steps []string) []byte {
	var b bytes.Buffer
	for _, s := range steps {
		name, err := json.Marshal(s)
		if err != nil {
			panic(err) // a string can be written
		}
		b.WriteByte('{')
		b.Write(name)
		b.WriteByte(':')
	}
	b.WriteString("true")
	for range steps {
		b.WriteByte('}')
	}
	return b.Bytes()
}

// pathFlags are the paths that the flags name, as a matcher: the same grammar as
// everywhere.
type pathFlags struct {
	matcher *payload.Matcher
	paths   []flagPath // the index is the payload.Category
	words   map[string]bool
}

type flagPath struct {
	flag, path string
	met        bool // some field is at it or below
}

// newPathFlags compiles the flags, named without dashes.
func newPathFlags(flags map[string][]string) (*pathFlags, error) {
	f := &pathFlags{words: map[string]bool{}}
	var rs []payload.Rule
	for _, flag := range []string{"quasi", "sensitive", "ignore", "subject"} {
		for _, path := range flags[flag] {
			if _, err := payload.ParsePath(path); err != nil {
				return nil, fmt.Errorf("--%s: %w", flag, err)
			}
			if len(f.paths) >= payload.MaxCategories {
				return nil, fmt.Errorf("more than %d paths", payload.MaxCategories)
			}
			rs = append(rs, payload.Rule{Category: payload.Category(len(f.paths)), Paths: []string{path}})
			f.paths = append(f.paths, flagPath{flag: flag, path: path})
			addWords(f.words, path)
		}
	}
	m, err := payload.Compile(payload.Spec{Rules: rs})
	if err != nil {
		return nil, err
	}
	f.matcher = m
	return f, nil
}

func (f *pathFlags) known(step string) bool { return f.words[payload.Fold(step)] }

// addWords notes the steps of a path.
func addWords(words map[string]bool, path string) {
	for _, step := range strings.Split(path, ".") {
		words[payload.Fold(strings.Trim(step, `"`))] = true
	}
	words[payload.Fold(path)] = true // a key with a '.' in it
}

// apply lets the flags change what a field is.
func (f *pathFlags) apply(doc []byte, a *risk.Assignment) {
	named := map[string]bool{}
	for _, c := range categoriesIn(f.matcher, doc) {
		f.paths[c].met = true
		named[f.paths[c].flag] = true
	}
	if f.has("quasi") && a.Role == risk.Quasi && !named["quasi"] {
		// The flag is the whole list.
		a.Role, a.Fixed, a.Because = risk.Other, true, risk.ByFlag
	}
	if f.has("sensitive") && !named["sensitive"] {
		a.Sensitive = false
	}
	switch {
	case named["ignore"]:
		a.Role, a.Sensitive, a.Undeclared = risk.Ignored, false, false
	case named["quasi"]:
		a.Role, a.Sensitive = risk.Quasi, named["sensitive"]
	case named["sensitive"]:
		a.Role, a.Sensitive = risk.Sensitive, true
	case named["subject"]:
		if a.Role != risk.Direct {
			a.Role = risk.Pseudonym
		}
	default:
		return
	}
	a.Subject = named["subject"]
	a.Fixed, a.Because = true, risk.ByFlag
}

func (f *pathFlags) has(flag string) bool {
	return slices.ContainsFunc(f.paths, func(p flagPath) bool { return p.flag == flag })
}

// unmet returns an error for a path that no record has: a slip of the pen would
// make the risk look smaller than it is.
func (f *pathFlags) unmet() error {
	for _, p := range f.paths {
		if !p.met {
			return fmt.Errorf("--%s %s: no record has anything there; paths begin at the record, '*' is one step and '**' any number", p.flag, p.path)
		}
	}
	return nil
}

// categoriesIn returns the categories of a value and of what it stands in.
func categoriesIn(m *payload.Matcher, doc []byte) []payload.Category {
	s, err := m.Scan(doc, payload.DefaultLimits)
	if err != nil {
		return nil
	}
	defer s.Free()
	var cs []payload.Category
	for i := range s.Hits {
		cs = append(cs, m.Categories(s.Hits[i].Class)...)
		cs = append(cs, m.Categories(s.Hits[i].Path)...)
	}
	slices.Sort(cs)
	return slices.Compact(cs)
}

// riskPolicy is what a policy says of one recipient at the most: for a subject
// who granted everything.
type riskPolicy struct {
	policy    *rules.Policy
	recipient *rules.Recipient
	matcher   *payload.Matcher
	actions   []payload.Action
	judged    *payload.Vector // drops what may not go, and changes nothing else
	looks     *payload.Vector // reports what values look like
	words     map[string]bool
}

// newRiskPolicy makes one for a recipient by its name, which an error explains.
func newRiskPolicy(p *rules.Policy, recipient string, now time.Time) (*riskPolicy, error) {
	plan, err := p.Plan(rules.Inbound{}, rules.RouteSpec{Recipient: recipient})
	if err != nil {
		return nil, err
	}
	r := &riskPolicy{policy: p, recipient: p.Recipient(recipient), matcher: plan.Matcher, words: map[string]bool{}}
	const party = "any" // behind a recipient with a per value
	permits, _ := p.Permits(grantedAll(p, r.recipient, party), now)
	r.actions = plan.Routes[0].Release(permits, party).Actions

	keep := payload.Judgement{Unknown: r.recipient.Unknown, Keep: -1, Looks: payload.Off}
	if r.recipient.Unknown == payload.Drop && len(r.recipient.Keep) > 0 {
		keep.Keep = 0 // the only list of the plan
	}
	goes := make([]payload.Action, len(r.actions))
	for c, a := range r.actions {
		if a.Op > payload.Transform {
			goes[c] = payload.Action{Op: payload.Drop}
		}
	}
	r.judged = r.matcher.NewVector(goes, keep)
	keep.Unknown, keep.Looks = payload.Pass, payload.ReportOnly
	r.looks = r.matcher.NewVector(make([]payload.Action, len(r.actions)), keep)

	for _, c := range p.Categories() {
		for _, k := range c.Keys {
			r.words[payload.Fold(k)] = true
		}
		for _, path := range c.Paths {
			addWords(r.words, path)
		}
	}
	for _, path := range r.recipient.Keep {
		addWords(r.words, path)
	}
	return r, nil
}

// grantedAll is the state of one who granted all that a recipient may ask for.
func grantedAll(p *rules.Policy, r *rules.Recipient, party string) *consent.State {
	s := &consent.State{Policy: p.InForce(), Version: 1, Grants: map[consent.GrantKey]consent.Grant{}}
	name := r.ID
	if r.Per != "" {
		name += ":" + party
	}
	for _, purpose := range append(slices.Clone(r.Purposes), rules.CrossBorder) {
		k := consent.GrantKey{Purpose: purpose}
		if p.Separate(purpose) {
			k.Recipient = name
		}
		s.Grants[k] = consent.Grant{Status: consent.Granted, Version: p.InForce()}
	}
	return s
}

// classify says what the value in a skeleton is. Of several categories the one
// that is treated most strictly counts, as it does for the gate.
func (r *riskPolicy) classify(doc []byte) risk.Assignment {
	cs := categoriesIn(r.matcher, doc)
	if !r.mayGo(doc) {
		a := risk.Assignment{Role: risk.Quasi, Undeclared: true, Because: risk.NotAllowed}
		r.describe(cs, &a)
		return a
	}
	if len(cs) == 0 {
		if r.recipient.Unknown == payload.Drop {
			return risk.Assignment{Role: risk.Other, Because: risk.ByKeep}
		}
		return risk.Assignment{Role: risk.Quasi, Because: risk.ByDefault}
	}
	a := risk.Assignment{Role: risk.Quasi, Because: risk.ByCategory}
	keyed := r.describe(cs, &a)
	if keyed {
		a.Role = risk.Pseudonym
	}
	return a
}

// describe fills in the category that is treated most strictly, and reports
// whether that is by a pseudonym.
func (r *riskPolicy) describe(cs []payload.Category, a *risk.Assignment) (keyed bool) {
	strictest := payload.Action{}
	for i, c := range cs {
		act := r.actions[c]
		a.Sensitive = a.Sensitive || r.policy.Categories()[c].Sensitive
		if i > 0 && act.Op <= strictest.Op {
			continue
		}
		strictest = act
		a.Category, a.Action = r.policy.CategoryName(c), act.Op.String()
		if act.Op == payload.Transform {
			a.Action = "de-identified"
			if _, keyed = act.T.(payload.Keyed); keyed {
				a.Action = "pseudonym"
			}
		} else {
			keyed = false
		}
	}
	return keyed
}

// mayGo reports whether the value in a skeleton would reach the recipient, in
// whatever form.
func (r *riskPolicy) mayGo(doc []byte) bool {
	s, err := r.matcher.Scan(doc, payload.DefaultLimits)
	if err != nil {
		return false
	}
	defer s.Free()
	part := payload.Part{Vector: r.judged, Params: &payload.Params{}}
	out, _ := s.Apply(nil, part, []payload.Part{part})
	return bytes.Equal(out, doc)
}

// unread stands for a record that the gate would refuse to look into.
const unread = "(unreadable)"

// inspect returns the categories that values of a record look like and that the
// recipient may not have as they are.
func (r *riskPolicy) inspect(record []byte) []string {
	s, err := r.matcher.Scan(record, payload.DefaultLimits)
	if err != nil {
		return []string{unread}
	}
	defer s.Free()
	part := payload.Part{Vector: r.looks, Params: &payload.Params{}}
	_, rep := s.Apply(nil, part, []payload.Part{part})
	var found []string
	rep.Looked(func(c payload.Category) {
		if r.actions[c].Op != payload.Pass {
			found = append(found, r.policy.CategoryName(c))
		}
	})
	return found
}
