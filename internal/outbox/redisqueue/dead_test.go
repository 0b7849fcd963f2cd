package redisqueue

import (
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/outbox"
)

func FuzzParseLetterID(f *testing.F) {
	f.Add(letterID{1, 2, 3}.String())
	f.Add("")
	f.Add("000000000001000000000000000+-3")
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := parseLetterID(s)
		if ok && (id.String() != s || id.partition < 0 || id.partition >= outbox.Partitions) {
			t.Errorf("%q is %+v", s, id)
		}
	})
}

func TestTheOrderOfLetterIDsIsThatOfTheirTexts(t *testing.T) {
	ids := []letterID{{0, 0, 0}, {0, 9, 7}, {0, 10, 0}, {9, 0, 1}, {10, 0, 0}, {10, 0, 1}, {1 << 47, 1 << 63, 7}}
	for i := 1; i < len(ids); i++ {
		a, b := ids[i-1], ids[i]
		if a.String() >= b.String() || a.compare(b) >= 0 {
			t.Errorf("%s and %s", a, b)
		}
		if got, ok := parseLetterID(a.String()); !ok || got != a {
			t.Errorf("%s is read as %+v", a, got)
		}
	}
	for _, s := range []string{"", "x", strings.Repeat("0", 28) + "-8", strings.Repeat("0", 28) + "--", strings.Repeat("F", 28) + "-1"} {
		if id, ok := parseLetterID(s); ok {
			t.Errorf("%q is %+v", s, id)
		}
	}
}
