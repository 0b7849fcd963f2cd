package caddymodule

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// crowdPolicy has a partner that gets combinations which 20 people have shown.
const crowdPolicy = `policy:
  id: crowd
  versions: [2026-01-01]
  controller: Sample
  contact: privacy@sample.test
  home: [CN]
include: [packs/device.yaml, packs/location.yaml]
purposes:
  ads.measure:
    title: {zh: 效果, en: Measure}
    basis: necessary
    sensitive_ok: {location.precise: it leaves as a cell}
    uses: [location.precise, device.model]
  ads.system:
    title: {zh: 系统, en: System}
    basis: separate
    uses: [device.os]
recipients:
  app:
    kind: first_party
    title: {zh: 应用, en: App}
    purposes: [ads.measure]
  ads:
    kind: ad_partner
    title: {zh: 广告, en: Ads}
    country: CN
    purposes: [ads.measure, ads.system]
    release:
      - {category: location.precise, as: {geo: {decimals: 2}}}
      - {category: device.model, as: pass}
      - {category: device.os, purpose: ads.system, as: pass}
    keep: [id, "ext.**"]
    k_anonymity:
      k: 20
      window: 24h
      of: [location.precise, device.model, device.os]
      generalise:
        location.precise: [{geo: {decimals: 1}}, {geo: {decimals: 0}}]
`

func crowdCaddyfile(t *testing.T, store, partner string) string {
	return "{\n\tconsent {\n\t\tpolicy " + configFile(t, "policy.yaml", crowdPolicy) + "\n\t\tsecret 0123456789abcdef0123456789abcdef\n\t\t" + store + "\n\t}\n\tlog {\n\t\tformat consent\n\t}\n}\n" +
		"http://:@PORT@ {\n\thandle /consent/* {\n\t\tconsent_api {\n\t\t\ttoken " + fixtureToken + "\n\t\t}\n\t}\n\thandle {\n\t\tconsent_gate app {\n\t\t\tsubject json user_id\n\t\t\trecords batch\n\t\t\t" +
		"forward ads " + partner + "/events {\n\t\t\t\tbatch 50 20ms\n\t\t\t}\n\t\t}\n\t\treverse_proxy @UPSTREAM@\n\t}\n}\n"
}

// crowdPerson is one of the people whose records come: always with one device, at
// one place.
type crowdPerson struct {
	id, lat, lon, model, os string
	system                  bool // granted ads.system
}

// crowd are people with a long tail: most models, systems and places are seldom.
// Digits of a position are below 5, so that every way to round it is the same.
func crowd(r *rand.Rand, n int) (people []crowdPerson) {
	model, os, place := rand.NewZipf(r, 1.7, 1, 499), rand.NewZipf(r, 1.8, 1, 39), rand.NewZipf(r, 1.5, 1, 624)
	for i := range n {
		at := place.Uint64() // four digits of base 5
		people = append(people, crowdPerson{
			id:  fmt.Sprintf("zqcrowd-%05d", i),
			lat: fmt.Sprintf("2%d.%d%d13", at/25%5, at/125%5, at%5), lon: fmt.Sprintf("11%d.%d%d24", at/25%5, at/5%5, at%5),
			model: fmt.Sprintf("model-%d", model.Uint64()), os: fmt.Sprintf("os-%d", os.Uint64()), system: i%2 == 0,
		})
	}
	return people
}

// shownBy is who has shown which combination, by what was sent.
type shownBy struct {
	mu sync.Mutex
	of map[string]map[string]bool
}

func combination(lat, lon, model, os string) string {
	return strings.Join([]string{lat, lon, model, os}, "|")
}

// send notes what a record shows, at every level, before it is sent.
func (s *shownBy) send(p *crowdPerson, lat, lon, model, os string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.system {
		os = "" // which is dropped, and so is no part
	}
	for cut := range 4 { // to two decimals, one, none, and no position
		a, o := coarse(lat, cut), coarse(lon, cut)
		for _, m := range []string{model, ""} {
			for _, v := range []string{os, ""} {
				key := combination(a, o, m, v)
				if s.of[key] == nil {
					s.of[key] = map[string]bool{}
				}
				s.of[key][p.id] = true
			}
		}
	}
}

