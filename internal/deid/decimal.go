package deid

import "strconv"

// Longest spelling of a number that is looked at. Genuine ones are shorter
// (a double needs at most 24 characters); a longer one does not fit.
const maxNumber = 64

// Greatest magnitude of a scaled number, below that of an int64 so that one
// step of a range may be taken from it.
const maxScaled = 9e18

// parseDecimal reads a number as JSON spells it, and a little more (a leading
// plus, ".5", "5."), and returns the greatest integer not above it times
// 10^places. It works on the decimal digits, so that 0.3 is three times 0.1.
// exact says that nothing was rounded. Hexadecimal, underscores, NaN, Inf and
// white space are no numbers.
func parseDecimal(text []byte, places int) (n int64, exact, ok bool) {
	if len(text) == 0 || len(text) > maxNumber {
		return 0, false, false
	}
	i := 0
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		i++
	}
	var (
		m      uint64 // the first significant digits; 19 fit
		kept   int    // how many
		exp    = places
		digits bool
		point  bool
		lost   bool // a digit other than 0 did not fit into m
	)
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits = true
		if point {
			exp--
		}
		if kept == 19 {
			exp++
			lost = lost || c != '0'
			continue
		}
		m = m*10 + uint64(c-'0')
		if m != 0 {
			kept++
		}
	}
	if !digits {
		return 0, false, false
	}
	if i < len(text) {
		e, ok := parseExponent(text[i:])
		if !ok {
			return 0, false, false
		}
		exp += e
	}
	if m == 0 {
		return 0, true, true
	}
	exact = !lost
	for ; exp > 0; exp-- {
		if m > maxScaled/10 {
			return 0, false, false
		}
		m *= 10
	}
	for ; exp < 0 && m > 0; exp++ {
		exact = exact && m%10 == 0
		m /= 10
	}
	if m > maxScaled {
		return 0, false, false
	}
	n = int64(m)
	if negative {
		n = -n
		if !exact {
			n--
		}
	}
	return n, exact, true
}

func parseExponent(text []byte) (int, bool) {
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false
	}
	text = text[1:]
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	e := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		// Beyond any number that fits, larger exponents are all alike.
		e = min(e*10+int(c-'0'), 1_000_000)
	}
	if negative {
		e = -e
	}
	return e, true
}

// appendDecimal appends n / 10^places in plain notation with that many places.
// It never writes a negative zero.
func appendDecimal(dst []byte, n int64, places int) []byte {
	if n < 0 {
		dst = append(dst, '-')
	}
	// The magnitude of the least int64 is no int64, but it is a uint64.
	u := uint64(n)
	if n < 0 {
		u = -u
	}
	unit := uint64(pow10(places))
	dst = strconv.AppendUint(dst, u/unit, 10)
	if places == 0 {
		return dst
	}
	dst = append(dst, '.')
	frac := u % unit
	for unit /= 10; unit > frac && unit > 1; unit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, frac, 10)
}

// pow10 is 10^n for n from 0 to 18.
func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// floorDiv is the greatest integer not above a / b, for b > 0. Go's own
// division rounds towards zero.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
