package attack

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Arrived is a request as it arrived at the far end.
type Arrived struct {
	Raw     []byte // every byte, as it stood on the wire
	Target  string // of the request line
	Header  http.Header
	Body    []byte // without the chunks
	Trailer http.Header
	Cut     bool // it broke off before its end
}

// Missing says what was to arrive of the case and did not, or not as it was
// sent; nil where all is there. Only what is honest can be missed.
func (k *Case) Missing(a *Arrived) error {
	if !k.Honest {
		return nil
	}
	for _, h := range k.want.header {
		if got := a.Header.Values(h.Name); len(got) == 0 || got[len(got)-1] != h.Value {
			return fmt.Errorf("header %s is %q, not %q", h.Name, got, h.Value)
		}
	}
	_, q, _ := strings.Cut(a.Target, "?")
	if k.want.query != nil {
		if err := matchQuery(k.want.query, q, "&", "query"); err != nil {
			return err
		}
	}
	if k.want.cookie != nil {
		if err := matchQuery(k.want.cookie, strings.Join(a.Header.Values("Cookie"), "; "), "; ", "cookie"); err != nil {
			return err
		}
	}
	if err := k.matchBody(a); err != nil {
		return err
	}
	if k.want.check != nil {
		plain := *a
		if k.want.coded {
			plain.Body, _ = k.want.codec.expand(a.Body)
		}
		return k.want.check(&plain)
	}
	return nil
}

func (k *Case) matchBody(a *Arrived) error {
	body := a.Body
	if k.want.coded {
		var err error
		if body, err = k.want.codec.expand(body); err != nil {
			return fmt.Errorf("the body is no longer of its encoding: %w", err)
		}
	}
	clean := true
	switch {
	case k.want.doc != nil:
		clean = !k.want.doc.dirty
		if err := matchPlain(k.want.doc, string(body), "body"); err != nil {
			return err
		}
	case k.want.lines != nil:
		lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
		if len(lines) != len(k.want.lines) {
			return fmt.Errorf("%d lines, not %d", len(lines), len(k.want.lines))
		}
		for i, n := range k.want.lines {
			clean = clean && !n.dirty
			if err := matchPlain(n, lines[i], fmt.Sprintf("line %d", i)); err != nil {
				return err
			}
		}
	case k.want.parts != nil:
		clean = false
		if err := matchParts(k.want.parts, string(body)); err != nil {
			return err
		}
	}
	if clean && !k.want.coded && !bytes.Equal(body, k.Body) {
		return errors.New("nothing in it is personal, and its bytes are not those that were sent")
	}
	return nil
}

// matchPlain compares a text with the node that it is to say.
func matchPlain(n *node, s, at string) error {
	switch n.shape {
	case scalar:
		if s != n.text {
			return fmt.Errorf("%s is %.200q, not %.200q", at, s, n.text)
		}
		return nil
	case loose:
		for i, rest := 0, s; i < len(n.keep); i++ {
			j := strings.Index(rest, n.keep[i])
			if j < 0 {
				return fmt.Errorf("%s: %.200q has lost %q", at, s, n.keep[i])
			}
			rest = rest[j+len(n.keep[i]):]
		}
		return nil
	case wrap:
		if err := sameBase64(n, s); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		for i := len(n.chain) - 1; i >= 0; i-- {
			var err error
			if s, err = n.chain[i].open(s); err != nil {
				return fmt.Errorf("%s is no longer of its codec: %w: %.200q", at, err, s)
			}
		}
		return matchPlain(n.inner, s, at+" opened")
	case query:
		return matchQuery(n, s, "&", at)
	}
	t, err := parse(s)
	if err != nil {
		return fmt.Errorf("%s is no JSON any more: %.300q", at, s)
	}
	return matchTree(n, t, at)
}

// sameBase64 compares alphabet and padding, where what was sent tells: a text
// whose length needs no padding says nothing of whether its reader wants any,
// and one without the two last signs nothing of which ones they are.
func sameBase64(n *node, s string) error {
	if len(n.chain) == 0 {
		return nil
	}
	switch n.chain[len(n.chain)-1] {
	case b64, b64url, b64raw:
	default:
		return nil
	}
	switch {
	case strings.ContainsAny(n.text, "+/") && strings.ContainsAny(s, "-_"), strings.ContainsAny(n.text, "-_") && strings.ContainsAny(s, "+/"):
		return fmt.Errorf("base64 is in the other alphabet: %.200q", s)
	case strings.HasSuffix(n.text, "=") && len(s)%4 != 0:
		return fmt.Errorf("base64 has lost its padding: %.200q", s)
	case len(n.text)%4 != 0 && strings.HasSuffix(s, "="):
		return fmt.Errorf("base64 without padding has got one: %.200q", s)
	}
	return nil
}

