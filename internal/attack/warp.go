package attack

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
)

// warp makes of an honest request one that readers disagree about.
type warp struct {
	name string
	text func(*crafter, string) string // of the body before it is encoded
	wire func(*crafter)                // of the request afterwards
}

var warps = []warp{
	{name: "bom", text: func(_ *crafter, s string) string { return "\xef\xbb\xbf" + s }},
	{name: "nul-before", text: func(_ *crafter, s string) string { return "\x00" + s }},
	{name: "nul-after", text: func(_ *crafter, s string) string { return s + "\x00" }},
	{name: "nul-in-key", text: func(_ *crafter, s string) string { return strings.Replace(s, `":`, "\x00\":", 1) }},
	{name: "escaped-nul-in-key", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, `":`, `\u0000":`) }},
	{name: "trailing-bytes", text: func(c *crafter, s string) string {
		return s + []string{"}", "]", ",", "xyz", "{}", "//", "\x1a", ";", "\n\n\n0"}[c.r.IntN(9)]
	}},
	{name: "prefix", text: func(c *crafter, s string) string {
		return []string{")]}',\n", "while(1);", "/**/", "callback(", "\v", "\f", "\u00a0", "\u2028", "=", "&"}[c.r.IntN(10)] + s
	}},
	{name: "comments", text: func(c *crafter, s string) string {
		return strings.ReplaceAll(s, ":", []string{":/*c*/", ":#c\n", ":--c\n", "://c\n"}[c.r.IntN(4)])
	}},
	{name: "single-quotes", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, `"`, "'") }},
	{name: "unquoted-keys", text: func(_ *crafter, s string) string {
		return strings.NewReplacer(`{"`, `{`, `,"`, `,`, `":`, `:`).Replace(s)
	}},
	{name: "nan", text: func(_ *crafter, s string) string { return strings.Replace(s, "{", `{"x":NaN,`, 1) }},
	{name: "leading-zero", text: func(_ *crafter, s string) string { return strings.Replace(s, "{", `{"x":007,`, 1) }},
	{name: "trailing-comma", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, "}", ",}") }},
	{name: "equals-for-colon", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, `":`, `"=`) }},
	{name: "control-in-string", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, `":"`, "\":\"\n\t") }},
	{name: "lone-surrogate-key", text: func(_ *crafter, s string) string { return strings.Replace(s, `":`, `\ud800":`, 1) }},
	{name: "lone-surrogate-value", text: func(c *crafter, s string) string {
		if c.c.Wrapping != "none" && c.inner == nil || strings.HasPrefix(c.c.Place, "pair-") {
			return s // what it stands before is no longer of its codec, or another name, to anyone
		}
		return strings.Replace(s, `":"`, `":"\udc00`, 1)
	}},
	{name: "bad-utf8", text: func(c *crafter, s string) string {
		if c.inner != nil && !strings.HasPrefix(c.c.Wrapping, "base64") {
			return s // a JSON string cannot hold it
		}
		return strings.Replace(s, `":`, []string{"\xff\":", "\xc0\xaf\":", "\xed\xa0\x80\":"}[c.r.IntN(3)], 1)
	}},
	{name: "bad-escape", text: func(_ *crafter, s string) string { return strings.Replace(s, `":"`, `":"\x41\u00g0`, 1) }},
	{name: "unclosed", text: func(c *crafter, s string) string { return s[:max(0, len(s)-1-c.r.IntN(3))] }},
	{name: "doubled", text: func(c *crafter, s string) string {
		return s + []string{"", " ", ",", "\t", "\r", "\x1e"}[c.r.IntN(6)] + s
	}},
	{name: "text-sequence", text: func(_ *crafter, s string) string { return "\x1e" + s + "\n\x1e" + s + "\n" }},
	{name: "carriage-returns", text: func(_ *crafter, s string) string { return s + "\r" + s + "\r\n" + s }},
	{name: "too-deep", text: func(_ *crafter, s string) string {
		return strings.Repeat(`{"a":`, 300) + s + strings.Repeat("}", 300)
	}},
	{name: "too-deep-array", text: func(_ *crafter, s string) string { return strings.Repeat("[", 300) + s + strings.Repeat("]", 300) }},
	{name: "long-key", text: func(_ *crafter, s string) string {
		return strings.Replace(s, "{", `{"`+strings.Repeat("k", 1500)+`":1,`, 1)
	}},
	{name: "long-key-padded", text: func(_ *crafter, s string) string {
		return strings.ReplaceAll(s, `":`, strings.Repeat("_", 1100)+`":`)
	}},
	{name: "key-padded", text: func(_ *crafter, s string) string { return strings.ReplaceAll(s, `":`, strings.Repeat("_", 200)+`":`) }},
	{name: "key-zero-width", text: func(_ *crafter, s string) string {
		return strings.ReplaceAll(s, `":`, `" :`)
	}},
	{name: "deep-strings", text: func(_ *crafter, s string) string {
		for range 9 {
			s = jsonString.wrap(s)
			if len(s) > 1<<16 {
				break
			}
		}
		return `{"a":` + s + "}"
	}},
	{name: "deep-base64", text: func(_ *crafter, s string) string {
		for range 10 {
			s = b64.wrap(s)
		}
		return `{"a":"` + s + `"}`
	}},
	{name: "utf-16", text: func(c *crafter, s string) string { return wider(s, c.r.IntN(2) == 0) }, wire: charset("utf-16")},
	{name: "utf-16-unsaid", text: func(c *crafter, s string) string { return wider(s, c.r.IntN(2) == 0) }},
	{name: "utf-7", text: func(c *crafter, s string) string {
		if c.inner != nil {
			return s // no reader takes the inside of a text for another charset
		}
		return strings.NewReplacer(`"`, "+ACI-", "{", "+AHs-", "}", "+AH0-").Replace(s)
	}, wire: retype("application/json; charset=utf-7")},
	{name: "gbk", wire: charset("gbk")},
	{name: "two-types", wire: func(c *crafter) { c.c.header("Content-Type", "image/png") }},
	{name: "two-types-first", wire: func(c *crafter) {
		c.c.Header = append([]Pair{{"Content-Type", "text/plain"}}, c.c.Header...)
	}},
	{name: "type-list", wire: retype("application/json, image/png")},
	{name: "broken-type", wire: retype(`application/json; charset="utf-8`)},
	{name: "boundary-twice", wire: retype("multipart/form-data; boundary=a; boundary=" + boundary)},
	{name: "stacked-encodings", wire: func(c *crafter) {
		c.c.Body = []byte(gz.compress(string(c.c.Body)))
		c.recode([]string{"gzip, gzip", "deflate, gzip", "identity, gzip", "gzip,identity"}[c.r.IntN(4)])
	}},
	{name: "two-encodings", wire: func(c *crafter) {
		c.c.Body = []byte(gz.compress(string(c.c.Body)))
		c.c.header("Content-Encoding", "gzip")
		c.c.header("Content-Encoding", "identity")
	}},
	{name: "unknown-encoding", wire: func(c *crafter) {
		c.recode([]string{"snappy", "x-gzip", "compress", "aes128gcm", "", "utf-8", "GZIP;q=1"}[c.r.IntN(7)])
	}},
	{name: "encoding-lie", wire: func(c *crafter) { c.recode([]string{"gzip", "br", "deflate", "zstd"}[c.r.IntN(4)]) }},
	{name: "gzip-twice", wire: func(c *crafter) {
		c.c.Body = []byte(gz.compress(gz.compress(string(c.c.Body))))
		c.recode("gzip")
	}},
	{name: "zlib-unsaid", wire: func(c *crafter) { c.c.Body = []byte(zl.compress(string(c.c.Body))); c.recode("-") }},
	{name: "zstd-unsaid", wire: func(c *crafter) { c.c.Body = []byte(zs.compress(string(c.c.Body))); c.recode("-") }},
	{name: "deflate-unsaid", wire: func(c *crafter) { c.c.Body = []byte(df.compress(string(c.c.Body))); c.recode("-") }},
	{name: "truncated-gzip", wire: func(c *crafter) {
		b := gz.compress(string(c.c.Body))
		c.c.Body = []byte(b[:len(b)-1-c.r.IntN(10)])
		c.recode("gzip")
	}},
	{name: "gzip-members", wire: func(c *crafter) {
		c.c.Body = []byte(gz.compress(`{"a":1}`) + gz.compress("\n"+string(c.c.Body)))
		c.recode("gzip")
	}},
	{name: "gzip-trailing", wire: func(c *crafter) {
		c.c.Body = append([]byte(gz.compress(`{"a":1}`)), c.c.Body...)
		c.recode("gzip")
	}},
	{name: "gzip-comment", wire: gzipComment},
	{name: "bomb", wire: func(c *crafter) {
		c.c.Body = []byte(gz.compress(`{"a":"` + strings.Repeat("0", 5<<20) + `","b":` + string(c.c.Body) + "}"))
		c.recode("gzip")
	}},
	{name: "body-limit", wire: func(c *crafter) {
		// The route /small reads 4,096 bytes.
		c.c.Target = "/small/report"
		want := 4096 + c.r.IntN(3) - 1
		if n := want - len(c.c.Body); n > 0 {
			c.c.Body = append(c.c.Body, bytes.Repeat([]byte(" "), n)...)
		}
	}},
	{name: "query-semicolons", wire: func(c *crafter) { c.c.Target = strings.ReplaceAll(c.c.Target, "&", ";") }},
	{name: "misframed", wire: (*crafter).misframe},
}

