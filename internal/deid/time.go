package deid

import (
	"fmt"
	"sync"
	"time"

	"github.com/consentgate/consentgate/internal/payload"
)

var timeDefinition = definition{
	Doc: Doc{
		Name:    "time",
		Summary: "Cuts a date and time down to its hour, day, month or year.",
		Args: []Arg{
			{Name: "unit", Type: String, Enum: []string{"hour", "day", "month", "year"}, Default: "day", Summary: "What to keep; all that is finer becomes the least value that it can have."},
			{Name: "zone", Type: String, Default: "UTC", Summary: "Whose hours and days Unix times are cut to: UTC, an offset as +08:00, or a name as Asia/Shanghai. A date that is written out is cut as it is written, in its own offset."},
		},
		Bare:     true,
		Scalar:   "unit",
		Examples: []string{"{time: day}", `{time: {unit: day, zone: "+08:00"}}`},
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		zone, err := loadZone(v.text("zone"))
		if err != nil {
			return nil, err
		}
		unit := map[string]precision{
			"hour": hourPrecision, "day": dayPrecision, "month": monthPrecision, "year": yearPrecision,
		}[v.text("unit")]
		return truncation{unit, zone}, nil
	},
}

// truncation keeps the form of what it cuts, so that a reader which could read
// the one can read the other: "2022-03-09T15:04:05.123+08:00" becomes
// "2022-03-09T00:00:00+08:00", a Unix time stays one, in its own unit. What is
// written less precisely than asked stays as it is.
//
// Numbers, and texts of digits, are a year (1900 to 2100), a date YYYYMMDD, or
// a Unix time, in the unit that its magnitude tells; see unixUnit. A Unix time
// so near to where one unit ends that the result would be read in another
// does not fit.
type truncation struct {
	unit precision
	zone *time.Location
}

func (t truncation) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String && kind != payload.Number {
		return dst, kind, false
	}
	n, _, ok := parseDecimal(text, 0)
	if !ok {
		s, ok := parseStamp(text)
		if !ok || kind == payload.Number {
			return dst, kind, false
		}
		s.truncate(t.unit)
		return s.append(dst), kind, true
	}
	if s, ok := digitStamp(n); ok {
		s.truncate(t.unit)
		return s.append(dst), kind, true
	}
	unit := unixUnit(n)
	if unit == 0 {
		return dst, kind, false
	}
	cut := t.truncateUnix(floorDiv(n, unit)) * unit
	if unixUnit(cut) != unit {
		return dst, kind, false
	}
	return appendDecimal(dst, cut, 0), kind, true
}

// truncateUnix cuts seconds since 1970.
func (t truncation) truncateUnix(seconds int64) int64 {
	at := time.Unix(seconds, 0).In(t.zone)
	year, month, day := at.Date()
	hour := at.Hour()
	switch t.unit {
	case yearPrecision:
		month, day, hour = time.January, 1, 0
	case monthPrecision:
		day, hour = 1, 0
	case dayPrecision:
		hour = 0
	case hourPrecision:
		// By subtraction, since an hour that a clock change repeats has two
		// beginnings.
		return seconds - int64(at.Minute()*60+at.Second())
	}
	return time.Date(year, month, day, hour, 0, 0, 0, t.zone).Unix()
}

// zones holds one Location for each zone in use, so that transforms with the
// same zone are equal.
var zones sync.Map // of string to *time.Location

// loadZone finds a zone by its name or its offset. Names need the time zone
// database of the host.
func loadZone(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := newZone(name)
	if err != nil {
		return nil, err
	}
	known, _ := zones.LoadOrStore(name, zone)
	return known.(*time.Location), nil
}

func newZone(name string) (*time.Location, error) {
	if at, err := time.Parse("-07:00", name); err == nil {
		_, offset := at.Zone()
		return time.FixedZone("", offset), nil
	}
	if name == "" || name == "Local" {
		// What a machine happens to be set to must not change what leaves it.
		return nil, fmt.Errorf("zone: %q is no time zone", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone: no time zone %q is known here; an offset as +08:00 always is", name)
	}
	return zone, nil
}
