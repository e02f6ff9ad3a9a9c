package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A chart is one picture over the run's time. It is drawn once for each layout.
type chart struct {
	says     string // what it shows, for those who do not see it
	from, to time.Time
	low, top float64 // of the values; low is over zero on a logarithmic axis only
	text     func(float64) string
	areas    []shape // later ones on top
	lines    []shape
	bands    []Band
	marks    []Change
	hovers   []hover
}

// A shape is a polygon, or lines with gaps between them.
type shape struct {
	ink   string
	parts []plotter.XYs
	width float64
	dash  bool
}

// A hover is what a part of the time says under the pointer.
type hover struct {
	from, to time.Time
	says     string
}

// A layout is a size in which charts are drawn, so that their text can be read
// there. The page shows the one that fits.
type layout struct {
	class         string
	width, height float64
	values        int // ticks
	hovers        bool
}

var layouts = []layout{
	{"wide", 960, 300, 5, true},
	{"medium", 620, 270, 5, false},
	{"narrow", 380, 250, 4, false},
}

const textSize = 13

// svg is the chart in all layouts.
func (c *chart) svg() template.HTML {
	var out strings.Builder
	for _, l := range layouts {
		out.WriteString(c.draw(l))
	}
	return template.HTML(out.String())
}

// Colours are drawn as numbers, and named when the picture is done: the page
// decides what they look like, by day and by night.
type palette []string

func (p *palette) ink(name string) color.Color {
	for i, n := range *p {
		if n == name {
			return color.RGBA{0xFE, byte(i >> 8), byte(i), 0xFF}
		}
	}
	*p = append(*p, name)
	i := len(*p) - 1
	return color.RGBA{0xFE, byte(i >> 8), byte(i), 0xFF}
}

var (
	numbered = regexp.MustCompile(`#FE[0-9A-F]{4}`)
	fonts    = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;`)
	head     = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)
)

// named puts the colours' names into a drawn picture, under a head of its own.
func (p palette) named(svg, newHead string) string {
	svg = head.ReplaceAllLiteralString(svg, newHead)
	svg = fonts.ReplaceAllLiteralString(svg, "")
	return numbered.ReplaceAllStringFunc(svg, func(c string) string {
		i, err := strconv.ParseUint(c[3:], 16, 16)
		if err != nil || int(i) >= len(p) {
			return c
		}
		return "var(--" + p[i] + ")"
	})
}

func (c *chart) draw(l layout) string {
	var inks palette
	p := c.axes(l, &inks)
	p.Add(behind{c, &inks})
	for _, a := range c.areas {
		p.Add(filled{a, &inks})
	}
	for _, s := range c.lines {
		p.Add(stroked{s, &inks})
	}
	p.Add(inFront{c, &inks})
	canvas := vgsvg.NewWith(vgsvg.UseWH(vg.Length(l.width), vg.Length(l.height)))
	all := draw.Crop(draw.New(canvas), 0, -10, 0, -14) // room for the last tick's text, and for the numbers of changes
	p.Draw(all)
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		panic("writing to memory: " + err.Error())
	}
	svg := inks.named(out.String(), fmt.Sprintf(`<svg class="chart %s" viewBox="0 0 %g %g" role="img" aria-label="%s">`,
		l.class, l.width, l.height, html.EscapeString(c.says)))
	if l.hovers {
		svg = strings.Replace(svg, "</svg>", c.pointers(p.DataCanvas(all), l)+"</svg>", 1)
	}
	return svg
}

// axes is an empty plot: a faint grid, texts, a base line.
func (c *chart) axes(l layout, inks *palette) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = seconds(c.from), seconds(c.to), c.low, c.top
	p.X.Padding, p.Y.Padding = 0, vg.Points(4)
	p.X.LineStyle = draw.LineStyle{Color: inks.ink("axis"), Width: 1}
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width, p.Y.Tick.Length = 0, 0, 0
	p.X.Tick.LineStyle, p.X.Tick.Length = p.X.LineStyle, 5
	p.X.Tick.Marker = timeTicks(c.from, c.to, l.width)
	ticks := valueTicks(c.top, l.values, c.text)
	if c.low > 0 {
		p.Y.Scale = plot.LogScale{}
		ticks = logTicks(c.low, c.top, c.text)
	}
	p.Y.Tick.Marker = ticks
	for _, s := range []*text.Style{&p.X.Tick.Label, &p.Y.Tick.Label} {
		s.Color, s.Font = inks.ink("muted"), font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
	}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Vertical.Color = nil
	grid.Horizontal = draw.LineStyle{Color: inks.ink("grid"), Width: 1}
	p.Add(grid)
	return p
}

// pointers are what shows under the pointer: a column for each point.
func (c *chart) pointers(data draw.Canvas, l layout) string {
	var out strings.Builder
	out.WriteString(`<g class="over">`)
	width := data.Max.X - data.Min.X
	all := c.to.Sub(c.from).Seconds()
	for _, h := range c.hovers {
		x := float64(data.Min.X) + float64(width)*h.from.Sub(c.from).Seconds()/all
		w := float64(width) * h.to.Sub(h.from).Seconds() / all
		fmt.Fprintf(&out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`,
			x, l.height-float64(data.Max.Y), max(w, 0.5), float64(data.Max.Y-data.Min.Y), html.EscapeString(h.says))
	}
	out.WriteString("</g>")
	return out.String()
}
