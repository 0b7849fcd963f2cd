package attack

import "strings"

// place is where in a request canaries stand.
type place struct {
	name      string
	wraps     bool           // the document may stand in a wrapping there
	takes     func(int) bool // the items that can stand there
	strangers bool           // only for requests of somebody who granted nothing
	many      bool           // the body says whose it is
	build     func(*crafter, wrapping) *body
}

// body is what a place makes for the body of the request; nil: none.
type body struct {
	mime  string
	doc   *node   // a JSON text, or a form where it is a query
	lines []*node // NDJSON, with what must go of each
	gone  []bool
	text  string // written already
}

func anyItem(int) bool { return true }

func looks(item int) bool { return isLook(item) }

func numeric(item int) bool {
	if !isLook(item) {
		return categories[item].kind == token || categories[item].kind == degree || categories[item].kind.digits()
	}
	return detected[item-len(categories)].kind.digits()
}

func addressed(item int) bool { return isLook(item) || len(categories[item].headers) > 0 }

func named(item int) bool { return !isLook(item) && len(categories[item].headers) > 0 }

func address(item int) bool {
	return isLook(item) && (itemName(item) == "looks:ipv4" || itemName(item) == "looks:ipv6")
}

func plainNumber(item int) bool {
	return isLook(item) && (detected[item-len(categories)].kind.digits() || itemName(item) == "looks:id_card")
}

func account(item int) bool { return !isLook(item) && categories[item].name == "account.id" }

var places []place

func init() {
	// In init, since the functions below name the table through New.
	places = append(places, documents...)
	places = append(places, forms...)
	places = append(places, heads...)
	places = append(places, clients...)
	lattice = makeLattice()
}

// documents are the places in a JSON body.
var documents = []place{
	{name: "member", wraps: true, takes: anyItem, build: document((*crafter).unit)},
	{name: "deep-member", wraps: true, takes: anyItem, build: deepMember},
	{name: "array-element", wraps: true, takes: anyItem, build: document(arrayElement)},
	{name: "governed-object", wraps: true, takes: anyItem, build: document(governedObject)},
	{name: "duplicate-key", wraps: true, takes: anyItem, build: document(duplicateKey)},
	{name: "pair-name-first", wraps: true, takes: anyItem, build: document(pairList(false))},
	{name: "pair-value-first", wraps: true, takes: anyItem, build: document(pairList(true))},
	{name: "map-key", wraps: true, takes: looks, build: document(mapKey)},
	{name: "number", wraps: true, takes: numeric, build: document(number)},
	{name: "url-query", wraps: true, takes: anyItem, build: document(urlHolding("https://h.example/p?"))},
	{name: "url-fragment", wraps: true, takes: anyItem, build: document(urlHolding("https://h.example/p#"))},
	{name: "url-fragment-route", wraps: true, takes: anyItem, build: document(urlHolding("https://h.example/#/p?"))},
	{name: "url-userinfo", wraps: true, takes: plainNumber, build: document(urlUser)},
	{name: "free-text", wraps: true, takes: looks, build: document(freeText)},
	{name: "lines", wraps: true, takes: anyItem, build: lineBody},
	{name: "batch", wraps: true, takes: anyItem, many: true, build: batchBody},
	{name: "batch-root", wraps: false, takes: anyItem, many: true, build: batchRoot},
	{name: "lines-of-many", wraps: false, takes: anyItem, many: true, build: linesOfMany},
}

// document makes a body of a unit: the unit itself, or one in a wrapping.
func document(unit func(*crafter) *node) func(*crafter, wrapping) *body {
	return func(c *crafter, w wrapping) *body {
		n := c.carry(w, func() *node { return unit(c) })
		if n.shape == wrap {
			n = c.among(member{key: c.key(wrapName(c)), val: n})
		} else if c.r.IntN(8) == 0 {
			n = &node{shape: array, elems: []elem{{val: n}, {val: c.dullValue()}}, dirty: n.dirty}
		}
		return &body{mime: "application/json", doc: n}
	}
}

func wrapName(c *crafter) string {
	return []string{"payload", "data", "extra", "props", "blob"}[c.r.IntN(5)]
}

