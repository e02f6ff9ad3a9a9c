package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

const backfillLong = `Backfill reads past windows, one after the other, oldest first, and only while no
other run of the vendor is open. A window that has been read is passed over, so an
interrupted backfill goes on when it is typed again.

On one machine this process works them. On AWS the windows are queued: the fleet
begins the next one when no run is open; --wait follows them to their verdicts.`

// mostWindows is more than anybody means.
const mostWindows = 1000

func (a *app) backfillCommand() *cobra.Command {
	var flags runFlags
	var step, why string
	var dry, wait bool
	cmd := &cobra.Command{
		Use: "backfill SPEC --from TIME --to TIME", Short: "Read past windows, one after the other", Long: backfillLong,
		Example: "  sluice backfill my-vendor.yaml --from 2026-01-01 --to 2026-02-01\n  sluice backfill sim --from 2026-01-01 --to 2026-01-08 --step 12h --dry-run",
		Args:    args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.spec = args[0]
			if flags.window.from == "" || flags.window.to == "" {
				return errors.New("which windows? Give --from and --to")
			}
			return a.withJob(flags, func(j *job, all fanout.Window) error {
				windows, err := cutWindow(all, step, j.fleet.Plan.Zone)
				if err != nil {
					return err
				}
				return j.backfill(windows, why, dry, wait)
			})
		},
	}
	flags.window.flags(cmd)
	flags.settings.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&step, "step", "1d", "how long each window is: so many days or hours, as 1d or 12h")
	f.StringVar(&why, "why", "", "why, for whoever reads the changes")
	f.BoolVar(&dry, "dry-run", false, "only say which windows would be read")
	f.BoolVar(&wait, "wait", false, "on aws: follow the windows to their verdicts")
	flags.lakeFlag(cmd)
	f.BoolVar(&flags.noProgress, "no-progress", false, "say nothing until each window's end")
	return cmd
}

// cutWindow cuts a time into windows of a step. Days are those of the calendar
// in the vendor's zone, whatever their length.
func cutWindow(all fanout.Window, step string, zone *time.Location) (out []fanout.Window, err error) {
	days := 0
	var hours time.Duration
	if n, ok := strings.CutSuffix(step, "d"); ok {
		days, err = strconv.Atoi(n)
	} else {
		hours, err = time.ParseDuration(step)
	}
	if err != nil || days < 0 || hours < 0 || days == 0 && hours < time.Minute {
		return nil, fmt.Errorf("--step %q: write days or hours, as 1d or 12h", step)
	}
	first := all.From.In(zone)
	y, m, d := first.Date()
	hour, minute, sec := first.Clock()
	at := func(i int) time.Time { // each from the first: a day that begins late moves no other
		if days > 0 {
			return time.Date(y, m, d+i*days, hour, minute, sec, first.Nanosecond(), zone)
		}
		return first.Add(time.Duration(i) * hours)
	}
	for i := 0; at(i).Before(all.To); i++ {
		w := fanout.Window{From: at(i), To: at(i + 1)}
		if w.To.After(all.To) {
			w.To = all.To.In(zone)
		}
		if out = append(out, w); len(out) > mostWindows {
			return nil, fmt.Errorf("--step %s makes more than %s windows: backfill a shorter time, or take longer steps", step, number(mostWindows))
		}
	}
	return out, nil
}

func (j *job) backfill(windows []fanout.Window, why string, dry, wait bool) error {
	var todo []fanout.Window
	for _, w := range windows {
		r, closed, err := j.closed(w)
		if err != nil {
			return err
		}
		if closed {
			j.print("%s has been read: run %s", windowText(w), r.ID)
			continue
		}
		todo = append(todo, w)
	}
	if dry {
		for _, w := range todo {
			j.print("would read %s", windowText(w))
		}
		return nil
	}
	if len(todo) == 0 {
		j.print("Nothing is left to read.")
		return nil
	}
	err := governor.Record(j.soft, j.home.Governor(), j.fleet.Plan.Name, governor.Entry{
		By: j.operator(), What: "backfill", New: fmt.Sprintf("%d windows from %s to %s", len(todo), timeFlag(todo[0].From), timeFlag(todo[len(todo)-1].To)), Why: why,
	})
	if err != nil {
		return err
	}
	if s, ok := j.home.(*stack); ok {
		return j.queueWindows(s, todo, wait)
	}
	return j.workWindows(todo)
}

// workWindows works windows in this process, one after the other.
func (j *job) workWindows(windows []fanout.Window) error {
	incomplete := false
	for i, w := range windows {
		if err := j.awaitOthers(w); err != nil {
			return err
		}
		j.say("window %d of %d", i+1, len(windows))
		err := j.do(w)
		switch {
		case isIncomplete(err):
			incomplete = true
		case err != nil:
			return err
		}
		if j.soft.Err() != nil {
			return &exit{code: exitStopped}
		}
		j.print("")
	}
	if incomplete {
		return &exit{code: exitIncomplete}
	}
	return nil
}

// awaitOthers waits until no run of another window is open.
func (j *job) awaitOthers(w fanout.Window) error {
	for said := false; ; {
		open, err := j.fleet.OpenRuns(j.soft)
		if err != nil {
			return err
		}
		other := ""
		for _, r := range open {
			if !r.Window.From.Equal(w.From) || !r.Window.To.Equal(w.To) {
				other = r.ID
			}
		}
		if other == "" {
			return nil
		}
		rep, err := j.fleet.GovernorStatus(j.soft)
		if err != nil {
			return err
		}
		if rep.Stop.Kind != "" {
			return &exit{code: exitStopped, err: fmt.Errorf("run %s is open, and vendor %s is %s. When that is over, finish it, then type the same again", other, j.fleet.Plan.Name, holdText(rep))}
		}
		if !said {
			said = true
			j.say("waiting for the end of run %s: somebody must work it (sluice status %s%s)", other, j.fleet.Plan.Name, j.homeFlag())
		}
		if !j.rest(time.Second) {
			return &exit{code: exitStopped}
		}
	}
}

// queueWindows queues windows for the fleet on AWS, which begins one when no run
// is open.
func (j *job) queueWindows(s *stack, windows []fanout.Window, wait bool) error {
	now := time.Now().UTC()
	for _, w := range windows {
		if err := s.Await(j.soft, awsfleet.Waiting{Window: w, Noted: now}); err != nil {
			return fmt.Errorf("queueing the window %s: %w", windowText(w), err)
		}
	}
	text := plural(len(windows), "window") + " queued"
	if !wait {
		j.print("%s. Look with: sluice status %s%s", text, j.fleet.Plan.Name, j.homeFlag())
		return nil
	}
	j.say("%s", text)
	incomplete := false
	for _, w := range windows {
		id, err := j.begun(j.soft, w)
		if err != nil {
			return err
		}
		err = j.follow(j.soft, j.home, []string{id})
		if isIncomplete(err) {
			incomplete = true
		} else if err != nil {
			return err
		}
	}
	if incomplete {
		return &exit{code: exitIncomplete}
	}
	return nil
}

// begun waits until the fleet has begun a window, and tells its run.
func (j *job) begun(ctx context.Context, w fanout.Window) (string, error) {
	for {
		all, err := j.home.Runs().List(ctx, j.fleet.Plan.Name)
		if err != nil {
			return "", err
		}
		for _, r := range all {
			if r.State != run.Superseded && r.Window.From.Equal(w.From) && r.Window.To.Equal(w.To) {
				return r.ID, nil
			}
		}
		if !j.rest(followEvery) {
			j.say("stopped waiting; the fleet goes on")
			return "", &exit{code: exitStopped}
		}
	}
}
