package deid

import (
	"math"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

func TestDecimalsAreReadExactly(t *testing.T) {
	for _, x := range []struct {
		in     string
		places int
		n      int64
		exact  bool
	}{
		{"0", 0, 0, true},
		{"-0", 3, 0, true},
		{"-0.0e9", 0, 0, true},
		{"0e999999999999", 0, 0, true},
		{"17", 0, 17, true},
		{"+17", 0, 17, true},
		{"17.", 0, 17, true},
		{".5", 1, 5, true},
		{"0.3", 1, 3, true},
		{"0.35", 1, 3, false},
		{"-0.35", 1, -4, false},
		{"-0.3", 1, -3, true},
		{"-1e-400", 0, -1, false},
		{"1e-400", 0, 0, false},
		{"1.25e2", 0, 125, true},
		{"125E-2", 2, 125, true},
		{"1e+3", 0, 1000, true},
		{"00012", 0, 12, true},
		{"9000000000000000000", 0, 9e18, true},
		{"0.12345678901234567890123", 6, 123456, false},
		{"-0.12345678901234567890123", 6, -123457, false},
		{"1.00000000000000000000000", 0, 1, true},
		{"1.00000000000000000000001", 0, 1, false},
		{"-1.00000000000000000000001", 0, -2, false},
	} {
		n, exact, ok := parseDecimal([]byte(x.in), x.places)
		if n != x.n || exact != x.exact || !ok {
			t.Errorf("parseDecimal(%q, %d) = %d, %v, %v, want %d, %v", x.in, x.places, n, exact, ok, x.n, x.exact)
		}
	}
}

func TestWhatIsNoDecimal(t *testing.T) {
	for _, s := range []string{
		"", "-", "+", ".", "e5", "1e", "1e+", "1e5.0", "--1", "1-", "1.2.3", " 1", "1 ", "1,5", "0x10", "0x1p4",
		"1_000", "NaN", "Inf", "-inf", "Infinity", "１", "9000000000000000001", "1e19", "1e999999999999",
		strings.Repeat("0", maxNumber) + "1",
	} {
		if n, _, ok := parseDecimal([]byte(s), 0); ok {
			t.Errorf("parseDecimal(%q) = %d", s, n)
		}
	}
}

func TestDecimalsAreWrittenPlainly(t *testing.T) {
	for _, x := range []struct {
		n      int64
		places int
		want   string
	}{
		{0, 0, "0"}, {0, 2, "0.00"}, {5, 3, "0.005"}, {50, 3, "0.050"}, {-5, 1, "-0.5"}, {-50, 1, "-5.0"},
		{1234, 2, "12.34"}, {math.MinInt64, 0, "-9223372036854775808"}, {math.MaxInt64, 9, "9223372036.854775807"},
	} {
		if got := string(appendDecimal(nil, x.n, x.places)); got != x.want {
			t.Errorf("appendDecimal(%d, %d) = %s, want %s", x.n, x.places, got, x.want)
		}
	}
}

var decimalGrammar = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0.3", "-17.25e-1", "1e18", ".5", "-0.000000000000000000000000001", "0x1p4", "12345678901234567890123e-5"} {
		f.Add(s, uint8(1))
	}
	f.Fuzz(func(t *testing.T, s string, p uint8) {
		places := int(p % 10)
		n, exact, ok := parseDecimal([]byte(s), places)
		if grammar := len(s) <= maxNumber && decimalGrammar.MatchString(s); !grammar {
			if ok {
				t.Fatalf("%q is no number, and was read as %d", s, n)
			}
			return
		}
		if _, e, found := strings.Cut(strings.ToLower(s), "e"); found && len(strings.TrimLeft(e, "+-0")) > 3 {
			return // more than math/big should be asked to hold
		}
		r, valid := new(big.Rat).SetString(s)
		if !valid {
			t.Fatalf("math/big does not read %q", s)
		}
		r.Mul(r, new(big.Rat).SetInt64(pow10(places)))
		// Div rounds down, for a denominator above 0.
		want := new(big.Int).Div(r.Num(), r.Denom())
		if !ok {
			if want.IsInt64() && math.Abs(float64(want.Int64())) < maxScaled {
				t.Fatalf("%q times 1e%d is %v, and does not fit", s, places, want)
			}
			return
		}
		if !want.IsInt64() || want.Int64() != n || exact != r.IsInt() {
			t.Fatalf("%q times 1e%d = %d (exact %v), want %v (%v)", s, places, n, exact, want, r.IsInt())
		}
		back, _, ok := parseDecimal(appendDecimal(nil, n, places), places)
		if !ok && n > -maxScaled || ok && back != n {
			t.Fatalf("%d with %d places was written as %s", n, places, appendDecimal(nil, n, places))
		}
	})
}