// coarse cuts a degree: 23.4213 becomes 23.42, 23.4, 23 and nothing.
func coarse(degree string, cut int) string {
	if degree == "" || cut == 3 {
		return ""
	}
	whole, digits, _ := strings.Cut(degree, ".")
	if cut == 2 {
		return whole
	}
	return whole + "." + digits[:2-cut]
}

func (s *shownBy) subjects(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.of[key])
}

// hiding are ways to show a model that is nobody else's past the counting.
var hiding = []string{
	`"device":{"model":{"x":"zqhidden-1"}}`, `"device":{"model":{"zqhidden-2":1}}`, `"device":{"model":"zqhidden-3\ud800"}`, `"device":{"model":["model-0","zqhidden-4"]}`,
	`"device":{"model":[{"y":["zqhidden-5"]}]}`, `"attrs":[{"name":"model","value":"zqhidden-6"}]`, `"payload":"{\"model\":\"zqhidden-7\"}"`,
	`"device":{"MODEL":"zqhidden-8","mod\u0065l":"zqhidden-9"}`, `"ext":{"model":"zqhidden-10"}`, `"ext":{"link":"https://h.example/?model=zqhidden-11"}`,
	`"device":{"model":{"device":{"os":{"a":"zqhidden-12"}}}}`, `"ext":{"raw":"eyJtb2RlbCI6InpxaGlkZGVuLTEzIn0="}`, `"ext":{"at":"24.131313,114.242424"}`, `"ext":{"note":"at 24.131313,114.242424 now"}`,
	`"device":{"geo":{"lat":24.131313,"lon":114.242424,"x":{"y":"zqhidden-14"}}}`, `"device":{"geo":{"zqhidden-15":1}}`, `"device":{"model":true,"os":"zqhidden-16"}`,
}

