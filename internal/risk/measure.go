package risk

import (
	"math"
	"slices"
)

// MeasureOptions say what is counted.
type MeasureOptions struct {
	MinK   int // classes below it are too small
	MinL   int // sensitive attributes of fewer values in a class are too uniform
	Subset int // the largest set of fields to try, at most 3
}

// Bounds of the search among sets of quasi-identifiers.
const (
	subsetFields = 12      // the fields of the greatest entropy
	subsetRows   = 100_000 // measured on so many rows
	subsetsShown = 5       // of each size
)

// roles returns the fields of a role.
func (s *Sample) roles(r Role) []*field {
	var list []*field
	for _, f := range s.fields {
		if f.as.Role == r {
			list = append(list, f)
		}
	}
	return list
}

// Measure counts all that there is to count of a sample.
func Measure(s *Sample, o MeasureOptions) *Figures {
	quasi := s.roles(Quasi)
	p := s.split(quasi)
	m := &Figures{
		File: s.Name, Records: s.Records, Used: s.Rows, WithoutSubject: s.WithoutSubject,
		Combinations: len(p.size), Quasi: names(quasi), Looks: append([]Count{}, s.Looks...),
		Subsets: []Subset{}, Sensitive: []Secret{}, // never null in JSON
	}
	subjects := s.countSubjects()
	if s.HasSubjects() {
		m.Subjects = subjects
	}
	m.sizes(s, p, o)
	records, alone := s.unique(p)
	m.Unique = Unique{Records: records, RecordShare: share(records, s.Rows), Subjects: alone, SubjectShare: share(alone, subjects)}
	m.fields(s, quasi, records)
	m.subsets(s, quasi, o.Subset)
	m.secrets(s, quasi, o.MinL)
	return m
}

