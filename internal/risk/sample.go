package risk

import (
	"io"
	"slices"
	"strings"
)

// Options say how a sample is read.
type Options struct {
	// Classify says what the field at a path is. A step '*' stands for names
	// that have the shape of values. nil: every field is a quasi-identifier,
	// but for what looks like a direct identifier.
	Classify func(steps []string) Assignment
	// Known reports whether a name of a member is a word of the policy, and so
	// nobody's value. nil: none is.
	Known func(step string) bool
	// Fold returns the form in which names of members are compared. nil: as
	// they are.
	Fold func(step string) string
	// Inspect returns the categories that values of a record speak of by their
	// looks and that should not be there. nil: nothing is looked for.
	Inspect func(record []byte) []string
	// Cells bounds the memory: how many values are kept, of 8 bytes each. 0:
	// DefaultCells. Above it records are dropped by subject, each half of the
	// subjects at a time.
	Cells int
	// Progress is called after each record, with the number of those read. nil:
	// it is not.
	Progress func(records int)
}

// DefaultCells keeps a sample within 256 MiB of hashes: a million records of 30
// fields.
const DefaultCells = 32 << 20

// maxFields is how many paths are told apart. What stands elsewhere is one
// field.
const maxFields = 128

// Sample is what has been read of a file: no value, only hashes. It is
// immutable once read.
type Sample struct {
	Name           string // of the file, for people
	Records        int    // read
	Rows           int    // of them, kept: fewer if the sample had to be cut
	WithoutSubject int    // kept records without a subject, where others have one
	Looks          []Count

	fields   []*field
	subjects []uint64 // by row; nil: every record is one of its own
	fold     func(string) string
	known    func(string) bool
}

// Count is how many records hold something of a category.
type Count struct {
	Category string `json:"category"`
	Records  int    `json:"records"`
}

// HasSubjects reports whether records say whose they are.
func (s *Sample) HasSubjects() bool { return s.subjects != nil }

// Cut reports whether records were left out for want of memory.
func (s *Sample) Cut() bool { return s.Rows < s.Records }

// sampler is a sample under way.
type sampler struct {
	*Sample
	o        Options
	byPath   map[string]*field
	keys     []uint64 // by row: hash that decides who stays when memory is short
	level    uint     // so many leading bits of a key must be 0
	touched  []*field // of the record at hand
	values   []uint64 // beside touched
	shaped   []bool
	subject  uint64
	named    bool // some record has a subject
	looks    map[string]int
	overflow *field
}

