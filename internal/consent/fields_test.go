package consent

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

var fieldsTime = time.Date(2026, 3, 9, 1, 2, 3, 450_000_000, time.UTC)

func TestFieldsAreWhatTheDesignSays(t *testing.T) {
	s := State{
		Policy:     "2022-03-09",
		MinorUntil: fieldsTime,
		Guardian:   &Guardian{ID: "gd", Method: "id card; video", Purposes: []string{"*", "a.b"}, Status: Granted, Expires: fieldsTime},
		Grants: map[GrantKey]Grant{
			{"media.geotag", ""}:                         {Granted, "2022-03-09", fieldsTime, time.Time{}},
			{"third_party.profile", "open_platform:c@1"}: {Denied, "v;1", fieldsTime, fieldsTime},
		},
		Version:    7,
		Head:       "beef",
		Salt:       []byte{0, 255, 16},
		Links:      []ID{"d1", "d2"},
		Tombstoned: true,
	}
	want := map[string]string{
		"policy":             "2022-03-09",
		"minor_until":        "2026-03-09T01:02:03.45Z",
		"guardian":           "granted;id%20card%3B%20video;gd;2026-03-09T01:02:03.45Z;*;a.b",
		"version":            "7",
		"head":               "beef",
		"salt":               "AP8Q",
		"links":              "d1;d2",
		"tombstone":          "1",
		"grant:media.geotag": "granted;2022-03-09;2026-03-09T01:02:03.45Z;",
		"grant:third_party.profile@open_platform:c%401": "denied;v%3B1;2026-03-09T01:02:03.45Z;2026-03-09T01:02:03.45Z",
	}
	got, err := EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("EncodeState:\n got %q\nwant %q", got, want)
	}
	back, err := DecodeState(got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, s) {
		t.Errorf("DecodeState:\n got %+v\nwant %+v", back, s)
	}
}

func TestNoFieldsAreTheZeroState(t *testing.T) {
	f, err := EncodeState(State{})
	if err != nil || len(f) != 0 {
		t.Errorf("EncodeState of the zero State: %q, %v", f, err)
	}
	for _, f := range []map[string]string{nil, {}} {
		if s, err := DecodeState(f); err != nil || !reflect.DeepEqual(s, State{}) {
			t.Errorf("DecodeState(%v) = %+v, %v", f, s, err)
		}
	}
}

