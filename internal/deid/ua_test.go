package deid

import (
	"regexp"
	"strings"
	"testing"

	"github.com/consentgate/consentgate/internal/payload"
)

func TestUA(t *testing.T) {
	checkAll(t, "ua", payload.String, []example{
		{"Chrome on Android, without the model", "Mozilla/5.0 (Linux; Android 13; M2012K11AC Build/TKQ1.220829.002) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.5615.136 Mobile Safari/537.36", "Chrome/112 (Android; Mobile)"},
		{"Safari on an iPhone", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1", "Safari/17 (iOS; Mobile)"},
		{"a tablet is not mobile", "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1", "Safari/16 (iOS)"},
		{"Edge on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91", "Edge/120 (Windows)"},
		{"Firefox on Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox/121 (Linux)"},
		{"an app's own client says the system only", "Dalvik/2.1.0 (Linux; U; Android 12; PEGM00 Build/SKQ1.210216.001)", "Other (Android; Mobile)"},
		{"a browser that names itself after its user is Other", "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36 imei860123456789012/1.0", "Other (Windows)"},
		{"a version that is none goes", "Mozilla/5.0 (Windows NT 10.0) Firefox/860123456789012", "Firefox (Windows)"},
		{"the greatest version", "Mozilla/5.0 (Windows NT 10.0) Firefox/999.1", "Firefox/999 (Windows)"},
		{"a version above it goes", "Mozilla/5.0 (Windows NT 10.0) Firefox/1000.1", "Firefox (Windows)"},
		{"a bot is named", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot/2"},
		{"what says nothing does not fit", "okhttp/4.9.3", unfit},
		{"what is no User-Agent does not fit", "860123456789012", unfit},
		{"an empty text does not fit", "", unfit},
		{"what is too long does not fit", "Mozilla/5.0 (Windows NT 10.0) Firefox/121.0 " + strings.Repeat("x", 1024), unfit},
	})
	checkAll(t, "ua", payload.Number, []example{{"a number does not fit", "1", unfit}})
}

var uaGrammar = regexp.MustCompile(`^[A-Za-z-]{1,20}(/[1-9][0-9]{0,2})?( \([A-Za-z ]{3,13}(; Mobile)?\))?$`)

func FuzzUA(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	for _, s := range []string{"CrOS x86_64", "CrOS aarch64 1 2", "Android; tablet", "http://a/;b;c", "XiaoMi/MiuiBrowser", "Instagram 1", "FBAN", "[[[]]]", "OS_", "://", "Android 9;"} {
		f.Add(s)
	}
	words := map[string]bool{"Other": true, "Mobile": true, "Phone": true}
	for _, w := range browsers {
		words[w] = true
	}
	for _, w := range systems {
		words[strings.Fields(w)[0]] = true
	}
	tr := make1(f, "ua")
	f.Fuzz(func(t *testing.T, s string) {
		out, _ := apply(t, tr, s, payload.String)
		if out == unfit {
			return
		}
		if !uaGrammar.MatchString(out) {
			t.Fatalf("%q became %q", s, out)
		}
		for _, w := range regexp.MustCompile(`[A-Za-z-]+`).FindAllString(out, -1) {
			if !words[w] {
				t.Fatalf("%q became %q, where %q is foreign", s, out, w)
			}
		}
	})
}
