package payload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// BenchmarkRatio times the rewriter and each of its references in turn, a short
// batch of one and a short batch of the other, and reports the median of the
// ratios of neighbours: what else the machine does falls on both.
//
// x/gjson is the rewriter's time in units of gjson.ValidBytes; the other
// metrics are how many times as long the reference takes.
func BenchmarkRatio(b *testing.B) {
	for _, sz := range benchSizes {
		doc := benchDocument(sz.size)
		paths := benchPaths(doc)
		few, fewV := benchMatcher(b, 10)
		many, manyV := benchMatcher(b, 5000)
		rewrite := func() { rewriteOnce(b, few, fewV, doc) }
		for _, ref := range []struct {
			metric  string
			inverse bool // report the rewriter in units of the reference
			f       func()
		}{
			{"x/gjson.ValidBytes", true, func() { gjson.ValidBytes(doc) }},
			{"x/10sjson.DeleteBytes", false, func() {
				d := doc
				for _, p := range paths {
					d, _ = sjson.DeleteBytes(d, p)
				}
			}},
			{"x/encoding_json", false, func() {
				var v any
				if json.Unmarshal(doc, &v) != nil {
					b.Fatal("invalid")
				}
				if _, err := json.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}},
			{"x/5000_keys", false, func() { rewriteOnce(b, many, manyV, doc) }},
		} {
			b.Run(fmt.Sprintf("%s/%s", sz.name, ref.metric[2:]), func(b *testing.B) {
				var ratios []float64
				for b.Loop() {
					// The first pair of rounds sets how many make a batch.
					n := int(max(1, 500*time.Microsecond/max(1, spend(rewrite, 1))))
					m := int(max(1, 500*time.Microsecond/max(1, spend(ref.f, 1))))
					for range 15 {
						r := float64(spend(ref.f, m)) / float64(m) / (float64(spend(rewrite, n)) / float64(n))
						if ref.inverse {
							r = 1 / r
						}
						ratios = append(ratios, r)
					}
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], ref.metric)
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkHostileShapes shows that hostile shapes cost no more than honest
// ones: 16 times the size is to take some 16 times as long.
func BenchmarkHostileShapes(b *testing.B) {
	m := testMatcher(b, func(s *Spec) { s.Unknown = true })
	v := m.NewVector(testActions, Judgement{Unknown: Drop, Keep: -1})
	for name, doc := range map[string]func(n int) string{
		"pairs with the name last":  func(n int) string { return `{` + strings.Repeat(`"v":1,`, n) + `"k":"imei"}` },
		"halves of a position":      func(n int) string { return `{"a":[` + strings.Repeat(`{"lat":1},`, n) + `1],"lng":1}` },
		"latitudes":                 func(n int) string { return `{` + strings.Repeat(`"lat":1,`, n) + `"lng":1}` },
		"white space before commas": func(n int) string { return `{"a":1` + strings.Repeat(" ", 8*n) + `,"imei":1}` },
		"nested arrays to be mapped": func(n int) string {
			return `{"name_of":` + strings.Repeat("[", 200) + strings.Repeat(`"a",`, n) + "1" + strings.Repeat("]", 200) + `}`
		},
		"members to be dropped": func(n int) string { return `{` + strings.Repeat(`"imei":1,`, n) + `"a":1}` },
		"positions in a governed object": func(n int) string {
			return `{"device":{"geo":{` + strings.Repeat(`"x":{"lat":1},`, n) + `"lat":1,"lng":2}}}`
		},
	} {
		took := func(src []byte) time.Duration {
			return spend(func() {
				s, err := m.Scan(src, DefaultLimits)
				if err != nil {
					b.Fatalf("%s: %v", name, err)
				}
				s.Apply(nil, Part{v, &Params{}}, []Part{{v, &Params{}}})
				s.Free()
			}, 1)
		}
		b.Run(name, func(b *testing.B) {
			small, large := []byte(doc(4_000)), []byte(doc(64_000))
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, float64(took(large))/float64(took(small)))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x/16_times_the_size")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func spend(f func(), n int) time.Duration {
	start := time.Now()
	for range n {
		f()
	}
	return time.Since(start)
}
