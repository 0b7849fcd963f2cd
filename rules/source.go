package rules

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// source is a policy as it was written: every name and value with its place,
// nothing resolved. Checks speak of it, and compile makes a Policy of it.
type source struct {
	at         place
	id         word
	title      Title
	versions   []word
	controller string
	contact    string
	home       []word
	minor      int
	includes   []word
	categories []category
	purposes   []purpose
	exemptions []exemption
	recipients []recipient
	clauses    []clauseProof
	pack       bool // an included file
}

// word is a text with its place.
type word struct {
	s  string
	at place
}

type category struct {
	id        word
	title     Title
	clause    string
	sensitive *bool
	sensAt    place
	freeText  *bool
	freeAt    place
	keys      []word
	paths     []word
	headers   []word
	detect    []word
}

type purpose struct {
	id     word
	title  Title
	clause string
	basis  word
	since  word
	uses   []word
	// sensitiveOK holds reasons by category pattern; "*" is the reason for all.
	sensitiveOK []reason
}

type reason struct {
	pattern word
	text    string
}

type exemption struct {
	id     word
	title  Title
	clause string
	scope  []word
	uses   []word
}

type recipient struct {
	id       word
	kind     word
	title    Title
	clause   string
	vendor   string
	country  word
	per      word
	since    word
	purposes []word
	release  []entry
	detect   string
	unknown  word
	keep     []word
	headers  []word

	pseudonyms *rotation
	kAnonymity *kAnonymity
	set        []written
}

// rotation is how the keys of a recipient's pseudonyms change.
type rotation struct {
	at             place
	epoch, overlap word
}

// kAnonymity is what a recipient gets only of those who are like many others.
type kAnonymity struct {
	at         place
	k          word
	window     word
	of         []word
	generalise []generalisation
}

type generalisation struct {
	category word
	levels   []spelled
}

// written is a member that the gateway writes itself.
type written struct {
	at     place
	path   word
	value  item
	unless word
	when   word
	create bool
	clause string
}

// entry is one line of a recipient's release.
type entry struct {
	at       place
	category word
	purpose  word
	as       spelled
	orElse   spelled
	clause   string
}

// spelled is an action as it was written: a name, and what a transform is
// given. A name that is empty means that nothing was written.
type spelled struct {
	at   place
	name string
	args *yaml.Node
}

type clauseProof struct {
	clause word
	tests  []word
}

// item is a YAML node that was checked against its shape. Reading one that did
// not fit gives zero values: the problem is in the journal already.
type item struct {
	file string
	n    *yaml.Node
}

type member struct {
	name word
	item item
}

func (v item) at() place {
	if v.n == nil {
		return place{file: v.file}
	}
	return placeOf(v.file, v.n)
}

func (v item) members() []member {
	if v.n == nil || v.n.Kind != yaml.MappingNode {
		return nil
	}
	var ms []member
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.n.Content); i += 2 {
		k := v.n.Content[i]
		if k.Kind != yaml.ScalarNode || seen[k.Value] {
			continue
		}
		seen[k.Value] = true
		ms = append(ms, member{word{k.Value, placeOf(v.file, k)}, item{v.file, v.n.Content[i+1]}})
	}
	return ms
}

func (v item) get(name string) item {
	for _, m := range v.members() {
		if m.name.s == name {
			return m.item
		}
	}
	return item{file: v.file}
}

func (v item) word() word {
	if v.n == nil || v.n.Kind != yaml.ScalarNode {
		return word{at: v.at()}
	}
	return word{v.n.Value, v.at()}
}

func (v item) text() string { return v.word().s }

func (v item) list() []item {
	switch {
	case v.n == nil:
		return nil
	case v.n.Kind == yaml.ScalarNode:
		return []item{v}
	case v.n.Kind != yaml.SequenceNode:
		return nil
	}
	all := make([]item, len(v.n.Content))
	for i, e := range v.n.Content {
		all[i] = item{v.file, e}
	}
	return all
}

func (v item) words() []word {
	var ws []word
	for _, e := range v.list() {
		if w := e.word(); w.s != "" {
			ws = append(ws, w)
		}
	}
	return ws
}

func (v item) title() Title {
	return Title{ZH: v.get("zh").text(), EN: v.get("en").text()}
}

// action reads "pass", "geo" or {geo: city}. YAML reads a bare null as no
// value at all; here it is the action of that name.
func (v item) action() spelled {
	switch {
	case v.n == nil:
		return spelled{at: v.at()}
	case v.n.Kind == yaml.ScalarNode:
		return spelled{at: v.at(), name: v.n.Value}
	case v.n.Kind == yaml.MappingNode && len(v.n.Content) == 2 && v.n.Content[0].Kind == yaml.ScalarNode:
		return spelled{v.at(), v.n.Content[0].Value, v.n.Content[1]}
	}
	return spelled{at: v.at(), name: "?"}
}

