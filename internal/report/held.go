package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

// held puts the times in which nobody called in order, and the changes that
// somebody made. The log's brakes and outages are the bands.
func (g *gathering) held() {
	bands := g.down
	for _, b := range g.brakes {
		bands = append(bands, b)
	}
	var paused *governor.Entry
	for i, e := range g.f.Log {
		switch e.What {
		case "stop":
			paused = &g.f.Log[i]
		case "resume":
			if paused != nil {
				bands = append(bands, pauseBand(*paused, e.At))
			}
			paused = nil
		}
		if e.What == "brake" || e.What == "outage" || e.At.Before(g.doc.Opened) || e.At.After(g.doc.End) {
			continue
		}
		g.doc.Changes = append(g.doc.Changes, Change{len(g.doc.Changes) + 1, e.At.UTC(), e.By, e.What, e.Old, e.New, e.Why})
	}
	if paused != nil {
		bands = append(bands, pauseBand(*paused, g.doc.End))
	}
	for _, b := range bands {
		if b.From.Before(g.doc.Opened) {
			b.From = g.doc.Opened
		}
		if b.To.After(g.doc.End) {
			b.To = g.doc.End
		}
		if b.To.After(b.From) {
			g.doc.Bands = append(g.doc.Bands, b)
		}
	}
	slices.SortFunc(g.doc.Bands, func(a, b Band) int { return a.From.Compare(b.From) })
}

// pauseBand is the time from a stop of any kind on.
func pauseBand(stop governor.Entry, to time.Time) Band {
	why := stop.Why
	if stop.New != "" && stop.New != string(governor.ByOperator) {
		why = strings.TrimSuffix(stop.New+": "+why, ": ")
	}
	return Band{Pause, stop.At.UTC(), to.UTC(), why}
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
	if g.step > 10*time.Second && d.charted() {
		note("The run is long: each point of the charts stands for %s.", span(g.step.Seconds()))
	}
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
