package detect

const (
	likeHex16 = 1<<Hex16 | 1<<AndroidID
	likeHex32 = 1<<Hex32 | 1<<OAID
	likeHex64 = 1 << OAID
	likeUUID  = 1<<UUID | 1<<IDFA | 1<<OAID
)

// hexadecimal looks at a token of hexadecimal digits.
func (s *scanner) hexadecimal(t *token) {
	text := s.text[t.start:t.end]
	switch len(text) {
	case 2:
		if t.pairs == 6 {
			s.mac(t)
		}
	case 4:
		if t.dots == 2 {
			s.dottedMAC(t)
		}
	case 12:
		if t.uuid == 5 {
			s.shape(s.before(4).start, t.end, likeUUID)
		}
		if t.letters != 0 && len(s.text) == 12 {
			s.bareMAC(t)
		}
	case 14, 15:
		if t.mixed() && isMEID(text) {
			s.add(t.start, t.end, 1<<MEID)
		}
	case 16:
		s.shape(t.start, t.end, likeHex16)
	case 19, 20:
		if t.mixed() && isHexICCID(text) {
			s.add(t.start, t.end, 1<<ICCID)
		}
	case 32:
		s.shape(t.start, t.end, likeHex32)
	case 64:
		s.shape(t.start, t.end, likeHex64)
	}
}

// mixed reports whether a token has digits, and letters of one case.
func (t *token) mixed() bool {
	return t.runs > 0 && (t.letters == hexLower || t.letters == hexUpper)
}

// shape notes an identifier that has nothing but a shape. It has a digit, by
// which all but one in a million do, and is not zero.
func (s *scanner) shape(start, end int, kinds Set) {
	if kinds&s.want == 0 {
		return
	}
	var digits, others bool
	for _, c := range s.text[start:end] {
		digits = digits || isDigit(c)
		others = others || c != '0' && c != '-'
	}
	if digits && others {
		s.add(start, end, kinds)
	}
}
