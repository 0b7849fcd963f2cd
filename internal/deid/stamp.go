package deid

import "time"

// Longest spelling of a date and time that is looked at.
const maxStamp = 64

// Years that a bare year, or eight digits without separators, may name.
// Outside them, digits are something else.
const (
	firstYear = 1900
	lastYear  = 2100
)

// precision says how much of a stamp is written, or is to be kept.
type precision uint8

const (
	yearPrecision precision = iota
	monthPrecision
	dayPrecision
	hourPrecision
	minutePrecision
	secondPrecision
)

// A stamp is a date, or a date and time, as text spells it: the forms of
// RFC 3339 and of ISO 8601's extended format, with '/' for '-' and a space for
// the T allowed, with or without seconds and offset, and the basic date
// YYYYMMDD. Fractions of a second are read and forgotten.
type stamp struct {
	precision precision
	dateMark  byte // between the parts of the date; 0: none
	timeMark  byte // before the time: 'T', 't' or ' '
	year      int
	month     int
	day       int
	hour      int
	minute    int
	second    int
	zone      [6]byte // the offset as written, checked
	zoneLen   int
}

// scanner takes a stamp apart. After a mismatch it stays failed.
type scanner struct {
	rest   []byte
	failed bool
}

// number takes exactly n digits, from lo to hi.
func (s *scanner) number(n, lo, hi int) int {
	if s.failed || len(s.rest) < n {
		s.failed = true
		return 0
	}
	v := 0
	for _, c := range s.rest[:n] {
		if c < '0' || c > '9' {
			s.failed = true
			return 0
		}
		v = v*10 + int(c-'0')
	}
	if v < lo || v > hi {
		s.failed = true
	}
	s.rest = s.rest[n:]
	return v
}

// mark takes one of the bytes in set.
func (s *scanner) mark(set string) byte {
	if s.failed || len(s.rest) == 0 {
		s.failed = true
		return 0
	}
	c := s.rest[0]
	for i := range len(set) {
		if c == set[i] {
			s.rest = s.rest[1:]
			return c
		}
	}
	s.failed = true
	return 0
}

func (s *scanner) next() byte {
	if len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

// parseStamp reads a stamp with separators, from "2022-03" on.
func parseStamp(text []byte) (stamp, bool) {
	if len(text) > maxStamp {
		return stamp{}, false
	}
	s := scanner{rest: text}
	t := stamp{precision: monthPrecision, day: 1}
	t.year = s.number(4, 0, 9999)
	t.dateMark = s.mark("-/")
	t.month = s.number(2, 1, 12)
	if len(s.rest) == 0 {
		return t, !s.failed
	}
	if s.mark("-/") != t.dateMark {
		return stamp{}, false
	}
	t.precision = dayPrecision
	t.day = s.number(2, 1, daysIn(t.year, t.month))
	if len(s.rest) == 0 {
		return t, !s.failed
	}
	t.precision = minutePrecision
	t.timeMark = s.mark("Tt ")
	t.hour = s.number(2, 0, 23)
	s.mark(":")
	t.minute = s.number(2, 0, 59)
	if s.next() == ':' {
		s.mark(":")
		t.precision = secondPrecision
		t.second = s.number(2, 0, 60)
		if c := s.next(); c == '.' || c == ',' {
			s.mark(".,")
			s.number(1, 0, 9)
			for c := s.next(); c >= '0' && c <= '9'; c = s.next() {
				s.number(1, 0, 9)
			}
		}
	}
	zone := s.rest
	switch s.next() {
	case 0:
	case 'Z', 'z':
		s.mark("Zz")
	default: // ±hh:mm, ±hhmm or ±hh
		s.mark("+-")
		s.number(2, 0, 23)
		if s.next() == ':' {
			s.mark(":")
			s.number(2, 0, 59)
		} else if len(s.rest) > 0 {
			s.number(2, 0, 59)
		}
	}
	if s.failed || len(s.rest) > 0 {
		return stamp{}, false
	}
	t.zoneLen = copy(t.zone[:], zone)
	return t, true
}

// digitStamp reads a year, or a date of eight digits, from its value.
func digitStamp(n int64) (stamp, bool) {
	if n >= firstYear && n <= lastYear {
		return stamp{precision: yearPrecision, year: int(n), month: 1, day: 1}, true
	}
	t := stamp{precision: dayPrecision, year: int(n / 10000), month: int(n / 100 % 100), day: int(n % 100)}
	ok := t.year >= firstYear && t.year <= lastYear &&
		t.month >= 1 && t.month <= 12 && t.day >= 1 && t.day <= daysIn(t.year, t.month)
	return t, ok
}

// truncate sets to the least value what is finer than keep.
func (t *stamp) truncate(keep precision) {
	if keep < monthPrecision {
		t.month = 1
	}
	if keep < dayPrecision {
		t.day = 1
	}
	if keep < hourPrecision {
		t.hour = 0
	}
	t.minute, t.second = 0, 0
}

// append spells the stamp as it was spelled.
func (t *stamp) append(dst []byte) []byte {
	dst = appendDigits(dst, t.year, 4)
	if t.precision >= monthPrecision {
		dst = appendMarked(dst, t.dateMark, t.month)
	}
	if t.precision >= dayPrecision {
		dst = appendMarked(dst, t.dateMark, t.day)
	}
	if t.precision >= minutePrecision {
		dst = appendMarked(dst, t.timeMark, t.hour)
		dst = appendMarked(dst, ':', t.minute)
	}
	if t.precision >= secondPrecision {
		dst = appendMarked(dst, ':', t.second)
	}
	return append(dst, t.zone[:t.zoneLen]...)
}

func appendMarked(dst []byte, mark byte, v int) []byte {
	if mark != 0 {
		dst = append(dst, mark)
	}
	return appendDigits(dst, v, 2)
}

func appendDigits(dst []byte, v, n int) []byte {
	for unit := int(pow10(n - 1)); unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+v/unit%10))
	}
	return dst
}

func daysIn(year, month int) int {
	// Day 0 of the next month is the last day of this one.
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// unixUnit tells by magnitude what n counts since 1970: it returns how many
// make a second, for seconds, milliseconds, microseconds or nanoseconds. The
// bounds are 1e8, 1e11, 1e14 and 1e17; in seconds they are March 1973 and the
// year 5138. Smaller numbers are more likely durations or counters: 0.
func unixUnit(n int64) int64 {
	if n < 0 {
		n = -n
	}
	switch {
	case n < 1e8:
		return 0
	case n < 1e11:
		return 1
	case n < 1e14:
		return 1e3
	case n < 1e17:
		return 1e6
	}
	return 1e9
}
