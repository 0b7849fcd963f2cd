package risk

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// width is that of a terminal.
const width = 80

// WriteText writes a summary for a terminal of 80 columns.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	who := r.Recipient.ID
	if who == "" {
		who = "an unnamed recipient"
	}
	fmt.Fprintf(&b, "Re-identification risk: %s", who)
	if r.Recipient.Country != "" {
		fmt.Fprintf(&b, " (%s)", r.Recipient.Country)
	}
	b.WriteByte('\n')
	if r.Policy != nil {
		fmt.Fprintf(&b, "Policy %s, version %s\n", r.Policy.ID, r.Policy.Version)
	}
	b.WriteByte('\n')
	r.figuresText(&b)
	r.fieldsText(&b)
	r.subsetsText(&b)
	r.sensitiveText(&b)
	r.linkText(&b)
	r.verdictText(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// row writes the cells of a table's line.
func row(w io.Writer, cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }

// summary are the rows that stand side by side for the sample and before.
var summary = []struct {
	en, zh string
	value  func(*Figures) string
}{
	{"records read", "读取的记录", func(m *Figures) string { return grouped(m.Records) }},
	{"records measured", "计入的记录", func(m *Figures) string { return grouped(m.Used) }},
	{"subjects", "主体", func(m *Figures) string {
		if m.Subjects == 0 {
			return "–"
		}
		return grouped(m.Subjects)
	}},
	{"quasi-identifiers", "准标识符", func(m *Figures) string { return grouped(len(m.Quasi)) }},
	{"combinations (classes)", "取值组合（等价类）", func(m *Figures) string { return grouped(m.Combinations) }},
	{"k, smallest class", "k：最小等价类", func(m *Figures) string { return grouped(m.K.Min) }},
	{"k, of the median record", "k：中位记录所在等价类", func(m *Figures) string { return grouped(m.K.Median) }},
	{"records alone", "独自成类的记录", func(m *Figures) string { return percent(m.Unique.RecordShare) }},
	{"subjects alone", "独自成类的主体", func(m *Figures) string {
		if m.Subjects == 0 {
			return "–"
		}
		return percent(m.Unique.SubjectShare)
	}},
	{"prosecutor risk, highest", "检察官风险：最高", func(m *Figures) string { return percent(m.Prosecutor.Max) }},
	{"prosecutor risk, average", "检察官风险：平均", func(m *Figures) string { return percent(m.Prosecutor.Average) }},
}

func (r *Report) figuresText(b *bytes.Buffer) {
	t := table(b)
	if r.Before != nil {
		row(t, "", "after", "before")
	}
	line := func(name string, value func(*Figures) string) {
		cells := []string{name, value(r.Sample)}
		if r.Before != nil {
			cells = append(cells, value(r.Before))
		}
		row(t, cells...)
	}
	for _, s := range summary {
		line(s.en, s.value)
	}
	for i, below := range r.Sample.Below {
		line(fmt.Sprintf("records in classes below %d", below.K), func(m *Figures) string { return percent(m.Below[i].Share) })
	}
	t.Flush()
	for _, m := range []*Figures{r.Sample, r.Before} {
		if m != nil && m.Used < m.Records {
			fmt.Fprintf(b, "%s was cut to %s of %s records to fit the memory: classes look\nsmaller than they are.\n", m.File, grouped(m.Used), grouped(m.Records))
		}
		if m != nil && m.WithoutSubject > 0 {
			fmt.Fprintf(b, "%s: %s records name no subject and count as one.\n", m.File, grouped(m.WithoutSubject))
		}
	}
	b.WriteByte('\n')
}

func (r *Report) fieldsText(b *bytes.Buffer) {
	b.WriteString("Fields: how much one alone tells, and what leaving it out would win\n")
	t := table(b)
	row(t, "", "values", "bits", "unique", "marginal", "")
	for _, f := range r.Sample.Fields {
		marginal := ""
		if f.Role == Quasi {
			marginal = percent(f.Marginal)
		}
		flag := string(f.Role)
		if f.Sensitive && f.Role != Sensitive {
			flag += " sensitive"
		}
		if f.Undeclared {
			flag += " UNDECLARED"
		}
		row(t, "  "+clip(f.Path, 26), grouped(f.Distinct), decimals(f.Entropy), percent(f.Unique), marginal, flag)
	}
	t.Flush()
	b.WriteByte('\n')
}

// clip cuts a path from its beginning: its end says most.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	rs := []rune(s)
	return "…" + string(rs[len(rs)-n+1:])
}

