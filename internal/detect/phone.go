package detect

// isMainland looks at 11 digits, a mobile number of mainland China, or 13 or
// 15, which are one behind 86 or 0086.
func isMainland(d []byte) bool {
	switch {
	case len(d) == 13 && value(d[:2]) == 86:
		d = d[2:]
	case len(d) == 15 && value(d[:4]) == 86:
		d = d[4:]
	case len(d) != 11:
		return false
	}
	return d[0] == 1 && d[1] >= 3
}

// dialled returns where the number at start begins if a prefix is told apart
// from it, as in "+86 138…", "0086-138…" and "+86138…".
func (s *scanner) dialled(start int) int {
	i := start
	if c := s.at(i - 1); c == ' ' || c == '-' {
		i--
	}
	if s.at(i-1) == '6' && s.at(i-2) == '8' {
		i -= 2
		if s.at(i-1) == '0' && s.at(i-2) == '0' {
			i -= 2
		}
		if isAlnum(s.at(i - 1)) {
			if !s.escaped(i-3, '2', 'B') {
				return start
			}
		}
	} else if i != start {
		return start
	}
	if s.at(i-1) == '+' {
		return i - 1
	}
	if s.escaped(i-3, '2', 'B') {
		return i - 3
	}
	return i
}

// international looks at what follows a '+': the digits of a number of 8 to
// 15, a country code first (ITU-T E.164), in one piece or in groups.
func (s *scanner) international(start, i int) {
	if !s.want.Has(Phone) || isAlnum(s.at(start-1)) && s.text[start] == '+' {
		return
	}
	var d [15]byte
	n, end := 0, 0
	for {
		first, j := n, i
		for isDigit(s.at(j)) && n < len(d) {
			d[n] = s.at(j) - '0'
			n++
			j++
		}
		if n == first || isDigit(s.at(j)) { // what does not fit is something else
			n = first
			break
		}
		end = j
		if i = s.between(j); i == j || first == 0 && n >= 8 || n >= complete(d[:n]) {
			break
		}
	}
	if n < 8 || isAlnum(s.at(end)) || s.at(end) == '.' && isDigit(s.at(end+1)) || !callable(d[:n]) || !fits(d[:n]) {
		return
	}
	s.add(start, end, 1<<Phone)
}

// between returns where the next group of a number begins, i if none does.
func (s *scanner) between(i int) int {
	for j := i; j < i+3; j++ {
		switch c := s.at(j); c {
		case ' ', '-', '(', ')':
			if isDigit(s.at(j + 1)) {
				return j + 1
			}
		default:
			return i
		}
	}
	return i
}

// complete returns how many digits a number that begins with d has at most:
// North America, Russia and Kazakhstan, and mobile numbers of China have one
// length each.
func complete(d []byte) int {
	switch {
	case d[0] == 1 || d[0] == 7:
		return 11
	case len(d) > 3 && value(d[:3]) == 861 && d[3] >= 3:
		return 13
	}
	return 15
}

// fits reports whether a number has a length that its plan knows.
func fits(d []byte) bool {
	n := complete(d)
	return len(d) == n || n == 15
}

// callable reports whether digits begin with a country code that is assigned
// (ITU-T E.164, list of country codes).
func callable(d []byte) bool {
	if d[0] == 1 || d[0] == 7 {
		return true
	}
	two, third := 10*d[0]+d[1], d[2]
	among := func(thirds uint) bool { return thirds>>third&1 != 0 }
	switch two {
	case 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
		60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98:
		return true
	case 22, 23, 24, 25, 26, 35, 37, 38, 50, 59, 67, 68, 96, 97:
		return true // nearly all of each ten is
	case 21:
		return among(1<<1 | 1<<2 | 1<<3 | 1<<6 | 1<<8)
	case 29:
		return among(1<<0 | 1<<1 | 1<<7 | 1<<8 | 1<<9)
	case 42:
		return among(1<<0 | 1<<1 | 1<<3)
	case 69:
		return among(1<<0 | 1<<1 | 1<<2)
	case 80:
		return among(1<<0 | 1<<8)
	case 85:
		return among(1<<0 | 1<<2 | 1<<3 | 1<<5 | 1<<6)
	case 87:
		return among(1<<0 | 1<<8)
	case 88:
		return among(1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<6 | 1<<8)
	case 99:
		return among(1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<8)
	}
	return false
}
