package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// Facts are what is known of a run besides what its fleet did over time.
type Facts struct {
	Run    run.Run
	Window string               // as people read it
	Made   time.Time            // now
	Until  time.Time            // when a newer run of its window took its place; zero: none did
	Counts map[string]run.Count // of an open run
	Last   *run.Run             // the one before it that has a verdict; nil: none
	Causes []run.Cause          // of its dead tasks
	Log    []governor.Entry     // the vendor's changes, of any time
	Unique []string             // tiers whose nodes are claimed
	Lake   bool                 // the last tier's rows become tables
	Again  string               // the command that computes the verdict anew
	OnAWS  bool
}

// maxPoints is how many points a chart has at most: what is finer than a pixel
// shows nothing.
const maxPoints = 360

// Gather reads what the fleet did while the run was open, sample by sample, and
// makes the figures. store is nil where nothing is kept.
func Gather(ctx context.Context, f Facts, store series.Store) (*Doc, error) {
	g := newGathering(f)
	if store != nil {
		err := store.Read(ctx, f.Run.Vendor, g.start, g.doc.End, func(s series.Sample) error { g.add(s); return nil })
		if err != nil {
			return nil, fmt.Errorf("reading what the fleet of %s did in run %s: %w", f.Run.Vendor, f.Run.ID, err)
		}
	}
	return g.finish(), nil
}

// A gathering adds samples up and keeps none.
type gathering struct {
	f     Facts
	doc   *Doc
	start time.Time // of the first point: a slice begins there
	step  time.Duration
	tiers map[string]int // index by name

	at      []point // as doc.Points
	tookBy  []fanout.Latencies
	slice   time.Time
	rated   bool
	sum     series.Summing       // of the whole run
	active  []map[time.Time]bool // slices in which a tier had work, by tier
	allowed map[string]float64
	others  map[string]bool // runs that were open at the same time
}

// A point is a Point that is still growing.
type point struct {
	sum    series.Summing
	rates  []float64
	left   map[string]series.Left
	leftAt time.Time
}

func newGathering(f Facts) *gathering {
	r := f.Run
	end := f.Made
	switch {
	case r.State != run.Open && !r.Closed.IsZero():
		end = r.Closed
	case r.State == run.Superseded && f.Until.After(r.Opened):
		end = f.Until
	}
	g := &gathering{
		f: f, start: r.Opened.UTC().Truncate(series.Slice), tiers: map[string]int{},
		allowed: map[string]float64{}, others: map[string]bool{},
	}
	g.doc = &Doc{
		Vendor: r.Vendor, Run: r.ID, Window: f.Window, State: r.State, Opened: r.Opened.UTC(), End: end.UTC(), Made: f.Made.UTC(),
		Seconds: max(0, end.Sub(r.Opened).Seconds()), Again: f.Again, Causes: f.Causes, Went: map[string]float64{},
		Bands: []Band{}, Changes: []Change{}, Limits: []Limit{},
	}
	if r.State != run.Open {
		g.doc.Verdict = r.Verdict
	}
	for i, name := range r.Tiers {
		g.tiers[name] = i
		g.doc.Tiers = append(g.doc.Tiers, tierOf(name, f.Counts[name], g.doc.Verdict))
		g.tookBy = append(g.tookBy, fanout.Latencies{})
		g.active = append(g.active, map[time.Time]bool{})
	}
	slices := int(end.Sub(g.start)/series.Slice) + 1
	g.step = series.Slice * time.Duration((slices+maxPoints-1)/maxPoints)
	g.doc.Step = g.step.Seconds()
	for at := g.start; at.Before(end); at = at.Add(g.step) {
		p := Point{At: later(at, g.doc.Opened), Until: earlier(at.Add(g.step), g.doc.End), Calls: make([]int, len(r.Tiers))}
		g.doc.Points = append(g.doc.Points, p)
	}
	g.at = make([]point, len(g.doc.Points))
	return g
}

// tierOf is a tier by the verdict, or by the counters while there is none.
func tierOf(name string, c run.Count, v *run.Verdict) Tier {
	if v != nil {
		for _, s := range v.Tiers {
			if s.Tier == name {
				return Tier{Name: name, Known: s.Known, Done: s.Done, Gone: s.Gone, Dead: s.Dead, Discarded: s.Discarded, Missing: s.Missing, Rows: s.Rows}
			}
		}
	}
	return Tier{Name: name, Known: c.Known, Done: c.Done, Gone: c.Gone, Dead: c.Dead, Discarded: c.Discarded, Missing: max(0, c.Known-c.Settled()), Rows: c.Rows}
}

// add adds one process's slice. They come oldest first.
func (g *gathering) add(s series.Sample) {
	i := int(s.At.Sub(g.start) / g.step)
	if s.At.Before(g.start) || i >= len(g.at) || g.before(s) {
		return
	}
	p, at := &g.doc.Points[i], &g.at[i]
	if !s.At.Equal(g.slice) {
		g.slice, g.rated = s.At, false
	}
	g.sum.Add(s)
	at.sum.Add(s)
	for name, t := range s.Tiers {
		g.addTier(p, s.At, name, t)
	}
	g.addRates(at, s)
	for id := range s.Runs {
		if id != g.f.Run.ID {
			g.others[id] = true
		}
	}
	if left, ok := s.Runs[g.f.Run.ID]; ok {
		at.addLeft(s.At, left)
	}
}

