package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

const seedLong = `Seed starts the run of a window, or goes on with the one that is there, and reads
the first tier at once, so that its nodes are on the queue of the second when it
ends. Workers, or "sluice run", do the rest.`

// seedCommand is the seeder by hand.
func (a *app) seedCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use: "seed SPEC", Short: "Start a run and read its first tier", Long: seedLong,
		Example: "  sluice seed sim --from 2026-01-02 --to 2026-01-03\n  go run ./cmd/seed sim --on aws",
		Args:    args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.spec = args[0]
			return a.withJob(flags, func(j *job, w fanout.Window) error {
				r, err := j.seedRun(w)
				if err != nil {
					return err
				}
				if r.State == run.Closed {
					a.print("run %s is closed: nothing to seed (--again starts a new one)", r.ID)
					return nil
				}
				return j.seed(r)
			})
		},
	}
	flags.register(cmd)
	a.commonFlags(cmd)
	return cmd
}

// seed reads the first tier of a run.
func (j *job) seed(r run.Run) error {
	workers, err := j.fleet.Workers(secrets{j.app, j.home}, r.Seeds[0], r.Tiers[0])
	if err != nil {
		return err
	}
	if err := j.clearRefusal(j.fleet); err != nil {
		return errors.Join(err, workers.Close())
	}
	j.working.Store(true)
	err = workers.Drain(j.soft, j.hard)
	j.working.Store(false)
	if closing := workers.Close(); closing != nil {
		j.log.Warn("giving back what this process held in the governor", "err", closing)
	}
	if err != nil && j.soft.Err() == nil {
		return j.failed(j.fleet, j.home, err)
	}
	if j.soft.Err() != nil {
		return j.stopped(r)
	}
	counts, err := j.fleet.Runs.Store.Counts(j.soft, r.ID)
	if err != nil {
		return err
	}
	j.print("run %s is seeded: %s of tier %s ended", r.ID, plural(counts[r.Tiers[0]].Settled(), "task"), r.Tiers[0])
	if len(r.Tiers) > 1 {
		j.print("%s on the queue of tier %s", plural(counts[r.Tiers[1]].Queued, "task"), r.Tiers[1])
	}
	j.print("go on with: %s", j.resume(r))
	return nil
}
