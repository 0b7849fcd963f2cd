package caddymodule

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
)

// events is where decisions are recorded.
const events = "/consent/v1/events"

// pointer is the member that an invalid event's problem points to.
func (r reply) pointer(t *testing.T) string {
	t.Helper()
	errs, _ := r.json(t)["errors"].([]any)
	if len(errs) != 1 {
		t.Fatalf("errors %v", errs)
	}
	p, _ := errs[0].(map[string]any)["pointer"].(string)
	return p
}

// ledgerOf returns a subject's whole ledger, verified.
func (s *server) ledgerOf(path string) []consent.Entry {
	s.t.Helper()
	path, query, _ := strings.Cut(path, "?")
	var page struct{ Entries []json.RawMessage }
	if err := json.Unmarshal(s.call("GET", path+"/ledger?limit=1000&"+query, "").Body, &page); err != nil {
		s.t.Fatal(err)
	}
	var entries []consent.Entry
	for _, raw := range page.Entries {
		e, err := consent.DecodeEntry(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := consent.VerifyChain(entries); err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// salt is what a subject's pseudonyms are made with. The API does not show it.
func (s *server) salt(kind consent.Kind, id string) string {
	s.t.Helper()
	app := configuredApp(s.t)
	digest, _ := app.Identifier().Identify(kind, id)
	subject := consent.Subject{User: digest}
	if kind == consent.Device {
		subject = consent.Subject{Device: digest}
	}
	v, err := app.Cache().Get(s.t.Context(), subject)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(v.Salt)
}

func TestAbsentMembersChangeNothingAndNullTakesBack(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		s.call("POST", events, `{"subject":"u1","policy_version":"2022-03-09","accept_policy":true,
			"grants":[{"purpose":"account.profile","status":"granted"}],"minor_until":"2099-01-01T00:00:00Z",
			"guardian":{"id":"`+canary+`","method":"sms","purposes":["*"],"status":"granted","expires_at":"2098-01-01T00:00:00Z"}}`).want(t, 201, "")
		s.call("POST", events, `{"subject":"u1","grants":[{"purpose":"media.geotag","status":"denied"}]}`).want(t, 201, "")
		r := s.call("GET", "/consent/v1/subjects/u1", "")
		state := r.json(t)
		guardian, _ := state["guardian"].(map[string]any)
		if state["policy_version"] != "2022-03-09" || state["minor_until"] != "2099-01-01T00:00:00Z" ||
			guardian["status"] != "granted" || guardian["method"] != "sms" || fmt.Sprint(guardian["purposes"]) != "[*]" ||
			guardian["expires_at"] != "2098-01-01T00:00:00Z" ||
			!strings.Contains(fmt.Sprint(state["grants"]), "purpose:account.profile recipient:<nil> status:granted") ||
			!strings.Contains(fmt.Sprint(state["grants"]), "purpose:media.geotag recipient:<nil> status:denied") {
			t.Errorf("state %s", r.Body)
		}

		// A guardian's no needs no purposes, and then has an empty list of them.
		s.call("POST", events, `{"subject":"u1","guardian":{"id":"g","status":"withdrawn"}}`).want(t, 201, "")
		if r := s.call("GET", "/consent/v1/subjects/u1", ""); !strings.Contains(string(r.Body), `"guardian":{"method":"","purposes":[],"status":"withdrawn","expires_at":null}`) {
			t.Errorf("state %s", r.Body)
		}

		s.call("POST", events, `{"subject":"u1","accept_policy":false,"minor_until":null,"guardian":null}`).want(t, 201, "")
		state = s.call("GET", "/consent/v1/subjects/u1", "").json(t)
		acceptance, _ := state["acceptance"].(map[string]any)
		if state["policy_version"] != nil || state["minor_until"] != nil || state["guardian"] != nil || acceptance["status"] != "withdrawn" ||
			!strings.Contains(fmt.Sprint(state["grants"]), "purpose:account.profile recipient:<nil> status:granted") {
			t.Errorf("state %v", state)
		}
		// The guardian's id is a digest wherever it may be read.
		for _, e := range s.ledgerOf("/consent/v1/subjects/u1") {
			if strings.Contains(string(e.Event), canary) {
				t.Errorf("the ledger holds the guardian's id: %s", e.Event)
			}
		}
		if strings.Contains(string(r.Body), canary) || strings.Contains(s.logs(), canary) {
			t.Error("the guardian's id is repeated")
		}
	})
}

func TestADowngradeIsRefused(t *testing.T) {
	s := startWithPolicy(t, samplePolicy("2025-01-01", ""))
	const accept = `{"subject":"u1","policy_version":%q,"accept_policy":true}`
	s.call("POST", events, fmt.Sprintf(accept, "2024-01-01")).want(t, 201, "")
	s.call("POST", events, fmt.Sprintf(accept, "2025-01-01")).want(t, 201, "")
	for name, event := range map[string]string{
		"accepting":                 fmt.Sprintf(accept, "2024-01-01"),
		"granting":                  `{"subject":"u1","policy_version":"2024-01-01","grants":[{"purpose":"service.operate","status":"granted"}]}`,
		"accepting without version": `{"subject":"u1","accept_policy":true}`,
		"a version to come":         fmt.Sprintf(accept, "2026-01-01"),
	} {
		r := s.call("POST", events, event)
		r.want(t, 422, "invalid-event")
		if p := r.pointer(t); p != "/policy_version" {
			t.Errorf("%s: the problem points to %s", name, p)
		}
	}
	// To withdraw is possible under whatever version.
	s.call("POST", events, `{"subject":"u1","policy_version":"2024-01-01","grants":[{"purpose":"service.operate","status":"withdrawn"}]}`).want(t, 201, "")
	if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["policy_version"] != "2025-01-01" || state["version"] != 3.0 {
		t.Errorf("state %v", state)
	}
}

func TestWhatThePolicyDoesNotAllowIsPointedTo(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	const version = `{"subject":"u1","policy_version":"2022-03-09",`
	for name, c := range map[string]struct{ event, pointer string }{
		"nothing":                    {`{"subject":"u1"}`, ""},
		"an id of nobody":            {`{"subject":"null","accept_policy":false}`, "/subject"},
		"a kind":                     {`{"subject":"u1","kind":"person","accept_policy":false}`, "/kind"},
		"the reserved purpose":       {version + `"grants":[{"purpose":"policy","status":"granted"}]}`, "/grants/0/purpose"},
		"a separate purpose, whole":  {version + `"grants":[{"purpose":"sdk.amap","status":"granted"}]}`, "/grants/0/recipient"},
		"a whole purpose, in part":   {version + `"grants":[{"purpose":"media.geotag","recipient":"amap","status":"granted"}]}`, "/grants/0/recipient"},
		"all clients at once":        {version + `"grants":[{"purpose":"third_party.profile","recipient":"open_platform","status":"granted"}]}`, "/grants/0/recipient"},
		"a past expiry":              {version + `"grants":[{"purpose":"media.geotag","status":"granted","expires_at":"2001-01-01T00:00:00Z"}]}`, "/grants/0/expires_at"},
		"an answer twice":            {version + `"grants":[{"purpose":"media.geotag","status":"granted"},{"purpose":"media.geotag","status":"denied"}]}`, "/grants/1"},
		"a guardian of no method":    {`{"subject":"u1","guardian":{"id":"g","purposes":["*"],"status":"granted"}}`, "/guardian/method"},
		"a guardian of no purpose":   {`{"subject":"u1","guardian":{"id":"g","method":"sms","status":"granted"}}`, "/guardian/purposes"},
		"a guardian's other purpose": {`{"subject":"u1","guardian":{"id":"g","method":"sms","purposes":["x"],"status":"granted"}}`, "/guardian/purposes/0"},
		"a guardian who is nobody":   {`{"subject":"u1","guardian":{"id":"0","method":"sms","purposes":["*"],"status":"granted"}}`, "/guardian/id"},
		"a guardian's past expiry":   {`{"subject":"u1","guardian":{"id":"g","method":"sms","purposes":["*"],"status":"granted","expires_at":"2001-01-01T00:00:00Z"}}`, "/guardian/expires_at"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.call("POST", events, c.event)
			r.want(t, 422, "invalid-event")
			if p := r.pointer(t); p != c.pointer {
				t.Errorf("the problem points to %q, want %q: %s", p, c.pointer, r.Body)
			}
		})
	}
	if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["version"] != 0.0 {
		t.Errorf("something was recorded: %v", state)
	}
	for _, event := range []string{ // and what it does allow
		version + `"grants":[{"purpose":"third_party.profile","recipient":"open_platform:c1","status":"granted"}]}`,
		version + `"grants":[{"purpose":"cross_border","recipient":"measure_overseas","status":"granted"}]}`,
		`{"subject":"u1","guardian":{"id":"g","status":"denied"}}`,
		`{"subject":"u1","grants":[{"purpose":"third_party.profile","status":"withdrawn"}]}`,
	} {
		s.call("POST", events, event).want(t, 201, "")
	}
}

