package deid

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/consentgate/consentgate/internal/payload"
)

var digestDefinition = definition{
	Doc: Doc{
		Name:        "digest",
		Summary:     "Replaces an identifier by its unkeyed hash, in lower case hex digits, as OpenRTB's didmd5 and its like ask for. A hash of an id is that id: everybody who has the id can compute it.",
		Identifying: true,
		Args: []Arg{
			{Name: "algorithm", Type: String, Enum: digestNames, Default: "md5", Summary: "Which hash."},
			{Name: "of", Type: String, Enum: spellingNames(), Summary: "How the identifier is spelled before it is hashed, since both sides must spell it alike. imei: 15 digits. meid: 14 hex digits, android_id: 16, in lower case. idfa, idfv: a UUID in upper case, with hyphens. gaid: a UUID in lower case, with hyphens. mac: 12 hex digits in upper case, without separators. email: in lower case, without white space around it. text and oaid: as it came. What is not of that form is dropped. Default: the last step of the category where that is one of these, else text."},
		},
		Scalar:   "algorithm",
		Examples: []string{"{digest: md5}", "{digest: {algorithm: sha1, of: android_id}}"},
	},
	build: func(v values, env Env) (payload.Transformer, error) {
		of := v.text("of")
		if of == "" {
			of = env.Category[strings.LastIndexByte(env.Category, '.')+1:]
			if _, known := spellings[of]; !known {
				of = "text"
			}
		}
		return digest{v.text("algorithm"), of}, nil
	},
}

var digestNames = []string{"md5", "sha1", "sha256"}

// digestFor returns the algorithm that somebody who wrote name had in mind.
func digestFor(name string) string {
	if slices.Contains(digestNames, name) {
		return name
	}
	return "sha256"
}

// digest is one of the hashes that the ad industry joins by. OpenRTB says only
// "hashed via MD5"; how the id is spelled before is custom (the measurement
// guides of Chinese and international networks), and written down above.
type digest struct{ algorithm, of string }

// maxDigest is longer than any identifier, in bytes.
const maxDigest = 320

func (t digest) Append(dst, text []byte, kind payload.Kind, _ *payload.Params) ([]byte, payload.Kind, bool) {
	if kind != payload.String && kind != payload.Number || len(text) > maxDigest {
		return dst, kind, false
	}
	var room [maxDigest]byte
	canon, ok := spellings[t.of](room[:0], bytes.TrimSpace(text))
	if !ok || noIdentifier(shapeOpaque, bytes.ToLower(canon)) || zeros(canon) {
		return dst, kind, false
	}
	var sum [sha256.Size]byte
	n := 0
	switch t.algorithm {
	case "md5":
		s := md5.Sum(canon)
		n = copy(sum[:], s[:])
	case "sha1":
		s := sha1.Sum(canon)
		n = copy(sum[:], s[:])
	default:
		s := sha256.Sum256(canon)
		n = copy(sum[:], s[:])
	}
	return hex.AppendEncode(dst, sum[:n]), payload.String, true
}

// zeros says whether an identifier is nothing but zeros, however it is spelled.
func zeros(canon []byte) bool { return len(bytes.Trim(canon, "0-")) == 0 }

// spelling appends an identifier to dst as it is spelled before it is hashed.
type spelling func(dst, text []byte) ([]byte, bool)

var spellings = map[string]spelling{
	"imei":       hexDigits(15, "0123456789", false),
	"meid":       hexDigits(14, "0123456789abcdefABCDEF", false),
	"android_id": hexDigits(16, "0123456789abcdefABCDEF", false),
	"mac":        hexDigits(12, "0123456789abcdefABCDEF", true),
	"idfa":       uuid(true),
	"idfv":       uuid(true),
	"gaid":       uuid(false),
	"email": func(dst, text []byte) ([]byte, bool) {
		return append(dst, bytes.ToLower(text)...), bytes.Count(text, []byte{'@'}) == 1
	},
	"oaid": asItCame,
	"text": asItCame,
}

func spellingNames() []string { return sortedKeys(spellings) }

func asItCame(dst, text []byte) ([]byte, bool) { return append(dst, text...), len(text) > 0 }

// hexDigits spells so many digits without what separates them.
func hexDigits(n int, digits string, upper bool) spelling {
	return func(dst, text []byte) ([]byte, bool) {
		for _, c := range text {
			switch {
			case c == ' ' || c == '-' || c == ':' || c == '.':
				continue
			case strings.IndexByte(digits, c) < 0:
				return dst, false
			}
			dst = append(dst, cased(c, upper))
		}
		return dst, len(dst) == n
	}
}

// uuid spells 32 hex digits as 8-4-4-4-12 (RFC 9562).
func uuid(upper bool) spelling {
	plain := hexDigits(32, "0123456789abcdefABCDEF", upper)
	return func(dst, text []byte) ([]byte, bool) {
		var room [32]byte
		digits, ok := plain(room[:0], text)
		if !ok {
			return dst, false
		}
		for i, c := range digits {
			if i == 8 || i == 12 || i == 16 || i == 20 {
				dst = append(dst, '-')
			}
			dst = append(dst, c)
		}
		return dst, true
	}
}

func cased(c byte, upper bool) byte {
	switch {
	case upper && c >= 'a' && c <= 'z':
		return c - 'a' + 'A'
	case !upper && c >= 'A' && c <= 'Z':
		return c - 'A' + 'a'
	}
	return c
}
