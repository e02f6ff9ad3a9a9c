package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

const (
	watchEvery      = time.Second
	watchEveryOnAWS = 5 * time.Second
	causesEvery     = 30 * time.Second // dead letters are read again, if there are more
	watchedCauses   = 5
)

// watchStatus shows the status again and again, on a terminal in place. Places
// stay open meanwhile: to open one on AWS costs a dozen requests.
func (a *app) watchStatus(args []string) error {
	opens, err := a.places(a.soft, args)
	if err != nil {
		return a.unlessStopped(err)
	}
	var views []*viewer
	for _, open := range opens {
		h, err := open(a.soft)
		if err != nil {
			return a.unlessStopped(err)
		}
		defer h.Close() // nothing has been written
		views = append(views, a.viewer(h))
	}
	return a.unlessStopped(a.keepLooking(args, views))
}

// unlessStopped is an error that was not made by Ctrl-C, which is how it ends.
func (a *app) unlessStopped(err error) error {
	if a.soft.Err() != nil {
		return nil
	}
	return err
}

func (a *app) keepLooking(args []string, views []*viewer) error {
	out := newConsole(a.Stdout, a.Getenv("TERM"))
	every := watchEvery
	if a.on == onAWS {
		every = watchEveryOnAWS
	}
	causes := &causesSeen{}
	defer out.clear()
	for {
		lines, err := watched(a.soft, args, views, causes)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			lines = []string{fmt.Sprintf("Nothing has been run in %s yet.", a.home)}
		}
		lines = append(lines, "", time.Now().Format("15:04:05")+"  Ctrl-C ends")
		if out.terminal() {
			out.show(fitted(lines, out))
		} else {
			for _, l := range lines {
				a.print("%s", l)
			}
		}
		if !a.rest(every) {
			return nil
		}
	}
}

// watched are the lines of one look at all places.
func watched(ctx context.Context, args []string, views []*viewer, causes *causesSeen) (lines []string, err error) {
	for _, view := range views {
		found, err := view.status(ctx, args, openRuns)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if len(lines) > 0 {
				lines = append(lines, "")
			}
			lines = append(lines, v.lines()...)
			dead, err := causes.of(ctx, view, v)
			if err != nil {
				return nil, err
			}
			lines = append(lines, dead...)
		}
	}
	return lines, nil
}

// fitted are lines as they fit a terminal: sentences are wrapped, tables cut, and
// what there is no room for is counted.
func fitted(lines []string, c *console) (out []string) {
	width, height := c.size()
	for _, l := range lines {
		for indent := ""; ; indent = "    " {
			r := []rune(indent + l)
			cut := len(r)
			if len(r) >= width && !strings.Contains(strings.TrimSpace(l), "  ") {
				for cut = width - 2; cut > len(indent) && r[cut] != ' '; cut-- {
				}
			}
			if cut <= len(indent) || cut == len(r) {
				out = append(out, string(r))
				break
			}
			out = append(out, string(r[:cut]))
			l = strings.TrimLeft(string(r[cut:]), " ")
		}
	}
	if room := height - 1; len(out) > room {
		hidden := len(out) - room + 1
		out = append(out[:room-2], fmt.Sprintf("… %d more lines: a higher window shows them", hidden), out[len(out)-1])
	}
	return out
}

// rest sleeps; false: somebody wants to stop.
func (a *app) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-a.soft.Done():
		return false
	case <-t.C:
		return true
	}
}

// openRuns are the runs that are watched: those that are open, or the last.
func openRuns(runs []run.Run) (open []run.Run) {
	for _, r := range runs {
		if r.State == run.Open {
			open = append(open, r)
		}
	}
	if open == nil {
		open = runs[:min(len(runs), 1)]
	}
	return lastRuns(open)
}

// causesSeen are dead letters by cause, read again only when there are more.
type causesSeen struct {
	known map[string]seenCauses
}

type seenCauses struct {
	dead  int
	at    time.Time
	lines []string
}

func (c *causesSeen) of(ctx context.Context, view *viewer, v vendorStatus) ([]string, error) {
	dead, runs := 0, []string{}
	for _, r := range v.Runs {
		was := dead
		for _, t := range r.Tiers {
			dead += t.Dead
		}
		if dead > was {
			runs = append(runs, r.Run)
		}
	}
	if dead == 0 {
		return nil, nil
	}
	if seen := c.known[v.Vendor]; seen.dead == dead || time.Since(seen.at) < causesEvery && seen.dead > 0 {
		return seen.lines, nil
	}
	var sum run.Causes
	for _, id := range runs {
		if err := view.place.Runs().DeadTasks(ctx, id, func(d run.DeadTask) error { sum.Add(d); return nil }); err != nil {
			return nil, fmt.Errorf("reading the dead letters of run %s: %w", id, err)
		}
	}
	causes := sum.List()
	lines := []string{"", "Dead letters by cause:"}
	for _, cause := range causes[:min(len(causes), watchedCauses)] {
		lines = append(lines, fmt.Sprintf("  %s %s: %s", number(cause.Count), cause.Tier, reasonText(fanout.Reason{Class: cause.Class, Status: cause.Status, Message: cause.Message})))
	}
	if more := len(causes) - watchedCauses; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more (sluice dead %s%s)", plural(more, "cause"), v.Vendor, view.app.homeFlag()))
	}
	if c.known == nil {
		c.known = map[string]seenCauses{}
	}
	c.known[v.Vendor] = seenCauses{dead, time.Now(), lines}
	return lines, nil
}
