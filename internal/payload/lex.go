package payload

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// SyntaxError says where a text is not JSON. It quotes nothing of it.
type SyntaxError struct {
	Offset int // bytes from the start
	Msg    string
}

// Trailing reports whether what stands before Offset is a JSON text, and the
// fault is that something follows.
func (e *SyntaxError) Trailing() bool { return e.Msg == trailing }

const trailing = "text after the end of the value"

func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Msg) }

// LimitError says where a document exceeds a limit.
type LimitError struct {
	What   string // "length", "depth", "key", "members" or "decoding"
	Limit  int
	Offset int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("offset %d: more than the %s limit of %d", e.Offset, e.What, e.Limit)
}

func skipSpace(src []byte, i int) int {
	for i < len(src) {
		switch src[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stops marks, with its high bit, the first byte of x that is not plain text of
// a string: a quote, a backslash or a control character. The subtraction
// borrows into the high bit of a byte that is zero (or below the bound); above a
// true mark, and only there, false ones can stand.
func stops(x uint64) uint64 {
	// A byte and what a quote or a backslash makes of it have the same high bit.
	return ((x ^ '"'*ones - ones) | (x ^ '\\'*ones - ones) | (x - ' '*ones)) &^ x & highs
}

// stringEnd returns the offset of the first byte from i on that stops a string.
func stringEnd(src []byte, i int) int {
	for ; i+8 <= len(src); i += 8 {
		if stop := stops(binary.LittleEndian.Uint64(src[i : i+8])); stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return i
}

// stringEndSlow goes on from end, where stringEnd stopped for something other
// than a quote, and returns the offset after the closing quote.
func stringEndSlow(src []byte, end int) (int, error) {
	for {
		var next int
		switch {
		case end >= len(src):
			return 0, &SyntaxError{len(src), "unexpected end in a string"}
		case src[end] == '"':
			return end + 1, nil
		case src[end] != '\\':
			return 0, &SyntaxError{end, "control character in a string"}
		}
		if end+1 >= len(src) {
			return 0, &SyntaxError{len(src), "unexpected end in a string"}
		}
		switch src[end+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			next = end + 2
		case 'u':
			if _, ok := hex4(src, end+2); !ok {
				return 0, &SyntaxError{end, "invalid escape in a string"}
			}
			next = end + 6
		default:
			return 0, &SyntaxError{end, "invalid escape in a string"}
		}
		end = stringEnd(src, next)
	}
}

func hex4(src []byte, i int) (rune, bool) {
	if i+4 > len(src) {
		return 0, false
	}
	var r rune
	for _, c := range src[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// digitsEnd returns the offset of the first byte from i on that is no digit.
func digitsEnd(src []byte, i int) int {
	for ; i+8 <= len(src); i += 8 {
		// Zero to nine become the digits of no high bit, also after 0x76 is
		// added; from ten on, the sum reaches it. No byte carries into the next.
		x := binary.LittleEndian.Uint64(src[i:i+8]) ^ '0'*ones
		if not := ((x&^highs + 0x76*ones) | x) & highs; not != 0 {
			return i + bits.TrailingZeros64(not)>>3
		}
	}
	for i < len(src) && src[i]-'0' <= 9 {
		i++
	}
	return i
}

// numberEnd returns the offset after the number at start.
func numberEnd(src []byte, start int) (int, error) {
	if src[start] == '-' {
		start++
	}
	i := digitsEnd(src, start)
	if i == start {
		return 0, &SyntaxError{i, "invalid number"}
	}
	if src[start] == '0' {
		i = start + 1
	}
	if i < len(src) && src[i] == '.' {
		start = i + 1
		if i = digitsEnd(src, start); i == start {
			return 0, &SyntaxError{i, "invalid number"}
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		start = i
		if i = digitsEnd(src, start); i == start {
			return 0, &SyntaxError{i, "invalid number"}
		}
	}
	return i, nil
}

func literalEnd(src []byte, i int) (int, error) {
	if i+4 <= len(src) {
		switch string(src[i : i+4]) {
		case "true", "null":
			return i + 4, nil
		case "fals":
			if i+4 < len(src) && src[i+4] == 'e' {
				return i + 5, nil
			}
		}
	}
	return 0, &SyntaxError{i, "expected a value"}
}

func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(src)
}
