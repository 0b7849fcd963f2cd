package attack

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// kind is what a value looks like.
type kind uint8

const (
	token  kind = iota // letters that mean nothing
	imei               // 3GPP TS 23.003
	meid               // 3GPP2 S.R0048
	iccid              // ITU-T E.118
	imsi               // ITU-T E.212
	mac                // IEEE 802
	phone              // a Chinese mobile number
	idCard             // GB 11643
	card               // ISO/IEC 7812
	email              // RFC 5321
	ipv4               // RFC 791
	ipv6               // RFC 4291
	latlng             // two degrees with a comma
	degree             // one of the two
	guid               // RFC 9562
	hex16
	hex32

	kinds = iota
)

var kindNames = [kinds]string{
	"token", "imei", "meid", "iccid", "imsi", "mac", "phone", "id_card", "card", "email", "ipv4", "ipv6",
	"latlng", "degree", "uuid", "hex16", "hex32",
}

func (k kind) String() string { return kindNames[k] }

// digits reports whether values of the kind are decimal numbers, such as
// clients also send as JSON numbers.
func (k kind) digits() bool { return k == imei || k == imsi || k == phone || k == card }

// make returns a value of the kind. Values are long enough that no two cases
// share one by chance.
func (k kind) make(r *rand.Rand) string {
	switch k {
	case imei:
		return luhn("86" + digits(r, 12))
	case meid:
		return "A0000" + string("0123456789"[r.IntN(10)]) + pick(r, "ABCDEF", 4) + digits(r, 4)
	case iccid:
		return "8986" + digits(r, 16)
	case imsi:
		return "46000" + digits(r, 10)
	case mac:
		b := make([]string, 6)
		for i := range b {
			b[i] = fmt.Sprintf("%02x", r.IntN(256))
		}
		b[0] = fmt.Sprintf("%02x", 0xa0|r.IntN(4)<<2)
		return strings.Join(b, ":")
	case phone:
		return "13" + digits(r, 9)
	case idCard:
		return resident("11010119" + strconv.Itoa(60+r.IntN(39)) + fmt.Sprintf("%02d%02d", 1+r.IntN(12), 1+r.IntN(28)) + digits(r, 3))
	case card:
		return luhn("622202" + digits(r, 12))
	case email:
		return pick(r, "bcdfghjkmnpqrstvwz", 10) + "@example.com"
	case ipv4:
		return fmt.Sprintf("%d.%d.%d.%d", 100+r.IntN(100), 100+r.IntN(150), 100+r.IntN(150), 100+r.IntN(150))
	case ipv6:
		return "2408:" + strings.Join([]string{hex4(r), hex4(r), hex4(r), hex4(r), hex4(r), hex4(r), hex4(r)}, ":")
	case latlng:
		return degree.make(r) + "," + "12" + string("0123456789"[r.IntN(10)]) + "." + digits(r, 8) + "1"
	case degree:
		return "3" + string("123456789"[r.IntN(9)]) + "." + digits(r, 8) + "1"
	case guid:
		s := pick(r, "0123456789abcdef", 32)
		return s[:8] + "-" + s[8:12] + "-4" + s[13:16] + "-a" + s[17:20] + "-" + s[20:]
	case hex16:
		return "a1" + pick(r, "0123456789abcdef", 14)
	case hex32:
		return "a1" + pick(r, "0123456789abcdef", 30)
	}
	return "zq" + pick(r, "bcdfghjkmnpqrstvwxz", 12)
}

// needles are what a search for the value looks for, as Normal writes it: any
// of them found is the value found.
func (k kind) needles(value string) []string {
	switch k {
	case email:
		value, _, _ = strings.Cut(value, "@")
	case latlng:
		lat, lon, _ := strings.Cut(value, ",")
		return []string{normal(lat), normal(lon)}
	}
	return []string{normal(value)}
}

func normal(s string) string { return string(Normal(nil, []byte(s))) }

func digits(r *rand.Rand, n int) string { return pick(r, "0123456789", n) }

func hex4(r *rand.Rand) string { return fmt.Sprintf("%x", 0x1000+r.IntN(0xf000)) }

func pick(r *rand.Rand, from string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[r.IntN(len(from))]
	}
	return string(b)
}

// luhn appends the check digit of ISO/IEC 7812.
func luhn(s string) string {
	sum := 0
	for i := range s {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return s + strconv.Itoa((10-sum%10)%10)
}

// resident appends the check character of GB 11643.
func resident(s string) string {
	sum := 0
	for i, w := range [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += w * int(s[i]-'0')
	}
	return s + string("10X98765432"[sum%11])
}
