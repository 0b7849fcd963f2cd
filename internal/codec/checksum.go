package codec

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"unicode/utf8"
)

// JavaHash returns what String.hashCode of Java returns for the UTF-8 text s:
// a polynomial over its UTF-16 units. The Android SDK of Sensors Analytics
// sends that of its base64 text as "crc". Bytes that are not UTF-8 count as
// U+FFFD each.
func JavaHash(s []byte) int32 {
	var h uint32 // wraps as Java's int does
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		s = s[n:]
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + uint32(0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + uint32(r)
	}
	return int32(h)
}

// AmplitudeChecksum returns the "checksum" of Amplitude's legacy upload: the
// MD5, in lower-case hexadecimal, of the form's v, api key, e and upload_time
// one after the other, each as it is before percent-encoding.
func AmplitudeChecksum(v, apiKey, e, uploadTime string) string {
	sum := md5.New() // the receiver's choice; nothing here depends on its strength
	for _, s := range [...]string{v, apiKey, e, uploadTime} {
		_, _ = io.WriteString(sum, s)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
