// Package detect finds personal data by what it looks like: what keys do not
// name, values may betray.
//
// It reads one text, or one number, and says where in it something stands that
// may be an IMEI, a phone number, an address and so on. All detectors share one
// pass. docs/detectors.md says what each of them looks for and how often it is
// wrong.
//
// The package must never know of keys, documents, policies or people: only
// what a value says by itself counts here. It keeps nothing of what it reads.
package detect

// Kind is what a value may be.
type Kind uint8

// The kinds. Those from IDFA on are mere shapes, without a check digit or a
// telling prefix.
const (
	IMEI      Kind = iota // 3GPP TS 23.003 section 6: a mobile device
	MEID                  // 3GPP2 S.R0048: a CDMA device, in hexadecimal
	ICCID                 // ITU-T E.118: a SIM card
	IMSI                  // ITU-T E.212: a subscriber of a Chinese network
	MAC                   // IEEE 802: a network interface (EUI-48)
	Phone                 // a Chinese mobile number, or an international one with a '+' (ITU-T E.164)
	IDCard                // GB 11643: a resident identity number of China
	Card                  // ISO/IEC 7812: a bank card
	Email                 // RFC 5321, with an ASCII local part and domain
	IPv4                  // dotted quad
	IPv6                  // RFC 4291 section 2.2, RFC 5952
	LatLng                // a coordinate pair in degrees (WGS 84), RFC 5870, ISO 6709
	IDFA                  // a UUID
	OAID                  // 32 or 64 hexadecimal digits, or a UUID
	AndroidID             // 16 hexadecimal digits
	UUID                  // RFC 9562
	Hex16                 // 16 hexadecimal digits
	Hex32                 // 32 hexadecimal digits

	kinds = iota
)

// The names of the rule language.
var names = [kinds]string{
	"imei", "meid", "iccid", "imsi", "mac", "phone", "id_card", "card", "email", "ipv4", "ipv6",
	"latlng", "idfa", "oaid", "android_id", "uuid", "hex16", "hex32",
}

// ByName returns the kind that the rule language calls name, such as id_card.
func ByName(name string) (Kind, bool) {
	for k, n := range names {
		if n == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// String returns the kind's name in the rule language.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return names[k]
}

// Set is a set of kinds, a bit for each. The zero Set is empty.
type Set uint32

// Has reports whether k is in the set.
func (s Set) Has(k Kind) bool { return s>>k&1 != 0 }

// With returns the set with k in it.
func (s Set) With(k Kind) Set { return s | 1<<k }

// Those that are made of digits alone, or of digits and an X.
const decimals Set = 1<<IMEI | 1<<ICCID | 1<<IMSI | 1<<Phone | 1<<IDCard | 1<<Card

// Those that people also write with full-width digits.
const wides Set = 1<<Phone | 1<<IDCard | 1<<Card

// Match is a span of a text, in bytes, and all kinds that it may be. What
// overlaps is one match that has the kinds of all: 13800138000@163.com is an
// e-mail address and a phone number.
type Match struct {
	Start, End int
	Kinds      Set
}

// Append appends what stands in text and is of a wanted kind, in ascending
// order and without overlaps. text is valid UTF-8. It takes time linear in the
// text's length and allocates only to extend dst.
func Append(dst []Match, text []byte, want Set) []Match {
	if want == 0 || len(text) < shortest {
		return dst
	}
	s := scanner{text: text, want: want, dst: dst, own: len(dst), lastEnd: -2}
	s.run()
	return s.dst
}
