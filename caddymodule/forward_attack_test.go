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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentgate/consentgate/internal/attack"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

// secondPartner is one more ad partner of the shipped policy, which gets less than
// the exchange does.
const secondPartner = `recipients:

  dsp:
    kind: ad_partner
    title: {zh: 需求方平台, en: Demand-side platform}
    country: CN
    purposes: [ads.measure, ads.personalise]
    release:
      - {category: "device.id.*", purpose: ads.personalise, as: pseudonym}
      - {category: location.precise, as: {geo: {decimals: 0}}}
      - {category: network.ip, as: {ip: {v4: 16, v6: 32}}}
      - {category: device.os, as: pass}
    keep: [id, "imp.**", at]
@CROWD@`

const crowdOfDSP = `    k_anonymity:
      k: 3
      window: 1h
      of: [location.precise, network.ip, device.os]
`

// policyOfTwo is the shipped policy with the second partner; crowd is what that
// one asks for beyond.
func policyOfTwo(t *testing.T, crowd string) (path string) {
	t.Helper()
	shipped, err := os.ReadFile("../rules/policies/liaoxiaobang.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(shipped), "\nrecipients:\n")
	if !ok {
		t.Fatal("the shipped policy has no recipients")
	}
	return configFile(t, "policy.yaml", head+"\n"+strings.Replace(secondPartner, "@CROWD@", crowd, 1)+rest)
}

// mayArrive are the categories of the generator that a partner may have as they
// came, of one who accepted the policy. All others are dropped or transformed. The
// backend is forwarded to as well: it may have what Canary.Gone does not forbid,
// which is much, so that the audit is seen to see.
var mayArrive = map[string][]string{
	"adx":     {"device.model", "device.os", "network.type", "app.id", "app.version"},
	"dsp":     {"device.os"},
	"backend": nil,
}

// forwardAttack is a gate with two partners.
type forwardAttack struct {
	*server
	up       *target
	partners map[string]*partnerStub
}

// startForwardAttack starts the gates that attacks are sent to, each of which
// forwards to the partners.
func startForwardAttack(t *testing.T, store, crowd, more string, partners ...string) *forwardAttack {
	t.Helper()
	a := &forwardAttack{up: startTarget(t), partners: map[string]*partnerStub{}}
	forwards := "mode enforce\n"
	for _, name := range partners {
		a.partners[name] = startPartner(t)
		forwards += "forward " + name + " " + a.partners[name].URL + "/events {\nbatch 100 20ms\nrecord_ids off\n" + more + "\n}\n"
	}
	caddyfile := strings.NewReplacer(
		"policy liaoxiaobang", "policy "+policyOfTwo(t, crowd)+"\n\t\tsecret "+forwardAttackSecret,
		"store embedded @DATA@/consent", store, "mode enforce\n", forwards, "@UPSTREAM@", a.up.addr, attackToken, fixtureToken,
	).Replace(attackCaddyfile("enforce"))
	a.server = startCaddy(t, caddyfile)
	a.attackPeople(t, fixtureToken)
	a.decides(t, attack.DeniedID, "ads.measure", "", "denied")
	a.decides(t, attack.DeniedID, "ads.personalise", "adx", "denied")
	a.decides(t, attack.DeniedID, "ads.personalise", "dsp", "denied")
	testLogs.reset()
	return a
}

const forwardAttackSecret = "fedcba9876543210fedcba9876543210"

// settle waits until nothing waits for a partner any more.
func (a *forwardAttack) settle(t *testing.T) {
	t.Helper()
	eventually(t, "nothing waits for a partner", func() bool {
		var view struct{ Partners []struct{ Records int64 } }
		a.outboxCall(t, "GET", "", "", &view)
		for _, p := range view.Partners {
			if p.Records > 0 {
				return false
			}
		}
		return len(view.Partners) == len(a.partners)
	})
}

// taken returns what has arrived at a partner since it was last asked.
func (p *partnerStub) taken() []delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.posts
	p.posts = nil
	return got
}

// sendCases sends cases through the gate and returns them.
func (a *forwardAttack) sendCases(seed, first, n uint64) []*attack.Case {
	cases := make([]*attack.Case, n)
	var at atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := &client{addr: a.Addr}
			defer c.close()
			for {
				i := at.Add(1) - 1
				if i >= int64(n) {
					return
				}
				cases[i] = attack.New(seed, first+uint64(i))
				_, _, _ = c.send(cases[i]) // whatever the answer: what arrives is looked at
			}
		})
	}
	wg.Wait()
	a.up.mu.Lock()
	a.up.got = map[string][]*attack.Arrived{}
	a.up.mu.Unlock()
	return cases
}

