package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// Title is what people read, in Chinese and English.
type Title struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Basis is what makes a purpose lawful.
type Basis string

// The bases. A fifth word, exempt, is the basis of what happens under an
// [Exemption]; no purpose can have it, since an exemption holds on the routes
// that name it and asks for no purpose at all.
const (
	Necessary Basis = "necessary" // the accepted policy, unless the subject said no
	Consent   Basis = "consent"   // a grant of this purpose
	Explicit  Basis = "explicit"  // an affirmative grant of this very purpose
	Separate  Basis = "separate"  // a grant of this purpose that names the recipient
	Exempt    Basis = "exempt"    // no consent at all, see Exemption
)

// Kind says what a recipient is to the controller.
type Kind string

// The kinds of recipients.
const (
	FirstParty Kind = "first_party" // the controller's own backend
	Processor  Kind = "processor"   // an SDK vendor
	ThirdParty Kind = "third_party" // serves the subject in its own name
	AdPartner  Kind = "ad_partner"  // gets only what its release lists
	Public     Kind = "public"      // everyone
)

// CrossBorder is the reserved purpose that lets data leave the policy's home.
const CrossBorder = "cross_border"

// Policy is a checked and compiled policy. It is immutable and safe for
// concurrent use.
type Policy struct {
	src        *source
	ids        []string // of the categories, sorted; the index is the payload.Category
	categories []Category
	number     map[string]payload.Category
	purposes   []*Purpose
	byPurpose  map[string]*Purpose
	exemptions []*Exemption
	recipients []*Recipient
	byName     map[string]*Recipient
	versions   []string
	headers    map[string][]payload.Category
	digest     [sha256.Size]byte
}

// Category is a kind of personal data.
type Category struct {
	ID        string `json:"id"`
	Title     Title  `json:"title"`
	Sensitive bool   `json:"sensitive"`
	// FreeText says that people write it freely: no ad partner may have it.
	FreeText bool     `json:"-"`
	Clause   string   `json:"clause,omitempty"`
	Keys     []string `json:"-"`
	Paths    []string `json:"-"`
	Headers  []string `json:"-"`
	Detect   []string `json:"-"`
}

// Purpose is why data is processed.
type Purpose struct {
	ID     string
	Title  Title
	Clause string
	Basis  Basis
	Since  string // a version

	since int // index of Since among the versions
	uses  bitset
}

// Exemption is a case in which the law asks for no consent. It holds only on
// a route that names it.
type Exemption struct {
	ID      string
	Title   Title
	Clause  string
	Collect bool // holds on routes to the first party
	Share   bool // holds on routes to anyone else

	uses bitset
}

// Recipient is who gets data.
type Recipient struct {
	ID      string
	Kind    Kind
	Title   Title
	Clause  string
	Vendor  string
	Country string // empty: at home
	// Abroad says that the country is outside the policy's home, so that
	// everything that goes there needs cross_border granted.
	Abroad bool
	// Per is the placeholder whose value tells apart the parties behind this
	// recipient; empty: it is one party.
	Per      string
	Since    string   // a version
	Purposes []string // in file order
	// Detect is "apply", "report" or "off".
	Detect string
	// Unknown is payload.Pass or payload.Drop: what happens to scalars that no
	// category matches, except under the paths of Keep.
	Unknown payload.Op
	Keep    []string
	// Headers are the only request headers that the recipient gets, in
	// canonical form; nil: the gateway decides.
	Headers []string
	// Pseudonyms says when the keys of the recipient's pseudonyms change.
	Pseudonyms Pseudonyms
	// KAnonymity is what leaves only of those who are like many others; nil:
	// there is no such thing.
	KAnonymity *KAnonymity
	// Set are the members that the gateway writes itself, in file order.
	Set []SetMember

	index    int
	purposes []*Purpose
	since    []int // by purpose: the version that counts, as an index
	rules    []categoryRule
}

// ID returns the policy's name.
func (p *Policy) ID() string { return p.src.id.s }

// Title returns what people call the policy; it may be empty.
func (p *Policy) Title() Title { return p.src.title }

// Controller returns who decides on the processing.
func (p *Policy) Controller() string { return p.src.controller }

// Contact returns where people turn to.
func (p *Policy) Contact() string { return p.src.contact }

