package deliver

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/consentgate/consentgate/internal/outbox"
)

// recheckAfter is how old the word on what may go may be when it goes: as good as
// new. A withdrawal holds from its acknowledgement on, and a look costs little
// beside a POST.
const recheckAfter = 20 * time.Millisecond

// maxConflicts is how often in a row a 409 is taken to mean that an earlier POST
// with this key is still under way.
const maxConflicts = 10

// batch is what one partition has taken out of the queue.
type batch struct {
	records []outbox.Record // as taken
	bodies  [][]byte        // what may go of each, by the last recheck; nil: nothing
	checked time.Time       // when that began
	dead    map[int]outbox.Verdict
}

// part is some records of a batch, from low up to high, that go together.
type part struct{ low, high int }

// deliver settles each record of a batch: with the partner, dead, or withheld.
// It returns an error only when ctx has ended.
func (d *Delivery) deliver(ctx context.Context, b *batch) error {
	// Parts that are not settled; the last one goes first.
	todo := []part{{0, len(b.records)}}
	if d.partner.Format == Single {
		todo = todo[:0]
		for i := len(b.records) - 1; i >= 0; i-- {
			todo = append(todo, part{i, i + 1})
		}
	}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		divide, err := d.settle(ctx, b, p)
		if err != nil {
			return err
		}
		if divide {
			// By what was taken, so that who repeats it divides it alike.
			middle := (p.low + p.high) / 2
			todo = append(todo, part{middle, p.high}, part{p.low, middle})
		}
	}
	return nil
}

