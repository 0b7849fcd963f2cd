package detect

// coordinate is a decimal number that may be a latitude or a longitude.
type coordinate struct {
	start, end int // with its sign
	digits     int // of the integer part, of which there are at most seven
	places     int
	value      int // the integer part, without its sign
	signed     bool
}

// decimal looks at the decimal number whose places are t's digits, and pairs
// it with the one before.
func (s *scanner) decimal(t *token) {
	whole := s.before(1)
	if t.dots != 1 || t.run != t.start || t.wide || !whole.isDecimal() || whole.n > 7 ||
		s.at(whole.start-1) == '.' || s.at(t.end) == '.' && isDigit(s.at(t.end+1)) {
		return
	}
	if t.runEnd < t.end && (t.runEnd+1 < t.end || !isHemisphere(s.text[t.runEnd])) {
		return
	}
	c := coordinate{start: whole.start, end: t.runEnd, digits: int(whole.n), places: int(t.n)}
	for _, b := range s.text[whole.start:whole.end] {
		c.value = 10*c.value + int(b-'0')
	}
	if sign := s.at(c.start - 1); sign == '-' || sign == '+' {
		c.start--
		c.signed = true
	}
	last := s.coord
	s.coord = c
	if last.end > 0 && s.pair(last, c) {
		s.coord = coordinate{}
	}
}

func isHemisphere(c byte) bool {
	c &^= 0x20
	return c == 'N' || c == 'S' || c == 'E' || c == 'W'
}

// pair looks at two decimal numbers that follow one another.
func (s *scanner) pair(a, b coordinate) bool {
	start, end := a.start, b.end
	switch {
	case a.end == b.start: // ISO 6709
		if !a.signed {
			return false
		}
		slash := s.slash(end)
		if slash > 0 {
			end = slash
		}
		if !a.isDegrees(b) || a.places < 3 || b.places < 3 {
			if slash == 0 || a.digits&1 != 0 || a.digits+1 != b.digits || !a.scaled().isDegrees(b.scaled()) {
				return false
			}
		}
	case !s.separates(a.end, b.start) || !a.isDegrees(b):
		return false
	case a.places < 3 || b.places < 3:
		if !s.endsIn(a.start, "geo:") { // RFC 5870
			return false
		}
		start -= len("geo:")
	}
	s.add(start, end, 1<<LatLng)
	return true
}

// isDegrees reports whether two numbers are a latitude and a longitude, in
// either order. Both less than one degree from the crossing of the equator and
// the prime meridian are open sea, and most often no coordinates.
func (c coordinate) isDegrees(d coordinate) bool {
	lo, hi := min(c.value, d.value), max(c.value, d.value)
	return c.digits <= 3 && d.digits <= 3 && lo < 90 && hi < 180 && hi > 0
}

// scaled returns the degrees of degrees, minutes and seconds that ISO 6709
// writes without separators, as two or three digits and two for each of the
// rest.
func (c coordinate) scaled() coordinate {
	for c.digits > 3 {
		if c.value%100 >= 60 {
			c.value = 999
			return c
		}
		c.value /= 100
		c.digits -= 2
	}
	return c
}

// slash returns the end of an ISO 6709 string that ends with a '/' at i, or
// behind an altitude there; 0: none.
func (s *scanner) slash(i int) int {
	if c := s.at(i); c == '+' || c == '-' {
		for n := 0; n < 12 && (n == 0 || isDigit(s.at(i)) || s.at(i) == '.'); n++ {
			i++
		}
	}
	if s.at(i) == '/' {
		return i + 1
	}
	return 0
}

// separates reports whether what stands between two numbers keeps the two
// together: a ',', ';' or '|', also escaped or full-width, with spaces around
// it, or spaces alone; before it may stand a degree sign and a hemisphere.
func (s *scanner) separates(i, end int) bool {
	if end-i > 16 {
		return false
	}
	if i+1 < end && s.text[i] == 0xC2 && s.text[i+1] == 0xB0 { // '°'
		i += 2
	}
	before := i
	i = s.spaces(i, end)
	if i < end && isHemisphere(s.text[i]) {
		i++
		before = i
		i = s.spaces(i, end)
	}
	switch {
	case i == end:
		return i > before
	case s.text[i] == ',' || s.text[i] == ';' || s.text[i] == '|':
		i++
	case s.escaped(i, '2', 'C') || s.escaped(i, '3', 'B') || s.escaped(i, '7', 'C'):
		i += 3
	case i+3 <= end && (string(s.text[i:i+3]) == "，" || string(s.text[i:i+3]) == "、" || string(s.text[i:i+3]) == "；"):
		i += 3
	}
	return s.spaces(i, end) == end
}

func (s *scanner) spaces(i, end int) int {
	for i < end {
		if s.text[i] == ' ' {
			i++
		} else if s.escaped(i, '2', '0') {
			i += 3
		} else {
			break
		}
	}
	return i
}

// Pair reports whether two JSON number literals, the elements of a two-element
// array, are a coordinate pair, in either order (WGS 84, degrees). JSON drops
// zeros at the end, so one of two numbers may have two decimal places if the
// other has four.
func Pair(a, b []byte) bool {
	c, ok := degrees(a)
	if !ok {
		return false
	}
	d, ok := degrees(b)
	if !ok || !c.isDegrees(d) {
		return false
	}
	lo, hi := min(c.places, d.places), max(c.places, d.places)
	return lo >= 3 || lo == 2 && hi >= 4
}

// degrees reads a literal without an exponent.
func degrees(text []byte) (c coordinate, ok bool) {
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	i := 0
	for ; i < len(text) && isDigit(text[i]) && i < 4; i++ {
		c.value = 10*c.value + int(text[i]-'0')
	}
	c.digits = i
	if i == 0 || i == len(text) || text[i] != '.' {
		return c, false
	}
	for i++; i < len(text); i++ {
		if !isDigit(text[i]) {
			return c, false
		}
		c.places++
	}
	return c, true
}
