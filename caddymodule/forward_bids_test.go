package caddymodule

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/attack"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// plantedBid is a bid request of the corpus with one more value in every field
// that speaks of a person.
type plantedBid struct {
	*attack.Case
	body func(id string) string
}

// personal are fields of OpenRTB 2.6 that speak of a person, and that no partner
// gets as they came.
var personal = []string{
	"user.id", "user.buyeruid", "user.keywords", "user.customdata", "user.ext.uid", "user.data.segment.value", "user.eids.uids.id", "user.geo.zip",
	"device.dpidsha1", "device.dpidmd5", "device.didsha1", "device.didmd5", "device.macsha1", "device.macmd5", "device.ext.oaid",
	"device.geo.zip", "device.geo.city", "device.carrier", "device.ext.bssid", "device.language", "ext.phone", "site.page", "site.ref", "site.search",
}

// sharedIFA is one device's advertising identifier, which many people have sent.
const sharedIFA = "6d92078a-8246-4ba4-ae5b-76104861e7dc"

// plantedBids reads the OpenRTB corpus.
func plantedBids(t *testing.T) (bids []plantedBid) {
	t.Helper()
	data, err := os.ReadFile("../../shared/corpora/openrtb/bid-requests.ndjson")
	if err != nil {
		t.Skipf("the OpenRTB corpus is not here: %v", err)
	}
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var doc map[string]any
		if err := json.Unmarshal(line, &doc); err != nil {
			t.Fatal(err)
		}
		k := &attack.Case{Place: "the corpus", Index: uint64(i)}
		canary := func(value, item string) string {
			k.Canaries = append(k.Canaries, attack.Plant(value, item))
			return value
		}
		for _, path := range personal {
			plantAt(doc, strings.Split(path, "."), canary(fmt.Sprintf("zqplant%04d%s", i, strings.ReplaceAll(path, ".", "")), path))
		}
		plantAt(doc, []string{"device", "ifa"}, sharedIFA)
		plantAt(doc, []string{"device", "ip"}, canary(fmt.Sprintf("198.51.%d.%d", 100+i%100, 101+i%100), "device.ip"))
		plantAt(doc, []string{"device", "ipv6"}, canary(fmt.Sprintf("2408:8000:1000:2000:3000:4000:5000:%x", 0x1000+i), "device.ipv6"))
		plantAt(doc, []string{"device", "ua"}, canary(fmt.Sprintf("Mozilla/5.0 (Linux; Android 14; zqmodel%04d) zqbuild%04d", i, i), "device.ua"))
		plantAt(doc, []string{"device", "geo", "lat"}, json.Number(canary(fmt.Sprintf("23.1066%04d1", i), "device.geo")))
		plantAt(doc, []string{"device", "geo", "lon"}, json.Number(canary(fmt.Sprintf("113.3244%04d1", i), "device.geo")))
		k.Canaries = append(k.Canaries, attack.Plant(sharedIFA, "device.ifa"))
		bids = append(bids, plantedBid{k, func(id string) string {
			doc["id"] = id
			out, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}})
	}
	return bids
}

// plantAt sets a member, through the first elements of arrays.
func plantAt(doc any, steps []string, value any) {
	switch d := doc.(type) {
	case map[string]any:
		if len(steps) == 1 {
			d[steps[0]] = value
			return
		}
		switch d[steps[0]].(type) {
		case map[string]any, []any:
		default:
			d[steps[0]] = map[string]any{}
		}
		if list, ok := d[steps[0]].([]any); ok {
			if len(list) == 0 {
				list = []any{map[string]any{}}
				d[steps[0]] = list
			}
			if _, ok := list[0].(map[string]any); !ok {
				list[0] = map[string]any{}
			}
		}
		plantAt(d[steps[0]], steps[1:], value)
	case []any:
		plantAt(d[0], steps, value)
	}
}

