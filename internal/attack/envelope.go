package attack

import "strings"

// envelope is how a body travels.
type envelope struct {
	name     string
	mime     string // "": that of the body; "-": none
	encoding string // Content-Encoding
	pair     Pair   // a header beside it
	codec    codec
	coded    bool
	chunked  bool
	jsonOnly bool // only JSON is known without its type
	odd      bool // no honest client sends it
}

var envelopes = []envelope{
	{name: "plain"}, {name: "plain"}, {name: "plain"}, {name: "plain"},
	{name: "chunked", chunked: true},
	{name: "charset", mime: "; charset=utf-8"},
	{name: "gzip", encoding: "gzip", codec: gz, coded: true},
	{name: "gzip-capitals", encoding: "GZIP", codec: gz, coded: true},
	{name: "deflate-zlib", encoding: "deflate", codec: zl, coded: true},
	{name: "deflate-raw", encoding: "deflate", codec: df, coded: true},
	{name: "zstd", encoding: "zstd", codec: zs, coded: true},
	{name: "br", encoding: "br", codec: br, coded: true},
	{name: "gzip-chunked", encoding: "gzip", codec: gz, coded: true, chunked: true},
	{name: "gzip-unsaid", codec: gz, coded: true},
	{name: "compress-header", pair: Pair{"compress", "gzip"}, codec: gz, coded: true},
	{name: "gzip-as-text", mime: "text/plain", codec: gz, coded: true, jsonOnly: true},
	{name: "text-plain", mime: "text/plain", jsonOnly: true},
	{name: "no-type", mime: "-", jsonOnly: true},
	{name: "vendor-json", mime: "application/vnd.api+json", jsonOnly: true},
	{name: "type-in-capitals", mime: "APPLICATION/JSON", jsonOnly: true},
	{name: "octet-stream", mime: "application/octet-stream", jsonOnly: true, odd: true},
	{name: "image-png", mime: "image/png", jsonOnly: true, odd: true},
	{name: "form-type", mime: formType, jsonOnly: true, odd: true},
	{name: "json-type", mime: "application/json", odd: true},
	{name: "lines-type", mime: "application/x-ndjson", odd: true},
	{name: "parts-type", mime: "multipart/form-data; boundary=" + boundary, odd: true},
	{name: "xml-type", mime: "application/xml", odd: true},
}

// setWarp makes the case one that readers disagree about: as a whole, or in
// what stands in the wrapping.
func (c *crafter) setWarp(w wrapping) {
	c.warp = &warps[c.r.IntN(len(warps))]
	c.c.Hostile, c.c.Honest = c.warp.name, false
	if w.name != "none" && c.warp.text != nil && c.r.IntN(2) == 0 {
		c.inner = c.warp.text
		c.c.Hostile += " inside"
	}
}

// finish puts the body, if there is one, on its way.
func (c *crafter) finish(b *body) {
	k := c.c
	if b == nil {
		k.Envelope = "none"
		if c.warp != nil && c.inner == nil {
			c.misframe()
		}
		return
	}
	text := b.text
	switch {
	case text != "":
	case b.lines != nil:
		parts := make([]string, len(b.lines))
		for i, n := range b.lines {
			parts[i] = c.json(n)
		}
		text = strings.Join(parts, "\n")
		if c.r.IntN(2) == 0 {
			text += "\n"
		}
		k.want.lines = b.lines
	default:
		k.want.doc = b.doc
		text = c.plain(b.doc)
	}
	e := envelopes[c.r.IntN(len(envelopes))]
	if e.odd && c.r.IntN(2) == 0 {
		e = envelopes[0]
	}
	isJSON := b.mime != formType && !strings.HasPrefix(b.mime, "multipart")
	if e.jsonOnly && (!isJSON || b.lines != nil) || e.odd {
		k.Honest = false
	}
	k.Envelope = e.name
	k.Chunked = k.Chunked || e.chunked
	mime := b.mime
	switch {
	case e.mime == "-":
		mime = ""
	case strings.HasPrefix(e.mime, ";"):
		mime += e.mime
	case e.mime != "":
		mime = e.mime
	}
	if c.warp != nil && c.warp.text != nil && c.inner == nil {
		text = c.warp.text(c, text)
	}
	if mime != "" {
		k.header("Content-Type", mime)
	}
	if e.encoding != "" {
		k.header("Content-Encoding", e.encoding)
	}
	if e.pair.Name != "" {
		k.header(e.pair.Name, e.pair.Value)
	}
	if e.coded {
		text = e.codec.compress(text)
		k.want.codec, k.want.coded = e.codec, true
	}
	k.Body = []byte(text)
	if c.warp != nil && c.warp.wire != nil {
		c.warp.wire(c)
	}
}
