package caddymodule

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

// names answers for a name server.
type names map[string][]string

func (n names) LookupNetIP(ctx context.Context, _, host string) (addrs []netip.Addr, err error) {
	if host == "silent.example" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	known, ok := n[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	for _, a := range known {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// bordersOf is what checkBorders says of a site with the policy that ships, in
// which adx is in CN and measure_overseas in US.
func bordersOf(t *testing.T, options, site string) (warnings, notes []string) {
	t.Helper()
	cfg, err := adapt([]byte(coverageCaddyfile(t, options, "http://:8080 {\n"+site+"\n}\n")))
	if err != nil {
		t.Fatal(err)
	}
	cov, err := coverageOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(cov.Errors) > 0 {
		t.Fatalf("errors %v", cov.Errors)
	}
	cov.checkBorders(t.Context(), names{
		"cn.example": {geotest.Guangzhou}, "us.example": {geotest.NewYork}, "both.example": {geotest.UnitedStates, geotest.Guangzhou, geotest.NewYork},
		"inner.example": {"10.0.0.7"}, "unknown.example": {geotest.Unknown}, "empty.example": {},
	}, os.Stderr)
	return cov.Warnings, cov.Notes
}

func TestCoverageWarnsOfUpstreamsInAnotherCountry(t *testing.T) {
	to := func(recipient, proxy string) string { return "consent_gate " + recipient + "\nreverse_proxy " + proxy }
	for name, c := range map[string]struct{ site, warning, note string }{
		"at home":                              {to("adx", "cn.example:443"), "", ""},
		"in the declared country":              {to("measure_overseas", "us.example:443"), "", ""},
		"abroad, of a recipient at home":       {to("adx", "us.example:443"), ":8080 * us.example:443: us.example is in US (198.51.100.7), and the policy, at home in CN, declares adx to be in CN", ""},
		"abroad, of one that declares nothing": {to("public", "us.example:443"), "us.example is in US (198.51.100.7), and the policy, at home in CN, declares no country for public", ""},
		"one of several upstreams":             {to("adx", "cn.example:443 us.example:443"), ":8080 * cn.example:443 us.example:443: us.example is in US", ""},
		"some of several addresses":            {to("adx", "both.example:443"), "both.example is in US (198.51.100.7), US (2001:db8:2::7), and", ""},
		"an address and no name":               {to("adx", geotest.NewYork+":443"), "198.51.100.7 is in US", ""},
		"one of IPv6":                          {to("adx", "["+geotest.UnitedStates+"]:443"), "2001:db8:2::7 is in US", ""},
		"in a country that nobody knows":       {to("adx", "unknown.example:443"), "unknown.example is in a country that the GeoIP database does not know (192.0.2.7)", ""},
		"in the operator's network":            {to("adx", "inner.example:443 127.0.0.1:9000 unix//run/x.sock"), "", ""},
		"a name without an answer":             {to("adx", "none.example:443"), "", ":8080 * none.example:443: the country of none.example is not checked: lookup none.example: no such host"},
		"a name without an address":            {to("adx", "empty.example:443"), "", "the name has no address"},
		"a partner that is forwarded to":       {"consent_gate backend {\nforward adx https://us.example/events\n}\nrespond ok", ":8080 * forward https://us.example/events: us.example is in US", ""},
		"a name that each request tells":       {to("adx", "{http.request.host}:443"), "", "only a request tells the name"},
		"a name that is asked for each time":   {to("adx", "{\ndynamic a us.example 443\n}"), "us.example is in US", ""},
		"a service":                            {to("adx", "{\ndynamic srv _x._tcp.us.example\n}"), "", "the countries of its upstreams are not checked"},
	} {
		t.Run(name, func(t *testing.T) {
			warnings, notes := bordersOf(t, "geoip "+geotest.File(t, geotest.City(t)), c.site)
			for _, s := range []struct {
				what string
				got  []string
				want string
			}{{"warnings", warnings, c.warning}, {"notes", notes, c.note}} {
				if s.want == "" && len(s.got) > 0 || s.want != "" && (len(s.got) != 1 || !strings.Contains(s.got[0], s.want)) {
					t.Errorf("%s %q, want %q", s.what, s.got, s.want)
				}
			}
		})
	}
}

func TestCoverageLooksNothingUpWithoutGeoIP(t *testing.T) {
	site := "consent_gate adx\nreverse_proxy us.example:443 silent.example:443"
	if warnings, notes := bordersOf(t, "", site); warnings != nil || notes != nil {
		t.Errorf("%q, %q", warnings, notes)
	}
	warnings, notes := bordersOf(t, "geoip /nonexistent/x.mmdb", site)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "the countries of the upstreams are not checked: the GeoIP database: stat /nonexistent/x.mmdb") || notes != nil {
		t.Errorf("%q, %q", warnings, notes)
	}
}

// A name server that does not answer costs a few seconds and no more, and the
// other names are checked all the same.
func TestCoverageDoesNotWaitForASilentNameServer(t *testing.T) {
	var progress strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as if the time were over
	found := resolveAll(ctx, names{"us.example": {geotest.NewYork}}, []string{"silent.example", "us.example"}, &progress)
	if found["silent.example"].err == nil || len(found["us.example"].addrs) != 1 {
		t.Errorf("found %v", found)
	}
}

func TestPolicyCoverageShowsBorders(t *testing.T) {
	file := configFile(t, "Caddyfile", coverageCaddyfile(t, "geoip "+geotest.File(t, geotest.City(t)),
		"http://:8080 {\n\tconsent_gate adx\n\treverse_proxy "+geotest.NewYork+":443\n}\n"))
	out, err := runCommand(policyCoverageCommand(), "--config", file)
	if err != nil || !strings.Contains(out, "\nwarning: :8080 * 198.51.100.7:443: 198.51.100.7 is in US") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = runCommand(policyCoverageCommand(), "--config", file, "--json")
	var cov coverage
	if jsonErr := json.Unmarshal([]byte(out), &cov); err != nil || jsonErr != nil || !slices.ContainsFunc(cov.Warnings, func(w string) bool { return strings.Contains(w, "is in US") }) {
		t.Errorf("%v, %v: %s", err, jsonErr, out)
	}
}
