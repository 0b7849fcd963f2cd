package caddymodule

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// forwardLane is one more way that records take: what a partner gets. It invokes no
// exemption: those of the gate are for its upstream.
type forwardLane struct {
	partner  *partner
	rules    *rules.Route
	purposes []string
	ids      *recordIDs // nil: they stay
}

// ingest is the records of one message on their way into the outbox.
type ingest struct {
	lane    *forwardLane
	records []outbox.Record
}

// maxGrowth bounds what one body may come to in an outbox, in bodies of max_body, or
// of its default where that is more: beside each record rests what it was released
// under, and records may be as short as `{}`.
const maxGrowth = 4

// ingests returns what each partner is to get of a message, each record in the
// release of its own subject, as it came in. before is how many records of the
// request came before those of this message.
func (j judge) ingests(scan *payload.Scan, ru ruling, before int) ([]ingest, *Problem) {
	if len(j.ln.forwards) == 0 || scan == nil || ru.verdicts == nil {
		return nil, nil
	}
	all := make([]ingest, 0, len(j.ln.forwards))
	for i := range j.ln.forwards {
		f := &j.ln.forwards[i]
		in, room := ingest{lane: f}, maxGrowth*max(j.g.MaxBody, defaultMaxBody)
		if scan.Len() == 0 {
			j.g.app.metrics.countOutbox(f.rules.Recipient().ID, "no_record", 1) // nothing stands where records should
		}
		places := places{judge: j, scan: scan, n: len(ru.people)}
		for n := range scan.Len() {
			who := 0
			if scan.Split() {
				who = n
			}
			if r, ok := j.ingest(f, scan, n, ru.people[who], &ru.verdicts[who], &places, who); ok {
				r.Key = j.recordKey(f.rules.Recipient().ID, r.Subject, before+n)
				in.records = append(in.records, r)
				if room -= int64(r.Size()); room < 0 {
					return nil, tooLarge(j.g.MaxBody)
				}
			}
		}
		if len(in.records) == 0 {
			continue
		}
		if f.partner.refuses(in.records) {
			return nil, outboxUnavailable()
		}
		all = append(all, in)
	}
	return all, nil
}

// ingest returns record n as a partner may have it, without a key; ok is false where
// it may not.
func (j judge) ingest(f *forwardLane, scan *payload.Scan, n int, who consent.Subject, verdict *Verdict, places *places, at int) (outbox.Record, bool) {
	now := time.Now()
	rel := f.rules.Release(verdict.Permits, "")
	if !f.rules.Serves(rel) {
		return outbox.Record{}, false
	}
	recipient := f.rules.Recipient()
	params := &payload.Params{Now: now}
	if rel.Vector.Keyed() {
		params.Key = j.g.app.SubjectKey(recipient.ID, recipient.Pseudonyms.Epoch(now, verdict.Salt), verdict.Salt)
	}
	if rel.Vector.Placed() {
		params.Place = places.of(at)
	}
	body, rep, ok := scan.ApplyRecord(nil, n, payload.Part{Vector: rel.Vector, Params: params})
	j.g.countReport(recipient.ID, &rep, j.ln.of.Policy)
	if !ok {
		if rep.Untouched() {
			j.g.app.metrics.countOutbox(recipient.ID, "no_record", 1) // a form, say
		}
		return outbox.Record{}, false
	}
	if f.ids != nil {
		body, ok = f.ids.apply(body, j.g.app.derivedKey("record ids of "+recipient.ID))
	} else {
		body = slices.Clone(body) // it may be a slice of the request's
	}
	if !ok {
		return outbox.Record{}, false
	}
	decision, _ := f.rules.Decision(rel)
	under, err := json.Marshal(releasedUnder{Decision: decision, User: who.User, Device: who.Device, Purposes: f.purposes})
	if err != nil {
		return outbox.Record{}, false
	}
	subject := who.User
	if subject == "" {
		subject = who.Device
	}
	return outbox.Record{
		Subject: string(subject),
		Release: under,
		Body:    body,
		At:      now,
	}, true
}

// repeatable is what a client says to repeat a request, as it came: a stream goes on
// while other handlers change the request.
type repeatable struct{ key, method, path string }

func newRepeatable(r *http.Request) repeatable {
	return repeatable{r.Header.Get("Idempotency-Key"), r.Method, r.URL.Path}
}

