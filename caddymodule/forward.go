package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/outbox/deliver"
)

// Forward sends each record that comes in to one more recipient, such as an ad
// partner, in that recipient's own release, beside the request that goes
// upstream. A record is an element of the array that Records names, a line of a
// stream, or the whole JSON body.
//
// Records wait in the outbox, de-identified, until the partner has taken them.
// They are durable there before the client gets the first byte of an answer, and
// the client never waits for a partner. Consent is looked at again when they
// leave. Whoever permits the partner none of the purposes sends it nothing.
//
// All gates that forward to one recipient say the same of it, but for the
// purposes.
type Forward struct {
	// The recipient of the policy. Required. One with a `per` cannot be forwarded
	// to.
	Recipient string `json:"recipient,omitempty"`

	// Where its records are posted, http or https. Of several, the next is tried
	// where one cannot be reached. Placeholders such as `{env.ADX_URL}` are resolved
	// when the configuration is loaded. Required.
	URLs []string `json:"urls,omitempty"`

	// The purposes that this route serves for it. Default: all of the recipient's.
	Purposes []string `json:"purposes,omitempty"`

	// How records stand in a POST: `ndjson` (one a line, the default), `array` (a
	// JSON array), or `single` (one record a POST).
	Format string `json:"format,omitempty"`

	// Whether each record goes as `{"id":KEY,"record":{…}}`, so that the partner can
	// tell repeated records by their keys. A POST as a whole always has an
	// Idempotency-Key.
	Keyed bool `json:"keyed,omitempty"`

	// Where records bear ids of their own, as paths anchored at the record. They become
	// pseudonyms of the partner's own, since an id that two partners got would join
	// what they got. `off` leaves them. Default: `id`, `message_id`, `event_id`,
	// `insert_id` and `request_id`; to a first party, `off`.
	RecordIDs []string `json:"record_ids,omitempty"`

	// What makes a batch complete. Default: 100 records (10 with `single`), 1 MiB, or 1 s after the
	// oldest came.
	Batch *ForwardBatch `json:"batch,omitempty"`

	// Whether bodies are compressed with gzip.
	Gzip bool `json:"gzip,omitempty"`

	// Headers of each POST, such as the credentials that the partner gave. Write a
	// placeholder such as `{env.ADX_TOKEN}` or `{file./run/secrets/adx}`, so that
	// the secret itself stands in no configuration. No header of a request goes to
	// a partner.
	Header http.Header `json:"header,omitempty"`

	// How long one POST may take, the answer included. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many records may go in a second, from this gateway. Default: no limit.
	Rate float64 `json:"rate,omitempty"`

	// How long to wait before a batch that failed is posted again: the longest wait
	// doubles from the first value to the second, and each wait is random up to it.
	// Default: 500ms and 1m.
	Retry *ForwardRetry `json:"retry,omitempty"`

	// When to leave the partner alone for a while, after failures in a row. Default:
	// after 5, for 30s.
	Breaker *ForwardBreaker `json:"breaker,omitempty"`

	// How many of the records that have left are kept in memory as a sample, each with
	// the same chance, for `consentgate risk`: up to 100000, and 64 MiB. Default: none.
	Sample int `json:"sample,omitempty"`

	// How many bytes may wait for the partner in the outbox; each of its eight
	// partitions may hold an equal share. Default: 256 MiB.
	Bound int64 `json:"bound,omitempty"`

	// What happens when so many wait: `refuse` (the default) answers 503, so that the
	// client tries again; `drop_oldest` makes room, and counts what is lost.
	Full string `json:"full,omitempty"`
}

// ForwardBatch is what makes a batch complete, whichever comes first.
type ForwardBatch struct {
	// How many records.
	Count int `json:"count,omitempty"`
	// How many bytes of records.
	Bytes int `json:"bytes,omitempty"`
	// How long after the oldest record came.
	Age caddy.Duration `json:"age,omitempty"`
}

// ForwardRetry bounds the waits between attempts.
type ForwardRetry struct {
	// The longest first wait.
	Min caddy.Duration `json:"min,omitempty"`
	// The longest wait of all.
	Max caddy.Duration `json:"max,omitempty"`
}

// ForwardBreaker is a circuit breaker: once it opens, nothing is posted for a while,
// and then one POST tries.
type ForwardBreaker struct {
	// How many failures in a row open it.
	Failures uint32 `json:"failures,omitempty"`
	// How long it stays open.
	Open caddy.Duration `json:"open,omitempty"`
}

