package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// The members that a caller without a token may not send, whatever they say.
func TestSelfDecidesNothingAboutMinorsGuardiansOrRegistering(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "self {http.request.header.X-Verified-User}\n\t\t\ttoken "+apiToken)
	as := func(method, path, body string) reply {
		t.Helper()
		return s.do(method, path, body, "X-Verified-User", "u1", "Content-Type", "application/json")
	}
	for _, member := range []string{
		`"guardian":{"id":"g","method":"sms","purposes":["*"],"status":"granted"}`, `"guardian":{"id":"g","status":"denied"}`,
		`"guardian":null`, `"minor_until":null`, `"minor_until":"2099-01-01T00:00:00Z"`, `"register":true`,
	} {
		r := as("POST", events, `{"subject":"u1","grants":[{"purpose":"media.geotag","status":"denied"}],`+member+`}`)
		r.want(t, http.StatusForbidden, "token-needed")
		name, _, _ := strings.Cut(member, ":")
		if p := r.pointer(t); p != "/"+strings.Trim(name, `"`) {
			t.Errorf("%s: the problem points to %s", member, p)
		}
	}
	if state := as("GET", "/consent/v1/subjects/u1", "").json(t); state["version"] != 0.0 {
		t.Errorf("something was recorded: %v", state)
	}
	// Each status, and taking acceptance back, are everyone's own to decide.
	for _, member := range []string{
		`"policy_version":"2022-03-09","accept_policy":true`, `"accept_policy":false`, `"accept_policy":false,"register":false`,
		`"policy_version":"2022-03-09","grants":[{"purpose":"media.geotag","status":"granted"}]`,
		`"grants":[{"purpose":"media.geotag","status":"denied"}]`, `"grants":[{"purpose":"media.geotag","status":"withdrawn"}]`,
	} {
		as("POST", events, `{"subject":"u1",`+member+`}`).want(t, http.StatusCreated, "")
	}
	// A cancelled account is registered anew with a token alone.
	as("DELETE", "/consent/v1/subjects/u1", "").want(t, http.StatusOK, "")
	const register = `{"subject":"u1","register":true}`
	as("POST", events, register).want(t, http.StatusForbidden, "token-needed")
	as("GET", "/consent/v1/subjects/u1/ledger", "").want(t, http.StatusOK, "")
	// A token opens everything, also in the hands of someone who is known.
	s.call("POST", events, register, "X-Verified-User", "u2").want(t, http.StatusCreated, "")
}

func TestSelfMayBeADevice(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "self {http.request.header.X-Verified-Device} device")
	as := func(method, path, body string) reply {
		t.Helper()
		return s.do(method, path, body, "X-Verified-Device", "d1", "Content-Type", "application/json")
	}
	as("POST", events, `{"subject":"d1","kind":"device","accept_policy":false}`).want(t, http.StatusCreated, "")
	as("GET", "/consent/v1/subjects/d1?kind=device", "").want(t, http.StatusOK, "")
	as("POST", events, `{"subject":"d1","accept_policy":false}`).want(t, http.StatusForbidden, "not-yours")
	as("GET", "/consent/v1/subjects/d1", "").want(t, http.StatusForbidden, "not-yours")
	as("GET", "/consent/v1/subjects/d2/ledger?kind=device", "").want(t, http.StatusForbidden, "not-yours")
	as("GET", "/consent/v1/subjects/d2/receipt?kind=device", "").want(t, http.StatusForbidden, "not-yours")
	as("DELETE", "/consent/v1/subjects/d1?kind=device", "").want(t, http.StatusOK, "")
	// Without a token in the Caddyfile none opens anything.
	s.do("GET", "/consent/v1/subjects/d1?kind=device", "", "Authorization", "Bearer "+apiToken).want(t, http.StatusUnauthorized, "unauthenticated")
}

// What an app shows before it asks, and what it hands out afterwards.
func TestTheReceiptAndThePolicyNameEverything(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	s.call("POST", events, `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true,
		"grants":[{"purpose":"sdk.amap","recipient":"amap","status":"granted"},{"purpose":"media.geotag","status":"withdrawn"}],
		"minor_until":"2099-01-01T00:00:00Z"}`).want(t, http.StatusCreated, "")
	receipt := s.call("GET", "/consent/v1/subjects/u1/receipt", "").json(t)
	for _, member := range []string{
		"schema_version", "record_id", "pii_principal_id", "privacy_notice", "language", "issued_at", "pii_controllers",
		"jurisdiction", "storage_locations", "retention_period", "withdrawal_method", "policy_acceptance", "minor", "purposes", "recipient_third_parties",
	} {
		if v := receipt[member]; v == nil || v == "" {
			t.Errorf("the receipt has no %s", member)
		}
	}
	if _, due := receipt["request"]; due {
		t.Error("a receipt that nobody verified states when it is due")
	}
	states := make(map[string]string)
	for _, p := range receipt["purposes"].([]any) {
		purpose := p.(map[string]any)
		for _, member := range []string{"purpose", "title", "lawful_basis", "pii_information", "recipient_third_parties"} {
			if purpose[member] == nil {
				t.Errorf("the purpose %v has no %s", purpose["purpose"], member)
			}
		}
		for _, e := range purpose["events"].([]any) {
			event := e.(map[string]any)
			if event["recipient"] == nil || event["recipient"] == "amap" {
				states[purpose["purpose"].(string)], _ = event["event_state"].(string)
			}
		}
	}
	if states["sdk.amap"] != "ConsentGiven" || states["media.geotag"] != "ConsentWithdrawn" || states["account.profile"] != "ConsentUnknown" {
		t.Errorf("states %v", states)
	}

	policy := s.call("GET", "/consent/v1/policy", "").json(t)
	purposes := make(map[any]bool)
	for _, u := range policy["purposes"].([]any) {
		purposes[u.(map[string]any)["id"]] = true
	}
	recipients := policy["recipients"].([]any)
	if len(recipients) < 10 || len(purposes) < 20 {
		t.Fatalf("%d recipients, %d purposes", len(recipients), len(purposes))
	}
	for _, r := range recipients {
		recipient := r.(map[string]any)
		title, _ := recipient["title"].(map[string]any)
		if title["zh"] == nil || title["zh"] == "" || title["en"] == nil || title["en"] == "" {
			t.Errorf("the recipient %v has no title", recipient["id"])
		}
		for _, p := range recipient["purposes"].([]any) {
			if !purposes[p] {
				t.Errorf("the recipient %v has the purpose %v, which is not listed", recipient["id"], p)
			}
		}
	}
}
