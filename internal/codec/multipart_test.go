package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
)

// lines joins lines with CRLF. The last has none.
func lines(l ...string) string { return strings.Join(l, "\r\n") }

const disposition = `Content-Disposition: form-data; name="a"`

func TestSplitMultipart(t *testing.T) {
	type part struct {
		name, file, media, transfer, content string
		hasFile                              bool
	}
	for _, tt := range []struct {
		name, body string
		want       []part
	}{
		{"one", lines("--b", disposition, "", "1", "--b--", ""), []part{{name: "a", content: "1"}}},
		{"no line end after the close", lines("--b", disposition, "", "1", "--b--"), []part{{name: "a", content: "1"}}},
		{"line ends around", lines("", "--b", disposition, "", "1", "--b--", "", ""), []part{{name: "a", content: "1"}}},
		{"none", lines("--b--", ""), nil},
		{"none, and nothing after", "--b--", nil},
		{"an empty content", lines("--b", disposition, "", "", "--b--", ""), []part{{name: "a"}}},
		{"line ends in the content", lines("--b", disposition, "", "", "\n\r1\r\n", "", "--b--", ""), []part{{name: "a", content: "\r\n\n\r1\r\n\r\n"}}},
		{"almost a delimiter in the content", lines("--b", disposition, "", "-b", "--", "--c", "-- b", "--b--", ""), []part{{name: "a", content: "-b\r\n--\r\n--c\r\n-- b"}}},
		{
			"several, the same name twice",
			lines("--b", disposition, "", "1", "--b", disposition, "", "2", "--b", `content-DISPOSITION:FORM-DATA;NAME=c`, "", "3", "--b--", ""),
			[]part{{name: "a", content: "1"}, {name: "a", content: "2"}, {name: "c", content: "3"}},
		},
		{
			"a file",
			lines("--b", disposition+`; filename="x.JPG"`, "Content-Type: Image/JPEG; q=1", "Content-Transfer-Encoding: BINARY", "Content-Length: 3", "", "\xff\xd8\xff", "--b--", ""),
			[]part{{name: "a", file: "x.JPG", hasFile: true, media: "image/jpeg", transfer: "binary", content: "\xff\xd8\xff"}},
		},
		{"a file without a name", lines("--b", disposition+`; filename=""`, "", "", "--b--", ""), []part{{name: "a", hasFile: true}}},
		{"a file with a path", lines("--b", disposition+`; filename="/a/b.c"`, "", "", "--b--", ""), []part{{name: "a", file: "/a/b.c", hasFile: true}}},
		{"both filenames", lines("--b", disposition+`; filename=x.txt; filename*=utf-8''x.txt`, "", "", "--b--", ""), []part{{name: "a", file: "x.txt", hasFile: true}}},
		{"Chinese", lines("--b", `Content-Disposition: form-data; name="姓名"; filename="照片.jpg"`, "", "", "--b--", ""), []part{{name: "姓名", file: "照片.jpg", hasFile: true}}},
		{"a semicolon after the last parameter", lines("--b", disposition+"; ", "", "", "--b--", ""), []part{{name: "a"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts, err := SplitMultipart([]byte(tt.body), "b")
			if err != nil {
				t.Fatal(err)
			}
			var got []part
			for _, p := range parts {
				got = append(got, part{p.Name, p.FileName, p.ContentType, p.Transfer, tt.body[p.BodyStart:p.BodyEnd], p.HasFile})
				if !strings.HasPrefix(tt.body[p.Start:], "--b\r\n") || !strings.HasPrefix(tt.body[p.End:], "--b") {
					t.Errorf("a part from %q to %q", tt.body[p.Start:], tt.body[p.End:])
				}
			}
			if same := FixPartLengths([]byte(tt.body), "b"); string(same) != tt.body {
				t.Errorf("its lengths made true: %q, was %q", same, tt.body)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Each of these is read differently by some receiver, or is not read at all.
func TestSplitMultipartRefuses(t *testing.T) {
	with := func(header ...string) string {
		return lines(append(append([]string{"--b"}, header...), "", "1", "--b--", "")...)
	}
	if _, err := SplitMultipart([]byte(with(disposition)), "b"); err != nil {
		t.Fatal(err) // what the cases below are variations of
	}
	for name, body := range map[string]string{
		"nothing":                               "",
		"no delimiter":                          "imei=1",
		"a preamble":                            lines("imei=1", "--b", disposition, "", "1", "--b--", ""),
		"two line ends before":                  lines("", "", "--b", disposition, "", "1", "--b--", ""),
		"an epilogue":                           with(disposition) + "imei=1",
		"an epilogue without a line end":        lines("--b", disposition, "", "1", "--b--imei=1"),
		"an epilogue of spaces":                 with(disposition) + " ",
		"a part after the close":                with(disposition) + with(disposition),
		"no close":                              lines("--b", disposition, "", "1", "--b", ""),
		"cut off in the content":                lines("--b", disposition, "", "1"),
		"cut off in the header":                 lines("--b", disposition),
		"cut off after the delimiter":           "--b",
		"a close with one hyphen":               lines("--b", disposition, "", "1", "--b-", ""),
		"no header":                             lines("--b", "", "1", "--b--", ""),
		"no blank line":                         lines("--b", disposition, "--b--", ""),
		"a content that starts with the close":  lines("--b", disposition, "", "--b--", ""),
		"LF line ends":                          strings.ReplaceAll(with(disposition), "\r\n", "\n"),
		"a LF after the delimiter":              strings.Replace(with(disposition), "--b\r\n", "--b\n", 1),
		"a LF before the close":                 strings.Replace(with(disposition), "\r\n--b--", "\n--b--", 1),
		"a LF in the header":                    with(disposition + "\nX: y"),
		"a CR in the header":                    with(disposition + "\rX: y"),
		"a NUL in the header":                   with(disposition, "X: \x00"),
		"white space after the delimiter":       strings.Replace(with(disposition), "--b\r\n", "--b \r\n", 1),
		"white space after the close":           strings.Replace(with(disposition), "--b--", "--b-- ", 1),
		"the boundary in the content":           lines("--b", disposition, "", "x--b", "--b--", ""),
		"the boundary after a LF":               lines("--b", disposition, "", "x\n--b\n"+disposition+"\n\ny", "--b--", ""),
		"the boundary with more on its line":    lines("--b", disposition, "", "1", "--bc", "--b--", ""),
		"the boundary in a header":              with(disposition, "X: --b"),
		"three hyphens":                         lines("--b", disposition, "", "1", "---b", "--b--", ""),
		"no disposition":                        with("Content-Type: text/plain"),
		"two dispositions":                      with(disposition, disposition),
		"two dispositions, one in lower case":   with(disposition, strings.ToLower(disposition)),
		"a field twice":                         with(disposition, "X: 1", "x: 1"),
		"a folded field":                        with(`Content-Disposition: form-data;`, ` name="a"`),
		"a space before the colon":              with(`Content-Disposition : form-data; name="a"`),
		"a line without a colon":                with(disposition, "imei"),
		"an empty field name":                   with(disposition, ": x"),
		"a field name that is no token":         with(disposition, "X(Y): x"),
		"an attachment":                         with(`Content-Disposition: attachment; name="a"`),
		"no type":                               with(`Content-Disposition: name="a"`),
		"no name":                               with(`Content-Disposition: form-data`),
		"a filename only":                       with(`Content-Disposition: form-data; filename="a"`),
		"an empty name":                         with(`Content-Disposition: form-data; name=""`),
		"a name twice":                          with(disposition + `; name="a"`),
		"a name twice, differently":             with(disposition + `; NAME="imei"`),
		"a name with white space":               with(`Content-Disposition: form-data; name=" a"`),
		"name*":                                 with(`Content-Disposition: form-data; name*=utf-8''a`),
		"name and name*":                        with(disposition + `; name*=utf-8''imei`),
		"name*0":                                with(`Content-Disposition: form-data; name*0="a"`),
		"filename* only":                        with(disposition + `; filename*=utf-8''a`),
		"filename* differs":                     with(disposition + `; filename=a; filename*=utf-8''b`),
		"filename* in another charset":          with(disposition + `; filename=a; filename*=gbk''a`),
		"filename* cut off":                     with(disposition + `; filename=a; filename*=utf-8'a`),
		"another parameter":                     with(disposition + `; size=1`),
		"an escaped quote":                      with(`Content-Disposition: form-data; name="a\"; filename=\"b"`),
		"a backslash":                           with(disposition + `; filename="C:\a"`),
		"a semicolon in a value":                with(disposition + `; filename="a; name=imei"`),
		"an encoded word":                       with(`Content-Disposition: form-data; name="=?utf-8?B?aW1laQ==?="`),
		"single quotes":                         with(`Content-Disposition: form-data; name='a'`),
		"an open quote":                         with(`Content-Disposition: form-data; name="a`),
		"text after a quote":                    with(disposition + `x`),
		"no semicolon between parameters":       with(disposition + ` filename="x"`),
		"two semicolons":                        with(disposition + `;; filename="x"`),
		"spaces around =":                       with(`Content-Disposition: form-data; name = "a"`),
		"a parameter without a value":           with(disposition + `; filename`),
		"a comment":                             with(`Content-Disposition: form-data (x); name="a"`),
		"GBK":                                   with("Content-Disposition: form-data; name=\"\xd0\xd5\""),
		"a content type that is none":           with(disposition, "Content-Type: json"),
		"an untrue content length":              with(disposition, "Content-Length: 9"),
		"a content length in other words":       with(disposition, "Content-Length: +1"),
		"too long a header":                     with(disposition, "X: "+strings.Repeat("x", maxPartHeader)),
		"too long a header of many short lines": with(append([]string{disposition}, manyFields(2000)...)...),
		"too many parts":                        strings.Repeat(lines("--b", disposition, "", "1", ""), maxParts+1) + "--b--",
	} {
		if parts, err := SplitMultipart([]byte(body), "b"); !errors.Is(err, ErrMultipart) || parts != nil {
			t.Errorf("%s: %d parts, %v", name, len(parts), err)
		}
	}
}

func manyFields(n int) (fields []string) {
	for i := range n {
		fields = append(fields, fmt.Sprintf("X%d: 1", i))
	}
	return fields
}

func TestSplitMultipartBounds(t *testing.T) {
	one := lines("--b", disposition, "", "1", "")
	if parts, err := SplitMultipart([]byte(strings.Repeat(one, maxParts)+"--b--"), "b"); err != nil || len(parts) != maxParts {
		t.Errorf("%d parts: %v", len(parts), err)
	}
}

func TestSplitMultipartBoundary(t *testing.T) {
	for _, tt := range []struct {
		boundary string
		want     error
	}{
		{"----WebKitFormBoundary7MA4YWxkTrZu0gW", nil},
		{"X-INSOMNIA-BOUNDARY", nil},
		{"Boundary+0A/B=_'(),.:?", nil},
		{strings.Repeat("b", 70), nil},
		{strings.Repeat("b", 71), ErrMultipart},
		{"", ErrMultipart},
		{"a b", ErrMultipart},
		{"a ", ErrMultipart},
		{"--", ErrMultipart}, // "------" closes, and opens, at several places
		{"a\r\nb", ErrMultipart},
		{`a"b`, ErrMultipart},
	} {
		d := "--" + tt.boundary
		body := lines(d, disposition, "", "1", d+"--", "")
		if _, err := SplitMultipart([]byte(body), tt.boundary); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.boundary, err, tt.want)
		}
	}
}

func TestBoundary(t *testing.T) {
	for _, tt := range []struct{ contentType, want string }{
		{"multipart/form-data; boundary=abc", "abc"},
		{`Multipart/Form-Data; charset=utf-8; BOUNDARY="a:c"`, "a:c"},
		{"multipart/form-data; boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"},
		{"multipart/form-data", ""},
		{"multipart/mixed; boundary=abc", ""},
		{"multipart/form-data; boundary=", ""},
		{"multipart/form-data; boundary=a; boundary=b", ""},
		{"multipart/form-data; boundary=a; boundary=a", ""},
		{"multipart/form-data; boundary=a; boundary*=utf-8''b", ""},
		{"multipart/form-data; boundary*=utf-8''b", ""},
		{"multipart/form-data; boundary*0=a; boundary*1=b", ""},
		{`multipart/form-data; x="boundary=b"; boundary=a`, ""},
		{`multipart/form-data; charset="boundary=b"; boundary=a`, ""},
		{`multipart/form-data; boundary="a\b"`, ""},
		{"multipart/form-data; boundary=a, multipart/form-data; boundary=b", ""},
		{"", ""},
	} {
		if got, err := Boundary(tt.contentType); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v", tt.contentType, got, err)
		}
	}
}

// readAllParts reads a body as a receiver does.
func readAllParts(body []byte, boundary string) (names, contents []string, err error) {
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return names, contents, nil
		}
		if err != nil {
			return nil, nil, err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, err
		}
		names, contents = append(names, p.FormName()), append(contents, string(b))
	}
}

func TestCutAndReplaceParts(t *testing.T) {
	body := []byte(lines("", "--b", `Content-Disposition: form-data; name="one"`, "content-length: 1", "", "1",
		"--b", `Content-Disposition: form-data; name="two"`, "", "2",
		"--b", `Content-Disposition: form-data; name="three"`, "X: y", "", "3", "--b--", ""))
	parts, err := SplitMultipart(body, "b")
	if err != nil || len(parts) != 3 {
		t.Fatal(len(parts), err)
	}
	for removed := range 8 { // every subset
		var out []byte
		var want []string
		at := 0
		for i, p := range parts {
			if removed>>i&1 == 1 {
				out = append(out, body[at:p.Start]...)
				at = p.End
			} else {
				want = append(want, p.Name)
			}
		}
		out = append(out, body[at:]...)
		names, _, err := readAllParts(out, "b")
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("without %03b: %q, %v, want %q", removed, names, err, want)
		}
		if again, err := SplitMultipart(out, "b"); err != nil || len(again) != len(want) {
			t.Errorf("without %03b: %d parts, %v", removed, len(again), err)
		}
	}
	var out []byte
	at := 0
	for _, p := range parts {
		out = append(append(out, body[at:p.BodyStart]...), "longer than it was"...)
		at = p.BodyEnd
	}
	out = FixPartLengths(append(out, body[at:]...), "b")
	again, err := SplitMultipart(out, "b") // fails if the Content-Length is untrue
	if err != nil || len(again) != 3 || again[0].Header.Get("Content-Length") != "18" || again[2].Header.Get("X") != "y" {
		t.Fatalf("%q: %v", out, err)
	}
	for _, p := range again {
		if string(out[p.BodyStart:p.BodyEnd]) != "longer than it was" {
			t.Errorf("%q", out[p.Start:p.End])
		}
	}
}

