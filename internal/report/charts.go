package report

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/sluicehq/sluice/internal/series"
)

// newChart is an empty chart over the run's time, with a column under the
// pointer for each point.
func (d *Doc) newChart(says string, text func(float64) string, hover func(i int) string) *chart {
	c := &chart{says: says, from: d.Opened, to: d.End, text: text, bands: d.Bands}
	for i, p := range d.Points {
		if says := hover(i); says != "" {
			c.hovers = append(c.hovers, hoverOf(p, says))
		}
	}
	return c
}

func hoverOf(p Point, says string) hover {
	return hover{p.At, p.Until, p.At.Format("15:04:05") + " to " + p.Until.Format("15:04:05") + "\n" + says}
}

// tierInk is a tier's colour, the same in all charts.
func tierInk(i int) string { return fmt.Sprintf("t%d", i%8) }

// depthChart is what is queued or in hand, by tier.
func (d *Doc) depthChart() template.HTML {
	c := d.newChart("Queue depth of each tier over time; the figures are in the table below.", decimal, func(i int) string {
		var says []string
		for t, n := range d.Points[i].Depth {
			says = append(says, d.Tiers[t].Name+": "+number(n))
		}
		return strings.Join(says, "\n")
	})
	c.top = 1
	for t := range d.Tiers {
		line := shape{ink: tierInk(t), width: 2.2}
		depth := func(i int) float64 {
			if i < 0 { // a run begins with its seeds
				return d.seeds(t)
			}
			if i >= len(d.Points) || d.Points[i].Depth == nil {
				return 0
			}
			return float64(d.Points[i].Depth[t])
		}
		// Empty queues would lie on each other along the axis.
		filled := func(i int) bool { return depth(i-1) > 0 || depth(i) > 0 || depth(i+1) > 0 }
		for _, r := range runsOf(len(d.Points), filled) {
			var part plotter.XYs
			if r[0] == 0 {
				part = append(part, plotter.XY{X: seconds(d.Opened), Y: depth(-1)})
			}
			for i := r[0]; i < r[1]; i++ {
				c.top = max(c.top, depth(i)*1.04)
				part = append(part, plotter.XY{X: seconds(d.Points[i].Until), Y: depth(i)})
			}
			line.parts = append(line.parts, part)
		}
		c.lines = append(c.lines, line)
	}
	slices.Reverse(c.lines) // the top of the tree is seen over its leaves
	return c.svg()
}

// seeds are what lies in a tier's queue at the start.
func (d *Doc) seeds(tier int) float64 {
	if tier == 0 && d.Verdict != nil {
		return float64(d.Verdict.Seeds)
	}
	return 0
}

// limitOff is how many times what was called the limit may be and still be drawn.
const limitOff = 4

// callsChart is calls a second by tier, stacked, against what the tightest limit
// allowed.
func (d *Doc) callsChart() (svg template.HTML, limitAbove bool) {
	c := d.newChart("Calls a second, by tier, and what the limits allowed; the figures are in the table below.", decimal, func(i int) string {
		p := d.Points[i]
		says := []string{}
		for t, n := range p.Calls {
			if n > 0 {
				says = append(says, fmt.Sprintf("%s: %s/s", d.Tiers[t].Name, decimal(p.rate(n))))
			}
		}
		if p.Allowed > 0 {
			says = append(says, "limit: "+decimal(p.Allowed)+"/s")
		}
		if p.Throttled > 0 {
			says = append(says, "refused: "+plural(p.Throttled, "call"))
		}
		return strings.Join(says, "\n")
	})
	most, allowed := 0.0, 0.0
	upTo := func(i, tier int) (sum float64) {
		for _, n := range d.Points[i].Calls[:tier] {
			sum += d.Points[i].rate(n)
		}
		return sum
	}
	for t := range d.Tiers {
		area := shape{ink: tierInk(t)}
		for _, r := range runsOf(len(d.Points), func(i int) bool { return d.Points[i].Calls[t] > 0 }) {
			area.parts = append(area.parts, steps(d.Points, func(i int) float64 { return upTo(i, t+1) }, func(i int) float64 { return upTo(i, t) }, r[0], r[1]))
		}
		c.areas = append(c.areas, area)
	}
	for i := range d.Points {
		most, allowed = max(most, upTo(i, len(d.Tiers))), max(allowed, d.Points[i].Allowed)
	}
	limitAbove = allowed > limitOff*most
	c.top = max(most, 1e-3) * 1.12
	if !limitAbove {
		c.top = max(most, allowed, 1e-3) * 1.08
		limit := shape{ink: "limit", width: 2, dash: true}
		for _, r := range runsOf(len(d.Points), func(i int) bool { return d.Points[i].Allowed > 0 }) {
			limit.parts = append(limit.parts, steps(d.Points, func(i int) float64 { return d.Points[i].Allowed }, nil, r[0], r[1]))
		}
		c.lines = append(c.lines, limit)
	}
	c.marks = d.Changes
	return c.svg(), limitAbove
}

