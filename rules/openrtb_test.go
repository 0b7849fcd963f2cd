package rules

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
)

var bidSecret = []byte("0123456789abcdef0123456789abcdef")

// bidRoom sends bid requests to one recipient as the gate does.
type bidRoom struct {
	p     *Policy
	plan  *Plan
	route *Route
}

func newBidRoom(t *testing.T, p *Policy, recipient string) bidRoom {
	t.Helper()
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: recipient})
	if err != nil {
		t.Fatal(err)
	}
	return bidRoom{p, plan, plan.Routes[0]}
}

// send returns what arrives of a request about a subject of that state.
func (b bidRoom) send(t *testing.T, s *consent.State, now time.Time, request []byte) []byte {
	t.Helper()
	r := b.route.Recipient()
	permits, _ := b.p.Permits(s, now)
	rel := b.route.Release(permits, "")
	params := &payload.Params{Now: now, Key: deid.SubjectKey(bidSecret, r.ID, r.Pseudonyms.Epoch(now, s.Salt), s.Salt)}
	scan, err := b.plan.Matcher.Scan(request, payload.DefaultLimits)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	defer scan.Free()
	part := payload.Part{Vector: rel.Vector, Params: params}
	out, rep := scan.Apply(nil, part, []payload.Part{part})
	if rep.BlockedAll {
		t.Fatalf("blocked: %s", request)
	}
	return bytes.Clone(out)
}

// corpusBids are the requests of the OpenRTB corpus, each as it is and with all
// fields of the specification added that it does not have, so that there is
// something to lose.
func corpusBids(t *testing.T) (bids [][]byte) {
	t.Helper()
	data, err := os.ReadFile("../../shared/corpora/openrtb/bid-requests.ndjson")
	if err != nil {
		t.Skip("the OpenRTB corpus is not beside this checkout")
	}
	var full any
	for _, f := range bidFields(t) {
		full = merged(t, full, f.request(t))
	}
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		bids = append(bids, line)
		out, err := json.Marshal(merged(t, full, line))
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		bids = append(bids, out)
	}
	return bids
}

// merged lays a document over another one.
func merged(t *testing.T, under any, over []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(over, &v); err != nil {
		t.Fatal(err)
	}
	return overlaid(under, v)
}

func overlaid(under, over any) any {
	switch o := over.(type) {
	case map[string]any:
		u, ok := under.(map[string]any)
		if !ok {
			return o
		}
		both := map[string]any{}
		for k, v := range u {
			both[k] = v
		}
		for k, v := range o {
			both[k] = overlaid(u[k], v)
		}
		return both
	case []any:
		u, ok := under.([]any)
		if !ok || len(u) == 0 || len(o) == 0 {
			return o
		}
		both := slices.Clone(o)
		both[0] = overlaid(u[0], o[0])
		return both
	case nil:
		return under
	}
	return over
}

// spellings are what a value may look like where it must not stand.
func spellingsOf(v string) map[string]string {
	m5, s1, s2 := md5.Sum([]byte(v)), sha1.Sum([]byte(v)), sha256.Sum256([]byte(v))
	escaped, _ := json.Marshal(v)
	return map[string]string{
		"as it is": v, "escaped": strings.Trim(string(escaped), `"`), "percent-encoded": url.QueryEscape(v),
		"in base64": base64.StdEncoding.EncodeToString([]byte(v)), "in base64url": base64.RawURLEncoding.EncodeToString([]byte(v)),
		"in hex": hex.EncodeToString([]byte(v)), "as MD5": hex.EncodeToString(m5[:]), "as SHA-1": hex.EncodeToString(s1[:]), "as SHA-256": hex.EncodeToString(s2[:]),
	}
}

