package codec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window, in bytes. RFC 9659 asks receivers for
// no more.
const maxWindow = 8 << 20

// maxEmptyReads is how many reads in a row may bring nothing.
const maxEmptyReads = 100

// decoder reads one encoded stream to its end and to the end of what is below
// it. It is used again for the next.
type decoder struct {
	e     Encoding
	bytes bytes.Reader // what Decode reads from
	from  source
	in    *bufio.Reader
	err   error

	out   io.Reader // one of these, nil before the first byte
	gzip  gzip.Reader
	zlib  io.ReadCloser
	flate io.ReadCloser
	zstd  *zstd.Decoder
	br    *brotli.Reader
}

// source remembers why reading from below ended, since decoders do not tell
// that apart from data that they do not like.
type source struct {
	r    io.Reader
	some bool // there was at least one byte
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.some = s.some || n > 0
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

var decoders [encodings]sync.Pool

// newDecoder returns a decoder that is to be reset.
func newDecoder(e Encoding) (*decoder, error) {
	if e == Identity || e >= encodings {
		return nil, ErrEncoding
	}
	if d, ok := decoders[e].Get().(*decoder); ok {
		return d, nil
	}
	d := &decoder{e: e}
	d.in = bufio.NewReader(nil)
	if e == Zstd {
		var err error
		d.zstd, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1), // no goroutines: the pool may drop it
			zstd.WithDecoderLowmem(true),
			zstd.WithDecodeBuffersBelow(0), // always as a stream: that shortcut has no limit
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *decoder) reset(r io.Reader) {
	d.from = source{r: r}
	d.in.Reset(&d.from)
	d.out, d.err = nil, nil
}

// release puts d back. What it read from is let go.
func (d *decoder) release() {
	d.bytes.Reset(nil)
	d.from = source{r: &d.bytes}
	d.out, d.err = nil, io.ErrClosedPipe
	decoders[d.e].Put(d)
}

// start makes d.out, reading the header where there is one.
func (d *decoder) start() (err error) {
	switch d.e {
	case Gzip:
		err = d.gzip.Reset(d.in)
		d.out = &d.gzip
	case Deflate, RawDeflate:
		head, _ := d.in.Peek(2) // its error comes again with the next read
		switch {
		case d.e == RawDeflate || !zlibHeader(head):
			d.out, err = resetFlate(&d.flate, d.in)
		default:
			d.out, err = resetZlib(&d.zlib, d.in)
		}
	case Zstd:
		err = d.zstd.Reset(d.in)
		d.out = d.zstd
	case Brotli:
		if d.br == nil {
			d.br = new(brotli.Reader)
		}
		err = d.br.Reset(d.in)
		d.out = d.br
	}
	return err
}

func resetFlate(r *io.ReadCloser, in io.Reader) (io.Reader, error) {
	if *r == nil {
		*r = flate.NewReader(in)
		return *r, nil
	}
	return *r, (*r).(flate.Resetter).Reset(in, nil)
}

func resetZlib(r *io.ReadCloser, in io.Reader) (io.Reader, error) {
	if *r == nil {
		made, err := zlib.NewReader(in)
		if err != nil {
			return nil, err
		}
		*r = made
		return made, nil
	}
	return *r, (*r).(zlib.Resetter).Reset(in, nil)
}

// Read reads decoded bytes. Its error is io.EOF, ErrCorrupt or what reading
// from below failed with.
func (d *decoder) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.out == nil {
		err = d.start()
	}
	if err == nil {
		// Brotli brings nothing once, before it knows that this is the end.
		for tries := 0; n == 0 && err == nil && len(p) > 0; tries++ {
			if n, err = d.out.Read(p); tries == maxEmptyReads {
				err = io.ErrNoProgress
			}
		}
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		d.err = d.judge(err)
	}
	return n, d.err
}

// judge says what it means that the decoder ended with err.
func (d *decoder) judge(err error) error {
	if errors.Is(err, io.EOF) && d.from.some {
		if _, err = d.in.ReadByte(); errors.Is(err, io.EOF) {
			return io.EOF
		}
	}
	if d.from.err != nil {
		return d.from.err
	}
	return ErrCorrupt
}

// NewReader returns a reader of the decoded form of r, for streams: what r has
// brought is decoded without waiting for more. It stops with the errors of
// Decode, but for ErrTooLarge: the caller bounds what is read. Errors of r come
// through. Close does not close r, and may be called during a Read.
func (e Encoding) NewReader(r io.Reader) (io.ReadCloser, error) {
	if e == Identity {
		return io.NopCloser(r), nil
	}
	d, err := newDecoder(e)
	if err != nil {
		return nil, err
	}
	d.reset(r)
	return &reader{d: d}, nil
}

// reader hands its decoder back on Close, once, and not while a Read is under
// way: the next one to get it would read another's data.
type reader struct {
	mu     sync.Mutex // held during Read
	d      *decoder
	closed atomic.Bool
}

func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return r.d.Read(p)
}

func (r *reader) Close() error {
	if !r.closed.Swap(true) && r.mu.TryLock() {
		r.d.release()
		r.d = nil
		r.mu.Unlock()
	}
	return nil
}
