package detect

import "encoding/binary"

// digits holds up to 20 digits, as their values.
type digits struct {
	d [20]byte
	n int
}

func (d *digits) all() []byte { return d.d[:d.n] }

// collect gathers the digits of a span, full-width ones too, and skips what
// else stands there. ok is false if they are too many.
func (s *scanner) collect(start, end int) (d digits, ok bool) {
	for i := start; i < end; i++ {
		c := s.text[i]
		v := c - '0'
		if !isDigit(c) {
			if v, ok = s.wide(i); !ok {
				continue
			}
		}
		if d.n == len(d.d) {
			return d, false
		}
		d.d[d.n] = v
		d.n++
	}
	return d, true
}

// number looks at the only run of digits of a token.
func (s *scanner) number(t *token) {
	if t.n > 20 {
		return
	}
	alone := t.run == 0 && t.runEnd == len(s.text)
	allowed := s.want
	if t.wide {
		allowed &= wides
	}
	if s.isFraction(t) {
		// "1.13800138000" is the first line of a list of numbers.
		allowed &= Set(0).With(Phone)
		if i := t.run - 2; s.text[i] == '0' || isAlnum(s.at(i-1)) || s.at(i-1) == '.' {
			return
		}
	}
	if s.at(t.runEnd) == '.' && isDigit(s.at(t.runEnd+1)) && !s.zeroFraction(t.runEnd+1) {
		return
	}
	d, ok := s.collect(t.run, t.runEnd)
	if !ok {
		return
	}
	found := judge(d.all(), alone) & allowed
	if found.Has(Phone) {
		s.add(s.dialled(t.run), t.runEnd, 1<<Phone)
	}
	if d.n == 17 && allowed.Has(IDCard) {
		if end, ok := s.checkX(t); ok && isResident(d.all(), 10) {
			s.add(t.run, end, 1<<IDCard)
		}
	}
	s.add(t.run, t.runEnd, found)
}

// isFraction reports whether a token's digits are decimal places.
func (s *scanner) isFraction(t *token) bool {
	return t.run >= 2 && s.text[t.run-1] == '.' && isDigit(s.text[t.run-2])
}

// zeroFraction reports whether the decimal places at i are at most three
// zeros: 13800138000.0 is how some encoders write an integer.
func (s *scanner) zeroFraction(i int) bool {
	for n := 0; n < 4; n++ {
		if s.at(i) != '0' {
			return n > 0 && !isAlnum(s.at(i)) && (s.at(i) != '.' || !isAlnum(s.at(i+1)))
		}
		i++
	}
	return false
}

// judge says what a number may be by its digits. alone tells that the value is
// nothing else.
func judge(d []byte, alone bool) (found Set) {
	switch len(d) {
	case 11, 13, 15:
		if isMainland(d) {
			found = found.With(Phone)
		}
	}
	if len(d) < 14 {
		return found
	}
	checked := luhn(d)
	if checked && isCard(d) {
		found = found.With(Card)
	}
	switch len(d) {
	case 15:
		if checked && isIMEI(d) {
			found = found.With(IMEI)
		}
		if isIMSI(d) {
			found = found.With(IMSI)
		}
		if found == 0 && isOldResident(d) {
			found = found.With(IDCard)
		}
	case 16:
		if alone && isIMEISV(d) {
			found = found.With(IMEI)
		}
	case 18:
		if isResident(d[:17], int(d[17])) {
			found = found.With(IDCard)
		}
	case 19, 20:
		if isICCID(d, checked) {
			found = found.With(ICCID)
		}
	}
	return found
}

// luhn checks the last digit by ISO/IEC 7812-1 annex B.
func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i])
		if i&1 != 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// Number says which wanted kinds a JSON number literal may be by its digits
// alone, which are those of a whole number, in any spelling: 860123456789012,
// 1.3800138E10, 13800138000.0. A mere shape, such as hex16, is no number.
func Number(text []byte, want Set) Set {
	want &= decimals
	if want == 0 || len(text) < 7 || isTimestamp(text) {
		return 0
	}
	d, ok := whole(text)
	if !ok {
		return 0
	}
	return judge(d.all(), true) & want
}

// isTimestamp reports a plain integer that is as long as a time in seconds or
// milliseconds, and that no kind has: most long numbers are. It may err only by
// reporting false.
func isTimestamp(text []byte) bool {
	if len(text) != 10 && (len(text) != 13 || text[0] == '8') { // +86 and a phone number
		return false
	}
	a, b := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[len(text)-8:])
	return areDigits(a) && areDigits(b)
}

// areDigits reports whether all eight bytes of a word are decimal digits: each has
// the high half of '0', and still has it after six is added.
func areDigits(x uint64) bool {
	const sixes, zeros, high = 0x0606060606060606, 0x3030303030303030, 0xf0f0f0f0f0f0f0f0
	return x&high == zeros && (x+sixes)&high == zeros
}

// whole reads a literal of a whole number that is positive and has at most 20
// digits. A literal may begin with a zero, to be fair to what is no JSON.
func whole(text []byte) (d digits, ok bool) {
	i, point := 0, -1
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && point < 0 {
			point = d.n
			continue
		}
		if !isDigit(c) {
			break
		}
		if d.n == len(d.d) {
			if point < 0 || c != '0' {
				return d, false
			}
			continue // a zero behind the point
		}
		d.d[d.n] = c - '0'
		d.n++
	}
	if point < 0 {
		point = d.n
	}
	if i < len(text) {
		e, ok := exponent(text[i:])
		if !ok {
			return d, false
		}
		point += e
	}
	if point <= 0 || point > len(d.d) {
		return d, false
	}
	for _, v := range d.d[min(point, d.n):d.n] {
		if v != 0 {
			return d, false
		}
	}
	d.n = point
	return d, true
}

// exponent reads the exponent of a literal, 'e' and all; at most two digits.
func exponent(text []byte) (int, bool) {
	if len(text) < 2 || text[0]|0x20 != 'e' {
		return 0, false
	}
	text = text[1:]
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 2 {
		return 0, false
	}
	e := 0
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		e = 10*e + int(c-'0')
	}
	if negative {
		e = -e
	}
	return e, true
}