// TestNoBidRequestNamesAPerson sends every request of the corpus to the
// exchange in every state of consent, and reads what arrives with another parser.
func TestNoBidRequestNamesAPerson(t *testing.T) {
	p := shipped(t)
	room := newBidRoom(t, p, "adx")
	fields := bidFields(t)
	for _, s := range bidStates(p) {
		t.Run(s.en, func(t *testing.T) {
			t.Parallel()
			var kept, gone [][]string
			for _, f := range fields {
				steps := strings.Split(f.path, ".")
				switch _, fate := f.fate(t, p, room.plan, &s.state); fate {
				case "=":
					kept = append(kept, steps)
				case "–", "pseudonym", "ip", "ua":
					gone = append(gone, steps)
				}
			}
			looked := 0
			for _, bid := range corpusBids(t) {
				out := room.send(t, &s.state, goldenNow, bid)
				var before, after any
				if err := json.Unmarshal(bid, &before); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(out, &after); err != nil {
					t.Fatalf("%s became no JSON: %v\n%s", bid, err, out)
				}
				looked += checkBidLeaks(t, before, out, kept, gone)
				checkBidSigns(t, before, after, s.en)
			}
			if looked < 1000 {
				t.Errorf("only %d values were looked for: the paths are wrong", looked)
			}
		})
	}
}

// checkBidLeaks looks for the values of the fields that are gone, unless the
// same text stands where it may stay.
func checkBidLeaks(t *testing.T, before any, out []byte, kept, gone [][]string) (looked int) {
	t.Helper()
	may := ""
	for _, steps := range kept {
		for _, v := range leaves(before, steps) {
			may += fmt.Sprintln(v)
		}
	}
	lower := bytes.ToLower(out)
	for _, steps := range gone {
		for _, v := range leaves(before, steps) {
			text, ok := v.(string)
			if !ok || len(text) < 8 || strings.Contains(may, text) {
				continue // a number of a few digits stands anywhere
			}
			looked++
			for how, spelled := range spellingsOf(text) {
				if bytes.Contains(lower, bytes.ToLower([]byte(spelled))) {
					t.Errorf("%s is still there, %s: %s", strings.Join(steps, "."), how, out)
				}
			}
		}
	}
	return looked
}

// checkBidSigns checks what a request says of decisions, and that it is one.
func checkBidSigns(t *testing.T, before, after any, state string) {
	t.Helper()
	top := after.(map[string]any)
	personal := strings.Contains(state, "granted") || strings.Contains(state, "guardian")
	if device, ok := top["device"].(map[string]any); ok && !personal && (device["lmt"] != 1.0 || device["dnt"] != 1.0) {
		t.Errorf("%s: device says lmt %v, dnt %v", state, device["lmt"], device["dnt"])
	}
	if personal {
		for _, flag := range []string{"lmt", "dnt"} {
			steps := []string{"device", flag}
			if is, was := fmt.Sprint(leaves(after, steps)), fmt.Sprint(leaves(before, steps)); is != was {
				t.Errorf("%s: %s was %s and is %s", state, flag, was, is)
			}
		}
	}
	regs, _ := top["regs"].(map[string]any)
	if minor := strings.Contains(state, "minor"); minor && regs["coppa"] != 1.0 {
		t.Errorf("%s: regs says coppa %v", state, regs["coppa"])
	}
	for _, required := range [][]string{{"id"}, {"imp", "id"}} {
		if is, was := fmt.Sprint(leaves(after, required)), fmt.Sprint(leaves(before, required)); is != was {
			t.Errorf("%s: %v was %s and is %s", state, required, was, is)
		}
	}
}

