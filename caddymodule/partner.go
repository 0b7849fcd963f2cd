package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/geo"
	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/outbox/deliver"
)

// partner is a recipient that gates of this configuration forward to.
type partner struct {
	app *App
	of  *Forward
	// fullUntil is until when each partition is taken to be full, in Unix nanoseconds:
	// what comes for it meanwhile is refused before the request goes on.
	fullUntil [outbox.Partitions]atomic.Int64

	mu       sync.Mutex
	exits    *exits         // under the policy in force
	counting *kanon.Chooser // nil: not asked for yet

	sample sample
	unkept linkLog // why records could not be kept
}

const (
	appendTimeout = 5 * time.Second
	fullFor       = time.Second
)

// partner returns whom a gate forwards to. It is for Provision.
func (a *App) partner(f *Forward) (*partner, error) {
	if _, ok := a.store.(OutboxModule); !ok {
		return nil, fmt.Errorf("forward %s: this store keeps no outbox: write `store redis` or `store embedded`", f.Recipient)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.partners[f.Recipient]; p != nil {
		if !p.of.alike(f) {
			return nil, fmt.Errorf("forward %s: another route forwards to %s with other settings; a recipient has one outbox and one way of delivery: write the same lines, but for purposes, on both", f.Recipient, f.Recipient)
		}
		return p, nil
	}
	p := &partner{
		app: a, of: f, sample: sample{most: f.Sample},
		unkept: linkLog{says: "records for " + f.Recipient + " cannot be kept in the outbox: requests that bring some are answered 503"},
	}
	// What is wrong with it shows now, not at the first record.
	settings, err := f.partner()
	if err == nil {
		_, err = deliver.New(nil, settings, p.recheck, deliver.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", f.Recipient, err)
	}
	if a.partners == nil {
		a.partners = map[string]*partner{}
	}
	a.partners[f.Recipient] = p
	return p, nil
}

// refuses reports whether there is no room for records, by what was so a moment ago,
// and counts those that it refuses. A partition that is full, be it of one subject's
// records, says nothing of the others.
func (p *partner) refuses(records []outbox.Record) bool {
	share, now := p.of.bound().Share(), time.Now().UnixNano()
	for n, bytes := range sharesOf(records) {
		if bytes > share || bytes > 0 && now < p.fullUntil[n].Load() {
			p.app.metrics.countOutbox(p.of.Recipient, "refused_full", len(records))
			return true
		}
	}
	return false
}

// noteFull notes that there was no room for records, unless that is their own size.
func (p *partner) noteFull(records []outbox.Record) {
	shares := sharesOf(records)
	if p.of.dropsOldest() || slices.Max(shares[:]) > p.of.bound().Share() {
		return
	}
	until := time.Now().Add(fullFor).UnixNano()
	for n, bytes := range shares {
		if bytes > 0 {
			p.fullUntil[n].Store(until)
		}
	}
}

// sharesOf returns how many bytes records have for each partition.
func sharesOf(records []outbox.Record) (shares [outbox.Partitions]int64) {
	for i := range records {
		shares[outbox.Partition(records[i].Subject)] += int64(records[i].Size())
	}
	return shares
}

// add makes records durable in the outbox. It goes on when the client has gone:
// the request is on its way.
func (p *partner) add(ctx context.Context, records []outbox.Record) error {
	o := p.app.outbox.Load()
	if o == nil {
		return errors.New("the outbox is not open")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	dropped, err := o.Queue.Append(ctx, p.of.Recipient, p.of.bound(), records)
	m := p.app.metrics
	switch {
	case err == nil:
		m.countOutbox(p.of.Recipient, "accepted", len(records))
		if dropped > 0 {
			m.countOutbox(p.of.Recipient, "dropped_oldest", dropped)
		}
	case errors.Is(err, outbox.ErrFull):
		p.noteFull(records)
		m.countOutbox(p.of.Recipient, "refused_full", len(records))
	default:
		m.countStoreError("outbox")
		p.unkept.report(err)
	}
	return err
}

// startPartners opens the outbox and begins to deliver.
func (a *App) startPartners(e *engine) error {
	if len(a.partners) == 0 {
		return nil
	}
	o, err := e.openOutbox(a.store)
	if err != nil {
		return fmt.Errorf("opening the outbox: %w", err)
	}
	a.outbox.Store(o)
	ctx, stop := context.WithCancel(context.Background())
	a.stopPartners = func() {
		stop()
		a.deliveries.Wait()
	}
	for _, p := range a.partners {
		settings, err := p.of.partner()
		if err != nil {
			a.stopPartners()
			return fmt.Errorf("forward %s: %w", p.of.Recipient, err)
		}
		transport := p.transport()
		settings.Transport = transport
		observer := partnerObserver{a.metrics, p.of.Recipient}
		observer.BreakerChanged("closed") // as it begins; it tells of changes alone
		d, err := deliver.New(o.Queue, settings, p.recheck, deliver.Options{Observer: observer, Log: a.logger.Named("forward")})
		if err != nil {
			a.stopPartners()
			return fmt.Errorf("forward %s: %w", p.of.Recipient, err)
		}
		a.deliveries.Go(func() {
			d.Run(ctx)
			transport.CloseIdleConnections()
		})
		a.logger.Info("forwarding", zap.String("recipient", p.of.Recipient), zap.Int("addresses", len(settings.URLs)))
	}
	return nil
}

// transport makes the connections to the partner. Clause 2.1: one to an address
// in another country than the policy says is refused, whatever name led there.
func (p *partner) transport() *http.Transport {
	return deliver.Transport(deliver.TransportOptions{Control: func(network, address string, c syscall.RawConn) error {
		policy := p.app.Current().Policy
		border := geo.Border{Recipient: p.of.Recipient, Home: policy.Home()}
		if r := policy.Recipient(p.of.Recipient); r != nil {
			border.Country = r.Country
		}
		check := p.app.Geo().DialControl(border)
		if check == nil {
			return nil // without GeoIP nobody can tell
		}
		return check(context.Background(), network, address, c)
	}})
}

// partnerObserver counts what becomes of a partner's records.
type partnerObserver struct {
	m         *metrics
	recipient string
}

func (o partnerObserver) Accepted(records, bytes int) {
	o.m.countOutbox(o.recipient, "delivered", records)
	o.m.outboxBytes.WithLabelValues(o.recipient).Add(float64(bytes))
}
func (o partnerObserver) Delivered(waited time.Duration) {
	o.m.outboxWait.WithLabelValues(o.recipient).Observe(waited.Seconds())
}
func (o partnerObserver) Failed(reason deliver.Reason) {
	o.m.outboxFailures.WithLabelValues(o.recipient, string(reason)).Inc()
}
func (o partnerObserver) Dead(records, _ int)  { o.m.countOutbox(o.recipient, "dead", records) }
func (o partnerObserver) Withheld(records int) { o.m.countOutbox(o.recipient, "withheld", records) }
func (o partnerObserver) BreakerChanged(state string) {
	for _, s := range []string{"closed", "half-open", "open"} {
		on := 0.0
		if s == state {
			on = 1
		}
		o.m.outboxBreaker.WithLabelValues(o.recipient, s).Set(on)
	}
}

// Interface guards
var _ deliver.Observer = partnerObserver{}
