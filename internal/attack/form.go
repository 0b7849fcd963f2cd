package attack

import (
	"fmt"
	"strings"
)

// forms are the places in a form.
var forms = []place{
	{name: "form-field", wraps: true, takes: anyItem, build: formField},
	{name: "form-nested", wraps: false, takes: anyItem, build: formNested},
	{name: "form-bare", wraps: false, takes: looks, build: formBare},
	{name: "part-field", wraps: true, takes: anyItem, build: partField},
	{name: "part-json", wraps: true, takes: anyItem, build: partJSON},
	{name: "part-file-name", wraps: false, takes: looks, build: partFileName},
}

const formType = "application/x-www-form-urlencoded"

// pairs is a query with a canary, in a wrapping or not.
func (c *crafter) pairs(w wrapping) *node {
	if w.name == "none" {
		return c.queryUnit()
	}
	n := c.carry(w, c.unit)
	return c.queryOf(member{key: wrapName(c), val: n})
}

func formField(c *crafter, w wrapping) *body {
	return &body{mime: formType, doc: c.pairs(w)}
}

// nested is a pair with brackets in its name.
func (c *crafter) nested() *node {
	name := c.name()
	var key string
	switch c.r.IntN(4) {
	case 0:
		key = "a[" + name + "]"
	case 1:
		key = "a[0][" + name + "]"
	case 2:
		key = name + "[]"
	default:
		key = "a[b][c][" + name + "]"
	}
	key = c.field(c.str(key))
	if c.r.IntN(2) == 0 {
		key = strings.NewReplacer("%5B", "[", "%5D", "]").Replace(key)
	}
	return c.queryOf(member{key: key, val: c.fieldValue(), gone: c.gone()})
}

func formNested(c *crafter, _ wrapping) *body {
	return &body{mime: formType, doc: c.nested()}
}

// bareUnit is a query in which a canary stands as a name without a value.
func (c *crafter) bareUnit() *node {
	v := c.fieldValue()
	return c.queryOf(member{key: c.field(v), bare: true, gone: c.gone()})
}

func formBare(c *crafter, _ wrapping) *body {
	return &body{mime: formType, doc: c.bareUnit()}
}

const boundary = "----AttackBoundary7MA4YWxk"

// part is one part of a multipart form.
type part struct {
	head string // its headers
	name string
	val  *node
	gone bool
}

func (c *crafter) parts(ps ...part) *body {
	all := []part{{head: `Content-Disposition: form-data; name="note"`, name: "note", val: c.str("hello")}}
	all = append(all, ps...)
	all = append(all, part{head: `Content-Disposition: form-data; name="qty"`, name: "qty", val: c.str("2")})
	c.c.want.parts = all
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n\r\n%s\r\n", boundary, p.head, c.plain(p.val))
	}
	b.WriteString("--" + boundary + "--\r\n")
	return &body{mime: "multipart/form-data; boundary=" + boundary, text: b.String()}
}

func partField(c *crafter, w wrapping) *body {
	name := c.name()
	if w.name != "none" {
		return c.parts(part{head: `Content-Disposition: form-data; name="data"`, name: "data", val: c.carry(w, c.unit)})
	}
	return c.parts(part{head: `Content-Disposition: form-data; name="` + name + `"`, name: name, val: c.fieldValue(), gone: c.gone()})
}

func partJSON(c *crafter, w wrapping) *body {
	n := c.carry(w, c.unit)
	if n.shape == wrap {
		n = c.among(member{key: `"data"`, val: n})
	}
	return c.parts(part{head: "Content-Disposition: form-data; name=\"doc\"\r\nContent-Type: application/json", name: "doc", val: n})
}

func partFileName(c *crafter, _ wrapping) *body {
	v := c.canary(c.kindOf())
	c.c.Honest = false // a file may be refused as one that is not listed
	head := `Content-Disposition: form-data; name="f"; filename="` + v + ` scan.txt"` + "\r\nContent-Type: text/plain"
	if c.r.IntN(3) == 0 {
		head = `Content-Disposition: form-data; name="f"; filename*=UTF-8''` + escapeAll(v+" scan.txt") + "\r\nContent-Type: text/plain"
	}
	b := c.parts(part{head: head, name: "f", val: c.str("x"), gone: true})
	return b
}
