package functions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
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
	Sent []string `json:"sent,omitempty"` // closed runs that were sent to be published
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
	before  int       // by the counters, at the last look
	quiet   int       // looks in a row that found nothing on the queues
	still   int       // looks in a row that found no task to be had, and none ended
	early   bool      // it was computed when the queues were not known to be empty
}

// stillLooks is after how many looks without any change hidden messages are
// taken for what will not come: longer than any pause of a task.
const stillLooks = 15

// letters is what is remembered of a tier's dead-letter queue.
type letters struct {
	visible  int                  // when it was last looked through
	suspects map[string]time.Time // tasks found there without an end, since when
}

// redrivenAfter is how long a dead letter must be without an end: a worker puts
// its token there some moments before it settles.
const redrivenAfter = 20 * time.Second

// redriven looks through a tier's dead letters, if there are more than the
// ledger has ends for and their number has changed, or some were found without
// an end before. Trouble with it is logged: the verdict does not wait for it.
func (f *Function) redriven(ctx context.Context, fl *fleet.Fleet, tier string, visible, ended int) int {
	l := f.letters[tier]
	if visible <= ended || visible == l.visible && len(l.suspects) == 0 {
		return 0
	}
	seen := map[string]time.Time{}
	n, err := fl.Runs.Redriven(ctx, tier, func(t fanout.Task) bool {
		since, known := l.suspects[t.ID]
		if known && time.Since(since) >= redrivenAfter {
			return true
		}
		if !known {
			since = time.Now()
		}
		seen[t.ID] = since
		return false
	})
	if err != nil {
		f.log.WarnContext(ctx, "looking for messages that the queue itself has given up on", "tier", tier, "err", err)
	}
	f.letters[tier] = letters{visible, seen}
	return n
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
		return f.idle(ctx)
	}
	fl, err := f.keptFleet()
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
	if f.vendor.Stack().Lake.Queue != "" {
		_, asked, err := f.vendor.Waits(ctx)
		errs = append(errs, err, f.publish(ctx, asked, open, &out))
	}
	return out, errors.Join(errs...)
}

// idle looks for what waits, in one read, while no run is open.
func (f *Function) idle(ctx context.Context) (Closing, error) {
	out := Closing{Runs: []Looked{}, Tick: Tick{Left: "no run is open"}}
	windows, asked, err := f.vendor.Waits(ctx)
	if err != nil {
		return out, err
	}
	sending := f.publish(ctx, asked, nil, &out)
	started, err := f.next(ctx, windows)
	out.Left = started
	return out, errors.Join(sending, err)
}

// next starts the window that has waited longest, now that no run is open. One
// that cannot be started does not hold up those behind it.
func (f *Function) next(ctx context.Context, waiting []awsfleet.Waiting) (string, error) {
	if len(waiting) == 0 {
		return "no run is open", nil
	}
	fl, err := f.keptFleet()
	if err != nil {
		return "", err
	}
	var errs []error
	for _, w := range waiting {
		fl.Runs.Tail = ""
		if w.Again {
			fl.Runs.Tail = fmt.Sprint(w.From, w.To, w.Noted) // the same run, if this is repeated
		}
		r, err := fl.Seed(ctx, w.Window, w.Again, nil, "the schedule")
		if err != nil {
			errs = append(errs, fmt.Errorf("starting a window that waited: %w", err))
			if r.ID != "" { // it is there, and the next look goes on with it
				return "", errors.Join(errs...)
			}
			continue
		}
		f.log.InfoContext(ctx, "seeded a window that had waited for the last run to end", "run", r.ID, "state", r.State)
		if err := f.vendor.Forget(ctx, w.Window); err != nil {
			return "", errors.Join(append(errs, err)...)
		}
		if r.State == run.Open {
			return "seeded run " + r.ID, errors.Join(errs...)
		}
	}
	return "no run is open", errors.Join(errs...)
}

