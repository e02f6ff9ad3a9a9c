package functions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
)

// lookAgain is how long a run whose counters do not change is left alone after
// its verdict found something missing.
const lookAgain = 10 * time.Minute

// A CloseEvent is empty from the schedule; people may name a run whose missing
// tasks are to be sent again.
type CloseEvent struct {
	Repair string `json:"repair,omitempty"`
}

// A Closing says what one look found.
type Closing struct {
	Runs []Looked `json:"runs"`
	Tick
}

// Looked is what was found of one open run.
type Looked struct {
	Run      string       `json:"run"`
	Settled  int          `json:"settled"` // by the counters
	Known    int          `json:"known"`
	Redriven int          `json:"redriven,omitempty"` // found in a dead-letter queue without a row: settled dead
	Repaired int          `json:"repaired,omitempty"` // sent again
	Verdict  *run.Verdict `json:"verdict,omitempty"`  // if it was computed
	Minutes  float64      `json:"minutes_left"`
}

// look is what is remembered of the looks at a run. It is lost with the process,
// which costs a verdict too many.
type look struct {
	hard    time.Time // when the verdict was last computed
	settled int       // by the counters, then
	quiet   int       // looks in a row that found nothing on the queues
}

// Close looks after the open runs. Counters and queue depths say when to look
// hard; only the ledger decides. It is safe to run at any time, also twice.
func (f *Function) Close(ctx context.Context, ev CloseEvent) (Closing, error) {
	if ev.Repair != "" {
		return f.repair(ctx, ev.Repair)
	}
	open, err := f.vendor.OpenRuns(ctx)
	if err != nil {
		return Closing{}, err
	}
	if len(open) == 0 {
		started, err := f.next(ctx)
		return Closing{Runs: []Looked{}, Tick: Tick{Left: started}}, err
	}
	fl, err := f.fleet()
	if err != nil {
		return Closing{}, err
	}
	out := Closing{Tick: Tick{Left: "looked"}}
	var errs []error
	for _, r := range open {
		l, err := f.lookAt(ctx, fl, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking at run %s: %w", r.ID, err))
			continue
		}
		out.Runs = append(out.Runs, l)
	}
	errs = append(errs, f.tell(ctx, fl, open, out))
	return out, errors.Join(errs...)
}

// next starts the window that has waited longest, now that no run is open.
func (f *Function) next(ctx context.Context) (string, error) {
	waiting, err := f.vendor.Awaiting(ctx)
	if err != nil || len(waiting) == 0 {
		return "no run is open", err
	}
	fl, err := f.fleet()
	if err != nil {
		return "", err
	}
	r, err := fl.Runs.Seed(ctx, waiting[0], false)
	if err != nil {
		return "", fmt.Errorf("starting a window that waited: %w", err)
	}
	f.log.InfoContext(ctx, "seeded a window that had waited for the last run to end", "run", r.ID)
	return "seeded run " + r.ID, f.vendor.Forget(ctx, waiting[0])
}

// lookAt looks at one open run, and closes it if everything of it has ended.
func (f *Function) lookAt(ctx context.Context, fl *fleet.Fleet, r run.Run) (Looked, error) {
	out := Looked{Run: r.ID}
	counts, err := f.vendor.Progress(ctx, r.ID)
	if err != nil {
		return out, err
	}
	quiet, balanced, lettered := true, true, false
	for _, tier := range r.Tiers {
		c := counts[tier]
		out.Known += c.Known
		out.Settled += c.Settled()
		balanced = balanced && c.Known == c.Settled()
		work, dead, err := f.vendor.Depth(ctx, tier)
		if err != nil {
			return out, err
		}
		quiet = quiet && work == (awsfleet.Depth{})
		lettered = lettered || dead.Visible > c.Dead
	}
	out.Minutes = fl.MinutesLeft(ctx, r, counts)
	if lettered {
		if out.Redriven, err = fl.Runs.Redriven(ctx, r.ID); err != nil {
			return out, err
		}
	}
	last := f.looked[r.ID]
	if last.quiet++; !quiet {
		last.quiet = 0
	}
	moved := last.settled != out.Settled
	due := out.Redriven > 0 || balanced && moved || quiet && (moved || time.Since(last.hard) > lookAgain)
	if due {
		last.hard, last.settled = time.Now(), out.Settled
	}
	f.looked[r.ID] = last
	if !due {
		return out, nil
	}
	v, err := f.judge(ctx, fl, r.ID)
	if err != nil {
		return out, err
	}
	out.Verdict = &v
	if v.Settled() || last.quiet < 2 || f.env("SLUICE_REPAIR") == "false" {
		return out, nil
	}
	// What the queues do not show, nobody will bring: it is sent again, and
	// whatever did hide somewhere is still done once.
	if out.Repaired, err = fl.Runs.Repair(ctx, r.ID); err == nil && out.Repaired > 0 {
		f.log.WarnContext(ctx, "tasks were missing from the queues and have been sent again", "run", r.ID, "tasks", out.Repaired)
	}
	return out, err
}

