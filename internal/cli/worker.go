package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
)

const workerLong = `Worker works one tier as a process of its own: whatever open run has tasks in
that tier's queue. Several workers and a run may share a home, and with it the
vendor's limits. It waits while no run is open. A run is closed by "sluice run",
which also computes its verdict.

Ctrl-C once stops softly, twice now. With --until-empty it ends by itself when
no run of the vendor is open any more.`

func (a *app) workerCommand() *cobra.Command {
	var set settings
	var untilEmpty, noProgress bool
	cmd := &cobra.Command{
		Use: "worker SPEC TIER", Short: "Work one tier as a process of its own", Long: workerLong,
		Example: "  sluice worker sim data\n  sluice worker my-vendor.yaml devices --until-empty",
		Args:    args(2, 2, "SPEC and TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := set.plan(args[0])
			if err != nil {
				return err
			}
			return with(a.opened(plan.Name), a.soft, func(h place) error {
				f, err := a.newFleet(plan, h)
				if err != nil {
					return err
				}
				if !slices.Contains(f.Runs.Tiers, args[1]) {
					return noTier(plan.Name, args[1], f.Runs.Tiers)
				}
				return a.worker(f, h, args[1], untilEmpty, noProgress)
			})
		},
	}
	set.flag(cmd)
	cmd.Flags().BoolVar(&untilEmpty, "until-empty", false, "end when no run is open")
	cmd.Flags().BoolVar(&noProgress, "no-progress", false, "say nothing while it works")
	return cmd
}

func (a *app) worker(f *fleet.Fleet, h place, tier string, untilEmpty, quiet bool) error {
	root := f.Plan.Root("probe", run.Yesterday(time.Now(), f.Plan.Zone))[0]
	workers, err := f.Workers(secrets{a, h}, root, tier)
	if err != nil {
		return err
	}
	if err := a.clearRefusal(f); err != nil {
		return errors.Join(err, workers.Close())
	}
	soft, stop := context.WithCancelCause(a.soft)
	defer stop(nil)
	open := func(ctx context.Context) string { return openRun(ctx, f.Runs) }
	if open(soft) == "" && !untilEmpty {
		a.say("worker of %s %s: no run is open; waiting for one (Ctrl-C stops)", f.Plan.Name, tier)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if untilEmpty {
			awaitNoRun(soft, f.Runs)
			stop(nil)
		}
	}()
	watch := a.newWatch(f, workers, []string{tier}, open)
	_, err = a.atWork(watch, quiet, func() (run.Verdict, error) { return run.Verdict{}, workers.Work(soft, a.hard) })
	stop(nil)
	<-watched
	if closing := workers.Close(); closing != nil {
		a.log.Warn("giving back what this process held in the governor", "err", closing)
	}
	if err != nil {
		return a.failed(f, h, err)
	}
	r := watch.workers.Report()
	a.print("worker of %s %s: %s ended; calls: %s", f.Plan.Name, tier, plural(r.Settled(), "task"), watch.costs()[0][1])
	return nil
}

// openRun is the newest open run of a vendor, or "".
func openRun(ctx context.Context, runs *run.Runs) string {
	all, err := runs.Store.List(ctx, runs.Vendor)
	if err != nil {
		return ""
	}
	for _, r := range all {
		if r.State == run.Open {
			return r.ID
		}
	}
	return ""
}

// awaitNoRun waits until no run is open.
func awaitNoRun(ctx context.Context, runs *run.Runs) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if open, err := runs.Ledger.AnyOpen(ctx); err == nil && !open {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
