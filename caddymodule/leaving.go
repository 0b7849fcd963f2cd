package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
	"github.com/consentgate/consentgate/internal/outbox"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// releasedUnder is what rests with a record in the outbox, so that it can be
// decided again when it leaves. Subjects stand in it by their keyed digests.
type releasedUnder struct {
	rules.Decision
	User   consent.ID `json:"u,omitempty"`
	Device consent.ID `json:"d,omitempty"`
	// The route's; nil are all of the recipient's.
	Purposes []string `json:"s,omitempty"`
}

// exit is one route as records take it when they leave: each is a document of its
// own.
type exit struct {
	plan  *rules.Plan
	rules *rules.Route
	kanon *kanonRule // nil: the recipient asks for none
}

// exits are the routes to one partner under one policy, by purposes.
type exits struct {
	of *Current
	mu sync.Mutex
	by map[string]*exit
}

// maxExits bounds them: records of configurations long gone may still wait.
const maxExits = 64

func (x *exits) get(recipient string, under *releasedUnder) (*exit, error) {
	key := strings.Join(under.Purposes, " ")
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.by[key]; e != nil {
		return e, nil
	}
	p := x.of.Policy
	rec := p.Recipient(recipient)
	if rec == nil {
		return nil, errNoRecipient
	}
	spec := rules.RouteSpec{Recipient: recipient}
	if under.Purposes != nil {
		// One that the policy knows no more permits nothing.
		spec.Purposes = slices.DeleteFunc(slices.Clone(under.Purposes), func(n string) bool { return !slices.Contains(rec.Purposes, n) })
	}
	plan, err := p.Plan(rules.Inbound{Opener: opener{}, Cleaner: cleaner{}}, spec)
	if err != nil {
		return nil, err
	}
	e := &exit{plan: plan, rules: plan.Routes[0]}
	if k := rec.KAnonymity; k != nil {
		e.kanon = newKanonRule(k, rec, p, plan)
	}
	if len(x.by) >= maxExits {
		clear(x.by)
	}
	x.by[key] = e
	return e, nil
}

var errNoRecipient = errors.New("the policy in force has no such recipient: its records wait until it has, or until they are dropped")

// recheck implements deliver.Recheck: consent is looked at again when records
// leave. A category whose action became stricter goes; nothing is transformed a
// second time; a record of one who refused altogether does not leave.
func (p *partner) recheck(ctx context.Context, _ string, batch []outbox.Record) ([][]byte, error) {
	under := make([]releasedUnder, len(batch))
	people := make([]consent.Subject, len(batch))
	for i := range batch {
		if json.Unmarshal(batch[i].Release, &under[i]) != nil {
			under[i] = releasedUnder{} // nobody's, and so it does not leave
		}
		people[i] = consent.Subject{User: under[i].User, Device: under[i].Device}
	}
	cur, verdicts, err := p.verdicts(ctx, people)
	if err != nil {
		return nil, err
	}
	x := p.exitsOf(cur)
	leaving := make([]leavingRecord, len(batch))
	for i := range batch {
		e, err := x.get(p.of.Recipient, &under[i])
		if err != nil {
			return nil, err
		}
		leaving[i] = leavingRecord{exit: e, subject: batch[i].Subject, body: e.narrow(batch[i].Body, &under[i], &verdicts[i])}
	}
	if err := p.crowd(ctx, leaving); err != nil {
		return nil, err
	}
	bodies := make([][]byte, len(batch))
	for i := range leaving {
		bodies[i] = leaving[i].body
	}
	p.sample.take(batch, bodies)
	return bodies, nil
}

// leavingRecord is a record about to leave; its body is nil once it may not.
type leavingRecord struct {
	exit    *exit
	subject string
	body    []byte
}

// verdicts asks what the subjects' states come to under the policy in force.
func (p *partner) verdicts(ctx context.Context, people []consent.Subject) (*Current, []Verdict, error) {
	cache := p.app.Cache()
	if cache == nil {
		return nil, nil, errors.New("the consent store is not open")
	}
	for range 3 {
		cur := p.app.Current()
		verdicts, err := cache.GetAll(ctx, people)
		if err != nil {
			p.app.metrics.countStoreError("load")
			return nil, nil, errors.New("the consent store cannot be asked: records wait")
		}
		if !slices.ContainsFunc(verdicts, func(v Verdict) bool { return v.Of != cur }) {
			return cur, verdicts, nil
		}
		p.app.settle()
	}
	return nil, nil, errors.New("another policy comes into force: records wait")
}

// exitsOf returns the routes under a policy. Partitions share them.
func (p *partner) exitsOf(cur *Current) *exits {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exits == nil || p.exits.of != cur {
		p.exits = &exits{of: cur, by: map[string]*exit{}}
	}
	return p.exits
}

// narrow returns a record as it may leave now, or nil where it may not.
func (e *exit) narrow(body []byte, under *releasedUnder, verdict *Verdict) []byte {
	now := e.rules.Release(verdict.Permits, "")
	if !e.rules.Serves(now) {
		return nil
	}
	narrowed := e.rules.Narrowed(e.rules.Decided(under.Decision), now)
	if narrowed == nil {
		return body
	}
	return e.apply(body, narrowed.Vector)
}

// apply rewrites a record that was de-identified already. What cannot be read
// does not leave.
func (e *exit) apply(body []byte, v *payload.Vector) []byte {
	scan, err := e.plan.Matcher.Scan(body, payload.DefaultLimits)
	if err != nil {
		return nil
	}
	defer scan.Free()
	out, _, ok := scan.ApplyRecord(nil, 0, payload.Part{Vector: v, Params: &payload.Params{Now: time.Now()}})
	if !ok {
		return nil
	}
	return slices.Clone(out)
}
