package detect

// What the scanner needs to know of a byte.
const (
	digit    = 1 << iota
	hexLower // a-f
	hexUpper // A-F
	letter   // the other letters of ASCII
	trigger  // a byte that may be part of something and is no letter or digit

	hexLetter = hexLower | hexUpper
	letters   = hexLetter | letter
	alnum     = digit | letters
)

// wideLead is the first byte of the full-width digits, U+FF10 to U+FF19, which
// are EF BC 90 to EF BC 99.
const wideLead = 0xEF

var class = func() (t [256]uint8) {
	for c := range t {
		switch {
		case '0' <= c && c <= '9':
			t[c] = digit
		case 'a' <= c && c <= 'f':
			t[c] = hexLower
		case 'A' <= c && c <= 'F':
			t[c] = hexUpper
		case 'g' <= c && c <= 'z' || 'G' <= c && c <= 'Z':
			t[c] = letter
		case c == '@' || c == '%' || c == ':' || c == '+' || c == wideLead:
			t[c] = trigger
		}
	}
	return t
}()

func isDigit(c byte) bool { return class[c]&digit != 0 }

func isHex(c byte) bool { return class[c]&(digit|hexLetter) != 0 }

func isAlnum(c byte) bool { return class[c]&alnum != 0 }

// at returns the byte at i, or a space if there is none.
func (s *scanner) at(i int) byte {
	if uint(i) >= uint(len(s.text)) {
		return ' '
	}
	return s.text[i]
}

// wide returns the value of the full-width digit at i.
func (s *scanner) wide(i int) (byte, bool) {
	if i+2 >= len(s.text) || s.text[i] != wideLead || s.text[i+1] != 0xBC {
		return 0, false
	}
	v := s.text[i+2] - 0x90
	return v, v <= 9
}

// escape reports whether an escape of RFC 3986 stands at i, a '%' there. It
// does not count those of control characters: what a '%' and such digits are
// in is prose, "100%13800138000".
func (s *scanner) escape(i int) bool {
	a, b := s.at(i+1), s.at(i+2)
	return isHex(a) && isHex(b) && a >= '2'
}

// escaped reports whether the escape of the character with the hexadecimal
// code hi, lo stands at i; lo is a digit or a capital letter.
func (s *scanner) escaped(i int, hi, lo byte) bool {
	return s.at(i) == '%' && s.at(i+1) == hi && (s.at(i+2) == lo || lo > '9' && s.at(i+2) == lo|0x20)
}

func hexValue(c byte) int {
	if c <= '9' {
		return int(c - '0')
	}
	return int(c|0x20-'a') + 10
}
