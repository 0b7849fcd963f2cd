package caddymodule

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/consentgate/consentgate/internal/kanon"
	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// kanonRule is what a recipient asks of combinations of quasi-identifiers, made
// ready for records as they leave. A level is made of the value as it was released,
// since the outbox holds no other.
type kanonRule struct {
	threshold kanon.Threshold
	space     string
	parts     []rules.KPart
	plan      *rules.Plan
	actions   []payload.Action // pass, for every category

	mu      sync.Mutex
	vectors map[string]*payload.Vector // by the levels
}

func newKanonRule(k *rules.KAnonymity, rec *rules.Recipient, policy *rules.Policy, plan *rules.Plan) *kanonRule {
	r := &kanonRule{
		threshold: kanon.Threshold{K: k.K, Window: k.Window}, parts: k.Parts, plan: plan,
		actions: make([]payload.Action, len(plan.Routes[0].Stranger().Actions)), vectors: map[string]*payload.Vector{},
	}
	// Another list of quasi-identifiers, or other levels of them, are counted apart;
	// the same are counted together by all gateways, and by those that start later.
	var space strings.Builder
	space.WriteString(rec.ID)
	for _, p := range k.Parts {
		fmt.Fprintf(&space, "\x00%s", policy.CategoryName(p.Category))
		for _, level := range p.Spelled {
			fmt.Fprintf(&space, "\x01%s", level)
		}
	}
	r.space = space.String()
	return r
}

// vector returns what raises the parts of a record to their levels: 0 leaves a part
// as it was released, and one more than it has levels drops it.
func (r *kanonRule) vector(levels []int) *payload.Vector {
	key := fmt.Sprint(levels)
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.vectors[key]; v != nil {
		return v
	}
	actions := append([]payload.Action(nil), r.actions...)
	for i, level := range levels {
		switch p := &r.parts[i]; {
		case level == 0:
		case level <= len(p.Levels):
			actions[p.Category] = p.Levels[level-1]
		default:
			actions[p.Category] = payload.Action{Op: payload.Drop}
		}
	}
	v := r.plan.Matcher.NewVector(actions, payload.Judgement{Unknown: payload.Pass, Keep: -1})
	r.vectors[key] = v // one for each way to generalise: 64 at most
	return v
}

// record says what a record shows.
func (r *kanonRule) record(e *exit, subject string, body []byte) (kanon.Record, error) {
	rec := kanon.Record{Subject: subject, Parts: make([]kanon.Part, len(r.parts))}
	levels := make([]int, len(r.parts))
	for i, p := range r.parts {
		for level := range len(p.Levels) + 1 {
			at := body
			if level > 0 {
				levels[i] = level
				if at = e.apply(body, r.vector(levels)); at == nil {
					return rec, errUnreadableRecord
				}
			}
			value, err := r.value(p.Category, at)
			if err != nil {
				return rec, err
			}
			if value == nil {
				break // dropped from here on
			}
			rec.Parts[i].Levels = append(rec.Parts[i].Levels, value)
		}
		levels[i] = 0
	}
	return rec, nil
}

var errUnreadableRecord = errors.New("a record in the outbox cannot be read")

// value returns all that a record shows of a category, as one; nil for nothing.
func (r *kanonRule) value(c payload.Category, body []byte) (value []byte, err error) {
	scan, err := r.plan.Matcher.Scan(body, payload.DefaultLimits)
	if err != nil {
		return nil, errUnreadableRecord
	}
	defer scan.Free()
	scan.Shown(c, func(text []byte) {
		value = binary.AppendUvarint(value, uint64(len(text)))
		value = append(value, text...)
	})
	return value, nil
}

// crowd makes sure that no combination of quasi-identifiers leaves that too few
// have shown. After an error nothing may leave.
func (p *partner) crowd(ctx context.Context, leaving []leavingRecord) error {
	byRule := map[*kanonRule][]int{}
	for i := range leaving {
		if k := leaving[i].exit.kanon; k != nil && leaving[i].body != nil {
			byRule[k] = append(byRule[k], i)
		}
	}
	for rule, at := range byRule {
		chooser, err := p.chooser()
		if err != nil {
			return err
		}
		records := make([]kanon.Record, 0, len(at))
		readable := make([]int, 0, len(at))
		for _, i := range at {
			l := &leaving[i]
			rec, err := rule.record(l.exit, l.subject, l.body)
			if err != nil {
				l.body = nil
				continue
			}
			records, readable = append(records, rec), append(readable, i)
		}
		choice, err := chooser.Choose(ctx, rule.space, rule.threshold, records)
		if err != nil {
			p.app.metrics.countStoreError("kanon")
			return err
		}
		for n, i := range readable {
			levels := make([]int, len(rule.parts))
			raised := 0
			for part, level := range choice.Levels[n] {
				if level >= len(records[n].Parts[part].Levels) {
					level = len(rule.parts[part].Levels) + 1 // dropped
					if len(records[n].Parts[part].Levels) == 0 {
						level = 0 // it has none
					}
				}
				levels[part] = level
				raised += level
			}
			if raised > 0 {
				leaving[i].body = leaving[i].exit.apply(leaving[i].body, rule.vector(levels))
			}
		}
	}
	return nil
}

// chooser returns what counts for this partner.
func (p *partner) chooser() (*kanon.Chooser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counting != nil {
		return p.counting, nil
	}
	o, secret := p.app.outbox.Load(), p.app.derivedKey("k-anonymity")
	if o == nil || secret == nil {
		return nil, errors.New("k-anonymity: the outbox is not open")
	}
	c, err := kanon.NewChooser(o.Counter, secret)
	if err != nil {
		return nil, err
	}
	p.counting = c
	return c, nil
}
