package codec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// LineReader reads lines, one at a time, in memory for one of them.
type LineReader struct {
	r     *bufio.Reader
	limit int
	line  []byte
	err   error
}

// NewLineReader returns a reader of the lines of r, of at most limit bytes each
// without their line ends.
func NewLineReader(r io.Reader, limit int) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 32<<10), limit: max(limit, 0)}
}

// Next returns the next line as it stands, with its line end: LF or CRLF, or
// nothing after the last. Blank lines count. The line is good until Next is
// called again, and the caller may write to it. After the last line the error
// is io.EOF, over the limit ErrTooLarge; a line comes without an error, and
// what was read of a line before an error of the underlying reader does not
// come at all. Errors stay.
func (l *LineReader) Next() (line []byte, err error) {
	if l.err != nil {
		return nil, l.err
	}
	l.line = l.line[:0]
	for {
		piece, err := l.r.ReadSlice('\n')
		// Two more than the limit, since they may be the line end.
		if len(l.line)+len(piece)-len("\r\n") > l.limit {
			return nil, l.fail(ErrTooLarge)
		}
		l.line = append(l.line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			l.err = io.EOF
			if len(l.line) == 0 {
				return nil, l.err
			}
		case err != nil:
			return nil, l.fail(err)
		}
		if len(l.line)-len(LineEnd(l.line)) > l.limit {
			return nil, l.fail(ErrTooLarge)
		}
		return l.line, nil
	}
}

// Ready reports whether Next would return without reading: a whole line has
// come already, or the end has.
func (l *LineReader) Ready() bool {
	if l.err != nil {
		return true
	}
	n := l.r.Buffered()
	if n == 0 {
		return false
	}
	piece, _ := l.r.Peek(n)
	return bytes.IndexByte(piece, '\n') >= 0
}

func (l *LineReader) fail(err error) error {
	l.err, l.line = err, nil
	return err
}

// LineEnd returns the LF or CRLF at the end of line, or nothing.
func LineEnd(line []byte) []byte {
	n := len(line)
	switch {
	case n == 0 || line[n-1] != '\n':
		return nil
	case n > 1 && line[n-2] == '\r':
		return line[n-2:]
	}
	return line[n-1:]
}
