package rules

import "testing"

// A gateway without GeoIP must be told before it drops what a policy promises.
func TestAPolicySaysWhoIsServedByGeoIP(t *testing.T) {
	for entry, want := range map[string]bool{
		"as: {ip: area}": true, "as: {geo: city}": true, "as: drop, else: {ip: country}": true,
		"as: {ip: {v4: 16}}": false, "as: {geo: {decimals: 1}}": false, "as: pass": false,
	} {
		p := judged(t, "kind: first_party, purposes: [p, q, r], release: [{category: a.b, "+entry+"}]")
		if got := len(p.Placed()) == 1 && p.Placed()[0].ID == "it"; got != want {
			t.Errorf("%s: %v", entry, p.Placed())
		}
		route := routeOf(t, p, RouteSpec{Recipient: "it"})
		placed := route.Release(permitting(p, "it", "p"), "").Vector.Placed() || route.Stranger().Vector.Placed()
		if placed != want {
			t.Errorf("%s: no vector says so", entry)
		}
	}
	shipped, err := Load(Embedded, "policies/liaoxiaobang.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range shipped.Placed() {
		t.Errorf("the policy that ships does not run without a database for %s", r.ID)
	}
}
