package deid

import (
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/payload"
)

// Today is 2026-03-09 in all of these.
func TestAge(t *testing.T) {
	checkAll(t, "age", payload.String, []example{
		{"an age falls into its band", "30", "25-34"},
		{"a band begins at its first age", "25", "25-34"},
		{"a band ends before the next", "24", "18-24"},
		{"below the first band", "17", "<18"},
		{"a newborn has an age", "0", "<18"},
		{"from the last band on", "65", "65+"},
		{"the oldest", "130", "65+"},
		{"a fraction of a year does not count", "24.9", "18-24"},
		{"nobody is 131", "131", unfit},
		{"nobody is -1", "-1", unfit},
		{"a birthday counts from the day itself", "2008-03-09", "18-24"},
		{"the day before it does not count", "2008-03-10", "<18"},
		{"a later month does not count", "2008-04-01", "<18"},
		{"an earlier month counts", "2008-02-28", "18-24"},
		{"eight digits are a birthday", "19900517", "35-44"},
		{"a time of birth is a birthday", "1990-05-17T03:00:00+08:00", "35-44"},
		{"slashes are fine", "1990/05/17", "35-44"},
		{"born today", "2026-03-09", "<18"},
		{"born tomorrow does not fit", "2026-03-10", unfit},
		{"born next year does not fit", "2027", unfit},
		{"born this year", "2026", "<18"},
		{"a year of birth counts what is reached for certain", "2008", "<18"},
		{"a year later it is certain", "2007", "18-24"},
		{"a month of birth counts when it is over", "2008-03", "<18"},
		{"the month before is over", "2008-02", "18-24"},
		{"a birth in this month may have been", "2026-03", "<18"},
		{"a birth next month does not fit", "2026-04", unfit},
		{"born in the last century but one does not fit", "1890-01-01", unfit},
		{"no year and no age does not fit", "1899", unfit},
		{"Unix seconds are a birthday", "643000000", "35-44"},
		{"Unix milliseconds are a birthday", "643000000000", "35-44"},
		{"before 1970 too", "-200000000000", "55-64"},
		{"words do not fit", "thirty", unfit},
		{"a band does not fit", "25-34", unfit},
		{"an empty text does not fit", "", unfit},
	})
	checkAll(t, "{age: {bands: [18, 19, 21]}}", payload.String, []example{
		{"a band of one year is that year", "18", "18"},
		{"a band of two years is both", "20", "19-20"},
	})
}

func TestAgesAreText(t *testing.T) {
	out, now := apply(t, make1(t, "age"), "1990", payload.Number)
	if out != "35-44" || now != payload.String {
		t.Errorf("got %q of kind %d", out, now)
	}
	if out, _ := apply(t, make1(t, "age"), "1990-05-17", payload.Number); out != unfit {
		t.Errorf("a number that is none became %q", out)
	}
}

func TestWithoutNowOnlyAnAgeFits(t *testing.T) {
	for in, want := range map[string]string{"30": "25-34", "1990": unfit, "1990-05-17": unfit, "643000000": unfit} {
		for _, p := range []*payload.Params{nil, {}} {
			if out, _ := applyWith(t, make1(t, "age"), in, payload.String, p); out != want {
				t.Errorf("%s became %q, want %q", in, out, want)
			}
		}
	}
}

func TestTodayIsTodayInTheZoneOfNow(t *testing.T) {
	now := time.Date(2026, 3, 9, 18, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		now  time.Time
		want string
	}{{now, "<18"}, {now.In(time.FixedZone("", 8*3600)), "18-24"}} {
		p := &payload.Params{Now: x.now}
		if out, _ := applyWith(t, make1(t, "age"), "2008-03-10", payload.String, p); out != x.want {
			t.Errorf("at %v: %q, want %q", x.now, out, x.want)
		}
	}
}
