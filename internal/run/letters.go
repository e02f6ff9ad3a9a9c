package run

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// sweep removes the dead-letter queue's tokens of tasks that are not dead.
func (r *Runs) sweep(ctx context.Context, tier string) error {
	err := r.tokens(ctx, tier, func(ds []fanout.Delivery, stands []fanout.Standing) (over []fanout.Receipt, err error) {
		for i, d := range ds {
			if stands[i].Outcome != fanout.Dead {
				over = append(over, d.Receipt)
			}
		}
		return over, nil
	})
	if err != nil {
		return fmt.Errorf("sweeping the dead letters of tier %s: %w", tier, err)
	}
	return nil
}

// Redriven settles as dead what lies in a tier's dead-letter queue though the
// ledger has no end for it: the queue itself has moved it there, because it was
// delivered again and again and nobody lived to settle it. A worker puts a token
// there just before it settles, so sure is asked about each. It returns how many
// it has settled.
func (r *Runs) Redriven(ctx context.Context, tier string, sure func(fanout.Task) bool) (settled int, err error) {
	err = r.tokens(ctx, tier, func(ds []fanout.Delivery, stands []fanout.Standing) ([]fanout.Receipt, error) {
		var ends []fanout.Settlement
		for i, d := range ds {
			if st := stands[i]; st.RunOpen && st.Outcome == "" && d.Task.Life == st.Life && sure(d.Task) {
				ends = append(ends, redriven(d.Task, st))
			}
		}
		settled += len(ends)
		return nil, r.Ledger.Settle(ctx, ends)
	})
	if err != nil {
		return settled, fmt.Errorf("looking for redriven messages of tier %s: %w", tier, err)
	}
	return settled, nil
}

func redriven(t fanout.Task, st fanout.Standing) fanout.Settlement {
	now := time.Now().UTC()
	reason := fanout.Reason{
		Class: fanout.Redriven, At: now,
		Message: "the queue gave up on the message: workers took it again and again, and none lived to settle it",
	}
	if st.Reason != nil {
		reason.Excerpt = st.Reason.Message
	}
	return fanout.Settlement{Task: t, Outcome: fanout.Dead, Reason: &reason, At: now}
}

// How long a look at a dead-letter queue hides what it has seen, and how long
// it goes on: what it gets later would be what it had before.
const (
	tokensHidden = 5 * time.Minute
	tokensLook   = 4 * time.Minute
)

// tokens shows a tier's dead-letter queue to look, batch by batch, and removes
// what it names; the others are given back at the end, so that each is seen
// once. Of a very long queue it shows a part.
func (r *Runs) tokens(ctx context.Context, tier string, look func([]fanout.Delivery, []fanout.Standing) (over []fanout.Receipt, err error)) error {
	q := r.Dead(tier)
	var keep []fanout.Hide
	defer func() {
		if len(keep) > 0 {
			_ = q.Hide(context.WithoutCancel(ctx), keep) // or they show when their visibility ends
		}
	}()
	began := time.Now()
	for empty := 0; empty < 2 && time.Since(began) < tokensLook; { // SQS asks only a sample of its hosts
		batch, err := q.Receive(ctx, 100, 0, tokensHidden)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			empty++
			continue
		}
		tasks := make([]fanout.Task, len(batch))
		for i, d := range batch {
			tasks[i] = d.Task
		}
		stands, err := r.Ledger.Look(ctx, tasks)
		if err != nil {
			return err
		}
		over, err := look(batch, stands)
		if err != nil {
			return err
		}
		gone := map[fanout.Receipt]bool{}
		for _, o := range over {
			gone[o] = true
		}
		for _, d := range batch {
			if !gone[d.Receipt] {
				keep = append(keep, fanout.Hide{Receipt: d.Receipt})
			}
		}
		if err := q.Delete(ctx, over); err != nil {
			return err
		}
	}
	return nil
}
