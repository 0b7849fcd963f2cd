package attack

import (
	"bytes"
	"encoding/base64"
	"hash/maphash"
	"html"
	"math/big"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Found is a canary that was found, and how.
type Found struct {
	Canary Canary
	In     string // which part of the message, and what was undone to see it
}

// Audit opens what arrived in every way that a receiver might, and returns the
// canaries in it that must not have.
func (k *Case) Audit(a *Arrived) []Found {
	x := newAuditor(k.Canaries)
	if len(x.needles) == 0 {
		return nil
	}
	x.look("the raw bytes", a.Raw, 1)
	x.look("the target", []byte(a.Target), maxUndone)
	for name, values := range a.Header {
		x.look("a header's name", []byte(name), 1)
		for _, v := range values {
			x.look("header "+name, []byte(v), maxUndone)
		}
	}
	x.look("the body", a.Body, maxUndone)
	for name, values := range a.Trailer {
		for _, v := range values {
			x.look("trailer "+name, []byte(v), maxUndone)
		}
	}
	return x.found
}

// AuditText looks into a text that must hold no canary at all, whoever it is
// of, such as a refusal.
func (k *Case) AuditText(part string, text []byte) []Found {
	all := make([]Canary, len(k.Canaries))
	for i, c := range k.Canaries {
		c.Gone = true
		all[i] = c
	}
	x := newAuditor(all)
	if len(x.needles) == 0 {
		return nil
	}
	x.look(part, text, 3)
	return x.found
}

const (
	maxUndone = 12       // codecs upon one another
	maxTexts  = 4000     // texts that one message opens to
	maxBytes  = 24 << 20 // of them all
)

// opener opens a text and all that it opens to, and has each of them searched.
type opener struct {
	search func(how string, text []byte)
	seen   map[uint64]int // how deep what is inside a text was looked for
	seed   maphash.Seed
	bytes  int
}

func newOpener(search func(how string, text []byte)) opener {
	return opener{search: search, seen: map[uint64]int{}, seed: maphash.MakeSeed()}
}

// auditor searches for the canaries of one case.
type auditor struct {
	opener
	canaries []Canary
	needles  [][]byte
	of       []int
	hit      []bool
	found    []Found
	buf      []byte
}

func newAuditor(canaries []Canary) *auditor {
	x := &auditor{canaries: canaries, hit: make([]bool, len(canaries))}
	x.opener = newOpener(x.find)
	for i, c := range canaries {
		if !c.Gone {
			continue
		}
		for _, n := range c.Needles {
			x.needles, x.of = append(x.needles, []byte(n)), append(x.of, i)
		}
	}
	return x
}

// look searches a text and all that it opens to.
func (x *opener) look(how string, text []byte, depth int) {
	if len(text) < 4 {
		return
	}
	h := maphash.Bytes(x.seed, text)
	if was, ok := x.seen[h]; ok && was >= depth || len(x.seen) > maxTexts || x.bytes > maxBytes {
		return
	}
	x.seen[h] = depth
	x.bytes += len(text)
	x.search(how, text)
	if depth <= 0 {
		return
	}
	next := func(what string, t []byte) { x.look(how+" > "+what, t, depth-1) }
	unpack(text, how == "the body" || strings.HasSuffix(how, unpacked), next)
	if bytes.IndexByte(text, '\\') >= 0 {
		next("escapes", unescape(text))
	}
	if bytes.IndexByte(text, '%') >= 0 {
		next("percent", unpercent(text))
	}
	if bytes.Contains(text, []byte("&#")) {
		next("entities", []byte(html.UnescapeString(string(text))))
	}
	if bytes.IndexByte(text, 0) >= 0 {
		next("wide characters", bytes.ReplaceAll(text, []byte{0}, nil))
	}
	if bytes.Contains(text, []byte("+A")) {
		next("utf-7", un7(text))
	}
	for _, n := range exponential(text, 64) {
		if f, _, err := big.ParseFloat(string(n), 10, 256, big.ToNearestEven); err == nil && f.MantExp(nil) < 200 {
			x.search(how+" > number", []byte(f.Text('f', 12)))
		}
	}
	base64Runs(text, next)
}

// find looks for the canaries in a text as it stands.
func (x *auditor) find(how string, text []byte) {
	x.buf = Normal(x.buf[:0], text)
	for i, n := range x.needles {
		if c := x.of[i]; !x.hit[c] && bytes.Contains(x.buf, n) {
			x.hit[c] = true
			x.found = append(x.found, Found{x.canaries[c], how})
		}
	}
}

// Normal appends the letters and digits of ASCII that a text says, in lower
// case, whatever stands between them.
func Normal(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			dst = append(dst, c)
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c|0x20)
		case c == 0xEF && i+2 < len(text): // full width
			r, _ := utf8.DecodeRune(text[i:])
			if 0xFF01 <= r && r <= 0xFF5E {
				dst = Normal(dst, []byte{byte(r - 0xFF01 + '!')})
				i += 2
			}
		case c == 0xC5 && i+1 < len(text) && text[i+1] == 0xBF: // ſ
			dst = append(dst, 's')
		}
	}
	return dst
}

// maxMagic bounds how many beginnings of a compressed text are tried.
const maxMagic = 16

// unpacked ends the name of what was undone where it was a compression.
const unpacked = " unpacked"

