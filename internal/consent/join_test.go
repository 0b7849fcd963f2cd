package consent

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

var joinKey = GrantKey{"p", ""}

// known is a state on record with one answer: "", or a status.
func known(status Status, change ...func(*State)) State {
	s := State{Version: 1, Head: "head", Grants: map[GrantKey]Grant{}}
	if status != "" {
		s.Grants[joinKey] = Grant{Status: status, Version: "v1", At: t0}
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// Every answer of the one side with every answer of the other.
func TestJoiningAnswers(t *testing.T) {
	statuses := []Status{"", Granted, Denied, Withdrawn}
	want := map[[2]Status]Status{
		{"", ""}:               "",
		{"", Granted}:          Granted,
		{"", Denied}:           Denied,
		{"", Withdrawn}:        Withdrawn,
		{Granted, Granted}:     Granted,
		{Granted, Denied}:      Denied,
		{Granted, Withdrawn}:   Withdrawn,
		{Denied, Denied}:       Denied,
		{Withdrawn, Withdrawn}: Withdrawn,
		{Denied, Withdrawn}:    Denied, // of two that hold as long, the first side's
		{Withdrawn, Denied}:    Withdrawn,
		{Granted, ""}:          Granted,
		{Denied, ""}:           Denied,
		{Withdrawn, ""}:        Withdrawn,
		{Denied, Granted}:      Denied,
		{Withdrawn, Granted}:   Withdrawn,
	}
	for _, a := range statuses {
		for _, b := range statuses {
			for name, got := range map[string]State{
				"Join":       Join(known(a), known(b)),
				"JoinDevice": JoinDevice(known(a), known(b)),
			} {
				if got := got.Grants[joinKey].Status; got != want[[2]Status{a, b}] {
					t.Errorf("%s of %q and %q: %q", name, a, b, got)
				}
			}
			// A third side that says nothing changes nothing.
			if got := JoinDevice(known(a), known(""), known(b)).Grants[joinKey].Status; got != want[[2]Status{a, b}] {
				t.Errorf("JoinDevice of %q, nothing and %q: %q", a, b, got)
			}
		}
	}
}

func TestJoiningAnswersThatExpire(t *testing.T) {
	hour := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Hour) }
	g := func(s Status, at, expires time.Time) Grant { return Grant{s, "v1", at, expires} }
	for _, test := range []struct {
		name       string
		a, b, want Grant
	}{
		{"the refusal that holds longer", g(Denied, hour(0), hour(1)), g(Withdrawn, hour(0), hour(2)), g(Withdrawn, hour(0), hour(2))},
		{"the refusal that holds forever", g(Denied, hour(0), hour(1)), g(Withdrawn, hour(0), time.Time{}), g(Withdrawn, hour(0), time.Time{})},
		{"the younger grant", g(Granted, hour(0), time.Time{}), g(Granted, hour(1), hour(5)), g(Granted, hour(1), hour(5))},
		{"a refusal beats a younger grant", g(Denied, hour(0), hour(2)), g(Granted, hour(1), time.Time{}), g(Denied, hour(0), hour(2))},
		{"unless it was over by then", g(Denied, hour(0), hour(1)), g(Granted, hour(1), time.Time{}), g(Granted, hour(1), time.Time{})},
		{"one that never ends is never over", g(Denied, hour(0), time.Time{}), g(Granted, hour(9), time.Time{}), g(Denied, hour(0), time.Time{})},
		{"an unknown status is a refusal", g("maybe", hour(0), time.Time{}), g(Granted, hour(1), time.Time{}), g("maybe", hour(0), time.Time{})},
	} {
		a, b := known(""), known("")
		a.Grants[joinKey], b.Grants[joinKey] = test.a, test.b
		if got := Join(a, b).Grants[joinKey]; got != test.want {
			t.Errorf("%s: %+v", test.name, got)
		}
		if got := Join(b, a).Grants[joinKey]; got != test.want {
			t.Errorf("%s, the other way round: %+v", test.name, got)
		}
	}
}

func TestARefusalAsAWholeOutlivesTheJoin(t *testing.T) {
	wide, narrow := known(""), known("")
	wide.Grants[GrantKey{"sdk", ""}] = Grant{Status: Denied, At: t0}
	narrow.Grants[GrantKey{"sdk", "alipay"}] = Grant{Status: Granted, At: t0.Add(time.Hour)}
	for _, s := range []State{Join(wide, narrow), Join(narrow, wide), JoinDevice(narrow, wide)} {
		if !s.Refused("sdk", "alipay", t0) {
			t.Errorf("%+v", s.Grants)
		}
	}
}