// twoExchanges is the policy that ships with a second exchange like the first.
func twoExchanges(t *testing.T) *Policy {
	t.Helper()
	text, err := os.ReadFile(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	from, to := bytes.Index(text, []byte("  adx:\n")), bytes.Index(text, []byte("  measure_overseas:\n"))
	second := strings.Replace(string(text[from:to]), "  adx:", "  dsp:", 1)
	p, err := Load(fstest.MapFS{shippedFile: {Data: slices.Concat(text[:to], []byte(second), text[to:])}}, shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A device has one pseudonym with one exchange in one epoch, and no other has it.
func TestBidPseudonymsJoinNothing(t *testing.T) {
	p := twoExchanges(t)
	state := bidStates(p)[2].state
	state.Grants = answer(p, p.Recipient("adx"), consent.Granted, time.Time{}, "")
	for k, g := range answer(p, p.Recipient("dsp"), consent.Granted, time.Time{}, "") {
		state.Grants[k] = g
	}
	other := state
	other.Salt = []byte("fedcba9876543210")
	type view struct {
		room  bidRoom
		state *consent.State
		now   time.Time
	}
	adx, dsp := newBidRoom(t, p, "adx"), newBidRoom(t, p, "dsp")
	later := goldenNow.AddDate(0, 6, 0)
	views := map[string]view{
		"the exchange": {adx, &state, goldenNow}, "another exchange": {dsp, &state, goldenNow},
		"another epoch": {adx, &state, later}, "another subject": {adx, &other, goldenNow},
	}
	ids := 0
	seen := map[string]string{}
	for _, f := range bidFields(t) {
		if _, fate := f.fate(t, p, adx.plan, &state); fate != "pseudonym" {
			continue
		}
		ids++
		steps := strings.Split(f.path, ".")
		for who, v := range views {
			pseudonym := func(now time.Time) string {
				var doc any
				if err := json.Unmarshal(v.room.send(t, v.state, now, f.request(t)), &doc); err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(leaves(doc, steps))
			}
			made := pseudonym(v.now)
			if again := pseudonym(v.now.Add(time.Hour)); again != made {
				t.Errorf("%s: to %s it is %s and %s", f.path, who, made, again)
			}
			if later := pseudonym(v.now.Add(20 * day)); later != made {
				t.Errorf("%s: to %s it is %s and, later in the epoch, %s", f.path, who, made, later)
			}
			if before := seen[made]; before != "" {
				t.Errorf("%s: to %s it is %s, as %s", f.path, who, made, before)
			}
			seen[made] = f.path + " to " + who
			if strings.Contains(string(f.request(t)), strings.Trim(made, "[]")) {
				t.Errorf("%s: %s stands in the request", f.path, made)
			}
		}
	}
	if ids < 12 {
		t.Errorf("only %d ids", ids)
	}
}

// TestKnownMistakes is what other scrubbers of bid requests got wrong, each once.
func TestKnownMistakes(t *testing.T) {
	p := shipped(t)
	states := bidStates(p)
	accepted, granted := &states[1].state, &states[2].state
	room := newBidRoom(t, p, "adx")
	md5sum := func(s string) string { m := md5.Sum([]byte(s)); return hex.EncodeToString(m[:]) }
	for _, tt := range []struct {
		name  string
		state *consent.State
		in    string
		out   string   // exactly, where it is given
		not   []string // must not stand in it
	}{
		{name: "ids in user.eids or device.ext survive limit ad tracking", state: accepted,
			in:  `{"device":{"lmt":1,"dnt":1,"ext":{"oaid":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","caid":"c-1"}},"user":{"eids":[{"source":"a","uids":[{"id":"e-1"}]}],"ext":{"eids":[{"uids":[{"id":"e-2"}]}]}}}`,
			out: `{"device":{"lmt":1,"dnt":1,"ext":{}},"user":{"ext":{}}}`},
		{name: "negative coordinates are rounded towards zero", state: accepted,
			in:  `{"device":{"lmt":1,"dnt":1,"geo":{"lat":-33.85678,"lon":-70.65929}}}`,
			out: `{"device":{"lmt":1,"dnt":1,"geo":{"lat":-33.9,"lon":-70.7}}}`},
		{name: "city and zip are kept beside rounded coordinates", state: accepted,
			in:  `{"device":{"lmt":1,"dnt":1,"geo":{"city":"a","lat":23.10662,"zip":"510000","lon":113.32446,"metro":"5","region":"44","accuracy":5}},"user":{"geo":{"city":"b","zip":"510000"}}}`,
			out: `{"device":{"lmt":1,"dnt":1,"geo":{"lat":23.1,"lon":113.3}},"user":{}}`, not: []string{"510000"}},
		{name: "an address that is none becomes the text <nil>", state: accepted,
			in: `{"device":{"lmt":1,"dnt":1,"ip":"unknown","ipv6":"::ffff:nonsense"}}`, out: `{"device":{"lmt":1,"dnt":1}}`},
		{name: "a missing object crashes the scrubber", state: accepted, in: `{"id":"1","imp":[]}`, out: `{"id":"1","imp":[]}`},
		{name: "an object that is null does, too", state: accepted, in: `{"device":null,"user":null,"regs":null,"imp":[null]}`, out: `{"regs":null,"imp":[null]}`},
		{name: "unsalted hashes are called pseudonyms", state: granted,
			in: `{"device":{"lmt":0,"dnt":0,"ext":{"imei":"004999010640000"}}}`, not: []string{"004999010640000", md5sum("004999010640000"), md5sum("004999010640000")[:16]}},
		{name: "a hash that comes in is passed on as if it were none", state: granted,
			in: `{"device":{"didmd5":"` + md5sum("004999010640000") + `"}}`, not: []string{md5sum("004999010640000")}},
		{name: "a second rule undoes the first", state: granted,
			// The model passes; that of a user agent's parts does not.
			in: `{"device":{"model":"M1","sua":{"model":"M2","mobile":1}}}`, out: `{"device":{"model":"M1"}}`},
		{name: "arrays are destroyed by a transform of scalars", state: accepted,
			in: `{"device":{"lmt":1,"dnt":1,"ip":["203.0.113.77","198.51.100.9"]}}`, out: `{"device":{"lmt":1,"dnt":1,"ip":["203.0.113.0","198.51.100.0"]}}`},
		{name: "the OAID falls back to the Android id", state: granted,
			in: `{"device":{"ext":{"oaid":"00000000-0000-0000-0000-000000000000","android_id":"c0ffee1234567890"}}}`, not: []string{"oaid", "c0ffee1234567890"}},
		{name: "limit ad tracking is believed from the client", state: accepted,
			in: `{"device":{"lmt":0,"LMT":0,"dnt":"0"}}`, out: `{"device":{"lmt":1,"dnt":1}}`},
		{name: "the consent string goes without consent", state: accepted,
			in: `{"user":{"consent":"CPokAsAPokAsA","ext":{"consent":"CPokAsAPokAsA"}},"regs":{"gpp":"DBAA","ext":{"gdpr":1}}}`, out: `{"user":{"ext":{}},"regs":{"gpp":"DBAA","ext":{"gdpr":1}}}`},
		{name: "a transaction id joins what two partners got", state: granted,
			in:  `{"id":"1","imp":[{"id":"1","ext":{"tid":"t-1","gpid":"/1"}}],"source":{"tid":"t-2","schain":{"nodes":[{"sid":"s","rid":"t-3"}]}}}`,
			out: `{"id":"1","imp":[{"id":"1","ext":{"gpid":"/1"}}],"source":{"schain":{"nodes":[{"sid":"s"}]}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := string(room.send(t, tt.state, goldenNow, []byte(tt.in)))
			if tt.out != "" && out != tt.out {
				t.Errorf("of  %s\ngot  %s\nwant %s", tt.in, out, tt.out)
			}
			for _, not := range append(tt.not, "<nil>") {
				if strings.Contains(out, not) {
					t.Errorf("%s stands in %s", not, out)
				}
			}
		})
	}
	deep := strings.Repeat(`{"ext":`, payload.MaxDepth+1) + `{"imei":"004999010640000"}` + strings.Repeat("}", payload.MaxDepth+1)
	if s, err := room.plan.Matcher.Scan([]byte(deep), payload.DefaultLimits); err == nil {
		s.Free()
		t.Error("what is too deep to be looked at is not refused")
	}
}

// leaves returns what stands at a path, through arrays; null is nothing.
func leaves(v any, steps []string) (all []any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			all = append(all, leaves(e, steps)...)
		}
	case map[string]any:
		if len(steps) > 0 {
			return leaves(v[steps[0]], steps[1:])
		}
		for _, e := range v {
			all = append(all, leaves(e, nil)...)
		}
	case nil:
	default:
		if len(steps) == 0 {
			all = append(all, v)
		}
	}
	return all
}