// Read reads a sample: JSON objects, one a line or in an array, gzip by
// content. name is what people call the file. The error is an [*InputError].
//
// Memory is bounded by Options.Cells and the longest record. A longer sample is
// cut by subject (or by record, where none is named): all the records of some
// stay, and those of others go. Who stays depends on hashes alone. Classes are
// then smaller than they are in the whole, so that the risk looks greater, not
// less.
func Read(r io.Reader, name string, o Options) (*Sample, error) {
	if o.Classify == nil {
		o.Classify = func([]string) Assignment { return unknownField }
	}
	if o.Fold == nil {
		o.Fold = func(s string) string { return s }
	}
	if o.Known == nil {
		o.Known = func(string) bool { return false }
	}
	if o.Cells <= 0 {
		o.Cells = DefaultCells
	}
	s := &sampler{
		Sample: &Sample{Name: name, fold: o.Fold, known: o.Known}, o: o,
		byPath: map[string]*field{}, looks: map[string]int{},
	}
	var w walker
	err := eachRecord(r, name, func(record []byte) error {
		s.touched, s.values, s.shaped, s.subject = s.touched[:0], s.values[:0], s.shaped[:0], 0
		if err := w.walk(record, s.leaf); err != nil {
			return err
		}
		s.add()
		if o.Inspect != nil {
			for _, c := range o.Inspect(record) {
				s.looks[c]++
			}
		}
		if o.Progress != nil {
			o.Progress(s.Records)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.Records == 0 {
		return nil, &InputError{Name: name, Msg: "it holds no record"}
	}
	if s.Rows == 0 {
		return nil, &InputError{Name: name, Msg: "nearly all records are of one subject, and they are too many to keep: a sample needs many subjects"}
	}
	s.finish()
	return s.Sample, nil
}

// leaf takes one scalar of the record at hand.
func (s *sampler) leaf(steps []string, l leaf) {
	f := s.field(steps)
	i := slices.Index(s.touched, f)
	if i < 0 {
		s.touched, s.values, s.shaped = append(s.touched, f), append(s.values, l.value), append(s.shaped, l.shaped)
	} else { // an array, or a name that stands twice: all its values count
		s.values[i] = nonZero(mix(s.values[i], l.value))
		s.shaped[i] = s.shaped[i] || l.shaped
	}
	if f.as.Subject && s.subject == 0 && l.value != nullHash {
		s.subject = l.value
	}
}

// field returns the field at a path.
func (s *sampler) field(steps []string) *field {
	key := pathKey(s.fold, steps)
	if f := s.byPath[key]; f != nil {
		if f != s.overflow && slices.Compare(steps, f.steps) < 0 {
			f.steps = slices.Clone(steps) // so that the order of records does not matter
		}
		return f
	}
	if len(s.fields) >= maxFields {
		if s.overflow == nil {
			s.overflow = &field{steps: []string{masked}, as: Assignment{Role: Quasi, Fixed: true, Because: TooMany}}
			s.fields = append(s.fields, s.overflow)
		}
		return s.overflow
	}
	f := &field{steps: slices.Clone(steps), as: s.o.Classify(steps)}
	s.fields = append(s.fields, f)
	s.byPath[key] = f
	return f
}

// add makes a row of the record at hand.
func (s *sampler) add() {
	n := s.Records
	s.Records++
	for i, f := range s.touched {
		f.present++
		if s.shaped[i] {
			f.shaped++
		}
	}
	if s.subject != 0 {
		s.named = true
	}
	// A record without a subject goes by its number: there may be many.
	by := s.subject
	if by == 0 {
		by = uint64(n) + 1
	}
	key := mix(0x5eed, by)
	if s.level > 0 && key>>(64-s.level) != 0 {
		return
	}
	row := s.Rows
	s.Rows++
	s.keys = append(s.keys, key)
	s.subjects = append(s.subjects, s.subject)
	for i, f := range s.touched {
		for len(f.column) < row {
			f.column = append(f.column, 0)
		}
		f.column = append(f.column, s.values[i])
	}
	for s.Rows*(len(s.fields)+2) > s.o.Cells && s.level < 63 {
		s.level++
		s.thin(s.level)
	}
}

// thin drops the rows whose key does not begin with so many 0 bits.
func (s *sampler) thin(level uint) {
	n := 0
	for row := range s.Rows {
		if s.keys[row]>>(64-level) != 0 {
			continue
		}
		for _, f := range s.fields {
			if n < len(f.column) {
				f.column[n] = f.at(row)
			}
		}
		s.keys[n], s.subjects[n] = s.keys[row], s.subjects[row]
		n++
	}
	for _, f := range s.fields {
		f.column = f.column[:min(n, len(f.column))]
	}
	s.keys, s.subjects, s.Rows = s.keys[:n], s.subjects[:n], n
}

// finish settles roles and names.
func (s *sampler) finish() {
	if !s.named {
		s.subjects = nil
	}
	for _, id := range s.subjects {
		if id == 0 {
			s.WithoutSubject++
		}
	}
	s.nameFields()
	for _, f := range s.fields {
		s.settle(f)
	}
	for c, n := range s.looks {
		s.Looks = append(s.Looks, Count{c, n})
	}
	slices.SortFunc(s.Looks, func(a, b Count) int { return strings.Compare(a.Category, b.Category) })
}

// settle lets the looks of a field's values decide where nothing else did.
func (s *Sample) settle(f *field) {
	if f.as.Fixed || f.as.Subject || f.as.Role != Quasi && f.as.Role != Other && f.as.Role != Sensitive {
		return
	}
	if !s.nearlyUnique(f) {
		return
	}
	if f.as.Role == Other {
		f.as.Role = RecordID
		return
	}
	f.as.Role, f.as.Because = Direct, ByLooks
}

// nearlyUnique reports whether the values of a field are shaped as ids and
// belong to one subject each, or to one record where there are no subjects.
func (s *Sample) nearlyUnique(f *field) bool {
	if f.present < 2 || f.shaped*10 < f.present*9 {
		return false
	}
	holders := map[uint64]uint64{} // by value: the subject, or the number of records
	shared := map[uint64]bool{}
	owners := map[uint64]bool{}
	present := 0
	for row, v := range f.column {
		if v == 0 {
			continue
		}
		present++
		if s.subjects == nil {
			holders[v]++
			continue
		}
		id := s.subjects[row]
		owners[id] = true
		if first, ok := holders[v]; ok && first != id {
			shared[v] = true
		} else {
			holders[v] = id
		}
	}
	distinct := len(holders)
	if s.subjects != nil {
		// Every tenth value may have two owners; and there must be a choice.
		return distinct >= 2 && 10*len(shared) <= distinct && 10*distinct >= 9*len(owners)
	}
	// Without subjects one person may stand behind many records, so an id need
	// not be unique; but nobody has a large part of them.
	return 10*distinct >= 9*present || distinct >= 20 && 100*distinct >= present
}
