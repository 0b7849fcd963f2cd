package consent

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// t0 is when the first decision of a test is made; each is a minute after the
// one before.
var t0 = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// history applies events (JSON without "subject", in braces) one after another
// and returns the state, and the entry and the error of the last.
func history(t testing.TB, events ...string) (s State, e Entry, err error) {
	t.Helper()
	for i, in := range events {
		next, entry, err := applyTo(t, s, in, t0.Add(time.Duration(i)*time.Minute))
		if err != nil && i < len(events)-1 {
			t.Fatalf("event %d: %v", i, err)
		}
		if err != nil {
			return s, e, err
		}
		s, e = next, entry
	}
	return s, e, nil
}

func applyTo(t testing.TB, s State, in string, at time.Time) (State, Entry, error) {
	t.Helper()
	if in == "{}" {
		in = `{"subject":"u1"}`
	} else {
		in = `{"subject":"u1",` + in[1:]
	}
	ev, err := decodeEvent(in)
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	d, err := ev.Decision(testIdentifier(t))
	if err != nil {
		t.Fatalf("%s: %v", in, err)
	}
	before := s.clone()
	next, entry, err := Apply(s, d, testPolicy{}, at)
	if !reflect.DeepEqual(s, before) {
		t.Fatalf("%s: Apply changed the state it was given", in)
	}
	return next, entry, err
}

// answers shows the answers of a state: "geotag" or "sdk.alipay@alipay" to the
// status.
func answers(s State) map[string]Status {
	m := make(map[string]Status)
	for k, g := range s.Grants {
		name := k.Purpose
		if k.Recipient != "" {
			name += "@" + k.Recipient
		}
		m[name] = g.Status
	}
	return m
}

