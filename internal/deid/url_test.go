package deid

import (
	neturl "net/url"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestURL(t *testing.T) {
	checkAll(t, "url", payload.String, []example{
		{"scheme, host and path stay", "https://example.cn/a/b.html", "https://example.cn/a/b.html"},
		{"a query goes", "https://example.cn/a?imei=860123456789012", "https://example.cn/a"},
		{"a fragment goes", "https://example.cn/a#imei=860123456789012", "https://example.cn/a"},
		{"a query without a path goes", "https://example.cn?imei=1", "https://example.cn"},
		{"a fragment with a question mark goes", "https://example.cn/#/a?b", "https://example.cn/"},
		{"user and password go", "https://zhang:secret@example.cn/a", "https://example.cn/a"},
		{"a user with an @ goes whole", "https://zhang@mail.cn:pw@example.cn/a", "https://example.cn/a"},
		{"an @ in the path is no user", "https://example.cn/@zhang", "https://example.cn/@zhang"},
		{"an @ in the query is no user", "https://example.cn?@evil.example/", "https://example.cn"},
		{"a port stays", "http://example.cn:8080/a", "http://example.cn:8080/a"},
		{"an empty port goes", "http://example.cn:/a", "http://example.cn/a"},
		{"the scheme becomes lower case", "HTTPS://Example.cn/A", "https://Example.cn/A"},
		{"a host in IPv6", "http://[2001:db8::1]:8080/a?b", "http://[2001:db8::1]:8080/a"},
		{"a host in Chinese", "https://例子.中国/路径?号=1", "https://例子.中国/路径"},
		{"a reference without a scheme", "//cdn.example.cn/a?b", "//cdn.example.cn/a"},
		{"a path", "/a/b?imei=1", "/a/b"},
		{"white space around goes", " \t\r\n\x00https://example.cn/a \n", "https://example.cn/a"},
		{"path parameters go", "https://example.cn/a;jsessionid=7F00/b;v=1.1;w=2/c", "https://example.cn/a/b/c"},
		{"encoded path parameters go", "https://example.cn/a%3Bjsessionid=7F00/b%3bv", "https://example.cn/a/b"},
		{"an encoded query goes", "https://example.cn/r/https:%2F%2Fb.cn%2F%3Fimei=1/x", "https://example.cn/r/https:%2F%2Fb.cn%2F"},
		{"a query encoded twice goes", "https://example.cn/r%253fimei=1", "https://example.cn/r"},
		{"a fragment encoded many times goes", "https://example.cn/r%25252523f", "https://example.cn/r"},
		{"other escapes stay", "https://example.cn/%E4%B8%AD%20%25%2f", "https://example.cn/%E4%B8%AD%20%25%2f"},
		{"an escape that ends early does not fit", "https://example.cn/%E", unfit},
		{"an escape that is none does not fit", "https://example.cn/%zz", unfit},
		{"a path that would become a host does not fit", "/;v=1/b", unfit},
		{"backslashes do not fit", `https:\\example.cn\a`, unfit},
		{"a backslash before the @ does not fit", `https://example.cn\@evil.example/a`, unfit},
		{"a backslash in the path does not fit", `/a\b`, unfit},
		{"a tab within does not fit", "ht\ttps://example.cn/a", unfit},
		{"a line end in the path does not fit", "https://example.cn/a\nb", unfit},
		{"a space in the path does not fit", "https://example.cn/call me at 13812345678", unfit},
		{"a wide space in the path does not fit", "https://example.cn/a\u3000b", unfit},
		{"a quote in the path does not fit", `https://example.cn/"onclick`, unfit},
		{"no host does not fit", "https:///a", unfit},
		{"a user without a host does not fit", "https://user@/a", unfit},
		{"no slashes do not fit", "https:example.cn", unfit},
		{"one slash does not fit", "https:/example.cn", unfit},
		{"a port that is none does not fit", "https://example.cn:80a/", unfit},
		{"a port too long does not fit", "https://example.cn:860123456789012/", unfit},
		{"two ports do not fit", "https://example.cn:80:90/", unfit},
		{"an escape in the host does not fit", "https://a%40b/", unfit},
		{"a wide slash in the host does not fit", "https://a／b/", unfit},
		{"a host too long does not fit", "https://" + strings.Repeat("a", 256) + "/", unfit},
		{"brackets around no address do not fit", "https://[imei]/", unfit},
		{"brackets left open do not fit", "https://[2001:db8::1/", unfit},
		{"a zone in the host does not fit", "https://[fe80::1%25eth0]/", unfit},
		{"javascript: does not fit", "javascript:alert(1)//", unfit},
		{"data: does not fit", "data:text/plain,13812345678", unfit},
		{"mailto: does not fit", "mailto:zhang@example.cn", unfit},
		{"another scheme does not fit", "ftp://example.cn/a", unfit},
		{"an app's own scheme does not fit", "intent://example.cn/#Intent;end", unfit},
		{"a host without a scheme does not fit", "example.cn/a", unfit},
		{"a host with a port and no scheme does not fit", "localhost:8080/a", unfit},
		{"a relative path does not fit", "../a", unfit},
		{"a query alone does not fit", "?imei=1", unfit},
		{"a sentence does not fit", "my number is 13812345678", unfit},
		{"an empty text does not fit", "", unfit},
		{"what is not UTF-8 does not fit", "https://example.cn/\xff", unfit},
	})
	checkAll(t, "url", payload.Number, []example{{"a number does not fit", "1", unfit}})
}

func FuzzURL(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	tr := make1(f, "url")
	f.Fuzz(func(t *testing.T, s string) {
		out, _ := apply(t, tr, s, payload.String)
		if out == unfit {
			return
		}
		u, err := neturl.Parse(out)
		if err != nil {
			t.Fatalf("%q became %q: %v", s, out, err)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || strings.ContainsAny(out, "?#;\\ ") {
			t.Fatalf("%q became %q", s, out)
		}
		if u.Scheme != "" && u.Host == "" || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("%q became %q", s, out)
		}
		if len(out) > len(s) {
			t.Fatalf("%q became the longer %q", s, out)
		}
		// Whoever else can read the raw URL sees the same host in the result.
		if raw, err := neturl.Parse(strings.TrimSpace(s)); err == nil && strings.TrimSuffix(raw.Host, ":") != u.Host {
			t.Fatalf("%q has host %q, %q has %q", s, raw.Host, out, u.Host)
		}
	})
}
