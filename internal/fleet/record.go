package fleet

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

const (
	lookEvery  = 500 * time.Millisecond // at what binds
	recordTime = 5 * time.Second        // for keeping one sample
)

// A recorder keeps what the workers of this process do, slice by slice. It has
// one goroutine. A sample that cannot be kept is lost: nothing depends on it.
type recorder struct {
	w       *Workers
	process string

	slice, began time.Time                // the present slice, and when work in it began
	before       map[string]series.Tier   // what the tiers had counted when the last sample was taken
	seen         series.Tier              // and all of them at the last look
	looked       time.Time                // when that was
	idle         bool                     // no run was open when the last sample was taken
	lost         map[string]time.Duration // in this slice
	used         map[string]float64       // of the backend when the last sample was taken
	brake        time.Time                // when the last known one was set
}

// record begins to keep samples, until stop is called: that keeps the last one.
func (w *Workers) record() (stop func()) {
	if w.fleet.backend.Series() == nil {
		return func() {}
	}
	r := &recorder{w: w, process: rand.Text()[:8], before: map[string]series.Tier{}, used: w.fleet.used()}
	for _, t := range w.tiers {
		r.before[t.engine.Tier.Name] = series.TierOf(t.meter.Report())
	}
	r.seen, r.looked = r.all(), time.Now()
	r.open(time.Now())
	ended, over := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended.Done():
				r.look()
				r.keep(time.Now())
				return
			case now := <-tick.C:
				r.look()
				if !now.UTC().Truncate(series.Slice).Equal(r.slice) {
					r.keep(now)
					r.open(now)
				}
			}
		}
	})
	return func() { over(); wait.Wait() }
}

func (r *recorder) open(now time.Time) {
	r.slice, r.began, r.lost = now.UTC().Truncate(series.Slice), now, map[string]time.Duration{}
}

func (r *recorder) all() (sum series.Tier) {
	for _, t := range r.w.tiers {
		sum.Add(series.TierOf(t.meter.Report()))
	}
	return sum
}

// look notes where this process's time went since the last look: to what binds
// now, to the vendor, to us, or to what kept everybody from calling. Tiers wait
// side by side: together they have waited no longer than the clock says.
func (r *recorder) look() {
	now := time.Now()
	since := now.Sub(r.looked)
	all := r.all()
	d := all.Since(r.seen)
	r.seen, r.looked = all, now
	busy := d.Limited + d.Called + d.Ours
	if busy == 0 {
		if why := r.held(); why != "" {
			r.lost[why] += since
		}
		return
	}
	part := min(1, float64(since)/float64(busy))
	lose := func(what string, t time.Duration) {
		if t > 0 {
			r.lost[what] += time.Duration(part * float64(t))
		}
	}
	view := r.w.governor.Now()
	binds := view.Binds
	if binds == "" { // who waited a moment ago no longer does
		binds = tightest(view.Rates)
	}
	lose(binds, d.Limited)
	lose("vendor", d.Called)
	lose("us", d.Ours)
}

// held is what keeps a fleet that has nothing in hand from calling: what waits
// has been given back. Nothing is held while no run is open.
func (r *recorder) held() string {
	if r.idle {
		return ""
	}
	for _, t := range r.w.tiers {
		_, look, _ := t.meter.Now()
		why := heldBy[look.Hold]
		if why == "" {
			continue
		}
		if stop := r.w.governor.Now().Stop; look.Hold == fanout.Stopped && stop.Kind != "" && stop.Kind != governor.ByOperator {
			why = string(stop.Kind)
		}
		return why
	}
	return ""
}

// heldBy names what holds a fleet as governor.Now does.
var heldBy = map[fanout.Hold]string{fanout.Braked: "brake", fanout.Outage: "outage", fanout.Stopped: "pause", fanout.Blind: "store"}

// tightest names the limit that allows the fewest calls.
func tightest(rates map[string]float64) string {
	name, least := "", 0.0
	for limit, r := range rates {
		if name == "" || r < least {
			name, least = limit, r
		}
	}
	if name == "" {
		return "in flight"
	}
	return "limit " + name
}

