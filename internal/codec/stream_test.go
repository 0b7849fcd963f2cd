package codec

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestStreamIsDecodedAsItComes(t *testing.T) {
	for _, e := range append(compressed, Identity) {
		pr, pw := io.Pipe()
		in, err := e.NewReader(pr)
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.NewWriter(pw)
		if err != nil {
			t.Fatal(err)
		}
		lines := make(chan string)
		go func() {
			for line := range lines {
				_, _ = io.WriteString(out, line)
				_ = out.Flush()
			}
			_ = out.Close()
			_ = pw.Close()
		}()
		for _, line := range []string{"first\n", sample, strings.Repeat("a longer line ", 9000)} {
			lines <- line
			got := make([]byte, len(line))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != line { // would hang if it waited for more
				t.Fatalf("%v: %v", e, err)
			}
		}
		close(lines)
		if n, err := in.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%v: at the end: %d, %v", e, n, err)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	errBelow := errors.New("below")
	for _, e := range compressed {
		whole := mustEncode(t, e, sample)
		for _, tt := range []struct {
			name string
			r    io.Reader
			want error
		}{
			{"one byte at a time", iotest.OneByteReader(bytes.NewReader(whole)), nil},
			{"data with its end", iotest.DataErrReader(bytes.NewReader(whole)), nil},
			{"cut off", bytes.NewReader(whole[:len(whole)-1]), ErrCorrupt},
			{"nothing", strings.NewReader(""), ErrCorrupt},
			{"an error below", io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), iotest.ErrReader(errBelow)), errBelow},
			{"an error below at once", iotest.ErrReader(errBelow), errBelow},
			{"an error below after the end", io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(errBelow)), errBelow},
			{"more after the end", io.MultiReader(bytes.NewReader(whole), strings.NewReader("x")), ErrCorrupt},
		} {
			r, err := e.NewReader(tt.r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, tt.want) || tt.want == nil && string(got) != sample {
				t.Errorf("%v, %s: %q, %v, want %v", e, tt.name, got, err, tt.want)
			}
			if _, again := r.Read(make([]byte, 1)); tt.want != nil && !errors.Is(again, tt.want) {
				t.Errorf("%v, %s: read again: %v", e, tt.name, again)
			}
			_ = r.Close()
			_ = r.Close() // must not put it into the pool twice
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%v: read after Close: %v", e, err)
			}
		}
	}
}

// A transport may close a body while it reads it.
func TestCloseDuringRead(t *testing.T) {
	for _, e := range compressed {
		pr, pw := io.Pipe()
		r, err := e.NewReader(pr)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := io.ReadAll(r)
			done <- err
		}()
		_, _ = pw.Write(mustEncode(t, e, sample)[:5]) // returns when the reader has it and waits
		_ = r.Close()
		_ = pw.CloseWithError(io.ErrUnexpectedEOF)
		if err := <-done; err == nil {
			t.Errorf("%v: a closed reader read to the end", e)
		}
		if got, err := e.Decode(nil, mustEncode(t, e, sample), 1000); err != nil || string(got) != sample {
			t.Errorf("%v: after that: %q, %v", e, got, err)
		}
	}
}

func TestWriterAfterClose(t *testing.T) {
	for _, e := range compressed {
		w, err := e.NewWriter(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Close(); err != nil {
				t.Errorf("%v: %v", e, err)
			}
		}
		if _, err := w.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v: write after Close: %v", e, err)
		}
		if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v: flush after Close: %v", e, err)
		}
	}
}
