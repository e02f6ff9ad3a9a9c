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
		b.From, b.To = later(b.From, g.doc.Opened), earlier(b.To, g.doc.End)
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

// Nobody is what Went calls the time in which no process was at work.
const Nobody = "nobody at work"

// went is where the time of a point went: to what held the fleet, as long as that
// was; the rest by the parts of what the workers waited for. Who is held has given
// its tasks back and waits with none, so the waiting itself says little of that.
func (g *gathering) went(i int) map[string]float64 {
	p, at := g.doc.Points[i], g.at[i]
	out := map[string]float64{}
	took, until := p.Until.Sub(p.At), p.At
	held := time.Duration(0)
	for _, b := range g.doc.Bands {
		from, to := later(b.From, until), earlier(b.To, p.Until)
		if d := to.Sub(from); d > 0 {
			out[b.Kind] += d.Seconds()
			held += d
			until = to
		}
	}
	idle := max(0, took-time.Duration(at.slices)*series.Slice-held)
	rest, waited := took-held-idle, time.Duration(0)
	for what, d := range at.lost {
		if what != Brake && what != Outage && what != Pause {
			waited += d
		}
	}
	if waited == 0 {
		idle, rest = idle+rest, 0
	}
	for what, d := range at.lost {
		if s := rest.Seconds() * float64(d) / float64(max(waited, 1)); s > 0 && what != Brake && what != Outage && what != Pause {
			out[what] = s
		}
	}
	if idle > 0 {
		out[Nobody] = idle.Seconds()
	}
	return out
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
