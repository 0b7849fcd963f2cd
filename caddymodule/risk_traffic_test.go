package caddymodule

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/deid"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

var riskNow = time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)

// canaries stand in the raw traffic of made-up people; no report may hold one.
var riskCanaries = []string{"canary-nick", "Canary-Model-XYZ", "canary@example.com", "C4NARY0000001", "2.77777", "13800138"}

// bidRequests makes bid requests of made-up people, up to three a person, and
// the subject of each. People live in a few cities and have a few models, as
// people do.
func bidRequests(people int) (records [][]byte, subjects []string) {
	r := rand.New(rand.NewPCG(7, 11))
	models := []string{"M2011K2C", "V2023A", "PCLM10", "NOH-AN00", "iPhone14,2", "iPhone13,3"}
	places := [][2]float64{{23.10662, 113.32446}, {31.23986, 121.49977}, {39.90871, 116.39748}, {30.24286, 120.14923}}
	for i := range people {
		who := fmt.Sprintf("u-%d", i)
		place := places[min(r.IntN(6), len(places)-1)]
		model := models[min(r.IntN(9), len(models)-1)]
		if i == 17 {
			model = "Canary-Model-XYZ" // nobody else has one
		}
		os, version := "Android", 11+r.IntN(3)
		if model[0] == 'i' {
			os, version = "iOS", 15+r.IntN(3)
		}
		for range 1 + r.IntN(3) {
			records = append(records, fmt.Appendf(nil, `{"id":"req-%016x","imp":[{"id":"1","banner":{"w":320,"h":50},"bidfloor":0.5}],"app":{"id":"a1","bundle":"com.example.chat","ver":"3.2.%d"},`+
				`"device":{"ua":"Mozilla/5.0 (Linux; Android 13; %s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.%d Mobile Safari/537.36","ip":"203.0.%d.%d","geo":{"lat":%.5f,"lon":%.5f,"city":"canary-nick-city"},"make":"Example","model":%q,"os":%q,"osv":"%d","connectiontype":%d,"ifa":"C4NARY00-0000-4000-8000-%012x"},`+
				`"user":{"id":%q,"yob":%d,"keywords":"canary-nick","email":"canary%d@example.com"},"at":1,"tmax":120}`,
				r.Uint64(), r.IntN(2), model, 100+r.IntN(60), 113+r.IntN(2), r.IntN(256), place[0]+r.Float64()*0.04, place[1]+r.Float64()*0.04,
				model, os, version, 2+3*r.IntN(2), i, who, 1960+r.IntN(45), i))
			subjects = append(subjects, who)
		}
	}
	return records, subjects
}

// released applies the policy's own release to records, as the gate does for
// people who granted all that the recipient may ask for.
func released(t testing.TB, p *rules.Policy, recipient string, records [][]byte, subjects []string) []byte {
	t.Helper()
	plan, err := p.Plan(rules.Inbound{}, rules.RouteSpec{Recipient: recipient})
	if err != nil {
		t.Fatal(err)
	}
	state := &consent.State{Policy: p.InForce(), Version: 1, Grants: map[consent.GrantKey]consent.Grant{}}
	for _, id := range append([]string{rules.CrossBorder}, p.Recipient(recipient).Purposes...) {
		k := consent.GrantKey{Purpose: id}
		if p.Separate(id) {
			k.Recipient = recipient
		}
		state.Grants[k] = consent.Grant{Status: consent.Granted, Version: p.InForce()}
	}
	permits, _ := p.Permits(state, riskNow)
	rel := plan.Routes[0].Release(permits, "")
	var out bytes.Buffer
	for i, record := range records {
		s, err := plan.Matcher.Scan(record, payload.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		key := deid.SubjectKey([]byte("0123456789abcdef0123456789abcdef"), recipient, 0, []byte("salt-of-"+subjects[i]))
		part := payload.Part{Vector: rel.Vector, Params: &payload.Params{Now: riskNow, Key: key}}
		got, _ := s.Apply(nil, part, []payload.Part{part})
		out.Write(got)
		out.WriteByte('\n')
		s.Free()
	}
	return out.Bytes()
}