// The second reading sees whatever the first one got wrong.
func TestAgrees(t *testing.T) {
	body := []byte(lines("--b", disposition+`; filename="x"`, "X: y", "", "12", "--b", disposition, "", "3", "--b--", ""))
	for name, spoil := range map[string]func(p []Part) []Part{
		"a part less":       func(p []Part) []Part { return p[:1] },
		"a part more":       func(p []Part) []Part { return append(p, p[0]) },
		"another name":      func(p []Part) []Part { p[1].Name = "b"; return p },
		"another file name": func(p []Part) []Part { p[0].FileName = "y"; return p },
		"another field":     func(p []Part) []Part { p[0].Header.Set("X", "z"); return p },
		"a field less":      func(p []Part) []Part { p[0].Header.Del("X"); return p },
		"a longer content":  func(p []Part) []Part { p[0].BodyEnd++; return p },
		"a shorter content": func(p []Part) []Part { p[0].BodyEnd--; return p },
		"another content":   func(p []Part) []Part { p[1].BodyStart, p[1].BodyEnd = p[0].BodyStart, p[0].BodyEnd-1; return p },
	} {
		parts, err := SplitMultipart(body, "b")
		if err != nil || !agrees(parts, body, "b") {
			t.Fatal(err)
		}
		if agrees(spoil(parts), body, "b") {
			t.Errorf("%s is not seen", name)
		}
	}
}

