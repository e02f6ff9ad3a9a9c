package fleet

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// guard remembers what this process knows of earlier runs and has said of open
// ones, so that each look costs nothing as long as nothing is new.
type guard struct {
	mu     sync.Mutex
	last   map[string]*run.Verdict // of the run before, by run
	said   map[string]bool         // by run and tier: it has been flagged
	doneIn string                  // the closed run that done is of
	done   series.Sum
}

// fewest is how many tasks more or less are worth a word at all.
const fewest = 2

// Guard compares an open run's tree with the last one's, as soon as a tier's
// size is known: before what lies below it is paid for. A difference above the
// spec's threshold is written into the vendor's audit log, once, and stops the
// vendor if the spec says so; an operator's resume accepts it.
func (f *Fleet) Guard(ctx context.Context, r run.Run, counts map[string]run.Count) error {
	drift := f.Plan.Drift
	if drift.Percent == 0 || r.Previous == "" || r.State != run.Open {
		return nil
	}
	last, err := f.verdictBefore(ctx, r.ID)
	if err != nil || last == nil {
		return err
	}
	_, exact := run.Expected(r.Tiers, counts, nil)
	for i, tier := range r.Tiers {
		if i > 0 && counts[r.Tiers[i-1]].Dead > 0 {
			return nil // what lies below dead tasks is not there to be counted
		}
		was := 0
		for _, s := range last.Tiers {
			if s.Tier == tier {
				was = s.Known
			}
		}
		now := counts[tier].Known
		if i == 0 || was == 0 || !exact[i] && now < was {
			continue // not known yet, or not more than it was
		}
		off := 100 * float64(now-was) / float64(was)
		if max(off, -off) <= float64(drift.Percent) || max(now-was, was-now) < fewest {
			continue
		}
		if err := f.flag(ctx, r, tier, was, now, off); err != nil {
			return err
		}
	}
	return nil
}

// verdictBefore is the verdict of the last run before one; nil: there is none.
func (f *Fleet) verdictBefore(ctx context.Context, id string) (*run.Verdict, error) {
	f.guard.mu.Lock()
	v, known := f.guard.last[id]
	f.guard.mu.Unlock()
	if known {
		return v, nil
	}
	last, err := f.lastRun(ctx, id)
	if err != nil {
		return nil, err
	}
	if last != nil {
		v = last.Verdict
	}
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	if f.guard.last == nil {
		f.guard.last, f.guard.said = map[string]*run.Verdict{}, map[string]bool{}
	}
	f.guard.last[id] = v
	return v, nil
}

// flag says that a tier has drifted, unless that has been said.
func (f *Fleet) flag(ctx context.Context, r run.Run, tier string, was, now int, off float64) error {
	mark := fmt.Sprintf("run %s, tier %s", r.ID, tier)
	f.guard.mu.Lock()
	said := f.guard.said[mark]
	f.guard.mu.Unlock()
	if said {
		return nil
	}
	known, err := f.logged(ctx, "drift", mark)
	if err != nil {
		return err
	}
	if !known {
		why := fmt.Sprintf("%s has %d tasks, %d in the last run (%+.1f %%; above %d %% counts)", mark, now, was, off, f.Plan.Drift.Percent)
		f.opt.Log.Warn("the vendor's tree has changed", "run", r.ID, "tier", tier, "tasks", now, "last", was)
		store := f.backend.Governor()
		if f.Plan.Drift.Stop {
			if err := governor.Halt(ctx, store, f.Plan.Name, governor.ByDrift, why, governor.Note{By: "sluice"}); err != nil {
				return err
			}
		}
		e := governor.Entry{By: "sluice", What: "drift", Old: fmt.Sprintf("%d tasks", was), New: fmt.Sprintf("%d tasks", now), Why: why}
		if err := governor.Record(ctx, store, f.Plan.Name, e); err != nil {
			return err
		}
	}
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	f.guard.said[mark] = true
	return nil
}

// logged tells whether the audit log holds a change of a kind that says mark.
func (f *Fleet) logged(ctx context.Context, what, mark string) (bool, error) {
	rep, err := f.GovernorStatus(ctx)
	if err != nil {
		return false, err
	}
	for _, e := range rep.Log {
		if e.What == what && (strings.Contains(e.Why, mark) || strings.Contains(e.New, mark)) {
			return true, nil
		}
	}
	return false, nil
}

// Seed starts the run of a window, or resumes it, and gives it its budget: the
// spec's when it begins, or one that is asked for now.
func (f *Fleet) Seed(ctx context.Context, w fanout.Window, again bool, asked *vendorapi.Budget, by string) (run.Run, error) {
	r, err := f.Runs.Seed(ctx, w, again)
	if err != nil || r.State != run.Open {
		return r, err
	}
	budget := f.Plan.Budget
	if asked != nil {
		budget = *asked
	}
	end := budget.End(time.Now(), f.Plan.Zone)
	if asked == nil {
		if end = budget.End(r.Opened, f.Plan.Zone); budget.Calls == 0 && end.IsZero() {
			return r, nil
		}
		if known, err := f.logged(ctx, "budget", "run "+r.ID+":"); err != nil || known {
			return r, err
		}
	}
	b := governor.Budget{Run: r.ID, Calls: int64(budget.Calls), Until: end}
	err = governor.SetBudget(ctx, f.backend.Governor(), f.Plan.Name, b, governor.Note{By: cmp.Or(by, "sluice"), Why: "a run begins"})
	if err != nil {
		return r, fmt.Errorf("giving run %s its budget: %w", r.ID, err)
	}
	return r, nil
}

// free takes a run's budget away when the run is about to be closed: what comes
// later, a replay or another run, has its own.
func (f *Fleet) free(ctx context.Context, id string) error {
	it, err := f.backend.Governor().Load(ctx, f.Plan.Name)
	if err != nil || it.Budget == nil || it.Budget.Run != id {
		return err
	}
	return governor.SetBudget(ctx, f.backend.Governor(), f.Plan.Name, governor.Budget{}, governor.Note{By: "sluice", Why: "run " + id + " has ended"})
}

// Flags are what the audit log says about a run's tree that somebody should look
// at.
func (f *Fleet) Flags(ctx context.Context, id string) (flags []string, err error) {
	rep, err := f.GovernorStatus(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range rep.Log {
		if e.What == "drift" && strings.Contains(e.Why, "run "+id+",") {
			flags = append(flags, e.Why)
		}
	}
	return flags, nil
}
