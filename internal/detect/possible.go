package detect

import (
	"encoding/binary"
	"math/bits"
)

// The shortest match, such as a@b.cn or 2000::, and the shortest of those with
// but one digit, such as a bare MAC address.
const (
	shortest  = 6
	oneDigits = 12
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Possible is the cheap test that comes before Append: it is false only where
// Append could find nothing. It reads eight bytes at a time.
//
// What Append finds has four digits, an at sign (or the '%' of an escaped one),
// two colons, or a digit among twelve bytes or more.
func Possible(text []byte) bool {
	n := len(text)
	if n < shortest {
		return false
	}
	enough := 4
	if n >= oneDigits {
		enough = 1
	}
	digits, colons := 0, 0
	var leads uint64
	rest := text
	for len(rest) > 0 {
		var w uint64
		if len(rest) >= 8 {
			w = binary.LittleEndian.Uint64(rest)
			rest = rest[8:]
		} else {
			var last [8]byte
			copy(last[:], rest)
			w = binary.LittleEndian.Uint64(last[:])
			rest = nil
		}
		// Adding 0x80-c to a byte below 0x80 sets its high bit if it is c or more.
		low, ascii := w&^highs, ^w&highs
		fromColon := low + (0x80-':')*ones
		digits += bits.OnesCount64((low + (0x80-'0')*ones) &^ fromColon & ascii)
		colons += bits.OnesCount64(fromColon &^ (low + (0x80-';')*ones) & ascii)
		if digits >= enough || colons >= 2 || equal(w, '@')|equal(w, '%') != 0 {
			return true
		}
		leads |= equal(w, wideLead)
	}
	return leads != 0 && hasWide(text)
}

// equal is not zero if a byte of w is c.
func equal(w, c uint64) uint64 {
	x := w ^ c*ones
	return (x - ones) &^ x & highs
}

// hasWide reports whether there is a full-width digit. A lead of one begins
// Chinese punctuation, too.
func hasWide(text []byte) bool {
	for i := 0; i+2 < len(text); i++ {
		if text[i] == wideLead && text[i+1] == 0xBC && text[i+2]-0x90 <= 9 {
			return true
		}
	}
	return false
}