// acceptance: never asked, accepted a version, took it back.
func acceptance(policy string, asked bool, at time.Time) func(*State) {
	return func(s *State) {
		s.Policy = policy
		if asked {
			g := Grant{Status: Withdrawn, Version: "v1", At: at}
			if policy != "" {
				g = Grant{Status: Granted, Version: policy, At: at}
			}
			s.Grants[acceptanceKey] = g
		}
	}
}

func TestJoiningAcceptance(t *testing.T) {
	var (
		never   = known("", acceptance("", false, t0))
		v1      = known("", acceptance("v1", true, t0))
		v2      = known("", acceptance("v2", true, t0.Add(time.Hour)))
		back    = known("", acceptance("", true, t0))
		noTime  = known("", acceptance("v1", false, t0))
		nobody  = State{}
		isGone  = State{Version: 3, Head: "h", Tombstoned: true}
		goneToo = known("", acceptance("v2", true, t0), func(s *State) { s.Tombstoned = true })
	)
	for _, test := range []struct {
		name   string
		got    State
		policy string
		asked  bool
	}{
		{"neither", Join(never, never), "", false},
		{"the user's", Join(v1, never), "v1", true},
		{"the user's, of two", Join(v1, v2), "v1", true},
		{"the user's, who took it back", Join(back, v1), "", true},
		{"the device's, of a user never asked", Join(never, v1), "v1", true},
		{"the device's, of a user never recorded", Join(nobody, v1), "v1", true},
		{"the device's, which took it back", Join(never, back), "", true},
		{"the user's without a time", Join(noTime, v2), "v1", false},
		{"none of a cancelled user", Join(isGone, v1), "", false},
		{"none of a cancelled user, whatever is left", Join(goneToo, v1), "", false},
		{"none of a cancelled device", Join(never, goneToo), "", false},
		{"only the device", JoinDevice(v1), "v1", true},
		{"the device's, of users never asked", JoinDevice(v1, never, nobody), "v1", true},
		{"the user's rather than the device's", JoinDevice(v1, v2), "v2", true},
		{"the user's, for a device never asked", JoinDevice(never, v2), "v2", true},
		{"the user's, who took it back, rather than the device's", JoinDevice(v1, back), "", true},
		{"of users, the one who accepted first", JoinDevice(never, v2, v1), "v1", true},
		{"of users, any who took it back", JoinDevice(never, v2, back, v1), "", true},
		{"not the cancelled user's", JoinDevice(v1, goneToo), "v1", true},
		{"none of a cancelled device", JoinDevice(goneToo, v1), "", false},
	} {
		_, asked := test.got.Grants[acceptanceKey]
		if test.got.Policy != test.policy || asked != test.asked {
			t.Errorf("%s: %q, %v", test.name, test.got.Policy, test.got.Grants)
		}
	}
}

func TestJoiningMinority(t *testing.T) {
	until := func(h int) func(*State) {
		return func(s *State) { s.MinorUntil = t0.Add(time.Duration(h) * time.Hour) }
	}
	for _, test := range []struct {
		name string
		got  State
		want time.Time
	}{
		{"neither", Join(known(""), known("")), time.Time{}},
		{"the user", Join(known("", until(1)), known("")), t0.Add(time.Hour)},
		{"the device", Join(known(""), known("", until(1))), t0.Add(time.Hour)},
		{"the later of both", Join(known("", until(1)), known("", until(2))), t0.Add(2 * time.Hour)},
		{"the later of both, the other way round", Join(known("", until(2)), known("", until(1))), t0.Add(2 * time.Hour)},
		{"any user of a device", JoinDevice(known(""), known(""), known("", until(3)), known("", until(1))), t0.Add(3 * time.Hour)},
		{"a user never recorded", Join(State{}, known("", until(1))), t0.Add(time.Hour)},
	} {
		if !test.got.MinorUntil.Equal(test.want) {
			t.Errorf("%s: %v", test.name, test.got.MinorUntil)
		}
	}
}

