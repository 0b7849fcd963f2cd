package rules

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/payload"
)

// What an exchange must never find of one who has only accepted the policy, as
// paths of OpenRTB 2.6 that encoding/json is asked for, not the rules.
var neverInABid = []string{
	"device.ifa", "device.didmd5", "device.didsha1", "device.dpidmd5", "device.dpidsha1", "device.macmd5", "device.macsha1",
	"device.geo.zip", "device.geo.city", "device.geo.accuracy", "device.geo.lastfix", "device.ext.oaid", "device.ext.imei",
	"user.id", "user.buyeruid", "user.yob", "user.gender", "user.keywords", "user.customdata", "user.eids.uids.id",
	"user.ext.eids.uids.id", "user.geo.zip", "user.data.segment.id", "source.tid", "imp.ext.tid",
}

// TestNoBidRequestNamesAPerson sends every request of the OpenRTB corpus to the
// exchange, and looks for what is personal with another parser.
func TestNoBidRequestNamesAPerson(t *testing.T) {
	data, err := os.ReadFile("../../shared/corpora/openrtb/bid-requests.ndjson")
	if err != nil {
		t.Skip("the OpenRTB corpus is not beside this checkout")
	}
	p := shipped(t)
	plan, err := p.Plan(Inbound{}, RouteSpec{Recipient: "adx"})
	if err != nil {
		t.Fatal(err)
	}
	permits, _ := p.Permits(&consent.State{Policy: p.InForce(), Version: 1}, goldenNow)
	rel := plan.Routes[0].Release(permits, "")
	part := payload.Part{Vector: rel.Vector, Params: &payload.Params{Now: goldenNow}}
	found := 0
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		s, err := plan.Matcher.Scan(line, payload.DefaultLimits)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		out, _ := s.Apply(nil, part, []payload.Part{part})
		var before, after any
		if err := json.Unmarshal(line, &before); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("line %d became no JSON: %v\n%s", i+1, err, out)
		}
		for _, path := range neverInABid {
			steps := strings.Split(path, ".")
			found += len(leaves(before, steps))
			for _, v := range leaves(after, steps) {
				t.Errorf("line %d: %s is still %v in %s", i+1, path, v, out)
			}
		}
		s.Free()
	}
	if found < 20 {
		t.Errorf("the corpus holds only %d such values: the paths are wrong", found)
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
