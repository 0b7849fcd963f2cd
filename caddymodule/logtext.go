package caddymodule

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// withheld stands in logs where something was taken out.
const withheld = "…"

// scrubText takes out of a message or an error what may belong to a person:
// the query and the password of a URL, subject ids in the paths of the consent
// API, IP addresses, and bytes of an answer that is no HTTP.
func scrubText(s string) string { return scrubAddresses(scrubURLs(s)) }

// scrubURLs is scrubText without the addresses.
func scrubURLs(s string) string {
	s = quotedAnswer.ReplaceAllString(s, "${1}"+withheld)
	if strings.Contains(s, "@") {
		s = userinfo.ReplaceAllString(s, "${1}"+withheld+"@")
	}
	s = scrubQueries(s)
	if strings.Contains(strings.ToLower(s), "/subjects/") {
		s = subjectPath.ReplaceAllString(s, "${1}{id}")
	}
	return s
}

// quotedAnswer is what net/http and its like quote of what a server sent that is no
// HTTP: an upstream or a partner may send back what it was sent.
var quotedAnswer = regexp.MustCompile(`(?s)(Unsolicited response received on idle HTTP channel starting with |malformed (?:HTTP|MIME|chunked)[a-z -]*:? )"?.+`)

var (
	userinfo    = regexp.MustCompile(`(://)[^\s/@"]+@`)
	subjectPath = regexp.MustCompile(`(?i)(/subjects/)[^\s"']+`)
)

// scrubQueries cuts every query: what follows a '?' without a space between
// them, up to white space or a closing quote.
func scrubQueries(s string) string {
	at := strings.IndexByte(s, '?')
	if at < 0 {
		return s
	}
	var b strings.Builder
	for at >= 0 {
		b.WriteString(s[:at+1])
		s = s[at+1:]
		n := queryEnd(s)
		if n > 0 {
			b.WriteString(withheld)
		}
		s = s[n:]
		at = strings.IndexByte(s, '?')
	}
	b.WriteString(s)
	return b.String()
}

// queryEnd returns where the query that s starts with ends. A quote ends it
// only where a sentence goes on after the quote: one within the query is part
// of it.
func queryEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\r', '\n':
			return i
		case '"', '\'', '`':
			escaped := i > 0 && s[i-1] == '\\'
			if !escaped && (i+1 == len(s) || strings.IndexByte(" \t\r\n:,;)]}", s[i+1]) >= 0) {
				return i
			}
		}
	}
	return len(s)
}

// scrubURI returns the path of a request's URI. What stands below /consent/
// names a subject and is told only as far as it is one of the API's own words.
func scrubURI(uri string) string {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	uri = userinfo.ReplaceAllString(uri, "${1}"+withheld+"@")
	plain, err := url.PathUnescape(uri)
	if err != nil {
		plain = uri
	}
	i := strings.Index(strings.ToLower(plain), "/consent/")
	if i < 0 {
		return withoutIDs(uri)
	}
	return plain[:i] + apiTemplate(strings.Split(plain[i+1:], "/"))
}

// apiTemplate renders the segments of a path of the consent API with {id} and
// {device} for what is not the API's own.
func apiTemplate(segments []string) string {
	words := [][]string{
		{"consent"}, {"v1"}, {"events", "policy", "subjects"}, {"{id}"},
		{"ledger", "receipt", "links"}, {"{device}"},
	}
	var b strings.Builder
	for i, seg := range segments {
		b.WriteByte('/')
		if i >= len(words) {
			b.WriteString(withheld)
			break
		}
		word := words[i][0]
		for _, w := range words[i] {
			if w == seg {
				word = w
			}
		}
		if word != seg && !strings.HasPrefix(word, "{") {
			// no word of the API's: what follows may be anything
			b.WriteString(withheld)
			break
		}
		b.WriteString(word)
	}
	return b.String()
}

// scrubAddresses masks IP addresses, with their ports, save loopback ones and
// those that were dialled or listened on: they are the operator's own.
func scrubAddresses(s string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); {
		if !addressByte(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && addressByte(s[j]) {
			j++
		}
		start, end := trimAddress(s, i, j)
		if personalAddress(s[start:end]) && !ownAddress(s[:start]) {
			b.WriteString(s[done:start])
			b.WriteString(withheld)
			done = end
		}
		i = j
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

func addressByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' ||
		c == ':' || c == '.' || c == '[' || c == ']'
}

// trimAddress leaves out the punctuation of the sentence around an address.
func trimAddress(s string, i, j int) (int, int) {
	for j > i && (s[j-1] == '.' || s[j-1] == ':' && !strings.HasSuffix(s[i:j], "::")) {
		j--
	}
	for i < j && s[i] == '.' {
		i++
	}
	if j-i > 2 && s[i] == '[' && s[j-1] == ']' {
		return i + 1, j - 1
	}
	return i, j
}

func personalAddress(s string) bool {
	if len(s) < 3 {
		return false
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return false
		}
		addr = ap.Addr()
	}
	addr = addr.Unmap()
	return !addr.IsLoopback() && !addr.IsUnspecified()
}

// ownAddress reports whether what stands before an address says that the
// operator's configuration named it.
func ownAddress(before string) bool {
	words := strings.Fields(before)
	if n := len(words); n >= 2 && strings.HasSuffix(before, " ") {
		verb := words[n-2]
		return verb == "dial" || verb == "listen" || verb == "lookup"
	}
	return false
}

// withholdPanic takes the value of a panic out of the message with which
// net/http reports it: a handler may panic with anything in hand. What the
// runtime says of its own errors stays.
func withholdPanic(msg string) string {
	const prefix = "http: panic serving "
	rest, ok := strings.CutPrefix(msg, prefix)
	if !ok {
		return msg
	}
	_, value, _ := strings.Cut(rest, ": ")
	stack := ""
	if i := strings.Index(value, "\ngoroutine "); i >= 0 {
		value, stack = value[:i], value[i:]
	}
	if !strings.HasPrefix(value, "runtime error: ") {
		value = "(value withheld)"
	}
	return "http: panic serving a request: " + value + stack
}
