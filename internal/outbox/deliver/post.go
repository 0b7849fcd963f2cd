package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// answer is what came of one POST.
type answer struct {
	status     int    // 0: there was none, or it was cut off
	reason     Reason // then: why
	detail     string // and what may be told of it
	retryAfter time.Duration
}

// errOld ends what the transport would repeat by itself.
var errOld = errors.New("the word on what may go is too old")

// post makes one POST, of what the recheck let go when it was asked at checked.
// What it returns is worth nothing once ctx has ended.
func (d *Delivery) post(ctx context.Context, to target, key string, body []byte, checked time.Time) answer {
	ctx, cancel := context.WithTimeout(ctx, d.partner.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url.String(), bytes.NewReader(body))
	if err != nil {
		return answer{reason: Unreachable}
	}
	// With an Idempotency-Key the transport repeats what an idle connection has
	// lost that was closed just then. It may, at once, but not after a while.
	r.GetBody = func() (io.ReadCloser, error) {
		if time.Since(checked) > recheckAfter {
			return nil, errOld
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Header.Set("User-Agent", "consentgate")
	if to.authorization != "" {
		r.Header.Set("Authorization", to.authorization)
	}
	for name, values := range d.partner.Header {
		r.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	r.Header.Set("Content-Type", d.partner.Format.contentType())
	if d.partner.Gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	r.Header.Set("Idempotency-Key", key)
	// Not through a client: that follows redirects and keeps cookies, and its
	// errors hold the URL.
	resp, err := d.transport.RoundTrip(r)
	if err != nil {
		return noAnswer(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 {
		return answer{status: resp.StatusCode} // another protocol: its bytes have no end
	}
	// What the partner says is of no interest, but reading it to its end keeps
	// the connection. If that end does not come, a 2xx is no word to rely on;
	// any other status is, since a server that does not want the rest of a body
	// answers and resets.
	if _, err := io.CopyN(io.Discard, resp.Body, maxAnswer); err != nil && !errors.Is(err, io.EOF) && judge(resp.StatusCode) == accepted {
		return noAnswer(err)
	}
	return answer{status: resp.StatusCode, retryAfter: retryAfter(resp.Header, time.Now())}
}

// noAnswer says why there was no answer. The text of an error is told only
// where it cannot hold a byte of an answer or of a URL's path.
func noAnswer(err error) answer {
	var (
		address *addressError
		dns     *net.DNSError
		op      *net.OpError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		timeout net.Error
	)
	errors.As(err, &op)
	switch {
	case errors.As(err, &address):
		return answer{reason: Address, detail: address.Error()}
	case errors.As(err, &dns):
		return answer{reason: Unreachable, detail: dns.Error()}
	case op != nil && op.Op == "dial":
		return answer{reason: Unreachable, detail: op.Error()}
	case errors.As(err, &cert):
		return answer{reason: TLS, detail: cert.Error()}
	case errors.As(err, &record):
		return answer{reason: TLS, detail: record.Msg}
	case op != nil && (op.Op == "remote error" || op.Op == "local error"): // alerts
		return answer{reason: TLS, detail: op.Err.Error()}
	case errors.Is(err, http.ErrSchemeMismatch) || strings.HasPrefix(err.Error(), "tls: "):
		return answer{reason: TLS, detail: err.Error()}
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return answer{reason: Timeout}
	}
	return answer{reason: Broken}
}
