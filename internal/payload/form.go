package payload

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// FormSyntax says how a flat list of names and values is written.
type FormSyntax struct {
	separators string
	form       bool // '+' is a space
	lead       bool // white space may stand before a name
}

var (
	// Query is the syntax of query strings and of
	// application/x-www-form-urlencoded bodies. A ';' separates too: some
	// servers take it so.
	Query = FormSyntax{separators: "&;", form: true}
	// Cookies is the syntax of the Cookie header (RFC 6265, section 4.2.1).
	Cookies = FormSyntax{separators: ";", lead: true}
)

// field is one name and value of a form.
type field struct {
	start, end int // with the separator before it
	name       int // where the name starts
	value      int // where the value starts; end where there is no '='
	op         Op
	t          Transformer
	role       role
	unknown    bool
	classes    [4]Class // that judge it, for the report
	n          int
}

// ApplyForm rewrites a query string, a form or a Cookie header as one recipient
// may have it, and adds what it did to rep. ok is false when a field blocks.
// spare, where not nil, is asked for the names of fields that always pass.
//
// Names are undone of percent-encoding, as often as it takes, and compared
// folded; "a[b]" is the member b of a. A name that does not decode is dropped:
// nobody can say what the receiver makes of it. All other fields stay as they
// are, byte for byte.
func (m *Matcher) ApplyForm(src string, syn FormSyntax, p Part, spare func(name string) bool, rep *Report) (out string, ok bool) {
	if src == "" {
		return src, true
	}
	// Two passes, since half a position needs the other half and most forms
	// need no change: no list of the fields is kept, however many there are.
	touched := false
	var pos position
	for f := (field{end: -1}); m.nextField(&f, src, syn, p.Vector, spare); {
		touched = touched || f.op != Pass
		switch f.op {
		case Block:
			rep.note(m, p.Vector, Block, f.classes[:f.n]...)
			return "", false
		case Transform:
			pos.add(&f)
		}
	}
	if !touched {
		return src, true
	}
	b := make([]byte, 0, len(src))
	for f := (field{end: -1}); m.nextField(&f, src, syn, p.Vector, spare); {
		n, at := len(b), f.start
		if n == 0 {
			at = f.name // nothing stands before it any more
		}
		b = append(b, src[at:f.value]...)
		switch f.op {
		case Pass:
			b = append(b, src[f.value:f.end]...)
			continue
		case Null:
			rep.note(m, p.Vector, Null, f.classes[:f.n]...)
			continue
		case Transform:
			if text, changed, ok := transformField(src, syn, &f, &pos, p.Params); ok {
				b = append(b, text...)
				if changed {
					rep.note(m, p.Vector, Transform, f.classes[:f.n]...)
				}
				continue
			}
		}
		b = b[:n]
		if f.unknown {
			rep.Unknown++
		} else {
			rep.note(m, p.Vector, Drop, f.classes[:f.n]...)
		}
	}
	return string(b), true
}

// nextField goes on from f to the next field of src and decides what happens to
// it.
func (m *Matcher) nextField(f *field, src string, syn FormSyntax, v *Vector, spare func(string) bool) bool {
	at := f.end + 1
	if at > len(src) {
		return false
	}
	*f = field{start: max(0, at-1), name: at, end: len(src)}
	if n := strings.IndexAny(src[at:], syn.separators); n >= 0 {
		f.end = at + n
	}
	for syn.lead && f.name < f.end && (src[f.name] == ' ' || src[f.name] == '\t') {
		f.name++
	}
	name, _, hasValue := strings.Cut(src[f.name:f.end], "=")
	f.value = f.end
	if hasValue {
		f.value = f.name + len(name) + 1
	}
	if f.name < f.end && (spare == nil || !spare(name)) {
		m.judgeField(f, name, syn, v)
	}
	return true
}

// maxDecodings bounds how often a name is undone of percent-encoding. What is
// still encoded then is dropped.
const maxDecodings = 4

