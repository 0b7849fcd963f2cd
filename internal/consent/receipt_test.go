package consent

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What has no elements is an empty array: a client that loops over it must not
// stumble.
func TestAListInAReceiptIsNeverNull(t *testing.T) {
	state := State{Version: 1, Grants: map[GrantKey]Grant{{Purpose: "gone"}: {Status: Granted, Version: "1"}}}
	for name, n := range map[string]Notice{
		"nothing":     {},
		"a necessity": {Purposes: []NoticePurpose{{ID: "p", Basis: "necessary"}}},
	} {
		b, err := json.Marshal(NewReceipt("u", User, state, n, time.Unix(1e9, 0), time.Time{}))
		if err != nil {
			t.Fatal(err)
		}
		if rest := strings.ReplaceAll(string(b), `"event_time":null`, ""); strings.Contains(rest, "null") {
			t.Errorf("%s: %s", name, b)
		}
	}
}
