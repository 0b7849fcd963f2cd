package codec

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The bounds of a multipart body.
const (
	maxParts      = 1000
	maxPartHeader = 8 << 10 // bytes, without the delimiter line
	maxBoundary   = 70      // RFC 2046, section 5.1.1
)

// Part is one part of a multipart/form-data body, by offsets into it.
type Part struct {
	// Start and End are where the part is: from the "--" of the delimiter
	// line that opens it up to the "--" of the next. To cut body[Start:End] out
	// is to remove the part.
	Start, End int
	Header     textproto.MIMEHeader // with canonical names, one value each
	// BodyStart and BodyEnd are where its content is, without the CRLF before
	// the next delimiter.
	BodyStart, BodyEnd int

	// Name and FileName are as the header has them. Some receivers undo
	// percent-encoding in them, and some do not.
	Name, FileName string
	HasFile        bool   // there is a filename, "" perhaps
	ContentType    string // the media type in lower case, "" for none
	Transfer       string // Content-Transfer-Encoding in lower case, "" for none
}

// Boundary returns the boundary of a Content-Type that is multipart/form-data
// with this one parameter, or also a charset. Everything else is ErrMultipart:
// receivers do not agree on which of several boundaries counts.
func Boundary(contentType string) (string, error) {
	media, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	delete(params, "boundary")
	delete(params, "charset")
	if err != nil || media != "multipart/form-data" || !isBoundary(boundary) || len(params) > 0 {
		return "", ErrMultipart
	}
	// Equal ones count as one in params, and RFC 2231 spellings have been undone.
	written := strings.Count(strings.ToLower(contentType), "boundary")
	if written != 1+strings.Count(strings.ToLower(boundary), "boundary") || strings.ContainsAny(contentType, `*\`) {
		return "", ErrMultipart
	}
	return boundary, nil
}

// isBoundary reports whether s can be a boundary. Spaces, which RFC 2046 allows
// inside, are not: some receivers trim them.
func isBoundary(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("'()+_,-./:=?", s[i]) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxBoundary
}

// SplitMultipart splits a multipart/form-data body (RFC 7578, RFC 2046) into
// its parts. What any receiver could read differently is ErrMultipart, as is
// what is over the bounds (1,000 parts, 8 KiB of header a part):
//
//   - Line ends are CRLF. Before the first delimiter there is nothing, or one
//     CRLF; after the last nothing or CRLFs. Delimiters have no white space
//     after them, and the boundary, after "--", stands nowhere else.
//   - A part's header has one Content-Disposition, form-data with a name that is
//     not empty, and no field twice, none folded over lines, no control
//     characters, nothing but UTF-8. The name and the filename have no escapes,
//     encoded words or semicolons. A filename* is there only beside a filename
//     that says the same. A Content-Length is true.
//
// What remains is held against mime/multipart, which must see the same parts,
// names, header fields and contents.
//
// A body of no parts, its closing delimiter alone, has none and is in order:
// that is what remains when all parts are cut out, and what mime/multipart
// takes for an empty form. A body of no bytes is ErrMultipart.
//
// The parts' contents are as they stand: the caller must look at Transfer, and
// at the Content-Type for a charset or for a multipart inside.
func SplitMultipart(body []byte, boundary string) ([]Part, error) {
	if !isBoundary(boundary) {
		return nil, ErrMultipart
	}
	delimiter := []byte("--" + boundary)
	at := 0
	if bytes.HasPrefix(body, crlf) {
		at = len(crlf)
	}
	if !bytes.HasPrefix(body[at:], delimiter) {
		return nil, ErrMultipart
	}
	var parts []Part
	for {
		rest := body[at+len(delimiter):]
		if after, closes := bytes.CutPrefix(rest, []byte("--")); closes {
			for bytes.HasPrefix(after, crlf) {
				after = after[len(crlf):]
			}
			if len(after) > 0 || bytes.Contains(body[at+1:], delimiter) {
				return nil, ErrMultipart
			}
			break
		}
		if !bytes.HasPrefix(rest, crlf) || len(parts) == maxParts {
			return nil, ErrMultipart
		}
		// The next delimiter is wherever the boundary stands next: where that
		// is not at the start of a line, the body is ambiguous.
		n := bytes.Index(body[at+1:], delimiter)
		if n < 0 {
			return nil, ErrMultipart
		}
		p := Part{Start: at, End: at + 1 + n}
		if err := p.parse(body, at+len(delimiter)+len(crlf)); err != nil {
			return nil, err
		}
		parts = append(parts, p)
		at = p.End
	}
	if !agrees(parts, body, boundary) {
		return nil, ErrMultipart
	}
	return parts, nil
}

var crlf = []byte("\r\n")

// parse reads the part whose Start and End are known and whose header begins at
// header.
func (p *Part) parse(body []byte, header int) error {
	if p.End < header+2*len(crlf) || !bytes.HasSuffix(body[:p.End], crlf) {
		return ErrMultipart
	}
	p.BodyEnd = p.End - len(crlf)
	lines := body[header:min(p.BodyEnd, header+maxPartHeader)]
	n := bytes.Index(lines, []byte("\r\n\r\n"))
	if n < 0 {
		return ErrMultipart
	}
	p.BodyStart = header + n + 2*len(crlf)
	return p.parseHeader(lines[:n])
}

// agrees reports whether the standard library reads parts in body.
func agrees(parts []Part, body []byte, boundary string) bool {
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for i := range parts {
		p := &parts[i]
		other, err := r.NextRawPart()
		if err != nil || other.FormName() != p.Name {
			return false
		}
		if name := other.FileName(); name != p.FileName && name != filepath.Base(p.FileName) {
			return false
		}
		if !maps.EqualFunc(other.Header, p.Header, slices.Equal[[]string]) {
			return false
		}
		match := matcher{body[p.BodyStart:p.BodyEnd]}
		if _, err := io.Copy(&match, other); err != nil || len(match.want) > 0 {
			return false
		}
	}
	_, err := r.NextRawPart()
	return errors.Is(err, io.EOF)
}

// matcher takes only what it wants, in pieces.
type matcher struct{ want []byte }

func (m *matcher) Write(p []byte) (int, error) {
	rest, ok := bytes.CutPrefix(m.want, p)
	if !ok {
		return 0, ErrMultipart
	}
	m.want = rest
	return len(p), nil
}

// FixPartLengths returns a multipart body with the Content-Length fields of its
// parts made true, which some clients write and a rewriting has made false. What
// is no multipart body of that boundary comes back as it is.
func FixPartLengths(body []byte, boundary string) []byte {
	delimiter := []byte("\r\n--" + boundary)
	var out []byte
	at := 0 // body[:at] is in out
	rest := 0
	for {
		head := bytes.Index(body[rest:], []byte("\r\n\r\n"))
		if head < 0 {
			break
		}
		head += rest
		start := head + 4
		size := bytes.Index(body[start:], delimiter)
		if size < 0 {
			break
		}
		for line := rest; line < head; {
			end := line + bytes.Index(body[line:head+2], crlf)
			name, value, ok := bytes.Cut(body[line:end], []byte(":"))
			if ok && textproto.CanonicalMIMEHeaderKey(string(name)) == contentLength && string(bytes.TrimSpace(value)) != strconv.Itoa(size) {
				out = append(append(out, body[at:line+len(name)]...), ": "...)
				out = strconv.AppendInt(out, int64(size), 10)
				at = end
			}
			line = end + len(crlf)
		}
		rest = start + size + len(crlf)
	}
	if out == nil {
		return body
	}
	return append(out, body[at:]...)
}
