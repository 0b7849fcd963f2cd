package risk

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strconv"
)

//go:embed report.html.tmpl
var page string

// shownBars is how many fields the chart of fields shows; the table has all.
const shownBars = 24

// view is what the page is made of.
type view struct {
	*Report
	Lang Language
	// Above and below the tables:
	Histogram, Cumulative, FieldBars, BeforeBars template.HTML
}

// WriteHTML writes the report as one page for a browser and for paper (A4): no
// script, and nothing that is loaded from elsewhere. An unknown language is
// English.
func (r *Report) WriteHTML(w io.Writer, lang Language) error {
	if lang != Chinese {
		lang = English
	}
	v := &view{Report: r, Lang: lang}
	t, err := template.New("report").Funcs(template.FuncMap{
		"t":        v.say,
		"n":        grouped,
		"percent":  percent,
		"decimals": decimals,
		"field":    func(f Field) string { return f.inWords(lang) },
		"check":    func(c Check) string { return c.inWords(lang) },
		"figure":   func(c Check) string { return c.number(c.Figure) },
		"limit":    func(c Check) string { return c.number(c.Limit) },
		"bin":      func(b Bin) string { return b.inWords() },
		"summary":  v.summary,
		"isQuasi":  func(f Field) bool { return f.Role == Quasi },
	}).Parse(page)
	if err != nil {
		return err
	}
	v.charts()
	return t.Execute(w, v)
}

func (v *view) say(en, zh string) string {
	if v.Lang == Chinese {
		return zh
	}
	return en
}

// Title is that of the page.
func (v *view) Title() string {
	name := v.Recipient.ID
	if t := v.say(v.Recipient.TitleEN, v.Recipient.TitleZH); t != "" {
		name = t
	}
	if name == "" {
		return v.say("Re-identification risk", "重标识风险评估")
	}
	return v.say("Re-identification risk: ", "重标识风险评估：") + name
}

// summaryRow is one line of the summary: the sample, and before.
type summaryRow struct{ Name, After, Before string }

func (v *view) summary() []summaryRow {
	var rows []summaryRow
	add := func(name string, value func(*Figures) string) {
		row := summaryRow{Name: name, After: value(v.Sample)}
		if v.Before != nil {
			row.Before = value(v.Before)
		}
		rows = append(rows, row)
	}
	for _, s := range summary {
		add(v.say(s.en, s.zh), s.value)
	}
	for i, b := range v.Sample.Below {
		add(v.below(b.K), func(m *Figures) string { return percent(m.Below[i].Share) })
	}
	return rows
}

func (v *view) below(k int) string {
	return v.say("records in classes below "+strconv.Itoa(k), "所在等价类不足 "+strconv.Itoa(k)+" 人的记录")
}

// minK is the k that the report is judged by.
func (v *view) minK() int {
	for _, c := range v.Verdict.Checks {
		if c.Name == CheckK {
			return max(c.Wanted, 1)
		}
	}
	return 1
}

func (v *view) charts() {
	m := v.Sample
	v.Histogram = histogramChart(
		v.say("How many classes there are of each size", "各规模等价类的数量"),
		v.say("A column for each range of class sizes; its height is the number of classes, on a logarithmic scale.", "每柱对应一段等价类规模，柱高为等价类数量（对数刻度）。"),
		v.say("subjects in the class (k)", "等价类中的人数（k）"), v.say("classes (log)", "等价类数量（对数）"), m.Histogram)
	v.Cumulative = cumulativeChart(
		v.say("Share of records in classes of at most k", "所在等价类不超过 k 人的记录占比"),
		v.say("A rising line over k on a logarithmic scale; a dashed line marks the smallest class that may be.", "随 k（对数刻度）上升的曲线；虚线为允许的最小等价类。"),
		v.say("subjects in the class (k, log)", "等价类中的人数（k，对数）"), v.say("share of records", "记录占比"),
		"k = "+strconv.Itoa(v.minK()), m.Cumulative, v.minK())

	fields := slices.DeleteFunc(slices.Clone(m.Fields), func(f Field) bool { return f.Role != Quasi })
	slices.SortStableFunc(fields, func(a, b Field) int {
		switch x, y := max(a.Unique, a.Marginal), max(b.Unique, b.Marginal); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	if tells := slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return max(f.Unique, f.Marginal) <= 0 }); len(tells) > 0 {
		fields = tells
	}
	var bars []bar
	for _, f := range fields[:min(shownBars, len(fields))] {
		bars = append(bars, bar{f.Path, []float64{f.Unique, f.Marginal}})
	}
	if len(bars) > 0 {
		v.FieldBars = barChart("fields", v.say("What each quasi-identifier gives away", "各准标识符的区分能力"),
			v.say("For each field two bars: the share of records that it singles out alone, and by how much the share of unique records falls when it is left out.", "每个字段两条：单独区分出的记录占比；去掉该字段后独自成类的记录占比的降幅。"),
			bars, []string{v.say("alone", "单独"), v.say("marginal", "边际")})
	}
	if v.Before == nil {
		return
	}
	pair := func(name string, share func(*Figures) float64) bar {
		return bar{name, []float64{share(m), share(v.Before)}}
	}
	compared := []bar{pair(v.say("records alone", "独自成类的记录"), func(m *Figures) float64 { return m.Unique.RecordShare })}
	if m.Subjects > 0 && v.Before.Subjects > 0 {
		compared = append(compared, pair(v.say("subjects alone", "独自成类的主体"), func(m *Figures) float64 { return m.Unique.SubjectShare }))
	}
	for i, b := range m.Below {
		compared = append(compared, pair(v.below(b.K), func(m *Figures) float64 { return m.Below[i].Share }))
	}
	compared = append(compared, pair(v.say("prosecutor risk, average", "检察官风险：平均"), func(m *Figures) float64 { return m.Prosecutor.Average }))
	v.BeforeBars = barChart("before", v.say("After de-identification, and before", "去标识化之后与之前"),
		v.say("For each measure two bars: what the recipient got, and the same records before.", "每项指标两条：接收方所得，以及去标识化之前的同一批记录。"),
		compared, []string{v.say("after", "之后"), v.say("before", "之前")})
}
