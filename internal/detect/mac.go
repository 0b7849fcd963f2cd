package detect

// mac looks at six pairs that are joined alike and end with t.
func (s *scanner) mac(t *token) {
	if s.at(t.end) == t.sep && isHex(s.at(t.end+1)) && isHex(s.at(t.end+2)) && !isAlnum(s.at(t.end+3)) {
		return // a seventh, as in a certificate's fingerprint
	}
	start := s.before(5).start
	if a, ok := s.address(start, t.end); ok && (t.sep == ':' || !a.isTime()) {
		s.add(start, t.end, 1<<MAC)
	}
}

// dottedMAC looks at aabb.ccdd.eeff, where t is the last group.
func (s *scanner) dottedMAC(t *token) {
	a, b := s.before(2), s.before(1)
	if !a.isHex() || !b.isHex() || a.end-a.start != 4 || b.end-b.start != 4 || s.at(a.start-1) == '.' ||
		s.at(t.end) == '.' && isAlnum(s.at(t.end+1)) {
		return
	}
	if m, ok := s.address(a.start, t.end); ok && m.letters {
		s.add(a.start, t.end, 1<<MAC)
	}
}

// bareMAC looks at a value of 12 hexadecimal digits and nothing else. The
// address of a device is that of no group: the lowest bit of its first octet
// is zero.
func (s *scanner) bareMAC(t *token) {
	if m, ok := s.address(t.start, t.end); ok && m.digits && m.octets[0]&1 == 0 && t.mixed() {
		s.add(t.start, t.end, 1<<MAC)
	}
}

type macAddress struct {
	octets          [6]byte
	letters, digits bool
}

// address reads the 12 hexadecimal digits of a span. ok is false for the
// addresses that are nobody's: all zero, all one, and 02:00:00:00:00:00, which
// Android tells every app.
func (s *scanner) address(start, end int) (a macAddress, ok bool) {
	n := 0
	for _, c := range s.text[start:end] {
		if !isHex(c) {
			continue
		}
		if isDigit(c) {
			a.digits = true
		} else {
			a.letters = true
		}
		a.octets[n/2] = a.octets[n/2]<<4 | byte(hexValue(c))
		n++
	}
	switch a.octets {
	case [6]byte{}, [6]byte{2}, [6]byte{255, 255, 255, 255, 255, 255}:
		return a, false
	}
	return a, a.digits || s.text[start+2] == ':'
}

// isTime reports whether the pairs read as a time, such as 26-01-12-23-59-59.
func (a *macAddress) isTime() bool {
	if a.letters {
		return false
	}
	o := a.octets // binary-coded decimal, in order
	return o[1] >= 1 && o[1] <= 0x12 && o[2] >= 1 && o[2] <= 0x31 && o[3] <= 0x23 && o[4] <= 0x59 && o[5] <= 0x59
}