func TestADeviceDecidesForItself(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		s.call("POST", events, `{"subject":"x1","kind":"device","policy_version":"2022-03-09","accept_policy":true}`).want(t, 201, "")
		if state := s.call("GET", "/consent/v1/subjects/x1", "").json(t); state["known"] != false || state["kind"] != "user" {
			t.Errorf("the user of that id: %v", state)
		}
		const device = "/consent/v1/subjects/x1?kind=device"
		state := s.call("GET", device, "").json(t)
		if state["known"] != true || state["kind"] != "device" {
			t.Errorf("the device: %v", state)
		}
		if n := len(s.ledgerOf(device)); n != 1 {
			t.Errorf("%d entries", n)
		}
		receipt := s.call("GET", "/consent/v1/subjects/x1/receipt?kind=device", "").json(t)
		if receipt["pii_principal_kind"] != "device" || receipt["pii_principal_id"] != state["subject"] {
			t.Errorf("receipt %v", receipt)
		}

		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"x1"}`).want(t, 201, "")
		s.call("DELETE", device, "").want(t, 200, "")
		s.call("DELETE", device, "").want(t, 410, "cancelled")
		s.call("POST", events, `{"subject":"x1","kind":"device","accept_policy":false}`).want(t, 410, "cancelled")
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"x1"}`).want(t, 410, "cancelled")
		user := s.call("GET", "/consent/v1/subjects/u1", "").json(t)
		if user["known"] != true || fmt.Sprint(user["links"]) != "[]" {
			t.Errorf("its user: %v", user)
		}
	})
}

