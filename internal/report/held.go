package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// held puts the times in which nobody called in order, as bands, and the changes
// that somebody made. The log's brakes and outages are the samples'.
func (g *gathering) held() (holds []series.Hold) {
	d := g.doc
	for _, e := range g.f.Log {
		if e.What == "brake" || e.What == "outage" || e.At.Before(d.Opened) || e.At.After(d.End) {
			continue
		}
		d.Changes = append(d.Changes, Change{len(d.Changes) + 1, e.At.UTC(), e.By, e.What, e.Old, e.New, e.Why})
	}
	holds = append(holds, g.sum.Holds...)
	for _, h := range governor.Holds(g.f.Log, d.End) {
		holds = append(holds, series.Hold(h))
	}
	for _, h := range holds {
		if b := bandOf(h, d.Opened, d.End); b.To.After(b.From) {
			d.Bands = append(d.Bands, b)
		}
	}
	slices.SortFunc(d.Bands, func(a, b Band) int { return a.From.Compare(b.From) })
	return holds
}

// bandOf is what there is of a hold between two instants. Whatever stopped the
// vendor is drawn as a pause.
func bandOf(h series.Hold, from, to time.Time) Band {
	b := Band{h.Kind, later(h.From, from), earlier(h.To, to), h.Why}
	if h.Kind != Brake && h.Kind != Outage && h.Kind != Pause {
		b.Kind, b.Why = Pause, strings.TrimSuffix(h.Kind+": "+h.Why, ": ")
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// notes say what a reader has to know about the figures.
func (g *gathering) notes() {
	d := g.doc
	note := func(format string, args ...any) { d.Notes = append(d.Notes, fmt.Sprintf(format, args...)) }
	if d.State == run.Open {
		note("The run is open: the figures are counters as of %s, and the verdict is still to come.", instant(d.Made))
	}
	if d.State == run.Superseded {
		note("A newer run of the same window has taken this one's place before it was closed.")
	}
	if !d.charted() {
		note("Nothing is kept of what the fleet did over time in this run, so the charts are missing: it is older than that record, or nobody has worked it yet.")
	}
	if n := len(g.others); n > 0 {
		note("%s of this vendor %s open at the same time. Calls, answer times, where time went and cost are the whole fleet's; depth and verdict are this run's alone.", plural(n, "other run"), wasWere(n))
	}
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
