package payload

import (
	"unicode"
	"unicode/utf8"
)

// Fold returns the form in which keys are compared: Unicode simple case
// folding, then without '_', '-', '.', space and control characters, and without
// any run of leading '$', '@' and '#'. "device_IMEI", "Device-Imei" and "$deviceImei" all fold to
// "deviceimei". What folds to nothing matches nothing.
func Fold(key string) string { return string(appendFold(nil, []byte(key))) }

// What foldASCII says of a byte that is not simply kept.
const (
	foldSkip  = 0    // a separator
	foldSigil = 1    // skipped where nothing stands before it
	foldRune  = 0xff // the first byte of a longer rune
)

var foldASCII = func() (t [256]byte) {
	for b := range t {
		switch {
		case b >= utf8.RuneSelf:
			t[b] = foldRune
		case b >= 'A' && b <= 'Z':
			t[b] = byte(b) + 'a' - 'A'
		case b < ' ' || b == 0x7f:
			// No policy can name a control character, and some receivers do
			// not see one.
			t[b] = foldSkip
		default:
			t[b] = byte(b)
		}
	}
	for _, b := range "_-. " {
		t[b] = foldSkip
	}
	for _, b := range "$@#" {
		t[b] = foldSigil
	}
	return t
}()

// appendFold appends the folded form of key to dst, which must be empty.
func appendFold(dst, key []byte) []byte {
	for i := 0; i < len(key); {
		switch c := foldASCII[key[i]]; c {
		case foldSkip:
			i++
		case foldSigil:
			if len(dst) > 0 {
				dst = append(dst, key[i])
			}
			i++
		case foldRune:
			r, n := utf8.DecodeRune(key[i:])
			if r != utf8.RuneError { // what stands for bytes that are none: some leave it out
				dst = utf8.AppendRune(dst, foldedRune(r))
			}
			i += n
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// foldedRune returns the one rune that stands for all the runes that r is equal
// to under simple case folding: the least of them, in lower case where that is
// an ASCII letter. So the Kelvin sign folds to 'k' and the long s to 's'.
func foldedRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
