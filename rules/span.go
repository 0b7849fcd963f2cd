package rules

import (
	"strconv"
	"time"
)

// spanOf reads "24h" or "90d". What is no span was told already, and is zero.
func spanOf(w word) time.Duration {
	if !span.re.MatchString(w.s) {
		return 0
	}
	n, err := strconv.Atoi(w.s[:len(w.s)-1])
	if err != nil {
		return 0
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	return time.Duration(n) * unit[w.s[len(w.s)-1]]
}

// inSpan checks that a span lies within bounds, which are also given as text.
func (c *checker) inSpan(w word, what string, least, most time.Duration, bounds string) bool {
	if !span.re.MatchString(w.s) {
		return false // told already
	}
	if d := spanOf(w); d < least || d > most {
		c.j.add(w.at, "%s cannot be %s: write %s", what, w.s, bounds)
		return false
	}
	return true
}
