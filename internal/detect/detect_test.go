package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const all Set = 1<<kinds - 1

func setOf(t testing.TB, names string) Set {
	var s Set
	for _, n := range strings.Fields(names) {
		k, ok := ByName(n)
		if !ok {
			t.Fatalf("no kind is called %q", n)
		}
		s = s.With(k)
	}
	return s
}

func describe(text string, ms []Match) string {
	var parts []string
	for _, m := range ms {
		var ks []string
		for k := range Kind(kinds) {
			if m.Kinds.Has(k) {
				ks = append(ks, k.String())
			}
		}
		parts = append(parts, fmt.Sprintf("%s=%s", strings.Join(ks, "+"), text[m.Start:m.End]))
	}
	return strings.Join(parts, " | ")
}

// Every example is looked at for all kinds that are told by more than a shape,
// and all that is found stands in it, as "kind+kind=span | …".
var examples = []struct{ family, text, want string }{
	// IMEI
	{"imei", "356938035643809", "imei=356938035643809"},
	{"imei", "IMEI:356938035643809,", "imei=356938035643809"},
	{"imei", "imei356938035643809", "imei=356938035643809"},
	{"imei", "981234567890122", "imei=981234567890122"},
	{"imei", "35-693803-564380-9", "imei=35-693803-564380-9"},
	{"imei", "35 693803 564380 9", "imei=35 693803 564380 9"},
	{"imei", "356938-03-564380-9", "imei=356938-03-564380-9"},
	{"imei", "004999010640000", "imei=004999010640000"},
	{"imei", "356938035643808", ""},
	{"imei", "35693803564380", ""},
	{"imei", "000000000000000", ""},
	{"imei", "000000000000018", ""},
	{"imei", "205693803564383", ""},
	{"imei", "3569380356438091", "imei=3569380356438091"},
	{"imei", "sv 3569380356438091", ""},
	{"imei", "0.356938035643809", ""},
	{"imei", "1.356938035643809", ""},
	{"imei", "356938035643809.5", ""},
	{"imei", "35-693803-564380-8", ""},
	{"imei", "35-693803 564380-9", ""},
	// MEID
	{"meid", "A0000012345678", "meid=A0000012345678"},
	{"meid", "a10000009296f0", "meid=a10000009296f0"},
	{"meid", "90000012345678", ""},
	{"meid", "A1000009296F015", "meid=A1000009296F015"},
	{"meid", "A1000009296F016", ""},
	{"meid", "A000001234567", ""},
	{"meid", "a0000012345F78", ""},
	{"meid", "xA0000012345678", ""},
	// ICCID
	{"iccid", "89860112851000000014", "iccid=89860112851000000014"},
	{"iccid", "8986 0112 8510 0000 0014", "iccid=8986 0112 8510 0000 0014"},
	{"iccid", "89860 11285 10000 00014", "iccid=89860 11285 10000 00014"},
	{"iccid", "8986011285100000001A", "iccid=8986011285100000001A"},
	{"iccid", "89860A12851000000014", ""},
	{"iccid", "8944110068690071233", "iccid=8944110068690071233"},
	{"iccid", "8944110068690071234", ""},
	{"iccid", "89010000000000000001", ""},
	// IMSI
	{"imsi", "460011234567890", "imsi=460011234567890"},
	{"imsi", "460201234567890", "imsi=460201234567890"},
	{"imsi", "001010123456789", "imsi=001010123456789"},
	{"imsi", "460121299567890", ""},
	{"imsi", "46001123456789", ""},
	// MAC
	{"mac", "02:00:5e:10:00:01", "mac=02:00:5e:10:00:01"},
	{"mac", "mac=02-00-5E-10-00-01;", "mac=02-00-5E-10-00-01"},
	{"mac", "0200.5e10.0001", "mac=0200.5e10.0001"},
	{"mac", "02005e100001", "mac=02005e100001"},
	{"mac", "id 02005e100001", ""},
	{"mac", "01005e100001", ""},
	{"mac", "mac:aa:bb:cc:dd:ee:fa", "mac=aa:bb:cc:dd:ee:fa"},
	{"mac", "00:00:00:00:00:00", ""},
	{"mac", "ff:ff:ff:ff:ff:ff", ""},
	{"mac", "02:00:00:00:00:00", ""},
	{"mac", "02:00-5e:10:00:01", ""},
	{"mac", "02:00:5e:10:00", ""},
	{"mac", "02:00:5e:10:00:01:02", ""},
	{"mac", "26-01-12-23-59-59", ""},
	{"mac", "26-13-12-23-59-59", "mac=26-13-12-23-59-59"},
	{"mac", "1234.5678.9012", ""},
	// Phone
	{"phone", "13800138000", "phone=13800138000"},
	{"phone", "我的手机号13800138000谢谢", "phone=13800138000"},
	{"phone", "tel13800138000", "phone=13800138000"},
	{"phone", "phone_13800138000", "phone=13800138000"},
	{"phone", "+8613800138000", "phone=+8613800138000"},
	{"phone", "8613800138000", "phone=8613800138000"},
	{"phone", "008613800138000", "phone=008613800138000"},
	{"phone", "+86 138 0013 8000", "phone=+86 138 0013 8000"},
	{"phone", "138-0013-8000", "phone=138-0013-8000"},
	{"phone", "tel138-0013-8000x", "phone=138-0013-8000"},
	{"phone", "+86 13800138000 12", "phone=+86 13800138000"},
	{"phone", "+1 415 555 2671 12", "phone=+1 415 555 2671"},
	{"phone", "0086-138-0013-8000", "phone=0086-138-0013-8000"},
	{"phone", "?tel=%2B8613800138000&a=1", "phone=%2B8613800138000"},
	{"phone", "tel%3A13800138000", "phone=13800138000"},
	{"phone", "100%13800138000", "phone=13800138000"},
	{"phone", "１３８００１３８０００", "phone=１３８００１３８０００"},
	{"phone", "1.13800138000", "phone=13800138000"},
	{"phone", "13800138000.0", "phone=13800138000"},
	{"phone", "打13800138000或13900139000。", "phone=13800138000 | phone=13900139000"},
	{"phone", "+14155552671", "phone=+14155552671"},
	{"phone", "+1 (415) 555-2671", "phone=+1 (415) 555-2671"},
	{"phone", "+44 20 7946 0958 x", "phone=+44 20 7946 0958"},
	{"phone", "+86 10 6552 9988", "phone=+86 10 6552 9988"},
	{"phone", "12800138000", ""},
	{"phone", "1380013800", ""},
	{"phone", "138001380001", ""},
	{"phone", "order20260112138001380001", ""},
	{"phone", "0.13800138000", ""},
	{"phone", "12.13800138000", ""},
	{"phone", "13800138000.55", ""},
	{"phone", "x1b13800138000", ""},
	{"phone", "+0800138000", ""},
	{"phone", "+1415555267", ""},
	{"phone", "6d92078a-8246-4ba4-ae5b-a13800138000", ""},
	{"phone", "+2101234567", ""},
	{"phone", "a+4420794609", ""},
	{"phone", "+12345678.90", ""},
	{"phone", "138-00138-000", ""},
	{"phone", "010-65529988", ""},
	// Resident identity
	{"id", "11010519491231002X", "id_card=11010519491231002X"},
	{"id", "11010519491231002x", "id_card=11010519491231002x"},
	{"id", "440524188001010014", ""},
	{"id", "身份证11010519491231002Ｘ号", "id_card=11010519491231002Ｘ"},
	{"id", "110105 19491231 002X", "id_card=110105 19491231 002X"},
	{"id", "110105491231002", "id_card=110105491231002"},
	{"id", "110105194912310021", ""},
	{"id", "110105194913310020", ""},
	{"id", "11010519491231002XY", ""},
	{"id", "110105491331002", ""},
	{"id", "110005491231002", ""},
	// Card
	{"card", "4111111111111111", "card=4111111111111111"},
	{"card", "4111 1111 1111 1111", "card=4111 1111 1111 1111"},
	{"card", "4111-1111-1111-1111", "card=4111-1111-1111-1111"},
	{"card", "6222021234567890128", "card=6222021234567890128"},
	{"card", "6222 0212 3456 7890 128", "card=6222 0212 3456 7890 128"},
	{"card", "622202 1234567890128", "card=622202 1234567890128"},
	{"card", "378282246310005", "card=378282246310005"},
	{"card", "3782 822463 10005", "card=3782 822463 10005"},
	{"card", "30569309025904", "card=30569309025904"},
	{"card", "2223003122003222", "card=2223003122003222"},
	{"card", "４１１１１１１１１１１１１１１１", "card=４１１１１１１１１１１１１１１１"},
	{"card", "4111111111111112", ""},
	{"card", "1234567812345670", ""},
	{"card", "4222222222222", ""},
	{"card", "411111111141111", ""},
	// E-mail
	{"email", "user@example.com", "email=user@example.com"},
	{"email", "我的邮箱user.name+tag@mail.example.com.cn谢谢", "email=user.name+tag@mail.example.com.cn"},
	{"email", "13800138000@163.com", "phone+email=13800138000@163.com"},
	{"email", "?m=user%40example.com&b=1", "email=user%40example.com"},
	{"email", "?m%3Duser%40example.com", "email=user%40example.com"},
	{"email", "<user@xn--fiqs8s.xn--fiqs8s>.", "email=user@xn--fiqs8s.xn--fiqs8s"},
	{"email", "user@example.com.", "email=user@example.com"},
	{"email", "'o'brien@example.ie'", "email=o'brien@example.ie"},
	{"email", "a@b.cn", "email=a@b.cn"},
	{"email", "user@localhost", ""},
	{"email", "@example.com", ""},
	{"email", "user@.com", ""},
	{"email", "user@-a.com", ""},
	{"email", "user.@example.com", ""},
	{"email", "logo@2x.png", ""},
	{"email", "react@18.0.0-beta.rc", ""},
	{"email", "a@b.c", ""},
	// IPv4
	{"ipv4", "203.0.113.77", "ipv4=203.0.113.77"},
	{"ipv4", "ip=203.0.113.77:8080", "ipv4=203.0.113.77"},
	{"ipv4", "http://203.0.113.77/x", "ipv4=203.0.113.77"},
	{"ipv4", "/192.168.1.5", "ipv4=192.168.1.5"},
	{"ipv4", "host/192.168.1.5", "ipv4=192.168.1.5"},
	{"ipv4", "地址203.0.113.77。", "ipv4=203.0.113.77"},
	{"ipv4", "10.0.0.1", "ipv4=10.0.0.1"},
	{"ipv4", "127.0.0.2", "ipv4=127.0.0.2"},
	{"ipv4", "203.0.113.77.", "ipv4=203.0.113.77"},
	{"ipv4", "10.0.0.1, 10.0.0.20", "ipv4=10.0.0.1 | ipv4=10.0.0.20"},
	{"ipv4", "0.0.0.0", ""},
	{"ipv4", "127.0.0.1", ""},
	{"ipv4", "255.255.255.0", ""},
	{"ipv4", "1.2.3.4", ""},
	{"ipv4", "v10.2.3.4", ""},
	{"ipv4", "version 10.2.3.4", ""},
	{"ipv4", "版本10.2.3.4", ""},
	{"ipv4", "Version: 10.2.3.4", ""},
	{"ipv4", "10.2.3.4.5", ""},
	{"ipv4", "5.10.2.3.4", ""},
	{"ipv4", "10.2.3.256", ""},
	{"ipv4", "10.02.3.4", ""},
	{"ipv4", "Mozilla/5.0 Chrome/49.0.211.12 Safari/537.36", ""},
	{"ipv4", "Chrome/120.0.6099.144", ""},
	// IPv6
	{"ipv6", "2001:db8::1", "ipv6=2001:db8::1"},
	{"ipv6", "[2001:db8::1]:443", "ipv6=2001:db8::1"},
	{"ipv6", "ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "ipv6=ABCD:EF01:2345:6789:ABCD:EF01:2345:6789"},
	{"ipv6", "2001:DB8:0:0:8:800:200C:417A", "ipv6=2001:DB8:0:0:8:800:200C:417A"},
	{"ipv6", "fe80::1%eth0", "ipv6=fe80::1"},
	{"ipv6", "ip:2001:db8::1.", "ipv6=2001:db8::1"},
	{"ipv6", "a:2001:db8::1", "ipv6=2001:db8::1"},
	{"ipv6", "xfe80:2001:db8::1", "ipv6=2001:db8::1"},
	{"ipv6", "地址2001:db8::1，", "ipv6=2001:db8::1"},
	{"ipv6", "::ffff:203.0.113.77", "ipv4+ipv6=::ffff:203.0.113.77"},
	{"ipv6", "::ffff:cb00:714d", "ipv6=::ffff:cb00:714d"},
	{"ipv6", "64:ff9b::203.0.113.77", "ipv4+ipv6=64:ff9b::203.0.113.77"},
	{"ipv6", "2001:db8::/32", "ipv6=2001:db8::"},
	{"ipv6", "::", ""},
	{"ipv6", "::ffff:0:5", ""},
	{"ipv6", "::1 or so", ""},
	{"ipv6", "12:30:45", ""},
	{"ipv6", "std::add a::b Foo::Bar", ""},
	{"ipv6", "1:2:3:4:5:6:7:8", ""},
	{"ipv6", "2001:db8::1::2", ""},
	{"ipv6", "2001:db8:1", ""},
	// Places
	{"latlng", "23.12911,113.26436", "latlng=23.12911,113.26436"},
	{"latlng", "113.26436, 23.12911", "latlng=113.26436, 23.12911"},
	{"latlng", "[23.12911,113.26436]", "latlng=23.12911,113.26436"},
	{"latlng", "POINT(113.26436 23.12911)", "latlng=113.26436 23.12911"},
	{"latlng", "23.12911;113.26436", "latlng=23.12911;113.26436"},
	{"latlng", "-33.8688|151.2093", "latlng=-33.8688|151.2093"},
	{"latlng", "ll=23.12911%2C113.26436", "latlng=23.12911%2C113.26436"},
	{"latlng", "在23.12911，113.26436附近", "latlng=23.12911，113.26436"},
	{"latlng", "geo:23.12,113.26;u=35", "latlng=geo:23.12,113.26"},
	{"latlng", "+23.1291+113.2644/", "latlng=+23.1291+113.2644/"},
	{"latlng", "+27.5916+086.5640+8850.0/", "latlng=+27.5916+086.5640+8850.0/"},
	{"latlng", "+2307.7+11315.8/", "latlng=+2307.7+11315.8/"},
	{"latlng", "23.1291°N, 113.2644°E", "latlng=23.1291°N, 113.2644"},
	{"latlng", "113.261,23.121;113.262,23.122", "latlng=113.261,23.121 | latlng=113.262,23.122"},
	{"latlng", "23.12,113.26", ""},
	{"latlng", "+2367.7+11315.8/", ""},
	{"latlng", "91.123,95.123", ""},
	{"latlng", "23.123,180.123", ""},
	{"latlng", "0.123,0.456", ""},
	{"latlng", "1.234.567,8.910", ""},
	{"latlng", "23.12911 - 113.26436", ""},
	{"latlng", "12.345", ""},
}

func TestExamples(t *testing.T) {
	want := all &^ setOf(t, "idfa oaid android_id uuid hex16 hex32")
	for _, e := range examples {
		ms := Append(nil, []byte(e.text), want)
		if got := describe(e.text, ms); got != e.want {
			t.Errorf("%s: %q holds %q, want %q", e.family, e.text, got, e.want)
		}
		if len(ms) > 0 && !Possible([]byte(e.text)) {
			t.Errorf("%q is possible", e.text)
		}
	}
}

func TestShapesAreFoundWhereTheyAreWanted(t *testing.T) {
	for _, e := range []struct{ want, text, found string }{
		{"idfa", "6D92078A-8246-4BA4-AE5B-76104861E7DC", "idfa=6D92078A-8246-4BA4-AE5B-76104861E7DC"},
		{"uuid idfa oaid hex32", "a 6d92078a-8246-4ba4-ae5b-76104861e7dc.", "idfa+oaid+uuid=6d92078a-8246-4ba4-ae5b-76104861e7dc"},
		{"hex32 oaid", "9f89c84a559f573636a47ff8daed0d33", "oaid+hex32=9f89c84a559f573636a47ff8daed0d33"},
		{"oaid", strings.Repeat("9f89c84a559f5736", 4), "oaid=" + strings.Repeat("9f89c84a559f5736", 4)},
		{"android_id", "9774d56d682e549c", "android_id=9774d56d682e549c"},
		{"hex16", "id=9774d56d682e549c&", "hex16=9774d56d682e549c"},
		{"hex16", "9774d56d682e549c1", ""},
		{"hex16", "g9774d56d682e549c", ""},
		{"hex16", "0000000000000000", ""},
		{"hex16", "deadbeefdeadbeef", ""},
		{"uuid", "00000000-0000-0000-0000-000000000000", ""},
		{"uuid", "6d92078a-8246-4ba4-ae5b-76104861e7dcf", ""},
		{"uuid", "6d92078a-8246-4ba4-76104861e7dc", ""},
		{"uuid", "6d92078a:8246-4ba4-ae5b-76104861e7dc", ""},
		{"uuid", "9f89c84a559f573636a47ff8daed0d33", ""},
		{"imei", "9774d56d682e549c", ""},
	} {
		if got := describe(e.text, Append(nil, []byte(e.text), setOf(t, e.want))); got != e.found {
			t.Errorf("%s in %q: %q, want %q", e.want, e.text, got, e.found)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, e := range []struct{ text, want string }{
		{"356938035643809", "imei"},
		{"3569380356438091", "imei"},
		{"13800138000", "phone"},
		{"13800138000.0", "phone"},
		{"1.3800138E10", "phone"},
		{"1.3800138e+10", "phone"},
		{"138001380000e-1", "phone"},
		{"8613800138000", "phone"},
		{"460011234567890", "imsi"},
		{"4111111111111111", "card"},
		{"4.111111111111111E15", "card"},
		{"110105491231002", "id_card"},
		{"89860112851000000014", "iccid"},
		{"-13800138000", ""},
		{"13800138000.5", ""},
		{"1.3800138E9", ""},
		{"1.3800138E999", ""},
		{"1.3800138E", ""},
		{"1700000000", ""},
		{"1700000000000", ""},
		{"1e19", ""},
		{"123456789012345678901", ""},
		{"13800138000x", ""},
		{"1234567890123456", ""},
		{"", ""},
	} {
		if got := Number([]byte(e.text), all); got != setOf(t, e.want) {
			t.Errorf("%s may be %b, want %s", e.text, got, e.want)
		}
	}
	if Number([]byte("13800138000"), setOf(t, "imei")) != 0 {
		t.Error("found what nobody wanted")
	}
}

func TestPair(t *testing.T) {
	for _, e := range []struct {
		a, b string
		want bool
	}{
		{"23.12911", "113.26436", true},
		{"113.26436", "23.12911", true},
		{"-33.8688", "151.2093", true},
		{"23.13", "113.2644", true},
		{"23.129", "113.264", true},
		{"23.13", "113.264", false},
		{"23", "113.26436", false},
		{"0.123", "0.456", false},
		{"90.123", "90.456", false},
		{"23.129", "180.264", false},
		{"23.129e0", "113.264", false},
		{"", "113.264", false},
		{"23.", "113.264", false},
		{"12345.129", "13.264", false},
	} {
		if got := Pair([]byte(e.a), []byte(e.b)); got != e.want {
			t.Errorf("[%s,%s]: %v", e.a, e.b, got)
		}
	}
}

func TestNames(t *testing.T) {
	for k := range Kind(kinds) {
		if got, ok := ByName(k.String()); !ok || got != k {
			t.Errorf("%s is %v, %v", k, got, ok)
		}
	}
	if _, ok := ByName("address"); ok || Kind(kinds).String() != "unknown" {
		t.Error("a kind that is none has a name")
	}
	if s := Set(0).With(IMEI).With(Hex32); !s.Has(IMEI) || !s.Has(Hex32) || s.Has(MEID) {
		t.Errorf("the set is %b", s)
	}
}

func TestAppendLeavesWhatIsThere(t *testing.T) {
	before := Match{3, 90, 1 << MAC}
	got := Append([]Match{before}, []byte("tel 13800138000"), all)
	if !slices.Equal(got, []Match{before, {4, 15, 1 << Phone}}) {
		t.Errorf("%v", got)
	}
	if got := Append(nil, []byte("tel 13800138000"), 0); got != nil {
		t.Errorf("found %v, wanting nothing", got)
	}
}
