package risk

import (
	"net/netip"
	"strings"
)

// idShaped reports whether a value could be the name of one person, device or
// record: a UUID, a hash, a phone number, an e-mail address, a serial number.
// Words, versions, dates, times, positions and network addresses are not: they
// are what people share, though sometimes with few.
func idShaped(text string) bool {
	if len(text) < 6 || len(text) > 512 || strings.ContainsAny(text, " \t\r\n;/()") {
		return false
	}
	if at := strings.IndexByte(text, '@'); at > 0 && strings.IndexByte(text[at:], '.') > 0 {
		return true
	}
	letters, digits, points, dashes, colons := 0, 0, 0, 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		case c == '-':
			dashes++
		case c == ':':
			colons++
		default:
			letters++
		}
	}
	switch {
	case digits == 0:
		return letters >= 20 // a token may well have no digit
	case letters == 0:
		return points == 0 && dashes == 0 && colons == 0 && digits >= 8 && !timestamp(text)
	case dated(text):
		return false
	}
	if points > 0 || colons > 1 {
		if _, err := netip.ParseAddr(text); err == nil {
			return false
		}
	}
	return len(text) >= 8 && digits >= 2 || digits >= 4
}

// timestamp reports whether digits are a time of our days, in seconds or
// milliseconds since 1970, or a date such as 20260115.
func timestamp(digits string) bool {
	switch len(digits) {
	case 8:
		return (digits[:2] == "19" || digits[:2] == "20") && digits[4] <= '1' && digits[6] <= '3'
	case 10, 13:
		return digits[0] == '1' || digits[0] == '2' && digits[1] <= '1'
	}
	return false
}

// dated reports whether a text begins as an RFC 3339 date does.
func dated(text string) bool {
	if len(text) < 10 || text[4] != '-' || text[7] != '-' {
		return false
	}
	for _, i := range []int{0, 1, 2, 3, 5, 6, 8, 9} {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}
