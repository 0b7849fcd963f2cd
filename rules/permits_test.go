package rules

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

// The versions of testdata/house.yaml.
const v24, v25, v26 = "2024-01-01", "2025-01-01", "2026-01-01"

// house loads testdata/house.yaml with texts replaced, old and new in turn.
func house(t testing.TB, replace ...string) *Policy {
	t.Helper()
	p, err := Load(fstest.MapFS{"house.yaml": {Data: []byte(houseText(t, replace...))}}, "house.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func houseText(t testing.TB, replace ...string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/house.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(data), replace[i]) {
			t.Fatalf("house.yaml has no %q", replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(data))
}

// said makes a state of one who accepted a version. Each answer is
// "PURPOSE[@RECIPIENT] STATUS VERSION [in DURATION]".
func said(accepted string, answers ...string) consent.State {
	s := consent.State{Policy: accepted, Version: 1, Grants: map[consent.GrantKey]consent.Grant{}}
	for _, a := range answers {
		f := strings.Fields(a)
		purpose, recipient, _ := strings.Cut(f[0], "@")
		g := consent.Grant{Status: consent.Status(f[1]), Version: f[2]}
		if len(f) > 3 {
			d, err := time.ParseDuration(f[4])
			if err != nil {
				panic(err)
			}
			g.Expires = goldenNow.Add(d)
		}
		s.Grants[consent.GrantKey{Purpose: purpose, Recipient: recipient}] = g
	}
	return s
}

func minor(s consent.State, until time.Duration, g *consent.Guardian) consent.State {
	s.MinorUntil, s.Guardian = goldenNow.Add(until), g
	return s
}

func guardian(status consent.Status, purposes ...string) *consent.Guardian {
	return &consent.Guardian{Method: "written", Status: status, Purposes: purposes}
}

func expiring(g *consent.Guardian, in time.Duration) *consent.Guardian {
	g.Expires = goldenNow.Add(in)
	return g
}

// TestPermits is "May this purpose run?", bullet by bullet.
func TestPermits(t *testing.T) {
	tombstone := said(v26, "service.profile granted 2026-01-01")
	tombstone.Tombstoned = true
	never := said(v26)
	never.Version = 0
	const (
		operate, profile, geotag = "service.operate backend", "service.profile backend", "media.geotag backend"
		pay, personalise         = "pay payer", "ads.personalise adx"
		clientA, clientB         = "client.profile clients:a", "client.profile clients:b"
		measure, overseas        = "ads.measure adx", "ads.measure overseas"
	)
	for _, tt := range []struct {
		name  string
		state consent.State
		ask   string // purpose and recipient
		want  bool
	}{
		// The policy accepted, in a version no older than since.
		{"no state", consent.State{}, operate, false},
		{"answers without acceptance", said("", "service.profile granted 2026-01-01"), profile, false},
		{"necessary, accepted", said(v26), operate, true},
		{"necessary, accepted in the oldest version", said(v24), operate, true},
		{"an unknown version", said("2023-01-01"), operate, false},
		{"a version that is yet to come", said("2027-01-01"), operate, false},
		{"no version at all", said("latest"), operate, false},
		{"a joined state that was never written", never, operate, true},
		{"granted anew, accepted too old", said(v24, "media.geotag granted 2025-01-01"), geotag, false},
		{"accepted anew, granted too old", said(v26, "media.geotag granted 2024-01-01"), geotag, false},
		{"both in the version of since", said(v25, "media.geotag granted 2025-01-01"), geotag, true},
		{"granted newer than accepted", said(v25, "media.geotag granted 2026-01-01"), geotag, true},
		{"granted under an unknown version", said(v26, "service.profile granted 2023-01-01"), profile, false},

		// Denied and withdrawn beat every basis.
		{"necessary, denied", said(v26, "service.operate denied 2026-01-01"), operate, false},
		{"necessary, withdrawn", said(v26, "service.operate withdrawn 2026-01-01"), operate, false},
		{"necessary, denied under the oldest version", said(v26, "service.operate denied 2024-01-01"), operate, false},
		{"necessary, denied under an unknown version", said(v26, "service.operate denied 1999-01-01"), operate, false},
		{"denied for this recipient", said(v26, "ads.measure@adx denied 2026-01-01"), measure, false},
		{"denied for another recipient", said(v26, "ads.measure@overseas denied 2026-01-01"), measure, true},
		{"denied for all, granted for one", said(v26, "pay denied 2026-01-01", "pay@payer granted 2026-01-01"), pay, false},
		{"a status that nobody knows is a refusal", said(v26, "service.operate maybe 2026-01-01"), operate, false},
		{"a status that nobody knows is no grant", said(v26, "service.profile GRANTED 2026-01-01"), profile, false},
		{"the denial expires now", said(v26, "service.operate denied 2026-01-01 in 0s"), operate, true},
		{"the denial expires in a moment", said(v26, "service.operate denied 2026-01-01 in 1ns"), operate, false},

		// Consent and explicit need a grant, separate one for the recipient.
		{"consent, not asked", said(v26), profile, false},
		{"consent, granted", said(v26, "service.profile granted 2026-01-01"), profile, true},
		{"consent, granted for a recipient alone", said(v26, "service.profile@backend granted 2026-01-01"), profile, false},
		{"explicit, granted", said(v26, "media.geotag granted 2026-01-01"), geotag, true},
		{"explicit, another purpose granted", said(v26, "service.profile granted 2026-01-01"), geotag, false},
		{"explicit, withdrawn", said(v26, "media.geotag withdrawn 2026-01-01"), geotag, false},
		{"expires in a moment", said(v26, "service.profile granted 2026-01-01 in 1ns"), profile, true},
		{"expires now", said(v26, "service.profile granted 2026-01-01 in 0s"), profile, false},
		{"has expired", said(v26, "service.profile granted 2026-01-01 in -1h"), profile, false},
		{"separate, granted", said(v26, "pay@payer granted 2026-01-01"), pay, true},
		{"separate, granted without a recipient", said(v26, "pay granted 2026-01-01"), pay, false},
		{"separate, granted for another", said(v26, "ads.personalise@overseas granted 2026-01-01"), personalise, false},
		{"a purpose that the recipient does not list", said(v26, "pay@adx granted 2026-01-01"), "pay adx", false},
		{"a purpose that is none", said(v26, "nosuch granted 2026-01-01"), "nosuch backend", false},
		{"a recipient that is none", said(v26), "service.operate nosuch", false},

		// per: a grant names the party.
		{"per, granted to the party", said(v26, "client.profile@clients:a granted 2026-01-01"), clientA, true},
		{"per, granted to another party", said(v26, "client.profile@clients:a granted 2026-01-01"), clientB, false},
		{"per, granted to the recipient as a whole", said(v26, "client.profile@clients granted 2026-01-01"), clientA, false},
		{"per, granted to the purpose", said(v26, "client.profile granted 2026-01-01"), clientA, false},
		{"per, the party unknown", said(v26, "client.profile@clients:a granted 2026-01-01"), "client.profile clients", false},
		{"per, granted to a party without a name", said(v26, "client.profile@clients: granted 2026-01-01"), clientA, false},
		{"per, the party empty", said(v26, "client.profile@clients: granted 2026-01-01"), "client.profile clients:", false},
		{"per, denied for all parties", said(v26, "client.profile@clients denied 2026-01-01", "client.profile@clients:a granted 2026-01-01"), clientA, false},
		{"per, denied for the other party", said(v26, "client.profile@clients:b denied 2026-01-01", "client.profile@clients:a granted 2026-01-01"), clientA, true},
		{"per, a party with a colon", said(v26, "client.profile@clients:a:b granted 2026-01-01"), "client.profile clients:a:b", true},
		{"per, only the head of its name", said(v26, "client.profile@clients:a:b granted 2026-01-01"), clientA, false},
		{"per, another purpose", said(v26, "client.location@clients:a granted 2026-01-01"), clientA, false},

		// Minors.
		{"minor, no guardian", minor(said(v26), time.Hour, nil), operate, false},
		{"minor, guardian of everything", minor(said(v26), time.Hour, guardian(consent.Granted, "*")), operate, true},
		{"minor, guardian names the purpose", minor(said(v26), time.Hour, guardian(consent.Granted, "pay", "service.operate")), operate, true},
		{"minor, guardian names another", minor(said(v26), time.Hour, guardian(consent.Granted, "pay")), operate, false},
		{"minor, a pattern is no name", minor(said(v26), time.Hour, guardian(consent.Granted, "service.*")), operate, false},
		{"minor, guardian denied", minor(said(v26), time.Hour, guardian(consent.Denied, "*")), operate, false},
		{"minor, guardian withdrew", minor(said(v26), time.Hour, guardian(consent.Withdrawn, "*")), operate, false},
		{"minor, guardian's consent expires now", minor(said(v26), time.Hour, expiring(guardian(consent.Granted, "*"), 0)), operate, false},
		{"minor, guardian's consent expires in a moment", minor(said(v26), time.Hour, expiring(guardian(consent.Granted, "*"), 1)), operate, true},
		{"minor, a guardian does not replace the grant", minor(said(v26), time.Hour, guardian(consent.Granted, "*")), profile, false},
		{"minor, guardian and grant", minor(said(v26, "service.profile granted 2026-01-01"), time.Hour, guardian(consent.Granted, "*")), profile, true},
		{"minor, a guardian does not lift a denial", minor(said(v26, "service.operate denied 2026-01-01"), time.Hour, guardian(consent.Granted, "*")), operate, false},
		{"of age at this moment", minor(said(v26), 0, nil), operate, true},
		{"of age, and a guardian who denied", minor(said(v26), -time.Hour, guardian(consent.Denied, "*")), operate, true},

		// Abroad.
		{"abroad, not asked", said(v26), overseas, false},
		{"abroad, crossing granted", said(v26, "cross_border@overseas granted 2026-01-01"), overseas, true},
		{"abroad, crossing granted to no one by name", said(v26, "cross_border granted 2026-01-01"), overseas, false},
		{"abroad, crossing granted to another", said(v26, "cross_border@adx granted 2026-01-01"), overseas, false},
		{"abroad, crossing expires now", said(v26, "cross_border@overseas granted 2026-01-01 in 0s"), overseas, false},
		{"abroad, crossing denied for all", said(v26, "cross_border denied 2026-01-01", "cross_border@overseas granted 2026-01-01"), overseas, false},
		{"abroad, the purpose denied", said(v26, "cross_border@overseas granted 2026-01-01", "ads.measure denied 2026-01-01"), overseas, false},
		{"abroad, a minor whose guardian names the purpose alone", minor(said(v26, "cross_border@overseas granted 2026-01-01"), time.Hour, guardian(consent.Granted, "ads.measure")), overseas, false},
		{"abroad, a minor whose guardian names both", minor(said(v26, "cross_border@overseas granted 2026-01-01"), time.Hour, guardian(consent.Granted, "ads.measure", "cross_border")), overseas, true},
		{"crossing itself", said(v26, "cross_border@overseas granted 2026-01-01"), "cross_border overseas", true},
		{"at home nothing crosses", said(v26, "cross_border@adx granted 2026-01-01"), "cross_border adx", false},
		{"at home, crossing denied", said(v26, "cross_border denied 2026-01-01"), measure, true},

		{"cancelled", tombstone, operate, false},
		{"cancelled, granted before", tombstone, profile, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := house(t)
			purpose, recipient, _ := strings.Cut(tt.ask, " ")
			pm, _ := p.Permits(&tt.state, goldenNow)
			if got := p.Permitted(pm, purpose, recipient); got != tt.want {
				t.Errorf("%s for %s: %v, want %v", purpose, recipient, got, tt.want)
			}
			if p.Permitted(Permits{}, purpose, recipient) {
				t.Error("the zero Permits permits it")
			}
			if house(t).Permitted(pm, purpose, recipient) {
				t.Error("permits of one policy count for another")
			}
		})
	}
	if pm, until := house(t).Permits(nil, goldenNow); pm.words != nil || !until.IsZero() {
		t.Error("no state at all permits something")
	}
}