// people are the ids of subjects, which no partner and no outbox ever sees.
func people(ids ...string) *attack.Case {
	k := &attack.Case{Place: "subject"}
	for _, id := range ids {
		k.Canaries = append(k.Canaries, attack.Plant(id, "subject"))
	}
	return k
}

// dragnetOf knows the canaries of all the cases, and the digests of them.
func dragnetOf(cases []*attack.Case) *attack.Dragnet {
	d := attack.NewDragnet(cases)
	d.AddDigests(cases)
	return d
}

// maySee reports whether a partner may have what was found: in a record of one
// who accepted, a category that passes, as it came.
func maySee(partner string, h attack.Hit) bool {
	if partner == "backend" {
		return !h.Canary.Gone || h.Canary.Value == attack.GrantedID
	}
	return h.Canary.Subject == attack.Granted && slices.Contains(mayArrive[partner], h.Canary.Item)
}

// auditPosts looks at every byte of what a partner was sent. It returns how many
// records there were, and the places of which something has arrived that may.
func auditPosts(t *testing.T, partner string, posts []delivered, d *attack.Dragnet) (records int, seen map[string]int) {
	t.Helper()
	seen = map[string]int{}
	told := map[string]bool{}
	look := func(part string, text []byte) {
		for _, h := range d.Open(part, text) {
			if maySee(partner, h) {
				seen[h.Case.Place]++
				continue
			}
			key := h.Case.Place + h.Canary.Item + h.Case.Wrapping
			if !told[key] && len(told) < 30 {
				told[key] = true
				t.Errorf("%s got %s %s, seen in %s\n\tseed %d, index %d: %s\n\tsent: %s\n\tarrived: %s",
					partner, h.Canary.Item, h.Canary.Value, h.In, h.Case.Seed, h.Case.Index, h.Case.Label(), clip(h.Case.Wire()), clip(text))
			}
		}
	}
	for _, post := range posts {
		for name, values := range post.Header {
			look("header "+name, []byte(strings.Join(values, "\n")))
		}
		for _, r := range post.Records {
			records++
			if err := strictly(r); err != nil {
				t.Errorf("%s got what is no strict JSON: %v: %s", partner, err, clip([]byte(r)))
			}
			look("the body", []byte(r))
		}
	}
	return records, seen
}

