package risk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentgate/consentgate/internal/codec"
)

// MaxRecord is how many bytes one record may have.
const MaxRecord = 4 << 20

// maxDepth is how deep a record may nest.
const maxDepth = 128

// InputError says what is wrong with a file, and where. It quotes nothing of
// it.
type InputError struct {
	Name string // of the file
	Line int    // from 1, after decompression; 0: no line
	Msg  string
	Err  error // below it; nil: none. It comes from the system, not from the data
}

func (e *InputError) Error() string {
	at := e.Name
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", e.Name, e.Line)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", at, e.Msg, e.Err)
	}
	return at + ": " + e.Msg
}

func (e *InputError) Unwrap() error { return e.Err }

// eachRecord calls f with every record of r: JSON objects, one a line or in an
// array, gzip by content. The bytes are good until f returns. Memory is bounded
// by the longest record, at most [MaxRecord].
func eachRecord(r io.Reader, name string, f func(record []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var source io.Reader = in
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		unpacked, err := codec.Gzip.NewReader(in)
		if err != nil {
			return &InputError{Name: name, Msg: "the gzip data cannot be read", Err: err}
		}
		defer unpacked.Close()
		source = unpacked
	}
	lines := &lineCounter{r: source}
	d := jsontext.NewDecoder(lines, jsontext.AllowDuplicateNames(true))
	inArray := false
	for {
		kind := d.PeekKind()
		if kind == '[' && !inArray {
			if _, err := d.ReadToken(); err != nil {
				return lines.fault(name, d, err)
			}
			inArray = true
			lines.reached(d.InputOffset())
			continue
		}
		if kind == ']' && inArray {
			if _, err := d.ReadToken(); err != nil {
				return lines.fault(name, d, err)
			}
			inArray = false
			lines.reached(d.InputOffset())
			continue
		}
		record, err := d.ReadValue()
		if err == io.EOF && !inArray { //nolint:errorlint // the decoder returns it bare, and wraps the others
			return nil
		}
		if err != nil {
			return lines.fault(name, d, err)
		}
		line := lines.at(d.InputOffset() - int64(len(record)))
		if record[0] != '{' {
			return &InputError{Name: name, Line: line, Msg: "a record is a JSON object, and this is none"}
		}
		if err := f(record); err != nil {
			var in *InputError
			if errors.As(err, &in) {
				in.Name, in.Line = name, line
			}
			return err
		}
		lines.reached(d.InputOffset())
	}
}

var errRecordTooLong = errors.New("over the limit of a record")

// lineCounter counts lines of what is read through it, and refuses to read more
// than a record may have beyond what has been dealt with.
type lineCounter struct {
	r     io.Reader
	read  int64
	done  int64   // offset up to which all has been dealt with
	lines int     // ended before done
	ends  []int64 // offsets of line ends from done on
	cause error   // of the reader
}

func (l *lineCounter) Read(p []byte) (int, error) {
	if l.read-l.done > MaxRecord {
		return 0, errRecordTooLong
	}
	n, err := l.r.Read(p)
	for i := 0; i < n; i++ {
		j := bytes.IndexByte(p[i:n], '\n')
		if j < 0 {
			break
		}
		i += j
		l.ends = append(l.ends, l.read+int64(i))
	}
	l.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		l.cause = err
	}
	return n, err
}

// at returns the number of the line that the offset stands in.
func (l *lineCounter) at(offset int64) int {
	n := l.lines + 1
	for _, end := range l.ends {
		if end >= offset {
			break
		}
		n++
	}
	return n
}

// reached says that all before the offset has been dealt with.
func (l *lineCounter) reached(offset int64) {
	l.done = offset
	n := 0
	for n < len(l.ends) && l.ends[n] < offset {
		n++
	}
	l.lines += n
	l.ends = l.ends[:copy(l.ends, l.ends[n:])]
}

// fault says what a reading failed with. The decoder's own words are not used:
// they hold names of members and characters of the text.
func (l *lineCounter) fault(name string, d *jsontext.Decoder, err error) error {
	var syntax *jsontext.SyntacticError
	// Where the record begins, or what was to be one.
	rest := d.UnreadBuffer()
	begin := d.InputOffset() + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n,")))
	switch {
	case errors.Is(err, errRecordTooLong):
		return &InputError{Name: name, Line: l.at(begin), Msg: fmt.Sprintf("a record has more than %d MiB", MaxRecord>>20)}
	case errors.Is(l.cause, codec.ErrCorrupt):
		return &InputError{Name: name, Msg: "the gzip data is damaged or cut off; make the sample again"}
	case l.cause != nil:
		return &InputError{Name: name, Line: l.at(begin), Msg: "reading failed", Err: l.cause}
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &InputError{Name: name, Line: l.at(l.read), Msg: "the file ends inside a record"}
	case errors.As(err, &syntax):
		return &InputError{Name: name, Line: l.at(syntax.ByteOffset), Msg: "no JSON; a sample is one object a line, or an array of objects"}
	}
	return &InputError{Name: name, Line: l.at(begin), Msg: "cannot be read as JSON"}
}
