package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// guard remembers what this process knows of earlier runs and has seen of open
// ones, so that each look costs nothing as long as nothing is new.
type guard struct {
	mu     sync.Mutex
	last   map[string]*run.Verdict // of the run before, by run
	off    map[string]time.Time    // by run and tier: since when its size is off
	said   map[string]bool         // by run and tier: it has been flagged
	doneIn string                  // the closed run that done is of
	done   series.Sum
}

// fewest is how many tasks more or less are worth a word at all.
const fewest = 2

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
	last, err := f.verdictBefore(ctx, r)
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
		off := 100 * float64(now-was) / float64(max(was, 1))
		same := i == 0 || was == 0 || !exact[i] && now < was || max(off, -off) <= float64(drift.Percent) || max(now-was, was-now) < fewest
		if same || !f.confirmed(r.ID+" "+tier) {
			continue
		}
		if err := f.flag(ctx, r, tier, was, now, off); err != nil {
			return err
		}
	}
	return nil
}

// confirmed tells whether a tier's size has been off for as long as counters may
// lag.
func (f *Fleet) confirmed(what string) bool {
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	since, known := f.guard.off[what]
	if !known {
		since = time.Now()
		f.guard.off[what] = since
	}
	return time.Since(since) >= f.opt.Lag/12 && (known || f.opt.Lag == 0)
}

// verdictBefore is the verdict of the last run before one; nil: there is none.
func (f *Fleet) verdictBefore(ctx context.Context, r run.Run) (*run.Verdict, error) {
	f.guard.mu.Lock()
	v, known := f.guard.last[r.ID]
	f.guard.mu.Unlock()
	if known {
		return v, nil
	}
	last, err := f.lastRun(ctx, r.ID, r.Opened)
	if err != nil {
		return nil, err
	}
	if last != nil {
		v = last.Verdict
	}
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	if f.guard.last == nil {
		f.guard.last, f.guard.said, f.guard.off = map[string]*run.Verdict{}, map[string]bool{}, map[string]time.Time{}
	}
	f.guard.last[r.ID] = v
	return v, nil
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

// budgetMark says that a run has had its budget: one that has been lifted by a
// resume is not set again.
const budgetMark = "budget"

// Seed starts the run of a window, or resumes it, and gives it its budget before
// its first task is sent: the spec's when it begins, or one that is asked for now.
func (f *Fleet) Seed(ctx context.Context, w fanout.Window, again bool, asked *vendorapi.Budget, by string) (run.Run, error) {
	runs := *f.Runs
	runs.Begin = func(ctx context.Context, r run.Run) error { return f.begin(ctx, r, asked, by) }
	return runs.Seed(ctx, w, again)
}

// begin gives a run its budget, and takes away that of one that is over. A vendor
// has one budget at a time: it binds all that is called.
func (f *Fleet) begin(ctx context.Context, r run.Run, asked *vendorapi.Budget, by string) error {
	it, err := f.backend.Governor().Load(ctx, f.Plan.Name)
	if err != nil {
		return fmt.Errorf("looking for a budget of %s: %w", f.Plan.Name, err)
	}
	if b := it.Budget; b != nil && b.Run != r.ID {
		other, err := f.Runs.Store.Get(ctx, b.Run)
		switch {
		case err != nil && !errors.Is(err, run.ErrNoRun):
			return err
		case err == nil && other.State == run.Open && asked != nil:
			return fmt.Errorf("vendor %s has the budget of run %s, which is open: only one holds at a time (sluice status %s)", f.Plan.Name, b.Run, f.Plan.Name)
		case err == nil && other.State == run.Open:
			return nil // it binds this run as well
		}
		if err := FreeBudget(ctx, f.backend.Governor(), f.Plan.Name, b.Run); err != nil {
			return err
		}
	}
	budget := f.Plan.Budget
	end := budget.End(r.Opened, f.Plan.Zone)
	if asked != nil {
		budget = *asked
		end = budget.End(time.Now(), f.Plan.Zone)
	} else if marked(r, budgetMark) {
		return nil
	}
	if budget.Calls == 0 && end.IsZero() {
		return nil
	}
	b := governor.Budget{Run: r.ID, Calls: int64(budget.Calls), Until: end}
	err = governor.SetBudget(ctx, f.backend.Governor(), f.Plan.Name, b, governor.Note{By: cmp.Or(by, "sluice"), Why: "a run begins"})
	if err == nil {
		_, err = f.Runs.Store.Mark(ctx, r.ID, budgetMark)
	}
	if err != nil {
		return fmt.Errorf("giving run %s its budget: %w", r.ID, err)
	}
	return nil
}

// FreeBudget takes a run's budget away when the run has ended: what comes later,
// a replay or another run, has its own.
func FreeBudget(ctx context.Context, store governor.Store, vendor, id string) error {
	it, err := store.Load(ctx, vendor)
	if err != nil || it.Budget == nil || it.Budget.Run != id {
		return err
	}
	return governor.SetBudget(ctx, store, vendor, governor.Budget{}, governor.Note{By: "sluice", Why: "run " + id + " has ended"})
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
