package caddymodule

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
)

// scrubber passes on to another encoder the log fields that hold no personal
// data. It knows fields by their names, and within a request it knows only
// what may stay: see fieldRule.
type scrubber struct {
	out zapcore.ObjectEncoder
	// only, when not nil, is the allow-list of the object being written.
	only map[string]bool
}

// What may stay of a request, and of its TLS state.
var (
	requestFields = map[string]bool{"method": true, "host": true, "uri": true, "proto": true, "tls": true}
	tlsFields     = map[string]bool{"resumed": true, "version": true, "cipher_suite": true, "proto": true, "server_name": true, "ech": true}
)

// fieldRule is what happens to a field.
type fieldRule uint8

const (
	writeScrubbed fieldRule = iota // texts are scrubbed
	writeAddress                   // an address of ours: kept
	writePath                      // a URI: its path alone
	leaveOut
)

func (s *scrubber) rule(key string) fieldRule {
	k := strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	if s.only != nil && !s.only[k] {
		return leaveOut
	}
	switch k {
	case "uri", "url", "request_uri":
		return writePath
	case "upstream", "dial", "addr", "address", "addresses", "input_address", "actual_address", "listen":
		return writeAddress
	case "header", "headers", "resp_headers", "trailer", "trailers", "env", "body", "form",
		"query", "raw_query", "cookie", "cookies", "user_id", "ip", "ips", "x_forwarded_for":
		return leaveOut
	}
	for _, prefix := range []string{"remote", "client", "peer"} {
		if strings.HasPrefix(k, prefix) {
			return leaveOut
		}
	}
	return writeScrubbed
}

// within returns the scrubber for an object below key.
func (s *scrubber) within(key string, out zapcore.ObjectEncoder) *scrubber {
	return &scrubber{out: out, only: onlyWithin(key)}
}

func onlyWithin(key string) map[string]bool {
	switch key {
	case "request", "req":
		return requestFields
	case "tls":
		return tlsFields
	}
	return nil
}

func (s *scrubber) text(key, value string) (string, bool) {
	switch s.rule(key) {
	case leaveOut:
		return "", false
	case writePath:
		return scrubURI(value), true
	case writeAddress:
		return scrubURLs(value), true
	}
	return scrubText(value), true
}

func (s *scrubber) keep(key string) bool { return s.rule(key) != leaveOut }

func (s *scrubber) AddString(key, value string) {
	if v, ok := s.text(key, value); ok {
		s.out.AddString(key, v)
	}
}

func (s *scrubber) AddByteString(key string, value []byte) { s.AddString(key, string(value)) }

// AddBinary leaves binary values out: nobody can tell what they hold.
func (s *scrubber) AddBinary(string, []byte) {}

func (s *scrubber) AddObject(key string, m zapcore.ObjectMarshaler) error {
	if !s.keep(key) {
		return nil
	}
	return s.out.AddObject(key, zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return m.MarshalLogObject(s.within(key, enc))
	}))
}

func (s *scrubber) AddArray(key string, m zapcore.ArrayMarshaler) error {
	if !s.keep(key) {
		return nil
	}
	return s.out.AddArray(key, zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return m.MarshalLogArray(&arrayScrubber{ArrayEncoder: enc, key: key, in: s})
	}))
}

// AddReflected goes through JSON, so that the fields of structs and the keys
// of maps are judged like those of any other object.
func (s *scrubber) AddReflected(key string, value any) error {
	if !s.keep(key) {
		return nil
	}
	tree, ok := jsonTree(value)
	if !ok {
		s.out.AddString(key, "…")
		return nil
	}
	return s.out.AddReflected(key, s.tree(key, tree))
}

func jsonTree(value any) (tree any, ok bool) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, false
	}
	return tree, json.Unmarshal(raw, &tree) == nil
}

