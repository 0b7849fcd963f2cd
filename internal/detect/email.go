package detect

// The longest parts of an address, RFC 5321 section 4.5.3.1.
const (
	maxLocal  = 64
	maxDomain = 253
	maxLabel  = 63
)

// email looks at the address around an at sign that stands at at, with the
// domain beginning at host.
//
// Of the local part's characters (RFC 5322 atext) those count that people use,
// since the others, '=' and '/' and '&', more often stand before an address
// than in it.
func (s *scanner) email(at, host int) {
	if !s.want.Has(Email) {
		return
	}
	end := s.domain(host)
	if end == 0 {
		return
	}
	start := at
	for start > 0 && at-start < maxLocal && isLocal(s.text[start-1]) {
		start--
	}
	if s.at(start-1) == '%' && at-start > 2 && s.escape(start-1) {
		start += 2
	}
	for start < at && !isAlnum(s.text[start]) && s.text[start] != '_' {
		start++
	}
	if start < at && s.text[at-1] != '.' {
		s.add(start, end, 1<<Email)
	}
}

func isLocal(c byte) bool {
	return isAlnum(c) || c == '.' || c == '_' || c == '-' || c == '+' || c == '\''
}

// domain returns the end of the domain at host, 0 if there is none: two labels
// or more, the last of letters.
func (s *scanner) domain(host int) int {
	end, numbers, labels := 0, 0, 0
	for i := host; i-host <= maxDomain; i++ {
		start, letters, decimal := i, 0, 0
		for ; i < len(s.text) && i-start <= maxLabel; i++ {
			c := s.text[i]
			if isDigit(c) {
				decimal++
			} else if isAlnum(c) {
				letters++
			} else if c != '-' {
				break
			}
		}
		if i == start || s.text[start] == '-' || i-start > maxLabel || i-host > maxDomain {
			break
		}
		labels++
		if decimal == i-start {
			numbers++
		}
		last := i
		for s.text[last-1] == '-' {
			last--
		}
		if labels > 1 && isTopLevel(s.text[start:last]) {
			end = last
		}
		if s.at(i) != '.' || last != i {
			break
		}
	}
	if numbers > 1 || end > 0 && isFile(s.text[host:end]) {
		return 0 // package@1.2.3-beta.rc
	}
	return end
}

// isTopLevel looks at a label: two letters or more, or the ASCII form of a
// name in another script.
func isTopLevel(label []byte) bool {
	if len(label) > 4 && string(label[:4]) == "xn--" {
		return true
	}
	for _, c := range label {
		if !isAlnum(c) || isDigit(c) {
			return false
		}
	}
	return len(label) >= 2
}

// isFile reports whether what looks like a domain ends like the name of a
// file, such as logo@2x.png. None of these is a top-level domain.
func isFile(domain []byte) bool {
	i := len(domain)
	for domain[i-1] != '.' {
		i--
	}
	switch string(domain[i:]) {
	case "png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "css", "js", "json", "html", "htm", "xml", "php", "jsp":
		return true
	}
	return false
}
