package redisstore

import (
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/consent/storetest"
)

// The suite runs with the rights of the API's user, and no more.
func TestConformance(t *testing.T) {
	single := redistest.Start(t, "appendfsync", "no")
	withUsers(t, single.Addr)
	nodes := redistest.StartCluster(t, 3)
	for _, s := range nodes {
		withUsers(t, s.Addr)
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
}