// tree scrubs a decoded JSON value that stands under key.
func (s *scrubber) tree(key string, v any) any {
	switch v := v.(type) {
	case string:
		text, _ := s.text(key, v)
		return text
	case []any:
		for i := range v {
			v[i] = s.tree(key, v[i])
		}
	case map[string]any:
		in := s.within(key, nil)
		maps.DeleteFunc(v, func(k string, _ any) bool { return !in.keep(k) })
		for _, k := range slices.Collect(maps.Keys(v)) {
			v[k] = in.tree(k, v[k])
		}
	}
	return v
}

func (s *scrubber) OpenNamespace(key string) { s.out.OpenNamespace(key) }

func (s *scrubber) AddBool(key string, v bool) {
	if s.keep(key) {
		s.out.AddBool(key, v)
	}
}

func (s *scrubber) AddDuration(key string, v time.Duration) {
	if s.keep(key) {
		s.out.AddDuration(key, v)
	}
}

func (s *scrubber) AddTime(key string, v time.Time) {
	if s.keep(key) {
		s.out.AddTime(key, v)
	}
}

func (s *scrubber) AddComplex128(key string, v complex128) {
	if s.keep(key) {
		s.out.AddComplex128(key, v)
	}
}

func (s *scrubber) AddFloat64(key string, v float64) {
	if s.keep(key) {
		s.out.AddFloat64(key, v)
	}
}

func (s *scrubber) AddInt64(key string, v int64) {
	if s.keep(key) {
		s.out.AddInt64(key, v)
	}
}

func (s *scrubber) AddUint64(key string, v uint64) {
	if s.keep(key) {
		s.out.AddUint64(key, v)
	}
}

func (s *scrubber) AddComplex64(key string, v complex64) { s.AddComplex128(key, complex128(v)) }
func (s *scrubber) AddFloat32(key string, v float32)     { s.AddFloat64(key, float64(v)) }
func (s *scrubber) AddInt(key string, v int)             { s.AddInt64(key, int64(v)) }
func (s *scrubber) AddInt32(key string, v int32)         { s.AddInt64(key, int64(v)) }
func (s *scrubber) AddInt16(key string, v int16)         { s.AddInt64(key, int64(v)) }
func (s *scrubber) AddInt8(key string, v int8)           { s.AddInt64(key, int64(v)) }
func (s *scrubber) AddUint(key string, v uint)           { s.AddUint64(key, uint64(v)) }
func (s *scrubber) AddUint32(key string, v uint32)       { s.AddUint64(key, uint64(v)) }
func (s *scrubber) AddUint16(key string, v uint16)       { s.AddUint64(key, uint64(v)) }
func (s *scrubber) AddUint8(key string, v uint8)         { s.AddUint64(key, uint64(v)) }
func (s *scrubber) AddUintptr(key string, v uintptr)     { s.AddUint64(key, uint64(v)) }

// arrayScrubber is the scrubber for the elements of an array. Numbers, times
// and the like go to the embedded encoder as they are.
type arrayScrubber struct {
	zapcore.ArrayEncoder
	key string // of the array
	in  *scrubber
}

func (a *arrayScrubber) AppendString(v string) {
	if text, ok := a.in.text(a.key, v); ok {
		a.ArrayEncoder.AppendString(text)
	}
}

func (a *arrayScrubber) AppendByteString(v []byte) { a.AppendString(string(v)) }

func (a *arrayScrubber) AppendObject(m zapcore.ObjectMarshaler) error {
	return a.ArrayEncoder.AppendObject(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return m.MarshalLogObject(a.in.within(a.key, enc))
	}))
}

func (a *arrayScrubber) AppendArray(m zapcore.ArrayMarshaler) error {
	return a.ArrayEncoder.AppendArray(zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return m.MarshalLogArray(&arrayScrubber{ArrayEncoder: enc, key: a.key, in: a.in})
	}))
}

func (a *arrayScrubber) AppendReflected(v any) error {
	tree, ok := jsonTree(v)
	if !ok {
		a.ArrayEncoder.AppendString("…")
		return nil
	}
	return a.ArrayEncoder.AppendReflected(a.in.tree(a.key, tree))
}

// Interface guards
var (
	_ zapcore.ObjectEncoder = (*scrubber)(nil)
	_ zapcore.ArrayEncoder  = (*arrayScrubber)(nil)
)
