package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/forecast"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// Assume is what a forecast takes for granted in the place of what the last run
// was like. The zero Assume takes everything from there.
type Assume struct {
	Tasks   map[string]int     // by tier
	Calls   map[string]float64 // a task, by tier
	Latency time.Duration      // of a call
	Workers int                // processes for each tier (AWS) or in all
}

// A Forecast is what is expected of a run.
type Forecast struct {
	forecast.Result
	Run     string // the open run that it is of; empty: one that has not begun
	Last    string // the run that the tree was learned from; empty: none
	At      time.Time
	Tiers   []PlannedTier
	Tree    forecast.Tree
	Limits  governor.Report
	Used    map[string]float64 // by the last run, of what its backend bills
	Made    float64            // calls that the last run made
	Unknown []string           // tiers of which nobody can tell the size
	fleet   forecast.Fleet
	model   []forecast.Tier
	inHand  map[string]int // fetched and not committed, by tier
}

// A PlannedTier is a tier as the forecast takes it.
type PlannedTier struct {
	forecast.Tier
	Went   forecast.TierResult
	Exact  bool   // its size is known, not estimated
	Source string // where its size comes from: "run", "last run", "so far" (of this one), "given"
}

const (
	usualLatency = 200 * time.Millisecond // of a call, as long as nothing is known
	usualYield   = 0.995                  // of the permits, as measured with work always there
)

// ErrNoTree says that nobody knows how large the vendor's tree is.
var ErrNoTree = errors.New("nothing is known about the size of the vendor's tree")

