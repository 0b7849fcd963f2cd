package codec

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// WriteFlusher writes an encoded stream. Flush brings all that was written to
// where a reader can decode it; Close ends the stream and not what is below.
type WriteFlusher interface {
	io.WriteCloser
	Flush() error
}

// compressor is what all the libraries' writers are.
type compressor interface {
	WriteFlusher
	Reset(io.Writer)
}

// encoder writes one encoded stream, and is used again for the next.
type encoder struct {
	e Encoding
	compressor
	to appender // what encode writes to
}

// brotliLevel is the highest at which brotli is about as fast as the others are
// at their defaults. It compresses no worse than they do.
const brotliLevel = 1

var encoders [encodings]sync.Pool

// newEncoder returns an encoder that is to be reset.
func newEncoder(e Encoding) (*encoder, error) {
	if e == Identity || e >= encodings {
		return nil, ErrEncoding
	}
	if c, ok := encoders[e].Get().(*encoder); ok {
		return c, nil
	}
	c := &encoder{e: e}
	var err error
	switch e {
	case Gzip:
		c.compressor = gzip.NewWriter(io.Discard)
	case Deflate:
		c.compressor = zlib.NewWriter(io.Discard)
	case RawDeflate:
		c.compressor, err = flate.NewWriter(io.Discard, flate.DefaultCompression)
	case Zstd:
		c.compressor, err = zstd.NewWriter(io.Discard,
			zstd.WithEncoderConcurrency(1), // no goroutines: the pool may drop it
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(1<<20))
	case Brotli:
		c.compressor = brotli.NewWriterLevel(io.Discard, brotliLevel)
	}
	return c, err
}

// release puts c back. What it wrote to is let go.
func (c *encoder) release() {
	c.Reset(io.Discard)
	c.to = appender{}
	encoders[c.e].Put(c)
}

func (c *encoder) encode(dst, src []byte) ([]byte, error) {
	defer c.release()
	if z, ok := c.compressor.(*zstd.Encoder); ok {
		return z.EncodeAll(src, dst), nil // says how long the text is, for receivers with little memory
	}
	c.to.b = dst
	c.Reset(&c.to)
	if _, err := c.Write(src); err != nil {
		return dst, err
	}
	if err := c.Close(); err != nil {
		return dst, err
	}
	return c.to.b, nil
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// NewWriter returns a writer whose encoded form goes to w, for streams. It must
// be closed, and not used after that.
func (e Encoding) NewWriter(w io.Writer) (WriteFlusher, error) {
	if e == Identity {
		return plain{w}, nil
	}
	c, err := newEncoder(e)
	if err != nil {
		return nil, err
	}
	c.Reset(w)
	return &writer{c}, nil
}

// writer hands its encoder back on Close, once.
type writer struct{ c *encoder }

func (w *writer) Write(p []byte) (int, error) {
	if w.c == nil {
		return 0, io.ErrClosedPipe
	}
	return w.c.Write(p)
}

func (w *writer) Flush() error {
	if w.c == nil {
		return io.ErrClosedPipe
	}
	return w.c.Flush()
}

func (w *writer) Close() error {
	if w.c == nil {
		return nil
	}
	err := w.c.Close()
	w.c.release()
	w.c = nil
	return err
}

type plain struct{ io.Writer }

func (plain) Flush() error { return nil }
func (plain) Close() error { return nil }
