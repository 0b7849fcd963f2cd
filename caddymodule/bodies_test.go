package caddymodule

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/consentgate/consentgate/internal/codec"
)

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func gunzipped(t *testing.T, b []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%q is no gzip: %v", b, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEncodedBodiesAreReadAndEncodedAsTheyCame(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "max_body 64KiB", ""))
	text, want := `{"imei":"`+canaryIMEI+`","n":1,"t":"`+strings.Repeat("word ", 40)+`"}`, `{"n":1,"t":"`+strings.Repeat("word ", 40)+`"}`
	encodings := map[string]struct {
		write func(io.Writer) io.WriteCloser
		read  func(io.Reader) (io.Reader, error)
	}{
		"gzip":    {func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		"deflate": {func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }},
		"br":      {func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }, func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }},
		"zstd": {func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
			func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }},
	}
	for name, e := range encodings {
		t.Run(name, func(t *testing.T) {
			encode := func(text string) string {
				var b bytes.Buffer
				w := e.write(&b)
				_, _ = io.WriteString(w, text)
				_ = w.Close()
				return b.String()
			}
			for _, tt := range []struct{ in, want string }{{text, want}, {want, want}} {
				s.upstream.forget()
				if r := s.do("POST", "/v1/a", encode(tt.in), "Content-Type", "application/json", "Content-Encoding", name); r.Status != 200 {
					t.Fatalf("%d %s", r.Status, r.Body)
				}
				got := s.upstream.last(t)
				r, err := e.read(bytes.NewReader(got.Body))
				if err != nil {
					t.Fatal(err)
				}
				plain, err := io.ReadAll(r)
				if err != nil || string(plain) != tt.want || got.Header.Get("Content-Encoding") != name {
					t.Errorf("%v, %s arrived as %q", err, plain, got.Header.Get("Content-Encoding"))
				}
			}
			s.upstream.forget()
			bomb := encode(`{"n":"` + strings.Repeat("0", 1<<20) + `"}`)
			if r := s.do("POST", "/v1/a", bomb, "Content-Type", "application/json", "Content-Encoding", name); r.Status != 413 || len(s.upstream.requests()) > 0 {
				t.Errorf("a bomb of %d bytes: %d %s", len(bomb), r.Status, r.Body)
			}
			if r := s.do("POST", "/v1/a", encode(encode(text)), "Content-Type", "application/json", "Content-Encoding", name); r.Status/100 != 4 || len(s.upstream.requests()) > 0 {
				t.Errorf("encoded twice: %d %s", r.Status, r.Body)
			}
		})
	}
	t.Run("gzip that nobody speaks of", func(t *testing.T) {
		for _, headers := range [][]string{{"Content-Type", "text/plain"}, {"compress", "gzip", "Content-Type", "application/plaintext"}} {
			s.upstream.forget()
			s.do("POST", "/v1/a?compression=gzip-js", gzipped(text), headers...)
			if got := gunzipped(t, s.upstream.last(t).Body); got != want {
				t.Errorf("%s arrived", got)
			}
		}
	})
	t.Run("what a gzip header says goes", func(t *testing.T) {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Comment = canaryIMEI
		_, _ = io.WriteString(w, `{"n":1}`)
		_ = w.Close()
		s.upstream.forget()
		s.do("POST", "/v1/a", b.String(), "Content-Type", "application/json", "Content-Encoding", "gzip")
		if got := s.upstream.last(t); bytes.Contains(got.Body, []byte(canaryIMEI)) || gunzipped(t, got.Body) != `{"n":1}` {
			t.Errorf("%q arrived", got.Body)
		}
	})
}

