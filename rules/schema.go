package rules

import "encoding/json"

// schema renders the rule language as a JSON Schema (draft 2020-12), for
// editors.
func schema() ([]byte, error) {
	root := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Consentgate policy",
		// A file is a policy, or a pack for policies to include.
		"if":   map[string]any{"required": []string{"policy"}},
		"then": policyShape.schema(),
		"else": packShape.schema(),
	}
	out, err := json.MarshalIndent(root, "", "  ")
	return append(out, '\n'), err
}

func (s *shape) schema() map[string]any {
	m := map[string]any{}
	switch s.form {
	case object:
		properties, required := map[string]any{}, []string{}
		for _, f := range s.fields {
			properties[f.name] = f.shape.schema()
			if f.required {
				required = append(required, f.name)
			}
		}
		m["type"], m["properties"], m["additionalProperties"] = "object", properties, false
		if len(required) > 0 {
			m["required"] = required
		}
	case mapping:
		m["type"], m["additionalProperties"] = "object", s.elem.schema()
		if s.names != nil {
			m["propertyNames"] = map[string]any{"pattern": s.names.re.String()}
		}
	case list:
		m["type"], m["items"] = "array", s.elem.schema()
		if s.min > 0 {
			m["minItems"] = s.min
		}
		if s.oneToo {
			m = map[string]any{"anyOf": []any{m, s.elem.schema()}}
		}
	case text:
		// A scalar is read as it is spelled: clause: 1.2 is the text "1.2".
		m["type"] = []string{"string", "number", "boolean"}
		if s.grammar != nil {
			m["pattern"] = s.grammar.re.String()
		}
		if s.enum != nil {
			m = map[string]any{"enum": s.enum}
		}
	case boolean:
		m["type"] = "boolean"
	case integer:
		m["type"], m["minimum"], m["maximum"] = "integer", s.min, s.max
	case scalar:
		m["type"] = []string{"string", "number", "boolean"}
	case action:
		m["anyOf"] = []any{
			map[string]any{"type": "string"},
			map[string]any{"type": "object", "minProperties": 1, "maxProperties": 1},
		}
	}
	if s.or != nil {
		m = map[string]any{"anyOf": []any{m, s.or.schema()}}
	}
	if s.doc != "" {
		m["description"] = s.doc
	}
	return m
}
