package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

const (
	sampleEvery = 100 * time.Millisecond
	redrawEvery = 300 * time.Millisecond // on a terminal
	sayEvery    = 5 * time.Second        // elsewhere
	countEvery  = 500 * time.Millisecond // asking the stores
	countOnAWS  = 5 * time.Second        // there each look costs a dozen requests
	rateOver    = 6 * time.Second        // results come in batches: a shorter time would jump
	reckonEvery = 3 * time.Second        // forecasting what is left
	reckonOnAWS = 30 * time.Second
)

// A sample is how far everything was at one moment.
type sample struct {
	at      time.Time
	report  fanout.Report
	settled map[string]int
}

// watch looks at workers as they go: for the progress lines, and for what is
// said at the end. It is used by one goroutine, then by its caller.
type watch struct {
	app     *app
	fleet   *fleet.Fleet
	workers *fleet.Workers
	tiers   []string                     // shown, top first
	run     func(context.Context) string // the run being worked; "": none

	began       time.Time
	samples     []sample
	counts      map[string]run.Count
	limit       float64   // calls per second that the vendor allows now; 0: no rate
	reckoned    time.Time // when what is left was forecast
	rest        time.Duration
	brief       string    // what everybody waits for, in a word; "": nothing special
	full        string    // the same in a line
	first, last time.Time // calls were made from, until
}

func (a *app) newWatch(f *fleet.Fleet, w *fleet.Workers, tiers []string, id func(context.Context) string) *watch {
	return &watch{app: a, fleet: f, workers: w, tiers: tiers, run: id, began: time.Now(), counts: map[string]run.Count{}}
}

// show looks and shows until ctx ends.
func (w *watch) show(ctx context.Context, quiet bool) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	every := countEvery
	if w.app.on == onAWS {
		every = countOnAWS
	}
	var drawn, said, counted time.Time
	said = time.Now()
	for {
		now := time.Now()
		if now.Sub(counted) >= every {
			w.count(ctx)
			counted = now
		}
		w.sample(now)
		switch terminal := w.app.console.terminal(); {
		case quiet:
		case terminal && now.Sub(drawn) >= redrawEvery:
			drawn = now
			w.app.console.show(w.lines(now))
		case !terminal && now.Sub(said) >= sayEvery:
			said = now
			w.app.say("%s", w.line(now))
		}
		select {
		case <-ctx.Done():
			w.sample(time.Now())
			return
		case <-tick.C:
		}
	}
}

// count asks the stores. What they do not answer stays as it was.
func (w *watch) count(ctx context.Context) {
	id := w.run(ctx)
	if id == "" {
		w.counts = map[string]run.Count{}
	} else if counts, err := w.fleet.Runs.Store.Counts(ctx, id); err == nil {
		w.counts = counts
		w.reckon(ctx, id)
	}
	if rep, err := w.fleet.GovernorStatus(ctx); err == nil {
		w.limit = allowed(rep.Limits)
	}
}

// allowed is the calls per second of the tightest limit.
func allowed(limits []governor.LimitStatus) (perSecond float64) {
	for _, l := range limits {
		if l.Now.Count == 0 || l.Quota != nil || l.Spec.Of != nil {
			continue
		}
		r := float64(l.Now.Count) / l.Now.Per.Seconds()
		if perSecond == 0 || r < perSecond {
			perSecond = r
		}
	}
	return perSecond
}

func (w *watch) sample(now time.Time) {
	s := sample{at: now, report: w.workers.Report(), settled: map[string]int{}}
	for t, c := range w.counts {
		s.settled[t] = c.Settled()
	}
	if n := len(w.samples); n > 0 && s.report.Calls > w.samples[n-1].report.Calls {
		if w.first.IsZero() {
			w.first = w.samples[n-1].at
		}
		w.last = now
	}
	w.samples = append(w.samples, s)
	for len(w.samples) > 2 && now.Sub(w.samples[1].at) > rateOver {
		w.samples = w.samples[1:]
	}
	w.brief, w.full = w.hold()
}

// over is the change since the oldest sample, per second.
func (w *watch) over(value func(sample) int) float64 {
	if len(w.samples) < 2 {
		return 0
	}
	from, to := w.samples[0], w.samples[len(w.samples)-1]
	if d := to.at.Sub(from.at).Seconds(); d > 0.3 {
		return float64(value(to)-value(from)) / d
	}
	return 0
}

func (w *watch) callRate() float64 { return w.over(func(s sample) int { return s.report.Calls }) }

