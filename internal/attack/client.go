package attack

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"unicode/utf16"
)

// clients are the bodies of analytics clients, which bring codecs of their own.
var clients = []place{
	{name: "sensors", takes: anyItem, build: sensors},
	{name: "mixpanel", takes: anyItem, build: mixpanel},
	{name: "amplitude", takes: anyItem, build: amplitude},
	{name: "snowplow", takes: anyItem, build: snowplow},
	{name: "matomo", takes: anyItem, build: matomo},
	{name: "segment", takes: anyItem, build: segment},
	{name: "openrtb", takes: anyItem, build: openrtb},
}

// events is an array of events with a canary.
func (c *crafter) events(keys ...member) *node {
	e := c.among(append(keys, member{key: `"properties"`, val: c.unit()})...)
	return &node{shape: array, elems: []elem{{val: e}}, dirty: e.dirty}
}

// sensors is what Sensors Analytics sends: data_list, or data, is an array in
// gzip in base64; crc is what Java's String.hashCode says of that text.
func sensors(c *crafter, _ wrapping) *body {
	n := &node{shape: wrap, chain: []codec{gz, b64}, inner: c.events(member{key: `"type"`, val: c.str("track")})}
	n.dirty = n.inner.dirty
	text := c.plain(n)
	name := []string{"data_list", "data"}[c.r.IntN(2)]
	crc := strconv.Itoa(int(hashCode(text)))
	c.c.want.check = func(a *Arrived) error {
		q, err := url.ParseQuery(string(a.Body))
		if err != nil {
			return err
		}
		if got, want := q.Get("crc"), strconv.Itoa(int(hashCode(q.Get(name)))); got != want {
			return fmt.Errorf("crc is %s, not %s", got, want)
		}
		return nil
	}
	return &body{mime: formType, doc: &node{shape: query, dirty: n.dirty, members: []member{
		{key: "gzip", val: num("1")}, {key: "crc", val: &node{shape: loose, text: crc}}, {key: name, val: n},
	}}}
}

// hashCode is Java's String.hashCode.
func hashCode(s string) (h int32) {
	for _, u := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(u)
	}
	return h
}

func mixpanel(c *crafter, _ wrapping) *body {
	n := &node{shape: wrap, chain: []codec{b64}, inner: c.events(member{key: `"event"`, val: c.str("open")})}
	n.dirty = n.inner.dirty
	doc := &node{shape: query, dirty: n.dirty, members: []member{{key: "data", val: n}, {key: "verbose", val: num("1")}}}
	if c.r.IntN(2) == 0 {
		c.c.Target += "?compression=base64"
	}
	return &body{mime: formType, doc: doc}
}

// amplitude vouches for its events by an MD5 over version, key, events, time.
func amplitude(c *crafter, _ wrapping) *body {
	n := &node{shape: wrap, inner: c.events(member{key: `"event_type"`, val: c.str("open")})}
	text := c.plain(n)
	sum := func(e string) string {
		h := md5.Sum([]byte("2" + "projectkey" + e + "1700000000123"))
		return hex.EncodeToString(h[:])
	}
	c.c.want.check = func(a *Arrived) error {
		q, err := url.ParseQuery(string(a.Body))
		if err != nil {
			return err
		}
		if got, want := q.Get("checksum"), sum(q.Get("e")); got != want {
			return fmt.Errorf("checksum is %s, not %s", got, want)
		}
		return nil
	}
	n.dirty = n.inner.dirty
	return &body{mime: formType, doc: &node{shape: query, dirty: n.dirty, members: []member{
		{key: "client", val: num("projectkey")}, {key: "e", val: n}, {key: "v", val: num("2")},
		{key: "upload_time", val: num("1700000000123")}, {key: "checksum", val: &node{shape: loose, text: sum(text)}},
	}}}
}

func snowplow(c *crafter, _ wrapping) *body {
	cx := &node{shape: wrap, chain: []codec{b64url}, inner: c.among(member{key: `"data"`, val: &node{shape: array, elems: []elem{{val: c.unit()}}, dirty: c.gone()}})}
	cx.dirty = cx.inner.dirty
	e := c.among(member{key: `"e"`, val: c.str("pv")}, member{key: `"` + []string{"cx", "ue_px"}[c.r.IntN(2)] + `"`, val: cx})
	doc := &node{shape: object, dirty: e.dirty, members: []member{
		{key: `"schema"`, val: c.str("iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4")},
		{key: `"data"`, val: &node{shape: array, elems: []elem{{val: e}}, dirty: e.dirty}},
	}}
	return &body{mime: "application/json", doc: doc}
}

func matomo(c *crafter, _ wrapping) *body {
	q := c.queryUnit()
	list := &node{shape: array, elems: []elem{{val: c.looseOf("?idsite=1&", q)}}, dirty: q.dirty}
	list.elems[0].val.keep[0] = "?idsite=1"
	return &body{mime: "application/json", doc: &node{shape: object, members: []member{{key: `"requests"`, val: list}}, dirty: q.dirty}}
}

func segment(c *crafter, _ wrapping) *body {
	ctx := &node{shape: object, dirty: c.gone(), members: []member{{key: `"library"`, val: c.str("analytics")}}}
	ctx.members = append(ctx.members, c.planted())
	e := c.among(member{key: `"type"`, val: c.str("track")}, member{key: `"context"`, val: ctx}, member{key: `"properties"`, val: c.unit()})
	return &body{mime: "application/json", doc: &node{shape: object, dirty: e.dirty, members: []member{
		{key: `"batch"`, val: &node{shape: array, elems: []elem{{val: e}}, dirty: e.dirty}}, {key: `"sentAt"`, val: c.str("2026-01-15T08:00:00Z")}}}}
}

func openrtb(c *crafter, _ wrapping) *body {
	ext := c.unit()
	n := &node{shape: object, dirty: ext.dirty, members: []member{
		{key: `"id"`, val: c.str("r1")},
		{key: `"imp"`, val: &node{shape: array, elems: []elem{{val: c.among()}}}},
		{key: `"device"`, val: &node{shape: object, dirty: ext.dirty, members: []member{{key: `"dnt"`, val: num("0")}, {key: `"ext"`, val: ext}}}},
		{key: `"at"`, val: num("1")},
	}}
	return &body{mime: "application/json", doc: n}
}
