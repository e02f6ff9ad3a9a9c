package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// followEvery is how often a run that others work is looked at.
const followEvery = 5 * time.Second

// follow goes on to the verdicts of runs, one after the other, and prints them as
// "sluice run" does. On AWS the fleet works them; on one machine nobody else may,
// so this process does.
func (a *app) follow(ctx context.Context, h place, runs []string) error {
	var worst error
	for _, id := range runs {
		var err error
		if a.on == onAWS {
			err = a.await(ctx, h, id)
		} else {
			err = a.workOn(ctx, h, id)
		}
		if err != nil && !isIncomplete(err) {
			return err
		}
		worst = errors.Join(worst, err)
	}
	if worst != nil {
		return &exit{code: exitIncomplete}
	}
	return nil
}

// workOn works a run in this process, as it was seeded.
func (a *app) workOn(ctx context.Context, h place, id string) error {
	r, err := findRun(ctx, h, id)
	if err != nil {
		return err
	}
	flags := runFlags{spec: r.Origin.Spec, settings: r.Origin.Settings}
	plan, err := flags.settings.plan(flags.spec)
	if err != nil {
		return fmt.Errorf("run %s was seeded with the spec %q, which cannot be used here: %w", id, r.Origin.Spec, err)
	}
	f, err := a.newFleet(plan, h)
	if err != nil {
		return err
	}
	f.Runs.Origin = r.Origin
	j := &job{app: a, fleet: f, home: h, flags: flags}
	if r.State == run.Closed && r.Verdict != nil {
		return j.finish(r, *r.Verdict, nil)
	}
	workers, err := f.Workers(secrets{a, h}, plan.Root("probe", r.Window)[0])
	if err != nil {
		return err
	}
	return j.work(workers, r)
}

// await waits until the fleet has closed a run.
func (a *app) await(ctx context.Context, h place, id string) error {
	defer a.console.clear()
	began := time.Now()
	var said time.Time
	for {
		r, err := h.Runs().Get(ctx, id)
		switch {
		case err != nil:
			return err
		case r.State == run.Superseded:
			return fmt.Errorf("run %s: %w", id, run.ErrSuperseded)
		case r.State == run.Closed && r.Verdict != nil:
			a.console.clear()
			return a.verdictOf(h, r)
		}
		// Where lines cannot be redrawn, one a minute is enough.
		if a.console.terminal() || time.Since(said) >= time.Minute {
			said = time.Now()
			a.showAwaited(ctx, h, r, time.Since(began))
		}
		if !a.rest(followEvery) {
			a.say("stopped waiting; the fleet goes on. Look with: sluice status %s%s", r.Vendor, a.homeFlag())
			return &exit{code: exitStopped}
		}
	}
}

// showAwaited shows how far a run is, in one line.
func (a *app) showAwaited(ctx context.Context, h place, r run.Run, waited time.Duration) {
	counts, err := h.Runs().Counts(ctx, r.ID)
	if err != nil {
		return // the next look may do
	}
	settled, known, queued := 0, 0, 0
	for _, c := range counts {
		settled, known, queued = settled+c.Settled(), known+c.Known, queued+c.Queued
	}
	line := fmt.Sprintf("run %s: %s of %s tasks ended, about %s queued, waiting for %s", r.ID, number(settled), number(known), number(queued), span(waited))
	if a.console.terminal() {
		a.console.show([]string{line})
		return
	}
	a.say("%s", line)
}

// verdictOf prints a verdict that others have computed.
func (a *app) verdictOf(h place, r run.Run) error {
	j := &job{app: a, home: h, flags: runFlags{spec: r.Vendor}}
	shown := r
	if spec, err := loadSpec(r.Vendor); err == nil {
		shown.Window = inZone(r.Window, spec.Zone)
	} else {
		shown.Window = fanout.Window{From: r.Window.From.UTC(), To: r.Window.To.UTC()}
	}
	a.printVerdict(shown, *r.Verdict)
	if r.Verdict.Rows > 0 {
		a.print("%-9s %s", "Rows", number(r.Verdict.Rows))
	}
	a.print("%-9s %s", "Data", h.Data(r))
	if s, ok := h.(*stack); ok {
		s.sayTables(r.Vendor)
	}
	if r.Verdict.Complete() {
		return nil
	}
	j.named(r, *r.Verdict)
	return &exit{code: exitIncomplete}
}
