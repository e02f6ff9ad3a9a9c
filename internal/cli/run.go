package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const runLong = `Run reads everything that a vendor has for one window of time: by default
yesterday, in the vendor's zone. It seeds the run of that window, or goes on with
the one that is there, works all tiers in this process, and ends with a verdict.
A run that is closed shows its verdict; --again reads the same window anew.

While it works it says how far each tier is and what it waits for. Ctrl-C once
stops softly: calls under way are finished and kept. Ctrl-C twice stops now.
Either way nothing is lost, and it says what to type to go on.

On this machine it also makes tables of what it reads, and publishes them when the
verdict allows it (see sluice lake).

Tasks of other open runs of the same vendor lie on the same queues and are worked
as well; for their verdicts run their windows.

If the vendor has refused the credentials before, run tries them again: somebody
will have looked. A vendor that an operator has paused is waited for.`

const runExample = `  sluice run my-vendor.yaml
  sluice run prometheus --set base=http://prometheus:9090 --from 2026-01-02 --to 2026-01-03
  sluice run my-vendor.yaml --from 2026-01-02T08:00 --to 2026-01-02T12:00 --again`

// runFlags are what was typed for a run: enough to type it again.
type runFlags struct {
	spec       string
	window     window
	settings   settings
	again      bool
	noProgress bool
	noLake     bool // publish no tables
	maxCalls   int
	maxGiven   func() bool
	stopAt     string
}

func (r *runFlags) register(cmd *cobra.Command) {
	r.window.flags(cmd)
	r.settings.flag(cmd)
	cmd.Flags().BoolVar(&r.again, "again", false, "start a new run of the window, even if there is one")
	cmd.Flags().IntVar(&r.maxCalls, "max-calls", 0, "stop softly after this many `CALLS` of the run, in the place of the spec's budget")
	r.maxGiven = func() bool { return cmd.Flags().Changed("max-calls") }
	cmd.Flags().StringVar(&r.stopAt, "stop-at", "", "stop softly at the next `HH:MM` in the vendor's zone, in the place of the spec's budget")
}

func (r *runFlags) lakeFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.noLake, "no-lake", false, "make no tables of what is read (sluice lake publish does it later)")
}

// origin is what the run is seeded with; a spec's path is made good for any
// working directory.
func (r *runFlags) origin() run.Origin {
	spec := r.spec
	if abs, err := filepath.Abs(spec); err == nil && isPath(spec) {
		spec = abs
	}
	return run.Origin{Spec: spec, Settings: r.settings}
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use: "run SPEC", Short: "Read all that a vendor has for a window, to a verdict", Long: runLong, Example: runExample,
		Args: args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.spec = args[0]
			return a.run(flags)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&flags.noProgress, "no-progress", false, "say nothing until the end")
	flags.lakeFlag(cmd)
	return cmd
}

func (a *app) run(flags runFlags) error {
	return a.withJob(flags, func(j *job, w fanout.Window) error { return j.do(w) })
}

// withJob wires what was typed for a run, and closes it afterwards.
func (a *app) withJob(flags runFlags, do func(*job, fanout.Window) error) error {
	plan, err := flags.settings.plan(flags.spec)
	if err != nil {
		return err
	}
	w, err := flags.window.in(plan.Zone)
	if err != nil {
		return err
	}
	if _, err := flags.budget(); err != nil {
		return err
	}
	if w.To.After(time.Now().Add(time.Minute)) {
		a.say("the window ends in the future, %s: what the vendor does not have yet is not read, and the window counts as read afterwards", timeFlag(w.To))
	}
	return with(a.opened(plan.Name), a.soft, func(h place) error {
		f, err := a.newFleet(plan, h)
		if err != nil {
			return err
		}
		f.Runs.Origin = flags.origin()
		return do(&job{app: a, fleet: f, home: h, flags: flags}, w)
	})
}

// budget is the one that was asked for; nil: none was.
func (r *runFlags) budget() (*vendorapi.Budget, error) {
	given := r.maxGiven != nil && r.maxGiven()
	if !given && r.stopAt == "" {
		return nil, nil
	}
	if given && r.maxCalls < 1 {
		return nil, fmt.Errorf("--max-calls %d: it is a number of calls above zero", r.maxCalls)
	}
	b := &vendorapi.Budget{Calls: r.maxCalls, Until: -1}
	if r.stopAt != "" {
		at, err := vendorapi.ClockTime(r.stopAt)
		if err != nil {
			return nil, fmt.Errorf("--stop-at %q: it is a time of day such as 06:00", r.stopAt)
		}
		b.Until = at
	}
	return b, nil
}

// seedRun starts or resumes the run of a window, within what it may call.
func (j *job) seedRun(w fanout.Window) (run.Run, error) {
	budget, err := j.flags.budget()
	if err != nil {
		return run.Run{}, err
	}
	return j.fleet.Seed(j.soft, w, j.flags.again, budget, j.operator())
}

// job is one run being worked in this process.
type job struct {
	*app
	fleet *fleet.Fleet
	home  place
	flags runFlags
	demo  bool // its vendor ends with it
}

func (j *job) do(w fanout.Window) error {
	again := j.flags.again
	// Secrets first: a run is not worth opening that cannot call.
	r, closed, err := j.closed(w)
	if err != nil {
		return err
	}
	if closed && !again {
		j.print("This window has been read: --again would read it anew.")
		return j.finish(r, *r.Verdict, nil)
	}
	workers, err := j.fleet.Workers(secrets{j.app, j.home}, j.fleet.Plan.Root("probe", w)[0])
	if err != nil {
		return err
	}
	r, err = j.seedRun(w)
	if err != nil {
		return errors.Join(err, workers.Close())
	}
	return j.work(workers, r)
}

