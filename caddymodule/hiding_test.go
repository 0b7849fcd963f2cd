package caddymodule

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// Each of these hides a nickname from a strict reader, and some receiver reads
// it all the same.
func TestWhatHidesIsFoundOrRefused(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	const secret = "zqtoken"
	doc := `{"nickname":"` + secret + `"}`
	jwt := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{ "nickname":"`+secret+`"}`)) + ".c2ln"
	utf16 := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			b.WriteByte(c)
			b.WriteByte(0)
		}
		return b.String()
	}
	inside := map[string]string{ // in a JSON string
		"escaped key, trailing comma":  `{"\u006eickname":"` + secret + `",}`,
		"wrapped value, broken JSON":   `{"data":"` + b64(doc) + `",}`,
		"single quotes":                `{'data':'` + b64(doc) + `'}`,
		"byte order mark":              "\ufeff" + doc,
		"guard against scripts":        ")]}',\n" + doc,
		"call":                         "cb(" + doc + ")",
		"two texts":                    `{"a":1}` + doc,
		"json-seq":                     "\x1e" + doc + "\n\x1e" + doc,
		"NUL":                          "\x00" + doc,
		"NUL in the key":               `{"nickname\u0000":"` + secret + `"}`,
		"lone surrogate":               `{"\ud800nickname":"` + secret + `"}`,
		"too deep":                     strings.Repeat("[", 300) + doc + strings.Repeat("]", 300),
		"serialized by PHP":            `a:1:{s:8:"nickname";s:7:"` + secret + `";}`,
		"a map's toString":             `{nickname=` + secret + `, b=1}`,
		"pairs in broken JSON":         `[1,{"k":"nickname","v":"` + secret + `"},]`,
		"behind prose":                 strings.Repeat("word ", 20) + doc,
		"query":                        "https://h.example/p?x=1&nickname=" + secret,
		"fragment":                     "https://h.example/p#/r?nickname=" + secret,
		"query in a query":             "https://h.example/?u=" + url.QueryEscape("https://i.example/?nickname="+secret),
		"percent":                      url.QueryEscape(doc),
		"percent with a bad escape":    strings.Replace(url.QueryEscape(doc), "%7D", "%zz%7D", 1),
		"base64":                       b64(doc),
		"base64 of base64":             b64(b64(doc)),
		"base64, a byte behind":        b64(doc+"  ") + "}",
		"base64, more behind":          b64(doc+" ") + "xyz1",
		"base64 behind a word":         "Bearer " + b64(doc),
		"base64 with line breaks":      b64(doc)[:8] + "\r\n" + b64(doc)[8:],
		"base64 of UTF-16":             b64("\xff\xfe" + utf16(doc)),
		"base64 of UTF-16, no mark":    b64(utf16(doc)),
		"base64 of a NUL and JSON":     b64("\x00" + doc),
		"base64 of invalid UTF-8":      b64(strings.Replace(doc, "name", "name\xff", 1)),
		"base64 of broken JSON":        b64(`{"x":1,"nickname":"` + secret + `"`),
		"base64 of gzip":               b64(gzipped(doc)),
		"data URL":                     "data:application/json;base64," + b64(doc),
		"data URL of a NUL and JSON":   "data:application/json;base64," + b64("\x00"+doc),
		"token":                        jwt,
		"token behind a word":          "Bearer " + jwt,
		"UTF-7":                        "+AHs-+ACI-nickname+ACI-:+ACI-" + secret + "+ACI-+AH0-",
		"JSON in a string in a string": fmt.Sprintf("%q", fmt.Sprintf("%q", doc)),
	}
	check := func(t *testing.T, name string, r reply) {
		t.Helper()
		for _, got := range s.upstream.requests() {
			if texts := unwrapped(got.Body, []byte(got.Line), got.Raw, bytes.ReplaceAll(got.Raw, []byte{0}, nil)); holds(texts, secret) || holds(texts, b64(secret)[:8]) {
				t.Errorf("%s: arrived\n%s", name, got.Raw)
			}
			for _, text := range unwrapped(got.Body) {
				if strings.Contains(strings.ReplaceAll(text, "\x00", ""), secret) {
					t.Errorf("%s: arrived\n%s", name, got.Raw)
				}
			}
		}
		if r.Status == 200 && len(s.upstream.requests()) == 0 {
			t.Errorf("%s: neither refused nor forwarded", name)
		}
		s.upstream.forget()
	}
	for name, value := range inside {
		quoted := `{"payload":` + jsonQuote(value) + `,"n":1}`
		check(t, name+" in JSON", s.do("POST", "/v1/a", quoted, "Content-Type", "application/json"))
		check(t, name+" in a form", s.do("POST", "/v1/a", "p="+url.QueryEscape(value)+"&n=1", "Content-Type", "application/x-www-form-urlencoded"))
		check(t, name+" in a query", s.do("GET", "/v1/a?n=1&p="+url.QueryEscape(value), ""))
		if !strings.ContainsAny(value, "\x00\r\n\x1e") {
			check(t, name+" in a header", s.do("GET", "/v1/a", "", "X-Custom", value))
		}
	}
	for name, body := range map[string][2]string{
		"a form that is a script":          {"application/x-www-form-urlencoded", "while(1);" + `{"nickname":"` + secret + `","a":"b=c"}`},
		"a form that is multipart":         {"application/x-www-form-urlencoded", "--b\r\nContent-Disposition: form-data; name=\"nickname\"\r\n\r\n" + secret + "\r\n--b--\r\n"},
		"a form that is base64":            {"application/x-www-form-urlencoded", b64(doc + " ")},
		"a form with a name cut short":     {"application/x-www-form-urlencoded", "nickname%00x=" + secret},
		"a part that claims JSON":          {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"d\"\r\nContent-Type: application/json\r\n\r\n{\"\\u006eickname\":\"" + secret + "\",}\r\n--b--\r\n"},
		"a part of markup":                 {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"d\"; filename=\"a.xml\"\r\nContent-Type: text/xml\r\n\r\n<nickname>" + secret + "</nickname>\r\n--b--\r\n"},
		"a part with a header of its own":  {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"d\"\r\nX-Nickname: " + secret + "\r\n\r\nx\r\n--b--\r\n"},
		"two charsets":                     {"application/json; charset=utf-8; charset=utf-7", `{"p":"+AHs-` + secret + `"}`},
		"JSON in UTF-16":                   {"application/json; charset=utf-16", utf16(doc)},
		"a call of no type":                {"", `callback({"unit":[1],"nickname":"` + secret + `","x":"YQ=="})`},
		"a form with more behind base64":   {"application/x-www-form-urlencoded", "gzip=1&data=" + url.QueryEscape(b64(gzipped(doc))) + ",gzip=1&crc=1"},
		"prose with a bracket":             {"text/plain", "the nickname is " + secret + " [1]"},
		"several texts that are not lines": {"application/json", `{"a":1} ` + doc},
	} {
		check(t, name, s.do("POST", "/v1/a", body[1], "Content-Type", body[0]))
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Comment = secret
	_ = w.Close()
	check(t, "the comment of an empty gzip", s.do("POST", "/v1/a", z.String(), "Content-Type", "application/json", "Content-Encoding", "gzip"))
	if strings.Contains(s.logs(), secret) {
		t.Error("it stands in the logs")
	}
}

func jsonQuote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		if r == '"' || r == '\\' || r < ' ' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// What only looks like something else arrives byte for byte.
func TestHonestTextsArriveAsTheyCame(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "media audio/* video/*", ""))
	for _, text := range []string{
		"margin % = profit/revenue", "折扣=50%，满100可用", "[微笑] phone: call me later", `"phone: home" he said`, "as shown in [1] and [2]",
		"arr[0] + arr[1]", "log {} and {}", "[0] [INFO] started", "{name} wrote", "['x', {y}]", "=====", "a=b=c", "k1=1,k2=2,k3=3,k4=4,k5=5,k6=6,k7=7,k8=8,k9=9",
		"100% of it", "1743171552", "A00007FAFA7475x", "d41d8cd98f00b204e9800998ecf8427e", "zqbjtqxxxqtgtn", "page_view", "v1.2.3", "2026-01-15T08:00:00Z",
		"https://h.example/p?x=1&y=%20#top", "<a href=\"/x?b=2\">", "a \\ b \u4f60 / \"q\"", "eyJhIjoxfQ", b64(`{ "a" : 1 }`), "you+me", "C++", "{", "[", "\"",
	} {
		body := `{ "p" : ` + jsonQuote(text) + `,"n":1.0e0}`
		if r := s.do("POST", "/v1/a", body, "Content-Type", "application/json"); r.Status != 200 {
			t.Errorf("%s: %d %s", text, r.Status, r.Body)
			continue
		}
		if got := s.upstream.last(t).Body; string(got) != body {
			t.Errorf("of %s arrived %s", body, got)
		}
	}
	noise := bytes.Repeat([]byte("\xfe\x00ip=\x01mac=\xff{\"a\x00"), 4000)
	for _, typ := range []string{"audio/amr", "video/x-matroska"} {
		if r := s.do("POST", "/v1/a", string(noise), "Content-Type", typ); r.Status != 200 || !bytes.Equal(s.upstream.last(t).Body, noise) {
			t.Errorf("%s: %d, %d bytes arrived", typ, r.Status, len(s.upstream.last(t).Body))
		}
	}
	// Set by servers: what it means is for browsers.
	for name, value := range map[string]string{"X-Sig": "t=50%,v1=abc", "If-None-Match": `"490154203237518"`, "X-Page": "/next?a=1"} {
		s.do("GET", "/v1/a", "", name, value)
		if got := s.upstream.last(t).Header.Get(name); got != value {
			t.Errorf("%s: %q, was %q", name, got, value)
		}
	}
}

// A refusal is answered although the client holds its body back.
func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "max_body 1KiB", ""))
	for name, headers := range map[string]string{
		"incremental": "Incremental: ?1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n",
		"too long":    "Content-Type: application/json\r\nContent-Length: 5000\r\n",
		"encoding":    "Content-Type: application/x-ndjson\r\nContent-Encoding: foo\r\nContent-Length: 5000\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /v1/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%s\r\n", headers)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode/100 != 4 {
				t.Fatalf("%v %v", res, err)
			}
			if b, err := io.ReadAll(res.Body); err != nil || !bytes.Contains(b, []byte("problems/")) {
				t.Errorf("%s %v", b, err)
			}
		})
	}
}
