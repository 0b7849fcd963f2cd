package deid

import (
	"strconv"
	"time"

	"github.com/consentgate/consentgate/internal/payload"
)

// oldest is the greatest age that is believed.
const oldest = 130

// maxBands bounds the list of bands, so that an ageBands can be compared.
const maxBands = 16

var ageDefinition = definition{
	Doc: Doc{
		Name:    "age",
		Summary: "Replaces an age, a birthday or a year of birth by an age band such as \"25-34\".",
		Args: []Arg{
			{Name: "bands", Type: Integers, Min: 1, Max: oldest, MaxItems: maxBands, Default: []float64{18, 25, 35, 45, 55, 65}, Summary: "The ages at which bands begin, ascending; below the first and from the last on there is a band each."},
		},
		Bare:     true,
		Examples: []string{"{age: {bands: [18, 25, 35, 45, 55, 65]}}"},
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		var t ageBands
		for _, from := range v.numbers("bands") {
			t.from[t.n] = uint8(from)
			t.n++
		}
		return t, nil
	},
}

// ageBands reads a number, or a text of digits, as an age (0 to 130), a year
// of birth (1900 to 2100), a date YYYYMMDD or a Unix time, in UTC, whose unit
// its magnitude tells; and a text as a date. The result is a text: "<18",
// "25-34", "65+".
//
// Today is the date of Params.Now in its own zone; without it only an age
// fits. Where the birthday is not known to the day, the age is the one that
// has been reached for certain: nobody counts as grown up before they are.
// Birthdays in the future, and ages above 130, do not fit.
type ageBands struct {
	from [maxBands]uint8
	n    int
}

func (t ageBands) Append(dst, text []byte, kind payload.Kind, p *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String && kind != payload.Number {
		return dst, kind, false
	}
	var now time.Time
	if p != nil {
		now = p.Now
	}
	age, ok := readAge(text, kind, now)
	if !ok || age < 0 || age > oldest {
		return dst, kind, false
	}
	return t.appendBand(dst, age), payload.String, true
}

func (t ageBands) appendBand(dst []byte, age int) []byte {
	i := 0
	for i < t.n && age >= int(t.from[i]) {
		i++
	}
	if i == 0 {
		return strconv.AppendInt(append(dst, '<'), int64(t.from[0]), 10)
	}
	dst = strconv.AppendInt(dst, int64(t.from[i-1]), 10)
	if i == t.n {
		return append(dst, '+')
	}
	if last := int64(t.from[i]) - 1; last > int64(t.from[i-1]) {
		dst = strconv.AppendInt(append(dst, '-'), last, 10)
	}
	return dst
}

// readAge returns the age in whole years that text gives or implies.
func readAge(text []byte, kind payload.Kind, now time.Time) (int, bool) {
	n, _, isNumber := parseDecimal(text, 0)
	if isNumber && n >= 0 && n <= oldest {
		return int(n), true
	}
	if now.IsZero() {
		return 0, false
	}
	if !isNumber {
		birth, ok := parseStamp(text)
		return ageAt(birth, now), ok && kind == payload.String
	}
	if birth, ok := digitStamp(n); ok {
		return ageAt(birth, now), true
	}
	unit := unixUnit(n)
	if unit == 0 {
		return 0, false
	}
	at := time.Unix(floorDiv(n, unit), 0).UTC()
	birth := stamp{precision: dayPrecision, year: at.Year(), month: int(at.Month()), day: at.Day()}
	return ageAt(birth, now), true
}

// ageAt is the age that one born at birth has reached for certain by the day
// of now; negative if that is before birth.
func ageAt(birth stamp, now time.Time) int {
	year, month, day := now.Date()
	age := year - birth.year
	var reached, born bool // this year's birthday; the birth, if it is this year
	switch birth.precision {
	case yearPrecision:
		reached, born = false, true
	case monthPrecision:
		reached, born = int(month) > birth.month, int(month) >= birth.month
	default:
		reached = int(month) > birth.month || int(month) == birth.month && day >= birth.day
		born = reached
	}
	if age == 0 && born {
		return 0
	}
	if !reached {
		age--
	}
	return age
}
