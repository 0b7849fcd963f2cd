package caddymodule

import (
	"net/http"
	"time"

	"github.com/consentgate/consentgate/internal/consent"
)

// recordEvent: POST /events
func recordEvent(c *apiCall, _ []string) *Problem {
	if problem := c.parameters(); problem != nil {
		return problem
	}
	key, problem := c.idempotencyKey()
	if problem != nil {
		return problem
	}
	body, problem := c.body()
	if problem != nil {
		return problem
	}
	event, err := consent.DecodeEvent(body)
	if err != nil {
		return c.failed("write", err)
	}
	c.subject = c.app.Digest(event.Kind, event.Subject)
	if !c.caller.may(event.Kind, event.Subject) {
		return notYours()
	}
	if pointer := event.Privileged(); pointer != "" && !c.caller.all {
		return &Problem{
			Status: http.StatusForbidden, Kind: "token-needed", Title: "Subjects do not decide this for themselves",
			Detail: "This member takes a token of the API.",
			Extra:  map[string]any{"errors": []pointed{{Pointer: pointer, Detail: "takes a token of the API"}}},
		}
	}
	entry, _, replayed, err := c.service.Record(c.Context(), event, key)
	if err != nil {
		return c.failed("write", err)
	}
	if replayed {
		c.w.Header().Set("Idempotent-Replayed", "true")
	}
	return c.sendEntry(http.StatusCreated, entry)
}

// showState: GET /subjects/{id}
func showState(c *apiCall, params []string) *Problem {
	kind, problem := c.about(params[0], "kind")
	if problem != nil {
		return problem
	}
	state, err := c.service.State(c.Context(), kind, params[0])
	if err != nil {
		return c.failed("read", err)
	}
	return c.send(http.StatusOK, newStateView(c.subject, kind, &state))
}

// showLedger: GET /subjects/{id}/ledger
func showLedger(c *apiCall, params []string) *Problem {
	const most = 1000
	kind, problem := c.about(params[0], "kind", "after", "limit")
	if problem != nil {
		return problem
	}
	after, problem := c.number("after", 0, 0, 1<<53)
	if problem != nil {
		return problem
	}
	limit, problem := c.number("limit", 100, 1, most)
	if problem != nil {
		return problem
	}
	// One more than asked for tells whether there is another page.
	entries, err := c.service.Ledger(c.Context(), kind, params[0], after, int(limit)+1)
	if err != nil {
		return c.failed("read", err)
	}
	page, err := newLedgerView(c.subject, entries, int(limit))
	if err != nil {
		return c.failed("read", err)
	}
	return c.send(http.StatusOK, page)
}

// showReceipt: GET /subjects/{id}/receipt
func showReceipt(c *apiCall, params []string) *Problem {
	kind, problem := c.about(params[0], "kind", "verified")
	if problem != nil {
		return problem
	}
	var verified time.Time
	if v := c.URL.Query().Get("verified"); v != "" {
		// A day counts from its beginning, so that the answer is never due later
		// than it would be with the hour.
		day, err := time.Parse(time.DateOnly, v)
		if err != nil {
			err = day.UnmarshalText([]byte(v))
		}
		if err != nil {
			return badParameter("verified", "is neither an RFC 3339 time nor a date such as 2026-01-02")
		}
		verified = day
	}
	receipt, err := c.service.Receipt(c.Context(), kind, params[0], noticeOf(c.app.Current().Policy), verified)
	if err != nil {
		return c.failed("read", err)
	}
	return c.send(http.StatusOK, receipt)
}

// linkDevice: POST /subjects/{id}/links
func linkDevice(c *apiCall, params []string) *Problem {
	if problem := c.aboutLinks(params[0]); problem != nil {
		return problem
	}
	device, problem := c.linkBody()
	if problem != nil {
		return problem
	}
	if err := c.service.Link(c.Context(), params[0], device); err != nil {
		return c.failed("write", err)
	}
	return c.send(http.StatusCreated, map[string]string{
		"user": c.subject, "device": c.app.Digest(consent.Device, device),
	})
}

// unlinkDevice: DELETE /subjects/{id}/links/{device}
func unlinkDevice(c *apiCall, params []string) *Problem {
	if problem := c.aboutLinks(params[0]); problem != nil {
		return problem
	}
	if err := c.service.Unlink(c.Context(), params[0], params[1]); err != nil {
		return c.failed("write", err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// cancelSubject: DELETE /subjects/{id}
func cancelSubject(c *apiCall, params []string) *Problem {
	kind, problem := c.about(params[0], "kind")
	if problem != nil {
		return problem
	}
	entry, err := c.service.Cancel(c.Context(), kind, params[0])
	if err != nil {
		return c.failed("write", err)
	}
	return c.sendEntry(http.StatusOK, entry)
}

// showPolicy: GET /policy
func showPolicy(c *apiCall, _ []string) *Problem {
	if problem := c.parameters(); problem != nil {
		return problem
	}
	return c.send(http.StatusOK, catalogueOf(c.app.Current().Policy))
}
