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
// stay open meanwhile.
func (a *app) watchStatus(args []string) error {
	out := newConsole(a.Stdout, a.Getenv("TERM"))
	every := watchEvery
	if a.on == onAWS {
		every = watchEveryOnAWS
	}
	causes := &causesSeen{}
	defer out.clear()
	for {
		var lines []string
		err := a.lookAround(args, func(h place) error {
			found, err := a.status(a.soft, h, args, maxRuns)
			for _, v := range found {
				if len(lines) > 0 {
					lines = append(lines, "")
				}
				v.Runs = v.Runs[:min(openFirst(v.Runs), len(v.Runs))]
				lines = append(lines, v.lines(len(v.Runs))...)
				dead, deadErr := causes.of(a.soft, a, h, v)
				if deadErr != nil {
					return deadErr
				}
				lines = append(lines, dead...)
			}
			return err
		})
		switch {
		case a.soft.Err() != nil:
			return nil // Ctrl-C is how it ends
		case err != nil:
			return err
		case len(lines) == 0:
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

// openFirst is how many runs are watched: those that are open, or the last.
func openFirst(runs []runStatus) (n int) {
	for _, r := range runs {
		if r.State != run.Open {
			break
		}
		n++
	}
	return max(n, 1)
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

func (c *causesSeen) of(ctx context.Context, a *app, h place, v vendorStatus) ([]string, error) {
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
		if err := h.Runs().DeadTasks(ctx, id, func(d run.DeadTask) error { sum.Add(d); return nil }); err != nil {
			return nil, fmt.Errorf("reading the dead letters of run %s: %w", id, err)
		}
	}
	causes := sum.List()
	lines := []string{"", "Dead letters by cause:"}
	for _, cause := range causes[:min(len(causes), watchedCauses)] {
		lines = append(lines, fmt.Sprintf("  %s %s: %s", number(cause.Count), cause.Tier, reasonText(fanout.Reason{Class: cause.Class, Status: cause.Status, Message: cause.Message})))
	}
	if more := len(causes) - watchedCauses; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more (sluice dead %s%s)", plural(more, "cause"), v.Vendor, a.homeFlag()))
	}
	if c.known == nil {
		c.known = map[string]seenCauses{}
	}
	c.known[v.Vendor] = seenCauses{dead, time.Now(), lines}
	return lines, nil
}
