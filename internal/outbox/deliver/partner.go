package deliver

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Format is how records stand in the body of a POST.
type Format int

const (
	// NDJSON is one record a line, application/x-ndjson.
	NDJSON Format = iota
	// Array is one JSON array of all records, application/json.
	Array
	// Single is one record a POST, application/json.
	Single
)

// contentType is the format's media type.
func (f Format) contentType() string {
	if f == NDJSON {
		return "application/x-ndjson"
	}
	return "application/json"
}

// Rate is how much may go in a second, on the average, and at once. The zero
// Rate has no bound.
type Rate struct {
	PerSecond float64
	// Burst is how much may go at once after a pause. Default: what may go in
	// one second, and 1 at least.
	Burst int
}

// Partner says who gets the records of one queue, and how. The zero value of a
// field has the default.
type Partner struct {
	// Name is the queue's name: the recipient's id.
	Name string
	// URLs are where the partner takes records, http or https. Where one gives
	// no HTTP answer, the next is tried at once. The one that answered last is
	// the first to be tried. A user and password in it become an Authorization.
	URLs []string
	// Format is how records stand in a body. Default: NDJSON.
	Format Format
	// Keyed makes {"id":KEY,"record":RECORD} of each record, so that the partner
	// can tell a repeated record by its key.
	Keyed bool
	// Limit is what makes a batch complete. Default: 100 records, 1 MiB, 1 s;
	// for Single 10 records, since those that were posted of a batch before this
	// process died are posted again.
	Limit outbox.Limit
	// Gzip compresses each body.
	Gzip bool
	// Header is sent with each POST, such as a partner's credentials. It is
	// never logged. Headers that say how a body is framed or encoded, Host and
	// Idempotency-Key are refused.
	Header http.Header
	// Timeout bounds one POST, the answer included. Default: 10 s.
	Timeout time.Duration
	// Requests and Records are the rates of POSTs and of records. They are this
	// process's: each gateway has its own.
	Requests, Records Rate
	// Backoff is how long to wait before a batch is posted again.
	Backoff Backoff
	// Breaker says when to leave the partner alone.
	Breaker Breaker
	// Transport does the POSTs. Default: one made by [Transport], of this
	// partner's own.
	Transport http.RoundTripper
}

// Breaker is a circuit breaker: after a number of failures in a row, of
// whichever partition, no partition posts for a while; then one of them tries
// alone.
type Breaker struct {
	// Failures in a row that open it. Default: 5.
	Failures uint32
	// Open is how long it stays open. Default: 30 s.
	Open time.Duration
}

// Bounds of what an answer may make us do.
const (
	maxRetryAfter = time.Hour
	maxAnswer     = 4 << 10  // bytes of an answer's body that are read
	maxHeader     = 64 << 10 // bytes of its headers, in Transport
)

// refusedHeaders are those that a POST has by itself, or must not have.
var refusedHeaders = []string{
	"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Idempotency-Key",
	"Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// withDefaults returns a copy whose fields are all set, and where to post.
func (p Partner) withDefaults() (Partner, []target, error) {
	if p.Name == "" {
		return p, nil, errors.New("a partner needs a name")
	}
	if p.Format < NDJSON || p.Format > Single {
		return p, nil, fmt.Errorf("partner %s: there is no format %d", p.Name, p.Format)
	}
	targets, err := p.targets()
	if err != nil {
		return p, nil, err
	}
	if err := p.checkHeader(); err != nil {
		return p, nil, err
	}
	for _, r := range []*Rate{&p.Requests, &p.Records} {
		if r.PerSecond < 0 || r.Burst < 0 {
			return p, nil, fmt.Errorf("partner %s: a rate is less than 0", p.Name)
		}
		if r.Burst == 0 {
			r.Burst = max(1, int(min(r.PerSecond, 1<<30)))
		}
	}
	count := 100
	if p.Format == Single {
		count = 10
	}
	for _, n := range []struct {
		of     *int
		absent int
	}{{&p.Limit.Count, count}, {&p.Limit.Bytes, 1 << 20}} {
		if *n.of <= 0 {
			*n.of = n.absent
		}
	}
	for _, d := range []struct {
		of     *time.Duration
		absent time.Duration
	}{
		{&p.Limit.Age, time.Second},
		{&p.Timeout, 10 * time.Second},
		{&p.Backoff.Min, 500 * time.Millisecond},
		{&p.Backoff.Max, time.Minute},
		{&p.Breaker.Open, 30 * time.Second},
	} {
		if *d.of <= 0 {
			*d.of = d.absent
		}
	}
	p.Backoff.Max = max(p.Backoff.Min, p.Backoff.Max)
	if p.Breaker.Failures == 0 {
		p.Breaker.Failures = 5
	}
	return p, targets, nil
}

// target is one place to post to.
type target struct {
	url           *url.URL // without user and password
	authorization string   // what those come to, if any
}

// targets parses the URLs. Its errors name them by number: they may hold
// credentials.
func (p Partner) targets() ([]target, error) {
	if len(p.URLs) == 0 {
		return nil, fmt.Errorf("partner %s needs a URL", p.Name)
	}
	targets := make([]target, len(p.URLs))
	for i, raw := range p.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("partner %s: URL %d is none of http:// or https:// with a host", p.Name, i+1)
		}
		t := target{url: u}
		if u.User != nil {
			password, _ := u.User.Password()
			r := http.Request{Header: http.Header{}}
			r.SetBasicAuth(u.User.Username(), password)
			t.authorization = r.Header.Get("Authorization")
			u.User = nil
		}
		u.Fragment, u.RawFragment = "", ""
		targets[i] = t
	}
	return targets, nil
}

func (p Partner) checkHeader() error {
	for name, values := range p.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("partner %s: a header has a name that is none", p.Name)
		}
		if slices.Contains(refusedHeaders, textproto.CanonicalMIMEHeaderKey(name)) {
			return fmt.Errorf("partner %s: the header %s is not for a partner to set", p.Name, name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("partner %s: the header %s has a value that no header may have", p.Name, name)
			}
		}
	}
	return nil
}
