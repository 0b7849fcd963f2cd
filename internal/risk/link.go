package risk

import "slices"

// Link is what two recipients could join of what they got.
type Link struct {
	File      string `json:"file"` // of the other recipient
	Recipient string `json:"recipient,omitempty"`
	Records   int    `json:"records"` // of the other
	Used      int    `json:"used"`
	Subjects  int    `json:"subjects"`
	// Shared lists pairs of identifier-like fields (subjects, pseudonyms, direct
	// identifiers, record ids) with values in common. Each is an alarm.
	Shared []Shared `json:"shared_identifiers"`
	// Pairs are the quasi-identifiers that both have, by path, or by category
	// and name. Records are compared in these.
	Pairs []Pair `json:"compared"`
	// Exact is how many records match exactly one subject of the other (one
	// record, where no subject is named).
	Exact      int     `json:"exactly_one"`
	ExactShare float64 `json:"exactly_one_share"`
	// OneToOne is how many of them are themselves the only subject of their
	// class: such a match is a join.
	OneToOne      int     `json:"one_to_one"`
	OneToOneShare float64 `json:"one_to_one_share"`
	// Comparable says that subjects of both are named alike, so that a match
	// can be judged: Precision is the share of one-to-one matches that are
	// right. A recipient could compute it as well; see Shared.
	Comparable bool    `json:"comparable"`
	Precision  float64 `json:"precision"`
	// Journalist is the risk where the other sample is the attacker's register
	// of people: 1/K, K being the size of the matching class over there. What
	// matches nobody is not at risk. (El Emam and Dankar 2008.)
	Journalist Attack `json:"journalist"`
}

// Shared is two identifier-like fields with values in common.
type Shared struct {
	Path   string `json:"path"`
	Other  string `json:"other"`
	Values int    `json:"values"` // different ones, in both
}

// Pair is a quasi-identifier that both recipients have.
type Pair struct {
	Path  string `json:"path"`
	Other string `json:"other"`
}

// LinkSamples compares what two recipients got.
func LinkSamples(s, other *Sample, o MeasureOptions) *Link {
	l := &Link{File: other.Name, Records: other.Records, Used: other.Rows, Comparable: subjectsMeet(s, other), Shared: []Shared{}, Pairs: []Pair{}}
	if other.HasSubjects() {
		l.Subjects = other.countSubjects()
	}
	l.shared(s, other)
	mine, theirs := l.pair(s, other)
	if len(mine) == 0 {
		return l
	}
	l.match(s, other, s.split(mine), other.split(theirs), max(o.MinK, 1))
	return l
}

func subjectsMeet(s, other *Sample) bool {
	if s.subjects == nil || other.subjects == nil {
		return false
	}
	theirs := map[uint64]struct{}{}
	for _, id := range other.subjects {
		theirs[id] = struct{}{}
	}
	return slices.ContainsFunc(s.subjects, func(id uint64) bool {
		_, ok := theirs[id]
		return ok && id != 0
	})
}

// shared looks for values that join by themselves.
func (l *Link) shared(s, other *Sample) {
	for _, f := range s.fields {
		if !f.identifies() {
			continue
		}
		mine := f.values()
		for _, g := range other.fields {
			if !g.identifies() {
				continue
			}
			n := 0
			for v := range g.values() {
				if _, ok := mine[v]; ok {
					n++
				}
			}
			if n > 0 {
				l.Shared = append(l.Shared, Shared{Path: f.name, Other: g.name, Values: n})
			}
		}
	}
}

// values returns the different values of a field.
func (f *field) values() map[uint64]struct{} {
	set := map[uint64]struct{}{}
	for _, v := range f.column {
		if v != 0 && v != nullHash {
			set[v] = struct{}{}
		}
	}
	return set
}

// pair finds the quasi-identifiers that both have: first by path, then by
// category and the last step of the path, where that is no matter of choice.
func (l *Link) pair(s, other *Sample) (mine, theirs []*field) {
	add := func(f, g *field) {
		mine, theirs = append(mine, f), append(theirs, g)
		l.Pairs = append(l.Pairs, Pair{f.name, g.name})
	}
	quasi, rest := s.roles(Quasi), other.roles(Quasi)
	taken := map[*field]bool{}
	byPath := map[string]*field{}
	for _, g := range rest {
		byPath[pathKey(s.fold, g.steps)] = g
	}
	for _, f := range quasi {
		if g := byPath[pathKey(s.fold, f.steps)]; g != nil {
			add(f, g)
			taken[f], taken[g] = true, true
		}
	}
	kind := func(f *field) string {
		if f.as.Category == "" {
			return ""
		}
		return f.as.Category + "\x00" + s.fold(f.steps[len(f.steps)-1])
	}
	of := func(fields []*field) map[string][]*field {
		m := map[string][]*field{}
		for _, f := range fields {
			if k := kind(f); k != "" && !taken[f] {
				m[k] = append(m[k], f)
			}
		}
		return m
	}
	left, right := of(quasi), of(rest)
	for _, f := range quasi {
		if k := kind(f); len(left[k]) == 1 && len(right[k]) == 1 && left[k][0] == f {
			add(f, right[k][0])
		}
	}
	return mine, theirs
}

// match counts the matches of two partitions by the same fields.
func (l *Link) match(s, other *Sample, p, q *partition, minK int) {
	there := make(map[uint64]int32, len(q.keys))
	for id, key := range q.keys {
		there[key] = int32(id)
	}
	var one []uint64 // by class of q: its subject, where there is one
	if l.Comparable {
		one = make([]uint64, len(q.keys))
		for row, id := range q.class {
			one[id] = other.subjects[row]
		}
	}
	right, units, above := 0, 0, 0
	var risk float64
	for row, id := range p.class {
		match, ok := there[p.keys[id]]
		if !ok || q.size[match] != 1 {
			continue
		}
		l.Exact++
		if p.size[id] != 1 {
			continue
		}
		l.OneToOne++
		if l.Comparable && s.subjects[row] == one[match] {
			right++
		}
	}
	for id, key := range p.keys {
		n := int(p.size[id])
		units += n
		match, ok := there[key]
		if !ok {
			continue
		}
		k := int(q.size[match])
		l.Journalist.Max = max(l.Journalist.Max, 1/float64(k))
		risk += float64(n) / float64(k)
		if k < minK {
			above += n
		}
	}
	l.Journalist.Average = settled(risk / float64(units))
	l.Journalist.Above = share(above, units)
	l.Journalist.Threshold = 1 / float64(minK)
	l.ExactShare, l.OneToOneShare = share(l.Exact, s.Rows), share(l.OneToOne, s.Rows)
	l.Precision = share(right, l.OneToOne)
}