const (
	yesGeotag   = `{"policy_version":"v2","grants":[{"purpose":"geotag","status":"granted"}]}`
	noGeotag    = `{"grants":[{"purpose":"geotag","status":"withdrawn"}]}`
	yesAlipay   = `{"policy_version":"v2","grants":[{"purpose":"sdk.alipay","recipient":"alipay","status":"granted"}]}`
	yesJpush    = `{"policy_version":"v2","grants":[{"purpose":"sdk.alipay","recipient":"jpush","status":"granted"}]}`
	noAlipay    = `{"grants":[{"purpose":"sdk.alipay","recipient":"alipay","status":"denied"}]}`
	noSDK       = `{"grants":[{"purpose":"sdk.alipay","status":"withdrawn"}]}`
	yesClient1  = `{"policy_version":"v2","grants":[{"purpose":"third.profile","recipient":"platform:c1","status":"granted"}]}`
	noClient2   = `{"grants":[{"purpose":"third.profile","recipient":"platform:c2","status":"denied"}]}`
	noPlatform  = `{"grants":[{"purpose":"third.profile","recipient":"platform","status":"denied"}]}`
	noOperate   = `{"grants":[{"purpose":"operate","status":"denied"}]}`
	noOperateTo = `{"grants":[{"purpose":"operate","recipient":"jpush","status":"denied"}]}`
	yesOperate  = `{"policy_version":"v2","grants":[{"purpose":"operate","status":"granted"}]}`
)

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []string
		want   map[string]Status
	}{
		{"a grant is recorded", []string{yesGeotag}, map[string]Status{"geotag": Granted}},
		{"the later answer stands", []string{yesGeotag, noGeotag}, map[string]Status{"geotag": Withdrawn}},
		{"and again", []string{yesGeotag, noGeotag, yesGeotag}, map[string]Status{"geotag": Granted}},
		{"answers for other purposes stay", []string{yesGeotag, yesAlipay}, map[string]Status{"geotag": Granted, "sdk.alipay@alipay": Granted}},
		{"a separate purpose is answered for each recipient", []string{yesAlipay, noAlipay, yesJpush},
			map[string]Status{"sdk.alipay@alipay": Denied, "sdk.alipay@jpush": Granted}},
		{"a refusal of a purpose is one to each recipient", []string{yesAlipay, yesJpush, noSDK},
			map[string]Status{"sdk.alipay": Withdrawn, "sdk.alipay@alipay": Withdrawn, "sdk.alipay@jpush": Withdrawn}},
		{"a grant after it is for that recipient alone", []string{yesAlipay, yesJpush, noSDK, yesAlipay},
			map[string]Status{"sdk.alipay@alipay": Granted, "sdk.alipay@jpush": Withdrawn}},
		{"a refusal of a recipient is one to each client", []string{yesClient1, noClient2, noPlatform},
			map[string]Status{"third.profile@platform:c1": Denied, "third.profile@platform:c2": Denied, "third.profile@platform": Denied}},
		{"a grant after it is for that client alone", []string{yesClient1, noClient2, noPlatform, yesClient1},
			map[string]Status{"third.profile@platform:c1": Granted, "third.profile@platform:c2": Denied}},
		{"a refusal to one recipient leaves the purpose", []string{yesOperate, noOperateTo},
			map[string]Status{"operate": Granted, "operate@jpush": Denied}},
		{"a yes to the purpose ends it", []string{noOperateTo, yesOperate}, map[string]Status{"operate": Granted}},
		{"a no to the purpose keeps it", []string{noOperateTo, noOperate}, map[string]Status{"operate": Denied, "operate@jpush": Denied}},
		{"within an event too, the later answer stands",
			[]string{yesJpush, `{"policy_version":"v2","grants":[{"purpose":"sdk.alipay","status":"denied"},{"purpose":"sdk.alipay","recipient":"alipay","status":"granted"}]}`},
			map[string]Status{"sdk.alipay@jpush": Denied, "sdk.alipay@alipay": Granted}},
		{"cross_border is for one recipient",
			[]string{`{"policy_version":"v1","grants":[{"purpose":"cross_border","recipient":"overseas","status":"granted"}]}`},
			map[string]Status{"cross_border@overseas": Granted}},
		{"accepting is an answer of its own", []string{`{"policy_version":"v1","accept_policy":true}`}, map[string]Status{"policy": Granted}},
		{"and so is taking it back", []string{`{"policy_version":"v1","accept_policy":true}`, `{"accept_policy":false}`}, map[string]Status{"policy": Withdrawn}},
	} {
		s, _, err := history(t, test.events...)
		if err != nil || !reflect.DeepEqual(answers(s), test.want) {
			t.Errorf("%s: %v, %v; want %v", test.name, answers(s), err, test.want)
		}
	}
}

