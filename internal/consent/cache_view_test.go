package consent

import (
	"testing"
)

func TestWhoseStateItIs(t *testing.T) {
	accepted := func(s State, policy string) State { s.Policy = policy; return s }
	for name, tc := range map[string]struct {
		user, device State
		both, alone  Status // for the user with the device, and the device alone
	}{
		"linked, the device denies":      {stateOf(1, Granted, "d"), stateOf(1, Denied, "u"), Denied, Denied},
		"linked, the user denies":        {stateOf(1, Denied, "d"), stateOf(1, Granted, "u"), Denied, Denied},
		"linked, the device grants":      {stateOf(1, "", "d"), stateOf(1, Granted, "u"), Granted, Granted},
		"linked, the user grants":        {stateOf(1, Granted, "d"), stateOf(1, "", "u"), Granted, Granted},
		"not linked, the device denies":  {stateOf(1, Granted), stateOf(1, Denied), Granted, Denied},
		"not linked, the device grants":  {stateOf(1, ""), stateOf(1, Granted), "", Granted},
		"device's side, device denies":   {stateOf(1, Granted), stateOf(1, Denied, "u"), Denied, Denied},
		"device's side, device grants":   {stateOf(1, ""), stateOf(1, Granted, "u"), "", Granted},
		"device's side, user grants":     {stateOf(1, Granted), stateOf(1, "", "u"), Granted, ""},
		"device's side, user denies":     {stateOf(1, Denied), stateOf(1, Granted, "u"), Denied, Denied},
		"user's side, device grants":     {stateOf(1, "", "d"), stateOf(1, Granted), "", Granted},
		"user's side, device denies":     {stateOf(1, Granted, "d"), stateOf(1, Denied), Denied, Denied},
		"a cancelled user":               {State{Version: 2, Tombstoned: true}, stateOf(1, Granted, "u"), "", Granted},
		"a cancelled device":             {stateOf(1, Granted, "d"), State{Version: 2, Tombstoned: true}, Granted, ""},
		"an unknown user, linked device": {State{}, accepted(stateOf(1, Granted, "u"), "1"), "", Granted},
	} {
		s := newCacheStore()
		s.set("u", tc.user)
		s.set("d", tc.device)
		c := startCache(t, s, CacheOptions{}, derivePermits)
		for range 2 { // read, and cached
			if v := mustGet(t, c, Subject{User: "u", Device: "d"}); v.p != tc.both {
				t.Errorf("%s: user and device: %q, want %q", name, v.p, tc.both)
			}
			if v := mustGet(t, c, Subject{Device: "d"}); v.p != tc.alone {
				t.Errorf("%s: device alone: %q, want %q", name, v.p, tc.alone)
			}
			if v := mustGet(t, c, Subject{User: "u"}); v.p != tc.user.Grants[GrantKey{Purpose: "p"}].Status {
				t.Errorf("%s: user alone: %q", name, v.p)
			}
		}
	}
}

func TestAJoinedValueFollowsBothSides(t *testing.T) {
	s := newCacheStore()
	s.set("u1", stateOf(1, Granted, "d"))
	s.set("u2", stateOf(1, Granted, "d"))
	s.set("d", stateOf(1, Granted, "u1", "u2"))
	c := startCache(t, s, CacheOptions{}, derivePermits)
	device, both := Subject{Device: "d"}, Subject{User: "u1", Device: "d"}
	expect := func(what string, s Subject, want Status) {
		t.Helper()
		for range 2 {
			if v := mustGet(t, c, s); v.p != want {
				t.Errorf("%s: %q, want %q", what, v.p, want)
			}
		}
	}
	expect("at first", device, Granted)
	expect("at first", both, Granted)
	s.set("u2", stateOf(2, Withdrawn, "d"))
	c.Forget("u2")
	expect("another user withdraws", device, Withdrawn)
	expect("another user withdraws", both, Granted)
	expect("the other user", Subject{User: "u2", Device: "d"}, Withdrawn)
	expect("and again the first", both, Granted)
	s.set("u1", stateOf(2, Withdrawn, "d"))
	c.Forget("u1")
	expect("the user withdraws", both, Withdrawn)
	s.set("u1", stateOf(3, Granted, "d"))
	s.set("d", stateOf(2, Denied, "u1"))
	c.Forget("u1")
	c.Forget("d")
	expect("the device denies", both, Denied)
	expect("the device denies", device, Denied)
}