// TestForwardedBids sends the whole OpenRTB corpus for people in each state of
// consent. What arrives is a bid request still, and names nobody; a pseudonym is
// one person's at one partner.
func TestForwardedBids(t *testing.T) {
	bids := plantedBids(t)
	a := startForwardAttack(t, "store embedded @DATA@/consent", "", "", "adx", "dsp")
	subjects := []string{"zqperson-both", "zqperson-adx", "zqperson-none", "zqperson-gone", "zqperson-stranger"}
	for _, user := range subjects[:4] {
		a.accept(t, user)
	}
	a.decides(t, subjects[0], "ads.personalise", "adx", "granted")
	a.decides(t, subjects[0], "ads.personalise", "dsp", "granted")
	a.decides(t, subjects[1], "ads.personalise", "adx", "granted")
	a.decides(t, subjects[3], "ads.measure", "", "denied")
	cases := []*attack.Case{people(subjects...)}
	for i, b := range bids {
		cases = append(cases, b.Case)
		for who, user := range subjects {
			if n := a.do("POST", "/v1/bid", b.body(fmt.Sprintf("%d/%d", who, i)), "Content-Type", "application/json", "X-User-ID", user).Status; n != http.StatusOK {
				t.Fatalf("bid %d of %s: %d", i, user, n)
			}
		}
	}
	a.settle(t)
	d := dragnetOf(cases)
	pseudonyms := map[string]string{} // by partner and subject
	of := map[string]string{}
	for name, p := range a.partners {
		posts := p.taken()
		records, _ := auditPosts(t, name, posts, d)
		if want := 3 * len(bids); records != want {
			t.Errorf("%s got %d records, and %d people let it have theirs: %d were due", name, records, 3, want)
		}
		for _, post := range posts {
			for _, r := range post.Records {
				var bid struct {
					ID     string
					Device struct {
						IFA *string
						LMT *int
						Geo struct{ Lat, Lon json.Number }
						IP  string
					}
				}
				if err := json.Unmarshal([]byte(r), &bid); err != nil {
					t.Fatalf("%v: %s", err, r)
				}
				who, _, _ := strings.Cut(bid.ID, "/")
				granted := who == "0" || who == "1" && name == "adx"
				if granted != (bid.Device.IFA != nil) {
					t.Fatalf("%s, person %s: %s", name, who, r)
				}
				if want := map[string]string{"adx": "23.1", "dsp": "23"}[name]; bid.Device.Geo.Lat.String() != want {
					t.Fatalf("%s got the latitude %s: %s", name, bid.Device.Geo.Lat, r)
				}
				if bid.Device.IFA == nil {
					continue
				}
				key := name + "/" + who
				if was := pseudonyms[key]; was != "" && was != *bid.Device.IFA {
					t.Fatalf("%s is %s and %s", key, was, *bid.Device.IFA)
				}
				pseudonyms[key] = *bid.Device.IFA
				of[*bid.Device.IFA] = key
			}
		}
	}
	if len(pseudonyms) != 3 || len(of) != 3 {
		t.Errorf("pseudonyms of one device for two people at one partner and one at another: %v", pseudonyms)
	}
	a.underivable(t, subjects[:2], pseudonyms)
	for _, h := range d.Search([]byte(a.logs())) {
		t.Errorf("the logs hold %s %s", h.Canary.Item, h.Canary.Value)
	}
}

// underivable shows that what a partner got needs the root secret, and is none of
// what one can make of the identifier without it.
func (a *forwardAttack) underivable(t *testing.T, subjects []string, pseudonyms map[string]string) {
	t.Helper()
	for key, arrived := range pseudonyms {
		partner, who, _ := strings.Cut(key, "/")
		user := subjects[who[0]-'0']
		salt := []byte(a.salt("user", user))
		tr, err := deid.New("pseudonym", nil, deid.Env{Recipient: partner, Category: "device.id.idfa"})
		if err != nil {
			t.Fatal(err)
		}
		// Times around now, since an epoch may have ended since.
		rotation := configuredApp(t).Current().Policy.Recipient(partner).Pseudonyms
		made := func(root string, salt []byte, recipient string, epochsAgo uint32) string {
			epoch := rotation.Epoch(time.Now(), salt)
			k := deid.SubjectKey([]byte(root), recipient, epoch-min(epoch, epochsAgo), salt)
			out, _, ok := tr.Append(nil, []byte(sharedIFA), payload.String, &payload.Params{Key: k})
			if !ok {
				return "none"
			}
			return string(out)
		}
		if got := made(forwardAttackSecret, salt, partner, 0); got != arrived && made(forwardAttackSecret, salt, partner, 1) != arrived {
			t.Fatalf("%s got %s, and the key of its epoch makes %s: this test cannot tell", key, arrived, got)
		}
		for what, guess := range map[string]string{
			"another root":       made("0123456789abcdef0123456789abcdef", salt, partner, 0),
			"a root of zeros":    made(strings.Repeat("\x00", 32), salt, partner, 0),
			"no root":            made("", salt, partner, 0),
			"the salt for root":  made(string(salt), salt, partner, 0),
			"no salt":            made(forwardAttackSecret, nil, partner, 0),
			"another one's salt": made(forwardAttackSecret, []byte(strings.Repeat("s", len(salt))), partner, 0),
			"another partner":    made(forwardAttackSecret, salt, "other", 0),
		} {
			if guess == arrived {
				t.Errorf("%s: %s makes the pseudonym", key, what)
			}
		}
		if rotation.Length > 0 && made(forwardAttackSecret, salt, partner, 1) == made(forwardAttackSecret, salt, partner, 0) {
			t.Errorf("%s: two epochs have one pseudonym", key)
		}
		hexOf := strings.ReplaceAll(arrived, "-", "")
		for _, raw := range []string{sharedIFA, strings.ToUpper(sharedIFA), strings.ReplaceAll(sharedIFA, "-", "")} {
			for _, k := range []string{"", partner, user, "device.id.idfa", string(salt), sharedIFA, a.digest(t, user), strings.Repeat("\x00", 32)} {
				for _, h := range []func() hash.Hash{md5.New, sha1.New, sha256.New, sha512.New} {
					mac, plain := hmac.New(h, []byte(k)), h()
					mac.Write([]byte(raw))
					plain.Write([]byte(k + raw))
					for _, sum := range [][]byte{mac.Sum(nil), plain.Sum(nil)} {
						// Where a UUID has its version and its variant, six bits are not of the hash.
						if guess := hex.EncodeToString(sum); guess[:12] == hexOf[:12] || guess[20:32] == hexOf[20:] {
							t.Errorf("%s: %s is a hash of the identifier under %q", key, arrived, k)
						}
					}
				}
			}
		}
	}
}
