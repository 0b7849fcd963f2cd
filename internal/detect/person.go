package detect

// The provinces of GB/T 2260, and 83, which residents from Taiwan get on their
// permits (81 and 82 are those from Hong Kong and Macao).
var provinces = func() (t [100]bool) {
	for _, p := range []int{11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46,
		50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83} {
		t[p] = true
	}
	return t
}()

// isResident looks at the 17 digits of a resident identity number and its
// check character, 10 standing for X (GB 11643, ISO 7064 MOD 11-2). A number
// that begins with 9 is of a foreigner's permanent residence: the province
// follows.
func isResident(d []byte, check int) bool {
	province := d
	if d[0] == 9 {
		province = d[1:]
	}
	if !provinces[10*province[0]+province[1]] || !isDate(value(d[6:10]), value(d[10:12]), value(d[12:14])) {
		return false
	}
	sum := check
	for i, weight := range [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += weight * int(d[i])
	}
	return sum%11 == 1
}

// isOldResident looks at 15 digits: the form of before 1999, which has no
// check digit and two digits for the year. So the city and the county must be
// such as GB/T 2260 numbers: 01 to 70 or 90, and 01 to 99.
func isOldResident(d []byte) bool {
	city, county := value(d[2:4]), value(d[4:6])
	return provinces[10*d[0]+d[1]] && d[0] < 7 && (1 <= city && city <= 70 || city == 90) && county > 0 &&
		isDate(1900+value(d[6:8]), value(d[8:10]), value(d[10:12])) && value(d[12:]) > 0
}

// isDate reports whether it is a day on which a person may have been born.
func isDate(year, month, day int) bool {
	if year < 1900 || year > 2049 || month < 1 || month > 12 || day < 1 {
		return false
	}
	days := 31
	switch month {
	case 2:
		days = 28
		if year%4 == 0 { // 1900 too, which costs nothing
			days = 29
		}
	case 4, 6, 9, 11:
		days = 30
	}
	return day <= days
}

// checkX returns the end of an identity number of which t's run is the first
// 17 or the last digits, if an X follows and nothing else.
func (s *scanner) checkX(t *token) (int, bool) {
	if t.runEnd < t.end {
		return t.end, t.runEnd+1 == t.end && s.text[t.runEnd]|0x20 == 'x'
	}
	if i := t.runEnd; i+2 < len(s.text) {
		if x := string(s.text[i : i+3]); x == "Ｘ" || x == "ｘ" {
			_, wide := s.wide(i + 3)
			return i + 3, !wide && !isAlnum(s.at(i+3))
		}
	}
	return 0, false
}
