package caddymodule

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"slices"
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
// same body came before those of this scan.
func (j judge) ingests(scan *payload.Scan, ru ruling, before int) ([]ingest, *Problem) {
	if len(j.ln.forwards) == 0 {
		return nil, nil
	}
	all := make([]ingest, 0, len(j.ln.forwards))
	for i := range j.ln.forwards {
		f := &j.ln.forwards[i]
		if !f.partner.of.dropsOldest() && f.partner.full() {
			return nil, storeUnavailable()
		}
		in, room := ingest{lane: f}, maxGrowth*max(j.g.MaxBody, defaultMaxBody)
		if scan == nil || ru.verdicts == nil {
			continue
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
		if len(in.records) > 0 {
			all = append(all, in)
		}
	}
	return all, nil
}

// ingest returns record n as a partner may have it, but for its key; ok is false
// where it may not.
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
		Body:    slices.Clone(body), // it may be a slice of the request's
		At:      now,
	}, true
}

// recordKey returns the idempotency key of record n of a body: a random one, or, where the
// client repeats a request with an Idempotency-Key, the same again. It is this
// partner's own, so that no two of them can join what they got by it.
func (j judge) recordKey(recipient, subject string, n int) string {
	sum := make([]byte, sha256.Size)
	key := j.r.Header.Get("Idempotency-Key")
	if secret := j.g.app.derivedKey("outbox record key"); key != "" && secret != nil {
		mac := hmac.New(sha256.New, secret)
		for _, part := range []string{recipient, subject, key, j.r.Method, j.r.URL.Path} {
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			mac.Write([]byte(part))
		}
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
		sum = mac.Sum(sum[:0])
	} else {
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

// keep makes records durable in the outboxes of their partners.
func keep(ctx context.Context, all []ingest) *Problem {
	for _, in := range all {
		if err := in.lane.partner.add(ctx, in.records); err != nil {
			return storeUnavailable()
		}
	}
	return nil
}

// accepting is a response that waits until the request's records are durable in
// the outbox: from its first byte on the client may take them for accepted.
type accepting struct {
	*caddyhttp.ResponseWriterWrapper
	kept    chan struct{} // closed once problem is known
	problem *Problem
	begun   bool
	refused bool
}

// accept begins to keep the records, while the request goes on.
func (v *visit) accept(w http.ResponseWriter) *accepting {
	a := &accepting{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, kept: make(chan struct{})}
	ctx, all := v.r.Context(), v.outgoing
	go func() {
		defer close(a.kept)
		a.problem = keep(ctx, all)
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
			clear(h)
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