// settle posts a part until its fate is known, or it is to be divided.
func (d *Delivery) settle(ctx context.Context, b *batch, p part) (divide bool, err error) {
	failures, conflicts, tried := 0, 0, 0
	for {
		a, err := d.attempt(ctx, b, p, tried+1 < len(d.targets))
		if err != nil {
			return false, err
		}
		switch v := a.verdict(); {
		case a.nothing:
			d.withheld(b, p)
			return false, nil
		case a.again:
			continue
		case v == accepted:
			d.accepted(b, p, a)
			return false, nil
		case v == split && len(a.sent) > 1:
			return true, nil
		case v == conflict && conflicts < maxConflicts:
			conflicts++
		case v != retry:
			d.withheld(b, p)
			d.die(b, a.sent, a.status)
			return false, nil
		}
		failures++
		d.failed(a.answer, a.host)
		if a.status == 0 && len(a.sent) > 0 {
			if tried++; tried < len(d.targets) {
				failures--
				continue // at once: the next one is another place
			}
			tried = 0
		}
		wait := max(d.partner.Backoff.wait(failures), a.retryAfter)
		if wait > recheckAfter {
			b.bodies = nil // they would be too old by then
		}
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// attempt is what came of trying once to post a part.
type attempt struct {
	answer
	host    string
	sent    []int // indexes of the records in the POST
	bytes   int   // of its body
	nothing bool  // there was nothing to post
	again   bool  // the moment passed: try anew
}

func (a *attempt) verdict() verdict {
	if a.status == 0 {
		return retry
	}
	return judge(a.status)
}

// attempt tries once. others says that there are places left to try, should this
// one give no answer. Its error is ctx's.
func (d *Delivery) attempt(ctx context.Context, b *batch, p part, others bool) (a attempt, err error) {
	// Before the wait, since where nothing may go there is nothing to wait for.
	began := time.Now()
	if a, ok := d.check(ctx, b, p, b.checked); !ok {
		return a, ctx.Err()
	}
	leave, err := d.hold.enter(ctx)
	if err != nil {
		return a, err
	}
	learned := errAside
	defer func() { leave(learned) }()
	if err := d.hold.spend(ctx, b.live(p)); err != nil {
		return a, err
	}
	if wait, _ := d.hold.wait(); wait > 0 {
		return attempt{again: true}, nil
	}
	if a, ok := d.check(ctx, b, p, began); !ok {
		return a, ctx.Err()
	}
	e := encoder{p: &d.partner}
	for i := p.low; i < p.high; i++ {
		if b.bodies[i] == nil {
			continue
		}
		if _, dead := b.dead[i]; dead {
			continue
		}
		if e.add(b.records[i].Key, b.bodies[i]) {
			a.sent = append(a.sent, i)
		} else {
			d.die(b, []int{i}, 0)
		}
	}
	if len(a.sent) == 0 {
		return attempt{nothing: true}, nil
	}
	body := e.body()
	a.bytes = len(body)
	at := d.current.Load()
	a.host = d.targets[at].url.Host
	a.answer = d.post(ctx, d.targets[at], idempotencyKey(d.partner.Format, b.records[p.low:p.high]), body, b.checked)
	if ctx.Err() != nil && a.status == 0 {
		return a, ctx.Err()
	}
	if a.status == 0 {
		// Unless another partition was faster.
		d.current.CompareAndSwap(at, (at+1)%int32(len(d.targets)))
	}
	learned = d.learn(&a, others)
	return a, nil
}

// learn returns what an answer tells the breaker, and has all partitions wait
// if the partner asks for it.
func (d *Delivery) learn(a *attempt, others bool) error {
	switch {
	case a.status == 0 && others:
		return errAside
	case a.verdict() != retry:
		return nil
	case a.retryAfter > 0 && (a.status == 429 || a.status == 503):
		d.hold.pauseFor(a.retryAfter)
		return errAside // it is up, and says itself when to come back
	}
	return errFailed
}

// check has the batch rechecked, unless that was done since the time given and a
// moment ago. It reports whether there is something to post.
func (d *Delivery) check(ctx context.Context, b *batch, p part, since time.Time) (attempt, bool) {
	if b.bodies == nil || b.checked.Before(since) || time.Since(b.checked) > recheckAfter {
		began := time.Now()
		bodies, err := d.ask(ctx, b.records)
		if err != nil {
			b.bodies = nil
			return attempt{answer: answer{reason: RecheckError, detail: err.Error()}}, false
		}
		b.bodies, b.checked = bodies, began
	}
	if b.live(p) == 0 {
		return attempt{nothing: true}, false
	}
	return attempt{}, true
}

// live counts the records of a part that may go.
func (b *batch) live(p part) (n int) {
	for i := p.low; i < p.high; i++ {
		if _, dead := b.dead[i]; b.bodies[i] != nil && !dead {
			n++
		}
	}
	return n
}

// ask calls the recheck. What panics there must not take the gateway with it,
// again and again, since the same batch comes back.
func (d *Delivery) ask(ctx context.Context, records []outbox.Record) (bodies [][]byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			d.lines.panicked(v, debug.Stack())
			bodies, err = nil, errors.New("the recheck panicked")
		}
	}()
	bodies, err = d.recheck(ctx, d.partner.Name, records)
	if err == nil && len(bodies) != len(records) {
		return nil, fmt.Errorf("the recheck returned %d bodies for %d records", len(bodies), len(records))
	}
	return bodies, err
}

func (d *Delivery) accepted(b *batch, p part, a attempt) {
	d.withheld(b, p)
	d.observer.Accepted(len(a.sent), a.bytes)
	for _, i := range a.sent {
		d.observer.Delivered(max(0, time.Since(b.records[i].At)))
	}
	d.lines.recovered()
}

// withheld counts what the recheck kept back of a part that is settled.
func (d *Delivery) withheld(b *batch, p part) {
	n := 0
	for i := p.low; i < p.high; i++ {
		if b.bodies[i] == nil {
			n++
		}
	}
	if n > 0 {
		d.observer.Withheld(n)
	}
}

// die makes dead letters of records.
func (d *Delivery) die(b *batch, records []int, status int) {
	for _, i := range records {
		b.dead[i] = outbox.Verdict{Status: status, At: time.Now()}
	}
	d.observer.Dead(len(records), status)
	d.lines.dead(len(records), status)
}
