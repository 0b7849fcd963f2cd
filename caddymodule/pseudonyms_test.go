package caddymodule

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// What an exchange gets is made with the key of the present epoch, as the policy
// says of it, and with no other.
func TestPseudonymsAreOfTheRecipientsEpoch(t *testing.T) {
	const imei = "004999010640000"
	s := startCaddy(t, gateCaddyfile(embedded, "adx", "", ""))
	r := s.do("POST", "/consent/v1/events", `{"subject":"u-1","kind":"user","policy_version":"2022-03-09","accept_policy":true,"grants":[{"purpose":"ads.personalise","recipient":"adx","status":"granted"}]}`,
		"Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != 201 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	p, err := rules.LoadFile("../rules/policies/liaoxiaobang.yaml")
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte(s.salt(consent.User, "u-1"))
	rotation := p.Recipient("adx").Pseudonyms
	if rotation.Epoch(time.Now(), salt) == 0 {
		t.Fatal("the policy does not change the exchange's keys: the test shows nothing")
	}
	tr, err := deid.New("pseudonym", nil, deid.Env{Recipient: "adx", Category: "device.id.imei"})
	if err != nil {
		t.Fatal(err)
	}
	pseudonym := func(epoch uint32) string {
		key := configuredApp(t).SubjectKey("adx", epoch, salt)
		out, _, ok := tr.Append(nil, []byte(imei), payload.String, &payload.Params{Key: key})
		if !ok {
			t.Fatal("no pseudonym can be made")
		}
		return string(out)
	}
	before := rotation.Epoch(time.Now(), salt)
	s.do("POST", "/v1/bid", `{"id":"r-1","device":{"ext":{"imei":"`+imei+`"}}}`, "X-User-ID", "u-1", "Content-Type", "application/json")
	after := rotation.Epoch(time.Now(), salt)
	var bid struct {
		Device struct{ Ext struct{ IMEI string } }
	}
	if err := json.Unmarshal(s.upstream.last(t).Body, &bid); err != nil {
		t.Fatal(err)
	}
	if got := bid.Device.Ext.IMEI; got != pseudonym(before) && got != pseudonym(after) {
		t.Errorf("%s arrived, and the pseudonym of epoch %d is %s", got, before, pseudonym(before))
	}
	if pseudonym(before) == pseudonym(before-1) || pseudonym(before) == pseudonym(0) {
		t.Error("two epochs have one pseudonym")
	}
}
