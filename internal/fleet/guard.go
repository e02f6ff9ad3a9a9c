package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// guard remembers what this process knows of earlier runs and has seen of open
// ones, so that each look costs nothing as long as nothing is new.
type guard struct {
	mu     sync.Mutex
	before map[string]earlier   // by run
	off    map[string]time.Time // by run and tier: since when its size is off
	said   map[string]bool      // by run and tier: it has been flagged
	doneIn string               // the closed run that done is of
	done   series.Sum
}

// An earlier run is the last one before another; nil: there was none at that time.
type earlier struct {
	run *run.Run
	at  time.Time
}

// askAgain is how long a run is taken for the first one: the one before it may
// still be open.
const askAgain = time.Minute

// fewest is how many tasks more or less are worth a word at all.
const fewest = 2

// settling is the part of the queues' lag in which counters agree: one in so many.
const settling = 12

// driftMark begins the marks of a run that say what its tree did.
const driftMark = "drift: "

// Guard compares an open run's tree with that of the run before it, as soon as a
// tier's size is known: before what lies below it is paid for. A difference above
// the spec's threshold is noted with the run and in the audit log, once for each
// tier; the first stops the vendor if the spec says so, and an operator's resume
// accepts the tree. Where counters lag, two looks must agree.
func (f *Fleet) Guard(ctx context.Context, r run.Run, counts map[string]run.Count) error {
	drift := f.Plan.Drift
	if drift.Percent == 0 || r.Previous == "" || r.State != run.Open {
		return nil
	}
	last, err := f.runBefore(ctx, r)
	if err != nil || last == nil {
		return err
	}
	_, exact := run.Expected(r.Tiers, counts, nil)
	hidden := false
	for i, tier := range r.Tiers {
		// What lies below dead tasks is not there to be counted.
		hidden = hidden || i > 0 && counts[r.Tiers[i-1]].Dead > 0
		was := 0
		for _, s := range last.Verdict.Tiers {
			if s.Tier == tier {
				was = s.Known
			}
		}
		now := counts[tier].Known
		off := 100 * float64(now-was) / float64(max(was, 1))
		same := hidden || i == 0 || was == 0 || !exact[i] && now < was || max(off, -off) <= float64(drift.Percent) || max(now-was, was-now) < fewest
		if !f.confirmed(r.ID+" "+tier, !same) {
			continue
		}
		if err := f.flag(ctx, r, tier, was, now, off); err != nil {
			return err
		}
	}
	return nil
}

// confirmed notes whether a tier's size is off, and tells whether it has been at
// each look for as long as counters may lag.
func (f *Fleet) confirmed(what string, off bool) bool {
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	if !off {
		delete(f.guard.off, what)
		return false
	}
	since, known := f.guard.off[what]
	if !known {
		since = time.Now()
		f.guard.off[what] = since
	}
	return time.Since(since) >= f.opt.Lag/settling
}

// runBefore is the last run before one that was closed with a whole tree; nil:
// there is none. Who has been found is not looked for again.
func (f *Fleet) runBefore(ctx context.Context, r run.Run) (*run.Run, error) {
	f.guard.mu.Lock()
	b, known := f.guard.before[r.ID]
	f.guard.mu.Unlock()
	if known && (b.run != nil || time.Since(b.at) < askAgain) {
		return b.run, nil
	}
	last, err := f.lastRun(ctx, r.Opened)
	if err != nil {
		return nil, err
	}
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	f.guard.before[r.ID] = earlier{last, time.Now()}
	return last, nil
}

// lastRun is the newest run that was closed with a whole tree, of those that were
// opened before an instant, if one is given.
func (f *Fleet) lastRun(ctx context.Context, before time.Time) (*run.Run, error) {
	all, err := f.Runs.Store.List(ctx, f.Plan.Name)
	if err != nil {
		return nil, fmt.Errorf("looking for the last run of %s: %w", f.Plan.Name, err)
	}
	for _, r := range all { // newest first
		if r.Whole() && (before.IsZero() || r.Opened.Before(before)) {
			return &r, nil
		}
	}
	return nil, nil
}

// flag says that a tier has drifted, unless that has been said.
//
// vendor stopped, if it is to be -> written into the audit log -> noted with the
// run: whoever dies in between says it again.
func (f *Fleet) flag(ctx context.Context, r run.Run, tier string, was, now int, off float64) error {
	mark := driftMark + tier + " "
	what := r.ID + " " + tier
	f.guard.mu.Lock()
	said := f.guard.said[what]
	f.guard.mu.Unlock()
	if said {
		return nil
	}
	fresh, err := f.Runs.Store.Get(ctx, r.ID)
	if err != nil {
		return err
	}
	known, any := marked(fresh, mark), marked(fresh, driftMark)
	if !known {
		text := fmt.Sprintf("%s has %d tasks, %d in the last run (%+.1f %%; above %d %% counts)", tier, now, was, off, f.Plan.Drift.Percent)
		why := "run " + r.ID + ": tier " + text
		store := f.backend.Governor()
		if f.Plan.Drift.Stop && !any {
			rep, err := f.GovernorStatus(ctx)
			if err != nil || rep.Stop.Kind != "" && rep.Stop.Kind != governor.ByDrift {
				return err // somebody else has stopped it: until that is over there is time
			}
			if err := governor.Halt(ctx, store, f.Plan.Name, governor.ByDrift, why, governor.Note{By: "sluice"}); err != nil {
				return err
			}
		}
		f.opt.Log.Warn("the vendor's tree has changed", "run", r.ID, "tier", tier, "tasks", now, "last", was)
		e := governor.Entry{By: "sluice", What: "drift", Old: fmt.Sprintf("%d tasks", was), New: fmt.Sprintf("%d tasks", now), Why: why}
		if err := governor.Record(ctx, store, f.Plan.Name, e); err != nil {
			return err
		}
		if _, err := f.Runs.Store.Mark(ctx, r.ID, driftMark+text); err != nil {
			return err
		}
	}
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	f.guard.said[what] = true
	return nil
}

func marked(r run.Run, begins string) bool {
	return slices.ContainsFunc(r.Marks, func(m string) bool { return strings.HasPrefix(m, begins) })
}

// Flags are what a run's tree did that somebody should look at.
func Flags(r run.Run) (flags []string) {
	for _, m := range r.Marks {
		if text, ok := strings.CutPrefix(m, driftMark); ok {
			flags = append(flags, "tier "+text)
		}
	}
	slices.Sort(flags)
	return flags
}
