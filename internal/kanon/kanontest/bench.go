package kanontest

import (
	"bytes"
	"testing"
	"time"

	"github.com/consentgate/consentgate/internal/kanon"
)

// Bench measures an engine on batches of 100 records: of three parts with one
// level each (7 combinations), and of the four parts of [Traffic] (35). Beside
// the records a second it reports what is lost, once 200 batches have been
// counted: the share of the parts that were generalised, and that were dropped.
func Bench(b *testing.B, start func(b *testing.B) kanon.Counter) {
	for _, shape := range []struct {
		name string
		of   func(kanon.Record) kanon.Record
	}{
		{"3 parts", func(r kanon.Record) kanon.Record {
			parts := []kanon.Part{r.Parts[0], r.Parts[1], r.Parts[2]}
			for i := range parts {
				parts[i].Levels = parts[i].Levels[:min(1, len(parts[i].Levels))]
			}
			return kanon.Record{Subject: r.Subject, Parts: parts}
		}},
		{"4 parts with 6 levels", func(r kanon.Record) kanon.Record { return r }},
	} {
		b.Run(shape.name, func(b *testing.B) {
			c, err := kanon.NewChooser(start(b), bytes.Repeat([]byte("k"), kanon.MinSecret))
			if err != nil {
				b.Fatal(err)
			}
			const size, warm = 100, 200
			th := kanon.Threshold{K: 20, Window: 24 * time.Hour}
			tr := NewTraffic(1, 100_000)
			var parts, general, dropped int
			next := func() []kanon.Record {
				records := tr.Batch(size)
				for i := range records {
					records[i] = shape.of(records[i])
				}
				return records
			}
			choose := func(records []kanon.Record) kanon.Choice {
				choice, err := c.Choose(b.Context(), "adx", th, records)
				if err != nil {
					b.Fatal(err)
				}
				return choice
			}
			for range warm {
				choose(next())
			}
			for b.Loop() {
				b.StopTimer()
				records := next()
				b.StartTimer()
				choice := choose(records)
				for i, r := range records {
					for j, p := range r.Parts {
						switch level := choice.Levels[i][j]; {
						case len(p.Levels) == 0:
							continue
						case level == len(p.Levels):
							dropped++
						case level > 0:
							general++
						}
						parts++
					}
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(100*float64(general)/float64(parts), "%generalised")
			b.ReportMetric(100*float64(dropped)/float64(parts), "%dropped")
		})
	}
}