// strictly reads a record as RFC 8259 has it, with a reader that is not the
// gate's. Names that stand twice and escapes of half a character, which its grammar
// allows, are the sender's.
func strictly(record string) error {
	if !utf8.ValidString(record) {
		return fmt.Errorf("it is no UTF-8")
	}
	d := jsontext.NewDecoder(strings.NewReader(record), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	if k := v.Kind(); k != '{' && k != '[' {
		return fmt.Errorf("it is %v", k)
	}
	if rest := strings.TrimSpace(record[d.InputOffset():]); rest != "" {
		return fmt.Errorf("behind it comes %.40q", rest)
	}
	return nil
}

// TestForwardedAttacks sends attacks through a gate with two partners, for people
// in each state of consent, and looks for what they carry at the partners' ends.
// The variables of TestAttacks hold for it, too.
func TestForwardedAttacks(t *testing.T) {
	n, seed, first := attackSample(t, attackCases/5)
	a := startForwardAttack(t, "store embedded @DATA@/consent", "", "", "adx", "dsp", "backend")
	all := map[string]int{} // what was seen, by place
	for _, state := range []struct {
		name    string
		arrives bool
		set     func()
	}{
		{"accepted, and granted to adx", true, func() { a.decides(t, attack.GrantedID, "ads.personalise", "adx", "granted") }},
		{"accepted alone", true, func() { a.decides(t, attack.GrantedID, "ads.personalise", "adx", "withdrawn") }},
		{"withdrew all", false, func() {
			a.decides(t, attack.GrantedID, "ads.measure", "", "denied")
			a.decides(t, attack.GrantedID, "ads.personalise", "adx", "withdrawn")
		}},
	} {
		t.Run(state.name, func(t *testing.T) {
			state.set()
			const round = 2000
			from, arrived, seen := first, map[string]int{}, map[string]map[string]int{"adx": {}, "dsp": {}, "backend": {}}
			for left := n; left > 0; {
				cases := a.sendCases(seed, from, min(left, round))
				from, left = from+uint64(len(cases)), left-uint64(len(cases))
				a.settle(t)
				ids := people(attack.GrantedID, attack.DeniedID)
				logged := dragnetOf(append(cases, ids))
				for _, user := range []string{attack.GrantedID, attack.DeniedID} {
					ids.Canaries = append(ids.Canaries, attack.Plant(a.digest(t, user), "digest")) // which logs may hold
				}
				d := dragnetOf(append(cases, ids))
				for name, p := range a.partners {
					records, places := auditPosts(t, name, p.taken(), d)
					arrived[name] += records
					for place, times := range places {
						seen[name][place] += times
						all[place] += times
					}
				}
				for _, h := range logged.Search([]byte(a.logs())) {
					t.Errorf("the logs hold %s %s", h.Canary.Item, h.Canary.Value)
				}
				testLogs.reset()
			}
			first = from
			t.Logf("%d sent; records that arrived: %v; of places: %v", n, arrived, seen)
			for name := range a.partners {
				switch due := state.arrives || name == "backend"; {
				case !due && arrived[name] > 0:
					t.Errorf("%s got %d records of people who let it have nothing", name, arrived[name])
				case due && arrived[name] < int(n)/20:
					t.Errorf("%s got only %d records: what does not arrive proves nothing", name, arrived[name])
				case state.arrives && len(seen["adx"]) < 3:
					t.Errorf("of what may arrive at adx too little was seen: %v", seen["adx"])
				}
			}
		})
	}
	// The audit sees what may arrive, wherever JSON can hold it.
	for _, place := range []string{
		"member", "deep-member", "array-element", "governed-object", "duplicate-key", "pair-name-first", "pair-value-first", "map-key",
		"number", "url-query", "free-text", "lines", "batch", "batch-root", "lines-of-many", "snowplow", "matomo", "segment", "openrtb",
	} {
		if all[place] == 0 {
			t.Errorf("of what may arrive nothing was seen that stood in %s", place)
		}
	}
}

// digest returns the name by which the store knows a user. No partner learns it.
func (s *server) digest(t *testing.T, user string) string {
	t.Helper()
	return configuredApp(t).Digest("user", user)
}

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

// What names the category of a value goes with it, so that the value can still be
// taken out when its consent has gone.
func TestForwardNamedValuesAreKnownWhenTheyLeave(t *testing.T) {
	p := startPartner(t)
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	p.answer = switched(&status)
	s := startForwarding(t, p, forwarding(embedded, "", "retry 10ms 20ms\n\t\t\t\tbreaker 1000 10ms"))
	s.accept(t, "u1")
	s.decides(t, "u1", "ads.personalise", "adx", "granted")
	if n := s.bring(t, "u1", `{"id":"r","attrs":[{"name":"oaid","value":"9f7a8a90-56a2-4fcb-b6a3-1c8f0e2d7b11"},{"name":"model","value":"Pixel"}]}`); n != http.StatusOK {
		t.Fatalf("%d", n)
	}
	eventually(t, "the partner has answered 503", func() bool { return len(p.got()) > 2 })
	if got := p.got()[0].Records[0]; !strings.Contains(got, `{"name":"oaid","value":"`) || strings.Contains(got, "9f7a8a90") {
		t.Errorf("before: %s", got)
	}
	s.decides(t, "u1", "ads.personalise", "adx", "withdrawn")
	before := len(p.got())
	eventually(t, "it has posted again", func() bool { return len(p.got()) > before+2 })
	p.taken()
	status.Store(0)
	if got := p.records(t, 1)[0]; strings.Contains(got, `"oaid","value"`) || !strings.Contains(got, `{"name":"model","value":"Pixel"}`) {
		t.Errorf("after it was withdrawn: %s", got)
	}
}

// An exemption that a gate invokes is for what its upstream does: no case of clause
// 5 is one of advertising, so nothing goes to a partner on the strength of it.
func TestForwardInvokesNoExemption(t *testing.T) {
	p := startPartner(t)
	s := startForwarding(t, p, forwarding(embedded, "exempt legal.crime", ""))
	s.accept(t, "u1")
	for _, user := range []string{"stranger", "u1"} {
		if n := s.bring(t, user, bidRequest); n != http.StatusOK {
			t.Fatalf("%d", n)
		}
		if up := string(s.upstream.last(t).Body); !strings.Contains(up, canaryIMEI) {
			t.Fatalf("the exemption is not in force: %s", up)
		}
	}
	s.counted(t, `consentgate_outbox_waiting_records{recipient="adx"} 0`)
	if got := p.records(t, 1); len(got) != 1 || strings.Contains(got[0], canaryIMEI) || strings.Contains(got[0], "to nobody") || strings.Contains(got[0], "23.10662") {
		t.Errorf("arrived: %q", got)
	}
}
