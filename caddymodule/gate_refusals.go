package caddymodule

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// The refusals of a gate.

func unreadable(err error) *Problem {
	p := unreadableText("the body is no JSON text that the gate accepts")
	var syntax *payload.SyntaxError
	var limit *payload.LimitError
	switch {
	case errors.As(err, &syntax):
		p.Detail = "the body is no JSON text: " + syntax.Msg
		p.Extra = map[string]any{"offset": syntax.Offset}
	case errors.As(err, &limit):
		p.Detail = "the body exceeds the " + limit.What + " limit of " + strconv.Itoa(limit.Limit)
		p.Extra = map[string]any{"offset": limit.Offset}
	}
	return p
}

func unreadableText(detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Kind: "unreadable-body", Title: "The body cannot be read", Detail: detail}
}

func unsupportedEncoding() *Problem {
	return &Problem{Status: http.StatusUnsupportedMediaType, Kind: "unsupported-encoding",
		Title: "The content encoding is not supported", Detail: "send the body with one content encoding, gzip, deflate, zstd or br, or with none"}
}

func unsupportedType(detail string) *Problem {
	return &Problem{Status: http.StatusUnsupportedMediaType, Kind: "unsupported-type",
		Title: "This kind of content cannot be inspected", Detail: detail}
}

func tooLarge(limit int64) *Problem {
	return &Problem{Status: http.StatusRequestEntityTooLarge, Kind: "body-too-large", Title: "The body is too large",
		Detail: "this route reads bodies of up to " + strconv.FormatInt(limit, 10) + " bytes", Extra: map[string]any{"limit": limit}}
}

func subjectConflict() *Problem {
	return &Problem{Status: http.StatusBadRequest, Kind: "subject-conflict", Title: "The request names two subjects",
		Detail: "one source names two different subjects for one record: send one"}
}

func storeUnavailable() *Problem {
	return &Problem{Status: http.StatusServiceUnavailable, Kind: "store-unavailable",
		Title: "Consent cannot be looked up now", Detail: "nothing was forwarded; try again"}
}

// outboxUnavailable is for records of partners that cannot be kept. What is forwarded
// is forwarded whatever the mode, and so what cannot be kept is not accepted.
func outboxUnavailable() *Problem {
	p := storeUnavailable()
	p.Detail, p.enforced = "what goes to partners cannot be kept now, and so is not accepted; try again", true
	return p
}

// anotherPolicy is for what was decided by two policies, the one that the gate
// was made of and the one that the subject's state was judged by. A release made
// of both would be a stranger's.
func anotherPolicy() *Problem {
	p := storeUnavailable()
	p.another = true
	return p
}

// consentRequired says which purposes would have to be granted.
func (j judge) consentRequired(rel *rules.Release, rep *payload.Report) *Problem {
	var blocked []payload.Category
	rep.BlockedBy(func(c payload.Category) { blocked = append(blocked, c) })
	return j.refusal(j.ln.rules.Missing(rel, blocked...))
}

// needed is consentRequired for categories without which a request means
// nothing, whatever happens to them elsewhere.
func (j judge) needed(rel *rules.Release, categories []payload.Category) *Problem {
	return j.refusal(j.ln.rules.Needed(rel, categories...))
}

func (j judge) refusal(purposes []string) *Problem {
	r := j.ln.rules
	if purposes == nil {
		purposes = []string{}
	}
	return &Problem{Status: http.StatusForbidden, Kind: "consent-required", Title: "Consent is required",
		Detail: "the request holds data that this recipient gets only with the subject's consent; nothing was forwarded",
		Extra:  map[string]any{"recipient": r.Recipient().ID, "purposes": purposes}}
}
