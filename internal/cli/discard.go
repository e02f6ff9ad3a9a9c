package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/run"
)

const discardLong = `Discard settles dead tasks for good: they are not needed, and the verdict no longer
counts them as dead but names them as discarded. It cannot be taken back: a
discarded task is not replayed. Its reason stays to be read with "sluice dead show",
with who decided, when and why.

It takes the same flags as "sluice replay", may be interrupted at any point and typed
again, and needs --why.`

func (a *app) discardCommand() *cobra.Command {
	d := deed{verb: "discard"}
	cmd := &cobra.Command{
		Use: "discard VENDOR|SPEC [TIER]", Short: "Leave dead tasks be, for good", Long: discardLong,
		Example: `  sluice discard sim --cause 4f2k1a --why "devices retired in March" --dry-run
  sluice discard sim --task 'datagroups 9007199254740995' --why "not ours"`,
		Args: args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.why == "" {
				return errors.New("discard needs --why: it cannot be taken back, and somebody will ask")
			}
			return with(a.existing(args...), a.soft, func(h place) error { return a.discard(cmd.Context(), h, args, d) })
		},
	}
	d.register(a, cmd)
	cmd.Flags().StringVar(&d.why, "why", "", "why: it is kept with each task")
	return cmd
}

func (a *app) discard(ctx context.Context, h place, args []string, d deed) error {
	l, some, n, err := a.choose(ctx, h, args, d)
	if err != nil {
		return err
	}
	if d.dry {
		return a.dryRun(l, some, n, d)
	}
	note := run.Note{By: a.operator(), Why: d.why, At: time.Now().UTC()}
	if n > 0 {
		if err := a.record(ctx, h, l, args, d, n, note); err != nil {
			return err
		}
	}
	runs := l.runsOf(h)
	out := decided{Vendor: l.vendor, Runs: []decidedRun{}}
	for _, r := range l.runs {
		done, err := runs.Discard(ctx, r.ID, lettersOf(some, r), note)
		if err != nil {
			return fmt.Errorf("discarding dead tasks of run %s (type the same again to go on): %w", r.ID, err)
		}
		if done == 0 {
			continue
		}
		out.Tasks += done
		out.Runs = append(out.Runs, decidedRun{r.ID, done})
		if d.asJSON {
			continue
		}
		if err := a.sayDiscarded(ctx, h, r, done); err != nil {
			return err
		}
	}
	switch {
	case d.asJSON:
		return writeJSON(a.Stdout, out)
	case out.Tasks == 0:
		a.nothing(l, d)
	}
	return nil
}

// sayDiscarded says what a closed run's verdict is now.
func (a *app) sayDiscarded(ctx context.Context, h place, r run.Run, n int) error {
	now, err := h.Runs().Get(ctx, r.ID)
	if err != nil {
		return err
	}
	if now.State != run.Closed || now.Verdict == nil {
		a.print("%s of run %s discarded; the run is open still.", plural(n, "task"), r.ID)
		return nil
	}
	a.print("%s of run %s discarded: %s", plural(n, "task"), r.ID, now.Verdict.Sum())
	if plan, err := (madeBy{}).plan(r); err == nil && a.on != onAWS && now.Verdict.Complete() && len(plan.Lake.Tables) > 0 {
		a.print("Its tables may be published now: sluice lake publish %s%s", r.ID, a.homeFlag())
	}
	return nil
}
