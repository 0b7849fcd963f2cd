package risk

import (
	"slices"
)

// partition sorts the rows of a sample into equivalence classes: those that
// agree in every one of some fields, also in not having them.
type partition struct {
	class   []int32 // by row
	records []int32 // by class
	size    []int32 // by class: k, the subjects in it
	keys    []uint64
}

// split makes the partition by some fields. Without a field all rows are one
// class.
func (s *Sample) split(fields []*field) *partition {
	p := &partition{class: make([]int32, s.Rows)}
	ids := make(map[uint64]int32)
	for row := range s.Rows {
		key := s.combination(fields, row)
		id, ok := ids[key]
		if !ok {
			id = int32(len(p.keys))
			ids[key] = id
			p.keys = append(p.keys, key)
			p.records = append(p.records, 0)
		}
		p.class[row] = id
		p.records[id]++
	}
	if s.subjects == nil {
		p.size = p.records
		return p
	}
	// One person with a hundred records is no crowd.
	type member struct {
		class   int32
		subject uint64
	}
	seen := make(map[member]struct{}, s.Rows)
	p.size = make([]int32, len(p.keys))
	for row, id := range p.class {
		m := member{id, s.subjects[row]}
		if _, ok := seen[m]; !ok {
			seen[m] = struct{}{}
			p.size[id]++
		}
	}
	return p
}

// combination hashes what a row says in some fields.
func (s *Sample) combination(fields []*field, row int) uint64 {
	if len(fields) == 1 {
		return fields[0].at(row)
	}
	key := uint64(len(fields))
	for _, f := range fields {
		key = mix(key, f.at(row))
	}
	return key
}

// units is how many pairs of a class and a subject in it there are: records,
// where no subjects are named.
func (p *partition) units() int {
	n := 0
	for _, k := range p.size {
		n += int(k)
	}
	return n
}

// unique returns how many records, and how many subjects, stand in a class that
// has but one subject.
func (s *Sample) unique(p *partition) (records, subjects int) {
	alone := map[uint64]struct{}{}
	for row, id := range p.class {
		if p.size[id] != 1 {
			continue
		}
		records++
		if s.subjects != nil {
			alone[s.subjects[row]] = struct{}{}
		}
	}
	if s.subjects == nil {
		return records, records
	}
	return records, len(alone)
}

// countSubjects returns how many subjects there are; those without one are one.
func (s *Sample) countSubjects() int {
	if s.subjects == nil {
		return s.Rows
	}
	all := slices.Clone(s.subjects)
	slices.Sort(all)
	return len(slices.Compact(all))
}

// portion returns a sample of at most so many rows with only these fields, for
// what is counted hundreds of times. It is the same whenever it is asked for.
func (s *Sample) portion(fields []*field, most int) (*Sample, []*field) {
	if s.Rows <= most {
		return s, fields
	}
	part := &Sample{Name: s.Name, Records: s.Rows, fold: s.fold, known: s.known}
	copies := make([]*field, len(fields))
	for i, f := range fields {
		copies[i] = &field{steps: f.steps, as: f.as, name: f.name, column: make([]uint64, 0, most)}
	}
	// Whole subjects stay, or classes would look smaller than they are for no
	// reason but the cutting of their records.
	limit := uint64(float64(^uint64(0)) * (float64(most) / float64(s.Rows)))
	for row := range s.Rows {
		by := uint64(row) + 1
		if s.subjects != nil {
			by = s.subjects[row]
		}
		if mix(0x9a27, by) > limit || part.Rows >= most {
			continue
		}
		for i, f := range fields {
			copies[i].column = append(copies[i].column, f.at(row))
		}
		if s.subjects != nil {
			part.subjects = append(part.subjects, s.subjects[row])
		}
		part.Rows++
	}
	part.fields = copies
	return part, copies
}