func TestAGrantHasItsVersionTimeAndExpiry(t *testing.T) {
	s, e, err := history(t, `{"policy_version":"v2","grants":[
		{"purpose":"geotag","status":"granted","expires_at":"2026-06-01T00:00:00Z"},{"purpose":"operate","status":"denied"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[GrantKey]Grant{
		{Purpose: "geotag"}:  {Granted, "v2", t0, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)},
		{Purpose: "operate"}: {Denied, "v2", t0, time.Time{}},
	}
	if !reflect.DeepEqual(s.Grants, want) {
		t.Errorf("%+v", s.Grants)
	}
	if s.Policy != "" {
		t.Error("granting accepted the policy")
	}
	if e.PolicyVersion != "v2" || e.Type != EntryDecision || e.Seq != 1 || !e.At.Equal(t0) {
		t.Errorf("%+v", e)
	}
	const event = `{"grants":[{"expires_at":"2026-06-01T00:00:00Z","purpose":"geotag","status":"granted"},` +
		`{"purpose":"operate","status":"denied"}],"policy_version":"v2"}`
	if string(e.Event) != event {
		t.Errorf("event %s", e.Event)
	}
	// A refusal that names no version is made under the one in force.
	if s, _, _ := history(t, noGeotag); s.Grants[GrantKey{Purpose: "geotag"}].Version != "v3" {
		t.Errorf("%+v", s.Grants)
	}
}

func TestAbsentMembersChangeNothingAndNullOnesTakeBack(t *testing.T) {
	const all = `{"policy_version":"v2","accept_policy":true,"minor_until":"2030-01-01T00:00:00Z",
		"guardian":{"id":"g1","method":"sms","purposes":["*"],"status":"granted"},
		"grants":[{"purpose":"geotag","status":"granted"}]}`
	s, _, _ := history(t, all)
	after, _, err := applyTo(t, s, noOperate, t0)
	if err != nil || after.Policy != "v2" || !after.MinorUntil.Equal(s.MinorUntil) ||
		!reflect.DeepEqual(after.Guardian, s.Guardian) || !bytes.Equal(after.Salt, s.Salt) || len(after.Grants) != 3 {
		t.Errorf("absent members changed something: %+v, %v", after, err)
	}
	if after.Guardian.ID == "g1" || len(after.Guardian.ID) != idLen {
		t.Errorf("the guardian's raw id was kept: %q", after.Guardian.ID)
	}
	after, _, err = history(t, all, `{"minor_until":null,"guardian":null}`)
	if err != nil || !after.MinorUntil.IsZero() || after.Guardian != nil || after.Policy != "v2" || len(after.Grants) != 2 {
		t.Errorf("null took back something else: %+v, %v", after, err)
	}
	after, _, err = history(t, all, `{"accept_policy":false}`)
	if err != nil || after.Policy != "" || after.Grants[GrantKey{Purpose: "geotag"}].Status != Granted {
		t.Errorf("taking acceptance back: %+v, %v", after, err)
	}
}

func TestADecisionIsInvalid(t *testing.T) {
	const accepted = `{"policy_version":"v2","accept_policy":true}`
	one := func(grant string) string { return `{"policy_version":"v2","grants":[` + grant + `]}` }
	for _, test := range []struct {
		name    string
		events  []string
		pointer string
	}{
		{"nothing", []string{`{}`}, ""},
		{"evidence of nothing", []string{`{"policy_version":"v2","evidence":{"channel":"app"},"grants":[],"register":false}`}, ""},
		{"an unknown version", []string{`{"policy_version":"v9","accept_policy":true}`}, "/policy_version"},
		{"an unknown version of a refusal", []string{`{"policy_version":"v9",` + noGeotag[1:]}, "/policy_version"},
		{"accepting nothing in particular", []string{`{"accept_policy":true}`}, "/policy_version"},
		{"granting under nothing in particular", []string{`{"grants":[{"purpose":"geotag","status":"granted"}]}`}, "/policy_version"},
		{"accepting an older version", []string{accepted, `{"policy_version":"v1","accept_policy":true}`}, "/policy_version"},
		{"granting under an older version", []string{accepted, `{"policy_version":"v1","grants":[{"purpose":"geotag","status":"granted"}]}`}, "/policy_version"},
		{"an unknown purpose", []string{one(`{"purpose":"nope","status":"granted"}`)}, "/grants/0/purpose"},
		{"refusing an unknown purpose", []string{one(`{"purpose":"geotag","status":"denied"},{"purpose":"nope","status":"denied"}`)}, "/grants/1/purpose"},
		{"the reserved acceptance", []string{one(`{"purpose":"policy","status":"granted"}`)}, "/grants/0/purpose"},
		{"an unknown recipient", []string{one(`{"purpose":"sdk.alipay","recipient":"nope","status":"granted"}`)}, "/grants/0/recipient"},
		{"refusing an unknown recipient", []string{one(`{"purpose":"sdk.alipay","recipient":"nope","status":"denied"}`)}, "/grants/0/recipient"},
		{"a client of a recipient without clients", []string{one(`{"purpose":"sdk.alipay","recipient":"alipay:c","status":"granted"}`)}, "/grants/0/recipient"},
		{"a separate purpose to everyone", []string{one(`{"purpose":"sdk.alipay","status":"granted"}`)}, "/grants/0/recipient"},
		{"cross_border to everyone", []string{one(`{"purpose":"cross_border","status":"granted"}`)}, "/grants/0/recipient"},
		{"a recipient without its client", []string{one(`{"purpose":"third.profile","recipient":"platform","status":"granted"}`)}, "/grants/0/recipient"},
		{"a recipient of a purpose that is granted as a whole", []string{one(`{"purpose":"geotag","recipient":"alipay","status":"granted"}`)}, "/grants/0/recipient"},
		{"an expiry in the past", []string{one(`{"purpose":"geotag","status":"granted","expires_at":"2026-05-06T07:08:09Z"}`)}, "/grants/0/expires_at"},
		{"a refusal that has expired", []string{one(`{"purpose":"geotag","status":"denied","expires_at":"2020-01-01T00:00:00Z"}`)}, "/grants/0/expires_at"},
		{"an answer twice", []string{one(`{"purpose":"geotag","status":"denied"},{"purpose":"geotag","status":"granted"}`)}, "/grants/1"},
		{"a guardian's grant without a method", []string{`{"guardian":{"id":"g","purposes":["*"],"status":"granted"}}`}, "/guardian/method"},
		{"a guardian's grant of nothing", []string{`{"guardian":{"id":"g","method":"sms","status":"granted"}}`}, "/guardian/purposes"},
		{"a guardian's grant of an unknown purpose", []string{`{"guardian":{"id":"g","method":"sms","purposes":["geotag","nope"],"status":"granted"}}`}, "/guardian/purposes/1"},
		{"a guardian's grant in the past", []string{`{"guardian":{"id":"g","method":"sms","purposes":["*"],"status":"granted","expires_at":"2020-01-01T00:00:00Z"}}`}, "/guardian/expires_at"},
	} {
		s, _, err := history(t, test.events...)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Pointer != test.pointer || invalid.Malformed {
			t.Errorf("%s: %v", test.name, err)
		}
		if s.Version != uint64(len(test.events)-1) {
			t.Errorf("%s: something was recorded", test.name)
		}
	}
}

func TestAnEventOfNobodyIsInvalid(t *testing.T) {
	for in, pointer := range map[string]string{
		`{"subject":"0"}`:    "/subject",
		`{"subject":"null"}`: "/subject",
		`{"subject":"u1","guardian":{"id":"unknown","status":"denied"}}`: "/guardian/id",
	} {
		e, err := decodeEvent(in)
		if err != nil {
			t.Fatal(err)
		}
		var invalid *InvalidError
		if _, err := e.Decision(testIdentifier(t)); !errors.As(err, &invalid) || invalid.Pointer != pointer {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestWithdrawingStaysPossible(t *testing.T) {
	const accepted = `{"policy_version":"v3","accept_policy":true}`
	for name, event := range map[string]string{
		"under an older version":           `{"policy_version":"v1",` + noGeotag[1:],
		"taking back acceptance, likewise": `{"policy_version":"v1","accept_policy":false}`,
	} {
		if _, _, err := history(t, accepted, event); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	// When the state is full of grants.
	s := State{Version: 1, Head: "x", Salt: make([]byte, 16), Grants: map[GrantKey]Grant{}}
	for i := range MaxGrants {
		s.Grants[GrantKey{"third.profile", fmt.Sprint("platform:", i)}] = Grant{Status: Granted, Version: "v1", At: t0}
	}
	var invalid *InvalidError
	if _, _, err := applyTo(t, s, yesClient1, t0); !errors.As(err, &invalid) || invalid.Pointer != "/grants/0" {
		t.Errorf("a grant more than the state holds: %v", err)
	}
	if _, _, err := applyTo(t, s, noClient2, t0); err != nil {
		t.Errorf("a refusal: %v", err)
	}
	again := `{"policy_version":"v2","grants":[{"purpose":"third.profile","recipient":"platform:7","status":"granted"}]}`
	if _, _, err := applyTo(t, s, again, t0); err != nil {
		t.Errorf("a grant in the place of one: %v", err)
	}
	if _, _, err := applyTo(t, s, yesGeotag, t0); err != nil {
		t.Errorf("a grant of a whole purpose: %v", err)
	}
	// Even refusals have an end, save those of a whole purpose.
	for i := range MaxGrants {
		s.Grants[GrantKey{"third.profile", fmt.Sprint("platform:no", i)}] = Grant{Status: Denied, Version: "v1", At: t0}
	}
	if _, _, err := applyTo(t, s, noClient2, t0); !errors.As(err, &invalid) {
		t.Errorf("a refusal more than the state holds: %v", err)
	}
	after, _, err := applyTo(t, s, `{"grants":[{"purpose":"third.profile","status":"denied"}]}`, t0)
	if err != nil || after.Grants[GrantKey{"third.profile", "platform:7"}].Status != Denied {
		t.Errorf("a refusal of it all: %v", err)
	}
}

// A short refusal of everything must not end a longer one of one recipient.
func TestAWiderRefusalShortensNone(t *testing.T) {
	s, _, err := history(t, noOperateTo, `{"grants":[{"purpose":"operate","status":"denied","expires_at":"2026-05-07T00:00:00Z"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	later := t0.Add(48 * time.Hour)
	if !s.Refused("operate", "jpush", later) || s.Refused("operate", "backend", later) {
		t.Errorf("%+v", s.Grants)
	}
}

func TestACancelledSubjectMustRegister(t *testing.T) {
	gone := State{Version: 7, Head: "head", Tombstoned: true}
	for _, in := range []string{yesGeotag, noGeotag, `{"policy_version":"v1","accept_policy":true}`, `{"register":false}`, `{}`} {
		if _, _, err := applyTo(t, gone, in, t0); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", in, err)
		}
	}
	s, e, err := applyTo(t, gone, `{"register":true,"policy_version":"v1","accept_policy":true}`, t0)
	if err != nil || s.Tombstoned || s.Version != 8 || s.Policy != "v1" || len(s.Salt) != 16 || len(s.Grants) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if e.Type != EntryRegister || e.Prev != "head" || e.Seq != 8 {
		t.Errorf("%+v", e)
	}
	// The salt of an account that was not cancelled stays.
	before, _, _ := history(t, yesGeotag)
	after, e, err := applyTo(t, before, `{"register":true}`, t0)
	if err != nil || !bytes.Equal(before.Salt, after.Salt) || len(after.Grants) != 1 || e.Type != EntryDecision {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestTheSaltIsMadeOnce(t *testing.T) {
	s, _, _ := history(t, yesGeotag)
	if len(s.Salt) != 16 || bytes.Equal(s.Salt, make([]byte, 16)) {
		t.Fatalf("salt %x", s.Salt)
	}
	after, _, _ := applyTo(t, s, noGeotag, t0)
	if !bytes.Equal(after.Salt, s.Salt) {
		t.Error("a second decision made another salt")
	}
	other, _, _ := history(t, yesGeotag)
	if bytes.Equal(other.Salt, s.Salt) {
		t.Error("two subjects have one salt")
	}
	if _, _, err := Apply(State{}, Decision{Subject: "x", Event: Event{Register: true}}, testPolicy{}, t0); err == nil {
		t.Error("a state was begun without a salt")
	}
}

func TestDecisionsMakeAChain(t *testing.T) {
	var s State
	var entries []Entry
	for i, in := range []string{yesGeotag, noGeotag, yesAlipay, noSDK} {
		next, e, err := applyTo(t, s, in, t0.Add(time.Duration(i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		w := Write{ID: e.Subject, Prev: s, Next: next, Entry: e}
		if err := w.Check(); err != nil {
			t.Error(err)
		}
		s, entries = next, append(entries, e)
	}
	if err := VerifyChain(entries); err != nil {
		t.Error(err)
	}
	if s.Head != entries[3].Hash || s.Version != 4 {
		t.Errorf("head %s, version %d", s.Head, s.Version)
	}
	if want, _ := testIdentifier(t).Identify(User, "u1"); entries[0].Subject != want {
		t.Errorf("subject %s", entries[0].Subject)
	}
	b, _ := EncodeEntry(entries[0])
	if bytes.Contains(b, []byte(`"u1"`)) {
		t.Error("the raw id stands in the ledger")
	}
}