// Forecast tells how long a run takes that has not begun.
func (f *Fleet) Forecast(ctx context.Context, a Assume) (*Forecast, error) {
	last, err := f.lastRun(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	return f.forecast(ctx, a, nil, nil, last)
}

// ForecastRun tells how long an open run still takes.
func (f *Fleet) ForecastRun(ctx context.Context, r run.Run, counts map[string]run.Count, a Assume) (*Forecast, error) {
	last, err := f.runBefore(ctx, r)
	if err != nil {
		return nil, err
	}
	return f.forecast(ctx, a, &r, counts, last)
}

func (f *Fleet) forecast(ctx context.Context, a Assume, r *run.Run, counts map[string]run.Count, last *run.Run) (*Forecast, error) {
	out := &Forecast{At: time.Now()}
	var err error
	if out.Limits, err = f.GovernorStatus(ctx); err != nil {
		return nil, err
	}
	var verdict *run.Verdict
	if last != nil {
		out.Last, verdict = last.ID, last.Verdict
	}
	if r != nil {
		out.Run = r.ID
	} else {
		seeds := len(f.Plan.Root("plan", run.Yesterday(time.Now(), f.Plan.Zone)))
		counts = map[string]run.Count{f.Runs.Tiers[0]: {Known: seeds}}
	}
	learned, err := f.learn(ctx, out, r, last)
	if err != nil {
		return nil, err
	}
	f.tree(out, a, counts, verdict, learned)
	f.machine(out, a)
	out.solve()
	return out, nil
}

// learn is what the fleet did in the run, and if that is little, in the last.
func (f *Fleet) learn(ctx context.Context, out *Forecast, r, last *run.Run) (tiers map[string]*series.Tier, err error) {
	tiers = map[string]*series.Tier{}
	store := f.backend.Series()
	if store == nil {
		return tiers, nil
	}
	learn := func(sum series.Sum) {
		for name, t := range sum.Tiers {
			if known := tiers[name]; t.Calls > 0 && t.Fetched > 0 && (known == nil || known.Fetched < fewTasks) {
				tiers[name] = t
			}
		}
	}
	if r != nil {
		from, now := r.Opened.Add(-series.Slice), time.Now()
		if recent := now.Add(-lately); recent.After(from) {
			from = recent
		}
		sum, err := series.Over(ctx, store, f.Plan.Name, from, now)
		if err != nil {
			return nil, err
		}
		learn(sum)
		out.pending(sum, now)
	}
	if last != nil {
		sum, err := f.lastDone(ctx, last)
		if err != nil {
			return nil, err
		}
		learn(sum)
		out.Used, out.Made = sum.Used, float64(sum.All().Calls)
	}
	return tiers, nil
}

// pending notes what has been fetched and waits for its commit: the counters do
// not have it yet, and it needs no call.
func (p *Forecast) pending(sum series.Sum, now time.Time) {
	if now.Sub(sum.To) > 2*series.Slice {
		return // nobody is at work: whatever was in hand is back on its queue
	}
	p.inHand = map[string]int{}
	for name, t := range sum.Tiers {
		p.inHand[name] = min(max(0, t.Fetched-t.Settled()), mostPending)
	}
}

const mostPending = 512 // two batches

const (
	lately   = 30 * time.Minute // what an open run is judged by
	fewTasks = 20               // tell less than the last run
)

// lastDone is what the fleet did in a closed run. It is read once.
func (f *Fleet) lastDone(ctx context.Context, last *run.Run) (series.Sum, error) {
	f.guard.mu.Lock()
	known, sum := f.guard.doneIn == last.ID, f.guard.done
	f.guard.mu.Unlock()
	if known {
		return sum, nil
	}
	sum, err := series.Over(ctx, f.backend.Series(), f.Plan.Name, last.Opened.Add(-series.Slice), last.Closed.Add(series.Slice))
	if err == nil {
		f.guard.mu.Lock()
		f.guard.doneIn, f.guard.done = last.ID, sum
		f.guard.mu.Unlock()
	}
	return sum, err
}

// tree sizes the tiers.
func (f *Fleet) tree(out *Forecast, a Assume, counts map[string]run.Count, verdict *run.Verdict, learned map[string]*series.Tier) {
	tasks, exact := run.Expected(f.Runs.Tiers, counts, verdict)
	for i, name := range f.Runs.Tiers {
		c := counts[name]
		p := PlannedTier{Exact: exact[i], Source: "run"}
		ended := min(c.Settled()+out.inHand[name], max(c.Known, c.Settled()))
		p.Tier = forecast.Tier{Name: name, Tasks: tasks[i], Known: c.Known, Ended: ended, Calls: 1, Latency: usualLatency}
		if !exact[i] {
			p.Source = "last run"
			if verdict == nil {
				p.Source = "so far"
			}
		}
		if n, ok := a.Tasks[name]; ok && !exact[i] {
			p.Tier.Tasks, p.Source = max(n, c.Known), "given"
		}
		if t := learned[name]; t != nil {
			p.Calls = float64(max(t.Calls-t.Throttled-t.Failed, t.Fetched)) / float64(t.Fetched) // brakes and outages are not foreseen
			p.Latency = t.Vendor / time.Duration(t.Calls)
		}
		p.Calls = cmp.Or(a.Calls[name], p.Calls)
		p.Latency = cmp.Or(a.Latency, p.Latency)
		if p.Tier.Tasks == 0 && i > 0 && !exact[i] {
			out.Unknown = append(out.Unknown, name)
		}
		out.Tiers = append(out.Tiers, p)
		out.model = append(out.model, p.Tier)
		left := float64(max(0, p.Tier.Tasks-p.Ended))
		out.Tree.Tasks += left
		if i == len(f.Plan.Tiers)-1 && len(f.Plan.Tiers[i].Tables) > 0 {
			out.Tree.Rows = left
		}
		if i < len(f.Runs.Tiers)-1 {
			out.Tree.Lists += left
		}
		if i > 0 && f.Plan.Tiers[i-1].Unique {
			out.Tree.Unique += left
		}
	}
	out.Tree.Tiers = len(f.Runs.Tiers)
}

// machine is what the tree is walked with.
func (f *Fleet) machine(out *Forecast, a Assume) {
	flush := cmp.Or(f.opt.Engine.FlushEvery, 5*time.Second)
	m := forecast.Fleet{
		Bounds: boundsOf(out.Limits, f.Runs.Tiers, out.At),
		Every:  out.Limits.Interval, InFlight: out.Limits.InFlight, Own: 32, Workers: max(a.Workers, 1), Yield: usualYield,
		Flush: flush, FlushSize: cmp.Or(f.opt.Engine.FlushResults, 256), Settle: 20 * time.Millisecond,
		Wake: f.opt.Idle / 2, Start: 100 * time.Millisecond, End: 2*f.opt.Idle + 100*time.Millisecond,
	}
	if f.opt.Tick > 0 { // somebody looks once in a while: half of that, on average
		m.Apart, m.Settle, m.Start = true, 200*time.Millisecond, time.Second
		m.Wake, m.End = f.opt.Tick/2, f.opt.Tick/2+5*time.Second
	}
	out.fleet = m
}

func (p *Forecast) solve() {
	p.Result = forecast.Of(p.model, p.fleet)
	for i := range p.Tiers {
		p.Tiers[i].Went = p.Result.Tiers[i]
	}
}

// With is the forecast under other limits, or with more processes: zero values
// leave what there is.
func (p *Forecast) With(every time.Duration, inFlight, workers int) *Forecast {
	q := *p
	q.Tiers = slices.Clone(p.Tiers)
	q.fleet.Every = cmp.Or(every, p.fleet.Every)
	q.fleet.InFlight = cmp.Or(inFlight, p.fleet.InFlight)
	q.fleet.Workers = cmp.Or(workers, p.fleet.Workers)
	q.solve()
	return &q
}

// Under is the forecast under other limits.
func (p *Forecast) Under(rep governor.Report) *Forecast {
	q := *p
	q.Tiers = slices.Clone(p.Tiers)
	q.fleet.Every, q.fleet.InFlight = rep.Interval, rep.InFlight
	var tiers []string
	for _, t := range p.model {
		tiers = append(tiers, t.Name)
	}
	q.fleet.Bounds = boundsOf(rep, tiers, p.At)
	q.solve()
	return &q
}

// boundsOf are the limits that do not bind all calls alike, and those that count by
// the day or the hour.
func boundsOf(rep governor.Report, tiers []string, at time.Time) (out []forecast.Bound) {
	for _, l := range rep.Limits {
		l := l
		of := l.Now.Of
		if of == nil {
			of = &governor.Scope{}
		}
		b := forecast.Bound{Name: l.Spec.Name}
		if l.Quota != nil {
			b.Count, b.Left = float64(l.Now.Count), float64(l.Quota.Left)
			b.Reset = func(after time.Duration) time.Duration { return l.Now.NextReset(at.Add(after)).Sub(at) }
		} else if b.Every = l.Every; b.Every == 0 || l.Now.Of == nil {
			continue
		}
		if of.Each != "" {
			continue // how many values there are is not known beforehand
		}
		for _, t := range tiers {
			units := float64(max(of.Weight[t], of.AtMost, 1))
			if of.Tiers != nil && !slices.Contains(of.Tiers, t) {
				units = 0
			}
			b.Units = append(b.Units, units)
		}
		out = append(out, b)
	}
	return out
}

// Fleet is what the forecast walks the tree with.
func (p *Forecast) Fleet() forecast.Fleet { return p.fleet }

// Complete tells whether the whole tree's size is known or estimated.
func (p *Forecast) Complete() error {
	if len(p.Unknown) == 0 {
		return nil
	}
	return fmt.Errorf("%w: no run has ended yet, and nothing is given for %s", ErrNoTree, strings.Join(p.Unknown, ", "))
}

// Binding is the limit that is the tightest by its rate, and the one that is by
// its calls in flight; empty: there is none.
func Binding(rep governor.Report) (rate, inFlight string) {
	fewest := 0
	for _, l := range rep.Limits {
		if l.Binds && rate == "" {
			rate = l.Spec.Name
		}
		if n := l.Now.InFlight; n > 0 && (fewest == 0 || n < fewest) {
			inFlight, fewest = l.Spec.Name, n
		}
	}
	return rate, inFlight
}

// MinutesLeft estimates how long an open run still takes; 0 where nobody can
// tell.
func (f *Fleet) MinutesLeft(ctx context.Context, r run.Run, counts map[string]run.Count) float64 {
	p, err := f.ForecastRun(ctx, r, counts, Assume{})
	if err != nil {
		return 0
	}
	return p.Duration.Minutes()
}