const (
	defaultBound = 256 << 20
	minBound     = 1 << 20
	dropOldest   = "drop_oldest"
)

// formats are the names of how records stand in a POST.
var formats = map[string]deliver.Format{"": deliver.NDJSON, "ndjson": deliver.NDJSON, "array": deliver.Array, "single": deliver.Single}

// check finds what is wrong with the configuration itself.
func (f *Forward) check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("consent_gate: forward %s: "+format, append([]any{f.Recipient}, args...)...))
	}
	if f.Recipient == "" {
		return errors.New("consent_gate: forward names a recipient and where its records go: write `forward adx https://partner.example/events`")
	}
	if len(f.RecordIDs) > 1 && slices.Contains(f.RecordIDs, recordIDsOff) {
		wrong("record_ids is off, or paths, not both")
	}
	if len(f.URLs) == 0 {
		wrong("where do its records go? Write `forward %s https://partner.example/events`", f.Recipient)
	}
	if _, ok := formats[f.Format]; !ok {
		wrong("format is ndjson, array or single, not %q", f.Format)
	}
	switch f.Full {
	case "", "refuse", dropOldest:
	default:
		wrong("a full outbox means refuse or drop_oldest, not %q", f.Full)
	}
	if f.Bound != 0 && f.Bound < minBound {
		wrong("bound is 1MiB or more, not %d bytes", f.Bound)
	}
	if f.Sample < 0 || f.Sample > maxSample {
		wrong("a sample has up to %d records", maxSample)
	}
	if f.Timeout < 0 || f.Rate < 0 {
		wrong("a number is less than 0")
	}
	if b := f.Batch; b != nil && (b.Count < 0 || b.Bytes < 0 || b.Age < 0) {
		wrong("a bound of batch is less than 0")
	}
	if b := f.Breaker; b != nil && b.Open < 0 {
		wrong("the time of breaker is less than 0")
	}
	if r := f.Retry; r != nil && (r.Min < 0 || r.Max < 0 || r.Max > 0 && r.Max < r.Min) {
		wrong("retry is two times, the shorter one first, such as `retry 1s 5m`")
	}
	return errors.Join(errs...)
}

// bound is what may wait.
func (f *Forward) bound() outbox.Bound {
	b := outbox.Bound{Bytes: f.Bound, DropOldest: f.dropsOldest()}
	if b.Bytes == 0 {
		b.Bytes = defaultBound
	}
	return b
}

// dropsOldest reports whether a full outbox makes room.
func (f *Forward) dropsOldest() bool { return f.Full == dropOldest }

// partner resolves the placeholders. Its result holds secrets.
func (f *Forward) partner() (deliver.Partner, error) {
	repl := caddy.NewReplacer()
	p := deliver.Partner{
		Name: f.Recipient, Format: formats[f.Format], Keyed: f.Keyed, Gzip: f.Gzip, Header: http.Header{},
		Timeout: time.Duration(f.Timeout), Records: deliver.Rate{PerSecond: f.Rate},
	}
	for _, u := range f.URLs {
		p.URLs = append(p.URLs, repl.ReplaceAll(u, ""))
	}
	for name, values := range f.Header {
		for _, v := range values {
			// A credential that is not there would be found out by the partner alone.
			value, err := repl.ReplaceOrErr(v, true, true)
			if err != nil {
				return p, fmt.Errorf("the header %s: %w", name, err)
			}
			p.Header.Add(name, value)
		}
	}
	if b := f.Batch; b != nil {
		p.Limit = outbox.Limit{Count: b.Count, Bytes: b.Bytes, Age: time.Duration(b.Age)}
	}
	if b := f.Breaker; b != nil {
		p.Breaker = deliver.Breaker{Failures: b.Failures, Open: time.Duration(b.Open)}
	}
	if r := f.Retry; r != nil {
		p.Backoff = deliver.Backoff{Min: time.Duration(r.Min), Max: time.Duration(r.Max)}
	}
	return p, nil
}

// alike reports whether two routes say the same of one recipient.
func (f *Forward) alike(o *Forward) bool {
	a, b := *f, *o
	a.Purposes, b.Purposes = nil, nil
	return reflect.DeepEqual(a, b)
}
