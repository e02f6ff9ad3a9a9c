package cli

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/lake"
)

const lakeDeadLong = `Dead lists the landed objects of a run that cannot be converted, and why: cut, changed
since they were written, or not what the spec says. The run is not published
while there are any: mend them (restore the object, or correct the spec) and retry, or
discard them.`

func (a *app) lakeDeadCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "dead RUN", Short: "List landed objects that cannot be converted", Long: lakeDeadLong,
		Example: "  sluice lake dead sim-20260102-4f2k1a",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				r, l, err := a.notesOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				dead, err := l.Dead(cmd.Context(), r.ID)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.Stdout, append([]lake.Dead{}, dead...))
				}
				a.printDeadObjects(r.ID, dead)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) printDeadObjects(id string, dead []lake.Dead) {
	if len(dead) == 0 {
		a.print("No landed object of run %s is dead.", id)
		return
	}
	standing := 0
	for _, d := range dead {
		a.print("%s", d.Object)
		a.print("  since %s: %s", instantText(d.At), d.Reason)
		if by := d.Discarded; by != nil {
			a.print("  discarded by %s on %s: %s", by.By, instantText(by.At), by.Why)
		} else {
			standing++
		}
	}
	if standing == 0 {
		return
	}
	a.print("\nWhen it is mended:     sluice lake retry %s%s", id, a.homeFlag())
	a.print("To publish without it: sluice lake discard %s %s --why TEXT%s", id, "OBJECT", a.homeFlag())
}

const lakeRetryLong = `Retry converts a run's dead landed objects again: because an object was restored,
or a spec corrected. Those that an operator has discarded stay so. Exit code 1: some
are dead still.`

func (a *app) lakeRetryCommand() *cobra.Command {
	var by madeBy
	cmd := &cobra.Command{
		Use: "retry RUN", Short: "Convert dead landed objects again", Long: lakeRetryLong,
		Example: "  sluice lake retry sim-20260102-4f2k1a",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error { return a.retryObjects(cmd.Context(), h, args[0], by) })
		},
	}
	by.register(cmd)
	return cmd
}

func (a *app) retryObjects(ctx context.Context, h place, id string, by madeBy) error {
	r, l, err := a.lakeOfRun(ctx, h, id, by)
	if err != nil {
		return err
	}
	mended, err := l.Retry(ctx, r.ID)
	if err != nil {
		return err
	}
	left, err := standing(ctx, l, r.ID)
	if err != nil {
		return err
	}
	switch {
	case mended+left == 0:
		a.print("No landed object of run %s is dead.", r.ID)
	case left > 0:
		a.print("%s converted, %s dead still: sluice lake dead %s%s", plural(mended, "landed object"), plural(left, "landed object"), r.ID, a.homeFlag())
		return &exit{code: exitIncomplete}
	default:
		a.print("%s converted. Next: sluice lake publish %s%s", plural(mended, "landed object"), r.ID, a.homeFlag())
	}
	return nil
}

// standing are a run's dead objects that stand in the way of its publication.
func standing(ctx context.Context, l *lake.Lake, id string) (n int, err error) {
	dead, err := l.Dead(ctx, id)
	for _, d := range dead {
		if d.Discarded == nil {
			n++
		}
	}
	return n, err
}

const lakeDiscardLong = `Discard decides that a run is published without a landed object that cannot be
converted. Its rows will be missing from the tables; the manifest says so, with who
decided, when and why. OBJECT is what "sluice lake dead" lists, or the last part of it.`

func (a *app) lakeDiscardCommand() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "discard RUN OBJECT", Short: "Publish a run without a landed object", Long: lakeDiscardLong,
		Example: `  sluice lake discard sim-20260102-4f2k1a 06DPXK4V30.ndjson.zst --why "lost with the disk"`,
		Args:    args(2, 2, "RUN and OBJECT (sluice lake dead lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			if why == "" {
				return errors.New("discard needs --why: rows will be missing, and somebody will ask")
			}
			return with(a.existing(args...), a.soft, func(h place) error {
				r, l, err := a.notesOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				by := lake.Decision{By: a.operator(), Why: why, At: time.Now().UTC()}
				if err := l.Discard(cmd.Context(), r.ID, args[1], by); err != nil {
					return err
				}
				noted := governor.Entry{At: by.At, By: by.By, What: "lake discard " + r.ID, Old: path.Base(args[1]), Why: why}
				if err := governor.Record(cmd.Context(), h.Governor(), r.Vendor, noted); err != nil {
					return err
				}
				a.print("Run %s will be published without %s. Next: sluice lake publish %s%s", r.ID, path.Base(args[1]), r.ID, a.homeFlag())
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "why: it is kept with the run's manifest")
	return cmd
}
