package deid

import (
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestConstantReplacesAnythingByItsOwnKind(t *testing.T) {
	for _, x := range []struct {
		use, out string
		kind     payload.Kind
	}{
		{"{constant: X}", "X", payload.String},
		{"{constant: ''}", "", payload.String},
		{"{constant: '1'}", "1", payload.String},
		{"{constant: 1}", "1", payload.Number},
		{"{constant: -1.5}", "-1.5", payload.Number},
		{"{constant: 1e21}", "1e+21", payload.Number},
		{"{constant: 18446744073709551615}", "18446744073709551615", payload.Number},
		{"{constant: false}", "false", payload.Bool},
		{"{constant: {value: 中}}", "中", payload.String},
	} {
		for _, kind := range []payload.Kind{payload.String, payload.Number, payload.Bool, payload.NullValue} {
			out, now := apply(t, make1(t, x.use), "860123456789012", kind)
			if out != x.out || now != x.kind {
				t.Errorf("%s: %q of kind %d, want %q of %d", x.use, out, now, x.out, x.kind)
			}
		}
	}
	if _, err := New("constant", "\xff", testEnv); err == nil {
		t.Error("a constant that is not UTF-8 should be an error")
	}
}