// unpack undoes compressions that a text may be of by how it begins; and, where
// it is a body, those that nothing announces and those that begin further on.
func unpack(text []byte, body bool, next func(string, []byte)) {
	try := func(text []byte, c codec, name string) {
		if out, _ := c.expand(text); len(out) > 0 {
			next(name+unpacked, out)
		}
	}
	if !body || utf8.Valid(text) {
		if c, name := magic(text); name != "" {
			try(text, c, name)
		}
		return
	}
	try(text, br, "brotli")
	try(text, df, "deflate")
	tries := 0
	for i := 0; i+4 < len(text) && tries < maxMagic; i++ {
		if c, name := magic(text[i:]); name != "" {
			tries++
			try(text[i:], c, name)
		}
	}
}

// magic tells a compression by how it begins; name is empty where it is none.
func magic(b []byte) (c codec, name string) {
	switch {
	case len(b) < 4:
	case b[0] == 0x1f && b[1] == 0x8b:
		return gz, "gzip"
	case b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd:
		return zs, "zstd"
	case b[0] == 'x' && (b[1] == 0x01 || b[1] == 0x5e || b[1] == 0x9c || b[1] == 0xda):
		return zl, "zlib"
	}
	return 0, ""
}

// unescape undoes the escapes of JSON, JavaScript and their like, wherever they
// stand.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		width := map[byte]int{'u': 4, 'x': 2}[text[i]]
		switch {
		case width > 0 && i+width < len(text):
			n, err := strconv.ParseUint(string(text[i+1:i+1+width]), 16, 32)
			if err != nil {
				continue
			}
			i += width
			if utf16.IsSurrogate(rune(n)) && i+6 < len(text) && text[i+1] == '\\' {
				if m, err := strconv.ParseUint(string(text[i+3:i+7]), 16, 32); err == nil {
					out = utf8.AppendRune(out, utf16.DecodeRune(rune(n), rune(m)))
					i += 6
					continue
				}
			}
			out = utf8.AppendRune(out, rune(n))
		case text[i] == 'n' || text[i] == 'r' || text[i] == 't':
			out = append(out, '\n')
		default:
			out = append(out, text[i])
		}
	}
	return out
}

// unpercent undoes escapes of RFC 3986, and leaves what is none.
func unpercent(text []byte) []byte {
	if s, err := url.PathUnescape(string(text)); err == nil {
		return []byte(s)
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if n, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}

// exponential returns numbers such as 1.38E10, no more than most.
func exponential(text []byte, most int) (found [][]byte) {
	digit := func(i int) bool { return i >= 0 && i < len(text) && '0' <= text[i] && text[i] <= '9' }
	for i := 1; i+1 < len(text) && len(found) < most; i++ {
		if text[i]|0x20 != 'e' || !digit(i-1) {
			continue
		}
		from, to := i-1, i+1
		if text[to] == '+' {
			to++
		}
		exp := to
		for digit(to) {
			to++
		}
		for digit(from-1) || text[from] != '.' && from > 1 && text[from-1] == '.' {
			from--
		}
		if to > exp && to-exp <= 2 {
			found = append(found, text[from:to])
		}
	}
	return found
}

var utf7 = regexp.MustCompile(`\+[A-Za-z0-9+/]{3,}-`)

// un7 undoes UTF-7 (RFC 2152).
func un7(text []byte) []byte {
	return utf7.ReplaceAllFunc(text, func(b []byte) []byte {
		raw, _ := base64.RawStdEncoding.DecodeString(string(b[1 : len(b)-1]))
		return bytes.ReplaceAll(raw, []byte{0}, nil)
	})
}

const (
	minRun = 12
	maxRun = 4 << 20
)

// base64Runs opens what may be base64, in lines or not, wherever it begins.
func base64Runs(text []byte, next func(string, []byte)) {
	var run []byte
	flush := func() {
		if len(run) >= minRun && len(run) <= maxRun {
			openRun(run, next)
		}
		run = run[:0]
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case isAlnum(c):
			run = append(run, c)
		case c == '+' || c == '-':
			run = append(run, '+')
		case c == '/' || c == '_':
			run = append(run, '/')
		case c == '\n' || c == '\r':
			// base64 in lines goes on
		case c == ' ' && len(run) > 60:
			run = append(run, '+') // a form's reader made a space of it
		default:
			flush()
		}
	}
	flush()
}

func openRun(run []byte, next func(string, []byte)) {
	for skip := 0; skip < 4 && len(run)-skip >= minRun; skip++ {
		from := run[skip:]
		out := make([]byte, base64.RawStdEncoding.DecodedLen(len(from)))
		n, _ := base64.RawStdEncoding.Decode(out, from[:len(from)/4*4])
		if rest := from[len(from)/4*4:]; len(rest) > 1 {
			m, _ := base64.RawStdEncoding.Decode(out[n:], rest)
			n += m
		}
		if out = out[:n]; promising(out) {
			next("base64", out)
		}
	}
}

// promising reports whether bytes are a text or a compressed one.
func promising(b []byte) bool {
	if _, name := magic(b); name != "" {
		return true
	}
	head := b[:min(len(b), 64)]
	odd := 0
	for _, c := range head {
		if c < ' ' && c != 0 && c != '\n' && c != '\t' && c != '\r' {
			odd++
		}
	}
	return odd*10 <= len(head)
}
