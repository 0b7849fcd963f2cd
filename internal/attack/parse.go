package attack

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// tree is a JSON text as it is spelled (RFC 8259).
type tree struct {
	raw   string // a scalar
	keys  []string
	vals  []*tree
	shape shape // scalar, object or array
}

var errJSON = errors.New("no JSON")

// parse reads one JSON text, and keeps the spelling of keys and scalars.
func parse(s string) (*tree, error) {
	if !utf8.ValidString(s) {
		return nil, errJSON
	}
	p := parser{s: s}
	t, err := p.value(0)
	if err == nil && p.peek() != 0 {
		err = errJSON
	}
	return t, err
}

type parser struct {
	s string
	i int
}

// peek skips white space and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
	if p.i == len(p.s) {
		return 0
	}
	return p.s[p.i]
}

func (p *parser) value(depth int) (*tree, error) {
	if depth > 1000 {
		return nil, errJSON
	}
	c := p.peek()
	if c != '{' && c != '[' {
		raw, err := p.scalar()
		return &tree{raw: raw}, err
	}
	t := &tree{shape: object}
	end := byte('}')
	if c == '[' {
		t.shape, end = array, ']'
	}
	p.i++
	if p.peek() == end {
		p.i++
		return t, nil
	}
	for {
		if t.shape == object {
			if p.peek() != '"' {
				return nil, errJSON
			}
			key, err := p.scalar()
			if err != nil || p.peek() != ':' {
				return nil, errJSON
			}
			p.i++
			t.keys = append(t.keys, key)
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		t.vals = append(t.vals, v)
		switch p.peek() {
		case ',':
			p.i++
		case end:
			p.i++
			return t, nil
		default:
			return nil, errJSON
		}
	}
}

func (p *parser) scalar() (string, error) {
	p.peek()
	start := p.i
	if p.i < len(p.s) && p.s[p.i] == '"' {
		for p.i++; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
			if p.s[p.i] == '\\' {
				p.i++
			}
		}
		p.i++
	} else {
		for p.i < len(p.s) && strings.IndexByte(",]} \t\r\n:", p.s[p.i]) < 0 {
			p.i++
		}
	}
	if p.i > len(p.s) || !json.Valid([]byte(p.s[start:p.i])) {
		return "", errJSON
	}
	return p.s[start:p.i], nil
}

// unquote reads a JSON string.
func unquote(raw string) (s string, ok bool) {
	ok = json.Unmarshal([]byte(raw), &s) == nil && strings.HasPrefix(raw, `"`)
	return s, ok
}
