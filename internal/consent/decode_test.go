package consent

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func decodeEvent(s string) (Event, error) { return DecodeEvent(strings.NewReader(s)) }

func TestAnEventIsDecoded(t *testing.T) {
	yes, no := true, false
	at := time.Date(2027, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for _, test := range []struct {
		name, in string
		want     Event
	}{
		{
			"the one of the API's documentation",
			`{"subject":"u1","kind":"user","policy_version":"2022-03-09","accept_policy":true,
			  "grants":[{"purpose":"media.geotag","status":"granted","recipient":null,"expires_at":null}],
			  "minor_until":null,"guardian":null,
			  "evidence":{"channel":"app","prompt":"sha256:1f","locale":"zh-CN"}}`,
			Event{
				Subject: "u1", Kind: User, PolicyVersion: "2022-03-09", AcceptPolicy: &yes,
				Grants:     []Answer{{Purpose: "media.geotag", Status: Granted}},
				MinorUntil: Change[time.Time]{Set: true}, Guardian: Change[*GuardianAnswer]{Set: true},
				Evidence: &Evidence{"app", "sha256:1f", "zh-CN"},
			},
		},
		{"what is absent changes nothing", `{"subject":"u1"}`, Event{Subject: "u1", Kind: User}},
		{
			"every member, times in any zone and cut to the millisecond",
			`{"subject":"d1","kind":"device","accept_policy":false,"register":true,
			  "grants":[{"purpose":"p","recipient":"open_platform:c","status":"withdrawn","expires_at":"2027-01-02T05:04:05.6789+02:00"},{"purpose":"q","status":"denied"}],
			  "minor_until":"2027-01-02T03:04:05.678Z","evidence":null,
			  "guardian":{"id":"g","method":"sms","purposes":["*"],"status":"granted","expires_at":"2027-01-02T03:04:05.678Z"}}`,
			Event{
				Subject: "d1", Kind: Device, AcceptPolicy: &no, Register: true,
				Grants:     []Answer{{"p", "open_platform:c", Withdrawn, at}, {Purpose: "q", Status: Denied}},
				MinorUntil: Change[time.Time]{true, at},
				Guardian:   Change[*GuardianAnswer]{true, &GuardianAnswer{"g", "sms", []string{"*"}, Granted, at}},
			},
		},
		{"a name in other bytes", `{"\u0073ubject":"\u7528户"}`, Event{Subject: "用户", Kind: User}},
	} {
		got, err := decodeEvent(test.in)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

// secretID stands wherever a value is wrong: no error may repeat it.
const secretID = "13800138000"

func TestAnEventIsRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n+1) }
	grants := func(g string) string { return `{"subject":"u","grants":[` + g + `]}` }
	for _, test := range []struct {
		name, in, pointer string
		malformed         bool
	}{
		{"nothing", ``, "", true},
		{"no object", `["` + secretID + `"]`, "", true},
		{"no JSON", `{"subject":"` + secretID + `"x}`, "", true},
		{"cut short", `{"subject":"` + secretID + `"`, "", true},
		{"something after it", `{"subject":"u"} "` + secretID + `"`, "", true},
		{"a comma too many", `{"subject":"u",}`, "", true},
		{"no UTF-8", "{\"subject\":\"" + secretID + "\xff\"}", "", true},
		{"half a surrogate", `{"subject":"\ud800"}`, "", true},
		{"too large", `{"subject":"u"}` + strings.Repeat(" ", MaxEventSize), "", true},
		{"an unknown member", `{"subject":"u","Subject":"` + secretID + `"}`, "/Subject", true},
		{"an unknown member with odd characters", `{"subject":"u","a/b~c":1}`, "/a~1b~0c", true},
		{"an unknown member with a name too long to repeat", `{"subject":"u","` + long(200) + `":1}`, "", true},
		{"a member twice", `{"subject":"u","subject":"` + secretID + `"}`, "/subject", true},
		{"a member twice, spelled otherwise", `{"subject":"u","\u0073ubject":"` + secretID + `"}`, "/subject", true},
		{"a subject that is a number", `{"subject":` + secretID + `}`, "/subject", true},
		{"a null subject", `{"subject":null}`, "/subject", true},
		{"a null acceptance", `{"subject":"u","accept_policy":null}`, "/accept_policy", true},
		{"an acceptance that is a string", `{"subject":"u","accept_policy":"true"}`, "/accept_policy", true},
		{"a registration that is a number", `{"subject":"u","register":1}`, "/register", true},
		{"null grants", `{"subject":"u","grants":null}`, "/grants", true},
		{"grants that are an object", `{"subject":"u","grants":{}}`, "/grants", true},
		{"a grant that is a string", grants(`"` + secretID + `"`), "/grants/0", true},
		{"a grant with an unknown member", grants(`{"purpose":"p","status":"denied","note":"` + secretID + `"}`), "/grants/0/note", true},
		{"a grant with a member twice", grants(`{"status":"denied","status":"granted"}`), "/grants/0/status", true},
		{"a purpose that is a list", grants(`{"purpose":["p"]}`), "/grants/0/purpose", true},
		{"an expiry that is a number", grants(`{"purpose":"p","expires_at":1}`), "/grants/0/expires_at", true},
		{"purposes that are a string", `{"subject":"u","guardian":{"purposes":"*"}}`, "/guardian/purposes", true},
		{"a guardian that is a string", `{"subject":"u","guardian":"` + secretID + `"}`, "/guardian", true},
		{"evidence with an unknown member", `{"subject":"u","evidence":{"phone":"` + secretID + `"}}`, "/evidence/phone", true},

		{"no subject", `{}`, "/subject", false},
		{"an empty subject", `{"subject":""}`, "/subject", false},
		{"a subject too long", `{"subject":"` + long(MaxSubject) + `"}`, "/subject", false},
		{"a control character", `{"subject":"` + secretID + `\u0007"}`, "/subject", false},
		{"DEL", `{"subject":"u","policy_version":"\u007f"}`, "/policy_version", false},
		{"an unknown kind", `{"subject":"u","kind":"` + secretID + `"}`, "/kind", false},
		{"a version too long", `{"subject":"u","policy_version":"` + long(MaxName) + `"}`, "/policy_version", false},
		{"a grant of nothing", grants(`{"purpose":"p","status":"granted"},{"status":"granted"}`), "/grants/1", false},
		{"a grant without a status", grants(`{"purpose":"p"}`), "/grants/0", false},
		{"an unknown status", grants(`{"purpose":"p","status":"` + secretID + `"}`), "/grants/0/status", false},
		{"a status in capitals", grants(`{"purpose":"p","status":"Granted"}`), "/grants/0/status", false},
		{"an empty recipient", grants(`{"purpose":"p","status":"denied","recipient":""}`), "/grants/0/recipient", false},
		{"a recipient too long", grants(`{"purpose":"p","recipient":"` + long(MaxRecipient) + `"}`), "/grants/0/recipient", false},
		{"too many grants", grants(strings.Repeat(`{"purpose":"p","status":"denied"},`, MaxEventGrants) + `{}`), "/grants", false},
		{"a time without a zone", `{"subject":"u","minor_until":"2027-01-02T03:04:05"}`, "/minor_until", false},
		{"a date", `{"subject":"u","minor_until":"` + secretID + `"}`, "/minor_until", false},
		{"a time with a comma", `{"subject":"u","minor_until":"2027-01-02T03:04:05,5Z"}`, "/minor_until", false},
		{"a time with an hour of one digit", `{"subject":"u","minor_until":"2027-01-02T3:04:05Z"}`, "/minor_until", false},
		{"a time in a zone that is none", `{"subject":"u","minor_until":"2027-01-02T03:04:05+24:00"}`, "/minor_until", false},
		{"the zero time, which means never", grants(`{"purpose":"p","status":"granted","expires_at":"0001-01-01T00:00:00Z"}`), "/grants/0/expires_at", false},
		{"a time beyond the year 9999", `{"subject":"u","minor_until":"9999-12-31T23:59:59-01:00"}`, "/minor_until", false},
		{"a guardian without an id", `{"subject":"u","guardian":{"status":"granted"}}`, "/guardian", false},
		{"a guardian without a status", `{"subject":"u","guardian":{"id":"` + secretID + `"}}`, "/guardian", false},
		{"an empty purpose of a guardian", `{"subject":"u","guardian":{"purposes":[""]}}`, "/guardian/purposes/0", false},
	} {
		e, err := decodeEvent(test.in)
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %+v, %v", test.name, e, err)
			continue
		}
		if invalid.Pointer != test.pointer || invalid.Malformed != test.malformed {
			t.Errorf("%s: %+v", test.name, *invalid)
		}
		if strings.Contains(err.Error(), secretID) || len(err.Error()) > 200 {
			t.Errorf("%s: the error repeats the input: %v", test.name, err)
		}
		if !reflect.DeepEqual(e, Event{}) {
			t.Errorf("%s: half an event came back: %+v", test.name, e)
		}
	}
}

