package attack

import "strings"

// shape is what a node is.
type shape uint8

const (
	scalar shape = iota // a string, a number, true, false or null
	object
	array
	loose // a string of which only some parts are told to arrive
	wrap  // a string in which another node stands in some codecs
	query // a string of name=value pairs
)

// node is a value of a document, and what is to arrive of it.
type node struct {
	shape   shape
	raw     string   // scalar: as JSON spells it
	text    string   // scalar, loose: what it says; wrap: as it was written
	keep    []string // loose: what must still stand in it, in this order
	members []member // object, query
	elems   []elem   // array
	chain   []codec  // wrap: the innermost first
	inner   *node    // wrap
	dirty   bool     // something in it may not arrive
}

// member is a member of an object or a pair of a query.
type member struct {
	key  string // as it is spelled on the wire, with quotes in JSON
	val  *node
	bare bool // query: without '='
	gone bool // it must not arrive
}

type elem struct {
	val  *node
	gone bool // null stands in its place
}

// pair writes one pair of a query.
func (m member) pair(c *crafter) string {
	if m.bare {
		return m.key
	}
	return m.key + "=" + c.field(m.val)
}

// json writes a node as JSON.
func (c *crafter) json(n *node) string {
	var b strings.Builder
	c.writeJSON(&b, n)
	return b.String()
}

func (c *crafter) writeJSON(b *strings.Builder, n *node) {
	switch n.shape {
	case scalar:
		b.WriteString(n.raw)
	case object:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(c.space())
			b.WriteString(m.key)
			b.WriteString(c.space())
			b.WriteByte(':')
			b.WriteString(c.space())
			c.writeJSON(b, m.val)
			b.WriteString(c.space())
		}
		b.WriteByte('}')
	case array:
		b.WriteByte('[')
		for i, e := range n.elems {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(c.space())
			c.writeJSON(b, e.val)
			b.WriteString(c.space())
		}
		b.WriteByte(']')
	default:
		b.WriteString(c.quote(c.plain(n), false))
	}
}

// plain writes a node as the text that it is where it stands alone.
func (c *crafter) plain(n *node) string {
	switch n.shape {
	case scalar, loose:
		return n.text
	case wrap:
		if n.text == "" { // white space comes by chance: once is all
			n.text = c.plain(n.inner)
			if c.inner != nil {
				n.text = c.inner(c, n.text)
			}
			for _, w := range n.chain {
				n.text = w.wrap(n.text)
			}
		}
		return n.text
	case query:
		parts := make([]string, len(n.members))
		for i, m := range n.members {
			parts[i] = m.pair(c)
		}
		return strings.Join(parts, "&")
	}
	return c.json(n)
}