func TestFormsOfClientsAreReadAndPutTogetherAgain(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	events := `[{"distinct_id":"u1","event":"View","properties":{"$device_id":"9774d56d682e549c","page":"home"}}]`
	clean := `[{"event":"View","properties":{"page":"home"}}]`
	list := base64.StdEncoding.EncodeToString([]byte(gzipped(events)))
	sum := fmt.Sprint(codec.JavaHash([]byte(list)))
	send := func(body string) url.Values {
		t.Helper()
		s.upstream.forget()
		if r := s.do("POST", "/v1/sa", body, "Content-Type", "application/x-www-form-urlencoded"); r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		q, err := url.ParseQuery(string(s.upstream.last(t).Body))
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := send("crc=" + url.QueryEscape(sum) + "&gzip=1&data_list=" + url.QueryEscape(list))
	raw, err := base64.StdEncoding.DecodeString(q.Get("data_list"))
	if err != nil || gunzipped(t, raw) != clean {
		t.Errorf("Sensors Analytics: %v, %s", err, gunzipped(t, raw))
	}
	if want := fmt.Sprint(codec.JavaHash([]byte(q.Get("data_list")))); q.Get("crc") != want || q.Get("gzip") != "1" {
		t.Errorf("crc %s, want %s", q.Get("crc"), want)
	}

	e := `[{"event_type":"view","device_id":"9774d56d682e549c","user_id":"u1"}]`
	q = send(url.Values{"client": {"key"}, "v": {"2"}, "e": {e}, "upload_time": {"1700000000000"},
		"checksum": {codec.AmplitudeChecksum("2", "key", e, "1700000000000")}}.Encode())
	if want := codec.AmplitudeChecksum("2", "key", q.Get("e"), "1700000000000"); q.Get("checksum") != want || q.Get("e") != `[{"event_type":"view"}]` {
		t.Errorf("Amplitude: %v, want the checksum %s", q, want)
	}

	q = send("data=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(`{"event":"View","properties":{"distinct_id":"u1","p":1}}`))) + "&verbose=1")
	if raw, _ := base64.StdEncoding.DecodeString(q.Get("data")); string(raw) != `{"event":"View","properties":{"p":1}}` || q.Get("verbose") != "1" {
		t.Errorf("Mixpanel: %s", raw)
	}
	if r := s.do("POST", "/v1/sa", "data_list=x&gzip=9", "Content-Type", "text/plain"); r.Status != 200 || string(s.upstream.last(t).Body) != "data_list=x&gzip=9" {
		t.Errorf("a form without a type: %d %s", r.Status, r.Body)
	}
	s.upstream.forget()
	s.do("POST", "/v1/mp", "en=page_view&uid=u1\nen=scroll&_et=5&imei=1", "Content-Type", "text/plain;charset=UTF-8")
	if got := string(s.upstream.last(t).Body); got != "en=page_view\nen=scroll&_et=5" {
		t.Errorf("lines of queries: %q", got)
	}
	s.upstream.forget()
	for _, binary := range []string{"\x00\x01\x02private", "\xff\x06\x00\x00sNaPpY" + canaryIMEI} {
		if r := s.do("POST", "/v1/x", binary, "Content-Type", "application/octet-stream"); r.Status != 415 || len(s.upstream.requests()) > 0 {
			t.Errorf("a binary: %d", r.Status)
		}
	}
}

// photo is a JPEG with a GPS position in its Exif.
var photo = func() []byte {
	exif := "Exif\x00\x00II*\x00\x08\x00\x00\x00" +
		"\x01\x00\x25\x88\x04\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00" + // IFD0: the GPS directory
		"\x01\x00\x02\x00\x05\x00\x03\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00" + // its latitude
		"\x17\x00\x00\x00\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\xdf\x5d\x00\x00\xe8\x03\x00\x00"
	app1 := fmt.Sprintf("\xff\xe1%c%c%s", (len(exif)+2)>>8, (len(exif)+2)&0xff, exif)
	return []byte("\xff\xd8" + app1 + "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x12\x34\xff\xd9")
}()

const latitude = "\x17\x00\x00\x00\x01\x00\x00\x00\x06\x00\x00\x00"

func TestPhotosLoseThePlace(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "media image/*", ""))
	if !bytes.Contains(photo, []byte(latitude)) {
		t.Fatal("the photo has no place")
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("note", "hello")
	_ = w.WriteField("imei", canaryIMEI)
	meta := `{"mac":"` + canaryMAC + `","n":1}`
	lengthy, _ := w.CreatePart(map[string][]string{"Content-Disposition": {`form-data; name="meta"`}, "Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(meta))}})
	_, _ = io.WriteString(lengthy, meta)
	part, _ := w.CreatePart(map[string][]string{"Content-Disposition": {`form-data; name="file"; filename="a.jpg"`}, "Content-Type": {"image/jpeg"}})
	_, _ = part.Write(photo)
	_ = w.Close()
	arrived := func(user string) map[string]string {
		t.Helper()
		s.upstream.forget()
		if r := s.do("POST", "/v1/upload", form.String(), "Content-Type", w.FormDataContentType(), "X-User-ID", user); r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		got := s.upstream.last(t)
		_, params, _ := mime.ParseMediaType(got.Header.Get("Content-Type"))
		parts := map[string]string{}
		for r := multipart.NewReader(bytes.NewReader(got.Body), params["boundary"]); ; {
			p, err := r.NextPart()
			if err == io.EOF {
				return parts
			}
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(p)
			parts[p.FormName()] = string(b)
		}
	}
	parts := arrived("nobody")
	if len(parts) != 3 || parts["note"] != "hello" || parts["meta"] != `{"n":1}` || strings.Contains(parts["file"], latitude) || len(parts["file"]) != len(photo) {
		t.Errorf("of a form: %q", parts)
	}
	s.accept(t, "u1")
	s.grant(t, "u1", "media.geotag")
	if parts := arrived("u1"); parts["file"] != string(photo) || parts["imei"] != canaryIMEI {
		t.Errorf("of a form, with consent: %q", parts)
	}

	s.upstream.forget()
	s.do("POST", "/v1/upload", string(photo), "Content-Type", "image/jpeg")
	if got := s.upstream.last(t).Body; bytes.Contains(got, []byte(latitude)) || len(got) != len(photo) {
		t.Errorf("of a photo: %q", got)
	}
	s.upstream.forget()
	s.do("POST", "/v1/upload", `{"attachment":"data:image/jpeg;base64,`+base64.StdEncoding.EncodeToString(photo)+`","n":1}`, "Content-Type", "application/json")
	if got := unwrapped(s.upstream.last(t).Body); len(s.upstream.last(t).Body) < len(photo) || holds(got, latitude) {
		t.Errorf("of a photo in JSON: %q", s.upstream.last(t).Body)
	}
	s.upstream.forget()
	for name, body := range map[string]string{"image/jpeg": "\xff\xd8\xff\xe1\x00", "image/unheard-of": "xyz"} {
		if r := s.do("POST", "/v1/upload", body, "Content-Type", name); r.Status/100 == 2 && bytes.Contains(s.upstream.last(t).Body, []byte(body)) {
			t.Errorf("%s that cannot be cleaned: %d", name, r.Status)
		}
	}
}

func (s *server) grant(t *testing.T, user, purpose string) {
	t.Helper()
	r := s.do("POST", "/consent/v1/events", fmt.Sprintf(`{"subject":%q,"kind":"user","policy_version":"2022-03-09","grants":[{"purpose":%q,"status":"granted"}]}`, user, purpose),
		"Authorization", "Bearer "+fixtureToken, "Content-Type", "application/json")
	if r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
}

func TestPathsThatHoldIDs(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded+uncoveredErrors, "backend", "path /v1/users/{account.id}/devices/{device.id.imei} /v1/users/{account.id}/*", "\thandle_errors {\n\t\treverse_proxy @UPSTREAM@\n\t}"))
	s.accept(t, "u1")
	path := "/v1/users/" + canaryUser + "/devices/" + canaryIMEI
	if r := s.do("GET", path+"?x=1", "", "X-User-ID", "u1"); r.Status != 200 || !strings.Contains(s.upstream.last(t).Line, path+"?x=1 ") {
		t.Errorf("with consent: %d %s", r.Status, s.upstream.last(t).Line)
	}
	s.upstream.forget()
	r := s.do("GET", path+"?x=1", "")
	if r.Status != 403 || problemKind(t, r) != "consent-required" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if len(s.upstream.requests()) > 0 {
		t.Errorf("%s arrived", s.upstream.last(t).Line)
	}
	for _, other := range []string{"//v1/users/u1", "/v1//users/u1", "/v1/x/../users/u1", "/V1/users/u1", "/v1%2fusers%2fu1", "/v1/users/u1/", "/v1/users/%75%31", "/v1/%2575sers/u1"} {
		s.upstream.forget()
		if r := s.raw("GET " + other + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); r.Status == 200 && len(s.upstream.requests()) > 0 && strings.Contains(s.upstream.last(t).Line, "u1") {
			t.Errorf("%s arrived as %s", other, s.upstream.last(t).Line)
		}
	}
	if r := s.do("GET", "/v1/posts/7", ""); r.Status != 200 || !strings.HasPrefix(s.upstream.last(t).Line, "GET /v1/posts/7 ") {
		t.Errorf("another path: %d", r.Status)
	}
	if l := leaks(s.logs()); l != nil {
		t.Errorf("%v stand in the logs:\n%s", l, s.logs())
	}
}

func TestHeadersAndCookiesAreSearched(t *testing.T) {
	s := startCaddy(t, gateCaddyfile(embedded, "backend", "", ""))
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	cookie := "theme=dark; sensorsdata=" + url.QueryEscape(`{"distinct_id":"u1","first_id":"9774d56d682e549c","props":{"a":1}}`)
	s.do("GET", "/v1/a", "", "X-Custom", "phone 13800138000!", "X-Page", "https://h.example/p?imei="+canaryIMEI+"&y=1",
		"Cookie", cookie, "traceparent", trace, "X-Request-Id", "7f3a-42", "X-Blob", base64.StdEncoding.EncodeToString([]byte(`{"imei":"`+canaryIMEI+`","y":1}`)))
	got := s.upstream.last(t)
	for name, want := range map[string]string{
		"X-Custom": "phone ***!", "X-Page": "https://h.example/p?y=1", "Traceparent": trace, "X-Request-Id": "7f3a-42",
		"X-Blob": base64.StdEncoding.EncodeToString([]byte(`{"y":1}`)), "Cookie": "theme=dark; sensorsdata=%7B%22props%22%3A%7B%22a%22%3A1%7D%7D",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
}
