package consent

import (
	"strings"
	"unicode"
)

// placeholder reports whether an id is one that stands for "no id", or that
// many devices share. Letter case and separators do not count, so that every
// spelling of a zero UUID, a masked MAC address or a braced id is found.
func placeholder(id string) bool {
	id = strings.TrimFunc(id, unicode.IsSpace)
	if len(id) > 1 && id[0] == '0' && id[1]|0x20 == 'x' {
		id = id[2:]
	}
	var compact [64]byte
	n, zeros, effs := 0, true, true
	for i := range len(id) {
		c := id[i]
		switch c {
		case '-', ':', '.', '_', ' ', '\t', '{', '}', '(', ')', '[', ']', '<', '>', '/', '"', '\'':
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		zeros = zeros && c == '0'
		effs = effs && c == 'f'
		if n < len(compact) {
			compact[n] = c
		}
		n++
	}
	if zeros { // or nothing but separators
		return true
	}
	if effs && n >= 8 { // ff:ff:ff:ff:ff:ff, the UUID of all ones
		return true
	}
	if n > len(compact) {
		return false
	}
	_, ok := placeholders[string(compact[:n])]
	return ok
}

// placeholders are in lower case, without separators.
var placeholders = func() map[string]struct{} {
	m := make(map[string]struct{})
	for _, s := range []string{
		// What programs print for nothing.
		"null", "nil", "none", "undefined", "unknown", "nan", "na", "empty", "false", "true",
		"anonymous", "guest", "objectobject",
		// Android 2.2's ANDROID_ID, the same on every affected phone, and what
		// emulators and unset factory data answer.
		"9774d56d682e549c", "0123456789abcdef", "1234567890abcdef",
		// The address that Android and iOS give instead of the hardware's.
		"020000000000",
		// IMEIs of factory defaults and clones.
		"004999010640000", "123456789012345", "012345678912345", "111111111111111",
		// A hash of nothing is nothing: MD5, SHA-1 and SHA-256 of no bytes, MD5
		// and SHA-1 of the zero UUID, of fifteen zeros, of 02:00:00:00:00:00
		// with and without colons, and of Android 2.2's ANDROID_ID.
		"d41d8cd98f00b204e9800998ecf8427e",
		"da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"9f89c84a559f573636a47ff8daed0d33", "b602d594afd2b0b327e07a06f36ca6a7e42546d0",
		"5284047f4ffb4e04824a2fd1d1f0cd62", "c02c705e98588f724ca046ac59cafece65501e36",
		"0f607264fc6318a92b9e13c65db7cd3c", "c1976429369bfe063ed8b3409db7c7e7d87196d9",
		"e3f5536a141811db40efd6400f1d0a4e", "6024a02ea5577bcb6442a70d0bfa791935839db3",
		"cf95dc53f383f9a836fd749f3ef439cd", "41e29575c7361b2924f701502ca6d932b45b9e51",
	} {
		m[s] = struct{}{}
	}
	return m
}()