// What the standard library writes is taken.
func TestSplitMultipartOfAWriter(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("data", sample)
	f, _ := w.CreateFormFile("photo", "a.jpg")
	_, _ = f.Write(bytes.Repeat([]byte("\xff\xd8\r\n--"), 9000))
	_ = w.Close()
	boundary, err := Boundary(w.FormDataContentType())
	if err != nil {
		t.Fatal(err)
	}
	parts, err := SplitMultipart(b.Bytes(), boundary)
	if err != nil || len(parts) != 2 || parts[0].Name != "data" || parts[1].FileName != "a.jpg" || parts[1].ContentType != "application/octet-stream" {
		t.Errorf("%+v, %v", parts, err)
	}
}

func FuzzBoundary(f *testing.F) {
	f.Add("multipart/form-data; boundary=----WebKitFormBoundaryX")
	f.Add(`Multipart/Form-Data; charset=utf-8; BOUNDARY="a:c"`)
	f.Fuzz(func(t *testing.T, contentType string) {
		boundary, err := Boundary(contentType)
		if err != nil {
			return
		}
		// Readers that look for the text find the same.
		_, after, ok := strings.Cut(strings.ToLower(contentType), "boundary=")
		if !ok || !strings.HasPrefix(strings.TrimPrefix(after, `"`), strings.ToLower(boundary)) {
			t.Fatalf("%q: %q", contentType, boundary)
		}
	})
}