func deepMember(c *crafter, w wrapping) *body {
	n := c.carry(w, c.unit)
	dirty := n.dirty
	for range 1 + c.r.IntN([]int{3, 20, 190}[c.r.IntN(3)]) {
		if c.r.IntN(3) == 0 {
			n = &node{shape: array, elems: []elem{{val: n}}}
		} else {
			n = &node{shape: object, members: []member{{key: `"` + []string{"a", "next", "node", "子"}[c.r.IntN(4)] + `"`, val: n}}}
		}
	}
	n.dirty = dirty
	return &body{mime: "application/json", doc: n}
}

func arrayElement(c *crafter) *node {
	vals := &node{shape: array, dirty: c.gone()}
	for range 1 + c.r.IntN(3) {
		vals.elems = append(vals.elems, elem{val: c.value(), gone: c.gone() && isLook(c.item)})
	}
	if c.r.IntN(3) == 0 && isLook(c.item) {
		vals.elems = append(vals.elems, elem{val: c.str("ok")})
	}
	return c.among(member{key: c.key(c.name()), val: vals, gone: c.gone() && !isLook(c.item)})
}

func governedObject(c *crafter) *node {
	in := &node{shape: object, dirty: c.gone()}
	name := c.key(c.name())
	for range 1 + c.r.IntN(2) {
		in.members = append(in.members, member{key: c.key(c.dullName()), val: c.value(), gone: c.gone()})
	}
	return c.among(member{key: name, val: in, gone: c.gone() && !isLook(c.item)})
}

func duplicateKey(c *crafter) *node {
	name := c.name()
	again := name
	if !isLook(c.item) && c.r.IntN(2) == 0 {
		again = strings.ToUpper(name)
	}
	one := member{key: c.key(name), val: c.value(), gone: c.gone()}
	two := member{key: c.key(again), val: c.value(), gone: c.gone()}
	if isLook(c.item) {
		two = member{key: c.key(again), val: c.str("ok")}
		if c.r.IntN(2) == 0 {
			one, two = two, one
		}
	}
	return c.among(one, member{key: c.key("qty"), val: num("1")}, two)
}

func pairList(valueFirst bool) func(*crafter) *node {
	return func(c *crafter) *node {
		name := member{key: c.key([]string{"name", "key", "k"}[c.r.IntN(3)]), val: c.str(c.name())}
		value := member{key: c.key([]string{"value", "val", "v"}[c.r.IntN(3)]), val: c.value(), gone: c.gone()}
		o := &node{shape: object, members: []member{name, value}, dirty: c.gone()}
		if valueFirst {
			o.members[0], o.members[1] = value, name
		}
		if c.r.IntN(2) == 0 {
			at := c.r.IntN(3)
			o.members = append(o.members[:at:at], append([]member{{key: c.key("unit"), val: c.str("x")}}, o.members[at:]...)...)
		}
		list := &node{shape: array, elems: []elem{{val: o}}, dirty: c.gone()}
		if c.r.IntN(2) == 0 {
			list.elems = append(list.elems, elem{val: &node{shape: object, members: []member{
				{key: `"name"`, val: c.str("theme")}, {key: `"value"`, val: c.str("dark")}}}})
		}
		return c.among(member{key: c.key([]string{"attrs", "props", "params"}[c.r.IntN(3)]), val: list})
	}
}

func mapKey(c *crafter) *node {
	k := c.kindOf()
	v := c.canary(k)
	if c.style == wideDigits && (k == phone || k == idCard || k == card) {
		v = wide(v)
	}
	m := &node{shape: object, dirty: c.gone(), members: []member{
		{key: `"a"`, val: num("1")},
		{key: c.key(v), val: c.dullValue(), gone: c.gone()},
		{key: `"b"`, val: num("2")},
	}}
	return c.among(member{key: c.key("by_line"), val: m})
}

func number(c *crafter) *node {
	k := imei
	if isLook(c.item) {
		k = detected[c.item-len(categories)].kind
	} else if own := categories[c.item].kind; own != token {
		k = own
	}
	n := num(c.number(c.canary(k)))
	return c.among(member{key: c.key(c.name()), val: n, gone: c.gone()})
}

func urlHolding(head string) func(*crafter) *node {
	return func(c *crafter) *node {
		q := c.queryUnit()
		return c.among(member{key: c.key([]string{"link", "href", "target_link"}[c.r.IntN(3)]), val: c.looseOf(head, q)})
	}
}