// hold is what keeps everybody from calling, in a word and in a line.
func (w *watch) hold() (brief, full string) {
	for _, t := range w.tiers {
		_, look, trouble := w.workers.Waiting(t)
		if trouble != "" {
			return "our store", "what cannot be written is tried again: " + w.app.explain(errors.New(trouble)).Error()
		}
		switch look.Hold {
		case fanout.Free:
			if brief, _, used := strings.Cut(look.Why, " is used up"); used {
				return brief, look.Why
			} else if look.Why != "" {
				return "places in flight", look.Why
			}
		case fanout.Braked:
			return "the brake", fmt.Sprintf("braked until %s: %s", clock(look.Next), look.Why)
		case fanout.Outage:
			return "the vendor's return", fmt.Sprintf("the vendor is %s; next probe %s", look.Why, until(look.Next))
		case fanout.Stopped:
			return "resume", fmt.Sprintf("%s (sluice resume %s%s)", look.Why, w.fleet.Plan.Name, w.app.homeFlag())
		case fanout.Blind:
			if time.Since(w.began) > 2*time.Second { // at first it has merely not been read yet
				return "the governor", "no calls without the governor: " + look.Why
			}
		}
	}
	return "", ""
}

// waiting is what a tier waits for.
func (w *watch) waiting(tier string, above bool) string {
	c := w.counts[tier]
	inHand, _, _ := w.workers.Waiting(tier)
	switch {
	case above && c.Known > 0 && c.Settled() == c.Known:
		return "done"
	case w.brief != "":
		return "waits for " + w.brief
	case inHand == 0 && c.Queued == 0:
		return "waits for tasks"
	}
	from, to := w.samples[0].report, w.samples[len(w.samples)-1].report
	if to.Permits-from.Permits >= to.Vendor-from.Vendor {
		return "waits for permits"
	}
	return "waits for the vendor"
}

// reckon forecasts the run, once in a while.
func (w *watch) reckon(ctx context.Context, id string) {
	every := reckonEvery
	if w.app.on == onAWS {
		every = reckonOnAWS
	}
	if time.Since(w.reckoned) < every {
		return
	}
	w.reckoned, w.rest = time.Now(), 0
	r, err := w.fleet.Runs.Store.Get(ctx, id)
	if err != nil {
		return
	}
	p, err := w.fleet.ForecastRun(ctx, r, w.counts, fleet.Assume{})
	if err == nil && len(p.Unknown) == 0 {
		w.rest = p.Duration
	}
}

// left is how long the run will still take, as the status says; 0: nobody can
// tell yet.
func (w *watch) left() time.Duration {
	if w.rest == 0 {
		return 0
	}
	return max(w.rest-time.Since(w.reckoned), 0)
}

// lines are the progress on a terminal.
func (w *watch) lines(now time.Time) []string {
	t := newTable("tier", ">done", ">known", ">", ">done/s", "left", "")
	above := true
	for _, name := range w.tiers {
		c := w.counts[name]
		waiting := w.waiting(name, above)
		perSecond := w.over(func(s sample) int { return s.settled[name] })
		row := []any{name, c.Settled(), c.Known, "", "", "", waiting}
		if c.Known > 0 {
			row[3] = fmt.Sprintf("%d %%", 100*c.Settled()/c.Known)
		}
		if waiting != "done" && perSecond > 0 {
			row[4] = rate(perSecond)
			row[5] = span(time.Duration(float64(c.Known-c.Settled()) / perSecond * float64(time.Second)))
		}
		if c.Dead > 0 {
			row[6] = fmt.Sprintf("%s, %s dead", waiting, number(c.Dead))
		}
		t.add(row...)
		above = waiting == "done"
	}
	var b strings.Builder
	t.write(&b, "")
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	return append(lines, w.summary(now))
}

// summary is the line for all tiers together.
func (w *watch) summary(now time.Time) string {
	report := w.workers.Report()
	s := fmt.Sprintf("%s calls in %s, now %s", number(report.Calls), span(now.Sub(w.began)), rate(w.callRate()))
	if w.limit > 0 {
		s += " of " + rate(w.limit)
	}
	switch left := w.left(); {
	case w.full != "":
		s += "; " + w.full
	case left > 0:
		s += "; about " + span(left) + " left"
	}
	return s
}

// line is the progress where lines cannot be redrawn.
func (w *watch) line(now time.Time) string {
	var tiers []string
	for _, name := range w.tiers {
		c := w.counts[name]
		tiers = append(tiers, fmt.Sprintf("%s %s of %s", name, number(c.Settled()), number(c.Known)))
	}
	return strings.Join(tiers, ", ") + "; " + w.summary(now)
}

func clock(t time.Time) string { return t.Local().Format(time.TimeOnly) }

func until(t time.Time) string {
	if d := time.Until(t); d > time.Second {
		return "in " + span(d.Round(time.Second))
	}
	return "now"
}
