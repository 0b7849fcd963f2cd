package detect

// isCard looks at 14 to 19 digits that check: the prefix and length of an
// issuer's scheme (ISO/IEC 7812). Visa's 13 digits are out of use.
func isCard(d []byte) bool {
	n, four := len(d), value(d[:4])
	long := 16 <= n && n <= 19
	switch two := four / 100; {
	case two == 62: // UnionPay
		return long
	case d[0] == 4: // Visa
		return n == 16 || n == 19
	case 51 <= two && two <= 55 || 2221 <= four && four <= 2720: // Mastercard
		return n == 16
	case two == 34 || two == 37: // American Express
		return n == 15
	case 3528 <= four && four <= 3589: // JCB
		return long
	case two == 36 || two == 38 || two == 39 || 3000 <= four && four <= 3059: // Diners Club
		return n == 14 || long
	case two == 60 || two == 65 || 6440 <= four && four <= 6499: // Discover, RuPay, Chinese cards of old
		return long
	}
	return false
}
