package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/consentgate/consentgate/internal/consent"
)

// pointed is one error of a request's body, or of a parameter.
type pointed struct {
	Pointer string `json:"pointer"` // JSON Pointer (RFC 6901)
	Detail  string `json:"detail"`
}

func invalidEvent(errs ...pointed) *Problem {
	return &Problem{
		Status: http.StatusUnprocessableEntity, Kind: "invalid-event", Title: "The event cannot be recorded",
		Detail: "The policy in force, or what the subject has decided before, does not allow it.",
		Extra:  map[string]any{"errors": errs},
	}
}

func malformed(detail string, errs []pointed) *Problem {
	p := &Problem{
		Status: http.StatusBadRequest, Kind: "malformed-body", Title: "The body cannot be understood", Detail: detail,
	}
	if errs != nil {
		p.Extra = map[string]any{"errors": errs}
	}
	return p
}

func badParameter(name, reason string) *Problem {
	subject := "The query"
	if name != "" {
		subject = "The parameter " + name
	}
	return &Problem{
		Status: http.StatusBadRequest, Kind: "invalid-request", Title: "The request cannot be understood",
		Detail: subject + " " + reason + ".",
	}
}

func notYours() *Problem {
	return &Problem{
		Status: http.StatusForbidden, Kind: "not-yours", Title: "Callers without a token act for themselves alone",
		Detail: "The call is about another subject than the caller.",
	}
}

// unavailable asks the client to come again: nothing was decided.
func unavailable(h http.Header) *Problem {
	h.Set("Retry-After", "1")
	return &Problem{
		Status: http.StatusServiceUnavailable, Kind: "store-unavailable", Title: "The consent store cannot be reached",
		Detail: "Nothing can be read or recorded at the moment. A write that was cut short may have been applied; repeat it with the same Idempotency-Key.",
	}
}

// failed turns an error of the service into a problem. operation is "read" or
// "write".
func (c *apiCall) failed(operation string, err error) *Problem {
	var invalid *consent.InvalidError
	switch {
	case errors.As(err, &invalid):
		p := pointed{invalid.Pointer, invalid.Reason}
		if invalid.Malformed {
			return malformed("The body is not an event.", []pointed{p})
		}
		return invalidEvent(p)
	case errors.Is(err, consent.ErrNoSubject):
		return &Problem{
			Status: http.StatusNotFound, Kind: "no-subject", Title: "The id names nobody",
			Detail: "An id is neither blank, zero, a word for none, known to be shared by many, nor longer than " + strconv.Itoa(consent.MaxSubject) + " bytes.",
		}
	case errors.Is(err, consent.ErrGone):
		return &Problem{
			Status: http.StatusGone, Kind: "cancelled", Title: "The account is cancelled",
			Detail: `Only an event that says "register": true starts it anew.`,
		}
	case errors.Is(err, consent.ErrIdempotencyMismatch):
		return &Problem{
			Status: http.StatusUnprocessableEntity, Kind: "idempotency-key-reused", Title: "The idempotency key belongs to another event",
			Detail: "Send another Idempotency-Key with another event.",
		}
	case errors.Is(err, consent.ErrTooManyLinks):
		return &Problem{
			Status: http.StatusConflict, Kind: "too-many-links", Title: "The subject has too many links",
			Detail: "A user has at most " + strconv.Itoa(consent.MaxLinks) + " devices, and a device as many users. End a link first.",
		}
	case errors.Is(err, consent.ErrConflict):
		c.w.Header().Set("Retry-After", "1")
		return &Problem{
			Status: http.StatusConflict, Kind: "conflict", Title: "The subject's state keeps changing",
			Detail: "Other writes came first each time. Try again.",
		}
	}
	if c.Context().Err() == nil {
		c.app.metrics.countStoreError(operation)
		c.app.logger.Error("the consent store failed", zap.String("operation", operation), zap.Error(err))
	}
	return unavailable(c.w.Header())
}

// send answers with JSON.
func (c *apiCall) send(status int, v any) *Problem {
	body, err := json.Marshal(v)
	if err != nil {
		c.app.logger.Error("encoding an answer", zap.String("kind", "json"))
		return unavailable(c.w.Header())
	}
	return c.sendBytes(status, body)
}

// sendEntry answers with an entry in its canonical form: what its hash is made
// of is what the client gets.
func (c *apiCall) sendEntry(status int, e consent.Entry) *Problem {
	body, err := consent.EncodeEntry(e)
	if err != nil {
		c.app.logger.Error("encoding an entry", zap.Error(err))
		return unavailable(c.w.Header())
	}
	return c.sendBytes(status, body)
}

func (c *apiCall) sendBytes(status int, body []byte) *Problem {
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.Method != http.MethodHead {
		_, _ = c.w.Write(body)
	}
	return nil
}
