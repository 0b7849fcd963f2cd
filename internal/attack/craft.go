package attack

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode/utf16"
)

// spelling is a way to write the same document.
type spelling uint8

const (
	asIs spelling = iota
	spaced
	keyCase
	keyJoints
	keyPrefix
	keyEscapes
	valueEscapes
	allEscapes
	slashes
	lookalikes // Kelvin sign and long s, which fold to k and s
	exponents
	wideDigits
	percentNames // %69mei, in queries and forms

	spellings = iota
)

var spellingNames = [spellings]string{
	"as-is", "spaced", "key-case", "key-joints", "key-prefix", "key-escapes", "value-escapes", "all-escapes",
	"slashes", "lookalikes", "exponents", "wide-digits", "percent-names",
}

// crafter makes the parts of one case.
type crafter struct {
	r       *rand.Rand
	item    int
	style   spelling
	subject Subject
	oneLine bool // no line breaks between tokens
	warp    *warp
	inner   func(*crafter, string) string // warps what stands in a wrapping
	c       *Case
}

// passes reports whether what an item plants is to arrive.
func passes(item int, s Subject) bool {
	if s != Granted {
		return false
	}
	if isLook(item) {
		return detected[item-len(categories)].granted
	}
	return categories[item].granted
}

// gone reports whether the crafter's item must not arrive.
func (c *crafter) gone() bool { return !passes(c.item, c.subject) }

// canary makes a value of the kind that must not be found, or must arrive.
func (c *crafter) canary(k kind) string {
	v := k.make(c.r)
	c.mark(v, k, c.gone())
	return v
}

func (c *crafter) mark(value string, k kind, gone bool) {
	c.c.Canaries = append(c.c.Canaries, Canary{Value: value, Item: itemName(c.item), Needles: k.needles(value), Gone: gone, Subject: c.subject})
}

// kindOf returns a kind for a value of the item: for a category its own, or a
// mere token now and then.
func (c *crafter) kindOf() kind {
	if isLook(c.item) {
		return detected[c.item-len(categories)].kind
	}
	if k := categories[c.item].kind; c.r.IntN(3) > 0 {
		return k
	}
	return token
}

// name returns the name under which the value stands: one of the category's,
// or one that says nothing.
func (c *crafter) name() string {
	if isLook(c.item) {
		return c.dullName()
	}
	keys := categories[c.item].keys
	return c.respell(keys[c.r.IntN(len(keys))])
}

// dull are names that say nothing of a person.
var dull = []string{"note", "remark", "status", "flag", "qty", "kind", "step", "source", "theme", "memo", "state", "cart", "unit", "seq", "extra", "ref_no", "说明", "订单备注"}

func (c *crafter) dullName() string { return dull[c.r.IntN(len(dull))] }

// respell writes a name in another way that folds to the same.
func (c *crafter) respell(name string) string {
	switch c.style {
	case keyCase:
		b := []byte(name)
		for i, x := range b {
			if c.r.IntN(2) == 0 && ('a' <= x && x <= 'z' || 'A' <= x && x <= 'Z') {
				b[i] ^= 0x20
			}
		}
		return string(b)
	case keyJoints:
		var b strings.Builder
		for i, x := range strings.Trim(name, "$#@") {
			if i > 0 && c.r.IntN(3) == 0 {
				b.WriteByte("_-"[c.r.IntN(2)])
			}
			if x != '_' {
				b.WriteRune(x)
			}
		}
		return b.String()
	case keyPrefix:
		return []string{"$", "@", "#", "$$", "#@"}[c.r.IntN(5)] + name
	case lookalikes:
		for _, p := range [][2]string{{"k", "K"}, {"K", "K"}, {"s", "ſ"}, {"S", "ſ"}} {
			if c.r.IntN(2) == 0 {
				name = strings.Replace(name, p[0], p[1], 1)
			}
		}
	}
	return name
}

// key quotes a member's name for JSON.
func (c *crafter) key(name string) string { return c.quote(name, true) }