func matchTree(n *node, t *tree, at string) error {
	switch n.shape {
	case scalar:
		if t.raw != n.raw {
			return fmt.Errorf("%s is %.200q, not %.200q", at, t.raw, n.raw)
		}
		return nil
	case object:
		if t.shape != object {
			return fmt.Errorf("%s is no object any more", at)
		}
		i := 0
		for _, m := range n.members {
			if m.gone {
				continue
			}
			if i == len(t.keys) || t.keys[i] != m.key {
				return fmt.Errorf("%s: where %s was there is %q", at, m.key, t.keys[min(i, len(t.keys)):])
			}
			if err := matchTree(m.val, t.vals[i], at+"."+m.key); err != nil {
				return err
			}
			i++
		}
		if i != len(t.keys) {
			return fmt.Errorf("%s still has %q", at, t.keys[i:])
		}
		return nil
	case array:
		if t.shape != array || len(t.vals) != len(n.elems) {
			return fmt.Errorf("%s has %d elements, not %d", at, len(t.vals), len(n.elems))
		}
		for i, e := range n.elems {
			v := e.val
			if e.gone {
				v = num("null")
			}
			if err := matchTree(v, t.vals[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	s, ok := unquote(t.raw)
	if !ok {
		return fmt.Errorf("%s is no text any more: %.200q", at, t.raw)
	}
	return matchPlain(n, s, at)
}

// matchQuery compares pairs as they stand on the wire.
func matchQuery(n *node, s, sep, at string) error {
	var got []string
	if s != "" {
		got = strings.Split(s, sep)
	}
	i := 0
	for _, m := range n.members {
		if m.gone {
			continue
		}
		if i == len(got) {
			return fmt.Errorf("%s has lost %s: %.200q", at, m.key, s)
		}
		key, val, _ := strings.Cut(got[i], "=")
		i++
		if m.val == nil || m.bare {
			if got[i-1] != m.key {
				return fmt.Errorf("%s: where %s was there is %.200q", at, m.key, got[i-1])
			}
			continue
		}
		if key != m.key {
			return fmt.Errorf("%s: where %s was there is %.200q", at, m.key, got[i-1])
		}
		if err := matchEscaped(m, val, sep, at); err != nil {
			return err
		}
	}
	if i != len(got) {
		return fmt.Errorf("%s still has %.200q", at, got[i:])
	}
	return nil
}

// matchEscaped compares a value as it stands on the wire. Without a "%2B" in what
// is left, nothing tells whether a '+' is itself or a space: either will do.
func matchEscaped(m member, val, sep, at string) error {
	unescapes := []func(string) (string, error){url.QueryUnescape}
	if sep != "&" {
		unescapes[0] = url.PathUnescape
	} else if m.val.shape == wrap && !strings.Contains(val, "%20") && strings.Contains(m.val.text, "+") && !strings.Contains(val, "%2B") {
		unescapes = append(unescapes, url.PathUnescape)
	}
	var first error
	for _, unescape := range unescapes {
		text, err := unescape(val)
		if err != nil {
			return fmt.Errorf("%s: %s is badly escaped: %.200q", at, m.key, val)
		}
		if err = matchPlain(m.val, text, at+" "+m.key); err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// matchParts compares the parts of a multipart form (RFC 7578).
func matchParts(want []part, s string) error {
	s, ok := strings.CutSuffix(s, "\r\n--"+boundary+"--\r\n")
	if !ok {
		return fmt.Errorf("the form does not end as one: %.200q", s)
	}
	got := strings.Split("\r\n"+s, "\r\n--"+boundary+"\r\n")[1:]
	i := 0
	for _, p := range want {
		if p.gone {
			continue
		}
		if i == len(got) {
			return fmt.Errorf("the part %s is lost", p.name)
		}
		head, content, _ := strings.Cut(got[i], "\r\n\r\n")
		i++
		if head != p.head {
			return fmt.Errorf("where the part %s was there is %.200q", p.name, got[i-1])
		}
		if err := matchPlain(p.val, content, "part "+p.name); err != nil {
			return err
		}
	}
	if i != len(got) {
		return fmt.Errorf("there are %d parts, not %d", len(got), i)
	}
	return nil
}
