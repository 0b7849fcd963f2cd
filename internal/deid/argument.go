package deid

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Type is the type of an argument.
type Type string

// The types of arguments. The first three are types of JSON Schema; a Scalar
// is a string, a finite number or a boolean; the lists are arrays of theirs.
const (
	Integer  Type = "integer"
	Number   Type = "number"
	String   Type = "string"
	Scalar   Type = "scalar"
	Integers Type = "integers"
	Numbers  Type = "numbers"
)

// Doc describes a transform for the documentation and the JSON Schema.
type Doc struct {
	Name    string
	Summary string // one sentence
	Args    []Arg
	Bare    bool   // may be written without an argument: `as: pseudonym`
	Scalar  string // the Arg that a scalar sets: `{time: day}`; empty: none
	OneOf   bool   // exactly one of Args is given
	Keyed   bool   // needs a subject: without one the value is dropped
	Pair    bool   // acts on a latitude and a longitude together
	// Identifying says that whoever has the value can tell whose the result is:
	// a policy gives it only for a purpose that asks people expressly.
	Identifying bool
	// Examples are correct uses, each a YAML flow value as it stands after `as:`.
	Examples []string
}

// Arg describes one named argument of a transform.
type Arg struct {
	Name    string
	Summary string
	Type    Type
	// Min and Max bound an Integer or Number, or each element of a list.
	// Where both are 0, nothing is bounded.
	Min, Max float64
	MaxItems int      // of a list, which never is empty
	Enum     []string // the allowed strings; nil: any
	Default  any      // what holds when it is not given; nil: nothing does
}

// values are checked arguments by name: int, float64, string, []float64, or,
// for a Scalar, what was given.
type values map[string]any

func (v values) integer(name string) int       { return v[name].(int) }
func (v values) text(name string) string       { s, _ := v[name].(string); return s }
func (v values) numbers(name string) []float64 { return v[name].([]float64) }

// bind checks args against d and fills in the defaults.
func (d Doc) bind(args any) (values, error) {
	v := values{}
	switch a := args.(type) {
	case nil:
		if !d.Bare {
			return nil, errors.New("needs an argument")
		}
	case map[string]any:
		for _, name := range sortedKeys(a) {
			i := slices.IndexFunc(d.Args, func(x Arg) bool { return x.Name == name })
			if i < 0 {
				return nil, d.unknown(name)
			}
			x, err := d.Args[i].convert(a[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			v[name] = x
		}
		if len(v) == 0 && !d.Bare {
			return nil, errors.New("needs an argument")
		}
	case map[any]any:
		return nil, errors.New("names of arguments are text")
	default:
		if d.Scalar == "" {
			if len(d.Args) == 0 {
				return nil, errors.New("takes no argument")
			}
			return nil, fmt.Errorf("takes arguments by name: %s", d.argNames())
		}
		i := slices.IndexFunc(d.Args, func(x Arg) bool { return x.Name == d.Scalar })
		x, err := d.Args[i].convert(a)
		if err != nil {
			return nil, err
		}
		v[d.Scalar] = x
	}
	if d.OneOf && len(v) != 1 {
		return nil, fmt.Errorf("takes exactly one of %s", d.argNames())
	}
	for _, x := range d.Args {
		if _, given := v[x.Name]; !given && x.Default != nil {
			v[x.Name] = x.Default
		}
	}
	return v, nil
}

func (d Doc) unknown(name string) error {
	if len(d.Args) == 0 {
		return fmt.Errorf("takes no argument %q", name)
	}
	var names []string
	for _, x := range d.Args {
		names = append(names, x.Name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("unknown argument %q, did you mean %s?", name, near)
	}
	return fmt.Errorf("unknown argument %q, it takes %s", name, d.argNames())
}

func (d Doc) argNames() string {
	var names []string
	for _, x := range d.Args {
		names = append(names, x.Name)
	}
	return strings.Join(names, ", ")
}

// convert checks one argument and returns it in the form that values holds.
func (x Arg) convert(a any) (any, error) {
	switch x.Type {
	case Integer:
		f, err := x.number(a)
		if err != nil {
			return nil, err
		}
		if f != math.Trunc(f) {
			return nil, fmt.Errorf("%v is no whole number", a)
		}
		return int(f), nil
	case Number:
		return x.numberOrError(a)
	case String:
		s, ok := a.(string)
		if !ok {
			return nil, fmt.Errorf("%v is no text", a)
		}
		if x.Enum != nil && !slices.Contains(x.Enum, s) {
			return nil, fmt.Errorf("%q is none of %s", s, strings.Join(x.Enum, ", "))
		}
		return s, nil
	case Scalar:
		switch f := a.(type) {
		case string, bool:
			return a, nil
		case int, int64, uint64, float64:
			if g, ok := f.(float64); ok && (math.IsNaN(g) || math.IsInf(g, 0)) {
				return nil, fmt.Errorf("JSON has no %v", g)
			}
			return a, nil
		}
		return nil, errors.New("must be text, a number, true or false")
	case Integers, Numbers:
		list, ok := a.([]any)
		if !ok {
			return nil, fmt.Errorf("%v is no list", a)
		}
		if len(list) == 0 || len(list) > x.MaxItems {
			return nil, fmt.Errorf("has %d elements, and may have 1 to %d", len(list), x.MaxItems)
		}
		out := make([]float64, len(list))
		for i, e := range list {
			f, err := x.number(e)
			if err != nil {
				return nil, err
			}
			if x.Type == Integers && f != math.Trunc(f) {
				return nil, fmt.Errorf("%v is no whole number", e)
			}
			if i > 0 && f <= out[i-1] {
				return nil, fmt.Errorf("%v does not follow %v: each must be greater than the one before", f, out[i-1])
			}
			out[i] = f
		}
		return out, nil
	}
	panic("deid: argument " + x.Name + " has no type")
}

func (x Arg) numberOrError(a any) (any, error) {
	f, err := x.number(a)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (x Arg) number(a any) (float64, error) {
	var f float64
	switch n := a.(type) {
	case int:
		f = float64(n)
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	case float64:
		f = n
	default:
		return 0, fmt.Errorf("%v is no number", a)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%v is no number", f)
	}
	if (x.Min != 0 || x.Max != 0) && (f < x.Min || f > x.Max) {
		return 0, fmt.Errorf("%v is outside %v to %v", a, x.Min, x.Max)
	}
	return f, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest returns the name that differs from s by at most two edits, and by
// less than half of s; empty where none does.
func nearest(s string, names []string) string {
	best, least := "", 3
	if len(s) > 32 {
		return ""
	}
	for _, n := range names {
		if d := edits(s, n); d < least && 2*d < len(s) {
			best, least = n, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
