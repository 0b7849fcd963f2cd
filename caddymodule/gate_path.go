package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
	"github.com/consentgate/consentgate/rules"
)

// pathRules are the paths in which segments hold personal data.
type pathRules []pathRule

// pathRule is one path: for each segment the category that it holds, or the
// text that it must be.
type pathRule struct {
	segments []pathSegment
	below    bool // ended with "/*": more segments may follow
}

type pathSegment struct {
	text     string
	any      bool // '*'
	category payload.Category
	personal bool
}

// parsePath reads a pattern such as /v1/users/{account.id}/devices/*.
func parsePath(pattern string, p *rules.Policy) (r pathRule, err error) {
	if !strings.HasPrefix(pattern, "/") {
		return r, fmt.Errorf("path %q: it begins with '/'", pattern)
	}
	segments := strings.Split(pattern[1:], "/")
	for i, s := range segments {
		switch {
		case s == "*" && i == len(segments)-1:
			r.below = true
		case s == "*":
			r.segments = append(r.segments, pathSegment{any: true})
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}"):
			c, ok := p.Category(s[1 : len(s)-1])
			if !ok {
				return r, fmt.Errorf("path %q: the policy has no category %q", pattern, s[1:len(s)-1])
			}
			r.segments = append(r.segments, pathSegment{personal: true, category: c})
		case strings.ContainsAny(s, "{}*"):
			return r, fmt.Errorf("path %q: a segment is text, '*', or a category in braces such as {account.id}", pattern)
		default:
			r.segments = append(r.segments, pathSegment{text: s})
		}
	}
	return r, nil
}

// match reports whether the rule is about a path of these segments, which have
// no escapes. Case does not count: some servers do not mind it.
func (r pathRule) match(segments []string) bool {
	if len(segments) < len(r.segments) || len(segments) > len(r.segments) && !r.below {
		return false
	}
	for i, s := range r.segments {
		if !s.any && !s.personal && !strings.EqualFold(s.text, segments[i]) {
			return false
		}
	}
	return true
}

// readings returns the segments of a path as it stands, escaped, and as servers
// read it that undo escapes, merge slashes and follow dots. plain says that the
// two are the same.
func readings(u *url.URL) (segments, read []string, plain bool) {
	segments = strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	text := u.Path
	for range 4 { // escapes of escapes
		t, err := url.PathUnescape(text)
		if err != nil || t == text {
			break
		}
		text = t
	}
	text = strings.ReplaceAll(text, "\\", "/")
	read = strings.Split(strings.Trim(path.Clean("/"+text), "/"), "/")
	for i, s := range read {
		// Path parameters, and what some file systems and C strings leave off.
		s, _, _ = strings.Cut(s, "\x00")
		s, _, _ = strings.Cut(s, ";")
		read[i] = strings.TrimRight(s, " .")
	}
	plain = len(read) == len(segments)
	for i := 0; plain && i < len(read); i++ {
		t, err := url.PathUnescape(segments[i])
		plain = err == nil && t == read[i]
	}
	return segments, read, plain
}

// apply returns the escaped path as the recipient may have it, "" where nothing
// changes. ok is false where a segment of the category missing may not pass:
// without it the path would lead elsewhere, so the request goes nowhere.
func (rs pathRules) apply(u *url.URL, rel *rules.Release, part payload.Part, rep *payload.Report) (path string, missing []payload.Category, ok bool) {
	if len(rs) == 0 {
		return "", nil, true
	}
	segments, read, plain := readings(u)
	changed := false
	for _, r := range rs {
		if !r.match(read) {
			continue
		}
		for i, s := range r.segments {
			if !s.personal || read[i] == "" {
				continue
			}
			act := rel.Action(s.category)
			if act.Op == payload.Pass {
				continue
			}
			var made []byte
			fits := act.Op == payload.Transform && plain
			if fits {
				made, _, fits = act.T.Append(nil, []byte(read[i]), payload.String, part.Params)
			}
			if !fits || len(made) == 0 {
				rep.Note(payload.Block, s.category)
				return "", []payload.Category{s.category}, false
			}
			rep.Note(payload.Transform, s.category)
			segments[i], changed = url.PathEscape(string(made)), true
		}
	}
	if !changed {
		return "", nil, true
	}
	return "/" + strings.Join(segments, "/"), nil, true
}

// hide returns the path with "-" in the place of all that is personal.
func (rs pathRules) hide(u *url.URL) string {
	_, read, _ := readings(u)
	for _, r := range rs {
		if !r.match(read) {
			continue
		}
		for i, s := range r.segments {
			if s.personal {
				read[i] = "-"
			}
		}
	}
	return (&url.URL{Path: "/" + strings.Join(read, "/")}).EscapedPath()
}

// setPath replaces the path, also where Caddy keeps the original request, whose
// path may have a prefix that a handler before the gate has taken off.
func (v *visit) setPath(escaped string) {
	before := v.r.URL.EscapedPath()
	replacePath(v.r, escaped)
	v.setOriginal(func(orig *http.Request) {
		if orig.URL == nil {
			return
		}
		u := *orig.URL
		orig.URL = &u
		if prefix, ok := strings.CutSuffix(u.EscapedPath(), before); ok {
			replacePath(orig, prefix+escaped)
		} else {
			replacePath(orig, escaped) // what it was is not to be told apart
		}
	})
}

func replacePath(r *http.Request, escaped string) {
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return
	}
	r.URL.Path, r.URL.RawPath = text, ""
	if r.URL.EscapedPath() != escaped {
		r.URL.RawPath = escaped
	}
	_, query, has := strings.Cut(r.RequestURI, "?")
	r.RequestURI = escaped
	if has {
		r.RequestURI += "?" + query
	}
}
