package redisqueue

import (
	"testing"

	"github.com/consentgate/consentgate/internal/consent/redisstore"
	"github.com/consentgate/consentgate/internal/consent/redistest"
	"github.com/consentgate/consentgate/internal/outbox/queuetest"
)

// The suite runs with the rights of the documented user, and no more.
func TestConformance(t *testing.T) {
	single := redistest.Start(t, "appendfsync", "no")
	redistest.SetUsers(t, single.Addr, redisstore.ACL)
	nodes := redistest.StartCluster(t, 3)
	for _, s := range nodes {
		redistest.SetUsers(t, s.Addr, redisstore.ACL)
	}
	for name, c := range map[string]redisstore.Config{
		"one server": {Addresses: []string{single.Addr}},
		"a cluster":  {Addresses: []string{nodes[0].Addr}, Cluster: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.Username, c.Password = "consent-forward", "secret"
			queuetest.Run(t, at(place{config: c}))
		})
	}
}
