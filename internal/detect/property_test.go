package detect

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzAppend(f *testing.F) {
	for _, e := range examples {
		f.Add(e.text, uint32(all))
		f.Add("a"+e.text+" "+e.text, uint32(all))
	}
	for _, e := range examples[1:] {
		f.Add(e.text+"."+examples[0].text+"-"+e.text, uint32(all))
	}
	f.Fuzz(func(t *testing.T, text string, mask uint32) {
		if !utf8.ValidString(text) {
			return
		}
		checkProperties(t, text, Set(mask))
		checkProperties(t, text, all)
	})
}

func checkProperties(t *testing.T, text string, want Set) {
	ms := Append(nil, []byte(text), want)
	if len(ms) > 0 && !Possible([]byte(text)) {
		t.Fatalf("%q is not possible and holds %s", text, describe(text, ms))
	}
	if len(ms) > 0 && want&all == 0 {
		t.Fatalf("%q: found without being asked", text)
	}
	end := 0
	for _, m := range ms {
		if m.Start < end || m.End <= m.Start || m.End > len(text) {
			t.Fatalf("%q: %v is out of order or out of bounds", text, ms)
		}
		end = m.End
		if !utf8.RuneStart(text[m.Start]) || end < len(text) && !utf8.RuneStart(text[end]) {
			t.Fatalf("%q: %v cuts a character", text, m)
		}
		if m.Kinds == 0 || m.Kinds&^want != 0 {
			t.Fatalf("%q: %v is of kinds that nobody wanted", text, m)
		}
		// What surrounds it may forbid a match, but never make one.
		part := text[m.Start:m.End]
		again := Append(nil, []byte(part), want)
		if len(again) != 1 || again[0].Start != 0 || again[0].End != len(part) || m.Kinds&^again[0].Kinds != 0 {
			t.Fatalf("%q holds %s, which alone holds %q", text, describe(text, []Match{m}), describe(part, again))
		}
	}
}

func FuzzNumber(f *testing.F) {
	f.Add("13800138000", "1.3800138E10")
	f.Add("113.26436", "23.12911")
	f.Fuzz(func(t *testing.T, a, b string) {
		Number([]byte(b), all)
		if Pair([]byte(a), []byte(b)) != Pair([]byte(b), []byte(a)) {
			t.Fatalf("[%s,%s] depends on the order", a, b)
		}
		// Digits are the same thing as a number and as a text.
		if strings.Trim(a, "0123456789") == "" {
			found := Number([]byte(a), all)
			var whole Set
			for _, m := range Append(nil, []byte(a), decimals) {
				whole |= m.Kinds
			}
			if found != whole {
				t.Fatalf("%s: %b as a number, %b as a text", a, found, whole)
			}
		}
	})
}

// FuzzIPv6 compares the reader of addresses with net/netip.
func FuzzIPv6(f *testing.F) {
	for _, e := range examples {
		f.Add(e.text)
	}
	for _, text := range []string{"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "1::2:3:4:5:6:7:8", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "12345::", "::01.2.3.4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := netip.ParseAddr(text)
		isSix := err == nil && want.Is6() && want.Zone() == ""
		got, ok := parseIPv6([]byte(text))
		if ok != isSix {
			t.Fatalf("%q: %v, and %v for net/netip", text, ok, err)
		}
		var b [16]byte
		for i, g := range got.groups {
			b[2*i], b[2*i+1] = byte(g>>8), byte(g)
		}
		if ok && netip.AddrFrom16(b) != want {
			t.Fatalf("%q is %v, not %v", text, want, netip.AddrFrom16(b))
		}
	})
}

// hostile are shapes that ask a careless scanner to go back again and again.
var hostile = []string{
	"1-", "1 ", "1111-", "138-0013-", "a@", "a.", "a@a.a@", "user@a.", "%40", "a%40", ":", "::", "a:", "1:1:", "aa:", "aa-", "1.",
	"1.1.1.", "1.234,", "23.12911,", "+1", "+1 ", "+1 1 1 ", "+12345678", "１", "1", "a", "f", "0", "8", "a1", "-", ".", " ", "86 ", "86-13800138000 ", "版本",
	"12345678-1234-1234-1234-", "aaaa.", "geo:", "2001:db8::", "@", "@.", "@a.", "_@a.cn", "13800138000@163.com", "x%",
}

func TestHostileTexts(t *testing.T) {
	for _, h := range hostile {
		checkAll(t, strings.Repeat(h, 300))
		checkAll(t, "user@"+strings.Repeat(h, 300)+"13800138000")
		// One megabyte: what is quadratic here takes hours.
		text := []byte(strings.Repeat(h, 1<<20/len(h)))
		Append(nil, text, all)
		Possible(text)
	}
}

func checkAll(t *testing.T, text string) {
	t.Helper()
	checkProperties(t, text, all)
	for k := range Kind(kinds) {
		checkProperties(t, text, 1<<k)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst := make([]Match, 0, 1024)
	for _, e := range examples {
		text := []byte(e.text)
		if n := testing.AllocsPerRun(10, func() { dst = Append(dst[:0], text, all) }); n != 0 {
			t.Errorf("%q: %v allocations", e.text, n)
		}
	}
}
