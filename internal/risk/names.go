package risk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// shownOften is how many subjects (records, where none is named) must have a
// member for its name to be printed, or half of them if they are fewer. The name
// of a member that only few have may be somebody's value: a map from nicknames to
// messages.
const shownOften = 5

const (
	maxName   = 64 // bytes of a member's name that is printed
	maxDigits = 3  // in a row, in such a name
)

// plainName reports whether a member's name has the shape of a name and not that
// of a value: a phone number, an address, an id.
func plainName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	digits, all, run := 0, 0, 0
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
			all++
			run = max(run, digits)
			continue
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_', r == '-', r == '.', r == ' ':
		case (r == '$' || r == '@' || r == '#') && i == 0:
		case r >= 0x4e00 && r <= 0x9fff: // a Chinese key
		default:
			return false
		}
		digits = 0
	}
	// A name has at most a number in it; hexadecimal digits have many.
	return run <= maxDigits && all <= 6 && 2*all <= len(s)
}

// masked stands for a step that is not to be printed. In the path grammar it is
// any one step.
const masked = "*"

// nameFields gives every field the name under which it is printed.
func (s *Sample) nameFields() {
	enough := min(shownOften, (s.countSubjects()+1)/2)
	below := map[string][]*field{} // by path: what stands there or below
	for _, f := range s.fields {
		for i := range f.steps {
			key := pathKey(s.fold, f.steps[:i+1])
			below[key] = append(below[key], f)
		}
	}
	often := map[string]bool{}
	for key, fields := range below {
		often[key] = s.anyPresent(fields, enough)
	}
	for _, f := range s.fields {
		shown := make([]string, len(f.steps))
		for i, step := range f.steps {
			if step == masked || !often[pathKey(s.fold, f.steps[:i+1])] && !s.known(step) {
				shown[i] = masked
				continue
			}
			shown[i] = quoteStep(step)
		}
		f.name = strings.Join(shown, ".")
	}
	s.mergeMasked()
	slices.SortFunc(s.fields, func(a, b *field) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.present, a.present), slices.Compare(a.steps, b.steps))
	})
	for i, n := 1, 1; i < len(s.fields); i++ {
		base, _, _ := strings.Cut(s.fields[i-1].name, " #")
		if s.fields[i].name != base {
			n = 1
			continue
		}
		n++
		s.fields[i].name = fmt.Sprintf("%s #%d", base, n)
	}
}

// mergeMasked makes one field of those that look the same once their names are
// masked, as a map from nicknames to messages has many. The names still count,
// as a part of the value.
func (s *Sample) mergeMasked() {
	type kind struct {
		name string
		as   Assignment
	}
	alike := map[kind][]*field{}
	for _, f := range s.fields {
		if slices.Contains(strings.Split(f.name, "."), masked) {
			k := kind{f.name, f.as}
			alike[k] = append(alike[k], f)
		}
	}
	for _, fields := range alike {
		if len(fields) == 1 {
			continue
		}
		// In an order that does not depend on that of the records.
		slices.SortFunc(fields, func(a, b *field) int { return slices.Compare(a.steps, b.steps) })
		one := &field{steps: fields[0].steps, as: fields[0].as, name: fields[0].name, column: make([]uint64, s.Rows)}
		rows := 0
		for row := range s.Rows {
			for _, f := range fields {
				if v := f.at(row); v != 0 {
					path := xxhash.Sum64String(pathKey(s.fold, f.steps))
					one.column[row] = nonZero(mix(one.column[row], mix(path, v)))
				}
			}
			if one.column[row] != 0 {
				rows++
			}
		}
		for _, f := range fields {
			one.shaped += f.shaped
		}
		one.present = rows * s.Records / s.Rows
		s.fields = slices.DeleteFunc(s.fields, func(f *field) bool { return slices.Contains(fields, f) })
		s.fields = append(s.fields, one)
	}
}

// anyPresent reports whether at least so many subjects have one of the fields.
func (s *Sample) anyPresent(fields []*field, enough int) bool {
	holders := map[uint64]struct{}{}
	for row := range s.Rows {
		if !slices.ContainsFunc(fields, func(f *field) bool { return f.at(row) != 0 }) {
			continue
		}
		who := uint64(row)
		if s.subjects != nil {
			who = s.subjects[row]
		}
		holders[who] = struct{}{}
		if len(holders) >= enough {
			return true
		}
	}
	return false
}

// quoteStep writes a step as the path grammar does.
func quoteStep(step string) string {
	if strings.Contains(step, ".") {
		return `"` + step + `"`
	}
	return step
}

func pathKey(fold func(string) string, steps []string) string {
	var b strings.Builder
	for _, s := range steps {
		if s != masked {
			s = fold(s)
		}
		b.WriteString(s)
		b.WriteByte(0)
	}
	return b.String()
}