func names(fields []*field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// sizes fills in all that follows from the sizes of the classes alone.
func (m *Figures) sizes(s *Sample, p *partition, o MeasureOptions) {
	bySize := map[int]*Bin{}
	m.K.Min = math.MaxInt
	var sum float64
	for id, size := range p.size {
		k, n := int(size), int(p.records[id])
		m.K.Min, m.K.Max = min(m.K.Min, k), max(m.K.Max, k)
		sum += float64(k) * float64(n)
		b := bySize[k]
		if b == nil {
			b = &Bin{From: k, To: k}
			bySize[k] = b
		}
		b.Classes++
		b.Records += n
	}
	m.K.Mean = sum / float64(s.Rows)
	var exact []Bin
	for _, b := range bySize {
		exact = append(exact, *b)
	}
	slices.SortFunc(exact, func(a, b Bin) int { return a.From - b.From })

	for _, k := range slices.Compact(slices.Sorted(slices.Values([]int{2, 5, max(o.MinK, 1)}))) {
		below := Below{K: k}
		for _, b := range exact {
			if b.From < k {
				below.Records += b.Records
			}
		}
		below.Share = share(below.Records, s.Rows)
		m.Below = append(m.Below, below)
	}
	m.Prosecutor = attack(exact, p.units(), max(o.MinK, 1))

	seen := 0
	for _, b := range exact {
		if seen += b.Records; m.K.Median == 0 && 2*seen >= s.Rows {
			m.K.Median = b.From
		}
		// One bin for each power of two: 1, 2-3, 4-7 …
		from := 1 << (bitLen(b.From) - 1)
		if n := len(m.Histogram); n == 0 || m.Histogram[n-1].From != from {
			m.Histogram = append(m.Histogram, Bin{From: from, To: 2*from - 1})
		}
		last := &m.Histogram[len(m.Histogram)-1]
		last.Classes += b.Classes
		last.Records += b.Records
	}
	seen = 0
	for i := range m.Histogram {
		seen += m.Histogram[i].Records
		m.Histogram[i].UpTo = share(seen, s.Rows)
	}
	seen = 0
	for _, b := range exact {
		seen += b.Records
		k := b.From
		if k > finePoints {
			k = 1 << bitLen(k-1)
		}
		if n := len(m.Cumulative); n == 0 || m.Cumulative[n-1].K != k {
			m.Cumulative = append(m.Cumulative, AtMost{K: k})
		}
		m.Cumulative[len(m.Cumulative)-1].Share = share(seen, s.Rows)
	}
}

// finePoints is the size up to which the cumulative share is told exactly.
const finePoints = 64

func bitLen(n int) int {
	bits := 0
	for ; n > 0; n >>= 1 {
		bits++
	}
	return bits
}

// attack computes the risk for classes whose From is their size. An attacker
// who looks for one subject among k is right with 1/k.
func attack(classes []Bin, units, minK int) Attack {
	a := Attack{Threshold: 1 / float64(minK)}
	n, above := 0, 0
	for i, b := range classes {
		if i == 0 {
			a.Max = 1 / float64(b.From)
		}
		n += b.Classes
		if b.From < minK {
			above += b.Classes * b.From
		}
	}
	a.Average, a.Above = share(n, units), share(above, units)
	return a
}

// fields fills in what each field gives away. unique is how many records all
// quasi-identifiers together single out.
func (m *Figures) fields(s *Sample, quasi []*field, unique int) {
	for _, f := range s.fields {
		p := s.split([]*field{f})
		alone, _ := s.unique(p)
		distinct := len(p.keys)
		if slices.Contains(p.keys, 0) {
			distinct-- // not having it is no value
		}
		out := Field{
			Path: f.name, Role: f.as.Role, Sensitive: f.as.Sensitive, Subject: f.as.Subject, Undeclared: f.as.Undeclared,
			Category: f.as.Category, Action: f.as.Action, Because: f.as.Because,
			Present: share(f.present, s.Records), Distinct: distinct, Entropy: entropy(p.size), Unique: share(alone, s.Rows),
		}
		if f.as.Role == Quasi {
			rest := slices.DeleteFunc(slices.Clone(quasi), func(g *field) bool { return g == f })
			without, _ := s.unique(s.split(rest))
			out.Marginal = share(unique-without, s.Rows)
		}
		m.Fields = append(m.Fields, out)
	}
}

// entropy returns that of a distribution, in bits.
func entropy(counts []int32) float64 {
	var total, sum float64
	for _, c := range counts {
		if c > 0 {
			total += float64(c)
			sum += float64(c) * math.Log2(float64(c))
		}
	}
	if total == 0 {
		return 0
	}
	return settled(max(0, math.Log2(total)-sum/total))
}

// settled rounds what was summed up, so that the order of records leaves no trace
// in the last digits.
func settled(x float64) float64 { return math.Round(x*1e9) / 1e9 }

// subsets looks for the small sets of quasi-identifiers that single out most.
func (m *Figures) subsets(s *Sample, quasi []*field, largest int) {
	m.SubsetsOf = min(s.Rows, subsetRows)
	bits, single := map[string]float64{}, map[string]float64{}
	for _, f := range m.Fields {
		bits[f.Path], single[f.Path] = f.Entropy, f.Unique
	}
	// What all have in common tells nobody apart.
	quasi = slices.DeleteFunc(slices.Clone(quasi), func(f *field) bool { return bits[f.name] == 0 })
	largest = min(largest, 3, len(quasi)-1)
	if largest < 2 {
		return
	}
	slices.SortStableFunc(quasi, func(a, b *field) int {
		switch x, y := bits[a.name], bits[b.name]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	part, fields := s.portion(quasi[:min(subsetFields, len(quasi))], subsetRows)
	m.SubsetsOf = part.Rows
	var bySize [4][]Subset
	// try measures a set, and keeps it if it singles out more than any part of
	// it does.
	try := func(less float64, set ...*field) float64 {
		alone, _ := part.unique(part.split(set))
		found := share(alone, part.Rows)
		if found > less {
			bySize[len(set)] = append(bySize[len(set)], Subset{Paths: names(set), Unique: found})
		}
		return found
	}
	n := len(fields)
	pairs := make([]float64, n*n)
	for i := range n {
		for j := i + 1; j < n; j++ {
			a, b := fields[i], fields[j]
			pairs[i*n+j] = try(max(single[a.name], single[b.name]), a, b)
		}
	}
	for i := 0; largest == 3 && i < n; i++ {
		for j := i + 1; j < n; j++ {
			for k := j + 1; k < n; k++ {
				try(max(pairs[i*n+j], pairs[i*n+k], pairs[j*n+k]), fields[i], fields[j], fields[k])
			}
		}
	}
	for _, list := range bySize {
		slices.SortStableFunc(list, func(a, b Subset) int {
			switch {
			case a.Unique > b.Unique:
				return -1
			case a.Unique < b.Unique:
				return 1
			}
			return slices.Compare(a.Paths, b.Paths)
		})
		m.Subsets = append(m.Subsets, list[:min(subsetsShown, len(list))]...)
	}
}