// lookAt looks at one open run, and closes it if everything of it has ended.
func (f *Function) lookAt(ctx context.Context, fl *fleet.Fleet, r run.Run) (Looked, error) {
	out := Looked{Run: r.ID}
	counts, err := f.vendor.Progress(ctx, r.ID)
	if err != nil {
		return out, err
	}
	if err := fl.Guard(ctx, r, counts); err != nil {
		f.log.WarnContext(ctx, "the run's tree could not be compared with the last one's", "run", r.ID, "err", err)
	}
	seen, err := f.see(ctx, fl, r, counts, &out)
	if err != nil {
		return out, err
	}
	out.Minutes = fl.MinutesLeft(ctx, r, counts)
	last, due := f.looked[r.ID].then(seen, out)
	f.looked[r.ID] = last
	if !due {
		return out, nil
	}
	v, err := f.judge(ctx, fl, r.ID)
	if err != nil {
		return out, err
	}
	out.Verdict = &v
	if v.Settled() || last.quiet < 2 || seen.suspect || f.env("SLUICE_REPAIR") == "false" {
		return out, nil
	}
	// What the queues do not show, nobody will bring: it is sent again, and
	// whatever did hide somewhere is still done once.
	if out.Repaired, err = fl.Runs.Repair(ctx, r.ID); err == nil && out.Repaired > 0 {
		f.log.WarnContext(ctx, "tasks were missing from the queues and have been sent again", "run", r.ID, "tasks", out.Repaired)
	}
	return out, err
}

// sight is what counters and queues show of a run.
type sight struct {
	idle     bool // no task is to be had
	quiet    bool // none is anywhere on a queue
	balanced bool // by the counters all that is known has ended
	suspect  bool // a dead-letter queue holds what may have been given up on
}

// see looks at the counters and queues of a run's tiers.
func (f *Function) see(ctx context.Context, fl *fleet.Fleet, r run.Run, counts map[string]run.Count, out *Looked) (sight, error) {
	s := sight{idle: true, quiet: true, balanced: true}
	for _, tier := range r.Tiers {
		c := counts[tier]
		out.Known += c.Known
		out.Settled += c.Settled()
		s.balanced = s.balanced && c.Known == c.Settled()
		if _, deployed := f.vendor.Stack().Queues[tier]; !deployed {
			continue // the spec has lost it since: the verdict names what is missing
		}
		work, dead, err := f.vendor.Depth(ctx, tier)
		if err != nil {
			return s, err
		}
		s.idle = s.idle && work.Visible+work.Delayed == 0
		s.quiet = s.quiet && work == (awsfleet.Depth{})
		out.Redriven += f.redriven(ctx, fl, tier, dead.Visible, c.Dead)
		s.suspect = s.suspect || len(f.letters[tier].suspects) > 0
	}
	return s, nil
}

// then is what is remembered after one more look, and whether the verdict is to
// be computed now.
func (l look) then(s sight, out Looked) (next look, due bool) {
	if l.still++; !s.idle || l.before != out.Settled {
		l.still = 0
	}
	l.before = out.Settled
	// What is hidden for long is no task of ours, or nobody's.
	quiet := s.quiet || l.still >= stillLooks
	if l.quiet++; !quiet {
		l.quiet = 0
	}
	moved := l.settled != out.Settled
	due = out.Redriven > 0 || s.balanced && moved || quiet && (moved || time.Since(l.hard) > lookAgain) ||
		s.quiet && l.quiet >= 2 && l.early && !s.suspect // what was missing then may have been hidden; now nothing is
	if due {
		l.hard, l.settled, l.early = time.Now(), out.Settled, l.quiet < 2
	}
	return l, due
}

// judge computes a run's verdict; that of a run that it closes is published
// beside the data.
func (f *Function) judge(ctx context.Context, fl *fleet.Fleet, id string) (run.Verdict, error) {
	v, err := fl.Runs.Judge(ctx, id)
	if err != nil || !v.Settled() {
		return v, err
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
		if !out.closed(r.ID) && time.Since(r.Opened) > after {
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
	fl, err := f.keptFleet()
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