// Home returns the countries where personal data stays.
func (p *Policy) Home() []string { return plainWords(p.src.home) }

// MinorUnder returns the age below which a guardian must consent; 0: the
// policy names none.
func (p *Policy) MinorUnder() int { return p.src.minor }

// Versions returns every version that a subject may have accepted, oldest
// first.
func (p *Policy) Versions() []string { return slices.Clone(p.versions) }

// InForce returns the version in force, the last one.
func (p *Policy) InForce() string { return p.versions[len(p.versions)-1] }

// Digest returns the SHA-256 of the files that the policy was loaded from, in
// hexadecimal: another digest is another policy.
func (p *Policy) Digest() string { return hex.EncodeToString(p.digest[:]) }

// Categories returns the categories; the index is the payload.Category. It
// must not be changed.
func (p *Policy) Categories() []Category { return p.categories }

// Category returns the number of a category.
func (p *Policy) Category(id string) (payload.Category, bool) {
	c, ok := p.number[id]
	return c, ok
}

// CategoryName returns the id of a category, or "" when the policy has none of
// that number.
func (p *Policy) CategoryName(c payload.Category) string {
	if int(c) >= len(p.ids) {
		return ""
	}
	return p.ids[c]
}

// Covered returns the categories that a pattern covers.
func (p *Policy) Covered(pattern string) []payload.Category {
	var cs []payload.Category
	for i, id := range p.ids {
		if covers(pattern, id) {
			cs = append(cs, payload.Category(i))
		}
	}
	return cs
}

// Uses returns the categories that a purpose or an exemption of that name uses.
func (p *Policy) Uses(name string) []payload.Category {
	var b bitset
	if u := p.byPurpose[name]; u != nil {
		b = u.uses
	}
	for _, x := range p.exemptions {
		if x.ID == name {
			b = x.uses
		}
	}
	var cs []payload.Category
	for i := range p.ids {
		if b != nil && b.has(i) {
			cs = append(cs, payload.Category(i))
		}
	}
	return cs
}

// Headers returns the categories that each header may hold, by the canonical
// name of the header. It must not be changed.
func (p *Policy) Headers() map[string][]payload.Category { return p.headers }

// Purposes returns the purposes in file order. It must not be changed.
func (p *Policy) Purposes() []*Purpose { return p.purposes }

// Purpose returns the purpose of that id, or nil.
func (p *Policy) Purpose(id string) *Purpose { return p.byPurpose[id] }

// Exemptions returns the exemptions in file order. It must not be changed.
func (p *Policy) Exemptions() []*Exemption { return p.exemptions }

// Recipients returns the recipients in file order. It must not be changed.
func (p *Policy) Recipients() []*Recipient { return p.recipients }

// Recipient returns the recipient of that name (without a per value), or nil.
func (p *Policy) Recipient(name string) *Recipient { return p.byName[name] }

// Placed returns the recipients for which some category is de-identified by
// where GeoIP sees an address, in file order: without a GeoIP database they get
// nothing of it.
func (p *Policy) Placed() []*Recipient {
	return slices.DeleteFunc(slices.Clone(p.recipients), func(r *Recipient) bool {
		return !slices.ContainsFunc(r.rules, categoryRule.placed)
	})
}

// HasPurpose reports whether the policy defines the purpose.
func (p *Policy) HasPurpose(id string) bool { return p.byPurpose[id] != nil }

// HasRecipient reports whether the policy defines the recipient; for
// "NAME:VALUE", whether it defines NAME and NAME has a per value.
func (p *Policy) HasRecipient(name string) bool {
	base, per, named := strings.Cut(name, ":")
	r := p.byName[base]
	return r != nil && (!named || r.Per != "" && per != "")
}

// Separate reports whether a grant of the purpose must name its recipient.
func (p *Policy) Separate(purpose string) bool {
	u := p.byPurpose[purpose]
	return purpose == CrossBorder || u != nil && u.Basis == Separate
}

// Clauses returns the clauses that no rule expresses, with the names of the
// tests that show that each is kept.
func (p *Policy) Clauses() map[string][]string {
	m := map[string][]string{}
	for _, c := range p.src.clauses {
		m[c.clause.s] = plainWords(c.tests)
	}
	return m
}

func plainWords(ws []word) []string {
	if len(ws) == 0 {
		return nil
	}
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.s
	}
	return out
}
