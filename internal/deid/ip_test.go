package deid

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestIP(t *testing.T) {
	checkAll(t, "ip", payload.String, []example{
		{"the last octet of IPv4 goes", "203.0.113.77", "203.0.113.0"},
		{"48 bits of IPv6 stay", "2001:db8:1:2::3", "2001:db8:1::"},
		{"IPv4 inside IPv6 is IPv4", "::ffff:203.0.113.77", "203.0.113.0"},
		{"also in hex", "::ffff:cb00:714d", "203.0.113.0"},
		{"also with a zone", "::ffff:203.0.113.77%eth0", "203.0.113.0"},
		{"a zone goes", "fe80::1%eth0", "fe80::"},
		{"6to4 holds an IPv4 address, of which 24 bits stay", "2002:cb00:714d:1::1", "2002:cb00:7100::"},
		{"Teredo's server is shared, its client goes", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136::"},
		{"NAT64's address goes", "64:ff9b::cb00:714d", "64:ff9b::"},
		{"a port goes", "203.0.113.77:51234", "203.0.113.0"},
		{"brackets go", "[2001:db8:1:2::3]", "2001:db8:1::"},
		{"brackets and a port go", "[2001:db8:1:2::3]:443", "2001:db8:1::"},
		{"white space around goes", " 203.0.113.77\r\n", "203.0.113.0"},
		{"a prefix is left alone", "203.0.113.0", "203.0.113.0"},
		{"nothing does not fit, and is not <nil>", "", unfit},
		{"unknown does not fit", "unknown", unfit},
		{"<nil> does not fit", "<nil>", unfit},
		{"a list does not fit", "203.0.113.77, 198.51.100.1", unfit},
		{"a network does not fit", "203.0.113.0/24", unfit},
		{"a host name does not fit", "host.example.cn", unfit},
		{"five octets do not fit", "1.2.3.4.5", unfit},
		{"octal does not fit", "203.0.113.077", unfit},
		{"hex does not fit", "0xcb.0.113.77", unfit},
		{"an integer does not fit", "3405803853", unfit},
		{"brackets around IPv4 do not fit", "[203.0.113.77]", unfit},
		{"a bracket left open does not fit", "[2001:db8::1", unfit},
		{"a port out of range does not fit", "203.0.113.77:65536", unfit},
		{"a zone without end does not fit", "fe80::1%" + strings.Repeat("z", 200), unfit},
	})
	checkAll(t, "ip", payload.Number, []example{{"a number is no address", "3405803853", unfit}})
	checkAll(t, "{ip: {v4: 16, v6: 32}}", payload.String, []example{
		{"v4 says how many bits stay", "203.0.113.77", "203.0.0.0"},
		{"v6 says how many bits stay", "2001:db8:1:2::3", "2001:db8::"},
		{"6to4 never keeps more than v6 says", "2002:cb00:714d::1", "2002:cb00::"},
	})
	checkAll(t, "{ip: {v4: 0, v6: 0}}", payload.String, []example{
		{"no bits of IPv4 may stay", "203.0.113.77", "0.0.0.0"},
		{"no bits of IPv6 may stay", "2001:db8::1", "::"},
	})
	checkAll(t, "{ip: {v6: 64}}", payload.String, []example{
		{"an argument not given has its default", "203.0.113.77", "203.0.113.0"},
		{"a longer prefix of 6to4 still hides the IPv4 address", "2002:cb00:714d:1::1", "2002:cb00:7100::"},
	})
}

func FuzzIP(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	tr := make1(f, "ip")
	f.Fuzz(func(t *testing.T, s string) {
		out, _ := apply(t, tr, s, payload.String)
		if out == unfit {
			return
		}
		addr, err := netip.ParseAddr(out)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			t.Fatalf("ip of %q is %q", s, out)
		}
		bits := 24
		if addr.Is6() {
			bits = 48
		}
		if netip.PrefixFrom(addr, bits).Masked().Addr() != addr {
			t.Fatalf("ip of %q is %q, with more than %d bits", s, out, bits)
		}
	})
}
