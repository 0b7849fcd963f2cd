package deid

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/consentgate/consentgate/internal/payload"
)

var constantDefinition = definition{
	Doc: Doc{
		Name:    "constant",
		Summary: "Replaces any value by one that the policy states.",
		Args: []Arg{
			{Name: "value", Type: Scalar, Summary: "What stands in place of the value: text, a number, true or false."},
		},
		Scalar:   "value",
		Examples: []string{"{constant: X}"},
	},
	refuse: func(args any) error {
		switch args.(type) {
		case nil:
			return errors.New("needs a value; write {constant: X}, or `as: null` to write null")
		case time.Time:
			// YAML reads an unquoted date as a time.
			return errors.New("a date must stand in quotes; write {constant: \"2000-01-01\"}")
		}
		return nil
	},
	build: func(v values, _ Env) (payload.Transformer, error) {
		switch x := v["value"].(type) {
		case string:
			if !utf8.ValidString(x) {
				return nil, errors.New("the text is not valid UTF-8")
			}
			return constant{x, payload.String}, nil
		case bool:
			return constant{strconv.FormatBool(x), payload.Bool}, nil
		case nil:
			return nil, errors.New("needs a value")
		default:
			number, err := json.Marshal(x)
			if err != nil {
				return nil, fmt.Errorf("%v is no number of JSON", x)
			}
			return constant{string(number), payload.Number}, nil
		}
	},
}

// constant fits every value.
type constant struct {
	text string
	kind payload.Kind
}

func (t constant) Append(dst, _ []byte, _ payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	return append(dst, t.text...), t.kind, true
}