// Cancelling takes along what is linked to nobody else, and leaves what others
// use, the tombstone and the proof.
func TestCancellingAUserErasesTheDevicesOfNobodyElse(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		const grant = `{"subject":%q,"kind":%q,"policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"media.geotag","status":"granted"}]%s}`
		for _, user := range []string{"u1", "u2"} {
			s.call("POST", events, fmt.Sprintf(grant, user, "user", "")).want(t, 201, "")
		}
		for _, device := range []string{"own", "shared"} {
			s.call("POST", events, fmt.Sprintf(grant, device, "device", "")).want(t, 201, "")
			s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"`+device+`"}`).want(t, 201, "")
		}
		s.call("POST", "/consent/v1/subjects/u2/links", `{"device":"shared"}`).want(t, 201, "")
		before := map[string]string{"u1": s.salt(consent.User, "u1"), "own": s.salt(consent.Device, "own"), "shared": s.salt(consent.Device, "shared")}
		for name, salt := range before {
			if salt == "" {
				t.Errorf("%s has no salt", name)
			}
		}

		s.call("DELETE", "/consent/v1/subjects/u1", "").want(t, 200, "")
		state := s.call("GET", "/consent/v1/subjects/u1", "").json(t)
		if state["cancelled"] != true || fmt.Sprint(state["grants"], state["links"]) != "[] []" || state["acceptance"] != nil {
			t.Errorf("the user: %v", state)
		}
		own := s.call("GET", "/consent/v1/subjects/own?kind=device", "").json(t)
		if own["cancelled"] != false || fmt.Sprint(own["grants"], own["links"]) != "[] []" || own["policy_version"] != nil {
			t.Errorf("the device of its own: %v", own)
		}
		shared := s.call("GET", "/consent/v1/subjects/shared?kind=device", "").json(t)
		if len(shared["grants"].([]any)) != 1 || len(shared["links"].([]any)) != 1 || shared["policy_version"] != "2022-03-09" {
			t.Errorf("the shared device: %v", shared)
		}
		if s.salt(consent.User, "u1") != "" || s.salt(consent.Device, "own") != "" || s.salt(consent.Device, "shared") != before["shared"] {
			t.Error("a salt is left, or one is gone that others need")
		}
		// The proof stays: every entry, and the receipt.
		if ledger := s.ledgerOf("/consent/v1/subjects/u1"); len(ledger) != 4 || ledger[3].Type != consent.EntryCancel || ledger[0].Type != consent.EntryDecision {
			t.Errorf("ledger %+v", ledger)
		}
		if receipt := s.call("GET", "/consent/v1/subjects/u1/receipt", "").json(t); receipt["cancelled"] != true {
			t.Errorf("receipt %v", receipt)
		}
		// Its links are gone already, and a refusal of nothing is no error.
		s.call("DELETE", "/consent/v1/subjects/u1/links/own", "").want(t, 204, "")

		s.call("POST", events, `{"subject":"u1","register":true,"grants":[{"purpose":"nosuch","status":"denied"}]}`).want(t, 422, "invalid-event")
		s.call("POST", events, fmt.Sprintf(grant, "u1", "user", `,"register":true`)).want(t, 201, "")
		if salt := s.salt(consent.User, "u1"); salt == "" || salt == before["u1"] {
			t.Error("registering anew gave no new salt")
		}
		if ledger := s.ledgerOf("/consent/v1/subjects/u1"); ledger[len(ledger)-1].Type != consent.EntryRegister {
			t.Errorf("ledger %+v", ledger)
		}
		s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"own"}`).want(t, 201, "")
	})
}

