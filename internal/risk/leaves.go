package risk

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// leaf is one scalar of a record.
type leaf struct {
	value  uint64 // hash of what it says
	shaped bool   // as an id is
}

// walker reads the scalars of records. Array elements are not steps, as in the
// path grammar.
type walker struct {
	d     *jsontext.Decoder
	src   *bytes.Reader
	steps []string
	f     func(steps []string, l leaf)
}

// walk calls f for every scalar of a record. A name that has the shape of a
// value is the step '*', and counts as a part of what stands below it.
func (w *walker) walk(record []byte, f func(steps []string, l leaf)) error {
	if w.d == nil {
		w.src = bytes.NewReader(nil)
		w.d = jsontext.NewDecoder(w.src, jsontext.AllowDuplicateNames(true))
	}
	w.src.Reset(record)
	w.d.Reset(w.src, jsontext.AllowDuplicateNames(true))
	w.steps, w.f = w.steps[:0], f
	return w.value(0, 0)
}

// value reads one value. key is the hash of the names that were masked.
func (w *walker) value(key uint64, depth int) error {
	if depth > maxDepth {
		return &InputError{Msg: fmt.Sprintf("a record nests deeper than %d", maxDepth)}
	}
	t, err := w.d.ReadToken()
	if err != nil {
		return &InputError{Msg: "no JSON"}
	}
	switch t.Kind() {
	case '{':
		for w.d.PeekKind() != '}' {
			name, err := w.d.ReadToken()
			if err != nil {
				return &InputError{Msg: "no JSON"}
			}
			step, below := name.String(), key
			if !plainName(step) {
				below = mix(key, xxhash.Sum64String(step))
				step = masked
			}
			w.steps = append(w.steps, step)
			if err := w.value(below, depth+1); err != nil {
				return err
			}
			w.steps = w.steps[:len(w.steps)-1]
		}
		_, err = w.d.ReadToken()
	case '[':
		for w.d.PeekKind() != ']' {
			if err := w.value(key, depth+1); err != nil {
				return err
			}
		}
		_, err = w.d.ReadToken()
	default:
		text, kind := t.String(), t.Kind()
		h := xxhash.Sum64String(scalarText(text, kind))
		if kind == 'n' {
			h = nullHash // not the word
		}
		if key != 0 {
			h = mix(key, h)
		}
		w.f(w.steps, leaf{value: nonZero(h), shaped: (kind == '"' || kind == '0') && idShaped(text)})
	}
	if err != nil {
		return &InputError{Msg: "no JSON"}
	}
	return nil
}

const nullHash = 0x6e756c6c

// scalarText is what a scalar says however it is spelled: 23.10 is 23.1. A number
// and a string of the same text are the same, since recipients write either.
func scalarText(text string, kind jsontext.Kind) string {
	if kind != '0' {
		return text
	}
	for i := range len(text) {
		if c := text[i]; c == '.' || c == 'e' || c == 'E' {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				return strconv.FormatFloat(v, 'f', -1, 64)
			}
			break
		}
	}
	return text
}

// mix joins two hashes into one; the order counts. (The multipliers are those of
// xxHash and of splitmix64.)
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b185ebca87 + b
	x ^= x >> 32
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 29
	x *= 0x94d049bb133111eb
	return x ^ x>>32
}

// nonZero keeps a hash from meaning "absent".
func nonZero(h uint64) uint64 {
	if h == 0 {
		return 1
	}
	return h
}
