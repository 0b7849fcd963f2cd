package deid

import (
	"unicode/utf8"

	"github.com/consentgate/consentgate/internal/payload"
)

var maskDefinition = definition{
	Doc: Doc{
		Name:    "mask",
		Summary: "Replaces every character by an asterisk, except the first and the last few where asked; a value too short to hide anything is masked whole.",
		Args: []Arg{
			{Name: "first", Type: Integer, Min: 0, Max: 64, Default: 0, Summary: "How many characters to keep at the start."},
			{Name: "last", Type: Integer, Min: 0, Max: 64, Default: 0, Summary: "How many characters to keep at the end."},
		},
		Bare:     true,
		Examples: []string{"{mask: {first: 3, last: 4}}"},
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		return mask{first: v.integer("first"), last: v.integer("last")}, nil
	},
}

// mask keeps the ends of a text. A character is a Unicode code point, so that
// a name in Chinese is masked by its characters and not by its bytes.
//
// A number becomes a text, since asterisks are no digits. A boolean does not
// fit: the count of asterisks would tell which one it was.
type mask struct{ first, last int }

func (t mask) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String && kind != payload.Number || !utf8.Valid(text) {
		return dst, kind, false
	}
	length := utf8.RuneCount(text)
	first, last := t.first, t.last
	if first+last >= length {
		first, last = 0, 0
	}
	i := 0
	for range first {
		_, size := utf8.DecodeRune(text[i:])
		i += size
	}
	j := len(text)
	for range last {
		_, size := utf8.DecodeLastRune(text[:j])
		j -= size
	}
	dst = append(dst, text[:i]...)
	for range length - first - last {
		dst = append(dst, '*')
	}
	return append(dst, text[j:]...), payload.String, true
}
