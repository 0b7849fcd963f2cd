package risk

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sampleReport is a report with something in every part of it.
func sampleReport(t testing.TB) *Report {
	t.Helper()
	var after, before, other []string
	for i := range 24 {
		city, model, ill := i%3, i%2, i%5
		if i == 7 {
			model = 9 // nobody else has it
		}
		rare := ""
		if i%8 == 0 { // a member that is named by a value
			rare = fmt.Sprintf(`,"%s%c":1`, canary, 'a'+i)
		}
		after = append(after, fmt.Sprintf(`{"ifa":"p-%04d","req":"3d4e5f60-7182-493a-b4c5-%012x","place":{"city":"%s %d"},"model":"m%d","ill":"%s %d","mail":"%s%d@example.com","note":"x"%s}`,
			i/2, i, canary, city, model, canary, ill, canary, i, rare))
		before = append(before, fmt.Sprintf(`{"ifa":"raw-%04d","place":{"city":"%s %d"},"model":"m%d","birth":%d,"ill":"%s %d"}`, i/2, canary, i, model, 1960+i, canary, ill))
		other = append(other, fmt.Sprintf(`{"user":"p-%04d","model":"m%d"}`, i+11, model))
	}
	classify := func(steps []string) Assignment {
		category := Assignment{Role: Quasi, Because: ByCategory, Action: "pass"}
		switch strings.Join(steps, ".") {
		case "ifa", "user":
			return Assignment{Role: Pseudonym, Subject: true, Fixed: true, Category: "device.id.idfa", Action: "pseudonym", Because: ByFlag}
		case "req":
			return Assignment{Role: Other, Because: ByKeep}
		case "place.city":
			category.Category, category.Action, category.Sensitive = "location.precise", "de-identified", true
			return category
		case "model":
			category.Category = "device.model"
			return category
		case "birth":
			return Assignment{Role: Ignored, Fixed: true, Because: ByFlag}
		case "ill":
			return Assignment{Role: Sensitive, Sensitive: true, Fixed: true, Because: ByFlag}
		case "note":
			return Assignment{Role: Quasi, Undeclared: true, Category: "content.text", Action: "drop", Because: NotAllowed}
		}
		return unknownField
	}
	o := Options{Classify: classify}
	withLooks := o
	withLooks.Inspect = func(record []byte) []string {
		if bytes.Contains(record, []byte("@example.com")) {
			return []string{"contact.email"}
		}
		return nil
	}
	named := func(name string, text []string, o Options) *Sample {
		s, err := Read(strings.NewReader(lines(text...)), name, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := named("adx.ndjson", after, withLooks)
	want := MeasureOptions{MinK: 5, MinL: 3, Subset: 3}
	r := &Report{
		Format: Format, Date: time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC),
		Policy:    &Policy{ID: "house", Version: "2025-01-01", Controller: "Example & Co.", Digest: strings.Repeat("0123456789abcdef", 4)},
		Recipient: Recipient{ID: "adx", TitleEN: "Ad exchange", TitleZH: "广告交易平台", Kind: "ad_partner", Vendor: "Example <Ads>", Country: "CN"},
		Sample:    Measure(s, want),
		Before:    Measure(named("raw.ndjson", before, o), want),
		Link:      LinkSamples(s, named("other.ndjson", other, o), want),
	}
	r.Link.Recipient = "measure"
	r.Judge(Thresholds{MinK: 5, MaxUnique: 0.01, MinL: 3, MaxT: 0.5, MaxLinked: 0.01})
	return r
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is meant, run go test ./internal/risk -update and review the diff:\n%s", file, got)
	}
}

