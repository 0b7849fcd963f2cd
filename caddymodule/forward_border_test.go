package caddymodule

import (
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

// Clause 2.1: where the partner's address is in another country than the policy
// says, nothing goes there, and its records wait.
func TestForwardConnectsToNoAddressAbroad(t *testing.T) {
	loopbackIn := func(country string) []byte {
		return geotest.Build(t, "GeoLite2-Country", map[string]geotest.Record{"127.0.0.0/8": geotest.CityRecord(country, "", "", nil)})
	}
	geoip := geotest.File(t, loopbackIn("US"))
	p := startPartner(t)
	s := startForwarding(t, p, forwarding(embedded+"\n\t\tgeoip "+geoip, "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms"))
	s.accept(t, "u1")
	if n := s.bring(t, "u1", bid("r1", "")); n != 200 {
		t.Fatalf("%d", n)
	}
	eventually(t, "the address is refused", func() bool {
		return strings.Contains(string(s.do("GET", "/metrics", "").Body), `consentgate_outbox_failures_total{reason="address",recipient="adx"}`)
	})
	s.counted(t, `consentgate_outbox_waiting_records{recipient="adx"} 1`)
	if got := p.got(); len(got) > 0 {
		t.Fatalf("abroad arrived: %s", got[0].Raw)
	}
	geotest.Replace(t, geoip, loopbackIn("CN"))
	p.records(t, 1)
}
