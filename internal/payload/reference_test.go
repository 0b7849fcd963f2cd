package payload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a JSON value as an independent parser sees it, duplicates included.
type node struct {
	raw     string // of a scalar
	members []member
	kind    byte // '{', '[' or 0
}

type member struct {
	key   string // without escapes
	value node
}

// parseReference parses with jsontext. Lone surrogates are let through, since
// RFC 8259 does; the caller checks that the text is UTF-8.
func parseReference(src []byte) (node, error) {
	d := jsontext.NewDecoder(bytes.NewReader(src), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	n, err := readReference(d)
	if err != nil {
		return n, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("more than one value: %w", err)
	}
	return n, nil
}

func readReference(d *jsontext.Decoder) (node, error) {
	switch k := d.PeekKind(); k {
	case '{', '[':
		n := node{kind: byte(k)}
		if _, err := d.ReadToken(); err != nil {
			return n, err
		}
		for d.PeekKind() != '}' && d.PeekKind() != ']' {
			var m member
			if k == '{' {
				t, err := d.ReadToken()
				if err != nil {
					return n, err
				}
				m.key = t.String()
			}
			v, err := readReference(d)
			if err != nil {
				return n, err
			}
			m.value = v
			n.members = append(n.members, m)
		}
		_, err := d.ReadToken()
		return n, err
	default:
		v, err := d.ReadValue()
		return node{raw: string(v)}, err
	}
}

func (n node) String() string {
	if n.kind == 0 {
		return n.raw
	}
	var b strings.Builder
	b.WriteByte(n.kind)
	for _, m := range n.members {
		fmt.Fprintf(&b, "%q:%s,", m.key, m.value)
	}
	return b.String()
}

// without returns n without the members whose folded key is among keys, found
// by name or in a name/value pair: the slow and obvious way.
func (n node) without(keys map[string]bool) node {
	if n.kind == 0 {
		return n
	}
	out := node{kind: n.kind}
	is := func(key string) bool {
		whole, _, _ := strings.Cut(key, "\x00") // to those who keep C strings
		return keys[Fold(key)] || keys[Fold(whole)]
	}
	named := false
	for _, m := range n.members {
		switch Fold(m.key) {
		case "name", "key", "k":
			if n.kind == '{' && strings.HasPrefix(m.value.raw, `"`) {
				text, _ := jsontext.AppendUnquote(nil, m.value.raw)
				_, lone := unescape(nil, []byte(m.value.raw[1:len(m.value.raw)-1]))
				named = named || lone || is(string(text))
			}
		}
	}
	for _, m := range n.members {
		f := Fold(m.key)
		if n.kind == '{' && (is(m.key) || named && (f == "value" || f == "val" || f == "v")) {
			continue
		}
		out.members = append(out.members, member{m.key, m.value.without(keys)})
	}
	return out
}
