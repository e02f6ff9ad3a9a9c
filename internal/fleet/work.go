package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

// ErrSoftStop is the cause to end soft with when an operator asked for it.
var ErrSoftStop = errors.New("stopped by the operator")

// Run works a run to its verdict, or until soft ends. All tiers are worked in
// this process; others may help. What is found missing once the queues are
// empty is sent again. The verdict is the last one computed: with an error, or
// when soft has ended, it may be none.
func (w *Workers) Run(soft, hard context.Context, id string) (run.Verdict, error) {
	soft, stop := context.WithCancelCause(soft)
	defer stop(nil)
	defer w.record()()
	w.warm(soft)
	var verdict run.Verdict
	var group sync.WaitGroup
	group.Go(func() {
		v, err := w.settleUp(soft, id)
		verdict = v
		stop(err) // nil: the run is over
	})
	for _, t := range w.tiers {
		group.Go(func() {
			if err := w.drains(soft, hard, t); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	if err := context.Cause(soft); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrSoftStop) {
		return verdict, err
	}
	return verdict, nil
}

// warm opens connections before the first permits: a call that had to shake
// hands first would arrive later than its permit counts on.
func (w *Workers) warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	w.client.Warm(ctx, min(w.fleet.inFlight(), 16))
}

// Work drains the workers' tiers until soft ends.
func (w *Workers) Work(soft, hard context.Context) error {
	soft, stop := context.WithCancelCause(soft)
	defer stop(nil)
	defer w.record()()
	w.warm(soft)
	var group sync.WaitGroup
	for _, t := range w.tiers {
		group.Go(func() {
			if err := w.drains(soft, hard, t); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	if err := context.Cause(soft); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrSoftStop) {
		return err
	}
	return nil
}

// Drain drains the workers' tiers once, top first: until their queues are empty.
func (w *Workers) Drain(soft, hard context.Context) error {
	defer w.record()()
	for _, t := range w.tiers {
		if _, err := t.engine.Drain(soft, hard); err != nil {
			return fmt.Errorf("tier %s: %w", t.engine.Tier.Name, err)
		}
	}
	return nil
}

// drains ticks one tier until soft ends. A vendor that an operator has paused is
// waited for; one that was stopped for its credentials is an error.
func (w *Workers) drains(soft, hard context.Context, t worker) error {
	for soft.Err() == nil {
		_, err := t.engine.Drain(soft, hard)
		switch {
		case err == nil || soft.Err() != nil:
		case errors.Is(err, fanout.ErrStopped):
			// A pause is waited for; whatever else stops a vendor wants a person.
			rep, statusErr := w.fleet.GovernorStatus(soft)
			if statusErr == nil && rep.Stop.Kind != "" && rep.Stop.Kind != governor.ByOperator {
				return err
			}
		default:
			return fmt.Errorf("tier %s: %w", t.engine.Tier.Name, err)
		}
		sleep(soft, w.fleet.opt.Idle)
	}
	return nil
}

// settleUp waits until no queue holds anything of the run, then computes the
// verdict. Nobody has to believe a queue that looks empty: what is missing is
// sent again, up to three times.
func (w *Workers) settleUp(soft context.Context, id string) (v run.Verdict, err error) {
	look := looks{lag: w.fleet.opt.Lag}
	for repairs := 0; ; {
		if err := w.awaitQuiet(soft, id, &look); err != nil || soft.Err() != nil {
			return v, err
		}
		if v, err = w.fleet.Runs.Judge(soft, id); err != nil {
			if soft.Err() != nil {
				return v, nil
			}
			return v, fmt.Errorf("computing the verdict of run %s: %w", id, err)
		}
		if v.Settled() || look.quiet() && repairs == 3 {
			return v, nil
		}
		if !look.quiet() {
			continue
		}
		repairs++
		sent, err := w.fleet.Runs.Repair(soft, id)
		if err != nil {
			return v, fmt.Errorf("repairing run %s: %w", id, err)
		}
		w.fleet.opt.Log.Warn("tasks were missing from the queues and have been sent again", "run", id, "tasks", sent)
	}
}

// awaitQuiet waits until the verdict is due.
func (w *Workers) awaitQuiet(soft context.Context, id string, look *looks) error {
	began := time.Now()
	*look = looks{lag: look.lag, judged: look.settled}
	for {
		// Where a look costs requests, a process that has tasks in hand knows enough.
		if look.lag > 0 && w.atWork() && time.Since(look.last) < 5*w.fleet.opt.Idle {
			if !sleep(soft, w.fleet.opt.Idle) {
				return nil
			}
			continue
		}
		r, err := w.fleet.Runs.Store.Get(soft, id)
		if err == nil && r.State == run.Superseded {
			return fmt.Errorf("run %s: %w", id, run.ErrSuperseded)
		} else if err == nil && r.State == run.Closed {
			*look = looks{nothing: 2} // by another process; what is still queued has ended, and nobody looks at it
			return nil
		}
		counts, err := w.fleet.Runs.Store.Counts(soft, id)
		if err == nil {
			w.fleet.watchOver(soft, r, counts)
		}
		switch {
		case err == nil:
			began = time.Now()
			if look.add(counts); look.due() {
				return nil
			}
		case soft.Err() != nil:
			return nil
		case time.Since(began) > 30*time.Second:
			return fmt.Errorf("looking at the queues of run %s: %w", id, err)
		}
		if !sleep(soft, w.fleet.opt.Idle) {
			return nil
		}
	}
}

// looks are looks in a row at the counts of a run. Where the queues' figures lag
// behind, queues must have looked empty for longer than that before what seems
// missing is sent again; but if all that is known has settled, by the counters,
// the verdict may be tried whatever the queues show.
type looks struct {
	lag             time.Duration
	last, empty     time.Time // the last look; since when the queues have been empty
	nothing, even   int       // looks in a row that found nothing queued; all known settled
	settled, judged int       // tasks, at the last look; when the verdict was last tried
}

func (l *looks) add(counts map[string]run.Count) {
	known, queued := 0, 0
	l.last, l.settled = time.Now(), 0
	for _, c := range counts {
		known, l.settled, queued = known+c.Known, l.settled+c.Settled(), queued+c.Queued
	}
	if l.nothing++; queued > 0 {
		l.nothing = 0
	}
	if l.nothing <= 1 {
		l.empty = l.last
	}
	if l.even++; known != l.settled || l.settled == l.judged {
		l.even = 0
	}
}

func (l *looks) quiet() bool { return l.nothing >= 2 && l.last.Sub(l.empty) >= l.lag }

func (l *looks) due() bool { return l.quiet() || l.lag > 0 && l.even >= 2 }

// atWork tells whether this process has tasks in hand.
func (w *Workers) atWork() bool {
	for _, t := range w.tiers {
		if inHand, _, _ := t.meter.Now(); inHand > 0 {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
