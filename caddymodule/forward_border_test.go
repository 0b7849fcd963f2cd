package caddymodule

import (
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

// Clause 2.1: nothing is sent to an address in another country than the policy says
// the partner is in, whatever the configuration calls it; the records wait.
func TestForwardStaysInTheDeclaredCountry(t *testing.T) {
	p := startPartner(t) // on the loopback interface
	abroad, home := geotest.Cities(), geotest.Cities()
	abroad["127.0.0.0/8"] = geotest.CityRecord("US", "", "", nil)
	home["127.0.0.0/8"] = geotest.CityRecord("CN", "GD", "", nil)
	file := geotest.File(t, geotest.Build(t, "GeoLite2-City", abroad))
	s := startForwarding(t, p, strings.Replace(forwarding(embedded, "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms"), "\n\t\tsecret ", "\n\t\tgeoip "+file+"\n\t\tsecret ", 1))
	s.accept(t, "u1")
	if n := s.bring(t, "u1", bid("r1", "")); n != 200 {
		t.Fatalf("%d", n)
	}
	eventually(t, "the address is refused", func() bool {
		return strings.Contains(string(s.do("GET", "/metrics", "").Body), `consentgate_outbox_failures_total{reason="address",recipient="adx"}`)
	})
	if got := p.got(); len(got) > 0 {
		t.Errorf("%d POSTs left the country", len(got))
	}
	if logs := s.logs(); !strings.Contains(logs, "records wait for a partner") || !strings.Contains(logs, "US") {
		t.Errorf("the logs do not say why: %s", logs)
	}
	geotest.Replace(t, file, geotest.Build(t, "GeoLite2-City", home))
	if got := p.records(t, 1); !strings.Contains(got[0], `"r1"`) {
		t.Errorf("arrived: %q", got)
	}
}