func TestReportGoldens(t *testing.T) {
	r := sampleReport(t)
	var text, js bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/report.txt", text.Bytes())
	compareGolden(t, "testdata/report.json", js.Bytes())
	for i, line := range strings.Split(text.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > width {
			t.Errorf("line %d has %d columns: %s", i+1, n, line)
		}
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Verdict.Failed != r.Verdict.Failed {
		t.Errorf("read again: %v, %+v", err, back.Verdict)
	}
}

func TestNoReportHoldsAValue(t *testing.T) {
	r := sampleReport(t)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return r.WriteText(b) },
		"JSON": func(b *bytes.Buffer) error { return r.WriteJSON(b) },
		"en":   func(b *bytes.Buffer) error { return r.WriteHTML(b, English) },
		"zh":   func(b *bytes.Buffer) error { return r.WriteHTML(b, Chinese) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{canary, "p-00", "raw-0", "3d4e5f60"} {
			if strings.Contains(b.String(), value) {
				t.Errorf("%s holds %s", name, value)
			}
		}
		// And what it is to hold.
		for _, want := range []string{"place.city", "location.precise", "contact.email"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

func TestHTMLStandsAloneAndIsWellFormed(t *testing.T) {
	r := sampleReport(t)
	for lang, want := range map[Language][]string{
		English: {`<html lang="en">`, "Re-identification risk: Ad exchange", "records in classes below k = 5", "Example &lt;Ads&gt;", "2026-01-15 08:00 UTC", "quasi-identifier"},
		Chinese: {`<html lang="zh-CN">`, "重标识风险评估：广告交易平台", "所在等价类不足 5 人的记录占比", "准标识符", "未声明提供给该接收方"},
	} {
		var b bytes.Buffer
		if err := r.WriteHTML(&b, lang); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: %s is missing", lang, w)
			}
		}
		for _, never := range []string{"<script", "http:", "https:", "url(", "src=", "@import", "ZgotmplZ", "NaN", "Inf"} {
			if strings.Contains(page, never) {
				t.Errorf("%s: the page holds %s", lang, never)
			}
		}
		for _, print := range []string{"@media print", "size: A4", "break-inside: avoid"} {
			if !strings.Contains(page, print) {
				t.Errorf("%s: no %s", lang, print)
			}
		}
		_, body, _ := strings.Cut(page, "<body>")
		if found := regexp.MustCompile(`>[^<]*\b(records|classes|fields|share of)\b`).FindString(body); lang == Chinese && found != "" {
			t.Errorf("English words in the Chinese page: %s", found)
		}
		charts := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
		if len(charts) != 4 {
			t.Fatalf("%s: %d charts, want 4", lang, len(charts))
		}
		for _, c := range charts {
			var doc struct {
				Title string `xml:"title"`
				Desc  string `xml:"desc"`
				Role  string `xml:"role,attr"`
			}
			if err := xml.Unmarshal([]byte(c), &doc); err != nil || doc.Title == "" || doc.Desc == "" || doc.Role != "img" {
				t.Errorf("%s: a chart without title or description, or not well-formed: %v %+v", lang, err, doc)
			}
		}
		for _, tag := range []string{"table", "section", "figure", "p", "tr", "dl"} {
			open, closed := len(regexp.MustCompile(`<`+tag+`[ >]`).FindAllString(page, -1)), strings.Count(page, "</"+tag+">")
			if open != closed {
				t.Errorf("%s: %d <%s> and %d ends", lang, open, tag, closed)
			}
		}
	}
}

func TestEveryThresholdFailsOnItsOwn(t *testing.T) {
	figures := func() *Figures {
		return &Figures{
			Below: []Below{{K: 2}, {K: 5}}, Fields: []Field{{Role: Quasi}}, Sensitive: []Secret{{Name: "ill", Distinct: 3}},
		}
	}
	limits := Thresholds{MinK: 5, MaxUnique: 0.01, MinL: 2, MaxT: 0.3, MaxLinked: 0.01}
	for name, spoil := range map[CheckName]func(*Report){
		"":              func(*Report) {},
		CheckK:          func(r *Report) { r.Sample.Below[1].Share = 0.001 },
		CheckUnique:     func(r *Report) { r.Sample.Unique.SubjectShare = 0.02 },
		CheckL:          func(r *Report) { r.Sample.Sensitive[0].Below = 0.001 },
		CheckT:          func(r *Report) { r.Sample.Sensitive[0].Closeness = 0.31 },
		CheckLinked:     func(r *Report) { r.Link.ExactShare = 0.011 },
		CheckShared:     func(r *Report) { r.Link.Shared = []Shared{{}} },
		CheckDirect:     func(r *Report) { r.Sample.Fields[0].Role = Direct },
		CheckUndeclared: func(r *Report) { r.Sample.Fields[0].Undeclared = true },
		CheckLooks:      func(r *Report) { r.Sample.Looks = []Count{{"contact.phone", 1}} },
	} {
		r := &Report{Policy: &Policy{}, Sample: figures(), Link: &Link{}}
		spoil(r)
		r.Judge(limits)
		var failed []CheckName
		for _, c := range r.Verdict.Checks {
			if !c.Pass {
				failed = append(failed, c.Name)
			}
		}
		if len(r.Verdict.Checks) != 9 || r.Verdict.Pass != (name == "") || r.Verdict.Failed != len(failed) || name != "" && (len(failed) != 1 || failed[0] != name) {
			t.Errorf("%s: failed %v of %d", name, failed, len(r.Verdict.Checks))
		}
	}
}

func TestAShareThatIsLittleIsNotWrittenAsNothing(t *testing.T) {
	for x, want := range map[float64]string{0: "0.00%", 0.000001: "<0.01%", 0.5: "50.00%", 0.999999: ">99.99%", 1: "100.00%"} {
		if got := percent(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}
