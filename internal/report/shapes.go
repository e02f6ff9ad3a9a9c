package report

import (
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// filled draws a shape's polygons.
type filled struct {
	shape
	inks *palette
}

// Plot implements plot.Plotter.
func (f filled) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, part := range f.parts {
		points := make([]vg.Point, len(part))
		for i, xy := range part {
			points[i] = vg.Point{X: x(xy.X), Y: y(xy.Y)}
		}
		c.FillPolygon(f.inks.ink(f.ink), points)
	}
}

// stroked draws a shape's lines. What would go over the top is cut off there.
type stroked struct {
	shape
	inks *palette
}

// Plot implements plot.Plotter.
func (s stroked) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := draw.LineStyle{Color: s.inks.ink(s.ink), Width: vg.Length(s.width)}
	if s.dash {
		style.Dashes = []vg.Length{6, 4}
	}
	for _, part := range s.parts {
		points := make([]vg.Point, len(part))
		for i, xy := range part {
			points[i] = vg.Point{X: x(xy.X), Y: y(min(xy.Y, p.Y.Max))}
		}
		if len(points) == 1 { // one answer between two gaps
			points = append(points, vg.Point{X: points[0].X + 2, Y: points[0].Y})
		}
		c.StrokeLines(style, points)
	}
}

// behind draws the bands: a short brake of a long run can be seen, too.
type behind struct {
	*chart
	inks *palette
}

const thinnest = 2.0 // of a band

// Plot implements plot.Plotter.
func (b behind) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, band := range b.bands {
		from, to := x(seconds(band.From)), x(seconds(band.To))
		if to-from < thinnest {
			to = from + thinnest
		}
		c.FillPolygon(b.inks.ink(band.Kind+"-band"), []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
	}
}

// inFront draws the changes: a line with the change's number on top. Numbers
// that would stand on each other are left out but for the first.
type inFront struct {
	*chart
	inks *palette
}

// Plot implements plot.Plotter.
func (f inFront) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	ink := f.inks.ink("text")
	style := text.Style{Color: ink, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize - 1}, XAlign: draw.XCenter, YAlign: draw.YBottom, Handler: plot.DefaultTextHandler}
	last := vg.Length(-100)
	for _, m := range f.marks {
		at := x(seconds(m.At))
		c.StrokeLines(draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{2, 2}}, []vg.Point{{X: at, Y: c.Min.Y}, {X: at, Y: c.Max.Y}})
		if at-last > textSize+3 {
			c.FillText(style, vg.Point{X: at, Y: c.Max.Y + 2}, strconv.Itoa(m.N))
			last = at
		}
	}
}

// steps is the outline of values that hold from one time to the next; base is
// what they stand on.
func steps(points []Point, value, base func(i int) float64, from, to int) plotter.XYs {
	var out plotter.XYs
	for i := from; i < to; i++ {
		out = append(out, plotter.XY{X: seconds(points[i].At), Y: value(i)}, plotter.XY{X: seconds(points[i].Until), Y: value(i)})
	}
	if base != nil {
		for i := to - 1; i >= from; i-- {
			out = append(out, plotter.XY{X: seconds(points[i].Until), Y: base(i)}, plotter.XY{X: seconds(points[i].At), Y: base(i)})
		}
	}
	return out
}

// runsOf are the stretches of points for which has is true.
func runsOf(n int, has func(i int) bool) (out [][2]int) {
	for i := 0; i < n; i++ {
		if !has(i) {
			continue
		}
		from := i
		for i < n && has(i) {
			i++
		}
		out = append(out, [2]int{from, i})
	}
	return out
}

// middle of a point's time.
func middle(p Point) float64 { return seconds(p.At.Add(p.Until.Sub(p.At) / 2).Round(time.Millisecond)) }
