package detect

// scanner is one pass over a text.
//
// It cuts the text into tokens, runs of ASCII letters and of digits, and looks
// at each when it ends: alone, and as the last of a chain of tokens that are
// joined by one byte each. What chains need is counted as they grow, so that
// no detector ever goes back over what has been read. The few that look ahead,
// from a '@', ':' or '+', look at bytes that the next of their kind does not
// look at, or at a bounded number of them.
type scanner struct {
	text []byte
	want Set
	dst  []Match
	own  int // the matches before are the caller's

	chain   [8]token // the last tokens, by count
	count   int
	lastEnd int // where the last token ended; -2 if it joins nothing

	coord   coordinate // the last decimal number
	v6      int        // what stands before needs no look for IPv6
	numeric bool       // some detector of numbers is wanted
}

// token is a run of ASCII letters, ASCII digits and full-width digits.
type token struct {
	start, end  int
	run, runEnd int   // where its digits stand, if they are one run
	n           uint8 // how many they are, at most 255; 0 if it has none or several runs
	runs        uint8 // how many runs of digits it has, at most 2
	letters     uint8 // the classes of its letters
	wide        bool  // it has full-width digits
	sep         byte  // the byte that joins it to the token before; 0: none

	dots   uint8  // how many tokens are joined before it by '.'
	octets uint8  // how many octets, joined by '.', end here
	pairs  uint8  // how many pairs of hexadecimal digits, joined alike, end here
	uuid   uint8  // how many groups of a UUID end here
	sizes  uint32 // the sizes of the groups of digits that end here and are joined alike, 4 bits each
}

func (t *token) isHex() bool { return t.letters&letter == 0 && !t.wide }

func (t *token) isDecimal() bool { return t.letters == 0 && !t.wide }

// before returns the token k tokens before the last, k < 8.
func (s *scanner) before(k int) *token { return &s.chain[(s.count-1-k)&7] }

func (s *scanner) run() {
	s.numeric = s.want&decimals != 0
	for i := 0; i < len(s.text); {
		c := class[s.text[i]]
		switch {
		case c == 0:
			i++
		case c&alnum != 0:
			i = s.token(i)
		default:
			i = s.trigger(i)
		}
	}
}

func (s *scanner) trigger(i int) int {
	switch s.text[i] {
	case '@':
		s.email(i, i+1)
	case ':':
		s.ipv6(i)
	case '+':
		s.international(i, i+1)
	case '%':
		if !s.escape(i) {
			break
		}
		if s.escaped(i, '4', '0') {
			s.email(i, i+3)
		} else if s.escaped(i, '2', 'B') {
			s.international(i, i+3)
		}
		return i + 3
	case wideLead:
		if _, ok := s.wide(i); ok {
			return s.token(i)
		}
	}
	return i + 1
}

// token reads the token at i, looks what ends with it and returns its end.
func (s *scanner) token(i int) int {
	text := s.text
	t := token{start: i}
	for i < len(text) && class[text[i]]&letters != 0 {
		t.letters |= class[text[i]]
		i++
	}
	if t.letters&letter != 0 && (i == len(text) || class[text[i]]&(digit|trigger) == 0) { // a word
		s.lastEnd = -2
		return i
	}
	inRun := false
	for i < len(text) {
		c, size := class[text[i]], 1
		if c == trigger {
			if _, ok := s.wide(i); !ok {
				break
			}
			c, size, t.wide = digit, 3, true
		}
		if c == 0 {
			break
		}
		if c != digit {
			inRun = false
			t.letters |= c
			i++
			continue
		}
		if !inRun {
			inRun = true
			t.runs = min(t.runs, 1) + 1
			t.run, t.n = i, 0
		}
		t.n = min(t.n, 254) + 1
		i += size
		t.runEnd = i
	}
	t.end = i
	if t.runs != 1 {
		t.n = 0
	}
	if t.letters&letter != 0 && t.runs == 0 { // a word
		s.lastEnd = -2
		return i
	}
	var prev *token
	if s.lastEnd+1 == t.start {
		prev = s.before(0)
		t.sep = s.text[s.lastEnd]
	}
	if t.isDecimal() && isOctet(s.text[t.start:t.end]) {
		t.octets = 1
	}
	t.join(prev)
	s.chain[s.count&7] = t
	s.count++
	s.lastEnd = t.end
	s.ended(&s.chain[(s.count-1)&7])
	return i
}

// join counts how t carries on what prev, the token joined to it or nil, is
// part of.
func (t *token) join(prev *token) {
	length := t.end - t.start
	hex := t.isHex()
	t.sizes = uint32(min(t.n, 15))
	if hex && length == 2 {
		t.pairs = 1
	}
	if hex && length == 8 {
		t.uuid = 1
	}
	if prev == nil {
		return
	}
	switch t.sep {
	case '.':
		t.dots = min(prev.dots, 200) + 1
		if t.octets > 0 {
			t.octets += min(prev.octets, 200)
		}
	case '-', ' ':
		if t.n > 0 && t.run == t.start && prev.n > 0 && prev.runEnd == prev.end {
			if prev.sep == t.sep {
				t.sizes |= prev.sizes << 4
			} else {
				t.sizes |= uint32(min(prev.n, 15)) << 4
			}
		}
	}
	if t.sep == '-' && hex && (length == 4 && 1 <= prev.uuid && prev.uuid <= 3 || length == 12 && prev.uuid == 4) {
		t.uuid = prev.uuid + 1
	}
	if (t.sep == ':' || t.sep == '-') && t.pairs > 0 && prev.pairs > 0 {
		t.pairs = 2
		if prev.sep == t.sep {
			t.pairs = min(prev.pairs, 200) + 1
		}
	}
}

// ended looks what may end with t, the last token.
func (s *scanner) ended(t *token) {
	if s.numeric && t.n > 0 && t.uuid < 5 { // the end of a UUID is no number
		if t.n >= 11 {
			s.number(t)
		}
		if t.sizes > 15 {
			s.groups(t)
		}
	}
	if t.isHex() {
		s.hexadecimal(t)
	}
	if t.dots > 0 {
		if t.octets >= 4 {
			s.ipv4(t)
		}
		if t.runs == 1 && s.want.Has(LatLng) {
			s.decimal(t)
		}
	}
}

// add notes a match, as one with those that it overlaps.
func (s *scanner) add(start, end int, kinds Set) {
	kinds &= s.want
	if kinds == 0 {
		return
	}
	for len(s.dst) > s.own {
		last := s.dst[len(s.dst)-1]
		if last.End <= start {
			break
		}
		start, end, kinds = min(start, last.Start), max(end, last.End), kinds|last.Kinds
		s.dst = s.dst[:len(s.dst)-1]
	}
	s.dst = append(s.dst, Match{start, end, kinds})
}
