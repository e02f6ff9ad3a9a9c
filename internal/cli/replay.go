package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

const replayLong = `Replay gives dead tasks another life: all of a vendor's, those of a tier, or those
that the flags leave. It opens their runs again, puts the tasks on their queues with
the windows that they had, and takes their tokens out of the dead-letter queues; in
that order, so that it may be interrupted at any point and typed again. "sluice run"
works them, or the fleet on AWS, and what lies below them; the run's verdict is
then computed again. --wait does that here, or waits for the fleet, to the verdict.

A name is what "sluice dead" shows: the tier, then the keys with " / " between
them. In --task, * stands for anything and no other sign for another, unless what is
given is the very name or ID of a task. Who replayed what, when and why is kept.`

// deed is what is decided about dead tasks: a replay or a discarding.
type deed struct {
	letterFlags
	verb        string // what it is called
	why         string
	dry, asJSON bool
	wait        bool
}

func (d *deed) register(a *app, cmd *cobra.Command) {
	d.letterFlags.register(a, cmd)
	d.registerLimit(cmd)
	cmd.Flags().BoolVar(&d.dry, "dry-run", false, "only say what would be done")
	cmd.Flags().BoolVar(&d.asJSON, "json", false, "say what was done as JSON")
}

func (a *app) replayCommand() *cobra.Command {
	d := deed{verb: "replay"}
	cmd := &cobra.Command{
		Use: "replay VENDOR|SPEC [TIER]", Short: "Give dead tasks another life", Long: replayLong,
		Example: `  sluice replay sim --dry-run
  sluice replay sim data --status 5xx --since 2h --wait
  sluice replay sim --cause 4f2k1a --limit 10 --why "the vendor has mended it"
  sluice replay sim --task 'devices g17*'`,
		Args: args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error { return a.replay(cmd.Context(), h, args, d) })
		},
	}
	d.register(a, cmd)
	cmd.Flags().StringVar(&d.why, "why", "", "why, for whoever reads the changes")
	cmd.Flags().BoolVar(&d.wait, "wait", false, "go on to the verdict")
	return cmd
}

// decided is what a replay or discarding did, or would do.
type decided struct {
	Tag    string       `json:"tag,omitempty"`
	Vendor string       `json:"vendor"`
	DryRun bool         `json:"dry_run,omitempty"`
	Tasks  int          `json:"tasks"`
	Runs   []decidedRun `json:"runs"`
}

type decidedRun struct {
	Run   string `json:"run"`
	Tasks int    `json:"tasks"`
}

// choose finds the dead tasks that something is to be done with. With a dry run,
// that is said and all.
func (a *app) choose(ctx context.Context, h place, args []string, d deed) (l letters, some []picked, n int, err error) {
	if l, err = d.find(ctx, h, args); err != nil {
		return l, nil, 0, err
	}
	if d.run != "" { // it may be an old one
		for _, r := range l.runs {
			if err := checkCurrent(ctx, h, r); err != nil {
				return l, nil, 0, err
			}
		}
	}
	runs := l.runsOf(h)
	if !d.dry {
		every, err := l.store.List(ctx, l.vendor) // its queues hold the dead letters of all
		if err == nil {
			err = runs.Collect(ctx, mayHaveDead(every))
		}
		if err != nil {
			return l, nil, 0, err
		}
	}
	some, n, err = l.pick(ctx, runs)
	return l, some, n, err
}

// dryRun says what would be done.
func (a *app) dryRun(l letters, some []picked, n int, d deed) error {
	if d.asJSON {
		out := decided{Vendor: l.vendor, DryRun: true, Tasks: n, Runs: []decidedRun{}}
		for _, p := range some {
			out.Runs = append(out.Runs, decidedRun{p.run.ID, len(p.letters)})
		}
		return writeJSON(a.Stdout, out)
	}
	if n == 0 {
		a.nothing(l, d)
		return nil
	}
	a.print("Would %s %s:", d.verb, plural(n, "task"))
	var names []string
	for _, p := range some {
		names = append(names, p.names...)
	}
	a.names(names[:min(len(names), maxNamed)], n)
	return nil
}

func (a *app) nothing(l letters, d deed) {
	a.print("No dead task of %s matches: there is nothing to %s.", l.name, d.verb)
}

// record writes who decides what, before it is done.
func (a *app) record(ctx context.Context, h place, l letters, args []string, d deed, n int, note run.Note) error {
	return governor.Record(ctx, h.Governor(), l.vendor, governor.Entry{
		At: note.At, By: note.By, What: d.verb + " " + cmp.Or(note.Tag, "dead letters"), Old: d.text(args), New: plural(n, "task"), Why: note.Why,
	})
}

func (a *app) replay(ctx context.Context, h place, args []string, d deed) error {
	l, some, n, err := a.choose(ctx, h, args, d)
	if err != nil {
		return err
	}
	if d.dry {
		return a.dryRun(l, some, n, d)
	}
	note := run.Note{Tag: run.NewTag(), By: a.operator(), Why: d.why, At: time.Now().UTC()}
	if n > 0 {
		if err := a.record(ctx, h, l, args, d, n, note); err != nil {
			return err
		}
	}
	runs := l.runsOf(h)
	out := decided{Tag: note.Tag, Vendor: l.vendor, Runs: []decidedRun{}}
	var follow []string
	for _, r := range l.runs {
		sent, err := runs.Replay(ctx, r.ID, lettersOf(some, r), note)
		if err != nil {
			return fmt.Errorf("replaying run %s (type the same again to go on): %w", r.ID, err)
		}
		if sent > 0 || r.State == run.Open {
			follow = append(follow, r.ID)
		}
		if sent == 0 {
			continue
		}
		out.Tasks += sent
		out.Runs = append(out.Runs, decidedRun{r.ID, sent})
		if !d.asJSON {
			a.sentAgain(r, sent, d.wait)
		}
	}
	switch {
	case d.asJSON:
		err = writeJSON(a.Stdout, out)
	case out.Tasks == 0:
		a.nothing(l, d)
	}
	if err != nil || !d.wait {
		return err
	}
	return a.follow(ctx, h, follow)
}

// lettersOf are those of one run.
func lettersOf(some []picked, r run.Run) []run.Letter {
	for _, p := range some {
		if p.run.ID == r.ID {
			return p.letters
		}
	}
	return nil
}

func (a *app) sentAgain(r run.Run, sent int, wait bool) {
	const done = "%s of run %s on the queue again."
	switch {
	case wait:
		a.print(done, plural(sent, "task"), r.ID)
	case a.on == onAWS:
		a.print(done+" Go on with: %s (or leave it to the fleet)", plural(sent, "task"), r.ID, a.goOn(r))
	default:
		a.print(done+" Go on with: %s", plural(sent, "task"), r.ID, a.goOn(r))
	}
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
