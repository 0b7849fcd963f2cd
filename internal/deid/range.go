package deid

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/consentgate/consentgate/internal/payload"
)

// Bounds of what a range may be made of.
const (
	maxEdges       = 32
	maxRangePlaces = 6
	maxRange       = 1e10
)

var rangeDefinition = definition{
	Doc: Doc{
		Name:    "range",
		Summary: "Replaces a number by the lower bound of the range that it lies in; a step or edges as fine as the numbers themselves hide nothing.",
		Args: []Arg{
			{Name: "step", Type: Number, Min: 1e-6, Max: maxRange, Summary: "The width of all ranges. They begin at its multiples, negative ones included."},
			{Name: "edges", Type: Numbers, Min: -maxRange, Max: maxRange, MaxItems: maxEdges, Summary: "Where ranges begin, ascending. The last has no end; a number below the first does not fit."},
		},
		OneOf:    true,
		Examples: []string{"{range: {step: 10}}", "{range: {edges: [0, 100, 1000]}}"},
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		if step, given := v["step"]; given {
			scaled, places, err := scale([]float64{step.(float64)})
			if err != nil {
				return nil, err
			}
			return steps{scaled[0], places}, nil
		}
		scaled, places, err := scale(v.numbers("edges"))
		if err != nil {
			return nil, err
		}
		t := edges{n: len(scaled), places: places}
		copy(t.at[:], scaled)
		return t, nil
	},
}

// steps and edges answer with a lower bound, and not with a text "20-29", so
// that a number stays a number for whoever reads it and "-20" is not taken for
// a range. A text that is a number stays a text. Both compute in decimals: 0.3
// is in the range that begins at 0.3, whatever a double makes of it.
type steps struct {
	step   int64 // times 10^places
	places int
}

func (t steps) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	n, ok := parseScalar(text, kind, t.places)
	if !ok {
		return dst, kind, false
	}
	return appendDecimal(dst, floorDiv(n, t.step)*t.step, t.places), kind, true
}

type edges struct {
	at     [maxEdges]int64 // times 10^places
	n      int
	places int
}

func (t edges) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	n, ok := parseScalar(text, kind, t.places)
	if !ok || n < t.at[0] {
		return dst, kind, false
	}
	i := t.n - 1
	for n < t.at[i] {
		i--
	}
	return appendDecimal(dst, t.at[i], t.places), kind, true
}

func parseScalar(text []byte, kind payload.Kind, places int) (int64, bool) {
	if kind != payload.String && kind != payload.Number {
		return 0, false
	}
	n, _, ok := parseDecimal(text, places)
	return n, ok
}

// scale turns decimal fractions into integers, all times the same power of 10.
func scale(fs []float64) (scaled []int64, places int, err error) {
	for ; places <= maxRangePlaces; places++ {
		scaled = scaled[:0]
		for _, f := range fs {
			n, exact, ok := parseDecimal(strconv.AppendFloat(nil, f, 'f', -1, 64), places)
			if !ok {
				return nil, 0, errors.New("a bound is too great")
			}
			if !exact {
				break
			}
			scaled = append(scaled, n)
		}
		if len(scaled) == len(fs) {
			return scaled, places, nil
		}
	}
	return nil, 0, fmt.Errorf("a bound has more than %d decimals", maxRangePlaces)
}
