package detect

// reporting tells the first two digits of an IMEI: the body that allotted its
// type (GSMA TS.06). 99 is of those that are a MEID as well, 00 of test
// devices. Those that have long ceased are in it, since their devices have not.
var reporting = func() (t [100]bool) {
	for _, b := range []int{0, 1, 10, 30, 31, 32, 33, 35, 44, 45, 49, 50, 51, 52, 53, 54, 86, 91, 98, 99} {
		t[b] = true
	}
	return t
}()

// isIMEI looks at 15 digits whose last one checks. Small numbers that zeros
// fill up are none: no test device has four of them.
func isIMEI(d []byte) bool {
	return reporting[10*d[0]+d[1]] && value(d[:4]) != 0
}

// isIMEISV looks at 16 digits: an IMEI whose check digit gave way to two
// digits of a software version. Nothing checks them, so only the two bodies
// count that allot nearly all types.
func isIMEISV(d []byte) bool {
	body := 10*d[0] + d[1]
	return (body == 35 || body == 86) && !same(d[2:])
}

// isIMSI looks at 15 digits: mobile country 460 with an operator of China
// (ITU-T E.212: 00 to 11, 15, 20), or the test network 001 01.
func isIMSI(d []byte) bool {
	const operators = 1<<12 - 1 | 1<<15 | 1<<20
	switch value(d[:3]) {
	case 460:
		return uint64(operators)>>value(d[3:5])&1 != 0
	case 1:
		return value(d[3:5]) == 1
	}
	return false
}

// isICCID looks at 19 or 20 digits: industry 89 and a country code (ITU-T
// E.118). Those of China need not check: operators use the last digit, and
// letters too, as they like.
func isICCID(d []byte, checked bool) bool {
	if d[0] != 8 || d[1] != 9 {
		return false
	}
	return d[2] == 8 && d[3] == 6 || checked && callable(d[2:])
}

// isHexICCID looks at 19 or 20 hexadecimal digits, letters among them: China
// Unicom and its resellers write some digits so.
func isHexICCID(text []byte) bool {
	if string(text[:4]) != "8986" {
		return false
	}
	for _, c := range text[4:10] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// isMEID looks at 14 hexadecimal digits, or 15 whose last one checks, of which
// some are letters and some are not. The first two, A0 to FF, are the body
// that allotted it.
func isMEID(text []byte) bool {
	return text[0] > '9' && (len(text) == 14 || luhn16(text))
}

// luhn16 is luhn to the base 16, 3GPP2 S.R0048 annex B.
func luhn16(text []byte) bool {
	sum := 0
	for i := range text {
		v := hexValue(text[len(text)-1-i])
		if i&1 != 0 {
			v *= 2
			v = v/16 + v%16
		}
		sum += v
	}
	return sum%16 == 0
}

// same reports whether all digits are the same.
func same(d []byte) bool {
	for _, v := range d {
		if v != d[0] {
			return false
		}
	}
	return true
}

// value returns the number that digits write, at most 18 of them.
func value(d []byte) int {
	n := 0
	for _, v := range d {
		n = 10*n + int(v)
	}
	return n
}
