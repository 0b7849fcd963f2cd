package caddymodule

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentgate/consentgate/internal/consent"
)

// metrics are the counters of one configuration. Every label takes its values
// from the policy or from a fixed list here, never from a request, so that
// neither personal data nor an unbounded number of series can come of them.
type metrics struct {
	requests    *prometheus.CounterVec
	categories  *prometheus.CounterVec
	storeErrors *prometheus.CounterVec
	policyInfo  *prometheus.GaugeVec
	reloads     *prometheus.CounterVec
	geoReloads  *prometheus.CounterVec
	apiCalls    *prometheus.CounterVec
	outboxMetrics

	// resolved holds the counters whose labels were looked up before. It is
	// copied when one is added, so that reading it takes no lock.
	resolved  atomic.Pointer[map[counterKey]prometheus.Counter]
	resolving sync.Mutex
}

// counterKey finds a counter with its labels.
type counterKey struct {
	vec     *prometheus.CounterVec
	a, b, c string
}

// newMetrics registers the metrics, or takes those that another instance has
// registered with the same registry. stats tells how the cache is doing, at
// each scrape.
func newMetrics(reg prometheus.Registerer, stats func() consent.CacheStats) (*metrics, error) {
	const ns = "consentgate"
	var errs []error
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c, err := registerOrExisting(reg, prometheus.NewCounterVec(
			prometheus.CounterOpts{Namespace: ns, Name: name, Help: help}, labels))
		errs = append(errs, err)
		return c
	}
	count := func(name, help string, of func(consent.CacheStats) uint64) {
		_, err := registerOrExisting(reg, prometheus.NewCounterFunc(
			prometheus.CounterOpts{Namespace: ns, Name: name, Help: help},
			func() float64 { return float64(of(stats())) }))
		errs = append(errs, err)
	}
	gauge := func(name, help string, of func(consent.CacheStats) float64) {
		_, err := registerOrExisting(reg, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help},
			func() float64 { return of(stats()) }))
		errs = append(errs, err)
	}

	m := &metrics{
		requests: counter("requests_total",
			"Requests that a gate decided on, by recipient and outcome.", "recipient", "outcome"),
		categories: counter("categories_total",
			"Messages in which a gate did something to a category, by recipient, category and what was done; without a category: what nobody could open (sealed), or knew (unknown).", "recipient", "category", "action"),
		storeErrors: counter("store_errors_total",
			"Operations on the consent store, on the outbox or on the counts of k-anonymity that failed.", "operation"),
		reloads: counter("policy_reloads_total",
			"Times that a changed policy was read again, by result.", "result"),
		geoReloads: counter("geoip_reloads_total",
			"Times that a changed GeoIP database was read again, by result.", "result"),
		apiCalls: counter("api_calls_total",
			"Calls of the consent API, by call and status code.", "call", "status"),
	}
	count("cache_hits_total", "Subjects answered without asking the store.",
		func(s consent.CacheStats) uint64 { return s.Hits })
	count("cache_misses_total", "Subjects that the store had to be asked for.",
		func(s consent.CacheStats) uint64 { return s.Misses })
	count("cache_loads_total", "Round trips to the store.",
		func(s consent.CacheStats) uint64 { return s.Loads })
	count("cache_load_errors_total", "Round trips to the store that failed.",
		func(s consent.CacheStats) uint64 { return s.Errors })
	count("cache_resets_total", "Times that everything cached became worthless.",
		func(s consent.CacheStats) uint64 { return s.Resets })
	gauge("cache_entries", "States held in the cache, about.",
		func(s consent.CacheStats) float64 { return float64(s.Entries) })
	gauge("watcher_up", "1 while changes of consent reach the cache; 0 while every look-up goes to the store.",
		func(s consent.CacheStats) float64 {
			if s.Watching {
				return 1
			}
			return 0
		})
	var err error
	m.outboxMetrics, err = newOutboxMetrics(reg)
	errs = append(errs, err)
	m.policyInfo, err = registerOrExisting(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: ns, Name: "policy_info",
		Help: "The policy in force; the value is always 1.",
	}, []string{"policy", "version"}))
	return m, errors.Join(append(errs, err)...)
}

// registerOrExisting registers a collector, or returns the one of the same
// name that is registered already.
func registerOrExisting[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// counter returns the counter of vec, which has n labels, with these values.
func (m *metrics) counter(vec *prometheus.CounterVec, n int, a, b, c string) prometheus.Counter {
	key := counterKey{vec: vec, a: a, b: b, c: c}
	if known := m.resolved.Load(); known != nil {
		if ctr, ok := (*known)[key]; ok {
			return ctr
		}
	}
	m.resolving.Lock()
	defer m.resolving.Unlock()
	next := map[counterKey]prometheus.Counter{}
	if known := m.resolved.Load(); known != nil {
		next = maps.Clone(*known)
	}
	ctr := vec.WithLabelValues([]string{a, b, c}[:n]...)
	next[key] = ctr
	m.resolved.Store(&next)
	return ctr
}

// countRequest counts a request that a gate decided on. outcome is one of the
// gate's constants.
func (m *metrics) countRequest(recipient, outcome string) {
	m.counter(m.requests, 2, recipient, outcome, "").Inc()
}

// countCategory counts n values of a category that met with an action.
func (m *metrics) countCategory(recipient, category, action string, n int) {
	m.counter(m.categories, 3, recipient, category, action).Add(float64(n))
}

// countStoreError counts an operation that failed: "load", "write", "read" or
// "watch" of the consent store, "outbox" or "kanon".
func (m *metrics) countStoreError(operation string) {
	m.counter(m.storeErrors, 1, operation, "", "").Inc()
}

// countReload counts a changed policy that was taken or refused.
func (m *metrics) countReload(ok bool) { m.countResult(m.reloads, ok) }

// countGeoReload counts a changed GeoIP database that was taken or refused.
func (m *metrics) countGeoReload(ok bool) { m.countResult(m.geoReloads, ok) }

func (m *metrics) countResult(vec *prometheus.CounterVec, ok bool) {
	result := "refused"
	if ok {
		result = "taken"
	}
	m.counter(vec, 1, result, "", "").Inc()
}

// countCall counts a call of the consent API. call is a template of its path.
func (m *metrics) countCall(call, status string) {
	m.counter(m.apiCalls, 2, call, status, "").Inc()
}

// setPolicy tells which policy is in force.
func (m *metrics) setPolicy(id, version string) {
	m.policyInfo.Reset()
	m.policyInfo.WithLabelValues(id, version).Set(1)
}
