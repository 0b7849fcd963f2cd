package caddymodule

import (
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
)

// boundCaddyfile has a gate and the API, and the secret @SECRET@.
const boundCaddyfile = `{
	consent {
		policy liaoxiaobang
		secret @SECRET@
		store @STORE@
	}
}
http://:@PORT@ {
	handle /consent/* {
		consent_api {
			token ` + apiToken + `
		}
	}
	handle {
		consent_gate backend {
			subject {http.request.header.X-User-ID}
		}
		reverse_proxy @UPSTREAM@
	}
}
`

func bound(store, secret string) string {
	return strings.NewReplacer("@STORE@", store, "@SECRET@", secret).Replace(boundCaddyfile)
}

const (
	oneSecret     = "0123456789abcdef0123456789abcdef"
	anotherSecret = "fedcba9876543210fedcba9876543210"
)

func TestAnEmbeddedStoreOfAnotherSecretIsNotStarted(t *testing.T) {
	delay := releaseDelay
	t.Cleanup(func() { releaseDelay = delay })
	releaseDelay = 0
	s := startCaddy(t, bound("embedded @DATA@/store", oneSecret))
	s.call("POST", "/consent/v1/events", `{"subject":"u1","grants":[{"purpose":"media.geotag","status":"denied"}]}`).want(t, 201, "")

	// Neither beside the one that runs, which goes on...
	err := s.reload(bound("embedded @DATA@/store", anotherSecret))
	if err == nil || !strings.Contains(err.Error(), "belongs to another root secret") || !strings.Contains(err.Error(), s.Data) {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(err.Error(), anotherSecret) || strings.Contains(err.Error(), oneSecret) {
		t.Errorf("a secret is repeated: %v", err)
	}
	if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["known"] != true {
		t.Errorf("state %v", state)
	}
	// ... nor after it.
	key := configuredApp(t).store.Key()
	if err := s.reload("http://:@PORT@ {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is closed", func() bool { _, open := openStores.References(key); return !open })
	if err := s.reload(bound("embedded @DATA@/store", anotherSecret)); err == nil || !strings.Contains(err.Error(), "belongs to another root secret") {
		t.Fatalf("error %v", err)
	}
	if _, open := openStores.References(key); open {
		t.Error("the store that was refused is still open")
	}
	if err := s.reload(bound("embedded @DATA@/store", oneSecret)); err != nil {
		t.Fatal(err)
	}
	if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["known"] != true {
		t.Errorf("state %v", state)
	}
}

func TestARedisOfAnotherSecretIsNotBelieved(t *testing.T) {
	for name, away := range map[string]bool{"there at the start": false, "away at the start": true} {
		t.Run(name, func(t *testing.T) {
			r := redistest.Start(t)
			one, err := consent.NewIdentifier([]byte(oneSecret))
			if err != nil {
				t.Fatal(err)
			}
			op := redis.NewClient(&redis.Options{Addr: r.Addr})
			defer op.Close()
			if err := op.Set(t.Context(), "consent:check", one.Check(), 0).Err(); err != nil {
				t.Fatal(err)
			}
			if away {
				r.Stop()
			}
			s := startCaddy(t, bound("redis "+r.Addr, anotherSecret))
			r.Restart()
			s.waitForLog("changes of consent reach the cache")

			for range 2 {
				s.call("GET", "/consent/v1/subjects/u1", "").want(t, http.StatusServiceUnavailable, "store-unavailable")
				s.call("POST", "/consent/v1/events", `{"subject":"u1","accept_policy":false}`).want(t, http.StatusServiceUnavailable, "store-unavailable")
				s.do("POST", "/", `{"note":"n"}`, "Content-Type", "application/json", "X-User-ID", "u1").want(t, http.StatusServiceUnavailable, "store-unavailable")
			}
			if n := len(s.upstream.requests()); n > 0 {
				t.Errorf("%d requests went upstream", n)
			}
			s.waitForLog("the store belongs to another root secret; give the one that its data were recorded under")
			if keys := op.Keys(t.Context(), "consent:{*").Val(); len(keys) > 0 {
				t.Errorf("written: %q", keys)
			}

			if err := s.reload(bound("redis "+r.Addr, oneSecret)); err != nil {
				t.Fatal(err)
			}
			s.call("POST", "/consent/v1/events", `{"subject":"u1","accept_policy":false}`).want(t, http.StatusCreated, "")
		})
	}
}

func TestTheFirstGatewayBindsTheStore(t *testing.T) {
	r := redistest.Start(t)
	s := startCaddy(t, bound("redis "+r.Addr, oneSecret))
	s.call("GET", "/consent/v1/subjects/u1", "").want(t, http.StatusOK, "")
	op := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer op.Close()
	// The form that the documentation gives.
	const want = "RN1cgySaomEH3kXoLR_edA"
	if got := op.Get(t.Context(), "consent:check").Val(); got != want {
		t.Errorf("consent:check is %q, want %q", got, want)
	}
}
