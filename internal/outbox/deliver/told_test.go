package deliver

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func containsCanary(s string) bool { return strings.Contains(s, "canary") }

// A partner that is down for a night is some lines, and none of them tells what
// was sent, what was answered, or a secret.
func TestANightIsSomeLinesThatTellNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.partner.URLs = []string{"http://canary-user:canary-password@partner.test/canary-path?token=canary-query"}
		w.partner.Header = http.Header{"X-Api-Key": {"canary-header"}}
		up, n := false, 0
		w.serve(func(rw http.ResponseWriter, p posted) int {
			w.mu.Lock()
			defer w.mu.Unlock()
			n++
			switch {
			case up && strings.Contains(p.body, "poison"):
				return 422
			case up:
				return 200
			case n%3 == 0:
				panic(http.ErrAbortHandler)
			case n%3 == 1:
				rw.Header().Set("Location", "http://canary-location.test/")
				return 302
			}
			return 500
		})
		for p := range outbox.Partitions {
			w.append(subjectIn(p, 0), `"canary-body"`, `"canary-poison"`)
		}
		w.start()
		time.Sleep(12 * time.Hour)
		w.mu.Lock()
		up = true
		w.mu.Unlock()
		w.drain()
		for range 3 { // of which there is nothing to say
			time.Sleep(time.Hour)
			w.append("s", `"canary-body"`)
			w.drain()
		}
		lines := w.logs.All()
		if len(lines) < 12 || len(lines) > 250 {
			t.Errorf("%d lines for %d POSTs", len(lines), len(w.got()))
		}
		kinds := map[string]int{}
		for _, l := range lines {
			kinds[l.Message]++
			if text := l.Message + string(mustJSON(l.ContextMap())); containsCanary(text) {
				t.Errorf("told: %s", text)
			}
			if l.ContextMap()["partner"] != "adx" {
				t.Errorf("a line does not name the partner: %v", l)
			}
		}
		if kinds["records became dead letters"] != 1 || kinds["the partner takes records"] != 1 {
			t.Error(kinds)
		}
		if w.seen.now().dead[422] != outbox.Partitions || w.seen.now().delivered != outbox.Partitions+3 || w.seen.now().waited < 12*time.Hour {
			t.Error(w.seen)
		}
	})
}
