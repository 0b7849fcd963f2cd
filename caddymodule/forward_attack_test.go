package caddymodule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentgate/consentgate/internal/attack"
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
	n, seed, first := attackSample(t, max(attackCases/5, 2000)) // fewer would show too little of what may arrive
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
