package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

// bodyKind is what a gate takes a body for.
type bodyKind uint8

const (
	bodyNone  bodyKind = iota
	bodyJSON           // a JSON text
	bodyForm           // application/x-www-form-urlencoded
	bodyMedia          // listed by the operator
	bodyOther          // anything else
)

// kindOfType says what a media type claims; bodyOther also for none.
func kindOfType(t string) bodyKind {
	switch {
	case t == "application/x-www-form-urlencoded":
		return bodyForm
	case t == "application/json", t == "text/json", strings.HasSuffix(t, "+json"), strings.HasSuffix(t, "/json"),
		t == "application/x-json", t == "text/x-json", t == "application/csp-report",
		strings.Contains(t, "ndjson"), strings.Contains(t, "jsonl"), strings.Contains(t, "json-seq"):
		return bodyJSON
	}
	return bodyOther
}

// looksLikeJSON reports whether a body is JSON whatever it claims: it opens
// like an object or an array.
func looksLikeJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// identity reports whether the content encodings are none at all.
func identity(encodings []string) bool {
	for _, e := range encodings {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "identity") {
			return false
		}
	}
	return true
}

var errTooLarge = errors.New("longer than max_body")

// readAll reads a body of the length that it claims (-1: unknown) and of no
// more than limit bytes. What it has read comes with any error.
func readAll(r io.Reader, length, limit int64) ([]byte, error) {
	size := int64(512)
	if length >= 0 {
		size = length
	}
	buf := make([]byte, 0, size+1)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, errTooLarge
		}
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// liveStream refuses what cannot be read to its end before it is sent on.
func (v *visit) liveStream() *Problem {
	r := v.r
	if r.Method == http.MethodConnect || r.Header.Get(":protocol") != "" {
		return unsupportedType("tunnels are refused on this route")
	}
	if inc := r.Header.Get("Incremental"); inc != "" && inc != "?0" {
		return unsupportedType("incremental bodies are refused on this route")
	}
	upgrade := r.Header.Values("Upgrade")
	if len(upgrade) == 0 {
		return nil
	}
	if len(upgrade) == 1 && strings.EqualFold(upgrade[0], "h2c") {
		// Offered by some clients on every request, and free to be ignored
		// (RFC 9110, section 7.8).
		if v.g.Mode != modeObserve {
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
			r.Header.Del("Http2-Settings")
		}
		return nil
	}
	return unsupportedType("upgrades to other protocols are refused on this route")
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

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
		Title: "The content encoding is not supported", Detail: "send the body without a content encoding"}
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

// consentRequired says which purposes would have to be granted.
func (v *visit) consentRequired() *Problem {
	var blocked []payload.Category
	v.report.BlockedBy(func(c payload.Category) { blocked = append(blocked, c) })
	recipient := v.rt.rules.Recipient().ID
	purposes := v.rt.rules.Missing(v.release, blocked...)
	if purposes == nil {
		purposes = []string{}
	}
	return &Problem{Status: http.StatusForbidden, Kind: "consent-required", Title: "Consent is required",
		Detail: "the request holds data that this recipient gets only with the subject's consent; nothing was forwarded",
		Extra:  map[string]any{"recipient": recipient, "purposes": purposes}}
}
