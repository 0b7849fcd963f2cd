package attack

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// codec is what a text stands in inside a value, or a body on the wire.
type codec uint8

const (
	jsonString codec = iota
	b64              // RFC 4648 section 4
	b64url           // section 5
	b64raw           // without padding
	b64lines         // RFC 2045, in lines of 76
	gz               // RFC 1952
	zl               // RFC 1950
	df               // RFC 1951
	zs               // RFC 8878
	br               // RFC 7932
	percent          // RFC 3986
	dataURL          // RFC 2397, in base64
)

var zstdOut, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
var zstdIn, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxOpened))

// wrap puts a text into the codec.
func (c codec) wrap(s string) string {
	switch c {
	case jsonString:
		b, _ := json.Marshal(s)
		return string(b)
	case b64:
		return base64.StdEncoding.EncodeToString([]byte(s))
	case b64url:
		return base64.URLEncoding.EncodeToString([]byte(s))
	case b64raw:
		return base64.RawStdEncoding.EncodeToString([]byte(s))
	case b64lines:
		s = base64.StdEncoding.EncodeToString([]byte(s))
		var b strings.Builder
		for len(s) > 76 {
			b.WriteString(s[:76] + "\n")
			s = s[76:]
		}
		return b.String() + s
	case percent:
		return escapeAll(s)
	case dataURL:
		return "data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(s))
	}
	return c.compress(s)
}

func (c codec) compress(s string) string {
	if c == zs {
		return string(zstdOut.EncodeAll([]byte(s), nil))
	}
	var b bytes.Buffer
	w := writers[c].Get().(resetter)
	w.Reset(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	writers[c].Put(w)
	return b.String()
}

// resetter is a compressor that is used again: making one takes longer than
// most bodies.
type resetter interface {
	io.WriteCloser
	Reset(io.Writer)
}

var writers = map[codec]*sync.Pool{
	gz: {New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }},
	zl: {New: func() any { w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed); return w }},
	df: {New: func() any { w, _ := flate.NewWriter(nil, flate.BestSpeed); return w }},
	br: {New: func() any { return brotli.NewWriterLevel(nil, 1) }},
}

var errCodec = errors.New("not of that codec")

// maxOpened bounds what a text opens to.
const maxOpened = 8 << 20

// open takes a text out of the codec.
func (c codec) open(s string) (string, error) {
	var b []byte
	var err error
	switch c {
	case jsonString:
		var out string
		err = json.Unmarshal([]byte(s), &out)
		return out, err
	case b64, b64raw, b64url:
		s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
		b, err = base64.RawStdEncoding.Strict().DecodeString(s)
	case b64lines:
		b, err = base64.StdEncoding.DecodeString(s)
	case percent:
		return url.PathUnescape(s)
	case dataURL:
		rest, ok := strings.CutPrefix(s, "data:application/json;base64,")
		if !ok {
			return "", errCodec
		}
		b, err = base64.StdEncoding.DecodeString(rest)
	default:
		b, err = c.expand([]byte(s))
	}
	return string(b), err
}

// expand undoes a compression. What came before an error comes with it.
func (c codec) expand(s []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch c {
	case gz:
		r, err = gzip.NewReader(bytes.NewReader(s))
	case zl:
		r, err = zlib.NewReader(bytes.NewReader(s))
	case df:
		r = flate.NewReader(bytes.NewReader(s))
	case br:
		r = brotli.NewReader(bytes.NewReader(s))
	case zs:
		return zstdIn.DecodeAll(s, nil)
	default:
		return nil, errCodec
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxOpened))
}

// escapeAll escapes all but letters and digits (RFC 3986 section 2.1).
func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isAlnum(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// wrapping is a way to put a document into a text.
type wrapping struct {
	name  string
	query bool // the document is a query, not JSON
	chain []codec
}

// wrappings are the ways in use; the first is none at all.
var wrappings = []wrapping{
	{name: "none"},
	{name: "json-text"}, // the JSON text itself as a string
	{name: "json-string-2", chain: []codec{jsonString}},
	{name: "json-string-3", chain: []codec{jsonString, jsonString}},
	{name: "json-string-4", chain: []codec{jsonString, jsonString, jsonString}},
	{name: "json-string-6", chain: []codec{jsonString, jsonString, jsonString, jsonString, jsonString}},
	{name: "base64", chain: []codec{b64}},
	{name: "base64url", chain: []codec{b64url}},
	{name: "base64-raw", chain: []codec{b64raw}},
	{name: "base64-lines", chain: []codec{b64lines}},
	{name: "base64-twice", chain: []codec{b64, b64}},
	{name: "gzip-base64", chain: []codec{gz, b64}},
	{name: "zlib-base64", chain: []codec{zl, b64}},
	{name: "zstd-base64", chain: []codec{zs, b64}},
	{name: "gzip-base64url", chain: []codec{gz, b64url}},
	{name: "percent", chain: []codec{percent}},
	{name: "percent-twice", chain: []codec{percent, percent}},
	{name: "percent-thrice", chain: []codec{percent, percent, percent}},
	{name: "query", query: true},
	{name: "query-percent", query: true, chain: []codec{percent}},
	{name: "query-base64", query: true, chain: []codec{b64}},
	{name: "data-url", chain: []codec{dataURL}},
	{name: "string-in-base64", chain: []codec{jsonString, b64}},
	{name: "base64-in-percent", chain: []codec{b64, percent}},
	{name: "gzip-base64-in-string", chain: []codec{gz, b64, jsonString}},
}