// keep writes the sample of the slice that ends, if anything happened in it.
func (r *recorder) keep(now time.Time) {
	s := series.Sample{
		At: r.slice, Process: r.process, Worked: min(now.Sub(r.began), series.Slice).Round(time.Millisecond),
		Tiers: map[string]series.Tier{}, Lost: r.lost,
	}
	for _, t := range r.w.tiers {
		name := t.engine.Tier.Name
		counted := series.TierOf(t.meter.Report())
		if d := counted.Since(r.before[name]); !d.Idle() {
			s.Tiers[name] = d
		}
		r.before[name] = counted
	}
	// Who only looked whether there is work leaves no trace: that would cost more
	// than the look.
	if len(s.Tiers) == 0 && (len(s.Lost) == 0 && r.idle || s.Worked < series.Slice/2) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	r.governed(&s)
	s.Runs = r.w.fleet.left(ctx)
	r.idle = s.Runs != nil && len(s.Runs) == 0
	used := r.w.fleet.used()
	for what, n := range used {
		if n -= r.used[what]; n != 0 {
			if s.Used == nil {
				s.Used = map[string]float64{}
			}
			s.Used[what] = n
		}
	}
	r.used = used
	if err := r.w.fleet.backend.Series().Add(ctx, r.w.fleet.Plan.Name, s); err != nil {
		r.w.fleet.opt.Log.Warn("what was done in the last seconds is missing from the charts", "err", err)
	}
}

// governed notes what the governor says at the slice's end.
func (r *recorder) governed(s *series.Sample) {
	now := r.w.governor.Now()
	s.Rates = now.Rates
	if b := now.Brake; b.Set.After(r.brake) {
		r.brake = b.Set
		if b.Until.After(s.At) { // not one that was over before
			s.Brake = &series.Brake{Set: b.Set, Until: b.Until, Why: b.Why}
		}
	}
	if now.Breaker.Open() {
		s.Down = now.Breaker.Why
	}
	if said, at := r.w.client.LastSaid(); at.After(s.At) {
		s.Said = said
	}
}

// used is what has been asked of the backend, by what it bills.
func (f *Fleet) used() map[string]float64 {
	if b, ok := f.backend.(interface{ Used() map[string]float64 }); ok {
		return b.Used()
	}
	return nil
}

// left is how far the vendor's open runs are; nothing, where that is not known
// in time. Their trees are compared with the last run's on this occasion.
func (f *Fleet) left(ctx context.Context) map[string]map[string]series.Left {
	open, err := f.OpenRuns(ctx)
	if err != nil {
		return nil
	}
	out := map[string]map[string]series.Left{}
	for _, r := range open {
		counts, err := f.Progress(ctx, r.ID)
		if err != nil {
			continue
		}
		f.watchOver(ctx, r, counts)
		out[r.ID] = map[string]series.Left{}
		for tier, c := range counts {
			out[r.ID][tier] = series.Left{Known: c.Known, Ended: c.Settled(), Dead: c.Dead}
		}
	}
	return out
}

// watchOver is Guard where a failure must not hold anything up.
func (f *Fleet) watchOver(ctx context.Context, r run.Run, counts map[string]run.Count) {
	if err := f.Guard(ctx, r, counts); err != nil && ctx.Err() == nil {
		f.opt.Log.Warn("the run's tree could not be compared with the last one's", "run", r.ID, "err", err)
	}
}

// OpenRuns are the vendor's runs that are open now.
func (f *Fleet) OpenRuns(ctx context.Context) (open []run.Run, err error) {
	if b, ok := f.backend.(interface {
		OpenRuns(ctx context.Context) ([]run.Run, error)
	}); ok {
		return b.OpenRuns(ctx)
	}
	all, err := f.Runs.Store.List(ctx, f.Plan.Name)
	for _, r := range all {
		if r.State == run.Open {
			open = append(open, r)
		}
	}
	return open, err
}

// Progress tells how far each tier of a run is, by the counters; where a look
// at the queues costs requests, without what is queued.
func (f *Fleet) Progress(ctx context.Context, id string) (map[string]run.Count, error) {
	if b, ok := f.backend.(interface {
		Progress(ctx context.Context, id string) (map[string]run.Count, error)
	}); ok {
		return b.Progress(ctx, id)
	}
	return f.Runs.Store.Counts(ctx, id)
}
