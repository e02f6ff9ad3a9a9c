package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/run"
)

const replayLong = `Replay gives dead tasks another life: all of a vendor's, those of a tier, those
of a run, or those whose name matches. It opens their runs again and puts the
tasks on their queues; "sluice run" works them, and what lies below them.

A name is what "sluice dead" shows: the tier, then the keys with " / " between
them. In --task, * stands for anything.`

func (a *app) replayCommand() *cobra.Command {
	var id, glob string
	var dry bool
	cmd := &cobra.Command{
		Use: "replay VENDOR|SPEC [TIER]", Short: "Give dead tasks another life", Long: replayLong,
		Example: "  sluice replay sim --dry-run\n  sluice replay sim devices\n  sluice replay sim --task 'devices g17*'",
		Args:    args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			pick, err := picker(args, glob)
			if err != nil {
				return err
			}
			return with(a.existing(args...), a.soft, func(h place) error {
				found, err := deadOf(cmd.Context(), h, args, id)
				if err != nil {
					return err
				}
				return a.replay(cmd.Context(), h, args[0], found, pick, dry)
			})
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "only those of this `RUN`")
	cmd.Flags().StringVar(&glob, "task", "", "only those whose `NAME` matches")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag) // the flag is there
	return cmd
}

// picker tells which dead tasks are meant. In a glob, * also stands for slashes:
// keys may hold some.
func picker(args []string, glob string) (func(run.DeadTask) bool, error) {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x01") }
	if _, err := path.Match(flat(glob), ""); err != nil {
		return nil, fmt.Errorf("--task %q is no pattern: %w", glob, err)
	}
	return func(d run.DeadTask) bool {
		if len(args) > 1 && d.Task.Tier != args[1] {
			return false
		}
		ok, _ := path.Match(flat(glob), flat(run.Name(d.Task))) // a bad pattern was refused above
		return ok || glob == "" || glob == run.Name(d.Task)
	}, nil
}

func (a *app) replay(ctx context.Context, h place, name string, found []run.DeadTask, pick func(run.DeadTask) bool, dry bool) error {
	var ids, names []string
	for _, d := range found {
		if !pick(d) {
			continue
		}
		names = append(names, run.Name(d.Task))
		if len(ids) == 0 || ids[len(ids)-1] != d.Task.Run {
			ids = append(ids, d.Task.Run)
		}
	}
	if len(names) == 0 {
		a.print("No dead task of %s matches: there is nothing to replay.", name)
		return nil
	}
	if dry {
		a.print("Would replay %s:", plural(len(names), "task"))
		a.names(names, len(names))
		return nil
	}
	for _, id := range ids {
		r, err := findRun(ctx, h, id)
		if err != nil {
			return err
		}
		if err := checkCurrent(ctx, h, r); err != nil {
			return err
		}
		sent, err := runsOf(h, r.Vendor, r.Tiers).Replay(ctx, id, pick)
		if err != nil {
			return fmt.Errorf("replaying run %s: %w", id, err)
		}
		a.print("%s of run %s on the queue again. Go on with: %s", plural(sent, "task"), id, a.goOn(r))
	}
	return nil
}

// goOn is the command that works a run, as it was seeded.
func (a *app) goOn(r run.Run) string {
	w := r.Window
	if spec, err := loadSpec(r.Origin.Spec); err == nil {
		w = inZone(w, spec.Zone)
	}
	return a.command(cmp.Or(r.Origin.Spec, r.Vendor), w, r.Origin.Settings)
}

const repairLong = `Repair sends again what a run knows of and what has neither ended nor died, and
opens the run for it. It is always safe: a task that is on a queue as well is done
once. "sluice run" then works it.`

func (a *app) repairCommand() *cobra.Command {
	return &cobra.Command{
		Use: "repair RUN", Short: "Send again what a run is missing", Long: repairLong,
		Example: "  sluice repair sim-20260102-4f2k1a",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				return a.repair(cmd.Context(), h, args[0])
			})
		},
	}
}

func (a *app) repair(ctx context.Context, h place, id string) error {
	r, err := findRun(ctx, h, id)
	if err != nil {
		return err
	}
	if err := checkCurrent(ctx, h, r); err != nil {
		return err
	}
	runs := runsOf(h, r.Vendor, r.Tiers)
	was := r.State
	sent, err := runs.Repair(ctx, id)
	if err != nil {
		return err
	}
	if sent == 0 && was == run.Closed {
		if _, err := runs.Judge(ctx, id); err != nil { // as it was: nothing is open
			return errors.Join(err, ctx.Err())
		}
		a.print("Run %s misses nothing.", id)
		return nil
	}
	a.print("%s of run %s on the queue again. Go on with: %s", plural(sent, "task"), id, a.goOn(r))
	return nil
}
