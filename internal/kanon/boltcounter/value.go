package boltcounter

import (
	"encoding/binary"
	"iter"

	"github.com/consentgate/consentgate/internal/kanon"
)

// seenSize is how long one subject of a value is: time and digest.
const seenSize = 16

// valueSize is how long the value of a combination with n subjects is.
func valueSize(n int) int { return 8 + n*seenSize }

func appendSeen(v []byte, at uint64, m kanon.Member) []byte {
	return append(binary.BigEndian.AppendUint64(v, at), m[:]...)
}

// subjects yields when each subject of a value was last seen, newest first.
// Rests that are no subject, of a damaged value, are nobody.
func subjects(v []byte) iter.Seq2[uint64, kanon.Member] {
	return func(yield func(uint64, kanon.Member) bool) {
		if len(v) < valueSize(0) {
			return
		}
		for v = v[8:]; len(v) >= seenSize; v = v[seenSize:] {
			if !yield(binary.BigEndian.Uint64(v), kanon.Member(v[8:seenSize])) {
				return
			}
		}
	}
}

// number reads the number at the start of b; where there is none it is 0.
func number(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func expiryKey(expires uint64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(key)), expires), key...)
}