func TestAnIdempotencyKeyRecordsOneEventOfOneSubject(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		s := startAPI(t, store, "token "+apiToken)
		const event = `{"subject":%q,"policy_version":"2022-03-09","accept_policy":true}`
		const callers = 8
		replies := make([]reply, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { replies[i] = s.call("POST", events, fmt.Sprintf(event, "u1"), "Idempotency-Key", canary) })
		}
		wg.Wait()
		replayed := 0
		for _, r := range replies {
			r.want(t, 201, "")
			if string(r.Body) != string(replies[0].Body) {
				t.Errorf("%s and %s", r.Body, replies[0].Body)
			}
			if r.Header.Get("Idempotent-Replayed") == "true" {
				replayed++
			}
		}
		if n := len(s.ledgerOf("/consent/v1/subjects/u1")); n != 1 || replayed != callers-1 {
			t.Errorf("%d entries, %d replayed", n, replayed)
		}
		// The key is that subject's: another one's event is another event.
		other := s.call("POST", events, fmt.Sprintf(event, "u2"), "Idempotency-Key", canary)
		other.want(t, 201, "")
		if other.Header.Get("Idempotent-Replayed") != "" {
			t.Error("another subject's event was taken for a repetition")
		}
		// The answer is the same after later events, and nothing is applied anew.
		s.call("POST", events, `{"subject":"u1","accept_policy":false}`).want(t, 201, "")
		if r := s.call("POST", events, fmt.Sprintf(event, "u1"), "Idempotency-Key", canary); string(r.Body) != string(replies[0].Body) {
			t.Errorf("after another event: %d %s", r.Status, r.Body)
		}
		if state := s.call("GET", "/consent/v1/subjects/u1", "").json(t); state["policy_version"] != nil || state["version"] != 2.0 {
			t.Errorf("state %v", state)
		}
		// An event that was refused has not used its key up.
		s.call("POST", events, fmt.Sprintf(event, "u3")[:15]+`"u3","policy_version":"1999-01-01","accept_policy":true}`, "Idempotency-Key", "k").want(t, 400, "malformed-body")
		s.call("POST", events, `{"subject":"u3","policy_version":"1999-01-01","accept_policy":true}`, "Idempotency-Key", "k").want(t, 422, "invalid-event")
		s.call("POST", events, fmt.Sprintf(event, "u3"), "Idempotency-Key", "k").want(t, 201, "")
		s.call("POST", events, fmt.Sprintf(event, "u3"), "Idempotency-Key", "").want(t, 400, "invalid-request")
		if strings.Contains(s.logs(), canary) {
			t.Error("a key is logged")
		}
	})
}

func TestLinksAreBounded(t *testing.T) {
	s := startAPI(t, "store embedded @DATA@/store", "token "+apiToken)
	service := configuredApp(t).Service()
	for i := range consent.MaxLinks {
		if err := service.Link(t.Context(), "u1", fmt.Sprint("device-", i)); err != nil {
			t.Fatal(err)
		}
	}
	s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"one-more"}`).want(t, 409, "too-many-links")
	// What was not linked is not half linked either.
	if state := s.call("GET", "/consent/v1/subjects/one-more?kind=device", "").json(t); fmt.Sprint(state["links"]) != "[]" {
		t.Errorf("the device: %v", state)
	}
	s.call("DELETE", "/consent/v1/subjects/u1/links/device-0", "").want(t, 204, "")
	s.call("POST", "/consent/v1/subjects/u1/links", `{"device":"one-more"}`).want(t, 201, "")
}