func TestDecodeStateRefuses(t *testing.T) {
	const at = "2026-03-09T01:02:03Z"
	for name, f := range map[string]map[string]string{
		"a missing version":              {"policy": "1"},
		"version 0":                      {"version": "0"},
		"a negative version":             {"version": "-1"},
		"a version with a sign":          {"version": "+1"},
		"a version with leading zeros":   {"version": "01"},
		"a version beyond 64 bits":       {"version": "18446744073709551616"},
		"an unknown field":               {"version": "1", "restricted": "yes"},
		"an empty policy":                {"version": "1", "policy": ""},
		"an empty minor_until":           {"version": "1", "minor_until": ""},
		"a minor_until that is a date":   {"version": "1", "minor_until": "2026-03-09"},
		"a minor_until that is zero":     {"version": "1", "minor_until": "0001-01-01T00:00:00Z"},
		"a time with an offset":          {"version": "1", "minor_until": "2026-03-09T01:02:03+08:00"},
		"a time with trailing zeros":     {"version": "1", "minor_until": "2026-03-09T01:02:03.10Z"},
		"a time with a comma":            {"version": "1", "minor_until": "2026-03-09T01:02:03,1Z"},
		"a guardian without a status":    {"version": "1", "guardian": ";m;i;"},
		"a guardian cut short":           {"version": "1", "guardian": "granted;m;i"},
		"a guardian of an empty purpose": {"version": "1", "guardian": "granted;m;i;;"},
		"a salt that is no base64url":    {"version": "1", "salt": "a+/="},
		"a salt with a line break":       {"version": "1", "salt": "AP\n8Q"},
		"a salt with stray bits":         {"version": "1", "salt": "AB"},
		"an empty link":                  {"version": "1", "links": "a;;b"},
		"a tombstone of 0":               {"version": "1", "tombstone": "0"},
		"a grant of no purpose":          {"version": "1", "grant:": "granted;1;" + at + ";"},
		"a grant for no recipient":       {"version": "1", "grant:a@": "granted;1;" + at + ";"},
		"a grant with a raw @":           {"version": "1", "grant:a@b@c": "granted;1;" + at + ";"},
		"a needless escape":              {"version": "1", "grant:%61": "granted;1;" + at + ";"},
		"an escape in lower case":        {"version": "1", "grant:a%3b": "granted;1;" + at + ";"},
		"an escape cut short":            {"version": "1", "grant:a%4": "granted;1;" + at + ";"},
		"an unknown status":              {"version": "1", "grant:a": "Granted;1;" + at + ";"},
		"a grant without a status":       {"version": "1", "grant:a": ";1;" + at + ";"},
		"a grant cut short":              {"version": "1", "grant:a": "granted;1;" + at},
		"a grant with more":              {"version": "1", "grant:a": "granted;1;" + at + ";;"},
		"an expiry that is no time":      {"version": "1", "grant:a": "granted;1;" + at + ";never"},
		"an expiry that is zero":         {"version": "1", "grant:a": "granted;1;" + at + ";0001-01-01T00:00:00Z"},
	} {
		s, err := DecodeState(f)
		if !errors.Is(err, ErrCorrupt) || !reflect.DeepEqual(s, State{}) {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
}

func TestEncodeStateRefusesWhatCannotBeReadBack(t *testing.T) {
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, s := range map[string]State{
		"no version":            {Policy: "1"},
		"an unknown status":     {Version: 1, Grants: map[GrantKey]Grant{{"a", ""}: {Status: "maybe"}}},
		"no status":             {Version: 1, Grants: map[GrantKey]Grant{{"a", ""}: {}}},
		"no purpose":            {Version: 1, Grants: map[GrantKey]Grant{{"", "r"}: {Status: Denied}}},
		"a far year":            {Version: 1, MinorUntil: far},
		"a far expiry":          {Version: 1, Grants: map[GrantKey]Grant{{"a", ""}: {Status: Granted, Expires: far}}},
		"an empty link":         {Version: 1, Links: []ID{""}},
		"a guardian of nothing": {Version: 1, Guardian: &Guardian{Status: Granted, Purposes: []string{""}}},
		"a guardian unknown":    {Version: 1, Guardian: &Guardian{}},
	} {
		if f, err := EncodeState(s); err == nil {
			t.Errorf("%s: got %q", name, f)
		}
	}
}

func TestFieldErrorsRepeatNoValue(t *testing.T) {
	const secret = "13800138000"
	for _, f := range []map[string]string{
		{"version": secret + "x"},
		{"version": "1", "minor_until": secret},
		{"version": "1", "guardian": secret},
		{"version": "1", "salt": secret + "!"},
		{"version": "1", "links": secret + "%"},
		{"version": "1", "tombstone": secret},
		{"version": "1", "grant:a": secret},
	} {
		_, err := DecodeState(f)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("DecodeState(%q): %v", f, err)
		}
	}
}

// FuzzFields holds the two directions against each other: whatever decodes
// encodes to the very same fields, and whatever encodes decodes to the same
// state.
func FuzzFields(f *testing.F) {
	f.Add("version", "1", "grant:a@b", "granted;1;2026-03-09T01:02:03Z;", "links", "a;b")
	f.Add("version", "9", "guardian", "denied;;;;*", "salt", "AP8Q")
	f.Add("purpose ;%@", "recipient\x00", "v;1", "method", "\xff", "d;1")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		fields := map[string]string{n1: v1, n2: v2, n3: v3}
		if s, err := DecodeState(fields); err == nil {
			again, err := EncodeState(s)
			if err != nil || !maps.Equal(again, fields) {
				t.Errorf("decoded %q, encoded %q, %v", fields, again, err)
			}
		} else if !reflect.DeepEqual(s, State{}) {
			t.Errorf("an error and a state: %+v", s)
		}

		at := time.Unix(int64(len(v1))<<20, int64(len(v2))).UTC()
		s := State{
			Version: math.MaxUint64, Policy: v1, Head: v2, Salt: []byte(v3 + "x"),
			Links:    []ID{ID(n1 + "x"), ID(n2 + "y")},
			Guardian: &Guardian{ID: n1, Method: n2, Status: Withdrawn, Purposes: []string{n3 + "p"}, Expires: at},
			Grants: map[GrantKey]Grant{
				{n1 + "p", n2}: {Granted, v1, at, at},
				{n2 + "p", n3}: {Denied, v2, at, time.Time{}},
			},
		}
		enc, err := EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeState(enc); err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("encoded %q\n from %+v\ndecoded %+v, %v", enc, s, back, err)
		}
	})
}