// No combination reaches a partner that fewer than k people have shown: of traffic
// with a long tail, on both engines, by a count of what was sent.
func TestForwardInACrowd(t *testing.T) {
	eachStore(t, func(t *testing.T, store string) {
		const k = 20
		p := startPartner(t)
		s := startCaddy(t, crowdCaddyfile(t, store, p.URL))
		people := crowd(rand.New(rand.NewPCG(7, 0)), int(attackCases)/5)
		loner := crowdPerson{id: "zqcrowd-loner", lat: "20.0013", lon: "110.0024", model: "loner-model", os: "loner-os", system: true}
		eachOf(append(people, loner), func(c crowdPerson) {
			grants := ""
			if c.system {
				grants = `,"grants":[{"purpose":"ads.system","recipient":"ads","status":"granted"}]`
			}
			event := `{"subject":"` + c.id + `","policy_version":"2026-01-01","accept_policy":true` + grants + `}`
			r := reply{Status: http.StatusServiceUnavailable}
			for n := 0; n < 20 && r.Status == http.StatusServiceUnavailable; n++ { // a slow disk answers late
				r = s.do("POST", "/consent/v1/events", event, "Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
			}
			if r.Status != http.StatusCreated {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})

		shown := shownBy{of: map[string]map[string]bool{}}
		var left, whole, general, none atomic.Int64
		p.mu.Lock()
		p.check = func(record string) {
			var got struct {
				Device struct {
					Model, OS string
					Geo       struct{ Lat, Lon json.Number }
				}
			}
			left.Add(1)
			if strings.Contains(record, "zqhidden") || strings.Contains(record, "24.13") || strings.Contains(record, "114.24") {
				t.Errorf("what one person alone has shown arrived: %s", record)
				return
			}
			if json.Unmarshal([]byte(record), &got) != nil {
				return // a shape of hiding
			}
			d := got.Device
			key := combination(d.Geo.Lat.String(), d.Geo.Lon.String(), d.Model, d.OS)
			if n := shown.subjects(key); n < k && key != "|||" {
				t.Errorf("%s arrived, and %d people have shown that: %s", key, n, record)
			}
			switch {
			case d.Geo.Lat == "" || d.Model == "":
				none.Add(1)
			case strings.Contains(d.Geo.Lat.String(), "."):
				whole.Add(1)
			default:
				general.Add(1)
			}
		}
		p.mu.Unlock()

		var bodies [][]string
		random, active := rand.New(rand.NewPCG(8, 0)), rand.NewZipf(rand.New(rand.NewPCG(9, 0)), 1.01, float64(len(people))/10, uint64(len(people)-1))
		for range len(people) / 4 {
			var body []string
			for range 20 {
				c := people[active.Uint64()]
				lat, lon, model := c.lat, c.lon, c.model
				if random.IntN(20) == 0 {
					lat, lon = "", ""
				}
				if random.IntN(20) == 0 {
					model = ""
				}
				body = append(body, c.record(lat, lon, model, c.os))
			}
			// Strangers, and one person again and again, make nothing common.
			body = append(body, fmt.Sprintf(`{"user_id":"zqstranger-%d","id":"r","device":{"model":"zqhidden-stranger"}}`, random.IntN(60)))
			body = append(body, loner.record(loner.lat, loner.lon, loner.model, loner.os))
			if n := random.IntN(2 * len(hiding)); n < len(hiding) {
				body = append(body, `{"user_id":"`+loner.id+`","id":"r",`+hiding[n]+`}`)
			}
			bodies = append(bodies, body)
		}
		byID := map[string]*crowdPerson{loner.id: &loner}
		for i := range people {
			byID[people[i].id] = &people[i]
		}
		eachOf(bodies, func(body []string) {
			for _, r := range body {
				var rec struct {
					User   string `json:"user_id"`
					Device struct {
						Model, OS string
						Geo       struct{ Lat, Lon json.Number }
					}
				}
				if json.Unmarshal([]byte(r), &rec) != nil || byID[rec.User] == nil {
					continue
				}
				shown.send(byID[rec.User], rec.Device.Geo.Lat.String(), rec.Device.Geo.Lon.String(), rec.Device.Model, rec.Device.OS)
			}
			if r := s.do("POST", "/v1/events", `{"batch":[`+strings.Join(body, ",")+`]}`, "Content-Type", "application/json"); r.Status != http.StatusOK {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
		eventually(t, "nothing waits any more", func() bool {
			var view struct{ Partners []struct{ Records int64 } }
			s.outboxCall(t, "GET", "", "", &view)
			return len(view.Partners) == 1 && view.Partners[0].Records == 0
		})
		t.Logf("%d people; %d records left: %d with a position to a decimal, %d with a coarser one, %d without one or without a model", len(people), left.Load(), whole.Load(), general.Load(), none.Load())
		if whole.Load() < 20 || general.Load() < 20 || none.Load() < 20 {
			t.Error("this traffic tests too little")
		}
		for _, word := range []string{"zqcrowd", "loner-model", "zqhidden"} {
			if strings.Contains(s.logs(), word) {
				t.Errorf("the logs hold %s", word)
			}
		}
	})
}

// record is one of a person's.
func (c *crowdPerson) record(lat, lon, model, os string) string {
	var device []string
	if lat != "" {
		device = append(device, `"geo":{"lat":`+lat+`,"lon":`+lon+`}`)
	}
	if model != "" {
		device = append(device, `"model":"`+model+`"`)
	}
	device = append(device, `"os":"`+os+`"`)
	return `{"user_id":"` + c.id + `","id":"r","device":{` + strings.Join(device, ",") + `}}`
}

// eachOf calls f for all, many at once.
func eachOf[T any](all []T, f func(T)) {
	var at atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := at.Add(1) - 1; i < int64(len(all)); i = at.Add(1) - 1 {
				f(all[i])
			}
		})
	}
	wg.Wait()
}
