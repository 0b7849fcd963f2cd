package codec

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func readLines(r io.Reader, limit int) (lines []string, err error) {
	for l := NewLineReader(r, limit); ; {
		line, err := l.Next()
		if err != nil {
			if again, same := l.Next(); again != nil || !errors.Is(same, err) {
				return nil, errors.New("an error that does not stay")
			}
			return lines, err
		}
		lines = append(lines, string(line))
	}
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 100_000) // longer than any buffer
	for _, tt := range []struct {
		name, in string
		limit    int
		want     []string
		err      error
	}{
		{"nothing", "", 9, nil, io.EOF},
		{"one", "{}\n", 9, []string{"{}\n"}, io.EOF},
		{"no line end", "{}", 9, []string{"{}"}, io.EOF},
		{"both kinds", "1\r\n2\n3", 9, []string{"1\r\n", "2\n", "3"}, io.EOF},
		{"blank lines", "\n1\n\r\n\n", 9, []string{"\n", "1\n", "\r\n", "\n"}, io.EOF},
		{"a CR alone ends nothing", "1\r2\n3\r", 9, []string{"1\r2\n", "3\r"}, io.EOF},
		{"long", long + "\r\n" + long, len(long), []string{long + "\r\n", long}, io.EOF},
		{"at the limit", "123\n123\r\n123", 3, []string{"123\n", "123\r\n", "123"}, io.EOF},
		{"over the limit", "123\n1234\n1\n", 3, []string{"123\n"}, ErrTooLarge},
		{"over the limit by a CR that ends nothing", "123\r", 3, nil, ErrTooLarge},
		{"over the limit by two at the end", "12345", 3, nil, ErrTooLarge},
		{"long over the limit", "1\n" + long, len(long) - 1, []string{"1\n"}, ErrTooLarge},
		{"no limit", long, math.MaxInt, []string{long}, io.EOF},
		{"a limit of nothing", "\n\n1", 0, []string{"\n", "\n"}, ErrTooLarge},
	} {
		for _, r := range []io.Reader{
			strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)),
			iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			if got, err := readLines(r, tt.limit); !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s: %.60q, %v, want %.60q, %v", tt.name, got, err, tt.want, tt.err)
			}
		}
	}
	// Half a line before an error could be half a record.
	errBelow := errors.New("below")
	got, err := readLines(io.MultiReader(strings.NewReader("1\n2"), iotest.ErrReader(errBelow)), 9)
	if !slices.Equal(got, []string{"1\n"}) || !errors.Is(err, errBelow) {
		t.Errorf("an error below: %q, %v", got, err)
	}
}

// endless is one line that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestLineReaderMemory(t *testing.T) {
	const limit = 1 << 20
	var before, after runtime.MemStats
	e := &endless{}
	runtime.ReadMemStats(&before)
	_, err := NewLineReader(e, limit).Next()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrTooLarge) || e.read > limit+64<<10 {
		t.Errorf("%v after %d bytes", err, e.read)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 6*limit {
		t.Errorf("allocated %d bytes for a limit of %d", used, limit)
	}
}

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("1\r\n2\n\n3"), 3)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit %= 1 << 16
		got, err := readLines(bytes.NewReader(in), limit)
		if whole := strings.Join(got, ""); errors.Is(err, io.EOF) && whole != string(in) || !strings.HasPrefix(string(in), whole) {
			t.Fatalf("%q became %q", in, got)
		}
		for i, line := range got {
			bare := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if strings.Contains(bare, "\n") || i < len(got)-1 && !strings.HasSuffix(line, "\n") || len(line)-len(LineEnd([]byte(line))) > max(limit, 0) {
				t.Fatalf("line %d of %q, limit %d", i, got, limit)
			}
		}
	})
}
