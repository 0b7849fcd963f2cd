package redistest

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// SetUsers gives a server the users of an ACL file (lines of "user NAME RIGHT…"),
// each with the password "secret", and takes the default user away. One more,
// "operator", may do everything. A server that has restarted has forgotten them.
func SetUsers(t testing.TB, addr, acl string) {
	t.Helper()
	op := redis.NewClient(&redis.Options{Addr: addr})
	defer op.Close()
	for line := range strings.Lines(acl + "user operator on +@all ~* &*\n") {
		args := []any{"acl", "setuser"}
		for _, word := range aclWords(strings.TrimSpace(strings.TrimPrefix(line, "user "))) {
			args = append(args, word)
		}
		if err := op.Do(t.Context(), append(args, ">secret")...).Err(); err != nil {
			t.Fatalf("redistest: ACL line %q: %v", line, err)
		}
	}
	if err := op.Do(t.Context(), "acl", "setuser", "default", "off").Err(); err != nil {
		t.Fatal(err)
	}
}

// aclWords splits a line as Redis does: a selector in parentheses is one word.
func aclWords(line string) (words []string) {
	open := false
	for _, w := range strings.Fields(line) {
		if open {
			words[len(words)-1] += " " + w
		} else {
			words = append(words, w)
		}
		open = strings.HasPrefix(words[len(words)-1], "(") && !strings.HasSuffix(w, ")")
	}
	return words
}
