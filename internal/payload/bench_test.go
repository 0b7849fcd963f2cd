package payload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// benchDocument makes a document of about size bytes, like the bodies that
// apps send, with a tenth of its members to be dropped, under ten key names.
func benchDocument(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"schema":"v1","events":[`)
	for n := 0; b.Len() < size; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"event":"page_view","seq":%d,"ts":1699999%06d,"ok":true,"screen_name":"home feed",`+
			`"duration_ms":%d.25,"ref":null,"%s":"35693803564380%d","tags":["a","bb",%d],"note":"值 with \"escapes\" and text"}`,
			n, n%1000000, n%977, benchDropped[n%len(benchDropped)], n%10, n%7)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

var benchDropped = []string{"imei", "idfa", "oaid", "android_id", "mac", "phone", "email", "iccid", "imsi", "gaid"}

// benchPaths addresses ten of the members to be dropped, spread evenly over the
// document.
func benchPaths(doc []byte) (paths []string) {
	n := int(gjson.GetBytes(doc, "events.#").Int())
	for i := range 10 {
		at := i * n / 10
		paths = append(paths, fmt.Sprintf("events.%d.%s", at, benchDropped[at%10]))
	}
	return paths
}

var benchSizes = []struct {
	name string
	size int
}{{"1KB", 700}, {"20KB", 20_000}, {"1MB", 1 << 20}}

// benchMatcher knows the ten keys and, beside them, as many as make n.
func benchMatcher(tb testing.TB, n int) (*Matcher, *Vector) {
	r := Rule{Keys: benchDropped, Paths: []string{"device.geo", "**.exif.gpsinfo"}}
	for i := len(benchDropped); i < n; i++ {
		r.Keys = append(r.Keys, fmt.Sprintf("some_other_key_%d", i))
	}
	m, err := Compile(Spec{Rules: []Rule{r}})
	if err != nil {
		tb.Fatal(err)
	}
	return m, m.NewVector([]Action{{Op: Drop}}, Judgement{Keep: -1})
}

// benchRoom is where rewritten documents are put, as a gate reuses buffers.
var benchRoom []byte

func rewriteOnce(tb testing.TB, m *Matcher, v *Vector, src []byte) []byte {
	s, err := m.Scan(src, DefaultLimits)
	if err != nil {
		tb.Fatal(err)
	}
	out, _ := s.Apply(benchRoom, Part{Vector: v}, []Part{{Vector: v}})
	if len(out) > cap(benchRoom) {
		benchRoom = out
	}
	s.Free()
	return out
}

func BenchmarkRewrite(b *testing.B) {
	for _, sz := range benchSizes {
		doc := benchDocument(sz.size)
		paths := benchPaths(doc)
		for _, keys := range []int{10, 5000} {
			b.Run(fmt.Sprintf("%s/keys=%d", sz.name, keys), func(b *testing.B) {
				m, v := benchMatcher(b, keys)
				b.SetBytes(int64(len(doc)))
				b.ReportAllocs()
				for b.Loop() {
					rewriteOnce(b, m, v, doc)
				}
			})
		}
		b.Run(sz.name+"/gjson.ValidBytes", func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if !gjson.ValidBytes(doc) {
					b.Fatal("invalid")
				}
			}
		})
		b.Run(sz.name+"/10xsjson.DeleteBytes", func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				d := doc
				for _, p := range paths {
					d, _ = sjson.DeleteBytes(d, p)
				}
			}
		})
		b.Run(sz.name+"/encoding_json", func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				var v any
				if err := json.Unmarshal(doc, &v); err != nil {
					b.Fatal(err)
				}
				for i, e := range v.(map[string]any)["events"].([]any) {
					delete(e.(map[string]any), benchDropped[i%10])
				}
				if _, err := json.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
