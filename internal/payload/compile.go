package payload

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Rule says where the values of one category stand.
type Rule struct {
	Category Category
	Keys     []string // member names, compared folded; anywhere in a record
	Paths    []string // anchored at the record, see [ParsePath]
	Detect   []uint8  // kinds of the Detector, below 32
}

// Spec is what a [Matcher] is compiled from.
type Spec struct {
	Rules []Rule
	// Keep holds one list of paths for each recipient that has one; a Vector
	// names its list by index. What stands under these paths is exempt from
	// Judgement.Unknown.
	Keep [][]string
	// Unknown asks Scan to note the scalars that no category matches as well.
	// Without it no Vector can drop them.
	Unknown bool
	// Subject and Device are the paths, in order of precedence, at which a
	// record names whom it is about.
	Subject, Device []string
	// Writes are the members that some Vector writes itself; a Judgement names
	// those that its does.
	Writes []Write
	// Records is the path, anchored at the document, of the array whose
	// elements are records of their own; "." is the document itself, "" means
	// that the document is one record.
	Records string
	// What looks into values; see [Inside].
	Inside Inside
}

// Matcher is a compiled Spec. It is immutable and safe for concurrent use.
type Matcher struct {
	keys  map[string]entry // by folded key
	paths automaton
	// By entry.suffixes(), longest first; 0 is none.
	suffixes [][]suffix
	classes  []class
	every    Class // of all categories that have a rule
	looks    looks
	spec     Spec
	records  bool
	puts     []put     // by number of the write
	written  []Class   // that some write concerns
	scans    sync.Pool // of scans of documents
	children sync.Pool // of those of texts inside values
}

// class is what a Class number stands for.
type class struct {
	categories []Category
	keep       []keep
	written
}

// keep says that a path stands in the keep list of that number.
type keep struct {
	list  int
	exact bool
}

// entry is what a folded key means, packed into a word, since most keys mean
// nothing: from the lowest bit on, 16 bits each of its class, of its number
// among the keys that paths name (0: none does), of its index in
// Matcher.suffixes, and of its role.
type entry uint64

func (e entry) class() Class     { return Class(e) }
func (e entry) sym() uint16      { return uint16(e >> 16) }
func (e entry) suffixes() uint16 { return uint16(e >> 32) }
func (e entry) role() role       { return role(e >> 48) }

func (e entry) withClass(c Class) entry     { return e&^0xffff | entry(c) }
func (e entry) withSym(n uint16) entry      { return e&^(0xffff<<16) | entry(n)<<16 }
func (e entry) withSuffixes(n uint16) entry { return e&^(0xffff<<32) | entry(n)<<32 }
func (e entry) withRole(r role) entry       { return e | entry(r)<<48 }

// role is what a key means beside its class.
type role uint16

const (
	roleLat       role = 1 << iota // a latitude
	roleLon                        // a longitude
	rolePairName                   // names the category of the value beside it
	rolePairValue                  // is the value beside a name
	roleDetected                   // its class was found by its looks
	roleKey                        // what was found is the key: nothing but passing leaves it
	roleSealed                     // cannot be opened: nothing lets it pass
	roleSpan                       // is a piece of a text, and is masked rather than taken out
	roleWhole                      // is a document as a whole, and no value that could be unknown

	rolePosition = roleLat | roleLon
	roleFound    = roleDetected | roleKey | roleSealed
)

// In a list of name/value pairs the category is named by a value.
var pairRoles = map[string]role{
	"name": rolePairName, "key": rolePairName, "k": rolePairName,
	"value": rolePairValue, "val": rolePairValue, "v": rolePairValue,
}

// coordinateRole recognises the halves of a position by how the folded key
// ends: lat, gpsLatitude, location_lng.
func coordinateRole(key string) role {
	for _, s := range []string{"lat", "latitude", "纬度"} {
		if strings.HasSuffix(key, s) {
			return roleLat
		}
	}
	for _, s := range []string{"lon", "lng", "long", "longitude", "经度"} {
		if strings.HasSuffix(key, s) {
			return roleLon
		}
	}
	return 0
}