// closed finds the run of a window if it is there and closed.
func (j *job) closed(w fanout.Window) (run.Run, bool, error) {
	all, err := j.fleet.Runs.Store.List(j.soft, j.fleet.Plan.Name)
	for _, r := range all {
		if r.State != run.Superseded && r.Window.From.Equal(w.From) && r.Window.To.Equal(w.To) {
			return r, r.State == run.Closed && r.Verdict != nil, err
		}
	}
	return run.Run{}, false, err
}

// work works a run until its verdict is there or somebody stops it.
func (j *job) work(workers *fleet.Workers, r run.Run) error {
	if err := j.clearRefusal(j.fleet); err != nil {
		return errors.Join(err, workers.Close())
	}
	j.say("run %s: %s of vendor %s", r.ID, windowText(inZone(r.Window, j.fleet.Plan.Zone)), j.fleet.Plan.Name)
	j.sayPauses(r)
	watch := j.newWatch(j.fleet, workers, r.Tiers, func(context.Context) string { return r.ID })
	converted := j.convert(r.ID)
	v, err := j.atWork(watch, j.flags.noProgress, func() (run.Verdict, error) { return workers.Run(j.soft, j.hard, r.ID) })
	converted()
	closing := workers.Close()
	if err != nil {
		return j.broken(r, j.failed(j.fleet, j.home, err))
	}
	if closing != nil {
		j.log.Warn("giving back what this process held in the governor", "err", closing)
	}
	if j.soft.Err() != nil && (v.At.IsZero() || !v.Settled()) {
		return j.stopped(r)
	}
	return j.finish(r, v, watch)
}

// stopped says how to go on.
func (j *job) stopped(r run.Run) error {
	if j.demo {
		j.say("the demo was stopped before its end")
	} else {
		j.say("stopped before the end; nothing is lost. Resume with: %s", j.resume(r))
	}
	return &exit{code: exitStopped}
}

// broken ends a run that one of our own stores has stopped: it can be resumed.
// One that the vendor refused ends as any other error does.
func (j *job) broken(r run.Run, err error) error {
	rep, statusErr := j.fleet.GovernorStatus(context.WithoutCancel(j.soft))
	switch {
	case !j.demo && statusErr == nil && (rep.Stop.Kind == governor.ByBudget || rep.Stop.Kind == governor.ByDrift):
		return &exit{code: exitStopped, err: fmt.Errorf("%s. To go on: sluice resume %s%s, then: %s", rep.Stop.Why, r.Vendor, j.homeFlag(), j.resume(r))}
	case j.demo || statusErr == nil && rep.Stop.Kind != "":
		return err
	}
	return &exit{code: exitStopped, err: fmt.Errorf("%w. Resume with: %s", j.explain(err), j.resume(r))}
}

// clearRefusal takes back a stop for refused credentials: a person has looked.
func (a *app) clearRefusal(f *fleet.Fleet) error {
	rep, err := f.GovernorStatus(a.soft)
	if err != nil || rep.Stop.Kind != governor.ByCredentials {
		return err
	}
	return governor.Resume(a.soft, f.GovernorStore(), f.Plan.Name, governor.Note{By: a.operator(), Why: "trying the credentials again"})
}

// atWork does what calls the vendor, while progress is shown and a first signal
// stops softly.
func (a *app) atWork(watch *watch, quiet bool, do func() (run.Verdict, error)) (run.Verdict, error) {
	a.working.Store(true)
	defer a.working.Store(false)
	ctx, stop := context.WithCancel(context.WithoutCancel(a.soft))
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		watch.show(ctx, quiet)
	}()
	v, err := do()
	stop()
	<-shown
	a.console.clear()
	return v, err
}

// failed says why work ended before its time.
func (a *app) failed(f *fleet.Fleet, h place, err error) error {
	if !errors.Is(err, fanout.ErrStopped) {
		return err
	}
	rep, statusErr := f.GovernorStatus(context.WithoutCancel(a.soft))
	if statusErr != nil || rep.Stop.Kind != governor.ByCredentials {
		return err
	}
	why := strings.TrimPrefix(rep.Stop.Why, "the vendor refused the credentials: ")
	if len(f.Plan.Secrets) == 0 {
		return fmt.Errorf("vendor %s refused us: %s", f.Plan.Name, why)
	}
	return fmt.Errorf("vendor %s refused the secret: %s. Correct %s, and type the same again: nothing is lost",
		f.Plan.Name, why, a.secretPlaces(f.Plan, h))
}

// resume is what to type to go on with a run.
func (j *job) resume(r run.Run) string {
	return j.command(j.flags.spec, inZone(r.Window, j.fleet.Plan.Zone), j.flags.settings)
}

// command is the command that works a run, with the exact window.
func (a *app) command(spec string, w fanout.Window, set settings) string {
	words := []string{"sluice run", quote(spec), "--from", timeFlag(w.From), "--to", timeFlag(w.To)}
	for _, s := range set {
		words = append(words, "--set", quote(s))
	}
	return strings.Join(words, " ") + a.homeFlag()
}

// homeFlag is the flag that names this place, if it needs naming.
func (a *app) homeFlag() string {
	if a.on == onAWS {
		if a.Getenv("SLUICE_ON") == onAWS {
			return ""
		}
		return " --on aws"
	}
	usual := a.Getenv("SLUICE_HOME")
	if usual == "" {
		usual = ".sluice"
	}
	if abs, err := filepath.Abs(usual); err == nil && abs == a.home {
		return ""
	}
	return " --home " + quote(a.home)
}

func inZone(w fanout.Window, zone *time.Location) fanout.Window {
	return fanout.Window{From: w.From.In(zone), To: w.To.In(zone)}
}
