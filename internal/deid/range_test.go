package deid

import (
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestRangeSteps(t *testing.T) {
	for _, kind := range []payload.Kind{payload.Number, payload.String} {
		checkAll(t, "{range: {step: 10}}", kind, []example{
			{"the lower bound stands for the range", "37", "30"},
			{"a bound is its own range", "40", "40"},
			{"zero is zero", "0", "0"},
			{"a fraction below a bound stays below it", "39.999", "30"},
			{"negative numbers go down, not towards zero", "-1", "-10"},
			{"a negative bound is its own range", "-10", "-10"},
			{"a tiny negative number is below zero", "-0.001", "-10"},
			{"negative zero is zero", "-0.0", "0"},
			{"an exponent is read", "1.234e3", "1230"},
			{"what is too great does not fit", "1e30", unfit},
		})
	}
	checkAll(t, "{range: {step: 10}}", payload.String, []example{
		{"a text that is no number does not fit", "about 40", unfit},
		{"a range does not fit", "30-40", unfit},
		{"an empty text does not fit", "", unfit},
	})
	checkAll(t, "{range: {step: 0.1}}", payload.Number, []example{
		{"tenths are exact", "0.3", "0.3"},
		{"negative tenths too", "-0.3", "-0.3"},
		{"hundredths go down", "0.79", "0.7"},
		{"negative hundredths go down", "-0.71", "-0.8"},
	})
	checkAll(t, "{range: {step: 0.25}}", payload.Number, []example{
		{"quarters keep two decimals", "1.6", "1.50"},
	})
}

func TestRangeEdges(t *testing.T) {
	checkAll(t, "{range: {edges: [-5, 0, 1.5, 100]}}", payload.Number, []example{
		{"an edge begins its range", "0", "0.0"},
		{"between edges the lower one stands", "1.4999", "0.0"},
		{"an edge with decimals is exact", "1.5", "1.5"},
		{"the last range has no end", "1e9", "100.0"},
		{"a negative edge is an edge", "-5", "-5.0"},
		{"above a negative edge it stands", "-0.0001", "-5.0"},
		{"below the first edge nothing fits", "-5.0001", unfit},
	})
	checkAll(t, "{range: {edges: [0]}}", payload.String, []example{
		{"one edge is enough", "7", "0"},
	})
}