// judgeField decides what happens to the field f by its name.
func (m *Matcher) judgeField(f *field, name string, syn FormSyntax, v *Vector) {
	if syn.lead {
		name = strings.TrimRight(name, " \t")
	}
	governed, kept := false, true
	for n := 0; ; n++ {
		k := m.judgeName(f, name, v, &governed)
		kept = kept && k
		decoded, ok := unescapeForm(name, syn.form && n == 0)
		if !ok || n == maxDecodings {
			f.op, f.t = Drop, nil
			f.unknown = f.n == 0
			return
		}
		if decoded == name {
			break
		}
		name = decoded
	}
	if !governed && v.judge.Unknown != Pass && !kept {
		f.op, f.unknown = Drop, true
	}
}

// judgeName takes account of one reading of the name: what "a[b]" says of its
// steps a and b.
func (m *Matcher) judgeName(f *field, name string, v *Vector, governed *bool) (kept bool) {
	state := m.paths.record
	var syms []uint16 // of the steps made, the last one last
	for rest := name; rest != ""; {
		step := rest
		if i := strings.IndexAny(rest, "[]"); i >= 0 {
			step, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		if step == "" {
			continue
		}
		e := m.lookup([]byte(step))
		state = m.paths.next(state, e.sym())
		if e.suffixes() != 0 {
			e = e.withClass(m.enclosed(e, func(n int) (uint16, bool) {
				if n >= len(syms) {
					return 0, false
				}
				return syms[len(syms)-1-n], true
			}))
		}
		if rest != "" {
			syms = append(syms, e.sym())
		}
		f.role = e.role()
		above := m.paths.states[state].class
		kept = v.kept[above]
		for _, c := range [...]Class{e.class(), above} {
			if v.governs[c] {
				*governed = true
				if f.n < len(f.classes) {
					f.classes[f.n] = c
					f.n++
				}
				f.op, f.t = stricter(f.op, f.t, v.ops[c], v.trans[c])
			}
		}
	}
	return kept
}

func stricter(op Op, t Transformer, other Op, u Transformer) (Op, Transformer) {
	a := Stricter(Action{op, t}, Action{other, u})
	return a.Op, a.T
}

// position is the latitude and the longitude among the fields of a form.
type position struct {
	lat, lon  field
	ambiguous bool
}

func (pos *position) add(f *field) {
	half := &pos.lat
	switch {
	case f.role&roleLon != 0:
		half = &pos.lon
	case f.role&roleLat == 0:
		return
	}
	pos.ambiguous = pos.ambiguous || half.op == Transform
	*half = *f
}

// transformField returns the new text of the value of f, encoded.
func transformField(src string, syn FormSyntax, f *field, pos *position, p *Params) (out string, changed, ok bool) {
	text, ok := fieldText(src, f, syn)
	if !ok {
		return "", false, false
	}
	var made []byte
	if pair, isPair := f.t.(PairTransformer); isPair {
		if pos.ambiguous || pos.lat.t != f.t || pos.lon.t != f.t || f.role&(roleLat|roleLon) == 0 {
			return "", false, false
		}
		a, okA := fieldText(src, &pos.lat, syn)
		b, okB := fieldText(src, &pos.lon, syn)
		if !okA || !okB {
			return "", false, false
		}
		lat, lon, ok := pair.AppendPair(nil, nil, []byte(a), []byte(b), p)
		if !ok {
			return "", false, false
		}
		made = lat
		if f.role&roleLon != 0 {
			made = lon
		}
	} else if made, _, ok = f.t.Append(nil, []byte(text), String, p); !ok {
		return "", false, false
	}
	if string(made) == text {
		return src[f.value:f.end], false, true
	}
	return url.QueryEscape(string(made)), true, true
}

// fieldText returns the value of f without its encoding.
func fieldText(src string, f *field, syn FormSyntax) (string, bool) {
	text, ok := unescapeForm(src[f.value:f.end], syn.form)
	return text, ok && utf8.ValidString(text)
}

func unescapeForm(s string, plus bool) (string, bool) {
	var err error
	if plus {
		s, err = url.QueryUnescape(s)
	} else {
		s, err = url.PathUnescape(s)
	}
	return s, err == nil
}
