package detect

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Values as analytics clients send them, 9 to 40 bytes, most of which hold
// nothing.
var shortValues = []string{
	"$pageview", "page_view_home", "com.example.android", "Mozilla/5.0 (Linux; Android 14; K)",
	"2026-01-12T08:30:00.000Z", "https://example.com/products/shoes", "iPhone15,2", "1080x2400",
	"Asia/Shanghai", "wifi-or-cellular", "order_confirmed", "这是一段中文的说明文字。", "app_version 10.12.3",
	"6d92078a-8246-4ba4-ae5b-76104861e7dc", "zh-Hans-CN", "campaign=spring&source=news",
}

var longText = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 20<<10; i++ {
		b.WriteString(shortValues[i%len(shortValues)])
		b.WriteByte(' ')
		if i%40 == 0 {
			b.WriteString("电话13800138000，IMEI 356938035643809，user@example.com，203.0.113.77；")
		}
	}
	return b.String()
}()

// usual are the kinds that are looked for everywhere.
const usual = 1<<IDFA - 1

func BenchmarkPossible(b *testing.B) {
	words := []byte(strings.Repeat("nothing to be found in here ", 700))
	b.Run("short", func(b *testing.B) { benchShort(b, func(v []byte) { Possible(v) }) })
	b.Run("20KB of words", func(b *testing.B) {
		b.SetBytes(int64(len(words)))
		for b.Loop() {
			Possible(words)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	dst := make([]Match, 0, 1024)
	b.Run("short", func(b *testing.B) {
		benchShort(b, func(v []byte) { dst = Append(dst[:0], v, usual) })
	})
	b.Run("short, if possible", func(b *testing.B) {
		benchShort(b, func(v []byte) {
			if Possible(v) {
				dst = Append(dst[:0], v, usual)
			}
		})
	})
	for name, text := range map[string]string{"20KB": longText, "20KB of words": strings.Repeat("nothing to be found in here ", 700)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dst = Append(dst[:0], []byte(text), usual)
			}
		})
	}
}

// benchShort reports the time of one value.
func benchShort(b *testing.B, f func([]byte)) {
	var values [][]byte
	bytes := 0
	for _, v := range shortValues {
		values = append(values, []byte(v))
		bytes += len(v)
	}
	rounds := 0
	for b.Loop() {
		for _, v := range values {
			f(v)
		}
		rounds++
	}
	n := float64(b.Elapsed().Nanoseconds()) / float64(rounds)
	b.ReportMetric(n/float64(len(values)), "ns/value")
	b.ReportMetric(n/float64(bytes), "ns/byte")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHostile shows that hostile texts cost no more than honest ones: 16
// times the size is to take some 16 times as long.
func BenchmarkHostile(b *testing.B) {
	dst := make([]Match, 0, 1<<19)
	took := func(text []byte) time.Duration {
		start := time.Now()
		dst = Append(dst[:0], text, all)
		return time.Since(start)
	}
	for _, h := range hostile {
		b.Run(h, func(b *testing.B) {
			small, large := []byte(strings.Repeat(h, 64<<10/len(h))), []byte(strings.Repeat(h, 1<<20/len(h)))
			var ratios, perByte []float64
			for b.Loop() {
				l := float64(took(large))
				ratios = append(ratios, l/float64(took(small)))
				perByte = append(perByte, l/float64(len(large)))
			}
			slices.Sort(ratios)
			slices.Sort(perByte)
			b.ReportMetric(ratios[len(ratios)/2], "x/16_times_the_size")
			b.ReportMetric(perByte[len(perByte)/2], "ns/byte")
			b.ReportMetric(0, "ns/op")
		})
	}
}
