// Package codec knows what is around JSON and inside it: content encodings,
// base64, multipart forms, lines, and the checksums that some clients put
// beside their payloads.
//
// Everything here is a function of bytes. What a receiver would read must be
// what is read here, so each parser is either as lenient as real receivers are
// (base64) or refuses whatever two receivers could read differently
// (multipart). What is read is bounded before it is allocated. No error quotes
// the input.
//
// What a decoder skips (the name and the comment in a gzip header, skippable
// zstd frames, brotli metadata, a multipart preamble) is nowhere in what it
// returns, and it can carry anything. So the form that came in is never to be
// sent on in the place of what was read from it: encode anew.
//
// The package must never know what personal data is, who is concerned, or
// HTTP beyond the fields that it is given.
package codec

import "errors"

// The errors of this package, to be told apart with errors.Is. None of them
// repeats a byte of the input.
var (
	// ErrEncoding is a Content-Encoding that is not known here, or several on
	// top of each other.
	ErrEncoding = errors.New("unknown or stacked content encoding")
	// ErrTooLarge is decoded data, or a line, over the caller's limit.
	ErrTooLarge = errors.New("decoded data is over the limit")
	// ErrCorrupt is encoded data that is damaged, cut off, or followed by
	// something else.
	ErrCorrupt = errors.New("encoded data is damaged, cut off or followed by something else")
	// ErrBase64 is text that is not base64 to its end.
	ErrBase64 = errors.New("not base64 to the end")
	// ErrMultipart is a multipart body that two receivers could read
	// differently, or that is over the bounds.
	ErrMultipart = errors.New("malformed or ambiguous multipart body")
)
