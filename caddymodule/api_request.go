package caddymodule

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentgate/consentgate/internal/consent"
)

// about reads whom a call is about and whether the caller may make it. The
// query may have the parameters that are named, each once.
func (c *apiCall) about(id string, parameters ...string) (consent.Kind, *Problem) {
	if problem := c.parameters(parameters...); problem != nil {
		return "", problem
	}
	kind := consent.User
	if c.URL.Query().Has("kind") {
		kind = consent.Kind(c.URL.Query().Get("kind"))
		if kind != consent.User && kind != consent.Device {
			return "", badParameter("kind", "is neither user nor device")
		}
	}
	c.subject = c.app.Digest(kind, id)
	if !c.caller.may(kind, id) {
		return "", notYours()
	}
	return kind, nil
}

// aboutLinks is about for the links of a user. They say whose decisions count
// for whom, so it takes a token to change them.
func (c *apiCall) aboutLinks(user string) *Problem {
	if problem := c.parameters("kind"); problem != nil {
		return problem
	}
	if c.URL.Query().Has("kind") && c.URL.Query().Get("kind") != string(consent.User) {
		return badParameter("kind", "is not user: links are those of a user")
	}
	c.subject = c.app.Digest(consent.User, user)
	if !c.caller.all {
		return &Problem{
			Status: http.StatusForbidden, Kind: "token-needed", Title: "Subjects do not decide this for themselves",
			Detail: "Linking users and devices takes a token of the API.",
		}
	}
	return nil
}

// parameters checks that the query has no other parameters than these, and
// none twice.
func (c *apiCall) parameters(known ...string) *Problem {
	if strings.Contains(c.URL.RawQuery, ";") {
		return badParameter("", "has a semicolon")
	}
	for name, values := range c.URL.Query() {
		if !slices.Contains(known, name) {
			return badParameter("", "has a parameter that this call does not know")
		}
		if len(values) > 1 {
			return badParameter(name, "is given twice")
		}
	}
	return nil
}

// number reads a parameter that is a whole number.
func (c *apiCall) number(name string, otherwise, least, most uint64) (uint64, *Problem) {
	v := c.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badParameter(name, "is no whole number from "+strconv.FormatUint(least, 10)+" to "+strconv.FormatUint(most, 10))
	}
	return n, nil
}

// idempotencyKey reads the header Idempotency-Key, which may be absent.
func (c *apiCall) idempotencyKey() (string, *Problem) {
	values := c.Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	bad := len(values) > 1 || values[0] == "" || len(values[0]) > consent.MaxIdempotency
	if bad {
		return "", &Problem{
			Status: http.StatusBadRequest, Kind: "invalid-request", Title: "The request cannot be understood",
			Detail: "Idempotency-Key is sent once and holds from 1 to " + strconv.Itoa(consent.MaxIdempotency) + " bytes.",
		}
	}
	return values[0], nil
}

// body reads the body of a call, which is JSON.
func (c *apiCall) body() (io.Reader, *Problem) {
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || len(c.Header["Content-Type"]) != 1 {
		return nil, &Problem{
			Status: http.StatusUnsupportedMediaType, Kind: "unsupported-type", Title: "The body is of a type that is not taken",
			Detail: "Send JSON as `Content-Type: application/json`.",
		}
	}
	if c.Header.Get("Content-Encoding") != "" {
		return nil, &Problem{
			Status: http.StatusUnsupportedMediaType, Kind: "unsupported-encoding", Title: "The body is in an encoding that is not taken",
			Detail: "Send the body without Content-Encoding.",
		}
	}
	tooLarge := &Problem{
		Status: http.StatusRequestEntityTooLarge, Kind: "body-too-large", Title: "The body is too large",
		Detail: "A call's body has at most " + strconv.Itoa(consent.MaxEventSize) + " bytes.",
	}
	if c.ContentLength > consent.MaxEventSize {
		return nil, tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(c.Body, consent.MaxEventSize+1))
	switch {
	case err != nil:
		return nil, malformed("The body ended early.", nil)
	case len(b) > consent.MaxEventSize:
		return nil, tooLarge
	}
	return bytes.NewReader(b), nil
}

// linkBody reads {"device":"d1"}.
func (c *apiCall) linkBody() (device string, problem *Problem) {
	r, problem := c.body()
	if problem != nil {
		return "", problem
	}
	var link struct {
		Device *string `json:"device"`
	}
	// The decoder's error could repeat what it read.
	if err := json.UnmarshalRead(r, &link, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(false)); err != nil {
		return "", malformed(`The body is not a JSON object with the one member "device", a string.`, nil)
	}
	if link.Device == nil {
		return "", invalidEvent(pointed{"/device", "is missing"})
	}
	if _, ok := c.app.Identifier().Identify(consent.Device, *link.Device); !ok {
		return "", invalidEvent(pointed{"/device", "names no device"})
	}
	return *link.Device, nil
}
