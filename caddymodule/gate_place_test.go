package caddymodule

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/geo/geotest"
)

// placedPolicy is a policy whose recipients get positions by GeoIP: adx with the
// address as its province, city_only without any address.
const placedPolicy = `policy:
  id: placed
  versions: [2024-01-01]
  controller: Sample
  contact: privacy@sample.test
  home: [CN]
include: [packs/device.yaml, packs/location.yaml]
purposes:
  ads.measure:
    title: {zh: 效果, en: Measure}
    basis: necessary
    sensitive_ok: {location.precise: only its city leaves, location.detail: it never leaves}
    uses: [network.ip, location.precise, location.coarse, location.detail, device.model]
recipients:
  adx:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    country: CN
    purposes: [ads.measure]
    release:
      - {category: network.ip, as: {ip: area}}
      - {category: location.precise, as: {geo: city}}
      - {category: device.model, as: pass}
  city_only:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    country: CN
    purposes: [ads.measure]
    release:
      - {category: location.precise, as: {geo: city}}
      - {category: device.model, as: pass}
  app:
    kind: first_party
    title: {zh: 应用, en: App}
    purposes: [ads.measure]
`

// placedCaddyfile is a gate for each recipient, under its name.
func placedCaddyfile(policy, geoip string) string {
	gate := func(name, recipient, more string) string {
		return "\thandle /" + name + "/* {\n\t\tconsent_gate " + recipient + " {\n\t\t\tsubject {http.request.header.X-User-ID}\n\t\t\t" + more + "\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}\n"
	}
	return "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n\tconsent {\n\t\tpolicy " + policy + "\n\t\tstore embedded @DATA@/store\n\t\tsecret 0123456789abcdef0123456789abcdef\n\t\tgeoip " + geoip + "\n\t}\n\tlog {\n\t\tformat consent\n\t\tlevel DEBUG\n\t}\n}\n" +
		"http://:@PORT@ {\n\thandle /metrics {\n\t\tmetrics\n\t}\n\thandle /consent/* {\n\t\tconsent_api {\n\t\t\ttoken " + fixtureToken + "\n\t\t}\n\t}\n" +
		gate("adx", "adx", "") + gate("city", "city_only", "") + gate("batch", "adx", "records events") +
		gate("answer", "app", "response city_only") + "}\n"
}