// readSource reads a checked document.
func readSource(file string, root *yaml.Node) *source {
	doc := item{file, root}
	head := doc.get("policy")
	s := &source{
		at: head.at(), id: head.get("id").word(), title: head.get("title").title(),
		versions: head.get("versions").words(), home: head.get("home").words(),
		controller: head.get("controller").text(), contact: head.get("contact").text(),
		includes: doc.get("include").words(),
	}
	if head.n == nil {
		s.at = doc.at()
	}
	s.minor, _ = strconv.Atoi(head.get("minor").get("under").text())
	for _, m := range doc.get("categories").members() {
		s.categories = append(s.categories, readCategory(m))
	}
	for _, m := range doc.get("purposes").members() {
		s.purposes = append(s.purposes, readPurpose(m))
	}
	for _, m := range doc.get("exemptions").members() {
		s.exemptions = append(s.exemptions, exemption{
			id: m.name, title: m.item.get("title").title(), clause: m.item.get("clause").text(),
			scope: m.item.get("scope").words(), uses: m.item.get("uses").words(),
		})
	}
	for _, m := range doc.get("recipients").members() {
		s.recipients = append(s.recipients, readRecipient(m))
	}
	for _, m := range doc.get("clauses").members() {
		s.clauses = append(s.clauses, clauseProof{m.name, m.item.words()})
	}
	return s
}

func readCategory(m member) category {
	v := m.item
	c := category{
		id: m.name, title: v.get("title").title(), clause: v.get("clause").text(),
		keys: v.get("keys").words(), paths: v.get("paths").words(),
		headers: v.get("headers").words(), detect: v.get("detect").words(),
	}
	if s := v.get("sensitive"); s.n != nil {
		b, _ := strconv.ParseBool(s.text())
		c.sensitive, c.sensAt = &b, s.at()
	}
	if s := v.get("free_text"); s.n != nil {
		b, _ := strconv.ParseBool(s.text())
		c.freeText, c.freeAt = &b, s.at()
	}
	return c
}

func readPurpose(m member) purpose {
	v := m.item
	p := purpose{
		id: m.name, title: v.get("title").title(), clause: v.get("clause").text(),
		basis: v.get("basis").word(), since: v.get("since").word(), uses: v.get("uses").words(),
	}
	ok := v.get("sensitive_ok")
	if w := ok.word(); w.s != "" {
		p.sensitiveOK = []reason{{word{"*", w.at}, w.s}}
	}
	for _, r := range ok.members() {
		p.sensitiveOK = append(p.sensitiveOK, reason{r.name, r.item.text()})
	}
	return p
}

func readRecipient(m member) recipient {
	v := m.item
	r := recipient{
		id: m.name, kind: v.get("kind").word(), title: v.get("title").title(), clause: v.get("clause").text(),
		vendor: v.get("vendor").text(), country: v.get("country").word(), per: v.get("per").word(),
		since: v.get("since").word(), purposes: v.get("purposes").words(),
		detect: v.get("detect").text(), unknown: v.get("unknown").word(),
		keep: v.get("keep").words(), headers: v.get("headers").words(),
	}
	for _, e := range v.get("release").list() {
		r.release = append(r.release, entry{
			at: e.at(), category: e.get("category").word(), purpose: e.get("purpose").word(),
			as: e.get("as").action(), orElse: e.get("else").action(), clause: e.get("clause").text(),
		})
	}
	readPartner(v, &r)
	return r
}

// readPartner reads what is said of how records leave for a recipient.
func readPartner(v item, r *recipient) {
	if w := v.get("pseudonyms"); w.n != nil {
		r.pseudonyms = &rotation{at: w.at(), epoch: w.get("epoch").word(), overlap: w.get("overlap").word()}
	}
	if w := v.get("k_anonymity"); w.n != nil {
		k := &kAnonymity{at: w.at(), k: w.get("k").word(), window: w.get("window").word(), of: w.get("of").words()}
		for _, m := range w.get("generalise").members() {
			g := generalisation{category: m.name}
			for _, level := range m.item.list() {
				g.levels = append(g.levels, level.action())
			}
			k.generalise = append(k.generalise, g)
		}
		r.kAnonymity = k
	}
	for _, w := range v.get("set").list() {
		create, _ := strconv.ParseBool(w.get("create").text())
		r.set = append(r.set, written{
			at: w.at(), path: w.get("path").word(), value: w.get("value"), unless: w.get("unless").word(),
			when: w.get("when").word(), create: create, clause: w.get("clause").text(),
		})
	}
}
