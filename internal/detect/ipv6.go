package detect

// isIPv6 reports whether text is an IPv6 address of a host: one that is told
// apart from times, ratios and names in C++ by what is assigned.
func isIPv6(text []byte) bool {
	a, ok := parseIPv6(text)
	if !ok {
		return false
	}
	if !a.compressed {
		return a.long // eight pairs are an EUI-64
	}
	// The blocks that are assigned: RFC 4291 section 2.4, RFC 4193, RFC 6052.
	switch g := a.groups; {
	case g[0]&0xe000 == 0x2000, g[0]&0xfe00 == 0xfc00, g[0]&0xffc0 == 0xfe80, g[0]&0xff00 == 0xff00:
		return true
	case g[0] == 0x64 && g[1] == 0xff9b:
		return true
	case g[0]|g[1]|g[2]|g[3]|g[4] == 0 && (g[5] == 0xffff || a.mapped): // RFC 4291 section 2.5.5
		return g[6] != 0
	}
	return false
}

type ipv6Address struct {
	groups     [8]uint16
	compressed bool // it has a "::"
	mapped     bool // it ends in a dotted quad
	long       bool // some group has three digits or more
}

// parseIPv6 reads the forms of RFC 4291 section 2.2. It accepts what
// net/netip accepts without a zone, which would allocate.
func parseIPv6(text []byte) (a ipv6Address, ok bool) {
	n, gap := 0, -1
	i := 0
	if len(text) >= 2 && text[0] == ':' && text[1] == ':' {
		gap, i = 0, 2
	}
	for i < len(text) {
		if n == 8 {
			return a, false
		}
		start, v := i, 0
		for i < len(text) && isHex(text[i]) {
			if i-start == 4 {
				return a, false
			}
			v = v<<4 | hexValue(text[i])
			i++
		}
		if i == start {
			return a, false
		}
		if i < len(text) && text[i] == '.' {
			q, ok := parseQuad(text[start:])
			if !ok || n > 6 {
				return a, false
			}
			a.groups[n], a.groups[n+1], a.mapped = uint16(q>>16), uint16(q), true
			n += 2
			break
		}
		a.long = a.long || i-start > 2
		a.groups[n] = uint16(v)
		n++
		if i == len(text) {
			break
		}
		if text[i] != ':' {
			return a, false
		}
		if i++; i == len(text) {
			return a, false
		}
		if text[i] == ':' {
			if gap >= 0 {
				return a, false
			}
			gap = n
			i++
		}
	}
	if gap < 0 {
		return a, n == 8
	}
	if n == 8 {
		return a, false
	}
	copy(a.groups[8-(n-gap):], a.groups[gap:n])
	clear(a.groups[gap : 8-(n-gap)])
	a.compressed = true
	return a, true
}

// parseQuad reads a dotted quad that is all of text.
func parseQuad(text []byte) (q uint32, ok bool) {
	for n := range 4 {
		start := 0
		for start < len(text) && isDigit(text[start]) {
			start++
		}
		if start == 0 || start > 3 || !isOctet(text[:start]) {
			return 0, false
		}
		v := uint32(0)
		for _, c := range text[:start] {
			v = 10*v + uint32(c-'0')
		}
		q = q<<8 | v
		text = text[start:]
		if n < 3 {
			if len(text) == 0 || text[0] != '.' {
				return 0, false
			}
			text = text[1:]
		}
	}
	return q, len(text) == 0
}
