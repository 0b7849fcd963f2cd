package risk

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// roles makes a Classify of paths: "q" quasi, "s" sensitive, "S" subject, "b"
// both quasi and sensitive, "i" ignored, "o" other, "p" pseudonym.
func rolesOf(m map[string]string) func([]string) Assignment {
	return func(steps []string) Assignment {
		a := Assignment{Fixed: true, Because: ByFlag}
		switch m[strings.Join(steps, ".")] {
		case "q":
			a.Role = Quasi
		case "b":
			a.Role, a.Sensitive = Quasi, true
		case "s":
			a.Role, a.Sensitive = Sensitive, true
		case "S":
			a.Role, a.Subject = Pseudonym, true
		case "p":
			a.Role = Pseudonym
		case "o":
			a.Role, a.Fixed = Other, false
		default:
			a.Role = Ignored
		}
		return a
	}
}

func read(t testing.TB, text string, o Options) *Sample {
	t.Helper()
	s, err := Read(strings.NewReader(text), "sample.ndjson", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

func lines(records ...string) string { return strings.Join(records, "\n") + "\n" }

func fieldNamed(t testing.TB, m *Figures, path string) Field {
	t.Helper()
	i := slices.IndexFunc(m.Fields, func(f Field) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no field %s among %v", path, m.Fields)
	}
	return m.Fields[i]
}

// person makes a record of a subject; the city and the model are numbers.
func person(subject string, city, model int) string {
	return fmt.Sprintf(`{"id":%q,"city":"c%d","model":"m%d"}`, subject, city, model)
}
