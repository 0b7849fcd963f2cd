package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/consentgate/consentgate/internal/codec"
	"github.com/consentgate/consentgate/internal/payload"
)

// bodyKind is what a gate takes a body for.
type bodyKind uint8

const (
	bodyNone  bodyKind = iota
	bodyJSON           // a JSON text
	bodyLines          // JSON texts, one a line
	bodyForm           // application/x-www-form-urlencoded
	bodyParts          // multipart/form-data
	bodyMedia          // listed by the operator
	bodyOther          // anything else
)

// kindOfType says what a media type claims; bodyOther also for none.
func kindOfType(t string) bodyKind {
	switch {
	case t == "application/x-www-form-urlencoded":
		return bodyForm
	case t == "multipart/form-data":
		return bodyParts
	case strings.Contains(t, "ndjson"), strings.Contains(t, "jsonl"), strings.Contains(t, "json-lines"):
		return bodyLines
	case t == "application/json", t == "text/json", strings.HasSuffix(t, "+json"), strings.HasSuffix(t, "/json"),
		t == "application/x-json", t == "text/x-json", t == "application/csp-report", strings.Contains(t, "json-seq"):
		return bodyJSON
	}
	return bodyOther
}

// looksLikeJSON reports whether a body is JSON whatever it claims: it opens
// like an object or an array.
func looksLikeJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// looksLikeForm reports whether a body of no type is a query, or several lines
// of them, as beacons send: names, '=' and values without white space.
func looksLikeForm(body []byte) bool {
	for _, sign := range []string{"+AHs", "+ACI", `{"`} {
		if bytes.Contains(body, []byte(sign)) {
			return false // JSON, in UTF-7 perhaps, with something around it
		}
	}
	line, pairs := false, false
	for _, c := range body {
		switch {
		case c == '\n' || c == '\r':
			line = false
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '=' && line:
			pairs = true
		default:
			line = true
		}
	}
	return pairs
}

// message is a body, of a request or a response, and what was found in it.
type message struct {
	raw   []byte         // as it came
	enc   codec.Encoding // how that is encoded
	plain []byte         // decoded
	kind  bodyKind
	scan  *payload.Scan // nil: nothing in it to decide on

	boundary string // of a multipart body
	opaque   bool   // a photo in it is of a kind that cannot be cleaned
}

// free gives back what the message holds.
func (m *message) free() {
	if m.scan != nil {
		m.scan.Free()
		m.scan = nil
	}
}

// encodingOf says how a body that begins with head is encoded, whatever its
// headers say: clients compress without saying so, or say so in a header of
// their own (`compress: gzip`).
func encodingOf(h http.Header, head []byte) (codec.Encoding, *Problem) {
	enc, err := codec.ParseEncodings(h.Values("Content-Encoding"))
	if err != nil {
		return enc, unsupportedEncoding()
	}
	if enc == codec.Identity {
		if e := codec.SniffEncoding(head); e == codec.Gzip || e == codec.Zstd {
			return e, nil
		}
	}
	return enc.As(head), nil
}

// open decodes a body, tells what it is and scans it. A body that cannot be
// read, on a route that lets such pass, is bodyOther.
func (j judge) open(h http.Header, raw []byte) (m message, p *Problem) {
	m.raw, m.plain = raw, raw
	if len(raw) == 0 {
		return m, nil // whatever its headers say of it
	}
	defer func() {
		if p != nil && j.g.OnUnreadable == choicePass && p.Status != http.StatusRequestEntityTooLarge {
			m.free()
			m.kind, p = bodyOther, nil
		}
	}()
	if m.enc, p = encodingOf(h, raw); p != nil {
		return m, p
	}
	if m.enc != codec.Identity {
		plain, err := m.enc.Decode(nil, raw, int(j.g.MaxBody))
		switch {
		case errors.Is(err, codec.ErrTooLarge):
			return m, tooLarge(j.g.MaxBody)
		case err != nil:
			return m, unreadableText("the body does not decode as its content encoding says")
		}
		if e := codec.SniffEncoding(plain); e == codec.Gzip || e == codec.Zstd {
			return m, unsupportedEncoding() // one upon another
		}
		m.plain = plain
	}
	if len(m.plain) == 0 {
		return m, nil
	}
	return m, j.read(&m, h)
}