// Compile compiles a Spec.
func Compile(s Spec) (*Matcher, error) {
	m := &Matcher{keys: map[string]entry{}, spec: s, records: s.Records != ""}
	in := interner{}
	in.class(nil) // class 0 is the empty one

	byKey := map[string][]Category{}
	var pats []pattern
	for _, r := range s.Rules {
		if r.Category >= MaxCategories {
			return nil, fmt.Errorf("more than %d categories", MaxCategories)
		}
		for _, k := range r.Keys {
			f := Fold(k)
			if f == "" {
				return nil, fmt.Errorf("key %q: nothing is left of it when '_', '-', '.', space and leading '$', '@', '#' are taken away", k)
			}
			byKey[f] = append(byKey[f], r.Category)
		}
		for _, t := range r.Paths {
			p, err := ParsePath(t)
			if err != nil {
				return nil, err
			}
			pats = append(pats, pattern{Path: p, kind: patCategory, n: int(r.Category)})
		}
	}
	for list, paths := range s.Keep {
		for _, t := range paths {
			p, err := ParsePath(t)
			if err != nil {
				return nil, err
			}
			pats = append(pats, pattern{Path: p, kind: patKeep, n: list})
		}
	}
	for kind, paths := range map[patternKind][]string{patSubject: s.Subject, patDevice: s.Device} {
		if len(paths) > 1<<8-1 {
			return nil, fmt.Errorf("%d paths name the subject: no more than %d are supported", len(paths), 1<<8-1)
		}
		for n, t := range paths {
			p, err := ParsePath(t)
			if err != nil {
				return nil, err
			}
			pats = append(pats, pattern{Path: p, kind: kind, n: n})
		}
	}
	for n, w := range s.Writes {
		more, err := w.patterns(n)
		if err != nil {
			return nil, err
		}
		pats = append(pats, more...)
	}
	if m.records && s.Records != "." {
		p, err := ParsePath(s.Records)
		if err != nil {
			return nil, err
		}
		pats = append(pats, pattern{Path: p, kind: patRecords})
	}

	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		m.keys[k] = entry(in.class(byKey[k]))
	}
	var all []Category
	for _, r := range s.Rules {
		all = append(all, r.Category)
	}
	m.every = in.class(all)
	syms := map[string]uint16{}
	for _, p := range pats {
		for _, st := range p.steps {
			if !st.any && syms[st.key] == 0 {
				if len(syms) >= int(anyKey)-1 {
					return nil, errTooManyPaths
				}
				syms[st.key] = uint16(len(syms) + 1)
			}
		}
	}
	for k, n := range syms {
		m.keys[k] = m.keys[k].withSym(n)
	}
	m.looks.compile(s, &in)
	for k, r := range pairRoles {
		m.keys[k] = m.keys[k].withRole(r)
	}
	for _, k := range []string{"lat", "latitude", "lon", "lng", "long", "longitude"} {
		// Known in any case: a position may be governed by its object's path.
		if _, ok := m.keys[k]; !ok {
			m.keys[k] = 0
		}
	}
	for k, e := range m.keys {
		m.keys[k] = e.withRole(coordinateRole(k))
	}
	m.buildSuffixes(pats, syms, &in)
	pats = slices.DeleteFunc(pats, pattern.bySuffix)
	if err := m.paths.build(pats, syms, &in); err != nil {
		return nil, err
	}
	if len(in.all) > 1<<16-1 {
		return nil, fmt.Errorf("the categories of this policy overlap in %d ways: no more than %d are supported", len(in.all), 1<<16-1)
	}
	m.classes = in.all
	m.prepare()
	m.scans.New = func() any { return newScan(m) }
	m.children.New = func() any { return &Scan{m: m} }
	return m, nil
}

// Categories returns the categories of a class, in ascending order. It must
// not be changed.
func (m *Matcher) Categories(c Class) []Category { return m.classes[c].categories }

// lookup finds a key by its text, without quotes and escapes.
func (m *Matcher) lookup(key []byte) entry {
	var buf [64]byte
	if i := bytes.IndexByte(key, 0); i >= 0 {
		// To a receiver that keeps C strings the key ends here.
		if e := m.lookup(key[:i]); e.class() != 0 || e.suffixes() != 0 {
			return e
		}
	}
	e := m.keys[string(appendFold(buf[:0], key))]
	if e.class() == 0 && e.suffixes() == 0 {
		// A map from ids to things holds the ids in its keys.
		if c := m.looks.key(key); c != 0 {
			e = e.withClass(c).withRole(roleDetected | roleKey)
		}
	}
	return e
}

// interner numbers the sets of categories and of marks that occur.
type interner struct {
	all []class
	num map[string]Class
}

// class numbers a set of categories.
func (in *interner) class(cats []Category) Class { return in.intern(class{categories: cats}) }

func (in *interner) intern(cl class) Class {
	cl.categories = slices.Clone(cl.categories)
	slices.Sort(cl.categories)
	cl.categories = slices.Compact(cl.categories)
	cl.written.sort()
	key := fmt.Sprint(cl)
	if c, ok := in.num[key]; ok {
		return c
	}
	if in.num == nil {
		in.num = map[string]Class{}
	}
	c := Class(len(in.all))
	in.num[key] = c
	in.all = append(in.all, cl)
	return c
}
