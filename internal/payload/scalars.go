package payload

import (
	"bytes"
	"unicode/utf8"
)

// mapScalars appends the transformed form of a value: a scalar, or an array of
// them, however deep. Elements that do not fit, objects among them, become
// null.
func (s *Scan) mapScalars(dst []byte, h *Hit, t Transformer, p *Params) ([]byte, bool) {
	raw := s.Src[h.Start:h.End]
	if s.syn != synJSON {
		return s.mapText(dst, h, t, p)
	}
	switch raw[0] {
	case '{':
		return dst, false
	case '[':
	default:
		return s.mapScalar(dst, raw, t, p)
	}
	at := 0
	for i := 0; i < len(raw); {
		switch raw[i] {
		case '[', ']', ',', ' ', '\t', '\n', '\r':
			i++
			continue
		}
		end := valueEnd(raw, i)
		dst = append(dst, raw[at:i]...)
		n, ok := len(dst), false
		if raw[i] != '{' {
			dst, ok = s.mapScalar(dst, raw[i:end], t, p)
		}
		if !ok {
			dst = append(dst[:n], jsonNull...)
		}
		i, at = end, end
	}
	return append(dst, raw[at:]...), true
}

// mapText is mapScalars for what is not JSON.
func (s *Scan) mapText(dst []byte, h *Hit, t Transformer, p *Params) ([]byte, bool) {
	raw := s.Src[h.Start:h.End]
	text, kind, ok := s.value(h.Start, h.End, &s.text)
	if !ok {
		return dst, false
	}
	made, _, ok := t.Append(s.made2[:0], text, kind, p)
	s.made2 = made
	switch {
	case !ok && h.role&roleSpan != 0:
		return append(dst, masked...), true
	case !ok:
		return dst, false
	case bytes.Equal(made, text):
		return append(dst, raw...), true
	}
	return s.appendValue(dst, made, kind), true
}

// value returns the text and the kind of the scalar at Src[start:end], without
// quotes, escapes and encoding. The text may stand in *scratch. ok is false
// where it has no text.
func (s *Scan) value(start, end uint32, scratch *[]byte) (text []byte, k Kind, ok bool) {
	raw := s.Src[start:end]
	switch s.syn {
	case synJSON:
		return scalar(raw, scratch)
	case synForm:
		*scratch, ok = appendDecoded((*scratch)[:0], raw, s.form.form)
		return *scratch, String, ok && utf8.Valid(*scratch)
	}
	return raw, String, utf8.Valid(raw)
}

// appendValue appends text as this syntax writes it.
func (s *Scan) appendValue(dst, text []byte, k Kind) []byte {
	switch s.syn {
	case synJSON:
		return appendScalar(dst, text, k)
	case synForm:
		return appendEncoded(dst, text, s.form.form)
	}
	return append(dst, text...)
}

func (s *Scan) mapScalar(dst, raw []byte, t Transformer, p *Params) ([]byte, bool) {
	text, kind, ok := scalar(raw, &s.text)
	if !ok {
		return dst, false
	}
	if kind == NullValue {
		return append(dst, raw...), true // null says nothing
	}
	made, now, ok := t.Append(s.made2[:0], text, kind, p)
	s.made2 = made
	if !ok {
		return dst, false
	}
	if now == kind && bytes.Equal(made, text) {
		return append(dst, raw...), true // however it is spelled
	}
	return appendScalar(dst, made, now), true
}

// valueEnd returns the offset after the value at i of a valid text.
func valueEnd(src []byte, i int) int {
	depth := 0
	for {
		switch src[i] {
		case '"':
			for i = stringEnd(src, i+1); src[i] != '"'; i = stringEnd(src, i+2) {
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(src) && src[i] > ' ' && src[i] != ',' && src[i] != ']' && src[i] != '}' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}