// judge computes a run's verdict, and publishes that of a closed one beside the
// data.
func (f *Function) judge(ctx context.Context, fl *fleet.Fleet, id string) (run.Verdict, error) {
	v, err := fl.Runs.Judge(ctx, id)
	if err != nil || !v.Settled() {
		return v, err
	}
	r, err := fl.Runs.Store.Get(ctx, id)
	if err != nil {
		return v, err
	}
	doc, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return v, fmt.Errorf("packing the verdict of run %s: %w", id, err)
	}
	if err := f.vendor.PutVerdict(ctx, id, doc); err != nil {
		return v, fmt.Errorf("writing the verdict of run %s: %w", id, err)
	}
	delete(f.looked, id)
	f.log.InfoContext(ctx, "verdict", "run", id, "complete", v.Complete(), "sum", v.Sum(), "known", v.Known, "done", v.Done, "gone", v.Gone, "dead", v.Dead, "rows", v.Rows)
	return v, nil
}

// tell writes the one log line of a look, with what is missing or held for too
// long as metrics that are only there while it is so.
func (f *Function) tell(ctx context.Context, fl *fleet.Fleet, open []run.Run, out Closing) error {
	after, err := f.duration("SLUICE_VERDICT_AFTER", 20*time.Hour)
	if err != nil {
		return err
	}
	values := map[string]float64{}
	for _, l := range out.Runs {
		if l.Verdict == nil || !l.Verdict.Settled() {
			values["MinutesLeft"] = max(values["MinutesLeft"], l.Minutes)
		}
	}
	for _, r := range open {
		closed := slices.ContainsFunc(out.Runs, func(l Looked) bool { return l.Run == r.ID && l.Verdict != nil && l.Verdict.Settled() })
		if !closed && time.Since(r.Opened) > after {
			values["VerdictMissing"] = 1
		}
	}
	held, why := f.held(ctx, fl)
	if held > 0 {
		values["Held"] = held.Minutes()
	}
	f.log.InfoContext(ctx, "look", append([]any{"runs", out.Runs, "held", why}, f.metrics(values)...)...)
	return nil
}

// held is for how long a brake, an outage or a stop has kept the fleet from
// calling.
func (f *Function) held(ctx context.Context, fl *fleet.Fleet) (time.Duration, string) {
	rep, err := fl.GovernorStatus(ctx)
	now := time.Now()
	switch {
	case err != nil:
		return 0, "unknown: " + err.Error()
	case rep.Stop.Kind != "":
		return now.Sub(rep.Stop.At), "stopped: " + rep.Stop.Why
	case rep.Breaker.Open():
		return now.Sub(rep.Breaker.Since), "down: " + rep.Breaker.Why
	case rep.Brake.Until.After(now):
		return now.Sub(rep.Brake.Set), "braked: " + rep.Brake.Why
	}
	return 0, ""
}

// repair sends again what a run misses, because a person said so.
func (f *Function) repair(ctx context.Context, id string) (Closing, error) {
	fl, err := f.fleet()
	if err != nil {
		return Closing{}, err
	}
	sent, err := fl.Runs.Repair(ctx, id)
	if err != nil {
		return Closing{}, err
	}
	delete(f.looked, id)
	return Closing{Runs: []Looked{{Run: id, Repaired: sent}}, Tick: Tick{Left: "repaired"}}, nil
}