// read tells what a decoded body is and scans it.
func (j judge) read(m *message, h http.Header) *Problem {
	mediaType, params := mediaTypeOf(h)
	if !readsAsUTF8(h.Get("Content-Type"), params) {
		return unsupportedType("text is read as UTF-8; send it so")
	}
	m.kind = kindOfType(mediaType)
	if m.kind != bodyJSON && m.kind != bodyLines && m.kind != bodyParts && looksLikeJSON(m.plain) {
		m.kind = bodyJSON // whatever it claims to be
	}
	matcher := j.ln.plan.Matcher
	var err error
	switch m.kind {
	case bodyLines:
		return nil
	case bodyJSON:
		m.scan, err = matcher.Scan(m.plain, payload.DefaultLimits)
		if err != nil && areLines(m.plain, err) {
			m.kind, err = bodyLines, nil
		}
	case bodyForm:
		syntax := payload.Query
		if text := bytes.TrimRight(m.plain, "\r\n"); bytes.IndexFunc(text, func(r rune) bool { return r < ' ' }) >= 0 {
			if !looksLikeForm(text) {
				return unreadableText("the body is no form: it holds control characters")
			}
			syntax = payload.Lines
		}
		m.scan, err = matcher.ScanForm(m.plain, syntax, nil, payload.DefaultLimits)
	case bodyParts:
		return j.readParts(m, h)
	default:
		return j.readOther(m, mediaType)
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// readsAsUTF8 reports whether a Content-Type leaves a receiver no other charset
// to read the body in.
func readsAsUTF8(field string, params map[string]string) bool {
	switch strings.ToLower(params["charset"]) {
	case "utf-8", "utf8", "us-ascii":
		return strings.Count(strings.ToLower(field), "charset") == 1
	case "":
		return !strings.Contains(strings.ToLower(field), "charset")
	}
	return false
}

// readOther reads what claims to be none of the kinds that a gate reads.
func (j judge) readOther(m *message, mediaType string) *Problem {
	listed := j.g.listed(mediaType)
	if listed && !isText(m.plain) && !(cleaner{}).Known(m.plain) {
		m.kind, m.opaque = bodyMedia, strings.HasPrefix(mediaType, "image/")
		return nil
	}
	scan, opened, err := j.ln.plan.Matcher.ScanText(m.plain, payload.DefaultLimits)
	switch {
	case err != nil:
		return unreadable(err)
	case opened:
		m.scan = scan
		if !listed && (cleaner{}).Known(m.plain) {
			m.free()
			break
		}
		return nil
	case listed:
		m.kind, m.opaque = bodyMedia, strings.HasPrefix(mediaType, "image/")
		return nil
	case looksLikeForm(m.plain):
		m.kind = bodyForm
		if m.scan, err = j.ln.plan.Matcher.ScanForm(m.plain, payload.Lines, nil, payload.DefaultLimits); err != nil {
			return unreadable(err)
		}
		return nil
	}
	return unsupportedType("the gate reads JSON and forms; a type of media is listed with `media`")
}

// readParts reads a multipart form.
func (j judge) readParts(m *message, h http.Header) *Problem {
	boundary, err := codec.Boundary(h.Get("Content-Type"))
	if err != nil {
		return unreadableText("the multipart boundary is not plain")
	}
	parts, err := codec.SplitMultipart(m.plain, boundary)
	if err != nil {
		return unreadableText("the multipart body is not one that all receivers read alike")
	}
	m.boundary = boundary
	fields := make([]payload.Field, 0, len(parts))
	for i := range parts {
		part := &parts[i]
		content := m.plain[part.BodyStart:part.BodyEnd]
		if p := j.checkPart(part, content); p != nil {
			return p
		}
		m.opaque = m.opaque || strings.HasPrefix(part.ContentType, "image/") && !(cleaner{}).Known(content)
		fields = append(fields, payload.Field{
			Name: part.Name, FileName: part.FileName,
			Start: part.Start, End: part.End, From: part.BodyStart, To: part.BodyEnd,
			Opaque: !isText(content) && !(cleaner{}).Known(content) && j.g.listed(part.ContentType),
		})
	}
	m.scan, err = j.ln.plan.Matcher.ScanParts(m.plain, fields, payload.DefaultLimits)
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// checkPart refuses a part that cannot be inspected.
func (j judge) checkPart(part *codec.Part, content []byte) *Problem {
	switch part.Transfer {
	case "", "7bit", "8bit", "binary":
	default:
		return unsupportedEncoding()
	}
	_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if !readsAsUTF8(part.Header.Get("Content-Type"), params) {
		return unsupportedType("text is read as UTF-8; send it so")
	}
	if part.Header.Get("Content-Encoding") != "" || strings.HasPrefix(part.ContentType, "multipart/") {
		return unsupportedType("a part of the form holds a body of its own that is not read")
	}
	if k := kindOfType(part.ContentType); k == bodyJSON && len(content) > 0 {
		scan, err := j.ln.plan.Matcher.Scan(content, payload.DefaultLimits)
		if err != nil {
			return unreadable(err)
		}
		scan.Free()
	} else if k == bodyLines {
		return unsupportedType("a part of the form holds lines, which are read as a body alone")
	}
	for name := range part.Header {
		switch name {
		case "Content-Disposition", "Content-Type", "Content-Transfer-Encoding", "Content-Length":
		default:
			return unsupportedType("a part of the form has a header that is not read: " + partHeader)
		}
	}
	// A field is a text; what else there is, is a file.
	field := !part.HasFile && (part.ContentType == "" || part.ContentType == "text/plain")
	readable := field || kindOfType(part.ContentType) == bodyJSON || kindOfType(part.ContentType) == bodyForm
	switch {
	case len(content) == 0:
	case (cleaner{}).Known(content), !readable:
		if !j.g.listed(part.ContentType) && !j.opens(content) {
			return unsupportedType("the form holds a file of a type that is not listed with `media`")
		}
	case !isText(content):
		return unsupportedType("a field of the form holds bytes that are no text")
	}
	return nil
}

const partHeader = "send Content-Disposition, Content-Type and Content-Length alone"

// opens reports whether a whole content is of a codec and is no photo.
func (j judge) opens(content []byte) bool {
	if (cleaner{}).Known(content) {
		return false
	}
	scan, opened, err := j.ln.plan.Matcher.ScanText(content, payload.DefaultLimits)
	if err == nil && opened {
		scan.Free()
	}
	return err == nil && opened
}

// areLines reports whether a body that is not one JSON text is several, one a
// line: the second begins where another line does.
func areLines(body []byte, err error) bool {
	var syntax *payload.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset >= len(body) || !syntax.Trailing() {
		return false
	}
	before := bytes.TrimRight(body[:syntax.Offset], " \t\r")
	return len(before) > 0 && before[len(before)-1] == '\n'
}

// mediaTypeOf returns the lower-cased media type that the headers claim, with
// its parameters; "" for none or one that cannot be read.
func mediaTypeOf(h http.Header) (string, map[string]string) {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return "", nil
	}
	switch values[0] { // most are one of these
	case "application/json", "application/x-www-form-urlencoded", "application/x-ndjson":
		return values[0], nil
	}
	t, params, err := mime.ParseMediaType(values[0]) // params is nil where one is given twice
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", nil
	}
	return t, params
}

// finish returns a body that was rewritten as it goes on the wire: with its
// checksums right, encoded as it came. It is encoded anew even where nothing
// changed: an encoding has room for comments, and they may say anything.
func (m *message) finish(out []byte) ([]byte, *Problem) {
	switch {
	case same(out, m.plain) && m.enc == codec.Identity:
		return m.raw, nil
	case same(out, m.plain):
	case m.kind == bodyForm:
		out = codec.FixChecksums(m.plain, out)
	case m.kind == bodyParts:
		// A part may vouch for its length, and what was made for it may hold
		// the boundary.
		out = codec.FixPartLengths(out, m.boundary)
		if _, err := codec.SplitMultipart(out, m.boundary); err != nil {
			return nil, unreadableText("the form could not be put together again")
		}
	}
	if m.enc == codec.Identity {
		return out, nil
	}
	enc, err := m.enc.Encode(nil, out)
	if err != nil {
		return nil, unreadableText("the body could not be encoded again")
	}
	return enc, nil
}

// same reports whether two slices are the very same bytes in memory.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

var errTooLarge = errors.New("longer than max_body")

// readAll reads a body of the length that it claims (-1: unknown) and of no
// more than limit bytes. What it has read comes with any error.
func readAll(r io.Reader, length, limit int64) ([]byte, error) {
	size := int64(512)
	if length >= 0 {
		size = min(length, limit)
	}
	buf := make([]byte, 0, size+1)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, errTooLarge
		}
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}