// startPlaced starts it with one person who has accepted the policy.
func startPlaced(t *testing.T, database []byte) (s *server, geoip string) {
	t.Helper()
	geoip = geotest.File(t, database)
	s = startCaddy(t, placedCaddyfile(configFile(t, "policy.yaml", placedPolicy), geoip))
	r := s.do("POST", "/consent/v1/events", `{"subject":"u1","kind":"user","policy_version":"2024-01-01","accept_policy":true}`,
		"Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	return s, geoip
}

func TestPositionsBecomeThoseOfTheCity(t *testing.T) {
	s, _ := startPlaced(t, geotest.City(t))
	for _, c := range []struct{ says, path, client, body, want string }{
		{
			"by the record's own address", "/adx/a", geotest.NewYork,
			`{"ip":"` + geotest.Guangzhou + `","lat":39.904211,"lng":116.407395,"model":"m"}`,
			`{"ip":"CN-GD","lat":23.13,"lng":113.26,"model":"m"}`,
		},
		{
			"wherever in the record that stands", "/adx/a", geotest.NewYork,
			`{"lat":39.904211,"lng":116.407395,"device":{"net":[{"ipv6":"[` + geotest.Shanghai + `]:443"}]}}`,
			`{"lat":31.23,"lng":121.47,"device":{"net":[{"ipv6":"CN-SH"}]}}`,
		},
		{
			"by the client's where the record has none", "/adx/a", geotest.Guangzhou,
			`{"geo":{"lat":39.904211,"lon":116.407395}}`, `{"geo":{"lat":23.13,"lon":113.26}}`,
		},
		{
			"and where it has none but of its own network", "/adx/a", geotest.Guangzhou,
			`{"local_ip":"192.168.1.5","lat":39.904211,"lng":116.407395}`, `{"local_ip":"CN-GD","lat":23.13,"lng":113.26}`,
		},
		{
			// The mistake would be to look an address up once it is gone.
			"also where the address itself is dropped", "/city/a", geotest.NewYork,
			`{"ip":"` + geotest.Guangzhou + `","lat":39.904211,"lng":116.407395}`, `{"lat":23.13,"lng":113.26}`,
		},
		{
			// And to keep beside the coarse position what says the fine one.
			"without city and zip beside them", "/adx/a", geotest.Guangzhou,
			`{"lat":39.904211,"lng":116.407395,"city":"Beijing","zip":"100006","street":"x","accuracy_radius":1,"model":"m"}`,
			`{"lat":23.13,"lng":113.26,"model":"m"}`,
		},
		{
			"without them in the same object", "/adx/a", geotest.Guangzhou,
			`{"geo":{"lat":39.904211,"city":"Beijing","zip":"100006","lon":116.407395,"accuracy":5,"country":"CHN"},"model":"m"}`,
			`{"geo":{"lat":23.13,"lon":113.26},"model":"m"}`,
		},
		{
			"not where the address has no place", "/adx/a", geotest.Guangzhou,
			`{"ip":"` + geotest.Unknown + `","lat":39.904211,"lng":116.407395,"model":"m"}`, `{"model":"m"}`,
		},
		{
			"not where only its country is known", "/adx/a", geotest.Guangzhou,
			`{"ip":"` + geotest.UnitedStates + `","lat":39.904211,"lng":116.407395,"model":"m"}`, `{"model":"m"}`,
		},
		{
			"not where the client is in a network of its own", "/adx/a", "10.0.0.1",
			`{"lat":39.904211,"lng":116.407395,"model":"m"}`, `{"model":"m"}`,
		},
		{
			"each record of a batch by its own address, then the envelope's", "/batch/a", geotest.UnitedStates,
			`{"ip":"` + geotest.Guangzhou + `","lat":1.5,"lng":2.5,"events":[{"lat":39.904211,"lng":116.407395},{"ip":"` + geotest.NewYork + `","lat":39.904211,"lng":116.407395},{"ip":"` + geotest.Unknown + `","lat":39.904211,"lng":116.407395,"model":"m"}]}`,
			`{"ip":"CN-GD","lat":23.13,"lng":113.26,"events":[{"lat":23.13,"lng":113.26},{"ip":"US-NY","lat":40.71,"lng":-74.01},{"model":"m"}]}`,
		},
	} {
		t.Run(c.says, func(t *testing.T) {
			s.upstream.forget()
			s.do("POST", c.path, c.body, "X-User-ID", "u1", "X-Forwarded-For", c.client, "Content-Type", "application/json")
			if got := string(s.upstream.last(t).Body); got != c.want {
				t.Errorf("%s became\n%s, want\n%s", c.body, got, c.want)
			}
		})
	}

	t.Run("each line of a stream", func(t *testing.T) {
		s.upstream.forget()
		line := `{"ip":"` + geotest.Guangzhou + `","lat":39.904211,"lng":116.407395}` + "\n"
		s.do("POST", "/adx/a?lat=39.904211&lng=116.407395", line+strings.Replace(line, geotest.Guangzhou, geotest.NewYork, 1),
			"X-User-ID", "u1", "X-Forwarded-For", geotest.Shanghai, "Content-Type", "application/x-ndjson")
		got := s.upstream.last(t)
		if want := `{"ip":"CN-GD","lat":23.13,"lng":113.26}` + "\n" + `{"ip":"US-NY","lat":40.71,"lng":-74.01}` + "\n"; string(got.Body) != want {
			t.Errorf("got\n%s, want\n%s", got.Body, want)
		}
		if !strings.Contains(got.Line, "lat=31.23&lng=121.47") {
			t.Errorf("beside it stands %s, and not the client's city", got.Line)
		}
	})

	t.Run("what an upstream answers is about others than the client", func(t *testing.T) {
		s.upstream.answer(http.StatusOK, "application/json", `[{"lat":39.904211,"lng":116.407395,"model":"m"}]`)
		r := s.do("POST", "/answer/a", `{}`, "X-User-ID", "u1", "X-Forwarded-For", geotest.Guangzhou, "Content-Type", "application/json")
		if want := `[{"model":"m"}]`; string(r.Body) != want {
			t.Errorf("got %s, want %s", r.Body, want)
		}
		s.upstream.answer(http.StatusOK, "application/json", `{"ip":"`+geotest.Shanghai+`","lat":39.904211,"lng":116.407395}`)
		r = s.do("POST", "/answer/a", `{}`, "X-User-ID", "u1", "X-Forwarded-For", geotest.Guangzhou, "Content-Type", "application/json")
		if want := `{"lat":31.23,"lng":121.47}`; string(r.Body) != want {
			t.Errorf("got %s, want %s", r.Body, want)
		}
	})

	for _, personal := range []string{geotest.Guangzhou, geotest.NewYork, geotest.Shanghai, "39.904211", "CN-GD", "23.13"} {
		if strings.Contains(s.logs(), personal) {
			t.Errorf("the logs tell %s", personal)
		}
	}
}

func TestTheGeoIPDatabaseIsReadAgainWhenItChanges(t *testing.T) {
	s, geoip := startPlaced(t, geotest.City(t))
	area := func() string {
		s.upstream.forget()
		s.do("POST", "/adx/a", `{"ip":"`+geotest.Guangzhou+`"}`, "X-User-ID", "u1", "Content-Type", "application/json")
		return string(s.upstream.last(t).Body)
	}
	before := area()
	if before != `{"ip":"CN-GD"}` {
		t.Fatalf("got %s", before)
	}
	geotest.Replace(t, geoip, []byte("quota exceeded"))
	s.waitForLine("the changed GeoIP database is refused; the one in use stays", geoip)
	if got := area(); got != before {
		t.Errorf("a bad file changed %s to %s", before, got)
	}

	// A reload of the configuration does not read the bad file either.
	db := configuredApp(t).Geo()
	if err := s.reload(strings.Replace(s.source, "level DEBUG", "level INFO", 1)); err != nil {
		t.Fatal(err)
	}
	if configuredApp(t).Geo() != db || area() != before {
		t.Error("the reload has not kept the database")
	}

	records := geotest.Cities()
	records["203.0.113.0/24"] = geotest.CityRecord("CN", "ZJ", "Hangzhou", []float64{30.2741, 120.1551})
	geotest.Replace(t, geoip, geotest.Build(t, "GeoLite2-City", records))
	s.waitForLine("the changed GeoIP database is in use", geoip, "GeoLite2-City")
	if got := area(); got != `{"ip":"CN-ZJ"}` {
		t.Errorf("got %s", got)
	}
	metrics := s.do("GET", "/metrics", "").Body
	if !bytes.Contains(metrics, []byte(`consentgate_geoip_reloads_total{result="taken"} 1`)) {
		t.Errorf("the metrics do not count it:\n%s", metrics)
	}
}

func TestAPolicyThatNeedsGeoIPDoesNotLoadWithoutIt(t *testing.T) {
	s := &server{t: t, Addr: freeAddr(t), Data: t.TempDir(), upstream: startUpstream(t)}
	policy := configFile(t, "policy.yaml", placedPolicy)
	for name, c := range map[string]struct{ geoip, want string }{
		"without geoip":            {"", "the policy's recipient city_only de-identifies by GeoIP, and there is no database: write `geoip FILE`"},
		"with a variable not set":  {"{$NOT_SET_ANYWHERE}", "the policy's recipient adx de-identifies by GeoIP"},
		"with an empty one":        {"{env.NOT_SET_ANYWHERE}", "the policy's recipient adx de-identifies by GeoIP"},
		"with a file that is none": {policy, "geoip: the GeoIP database " + policy + ": is no MaxMind DB file"},
		"with no file":             {"/nonexistent/x.mmdb", "geoip: the GeoIP database: stat /nonexistent/x.mmdb: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.reload(placedCaddyfile(policy, c.geoip))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

// A policy that comes to need GeoIP while the gateway runs without it is refused.
func TestAChangedPolicyThatNeedsGeoIPIsRefusedWithoutIt(t *testing.T) {
	plain := strings.NewReplacer("{ip: area}", "{ip: {v4: 16}}", "{geo: city}", "{geo: {decimals: 1}}").Replace(placedPolicy)
	s := startWithPolicy(t, strings.Replace(plain, "  app:", "  backend:", 1))
	if err := os.WriteFile(s.policy, []byte(strings.Replace(placedPolicy, "  app:", "  backend:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.waitForLine("the changed policy is refused", "recipient adx de-identifies by GeoIP")
}

// A configuration that does not load, or goes, leaves no database behind.
func TestTheGeoIPDatabaseGoesWithTheConfiguration(t *testing.T) {
	s, geoip := startPlaced(t, geotest.City(t))
	other := geotest.File(t, geotest.City(t))
	bad := strings.Replace(strings.Replace(s.source, geoip, other, 1), "\t\tconsent_gate adx {", "\t\tconsent_gate nobody {", 1)
	if err := s.reload(bad); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Fatalf("error %v", err)
	}
	if n, held := openGeo.References(other); held {
		t.Errorf("%d references on the database of a configuration that did not load", n)
	}
	if _, held := openGeo.References(geoip); !held {
		t.Error("the database in use is not held")
	}
	if err := s.reload("http://:@PORT@ {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the database is given up", func() bool { _, held := openGeo.References(geoip); return !held })
}