// quote writes a JSON string, with escapes as the style has them.
func (c *crafter) quote(s string, key bool) string {
	every := 0
	switch {
	case c.style == allEscapes, c.style == keyEscapes && key, c.style == valueEscapes && !key:
		every = 1 + c.r.IntN(3)
	}
	var b strings.Builder
	b.WriteByte('"')
	for i, x := range s {
		switch {
		case every > 0 && i%every == 0:
			for _, u := range utf16.Encode([]rune{x}) {
				if c.r.IntN(2) == 0 {
					fmt.Fprintf(&b, `\u%04x`, u)
				} else {
					fmt.Fprintf(&b, `\u%04X`, u)
				}
			}
		case x == '/' && c.style == slashes:
			b.WriteString(`\/`)
		case x == '"' || x == '\\':
			b.WriteByte('\\')
			b.WriteRune(x)
		case x == '\n':
			b.WriteString(`\n`)
		case x < ' ':
			fmt.Fprintf(&b, `\u%04x`, x)
		default:
			b.WriteRune(x)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// space is white space between two tokens.
func (c *crafter) space() string {
	if c.style != spaced {
		return ""
	}
	from := " \t\n\r"
	if c.oneLine {
		from = " \t"
	}
	return pick(c.r, from, c.r.IntN(4))
}

// str is a string of the document.
func (c *crafter) str(s string) *node {
	return &node{shape: scalar, raw: c.quote(s, false), text: s}
}

// num is a number of the document, as it is spelled.
func num(raw string) *node { return &node{shape: scalar, raw: raw, text: raw} }

// value is a canary of the item, as a string or, where its kind has it so, as
// a number.
func (c *crafter) value() *node {
	k := c.kindOf()
	v := c.canary(k)
	switch {
	case k == degree || k.digits() && c.r.IntN(4) == 0:
		return num(c.number(v))
	case c.style == wideDigits && (k == phone || k == idCard || k == card):
		v = wide(v)
	}
	n := c.str(v)
	n.dirty = c.gone()
	return n
}

// number spells a number, as encoders do that know only doubles.
func (c *crafter) number(v string) string {
	if c.style != exponents || strings.Contains(v, ".") {
		return v
	}
	if c.r.IntN(3) == 0 {
		return v + ".0"
	}
	return v[:1] + "." + strings.TrimRight(v[1:], "0") + pick(c.r, "eE", 1) + []string{"", "+"}[c.r.IntN(2)] + strconv.Itoa(len(v)-1)
}

// wide writes digits in full width (U+FF10 to U+FF19).
func wide(s string) string {
	return strings.Map(func(x rune) rune {
		if '0' <= x && x <= '9' {
			return x - '0' + 0xFF10
		}
		return x
	}, s)
}

// plain words that no reader takes for a person's.
var words = []string{"ok", "new", "apple", "蓝色", "two words", "pending", "a/b", "100%", "x=1", "优惠券", "v2", "done", "zh-CN", "😀", "", "2026-01-15", "12:30", "null"}

// dullValue is a value that says nothing of a person.
func (c *crafter) dullValue() *node {
	switch c.r.IntN(6) {
	case 0:
		return num(strconv.Itoa(c.r.IntN(1000)))
	case 1:
		return num([]string{"true", "false", "null"}[c.r.IntN(3)])
	case 2:
		return num(fmt.Sprintf("%d.%02d", c.r.IntN(500), c.r.IntN(100)))
	case 3:
		return num(strconv.FormatInt(1700000000000+c.r.Int64N(90000000000), 10))
	}
	return c.str(words[c.r.IntN(len(words))])
}

// dullMembers are up to n members that say nothing of a person.
func (c *crafter) dullMembers(n int) (out []member) {
	for range c.r.IntN(n + 1) {
		m := member{key: c.key(c.dullName()), val: c.dullValue()}
		switch c.r.IntN(8) {
		case 0:
			m.val = &node{shape: object, members: []member{{key: c.key(c.dullName()), val: c.dullValue()}}}
		case 1:
			m.val = &node{shape: array, elems: []elem{{val: c.dullValue()}, {val: c.dullValue()}}}
		}
		out = append(out, m)
	}
	return out
}

// among puts members among dull ones.
func (c *crafter) among(ms ...member) *node {
	n := &node{shape: object, members: c.dullMembers(3)}
	n.members = append(n.members, ms...)
	n.members = append(n.members, c.dullMembers(2)...)
	for _, m := range ms {
		n.dirty = n.dirty || m.gone || m.val.dirty
	}
	return n
}

// planted is a member that holds a canary.
func (c *crafter) planted() member {
	return member{key: c.key(c.name()), val: c.value(), gone: c.gone()}
}

// unit is an object with a canary among dull members.
func (c *crafter) unit() *node { return c.among(c.planted()) }

// carry puts an object into a wrapping.
func (c *crafter) carry(w wrapping, unit func() *node) *node {
	if w.name == "none" {
		return unit()
	}
	n := &node{shape: wrap, chain: w.chain}
	if w.query {
		n.inner = c.queryUnit()
	} else {
		n.inner = unit()
	}
	n.dirty = n.inner.dirty
	return n
}

// queryUnit is a query with a canary among dull pairs.
func (c *crafter) queryUnit() *node {
	return c.queryOf(member{key: c.field(c.str(c.name())), val: c.fieldValue(), gone: c.gone()})
}

// fieldValue is a canary as a form writes it: always a text.
func (c *crafter) fieldValue() *node {
	n := c.value()
	n.raw = c.quote(n.text, false)
	return n
}

func (c *crafter) queryOf(ms ...member) *node {
	n := &node{shape: query, members: c.dullPairs(3)}
	n.members = append(n.members, ms...)
	n.members = append(n.members, c.dullPairs(2)...)
	for _, m := range ms {
		n.dirty = n.dirty || m.gone || m.val != nil && m.val.dirty
	}
	return n
}

func (c *crafter) dullPairs(n int) (out []member) {
	for range 1 + c.r.IntN(n) {
		out = append(out, member{key: c.field(c.str(c.dullName())), val: c.dullValue()})
	}
	return out
}

// field writes the text of a node in a query.
func (c *crafter) field(n *node) string {
	s := c.plain(n)
	var b strings.Builder
	for i := range len(s) {
		x := s[i]
		switch {
		case c.style == percentNames && c.r.IntN(3) == 0:
			fmt.Fprintf(&b, "%%%02x", x)
		case isAlnum(x), strings.IndexByte("-_.~", x) >= 0:
			b.WriteByte(x)
		case x == ' ' && c.c.plus:
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02X", x)
		}
	}
	return b.String()
}