// logFrom is how many times the median the slowest must take for the axis to be
// logarithmic.
const logFrom = 25

// latencyChart is how long the vendor took.
func (d *Doc) latencyChart() (svg template.HTML, logarithmic bool) {
	c := d.newChart("How long the vendor took to answer: median, 90th and 99th percentile; the figures are in the table below.", span, func(i int) string {
		p := d.Points[i]
		if p.P50 == 0 {
			return ""
		}
		return fmt.Sprintf("half within %s\n90 %% within %s\n99 %% within %s", span(p.P50), span(p.P90), span(p.P99))
	})
	low, top := 0.0, 0.0
	answered := runsOf(len(d.Points), func(i int) bool { return d.Points[i].P50 > 0 })
	for _, q := range []struct {
		ink string
		of  func(Point) float64
	}{{"p99", func(p Point) float64 { return p.P99 }}, {"p90", func(p Point) float64 { return p.P90 }}, {"p50", func(p Point) float64 { return p.P50 }}} {
		line := shape{ink: q.ink, width: 2}
		for _, r := range answered {
			var part plotter.XYs
			for _, p := range d.Points[r[0]:r[1]] {
				v := q.of(p)
				if low == 0 || v < low {
					low = v
				}
				top = max(top, v)
				part = append(part, plotter.XY{X: middle(p), Y: v})
			}
			line.parts = append(line.parts, part)
		}
		c.lines = append(c.lines, line)
	}
	c.top = max(top*1.08, 1e-3)
	if logarithmic = low > 0 && top/low > logFrom; logarithmic {
		c.low = low / 1.2
	}
	return c.svg(), logarithmic
}

// A wentPart is one thing that bound the work, with its colour.
type wentPart struct {
	What    string
	Ink     string
	Seconds float64
	Share   float64
}

// wentParts are where the time went, what we cannot change first: limits, then
// the vendor, then what held, then us.
func (d *Doc) wentParts() (parts []wentPart) {
	all := 0.0
	names := slices.Sorted(maps.Keys(d.Went))
	for _, what := range names {
		all += d.Went[what]
	}
	limits, flights := 0, 0
	for _, what := range names {
		ink := "w-other"
		switch {
		case strings.HasPrefix(what, "limit "):
			ink = fmt.Sprintf("w-limit%d", limits%3)
			limits++
		case strings.HasPrefix(what, "in flight"):
			ink = fmt.Sprintf("w-flight%d", flights%2)
			flights++
		case what == series.Nobody:
			ink = "w-nobody"
		case slices.Contains([]string{"vendor", "us", Brake, Outage, Pause, "budget"}, what):
			ink = "w-" + what
		}
		parts = append(parts, wentPart{what, ink, d.Went[what], d.Went[what] / max(all, 1e-9)})
	}
	order := []string{"w-limit", "w-flight", "w-vendor", "w-us", "w-other", "w-budget", "w-pause", "w-brake", "w-outage", "w-nobody"}
	rank := func(p wentPart) int {
		return slices.IndexFunc(order, func(o string) bool { return strings.HasPrefix(p.Ink, o) })
	}
	slices.SortStableFunc(parts, func(a, b wentPart) int { return rank(a) - rank(b) })
	return parts
}

// wentChart is where the time went over time, as parts of the whole.
func (d *Doc) wentChart(parts []wentPart) template.HTML {
	share := func(i, upTo int) (s float64) {
		all := 0.0
		for n, part := range parts {
			v := d.Points[i].Went[part.What]
			all += v
			if n < upTo {
				s += v
			}
		}
		return s / max(all, 1e-9)
	}
	c := d.newChart("Where the time went, as parts of the whole; the figures are in the table below.", percent, func(i int) string {
		var says []string
		for n, part := range parts {
			if s := share(i, n+1) - share(i, n); s >= 0.005 {
				says = append(says, bound(part.What)+": "+percent(s))
			}
		}
		return strings.Join(says, "\n")
	})
	c.bands, c.top = nil, 1
	for n, part := range parts {
		area := shape{ink: part.Ink}
		for _, r := range runsOf(len(d.Points), func(i int) bool { return share(i, n+1) > share(i, n) }) {
			area.parts = append(area.parts, steps(d.Points, func(i int) float64 { return share(i, n+1) }, func(i int) float64 { return share(i, n) }, r[0], r[1]))
		}
		c.areas = append(c.areas, area)
	}
	return c.svg()
}
