package detect

// isOctet reports whether digits are an octet of an IPv4 address.
func isOctet(text []byte) bool {
	if len(text) > 3 {
		return false
	}
	n := 0
	for _, c := range text {
		n = 10*n + int(c-'0')
	}
	return n <= 255 && (text[0] != '0' || len(text) == 1)
}

// ipv4 looks at four octets or more that are joined by '.' and end with t.
func (s *scanner) ipv4(t *token) {
	if !s.want.Has(IPv4) || t.octets != 4 || t.dots != 3 || s.at(t.end) == '.' && isAlnum(s.at(t.end+1)) {
		return
	}
	start := s.before(3).start
	if s.at(start-1) == '.' {
		return
	}
	var o [4]int
	single := true
	for i := range o {
		g := s.before(3 - i)
		for _, c := range s.text[g.start:g.end] {
			o[i] = 10*o[i] + int(c-'0')
		}
		single = single && o[i] < 10
	}
	switch {
	case single, // a version; as an address, one in 400,000
		o[0] == 0 || o[0] >= 224, // this network, masks, groups: nobody's
		o == [4]int{127, 0, 0, 1},
		!(o[0] == 192 && o[1] == 168) && s.isVersion(start):
		return
	}
	s.add(start, t.end, 1<<IPv4)
}

// isVersion reports whether what stands before a dotted number tells that it
// is a version: a product and a slash, as in Chrome/12.0.1.2, or the word.
func (s *scanner) isVersion(start int) bool {
	i := start
	if s.at(i-1) == '/' {
		return isAlnum(s.at(i - 2))
	}
	for j := 0; j < 3; j++ {
		switch s.at(i - 1) {
		case ' ', ':', '=', '"', '_', '-', '.':
			i--
		}
	}
	return s.endsIn(i, "version") || s.endsIn(i, "ver") || s.endsIn(i, "build") ||
		s.endsIn(i, "v") && !isAlnum(s.at(i-2)) || s.endsIn(i, "版本") || s.endsIn(i, "版本号") || s.endsIn(i, "版本：") || s.endsIn(i, "版本号：")
}

// endsIn reports whether word, in lower case, stands before i in any case.
func (s *scanner) endsIn(i int, word string) bool {
	i -= len(word)
	if i < 0 {
		return false
	}
	for j := range len(word) {
		c := s.text[i+j]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[j] {
			return false
		}
	}
	return true
}

// ipv6 looks at the stretch of hexadecimal digits, colons and dots around the
// ':' at i, once for all colons in it.
func (s *scanner) ipv6(i int) {
	if i < s.v6 || !s.want.Has(IPv6) {
		return
	}
	start := i
	for start > 0 && i-start < 4 && isHex(s.text[start-1]) {
		start--
	}
	if isAlnum(s.at(start - 1)) {
		start = i // the end of a word
	}
	end := i
	for end < len(s.text) && (isHex(s.text[end]) || s.text[end] == ':' || s.text[end] == '.') {
		end++
	}
	s.v6 = end
	if end < len(s.text) && isAlnum(s.text[end]) { // the beginning of one
		for end > i && s.text[end-1] != ':' && s.text[end-1] != '.' {
			end--
		}
	}
	for end > i && s.text[end-1] == '.' {
		end--
	}
	if end-i >= 2 && s.text[end-1] == ':' && s.text[end-2] != ':' {
		end--
	}
	if start == i {
		if isAlnum(s.at(i - 1)) { // std::add
			for start < end && s.text[start] == ':' {
				start++
			}
		} else if s.at(i+1) != ':' {
			start++
		}
	}
	if end-start > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")+5 {
		return
	}
	if isIPv6(s.text[start:end]) {
		s.add(start, end, 1<<IPv6)
		return
	}
	// The first group may be a name that is spelled like one, "a:2001:…".
	for start < end && s.text[start] != ':' {
		start++
	}
	if start++; start < end && isIPv6(s.text[start:end]) {
		s.add(start, end, 1<<IPv6)
	}
}