func TestJoiningGuardians(t *testing.T) {
	minor := func(g *Guardian) State {
		return known("", func(s *State) { s.MinorUntil, s.Guardian = t0.Add(1000*time.Hour), g })
	}
	adult := func(g *Guardian) State { return known("", func(s *State) { s.Guardian = g }) }
	yes := func(until int, purposes ...string) *Guardian {
		g := &Guardian{ID: fmt.Sprint("g", until), Method: "sms", Purposes: purposes, Status: Granted}
		if until > 0 {
			g.Expires = t0.Add(time.Duration(until) * time.Hour)
		}
		return g
	}
	no := func(until int) *Guardian {
		g := yes(until)
		g.Status, g.Purposes = Withdrawn, nil
		return g
	}
	for _, test := range []struct {
		name string
		a, b State
		want *Guardian
	}{
		{"neither has one", minor(nil), minor(nil), nil},
		{"one of two minors has none", minor(yes(0, "*")), minor(nil), nil},
		{"the other side is no minor", minor(yes(0, "*")), adult(nil), yes(0, "*")},
		{"a grant beside no minority vouches for nobody else", minor(nil), adult(yes(0, "*")), nil},
		{"what both grant", minor(yes(0, "a", "b")), minor(yes(0, "b", "c")), yes(0, "b")},
		{"all and some are some", minor(yes(0, "*")), minor(yes(0, "c")), yes(0, "c")},
		{"all and all are all", minor(yes(0, "*")), minor(yes(0, "*")), yes(0, "*")},
		{"for as long as both do", minor(yes(0, "*")), minor(&Guardian{ID: "g0", Method: "sms", Purposes: []string{"*"}, Status: Granted, Expires: t0.Add(5 * time.Hour)}),
			&Guardian{ID: "g0", Method: "sms", Purposes: []string{"*"}, Status: Granted, Expires: t0.Add(5 * time.Hour)}},
		{"a refusal beats a grant", minor(yes(0, "*")), minor(no(0)), no(0)},
		{"even one beside no minority", minor(yes(0, "*")), adult(no(0)), no(0)},
		{"of two refusals the one that holds longer", minor(no(5)), minor(no(7)), no(7)},
		{"one that never ends holds longest", minor(no(5)), minor(no(0)), no(0)},
	} {
		if got := Join(test.a, test.b).Guardian; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v", test.name, got)
		}
		if got := JoinDevice(test.b, test.a).Guardian; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s, the other way round: %+v", test.name, got)
		}
	}
}

func TestTheJoinedStateIsTheFirstSidesOwn(t *testing.T) {
	user := known(Granted, func(s *State) { s.Version, s.Head, s.Salt, s.Links = 7, "user", []byte("usersalt"), []ID{"d"} })
	device := known(Granted, func(s *State) { s.Version, s.Head, s.Salt, s.Links = 9, "device", []byte("devicesalt"), []ID{"u", "w"} })
	for name, test := range map[string]struct{ got, want State }{
		"Join":       {Join(user, device), user},
		"JoinDevice": {JoinDevice(device, user), device},
	} {
		if test.got.Version != test.want.Version || test.got.Head != test.want.Head ||
			string(test.got.Salt) != string(test.want.Salt) || !reflect.DeepEqual(test.got.Links, test.want.Links) {
			t.Errorf("%s: %+v", name, test.got)
		}
	}
	if got := Join(State{}, device); got.Salt != nil || got.Version != 0 {
		t.Errorf("a user without a state got the device's salt: %+v", got)
	}
}

func TestJoiningChangesNeitherSide(t *testing.T) {
	side := func() State {
		return known(Granted, acceptance("v1", true, t0), func(s *State) {
			s.MinorUntil = t0.Add(time.Hour)
			s.Guardian = &Guardian{Purposes: []string{"a", "b", "c"}, Status: Granted}
			s.Salt, s.Links = []byte("salt"), []ID{"x"}
		})
	}
	a, b := side(), side()
	b.Guardian.Purposes = []string{"c"}
	wantB := side()
	wantB.Guardian.Purposes = []string{"c"}
	j := Join(a, b)
	JoinDevice(a, b)
	j.Grants[joinKey] = Grant{}
	j.Salt[0], j.Links[0], j.Guardian.Purposes[0] = 'x', "y", "z"
	if !reflect.DeepEqual(a, side()) || !reflect.DeepEqual(b, wantB) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestACancelledUserGovernsAlone(t *testing.T) {
	gone := State{Version: 3, Head: "h", Tombstoned: true}
	if got := Join(gone, known(Granted, acceptance("v1", true, t0))); !reflect.DeepEqual(got, gone) {
		t.Errorf("%+v", got)
	}
	if got := JoinDevice(gone, known(Granted, acceptance("v1", true, t0))); !reflect.DeepEqual(got, gone) {
		t.Errorf("%+v", got)
	}
	if got := JoinDevice(known(""), known(Granted, func(s *State) { s.Tombstoned = true })); len(got.Grants) != 0 {
		t.Errorf("a cancelled user still speaks: %+v", got)
	}
}