// wider writes a text in UTF-16 (RFC 2781).
func wider(s string, big bool) string {
	var b strings.Builder
	if big {
		b.WriteString("\xfe\xff")
	} else {
		b.WriteString("\xff\xfe")
	}
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b.Write([]byte{byte(u >> 8), byte(u)})
		} else {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
	}
	return b.String()
}

func charset(name string) func(*crafter) {
	return func(c *crafter) {
		for i, h := range c.c.Header {
			if h.Name == "Content-Type" {
				c.c.Header[i].Value += "; charset=" + name
			}
		}
	}
}

// retype says another Content-Type.
func retype(value string) func(*crafter) {
	return func(c *crafter) {
		for i, h := range c.c.Header {
			if h.Name == "Content-Type" {
				c.c.Header[i].Value = value
				return
			}
		}
		c.c.header("Content-Type", value)
	}
}

// recode says another Content-Encoding; "-": none.
func (c *crafter) recode(value string) {
	hs := c.c.Header[:0]
	for _, h := range c.c.Header {
		if h.Name != "Content-Encoding" {
			hs = append(hs, h)
		}
	}
	c.c.Header = hs
	if value != "-" {
		c.c.header("Content-Encoding", value)
	}
}

// gzipComment hides a canary in the header of a gzip member, where there is
// room for a name and a comment (RFC 1952 section 2.3).
func gzipComment(c *crafter) {
	v := c.canaryGone()
	b := []byte(gz.compress(string(c.c.Body)))
	b[3] |= 0x10
	c.c.Body = append(append(append([]byte{}, b[:10]...), append([]byte(v), 0)...), b[10:]...)
	c.recode("gzip")
}