// A recipient that is newer than a purpose asks again, for the purpose and for
// crossing the border.
func TestARecipientsSinceCounts(t *testing.T) {
	p := house(t, "    country: US\n", "    country: US\n    since: 2025-01-01\n", "    vendor: Payer Ltd.\n", "    vendor: Payer Ltd.\n    since: 2026-01-01\n")
	for _, tt := range []struct {
		state consent.State
		ask   string
		want  bool
	}{
		{said(v26, "pay@payer granted 2025-01-01"), "pay payer", false},
		{said(v25, "pay@payer granted 2026-01-01"), "pay payer", false},
		{said(v26, "pay@payer granted 2026-01-01"), "pay payer", true},
		{said(v26, "cross_border@overseas granted 2024-01-01"), "ads.measure overseas", false},
		{said(v24, "cross_border@overseas granted 2025-01-01"), "ads.measure overseas", false},
		{said(v25, "cross_border@overseas granted 2025-01-01"), "ads.measure overseas", true},
		{said(v24), "ads.measure adx", true},
	} {
		purpose, recipient, _ := strings.Cut(tt.ask, " ")
		pm, _ := p.Permits(&tt.state, goldenNow)
		if got := p.Permitted(pm, purpose, recipient); got != tt.want {
			t.Errorf("%s, accepted %s, %v: %v", tt.ask, tt.state.Policy, tt.state.Grants, got)
		}
	}
}

