package redisstore

import (
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/consent/storetest"
)

// The suite runs with the rights of the API's user while it may retire, and no
// more.
func TestConformance(t *testing.T) {
	single := redistest.Start(t, "appendfsync", "no")
	redistest.SetUsers(t, single.Addr, ACL)
	nodes := redistest.StartCluster(t, 3)
	for _, s := range nodes {
		redistest.SetUsers(t, s.Addr, ACL)
	}
	for _, s := range append(nodes, single) {
		allow(t, s.Addr, ACLRetire)
	}
	one := Config{Addresses: []string{single.Addr}, Username: "consent-api", Password: "secret"}
	all := Config{Addresses: []string{nodes[0].Addr}, Username: "consent-api", Password: "secret", Cluster: true}
	for _, tc := range []struct {
		name string
		c    Config
		o    Options
	}{
		{"one server", one, Options{}},
		{"one server without tracking", one, Options{PublishOnly: true}},
		{"a cluster", all, Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) consent.Store { return openStore(t, tc.c, tc.o) })
		})
	}
	t.Run("bound to a secret", func(t *testing.T) {
		bound := one
		bound.DB = 1 // the other one is bound by now
		storetest.Run(t, func(t *testing.T) consent.Store {
			s := consent.Bind(openStore(t, bound, Options{}), "check-0", nil)
			if err := s.Ping(t.Context()); err != nil { // and it is bound
				t.Fatal(err)
			}
			return s
		})
	})
}