// canaryGone is a canary that may arrive of nobody, since no reader is meant to
// see what it stands in.
func (c *crafter) canaryGone() string {
	v := token.make(c.r)
	c.c.Canaries = append(c.c.Canaries, Canary{Value: v, Item: "hidden", Needles: token.needles(v), Gone: true, Subject: c.subject})
	return v
}

// misframings is how many ways misframe knows.
const misframings = 14

// misframe breaks the request's head.
func (c *crafter) misframe() {
	k := c.c
	k.Honest = false
	length := fmt.Sprint(len(k.Body))
	switch c.r.IntN(misframings) {
	case 0:
		k.Hostile = "two-lengths"
		k.header("Content-Length", length)
		k.header("Content-Length", "1")
	case 1:
		k.Hostile = "length-and-chunked"
		k.header("Transfer-Encoding", "chunked")
	case 2:
		k.Hostile = "chunked-obscure"
		k.header("Transfer-Encoding", []string{"xchunked", "chunked, identity", "identity", " chunked", "gzip, chunked"}[c.r.IntN(5)])
	case 3:
		k.Hostile = "expect"
		k.header("Expect", "100-continue")
	case 4:
		k.Hostile = "upgrade"
		k.header("Connection", "Upgrade")
		k.header("Upgrade", []string{"websocket", "h2c", "consent"}[c.r.IntN(3)])
	case 5:
		k.Hostile = "connection-names-header"
		k.header("Connection", "X-User-ID, X-Forwarded-For, Content-Encoding, Content-Type")
	case 6:
		k.Hostile = "incremental"
		k.header("Incremental", "?1")
	case 7:
		k.Hostile = "connect"
		k.Method = "CONNECT"
	case 8:
		k.Hostile = "absolute-target"
		k.Target = "http://app.example" + k.Target
	case 9:
		k.Hostile = "own-gate-header"
		v := c.canaryGone()
		k.Swallowed = true
		k.header([]string{"Consent-Gate", "consent-gate", "Consent_Gate"}[c.r.IntN(3)], "recipient=backend, x="+v)
	case 10:
		k.Hostile = "bare-line-feeds"
		k.Raw = bytes.ReplaceAll(k.Wire(), []byte("\r\n"), []byte("\n"))
	case 11:
		k.Hostile = "smuggled"
		k.Raw = append(k.Wire(), "GET /v1/report?imei="+c.canaryGone()+" HTTP/1.1\r\nHost: app.example\r\n\r\n"...)
	case 12:
		k.Hostile = "folded-header"
		v := phone.make(c.r)
		k.Canaries = append(k.Canaries, Canary{Value: v, Item: "looks:phone", Needles: phone.needles(v), Gone: k.Subject != Granted, Subject: k.Subject})
		k.header("X-Note", "a\r\n "+v)
	default:
		k.Hostile = "method"
		k.Method = []string{"PATCH", "DELETE", "TRACE", "PROPFIND", "get"}[c.r.IntN(5)]
	}
}