// recordKey returns the idempotency key of the n-th record of a request: a random
// one, or, where the client repeats a request with an Idempotency-Key, the same
// again. It is this partner's own, so that no two of them can join what they got by
// it.
func (j judge) recordKey(recipient, subject string, n int) string {
	var sum []byte
	if j.repeat.key != "" {
		if secret := j.g.app.derivedKey("outbox record key"); secret != nil {
			mac := hmac.New(sha256.New, secret)
			for _, part := range []string{recipient, subject, j.repeat.key, j.repeat.method, j.repeat.path} {
				mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
				mac.Write([]byte(part))
			}
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
			sum = mac.Sum(nil)
		}
	}
	if sum == nil {
		sum = make([]byte, 16)
		_, _ = rand.Read(sum) // never fails
	}
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// joined puts together what one partner is to get of several lines.
func joined(all []ingest) (by []ingest) {
	for _, in := range all {
		i := slices.IndexFunc(by, func(o ingest) bool { return o.lane == in.lane })
		if i < 0 {
			by = append(by, in)
			continue
		}
		by[i].records = append(by[i].records, in.records...)
	}
	return by
}

// keep makes records durable in the outboxes of their partners, all at once.
func (g *Gate) keep(ctx context.Context, all []ingest) *Problem {
	if len(all) == 0 {
		return nil
	}
	var failed atomic.Bool
	add := func(in ingest) {
		defer func() {
			if p := recover(); p != nil {
				g.caught(p) // it may be a goroutine of its own
				failed.Store(true)
			}
		}()
		if err := in.lane.partner.add(ctx, in.records); err != nil {
			failed.Store(true)
		}
	}
	var others sync.WaitGroup
	for _, in := range all[1:] {
		others.Go(func() { add(in) })
	}
	add(all[0])
	others.Wait()
	if failed.Load() {
		return outboxUnavailable()
	}
	return nil
}

// accepting is a response that waits until the request's records are durable in
// the outbox: from its first byte on the client may take them for accepted.
type accepting struct {
	*caddyhttp.ResponseWriterWrapper
	kept    chan struct{} // closed once problem is known
	problem *Problem
	before  http.Header // what had been set when the request came here
	begun   bool
	refused bool
}

// accept begins to keep the records, while the request goes on.
func (v *visit) accept(w http.ResponseWriter) *accepting {
	a := &accepting{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		kept:                  make(chan struct{}), before: w.Header().Clone(),
	}
	ctx, all := v.r.Context(), v.outgoing
	go func() {
		defer close(a.kept)
		a.problem = v.g.keep(ctx, all)
	}()
	return a
}

// accepted serves the request, and lets the client know of it only once its records
// are durable in the outbox.
func (v *visit) accepted(w http.ResponseWriter, serve func(http.ResponseWriter) error) error {
	if len(v.outgoing) == 0 {
		return serve(w)
	}
	a := v.accept(w)
	return a.finish(serve(a))
}

// WriteHeader implements http.ResponseWriter.
func (a *accepting) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		a.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if !a.begin() {
		return
	}
	a.ResponseWriterWrapper.WriteHeader(status)
}

// begin waits for the outbox before the first byte of the answer. It returns false
// where the client has been told something else.
func (a *accepting) begin() bool {
	if !a.begun {
		a.begun = true
		<-a.kept
		if a.problem != nil {
			a.refused = true
			h := a.Header()
			clear(h) // of what the upstream has said
			maps.Copy(h, a.before)
			a.problem.write(a.ResponseWriter)
		}
	}
	return !a.refused
}

// Write implements io.Writer. What the upstream says to a request that was not
// accepted goes nowhere.
func (a *accepting) Write(p []byte) (int, error) {
	if !a.begin() {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: the wrapper's own would go past Write.
func (a *accepting) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{a}, r)
}

// FlushError implements what http.ResponseController looks for.
func (a *accepting) FlushError() error {
	if !a.begin() {
		return nil
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker. The connection is not handed out where the client
// has been told something else.
func (a *accepting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !a.begin() {
		return nil, nil, errors.New("the request was not accepted: its records cannot be kept")
	}
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// finish waits for the outbox, whatever the handler came to.
func (a *accepting) finish(err error) error {
	if !a.begun && err != nil {
		<-a.kept // what answers in the handler's place does not know of this
		if a.problem != nil {
			_ = a.begin()
			return nil
		}
		return err
	}
	_ = a.begin()
	if a.refused {
		return nil
	}
	return err
}

// Interface guards
var (
	_ http.Hijacker = (*accepting)(nil)
	_ io.ReaderFrom = (*accepting)(nil)
)
