package caddymodule

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/consentgate/consentgate/rules"
)

// Gateways that share a store count together, and a restart or a policy that is read
// again loses no count: the space is made of what the policy says, and of nothing
// that only this process knows.
func TestCrowdsAreCountedInOneSpace(t *testing.T) {
	const text = `policy: {id: p, versions: [2026-01-01], controller: C, home: [CN]}
categories:
  seen: {title: {zh: 时间, en: Time}, keys: [seen]}
purposes:
  run: {title: {zh: 运行, en: Run}, basis: necessary, uses: [seen]}
recipients:
  app: {kind: first_party, title: {zh: 应用, en: App}, purposes: [run], release: [{category: seen, as: pass}]}
  ads:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    purposes: [run]
    release: [{category: seen, as: {time: {unit: hour, zone: Asia/Shanghai}}}]
    k_anonymity: {k: 20, window: 24h, of: [seen], generalise: {seen: [{time: {unit: UNIT, zone: Asia/Shanghai}}]}}
`
	space := func(unit string) string {
		p, err := rules.Load(fstest.MapFS{"p.yaml": {Data: []byte(strings.ReplaceAll(text, "UNIT", unit))}}, "p.yaml")
		if err != nil {
			t.Fatal(err)
		}
		plan, err := p.Plan(rules.Inbound{}, rules.RouteSpec{Recipient: "ads"})
		if err != nil {
			t.Fatal(err)
		}
		rec := p.Recipient("ads")
		return newKanonRule(rec.KAnonymity, rec, p, plan).space
	}
	if a, b := space("day"), space("day"); a != b {
		t.Errorf("the same policy, read twice: %q and %q", a, b)
	}
	if a := space("day"); strings.Contains(a, "0x") {
		t.Errorf("an address of this process: %q", a)
	}
	if a, b := space("day"), space("month"); a == b {
		t.Errorf("two lists of levels: %q", a)
	}
}
