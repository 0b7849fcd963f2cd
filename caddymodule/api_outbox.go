package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentgate/consentgate/internal/outbox"
)

// The calls about what is on its way to partners. They take a token.

// outboxView is what waits for one partner.
type outboxView struct {
	Recipient string     `json:"recipient"`
	Records   int64      `json:"records"`
	Bytes     int64      `json:"bytes"`
	Bound     int64      `json:"bound"`
	Full      string     `json:"full"`
	Oldest    *time.Time `json:"oldest"`
	Dead      int64      `json:"dead"`
	Forgotten int64      `json:"forgotten"`
}

// letterView is a dead letter.
type letterView struct {
	ID       string         `json:"id"`
	Key      string         `json:"key"`
	Status   int            `json:"status"`
	At       time.Time      `json:"at"`
	Accepted time.Time      `json:"accepted_at"`
	Record   jsontext.Value `json:"record"`
}

// theOutbox returns the outbox for a caller who may see it.
func (c *apiCall) theOutbox() (*Outbox, *Problem) {
	if !c.caller.all {
		return nil, &Problem{
			Status: http.StatusForbidden, Kind: "token-needed", Title: "This takes a token of the API",
			Detail: "What is on its way to partners is the operator's to see.",
		}
	}
	o := c.app.outbox.Load()
	if o == nil {
		return nil, &Problem{
			Status: http.StatusNotFound, Kind: "not-found", Title: "There is no such resource",
			Detail: "No route of this configuration forwards to anybody.",
		}
	}
	return o, nil
}

// partnerNamed is theOutbox for one partner.
func (c *apiCall) partnerNamed(recipient string) (*Outbox, *Problem) {
	o, problem := c.theOutbox()
	if problem == nil && c.app.partners[recipient] == nil {
		problem = &Problem{
			Status: http.StatusNotFound, Kind: "not-found", Title: "There is no such resource",
			Detail: "No route of this configuration forwards to that recipient; GET /consent/v1/outbox lists them.",
		}
	}
	return o, problem
}

// showOutbox: GET /outbox
func showOutbox(c *apiCall, _ []string) *Problem {
	if problem := c.parameters(); problem != nil {
		return problem
	}
	o, problem := c.theOutbox()
	if problem != nil {
		return problem
	}
	view := struct {
		Partners []outboxView `json:"partners"`
	}{[]outboxView{}}
	for _, name := range slices.Sorted(maps.Keys(c.app.partners)) {
		stats, err := o.Queue.Stats(c.Context(), name)
		if err != nil {
			return c.failed("outbox", err)
		}
		f := c.app.partners[name].of
		v := outboxView{
			Recipient: name, Records: stats.Records, Bytes: stats.Bytes, Bound: f.bound().Bytes, Full: cmp.Or(f.Full, "refuse"),
			Dead: stats.Dead, Forgotten: stats.Forgotten,
		}
		if !stats.Oldest.IsZero() {
			v.Oldest = &stats.Oldest
		}
		view.Partners = append(view.Partners, v)
	}
	return c.send(http.StatusOK, view)
}

// showDead: GET /outbox/{recipient}/dead
func showDead(c *apiCall, params []string) *Problem {
	const most = 1000
	if problem := c.parameters("after", "limit"); problem != nil {
		return problem
	}
	o, problem := c.partnerNamed(params[0])
	if problem != nil {
		return problem
	}
	limit, problem := c.number("limit", 100, 1, most)
	if problem != nil {
		return problem
	}
	letters, more, err := deadLetters(c.Context(), o.Queue, params[0], c.URL.Query().Get("after"), int(limit))
	if errors.Is(err, outbox.ErrLetterID) {
		return malformed("`after` is the id of a dead letter, such as `next` of the page before.", nil)
	}
	if err != nil {
		return c.failed("outbox", err)
	}
	view := struct {
		Letters []letterView `json:"letters"`
		Next    *string      `json:"next"` // the `after` of the next page
	}{Letters: []letterView{}}
	if more {
		view.Next = &letters[len(letters)-1].ID
	}
	for _, l := range letters {
		view.Letters = append(view.Letters, newLetterView(l))
	}
	return c.send(http.StatusOK, view)
}

// maxPage is about how many bytes of records one page holds: letters may be long.
const maxPage = 8 << 20

// deadLetters returns a page of up to limit letters, at least one if there is one,
// and whether there are more.
func deadLetters(ctx context.Context, q outbox.Queue, recipient, after string, limit int) (page []outbox.DeadLetter, more bool, err error) {
	const atOnce = 8
	for size := 0; ; {
		some, err := q.Dead(ctx, recipient, after, atOnce)
		if err != nil {
			return nil, false, err
		}
		for _, l := range some {
			if len(page) == limit || len(page) > 0 && size+len(l.Body) > maxPage {
				return page, true, nil
			}
			size += len(l.Body)
			page, after = append(page, l), l.ID
		}
		if len(some) < atOnce {
			return page, false, nil
		}
	}
}

func newLetterView(l outbox.DeadLetter) letterView {
	v := letterView{ID: l.ID, Key: l.Key, Status: l.Status, At: l.Verdict.At.UTC(), Accepted: l.Record.At.UTC(), Record: jsontext.Value(l.Body)}
	if !jsontext.Value(l.Body).IsValid() {
		v.Record = nil // it is dead because it is no JSON
	}
	return v
}

// showSample: GET /outbox/{recipient}/sample
func showSample(c *apiCall, params []string) *Problem {
	if problem := c.parameters(); problem != nil {
		return problem
	}
	if _, problem := c.partnerNamed(params[0]); problem != nil {
		return problem
	}
	p, key := c.app.partners[params[0]], c.app.derivedKey("sample subject")
	if key == nil {
		return unavailable(c.w.Header())
	}
	if p.sample.most == 0 {
		return &Problem{
			Status: http.StatusNotFound, Kind: "not-found", Title: "There is no such resource",
			Detail: "No sample is kept of what leaves for that recipient: write `sample 10000` in the block of its forward.",
		}
	}
	all, seen := p.sample.all()
	h := c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Sample-Of", strconv.FormatInt(seen, 10))
	c.w.WriteHeader(http.StatusOK)
	if c.Method == http.MethodHead {
		return nil
	}
	for _, one := range all {
		if _, err := c.w.Write(one.line(key)); err != nil {
			return nil // the caller has gone
		}
	}
	return nil
}

// replayDead: POST /outbox/{recipient}/replay
func replayDead(c *apiCall, params []string) *Problem {
	if problem := c.parameters(); problem != nil {
		return problem
	}
	o, problem := c.partnerNamed(params[0])
	if problem != nil {
		return problem
	}
	r, problem := c.body()
	if problem != nil {
		return problem
	}
	var asked struct {
		IDs []string `json:"ids"`
		All bool     `json:"all"`
	}
	if err := json.UnmarshalRead(r, &asked, json.RejectUnknownMembers(true)); err != nil || asked.All == (len(asked.IDs) > 0) {
		return malformed(`Send {"ids":["…"]}, with ids of dead letters, or {"all":true}.`, nil)
	}
	n, err := o.Queue.Replay(c.Context(), params[0], asked.IDs...)
	if err != nil {
		return c.failed("outbox", err)
	}
	return c.send(http.StatusOK, map[string]int{"replayed": n})
}
