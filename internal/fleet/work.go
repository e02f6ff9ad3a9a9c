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
			rep, statusErr := w.fleet.GovernorStatus(soft)
			if statusErr == nil && rep.Stop.Kind == governor.ByCredentials {
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
	for repairs := 0; ; {
		if err := w.awaitQuiet(soft, id); err != nil || soft.Err() != nil {
			return v, err
		}
		if v, err = w.fleet.Runs.Judge(soft, id); err != nil {
			if soft.Err() != nil {
				return v, nil
			}
			return v, fmt.Errorf("computing the verdict of run %s: %w", id, err)
		}
		if v.Settled() || repairs == 3 {
			return v, nil
		}
		repairs++
		sent, err := w.fleet.Runs.Repair(soft, id)
		if err != nil {
			return v, fmt.Errorf("repairing run %s: %w", id, err)
		}
		w.fleet.opt.Log.Warn("tasks were missing from the queues and have been sent again", "run", id, "tasks", sent)
	}
}

// awaitQuiet waits until two looks in a row find nothing of the run queued.
func (w *Workers) awaitQuiet(soft context.Context, id string) error {
	began := time.Now()
	for quiet := 0; quiet < 2; {
		r, err := w.fleet.Runs.Store.Get(soft, id)
		if err == nil && r.State == run.Superseded {
			return fmt.Errorf("run %s: %w", id, run.ErrSuperseded)
		} else if err == nil && r.State == run.Closed {
			return nil // by another process; what is still queued has ended, and nobody looks at it
		}
		counts, err := w.fleet.Runs.Store.Counts(soft, id)
		if err != nil {
			if soft.Err() != nil {
				return nil
			}
			if time.Since(began) > 30*time.Second {
				return fmt.Errorf("looking at the queues of run %s: %w", id, err)
			}
		} else {
			began = time.Now()
			quiet++
			for _, c := range counts {
				if c.Queued > 0 {
					quiet = 0
				}
			}
		}
		if !sleep(soft, w.fleet.opt.Idle) {
			return nil
		}
	}
	return nil
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
