package deliver

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// appendRecord appends one record to a body, as its format wants it. It reports
// false, and appends nothing, if the record is no JSON text: in a list it could
// make two of one.
func appendRecord(dst *bytes.Buffer, p *Partner, key string, body []byte) bool {
	if !json.Valid(body) {
		return false
	}
	if p.Keyed {
		dst.WriteString(`{"id":`)
		id, _ := json.Marshal(key) // a string has no error
		dst.Write(id)
		dst.WriteString(`,"record":`)
	}
	if p.Format == NDJSON && bytes.ContainsAny(body, "\r\n") {
		// Only between tokens can there be a raw one, and there Compact takes
		// it away with all other space. It leaves tokens as they are.
		_ = json.Compact(dst, body) // which is valid
	} else {
		dst.Write(body)
	}
	if p.Keyed {
		dst.WriteByte('}')
	}
	return true
}

// encoder puts records together to the body of a POST.
type encoder struct {
	p   *Partner
	buf bytes.Buffer
	n   int
}

// add adds a record, or reports that it is no JSON text.
func (e *encoder) add(key string, body []byte) bool {
	length := e.buf.Len()
	if e.p.Format == Array {
		e.buf.WriteByte("[,"[min(e.n, 1)])
	}
	if !appendRecord(&e.buf, e.p, key, body) {
		e.buf.Truncate(length)
		return false
	}
	if e.p.Format == NDJSON {
		e.buf.WriteByte('\n')
	}
	e.n++
	return true
}

// body returns the body, compressed where that is wanted.
func (e *encoder) body() []byte {
	if e.p.Format == Array {
		e.buf.WriteByte(']')
	}
	if !e.p.Gzip {
		return e.buf.Bytes()
	}
	var out bytes.Buffer
	w := gzips.Get().(*gzip.Writer)
	defer gzips.Put(w)
	w.Reset(&out)
	_, _ = w.Write(e.buf.Bytes()) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
