package attack

import "strings"

// heads are the places beside the body.
var heads = []place{
	{name: "query", wraps: true, takes: anyItem, build: headQuery},
	{name: "query-nested", wraps: false, takes: anyItem, build: headNested},
	{name: "query-bare", wraps: false, takes: looks, build: headBare},
	{name: "query-json", wraps: false, takes: anyItem, build: headJSON},
	{name: "cookie", wraps: true, takes: anyItem, build: cookie},
	{name: "header-name", wraps: false, takes: named, build: headerName},
	{name: "header-value", wraps: true, takes: anyItem, build: headerValue},
	{name: "forwarded", wraps: false, takes: address, build: forwarded},
	{name: "path-segment", wraps: false, takes: account, build: pathSegment},
	{name: "trailer", wraps: false, takes: addressed, build: trailer},
}

// bare is a request without a body, or with one that says nothing.
func (c *crafter) bare() *body {
	if c.r.IntN(2) == 0 {
		c.c.Method = "GET"
		return nil
	}
	return &body{mime: "application/json", doc: c.among()}
}

func (c *crafter) setQuery(n *node) *body {
	c.c.want.query = n
	c.c.Target += "?" + c.plain(n)
	return c.bare()
}

func headQuery(c *crafter, w wrapping) *body { return c.setQuery(c.pairs(w)) }

func headNested(c *crafter, _ wrapping) *body { return c.setQuery(c.nested()) }

func headBare(c *crafter, _ wrapping) *body { return c.setQuery(c.bareUnit()) }

func headJSON(c *crafter, _ wrapping) *body {
	return c.setQuery(c.queryOf(member{key: "q", val: &node{shape: wrap, inner: c.unit(), dirty: c.gone()}}))
}

// cookieText writes what a cookie can hold (RFC 6265 section 4.1.1): the rest
// is escaped.
func cookieText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		x := s[i]
		if isAlnum(x) || strings.IndexByte("-_.~/+=:!#$&'()*<>?@[]^`{|}", x) >= 0 {
			b.WriteByte(x)
		} else {
			b.WriteString(escapeAll(string([]byte{x})))
		}
	}
	return b.String()
}

func cookie(c *crafter, w wrapping) *body {
	// Names of cookies are tokens: those that are none stand escaped.
	one := member{key: cookieText(c.name()), gone: c.gone()}
	if strings.ContainsAny(one.key, "=") {
		c.c.Honest = false
	}
	var text string
	if w.name == "none" {
		one.val = c.fieldValue()
		text = cookieText(one.val.text)
	} else {
		n := c.carry(w, c.unit)
		one = member{key: "prefs", val: n, gone: false}
		if c.r.IntN(2) == 0 {
			text = escapeAll(c.plain(n))
		} else {
			text = cookieText(c.plain(n))
		}
	}
	lead := []string{"theme=dark", "lang=zh", "v=1"}[c.r.IntN(3)]
	c.c.header("Cookie", lead+"; "+one.key+"="+text+"; tail=x1")
	c.c.want.cookie = &node{shape: query, members: []member{{key: lead}, one, {key: "tail=x1"}}}
	return c.bare()
}

func headerName(c *crafter, _ wrapping) *body {
	hs := categories[c.item].headers
	name := hs[c.r.IntN(len(hs))]
	sent := name
	switch c.r.IntN(6) {
	case 0:
		sent = strings.ToLower(name)
	case 1:
		sent = strings.ToUpper(name)
	case 2:
		if !c.gone() {
			break
		}
		sent = strings.ReplaceAll(name, "-", "_")
	}
	c.c.Swallowed = strings.Contains(sent, "_") || name == "X-Forwarded-For"
	v := c.canary(c.kindOf())
	c.c.header(sent, v)
	// X-Forwarded-For is the proxy's own to write where the client is not one
	// that it trusts.
	if !c.gone() && name != "X-Forwarded-For" {
		c.c.want.header = append(c.c.want.header, Pair{name, v})
	}
	if c.r.IntN(4) == 0 && c.gone() {
		c.c.header(sent, c.canary(c.kindOf()))
	}
	return c.bare()
}

func headerValue(c *crafter, w wrapping) *body {
	name := []string{"X-Note", "X-Payload", "X-Debug-Info", "Link"}[c.r.IntN(4)]
	var text string
	if w.name == "none" {
		if isLook(c.item) {
			a := [][2]string{{"", ""}, {"tel ", ""}, {"<", ">"}, {"a=1; b=", "; c=2"}}[c.r.IntN(4)]
			text = a[0] + c.canary(c.kindOf()) + a[1]
		} else {
			text = c.json(c.unit())
		}
	} else {
		text = c.plain(c.carry(w, c.unit))
	}
	if w.name == "base64-lines" {
		text = strings.ReplaceAll(text, "\n", "") // a header is one line
	}
	text = strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(text)
	c.c.header(name, strings.TrimSpace(text))
	return c.bare()
}

func forwarded(c *crafter, _ wrapping) *body {
	v := c.canary(c.kindOf())
	bracketed := v
	if strings.Contains(v, ":") {
		bracketed = `"[` + v + `]"`
	}
	switch c.r.IntN(5) {
	case 0:
		c.c.Swallowed = true
		c.c.header("X-Forwarded-For", v+", 10.20.30.40")
	case 1:
		c.c.header("Forwarded", "for="+bracketed+";proto=https")
	case 2:
		c.c.header("X-Original-Forwarded-For", v)
	case 3:
		c.c.header("X-ProxyUser-Ip", v)
	default:
		c.c.Swallowed = true
		c.c.header("X_Forwarded_For", v)
	}
	return c.bare()
}

func pathSegment(c *crafter, _ wrapping) *body {
	v := c.canary(token)
	segment := v
	if c.r.IntN(2) == 0 {
		segment = strings.ReplaceAll(v, "z", "%7a")
	}
	c.c.Target = []string{"/v1/users/", "/v1//users/", "/v1/./users/", "/v1/%75sers/", "/v1/x/../users/"}[c.r.IntN(5)] + segment + "/profile"
	c.c.Honest = false // without the segment the path leads elsewhere: refused
	return c.bare()
}

func trailer(c *crafter, _ wrapping) *body {
	name := "X-Note"
	if !isLook(c.item) {
		hs := categories[c.item].headers
		name = hs[c.r.IntN(len(hs))]
	}
	v := c.kindOf().make(c.r)
	c.mark(v, c.kindOf(), true) // trailers never pass
	c.c.Canaries[len(c.c.Canaries)-1].Needles = []string{normal(v)}
	c.c.Trailer = append(c.c.Trailer, Pair{name, v})
	c.c.Chunked = true
	return &body{mime: "application/json", doc: c.among()}
}