func (r *Report) subsetsText(b *bytes.Buffer) {
	if len(r.Sample.Subsets) == 0 {
		return
	}
	b.WriteString("Sets of fields that single out most\n")
	for _, s := range r.Sample.Subsets {
		list := wrap(strings.Join(s.Paths, " + "), width-12)
		for i, line := range list {
			lead := strings.Repeat(" ", 12)
			if i == 0 {
				lead = fmt.Sprintf("  %8s  ", percent(s.Unique))
			}
			b.WriteString(lead + line + "\n")
		}
	}
	if r.Sample.SubsetsOf < r.Sample.Used {
		fmt.Fprintf(b, "Measured on %s of the records.\n", grouped(r.Sample.SubsetsOf))
	}
	b.WriteByte('\n')
}

// wrap breaks a text at spaces.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > n {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += clip(word, n)
	}
	return append(lines, line)
}

func (r *Report) sensitiveText(b *bytes.Buffer) {
	if len(r.Sample.Sensitive) == 0 {
		return
	}
	b.WriteString("Sensitive attributes\n")
	t := table(b)
	row(t, "", "l", "entropy l", "too few", "t, most", "t, mean")
	for _, s := range r.Sample.Sensitive {
		row(t, "  "+clip(s.Name, 30), grouped(s.Distinct), decimals(s.Entropy), percent(s.Below), decimals(s.Closeness), decimals(s.Mean))
	}
	t.Flush()
	b.WriteByte('\n')
}

func (r *Report) linkText(b *bytes.Buffer) {
	l := r.Link
	if l == nil {
		return
	}
	fmt.Fprintf(b, "Against %s\n", l.File)
	t := table(b)
	row(t, "  fields compared", grouped(len(l.Pairs)))
	row(t, "  records that match exactly one", fmt.Sprintf("%s (%s)", grouped(l.Exact), percent(l.ExactShare)))
	row(t, "  of them one to one", fmt.Sprintf("%s (%s)", grouped(l.OneToOne), percent(l.OneToOneShare)))
	if l.Comparable {
		row(t, "  of these right", percent(l.Precision))
	}
	row(t, "  journalist risk, highest", percent(l.Journalist.Max))
	row(t, "  journalist risk, average", percent(l.Journalist.Average))
	t.Flush()
	for _, s := range l.Shared {
		for i, line := range wrap(fmt.Sprintf("ALARM %s here and %s there have %s values in common", s.Path, s.Other, grouped(s.Values)), width-4) {
			b.WriteString(strings.Repeat(" ", 2+2*min(i, 1)) + line + "\n")
		}
	}
	b.WriteByte('\n')
}

func (r *Report) verdictText(b *bytes.Buffer) {
	for _, c := range r.Sample.Looks {
		fmt.Fprintf(b, "ALARM %s records hold what looks like %s\n", grouped(c.Records), c.Category)
	}
	t := table(b)
	row(t, "", "figure", "limit", "")
	for _, c := range r.Verdict.Checks {
		word := "pass"
		if !c.Pass {
			word = "FAIL"
		}
		row(t, clip(c.inWords(English), 54), c.number(c.Figure), c.number(c.Limit), word)
	}
	t.Flush()
	if r.Verdict.Pass {
		b.WriteString("Within all thresholds.\n")
		return
	}
	fmt.Fprintf(b, "%d of %d checks fail.\n", r.Verdict.Failed, len(r.Verdict.Checks))
}