// looseOf is a text that ends with a query of which the dull pairs must stay.
func (c *crafter) looseOf(head string, q *node) *node {
	n := &node{shape: loose, dirty: q.dirty, keep: []string{head[:len(head)-1]}}
	var parts []string
	for _, m := range q.members {
		p := m.pair(c)
		parts = append(parts, p)
		if !m.gone {
			n.keep = append(n.keep, p)
		}
	}
	n.text = head + strings.Join(parts, "&")
	return n
}

func urlUser(c *crafter) *node {
	v := c.canary(c.kindOf())
	text := "https://" + v + ":x@host/p"
	if c.r.IntN(2) == 0 {
		text = "https://x:" + v + "@host/p"
	}
	return c.among(member{key: c.key("link"), val: &node{shape: loose, text: text, dirty: c.gone()}})
}

var around = [][2]string{
	{"我的号码是", "，谢谢"}, {"call me at ", " please"}, {"id: ", ""}, {"", " 已登记"}, {"（", "）请查收"}, {"收到:", ";"},
	{"line one\nline two ", "\nend"}, {"see <", ">"}, {"\"", "\" quoted"},
}

func freeText(c *crafter) *node {
	k := c.kindOf()
	v := c.canary(k)
	if c.style == wideDigits && (k == phone || k == idCard || k == card) {
		v = wide(v)
	}
	a := around[c.r.IntN(len(around))]
	n := &node{shape: loose, text: a[0] + v + a[1], keep: []string{a[0], a[1]}, dirty: c.gone()}
	return c.among(member{key: c.key(c.dullName()), val: n})
}

func lineBody(c *crafter, w wrapping) *body {
	c.oneLine = true
	b := &body{mime: []string{"application/x-ndjson", "application/json", "application/jsonl"}[c.r.IntN(3)]}
	for i := range 2 + c.r.IntN(3) {
		n := c.among()
		if i != 1 || c.r.IntN(2) == 0 {
			n = c.carry(w, c.unit)
			if n.shape == wrap {
				n = c.among(member{key: `"payload"`, val: n})
			}
		}
		b.lines = append(b.lines, n)
	}
	b.gone = make([]bool, len(b.lines))
	return b
}

// record is an object that names its subject and holds a canary.
func (c *crafter) record(w wrapping) *node {
	c.subject = []Subject{Nobody, Unknown, Denied, Granted}[c.r.IntN(4)]
	n := c.carry(w, c.unit)
	if n.shape != object {
		n = c.among(member{key: `"payload"`, val: n})
	}
	who := member{key: `"userId"`, gone: c.subject != Granted}
	switch c.subject {
	case Nobody:
		return n
	case Unknown:
		id := token.make(c.r)
		c.mark(id, token, true)
		who.val = c.str(id)
	case Denied:
		c.mark(DeniedID, token, true)
		who.val = c.str(DeniedID)
	default:
		who.val = c.str(GrantedID)
	}
	// The item may be an account id itself: two for one record are a conflict.
	if account(c.item) {
		c.c.Honest = false
	}
	n.dirty = n.dirty || who.gone
	n.members = append([]member{who}, n.members...)
	return n
}

func (c *crafter) records(w wrapping) *node {
	list := &node{shape: array}
	for range 1 + c.r.IntN(4) {
		n := c.record(w)
		list.dirty = list.dirty || n.dirty
		list.elems = append(list.elems, elem{val: n})
	}
	c.settleDenied()
	return list
}

// settleDenied: an id that another record may send is found where it may be.
func (c *crafter) settleDenied() { c.c.Subject = Nobody }

func batchBody(c *crafter, w wrapping) *body {
	c.c.Target = "/batch/events"
	list := c.records(w)
	return &body{mime: "application/json", doc: c.among(member{key: `"batch"`, val: list})}
}

func batchRoot(c *crafter, w wrapping) *body {
	c.c.Target = "/root/events"
	return &body{mime: "application/json", doc: c.records(w)}
}

func linesOfMany(c *crafter, w wrapping) *body {
	c.c.Target = "/many/events"
	c.oneLine = true
	b := &body{mime: "application/x-ndjson"}
	for range 1 + c.r.IntN(4) {
		b.lines = append(b.lines, c.record(w))
	}
	b.gone = make([]bool, len(b.lines))
	c.settleDenied()
	return b
}
