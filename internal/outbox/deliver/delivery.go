package deliver

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/outbox"
)

// Recheck decides again what of a batch may go to a partner now. It returns a
// body for each record, which is one JSON text, and nil for those that may not
// go. An error means that it cannot be said, so that the batch waits. Its text
// is logged: it must hold no value and no subject.
//
// It is called before each POST, repetitions too, and always for the whole batch,
// be it that parts of it have arrived already.
type Recheck func(ctx context.Context, partner string, batch []outbox.Record) (bodies [][]byte, err error)

// Options are what a Delivery can do without.
type Options struct {
	Observer Observer
	Log      *zap.Logger
}

// Delivery delivers the records of one partner.
type Delivery struct {
	queue     outbox.Queue
	partner   Partner
	targets   []target
	current   atomic.Int32 // the target that is to be tried first
	transport http.RoundTripper
	idle      func() // closes the transport, if it is our own
	recheck   Recheck
	observer  Observer
	lines     *lines
	hold      *hold
}

// New makes the delivery of a partner's queue. Its errors are about the partner.
func New(queue outbox.Queue, partner Partner, recheck Recheck, o Options) (*Delivery, error) {
	p, targets, err := partner.withDefaults()
	if err != nil {
		return nil, err
	}
	if recheck == nil {
		return nil, errors.New("a delivery needs a recheck")
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	d := &Delivery{
		queue: queue, partner: p, targets: targets, transport: p.Transport, idle: func() {}, recheck: recheck,
		observer: o.Observer, lines: &lines{log: o.Log.With(zap.String("partner", p.Name))}, hold: newHold(&p, o.Observer),
	}
	if d.transport == nil {
		t := Transport(TransportOptions{})
		d.transport, d.idle = t, t.CloseIdleConnections
	}
	return d, nil
}

// Run delivers until ctx ends, or the queue is closed, and has given up all
// leases when it returns. POSTs under way are broken off: their batches come
// again, with the same keys. A Delivery runs once.
func (d *Delivery) Run(ctx context.Context) {
	var all sync.WaitGroup
	for partition := range outbox.Partitions {
		all.Go(func() { d.serve(ctx, partition) })
	}
	all.Wait()
	d.idle()
}

// serve leases one partition and delivers what is in it, again and again.
func (d *Delivery) serve(ctx context.Context, partition int) {
	failures := 0
	for ctx.Err() == nil {
		delivered, err := d.consume(ctx, partition)
		if errors.Is(err, outbox.ErrClosed) {
			return
		}
		if delivered {
			failures = 0
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		reason := QueueError
		if errors.Is(err, outbox.ErrLost) {
			reason = LeaseLost
		}
		d.failed(answer{reason: reason, detail: err.Error()}, "")
		if sleep(ctx, d.partner.Backoff.wait(failures)) != nil {
			return
		}
	}
}

// consume holds the lease of a partition for as long as all goes well, and
// reports whether a batch was delivered meanwhile.
func (d *Delivery) consume(parent context.Context, partition int) (delivered bool, err error) {
	lease, err := d.queue.Lease(parent, d.partner.Name, partition)
	if err != nil {
		return false, err
	}
	defer lease.Release()
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	go func() {
		select {
		case <-lease.Lost():
			cancel() // and with it the POST under way
		case <-ctx.Done():
		}
	}()
	for {
		records, err := lease.Batch(ctx, d.partner.Limit)
		if err == nil && len(records) == 0 {
			err = errors.New("the queue gave a batch of nothing")
		}
		if err != nil {
			return delivered, because(parent, ctx, err)
		}
		b := &batch{records: records, dead: map[int]outbox.Verdict{}}
		if err := d.deliver(ctx, b); err != nil {
			return delivered, because(parent, ctx, err)
		}
		if err := d.done(parent, ctx, lease, b); err != nil {
			return delivered, because(parent, ctx, err)
		}
		delivered = true
	}
}

// because returns the error that a lease has ended with: if that is why ctx
// ended while its parent did not, ErrLost.
func because(parent, ctx context.Context, err error) error {
	if ctx.Err() != nil && parent.Err() == nil && !errors.Is(err, outbox.ErrClosed) {
		return outbox.ErrLost
	}
	return err
}

// doneWithin bounds how long a batch that was delivered may take to be taken out
// once the Delivery is to end.
const doneWithin = 2 * time.Second

// done takes a batch out of the queue. It does so even if the Delivery is to end
// meanwhile, for a moment: what has arrived would arrive again.
func (d *Delivery) done(parent, ctx context.Context, lease outbox.Lease, b *batch) error {
	for failures := 1; ; failures++ {
		err := d.doneOnce(parent, lease, b)
		if err == nil || errors.Is(err, outbox.ErrLost) || errors.Is(err, outbox.ErrClosed) {
			return err
		}
		// It may have been done, or not: until that is known no other batch is
		// to be had.
		d.failed(answer{reason: QueueError, detail: err.Error()}, "")
		if err := sleep(ctx, d.partner.Backoff.wait(failures)); err != nil {
			return err
		}
	}
}

func (d *Delivery) doneOnce(parent context.Context, lease outbox.Lease, b *batch) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	defer cancel()
	stop := context.AfterFunc(parent, func() { time.AfterFunc(doneWithin, cancel) })
	defer stop()
	select {
	case <-lease.Lost():
		return outbox.ErrLost
	default:
		return lease.Done(ctx, b.dead)
	}
}

// failed tells of an attempt that will be repeated.
func (d *Delivery) failed(a answer, host string) {
	if a.status != 0 {
		a.reason = reasonOf(a.status)
	}
	d.observer.Failed(a.reason)
	d.lines.failed(a, host)
}
