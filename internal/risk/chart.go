package risk

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Charts are inline SVG: no script, nothing from elsewhere, and legible in black
// on white. Each has a title and a description, and the page has its numbers as
// a table.

// chartWidth is that of all charts, in units of the viewBox.
const chartWidth = 680

// svg is a chart under way.
type svg struct {
	strings.Builder
	id string
}

func newSVG(id string, height int, title, desc string) *svg {
	s := &svg{id: id}
	fmt.Fprintf(s, `<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		chartWidth, height, id, id, id, escape(title), id, escape(desc))
	return s
}

func escape(s string) string { return template.HTMLEscapeString(s) }

func (s *svg) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, escape(text))
}

func (s *svg) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"/>`, x, y, w, h, class)
}

func (s *svg) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

func (s *svg) end() template.HTML {
	s.WriteString("</svg>")
	return template.HTML(s.String()) //nolint:gosec // all text in it has been escaped
}

// bar is one row of a bar chart, with a value for each series.
type bar struct {
	label  string
	values []float64 // shares
}

// barChart draws shares as rows of bars; of two series the second is hollow.
func barChart(id, title, desc string, bars []bar, series []string) template.HTML {
	const left, right, top, thick = 250.0, 70.0, 8.0, 13.0
	n := max(1, len(series))
	rowHeight := thick*float64(n) + 9
	legend := 0.0
	if n > 1 {
		legend = 24
	}
	bottom := top + legend + rowHeight*float64(len(bars))
	s := newSVG(id, int(bottom+24), title, desc)
	most := 0.0
	for _, b := range bars {
		for _, v := range b.values {
			most = max(most, v)
		}
	}
	most = niceShare(most)
	if n > 1 {
		x := left
		for i, name := range series {
			s.rect(x, top, 12, 10, fmt.Sprintf("s%d", i))
			s.text(x+18, top+9, "start", "l", name)
			x += 120
		}
	}
	wide := chartWidth - left - right
	for i := 0; i <= 4; i++ {
		x := left + wide*float64(i)/4
		s.line(x, top+legend, x, bottom, "grid")
		s.text(x, bottom+15, "middle", "n", axisPercent(most*float64(i)/4))
	}
	for i, b := range bars {
		y := top + legend + rowHeight*float64(i) + 4
		s.text(left-8, y+thick*float64(n)/2+4, "end", "l", clip(b.label, 36))
		for j, v := range b.values {
			w := max(wide*v/most, 0.5)
			s.rect(left, y+thick*float64(j), w, thick-2, fmt.Sprintf("s%d", j))
			s.text(left+w+5, y+thick*float64(j)+thick-3, "start", "n", percent(v))
		}
	}
	s.line(left, top+legend, left, bottom, "axis")
	return s.end()
}

// niceShare rounds the end of an axis up.
func niceShare(x float64) float64 {
	for _, end := range []float64{0.001, 0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8} {
		if x <= end {
			return end
		}
	}
	return 1
}

func axisPercent(x float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.3g", 100*x), ".0"), ".") + "%"
}

// Of the two charts over class sizes.
const (
	plotLeft, plotRight, plotTop, plotBottom = 60.0, 16.0, 14.0, 210.0
	plotHeight                               = 252
	maxTicks                                 = 14 // labels along an axis
)

// histogramChart draws how many classes there are of each size, on a logarithmic
// axis: a few small classes matter beside very many large ones.
func histogramChart(title, desc, xName, yName string, bins []Bin) template.HTML {
	s := newSVG("histogram", plotHeight, title, desc)
	most := 1
	for _, b := range bins {
		most = max(most, b.Classes)
	}
	decades := math.Max(1, math.Ceil(math.Log10(float64(most))))
	const foot = 0.3 // decades below 1, so that one class can be seen
	y := func(n float64) float64 {
		return plotBottom - (plotBottom-plotTop)*(math.Log10(n)+foot)/(decades+foot)
	}
	for d := 0; d <= int(decades); d++ {
		n := math.Pow10(d)
		s.line(plotLeft, y(n), chartWidth-plotRight, y(n), "grid")
		s.text(plotLeft-6, y(n)+4, "end", "n", grouped(int(n)))
	}
	step := (chartWidth - plotLeft - plotRight) / float64(max(len(bins), 6))
	skip := (len(bins) + maxTicks - 1) / maxTicks
	for i, b := range bins {
		x := plotLeft + step*float64(i)
		if b.Classes > 0 {
			s.rect(x+step*0.12, y(float64(b.Classes)), step*0.76, plotBottom-y(float64(b.Classes)), "s0")
			if len(bins) <= maxTicks {
				s.text(x+step/2, y(float64(b.Classes))-3, "middle", "n", grouped(b.Classes))
			}
		}
		if i%skip == 0 {
			s.text(x+step/2, plotBottom+15, "middle", "n", b.inWords())
		}
	}
	s.frame(xName, yName)
	return s.end()
}

// cumulativeChart draws the share of records in classes of at most k subjects,
// over the logarithm of k, with a mark at the wanted k.
func cumulativeChart(title, desc, xName, yName, mark string, points []AtMost, minK int) template.HTML {
	s := newSVG("cumulative", plotHeight, title, desc)
	largest := max(2*minK, 4)
	if n := len(points); n > 0 {
		largest = max(largest, points[n-1].K)
	}
	wide := chartWidth - plotLeft - plotRight
	x := func(k float64) float64 { return plotLeft + wide*math.Log2(k)/math.Log2(float64(largest)) }
	y := func(share float64) float64 { return plotBottom - (plotBottom-plotTop)*share }
	for i := 0; i <= 4; i++ {
		s.line(plotLeft, y(float64(i)/4), chartWidth-plotRight, y(float64(i)/4), "grid")
		s.text(plotLeft-6, y(float64(i)/4)+4, "end", "n", axisPercent(float64(i)/4))
	}
	octaves := bitLen(largest)
	skip := (octaves + maxTicks - 1) / maxTicks
	for i := 0; i < octaves; i += skip {
		k := 1 << i
		s.text(x(float64(k)), plotBottom+15, "middle", "n", grouped(k))
	}
	var path strings.Builder
	fmt.Fprintf(&path, "M%.1f %.1f", x(1), y(0))
	at := 0.0
	for _, p := range points {
		fmt.Fprintf(&path, "L%.1f %.1f", x(float64(p.K)), y(at))
		at = p.Share
		fmt.Fprintf(&path, "L%.1f %.1f", x(float64(p.K)), y(at))
	}
	fmt.Fprintf(&path, "L%.1f %.1f", x(float64(largest)), y(at))
	s.line(x(float64(minK)), plotTop, x(float64(minK)), plotBottom, "mark")
	anchor, dx := "start", 4.0
	if minK*minK > largest {
		anchor, dx = "end", -4
	}
	s.text(x(float64(minK))+dx, plotTop+10, anchor, "n", mark)
	fmt.Fprintf(s, `<path d="%s" class="curve"/>`, path.String())
	s.frame(xName, yName)
	return s.end()
}

// frame draws the axes and their names.
func (s *svg) frame(xName, yName string) {
	s.line(plotLeft, plotTop, plotLeft, plotBottom, "axis")
	s.line(plotLeft, plotBottom, chartWidth-plotRight, plotBottom, "axis")
	s.text((plotLeft+chartWidth-plotRight)/2, plotBottom+34, "middle", "l", xName)
	fmt.Fprintf(s, `<text transform="translate(13 %.1f) rotate(-90)" text-anchor="middle" class="l">%s</text>`, (plotTop+plotBottom)/2, escape(yName))
}
