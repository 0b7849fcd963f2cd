package risk

import (
	"math"
	"slices"
)

// secrets measures every sensitive attribute.
func (m *Figures) secrets(s *Sample, quasi []*field, minL int) {
	groups := map[string][]*field{}
	var order []string
	for _, f := range s.fields {
		if !f.as.Sensitive && f.as.Role != Sensitive || f.as.Role == Ignored {
			continue
		}
		name := f.as.Category
		if name == "" {
			name = f.name
		}
		if groups[name] == nil {
			order = append(order, name)
		}
		groups[name] = append(groups[name], f)
	}
	slices.Sort(order)
	for _, name := range order {
		own := groups[name]
		// What is to be learned cannot be known already: a position would tell
		// itself.
		known := slices.DeleteFunc(slices.Clone(quasi), func(f *field) bool { return slices.Contains(own, f) })
		m.Sensitive = append(m.Sensitive, s.diversity(name, known, own, minL))
	}
}

// diversity measures how much the class of somebody tells of a sensitive
// attribute. A subject counts once with each value: a hundred records of one
// person hide nobody.
func (s *Sample) diversity(name string, known, own []*field, minL int) Secret {
	p := s.split(known)
	values := s.split(own)
	absent := int32(-1) // the value of those who have none
	for row := range s.Rows {
		if !slices.ContainsFunc(own, func(f *field) bool { return f.at(row) != 0 }) {
			absent = values.class[row]
			break
		}
	}
	type cell struct{ class, value int32 }
	type seat struct {
		cell
		subject uint64
	}
	cells := map[cell]int{}
	seen := map[seat]struct{}{}
	overall := make([]float64, len(values.size))
	perClass := make([]float64, len(p.size))
	var total float64
	for row := range s.Rows {
		at := cell{p.class[row], values.class[row]}
		if s.subjects != nil {
			who := seat{at, s.subjects[row]}
			if _, ok := seen[who]; ok {
				continue
			}
			seen[who] = struct{}{}
		}
		cells[at]++
		overall[at.value]++
		perClass[at.class]++
		total++
	}

	// Sorted, so that sums of floating-point numbers come out the same.
	order := make([]cell, 0, len(cells))
	for at := range cells {
		order = append(order, at)
	}
	slices.SortFunc(order, func(a, b cell) int {
		if a.class != b.class {
			return int(a.class) - int(b.class)
		}
		return int(a.value) - int(b.value)
	})
	out := Secret{Name: name, Paths: names(own), Distinct: math.MaxInt, Entropy: math.Inf(1)}
	below, weight := 0, 0.0
	for i := 0; i < len(order); {
		class := order[i].class
		var counts []int32
		told := false
		covered, apart := 0.0, 0.0
		for ; i < len(order) && order[i].class == class; i++ {
			n := cells[order[i]]
			counts = append(counts, int32(n))
			told = told || order[i].value != absent
			q := overall[order[i].value] / total
			covered += q
			apart += math.Abs(float64(n)/perClass[class] - q)
		}
		distance := max(0, (apart+1-covered)/2)
		out.Closeness = max(out.Closeness, distance)
		weight += distance * float64(p.records[class])
		if !told {
			continue
		}
		slices.Sort(counts) // so that the order of records does not matter
		out.Distinct = min(out.Distinct, len(counts))
		out.Entropy = min(out.Entropy, settled(math.Exp2(entropy(counts))))
		if len(counts) < minL {
			below += int(p.records[class])
		}
	}
	out.Closeness, out.Mean = settled(out.Closeness), settled(weight/float64(s.Rows))
	out.Below = share(below, s.Rows)
	if out.Distinct == math.MaxInt { // nobody has a value
		out.Distinct, out.Entropy = 0, 0
	}
	return out
}