// before tells whether a sample is of work that ended in the slice in which the
// run was opened: the run was not there yet when it was taken.
func (g *gathering) before(s series.Sample) bool {
	_, there := s.Runs[g.f.Run.ID]
	end := s.At.Add(series.Slice)
	return s.At.Before(g.doc.Opened) && !there && g.doc.End.After(end)
}

func (g *gathering) addTier(p *Point, slice time.Time, name string, t series.Tier) {
	g.doc.Calls += t.Calls
	g.doc.Throttled += t.Throttled
	g.doc.Failed += t.Failed
	p.Throttled += t.Throttled
	p.Failed += t.Failed
	i, ok := g.tiers[name]
	if !ok { // the spec has had other tiers meanwhile
		return
	}
	p.Calls[i] += t.Calls
	g.doc.Tiers[i].Calls += t.Calls
	g.doc.Tiers[i].Failed += t.Throttled + t.Failed
	g.tookBy[i].Merge(t.Took)
	g.active[i][slice] = true
}

// addRates counts what the limits allowed: once, of a slice that several
// processes report.
func (g *gathering) addRates(at *point, s series.Sample) {
	if g.rated || len(s.Rates) == 0 {
		return
	}
	g.rated = true
	from, to := later(s.At, g.doc.Opened), earlier(s.At.Add(series.Slice), g.doc.End)
	tightest := -1.0
	for limit, r := range s.Rates {
		g.allowed[limit] += r * to.Sub(from).Seconds()
		if tightest < 0 || r < tightest {
			tightest = r
		}
	}
	at.rates = append(at.rates, tightest)
}

// addLeft keeps how far the run is at the end of a point's last slice. Of several
// processes that say so the one that knows of more has looked later.
func (p *point) addLeft(slice time.Time, left map[string]series.Left) {
	if p.left == nil || slice.After(p.leftAt) {
		p.left, p.leftAt = map[string]series.Left{}, slice
	}
	for tier, l := range left {
		was := p.left[tier]
		p.left[tier] = series.Left{Known: max(was.Known, l.Known), Ended: max(was.Ended, l.Ended), Dead: max(was.Dead, l.Dead)}
	}
}

// finish makes the figures of what was added up.
func (g *gathering) finish() *Doc {
	d := g.doc
	holds := g.held()
	g.depths()
	went := map[string]time.Duration{}
	for i := range d.Points {
		p, at := &d.Points[i], &g.at[i]
		sum := at.sum.Done()
		if all := sum.All(); len(all.Took) > 0 {
			p.P50, p.P90, p.P99 = quantiles(all.Took)
		}
		for _, r := range at.rates {
			p.Allowed += r / float64(len(at.rates))
		}
		p.Went = map[string]float64{}
		for what, t := range sum.Clock(p.At, p.Until, holds) {
			p.Went[what] = t.Seconds()
			went[what] += t
		}
	}
	series.Trim(went)
	for what, t := range went {
		d.Went[what] = t.Seconds()
	}
	for i := range d.Tiers {
		d.Tiers[i].P50, d.Tiers[i].P90, d.Tiers[i].P99 = quantiles(g.tookBy[i])
	}
	for name, n := range g.allowed {
		if n > 0 {
			d.Limits = append(d.Limits, Limit{name, n, float64(d.Calls) / n})
		}
	}
	slices.SortFunc(d.Limits, func(a, b Limit) int {
		if a.Share != b.Share {
			return int(1e6 * (b.Share - a.Share))
		}
		return len(a.Name) - len(b.Name)
	})
	g.trees()
	g.cost()
	g.notes()
	return d
}

func quantiles(l fanout.Latencies) (p50, p90, p99 float64) {
	return l.Quantile(0.5).Seconds(), l.Quantile(0.9).Seconds(), l.Quantile(0.99).Seconds()
}

// depths are what is known and has not ended, as last heard of. A point of which
// nobody says anything is as the one before.
func (g *gathering) depths() {
	d := g.doc
	for i := range d.Points {
		left := g.at[i].left
		switch {
		case left == nil && i > 0:
			d.Points[i].Depth = d.Points[i-1].Depth
		case left != nil:
			depth := make([]int, len(d.Tiers))
			for name, l := range left {
				if t, ok := g.tiers[name]; ok {
					depth[t] = max(0, l.Known-l.Ended)
				}
			}
			d.Points[i].Depth = depth
		}
		if n := len(d.Points) - 1; i == n && d.Verdict != nil && d.Verdict.Settled() && d.Points[i].Depth != nil {
			d.Points[i].Depth = make([]int, len(d.Tiers)) // the closer has seen to it
		}
		for t, n := range d.Points[i].Depth {
			if i == 0 && t == 0 && d.Tiers[t].Peak == 0 {
				d.Tiers[t].Peak, d.Tiers[t].PeakAt = len(g.f.Run.Seeds), d.Opened
			}
			if n > d.Tiers[t].Peak {
				d.Tiers[t].Peak, d.Tiers[t].PeakAt = n, d.Points[i].Until
			}
		}
	}
}

func (g *gathering) trees() {
	last := g.f.Last
	if last == nil || last.Verdict == nil {
		return
	}
	g.doc.Last = last.ID
	was := map[string]int{}
	for _, s := range last.Verdict.Tiers {
		was[s.Tier] = s.Known
	}
	for _, t := range g.doc.Tiers {
		g.doc.Trees = append(g.doc.Trees, Tree{t.Name, was[t.Name], t.Known})
	}
}