func FuzzSplitMultipart(f *testing.F) {
	f.Add([]byte(lines("--b", disposition, "", "1", "--b", disposition+`; filename="x"`, "Content-Type: text/plain", "", "2", "--b--", "")), "b")
	f.Add([]byte(lines("", "--b", disposition+`; filename=x; filename*=utf-8''x`, "Content-Length: 1", "", "1", "--b--")), "b")
	f.Add([]byte("--b--"), "b")
	f.Add([]byte("--b\n"+disposition+"\n\n1\n--b--"), "b")
	f.Add([]byte(lines("------", disposition, "", "1", "--------", "")), "----")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		parts, err := SplitMultipart(body, boundary)
		if err != nil {
			return
		}
		names, contents, err := readAllParts(body, boundary)
		if err != nil || len(names) != len(parts) {
			t.Fatalf("%d parts, the standard library reads %d: %v", len(parts), len(names), err)
		}
		// Everything that looks like a delimiter, wherever it is, opens a part
		// or closes the body.
		if n := bytes.Count(body, []byte("--"+boundary)); n != len(parts)+1 {
			t.Fatalf("%d parts and %d delimiters", len(parts), n)
		}
		var cut []byte
		at := 0
		for i, p := range parts {
			if names[i] != p.Name || contents[i] != string(body[p.BodyStart:p.BodyEnd]) {
				t.Fatalf("part %d: %q, the standard library reads %q", i, p.Name, names[i])
			}
			cut = append(cut, body[at:p.Start]...)
			at = p.End
		}
		cut = append(cut, body[at:]...)
		if same := FixPartLengths(body, boundary); !bytes.Equal(same, body) {
			t.Fatalf("its lengths made true: %q", same)
		}
		if rest, err := SplitMultipart(cut, boundary); err != nil || len(rest) != 0 {
			t.Fatalf("all cut out: %q: %d parts, %v", cut, len(rest), err)
		}
	})
}

func BenchmarkSplitMultipart(b *testing.B) {
	body := []byte(lines("--b", disposition, "", strings.Repeat(sample, 600), "--b", disposition+`; filename="x"`, "", strings.Repeat("\r\n--x", 200_000), "--b--", ""))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SplitMultipart(body, "b"); err != nil {
			b.Fatal(err)
		}
	}
}