func TestAnErrorOfTheReaderIsItsOwn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := DecodeEvent(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestWhatSubjectsDoNotDecideForThemselves(t *testing.T) {
	for in, want := range map[string]string{
		`{"subject":"u","accept_policy":true,"grants":[{"purpose":"p","status":"granted"}],"evidence":{}}`: "",
		`{"subject":"u","minor_until":"2030-01-01T00:00:00Z"}`:                                             "/minor_until",
		`{"subject":"u","minor_until":null}`:                                                               "/minor_until",
		`{"subject":"u","guardian":null}`:                                                                  "/guardian",
		`{"subject":"u","guardian":{"id":"g","status":"granted"}}`:                                         "/guardian",
		`{"subject":"u","register":true}`:                                                                  "/register",
		`{"subject":"u","register":false}`:                                                                 "",
	} {
		e, err := decodeEvent(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Privileged(); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// Whatever decodes has an encoding that tools agree on, and whatever does not
// says so in an error that can be shown to anyone.
func FuzzDecodeEvent(f *testing.F) {
	f.Add(`{"subject":"u1","kind":"user","policy_version":"1","accept_policy":true,"grants":[{"purpose":"p","status":"granted","recipient":"r:1","expires_at":null}],"minor_until":null,"guardian":{"id":"g","method":"m","purposes":["*"],"status":"granted","expires_at":"2030-01-02T03:04:05Z"},"evidence":{"channel":"app","prompt":"x","locale":"zh"},"register":true}`)
	f.Add(`{"subject":"u1","minor_until":"2030-01-02T03:04:05.1+08:00"}`)
	f.Add(`{"subject":"u1","subject":"u2"}`)
	ident := testIdentifier(f)
	f.Fuzz(func(t *testing.T, in string) {
		e, err := decodeEvent(in)
		var invalid *InvalidError
		if err != nil {
			if !errors.As(err, &invalid) || len(err.Error()) > 1000 {
				t.Fatalf("error %v", err)
			}
			return
		}
		d, err := e.Decision(ident)
		if err != nil {
			if !errors.As(err, &invalid) {
				t.Fatalf("error %v", err)
			}
			return
		}
		b, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = decodeEvent(`{"subject":"u",` + strings.TrimPrefix(string(b), "{")); string(b) != "{}" && err != nil {
			t.Fatalf("%s: what the ledger would keep is no event: %v", b, err)
		}
		var s State
		entry, err := appendEntry(&s, d.Subject, EntryDecision, d.PolicyVersion, b, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bySortedMaps(t, entry), entry.Hash; got != want {
			t.Fatalf("%s: hash %s, recomputed %s", b, want, got)
		}
	})
}

func ExampleDecodeEvent() {
	_, err := DecodeEvent(strings.NewReader(`{"subject":"u1","grants":[{"purpose":"media.geotag","status":"yes"}]}`))
	fmt.Println(err)
	// Output: the event's member "/grants/0/status" is none of "granted", "denied" and "withdrawn"
}
