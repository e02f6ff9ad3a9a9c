package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

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