// Of a recipient with parties behind it, one that does not say its name gets
// nothing, not even what needs no grant: it may be the one that was refused.
func TestANamelessPartyGetsNothing(t *testing.T) {
	p := house(t, "    kind: ad_partner\n    title: {zh: 广告, en: Ads}\n", "    kind: ad_partner\n    per: \"{http.request.header.X-Seat}\"\n    title: {zh: 广告, en: Ads}\n")
	s := said(v26, "ads.measure@adx:b denied 2026-01-01")
	pm, _ := p.Permits(&s, goldenNow)
	for name, want := range map[string]bool{"adx:a": true, "adx:b": false, "adx": false, "adx:": false} {
		if got := p.Permitted(pm, "ads.measure", name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Until when permits hold: the first moment at which a part of the state ends
// by itself. At that moment they differ, just before it they do not.
func TestValidUntil(t *testing.T) {
	none := time.Duration(0)
	for _, tt := range []struct {
		name  string
		state consent.State
		want  time.Duration // none: for ever
	}{
		{"nothing expires", said(v26, "service.profile granted 2026-01-01"), none},
		{"a grant", said(v26, "service.profile granted 2026-01-01 in 1h"), time.Hour},
		{"the first of two", said(v26, "service.profile granted 2026-01-01 in 2h", "media.geotag granted 2026-01-01 in 1h"), time.Hour},
		{"a denial, whose end permits again", said(v26, "service.operate denied 2026-01-01 in 1h"), time.Hour},
		{"what is over already", said(v26, "service.profile granted 2026-01-01 in -1h", "media.geotag granted 2026-01-01 in 0s"), none},
		{"coming of age", minor(said(v26), time.Hour, nil), time.Hour},
		{"the guardian's consent", minor(said(v26), 2*time.Hour, expiring(guardian(consent.Granted, "*"), time.Hour)), time.Hour},
		{"crossing the border", said(v26, "cross_border@overseas granted 2026-01-01 in 1h"), time.Hour},
		{"a party", said(v26, "client.profile@clients:a granted 2026-01-01 in 1h"), time.Hour},
		{"nobody", consent.State{}, none},
		{"not accepted: no expiry changes that", said("", "service.profile granted 2026-01-01 in 1h"), none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := house(t)
			permits := func(now time.Time) string {
				pm, _ := p.Permits(&tt.state, now)
				var s strings.Builder
				for _, r := range p.Recipients() {
					for _, u := range r.Purposes {
						for _, name := range []string{r.ID, r.ID + ":a"} {
							if p.Permitted(pm, u, name) {
								s.WriteString(u + "@" + name + " ")
							}
						}
					}
				}
				return s.String()
			}
			_, until := p.Permits(&tt.state, goldenNow)
			if tt.want == none {
				if !until.IsZero() {
					t.Fatalf("until %v", until)
				}
				if now, later := permits(goldenNow), permits(goldenNow.AddDate(100, 0, 0)); now != later {
					t.Errorf("for ever, and yet they go from %s to %s", now, later)
				}
				return
			}
			if !until.Equal(goldenNow.Add(tt.want)) {
				t.Fatalf("until %v, want %v", until, goldenNow.Add(tt.want))
			}
			now, before, at := permits(goldenNow), permits(until.Add(-1)), permits(until)
			if now != before || before == at {
				t.Errorf("now %s, just before %s, at the moment %s", now, before, at)
			}
		})
	}
}
