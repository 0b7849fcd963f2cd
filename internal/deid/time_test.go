package deid

import (
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestTimeKeepsTheFormOfADate(t *testing.T) {
	checkAll(t, "time", payload.String, []example{
		{"by default the day stays", "2022-03-09T15:04:05Z", "2022-03-09T00:00:00Z"},
		{"the day is that of the offset written", "2022-03-09T01:04:05+08:00", "2022-03-09T00:00:00+08:00"},
		{"a fraction goes", "2022-03-09T15:04:05.123456789Z", "2022-03-09T00:00:00Z"},
		{"a fraction after a comma goes", "2022-03-09T15:04:05,1-0330", "2022-03-09T00:00:00-0330"},
		{"a short offset stays", "2022-03-09T15:04:05+08", "2022-03-09T00:00:00+08"},
		{"lower case stays", "2022-03-09t15:04:05z", "2022-03-09t00:00:00z"},
		{"a space for the T stays", "2022-03-09 15:04:05", "2022-03-09 00:00:00"},
		{"seconds that are not there do not come", "2022-03-09 15:04", "2022-03-09 00:00"},
		{"slashes stay", "2022/03/09 15:04:05", "2022/03/09 00:00:00"},
		{"a leap second is a second", "2016-12-31T23:59:60Z", "2016-12-31T00:00:00Z"},
		{"a date is a day already", "2022-03-09", "2022-03-09"},
		{"a month is less than a day", "2022-03", "2022-03"},
		{"a leap day is a day", "2024-02-29T10:00:00Z", "2024-02-29T00:00:00Z"},
		{"no leap day, no fit", "2023-02-29", unfit},
		{"mixed marks do not fit", "2022-03/09", unfit},
		{"month 13 does not fit", "2022-13-01", unfit},
		{"day 0 does not fit", "2022-03-00", unfit},
		{"hour 24 does not fit", "2022-03-09T24:00:00Z", unfit},
		{"minute 60 does not fit", "2022-03-09T10:60:00Z", unfit},
		{"a fraction without digits does not fit", "2022-03-09T15:04:05.Z", unfit},
		{"an offset out of range does not fit", "2022-03-09T15:04:05+24:00", unfit},
		{"what follows does not fit", "2022-03-09T15:04:05Z imei=860123456789012", unfit},
		{"what follows a date does not fit", "2022-03-09x", unfit},
		{"another form does not fit", "Wed, 09 Mar 2022 15:04:05 GMT", unfit},
		{"words do not fit", "yesterday", unfit},
		{"an empty text does not fit", "", unfit},
		{"a fraction without end does not fit", "2022-03-09T15:04:05." + string(make([]byte, 100)), unfit},
	})
	checkAll(t, "{time: hour}", payload.String, []example{
		{"an hour stays", "2022-03-09T15:04:05.5+05:30", "2022-03-09T15:00:00+05:30"},
	})
	checkAll(t, "{time: month}", payload.String, []example{
		{"a month begins on its first day", "2022-03-09T15:04:05Z", "2022-03-01T00:00:00Z"},
		{"also as a date", "2022-03-09", "2022-03-01"},
		{"also as eight digits", "20220309", "20220301"},
	})
	checkAll(t, "{time: year}", payload.String, []example{
		{"a year begins on its first day", "2022-03-09T15:04:05Z", "2022-01-01T00:00:00Z"},
		{"also as a month", "2022-03", "2022-01"},
		{"a year is a year already", "1990", "1990"},
	})
}

func TestTimeKeepsTheUnitOfUnixTimes(t *testing.T) {
	for _, kind := range []payload.Kind{payload.Number, payload.String} {
		checkAll(t, "time", kind, []example{
			{"seconds", "1646838245", "1646784000"},
			{"milliseconds", "1646838245123", "1646784000000"},
			{"microseconds", "1646838245123456", "1646784000000000"},
			{"nanoseconds", "1646838245123456789", "1646784000000000000"},
			{"seconds with a fraction", "1646838245.75", "1646784000"},
			{"milliseconds with an exponent", "1.646838245123E12", "1646784000000"},
			{"before 1970 a day begins before it", "-200000000", "-200016000"},
			{"eight digits that are a date are a date", "20220309", "20220309"},
			{"eight digits that are none are too few", "20221309", unfit},
			{"a duration does not fit", "86399", unfit},
			{"zero does not fit", "0", unfit},
			{"a result that would be read in another unit does not fit", "100000000", unfit},
			{"more than nanoseconds does not fit", "1e22", unfit},
		})
		checkAll(t, "{time: hour}", kind, []example{{"an hour", "1646838245", "1646838000"}})
		checkAll(t, "{time: month}", kind, []example{{"a month", "1646838245", "1646092800"}})
		checkAll(t, "{time: year}", kind, []example{{"a year", "1646838245", "1640995200"}})
	}
	checkAll(t, "time", payload.Number, []example{{"a number is no text", "2022-03-09", unfit}})
}

func TestTimeCutsUnixTimesInTheZoneAsked(t *testing.T) {
	at := time.Date(2022, 3, 9, 18, 30, 0, 0, time.UTC) // the 10th in China
	want := time.Date(2022, 3, 9, 16, 0, 0, 0, time.UTC)
	in, out := string(appendDecimal(nil, at.Unix(), 0)), string(appendDecimal(nil, want.Unix(), 0))
	for _, use := range []string{"{time: {zone: Asia/Shanghai}}", "{time: {zone: '+08:00'}}"} {
		checkAll(t, use, payload.Number, []example{
			{"the day begins where the zone is", in, out},
		})
		checkAll(t, use, payload.String, []example{
			{"a written date is cut where it was written", "2022-03-09T18:30:00Z", "2022-03-09T00:00:00Z"},
		})
	}
	checkAll(t, "{time: {unit: hour, zone: '+05:30'}}", payload.Number, []example{
		{"hours of a zone off by half an hour begin at half past", "1646838245", "1646836200"},
	})
}

func FuzzStamp(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, ok := parseStamp([]byte(s))
		if at, err := time.Parse(time.RFC3339Nano, s); err == nil && len(s) <= maxStamp {
			if !ok || parsed.year != at.Year() || parsed.month != int(at.Month()) || parsed.day != at.Day() ||
				parsed.hour != at.Hour() || parsed.minute != at.Minute() || parsed.second != at.Second() {
				t.Fatalf("%q was read as %+v", s, parsed)
			}
		}
		if !ok {
			return
		}
		parsed.truncate(dayPrecision)
		out := string(parsed.append(nil))
		if again, ok := parseStamp([]byte(out)); !ok || again != parsed {
			t.Fatalf("%q was written as %q", s, out)
		}
		if parsed.precision >= dayPrecision && out[:10] != s[:10] {
			t.Fatalf("%q has another day in %q", s, out)
		}
	})
}
