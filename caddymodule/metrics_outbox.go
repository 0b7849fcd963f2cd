package caddymodule

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outboxMetrics are those of what is on its way to partners. The label recipient
// takes its values from the configuration.
type outboxMetrics struct {
	outboxRecords  *prometheus.CounterVec
	outboxBytes    *prometheus.CounterVec
	outboxFailures *prometheus.CounterVec
	outboxWait     *prometheus.HistogramVec
	outboxBreaker  *prometheus.GaugeVec
}

func newOutboxMetrics(reg prometheus.Registerer) (m outboxMetrics, err error) {
	const ns, sub = "consentgate", "outbox"
	var errs [5]error
	m.outboxRecords, errs[0] = registerOrExisting(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: ns, Subsystem: sub, Name: "records_total",
		Help: "Records for a partner, by what became of them: accepted, delivered, dead, withheld (consent or k-anonymity), dropped_oldest, refused_full, no_record (a body that has none).",
	}, []string{"recipient", "outcome"}))
	m.outboxBytes, errs[1] = registerOrExisting(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: ns, Subsystem: sub, Name: "delivered_bytes_total",
		Help: "Bytes of the bodies that a partner has taken.",
	}, []string{"recipient"}))
	m.outboxFailures, errs[2] = registerOrExisting(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: ns, Subsystem: sub, Name: "failures_total",
		Help: "Attempts to deliver a batch that failed and are repeated, by reason.",
	}, []string{"recipient", "reason"}))
	m.outboxWait, errs[3] = registerOrExisting(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: ns, Subsystem: sub, Name: "delivery_seconds",
		Help:    "From a record's acceptance to its delivery.",
		Buckets: []float64{.1, .5, 1, 2, 5, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
	}, []string{"recipient"}))
	m.outboxBreaker, errs[4] = registerOrExisting(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: ns, Subsystem: sub, Name: "breaker",
		Help: "1 for the state that the partner's circuit breaker is in.",
	}, []string{"recipient", "state"}))
	return m, errors.Join(errs[:]...)
}

// countOutbox counts records of a partner. outcome is one of a fixed list.
func (m *metrics) countOutbox(recipient, outcome string, n int) {
	m.counter(m.outboxRecords, 2, recipient, outcome, "").Add(float64(n))
}

// waiting tells, at each scrape, what waits in the outbox.
type waiting struct{ app *App }

var (
	waitingRecords = prometheus.NewDesc("consentgate_outbox_waiting_records", "Records that wait for a partner.", []string{"recipient"}, nil)
	waitingBytes   = prometheus.NewDesc("consentgate_outbox_waiting_bytes", "Bytes of the records that wait for a partner, of those that `bound` allows.", []string{"recipient"}, nil)
	waitingAge     = prometheus.NewDesc("consentgate_outbox_oldest_seconds", "How long the oldest record has waited for a partner.", []string{"recipient"}, nil)
	waitingDead    = prometheus.NewDesc("consentgate_outbox_dead_letters", "Records that a partner will not take.", []string{"recipient"}, nil)
	waitingBound   = prometheus.NewDesc("consentgate_outbox_bound_bytes", "How many bytes may wait for a partner.", []string{"recipient"}, nil)
)

// scrapeTimeout bounds how long a scrape waits for the outbox.
const scrapeTimeout = time.Second

// Describe implements prometheus.Collector.
func (w waiting) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waitingRecords, waitingBytes, waitingAge, waitingDead, waitingBound} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What cannot be asked is left out: a
// wrong number would hide that.
func (w waiting) Collect(ch chan<- prometheus.Metric) {
	o := w.app.outbox.Load()
	if o == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	for name, p := range w.app.partners {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		gauge(waitingBound, float64(p.of.bound().Bytes))
		stats, err := o.Queue.Stats(ctx, name)
		if err != nil {
			continue
		}
		gauge(waitingRecords, float64(stats.Records))
		gauge(waitingBytes, float64(stats.Bytes))
		gauge(waitingDead, float64(stats.Dead))
		age := 0.0
		if !stats.Oldest.IsZero() {
			age = time.Since(stats.Oldest).Seconds()
		}
		gauge(waitingAge, age)
	}
}

// Interface guards
var _ prometheus.Collector = waiting{}
