package run

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// sweep removes the tokens of tasks that were replayed or discarded from the
// dead-letter queues of their tiers, and every other token on its way that stands
// for nothing.
func (r *Runs) sweep(ctx context.Context, run Run, tiers map[string]map[string]bool) error {
	counts, err := r.Store.Counts(ctx, run.ID)
	if err != nil {
		return fmt.Errorf("counting the dead of run %s: %w", run.ID, err)
	}
	for _, tier := range run.Tiers {
		tasks := tiers[tier]
		if len(tasks) == 0 && len(tiers) > 0 {
			continue
		}
		if err := r.sweepTier(ctx, tier, tasks, counts[tier].Dead == 0); err != nil {
			return fmt.Errorf("sweeping the dead letters of tier %s: %w", tier, err)
		}
	}
	return nil
}

// How many tokens in a row that stand for something end a sweep: that looks for
// certain ones, and that only tidies. What is not found stands for nothing, hurts
// nobody, and is swept another time.
const (
	sweepFew  = 2000
	sweepTidy = 500
)

// sweepTier goes through a queue until the tokens of these tasks are removed;
// with all, until nothing more is found.
func (r *Runs) sweepTier(ctx context.Context, tier string, tasks map[string]bool, all bool) error {
	left, fruitless := len(tasks), 0
	return r.tokens(ctx, tier, tokensLook, func(ds []fanout.Delivery, stands []fanout.Standing) (over []fanout.Receipt, enough bool, err error) {
		for i, d := range ds {
			if fruitless++; !stale(d.Task, stands[i]) {
				continue
			}
			fruitless = 0
			over = append(over, d.Receipt)
			if tasks[d.Task.ID] {
				left--
			}
		}
		if left > 0 {
			return over, fruitless >= sweepFew, nil
		}
		return over, !all || fruitless >= sweepTidy, nil
	})
}

// stale tells whether a token stands for nothing: its task was opened again since,
// or ended otherwise. That of a task which is open in the token's own life is about
// to stand for something, or was moved there by the queue; one that was redriven
// carries the life after its own, wherever the queue has moved it since.
func stale(t fanout.Task, st fanout.Standing) bool {
	return t.Life < st.Life && !st.CarriedBy(t) || st.Outcome != "" && st.Outcome != fanout.Dead
}

// Redriven settles as dead what lies in a tier's dead-letter queue though the
// ledger has no end for it: the queue itself has moved it there, because it was
// delivered again and again and nobody lived to settle it. It bears no token's
// mark; those that were put there before tokens had one do not either, and a
// worker puts a token there just before it settles, so sure is asked about each.
// It returns how many it has settled.
func (r *Runs) Redriven(ctx context.Context, tier string, sure func(fanout.Task) bool) (settled int, err error) {
	return r.redriven(ctx, tier, tokensLook, sure, math.MaxInt)
}

func (r *Runs) redriven(ctx context.Context, tier string, longest time.Duration, sure func(fanout.Task) bool, most int) (settled int, err error) {
	err = r.tokens(ctx, tier, longest, func(ds []fanout.Delivery, stands []fanout.Standing) ([]fanout.Receipt, bool, error) {
		var ends []fanout.Settlement
		for i, d := range ds {
			if st := stands[i]; !d.Task.Dead && st.RunOpen && st.Outcome == "" && d.Task.Life == st.Life && sure(d.Task) {
				ends = append(ends, redriven(d.Task, st))
			}
		}
		settled += len(ends)
		return nil, settled >= most, r.Ledger.Settle(ctx, ends)
	})
	if err != nil {
		return settled, fmt.Errorf("looking for redriven messages of tier %s: %w", tier, err)
	}
	return settled, nil
}

// collectLook is how long an operator's command looks for what the queue itself
// has moved. The closer looks longer.
const collectLook = 30 * time.Second

// Collect settles as dead what the queue itself has moved to the dead letters, if
// they show more than these runs have dead tasks: so that a replay finds it. Of a
// token without a mark it is sure: tokens have had one since dead letters can be
// discarded.
func (r *Runs) Collect(ctx context.Context, runs []Run) error {
	if r.Tokens == nil {
		return nil
	}
	dead := map[string]int{}
	for _, run := range runs {
		counts, err := r.Store.Counts(ctx, run.ID)
		if err != nil {
			return fmt.Errorf("counting the dead of run %s: %w", run.ID, err)
		}
		for tier, c := range counts {
			dead[tier] += c.Dead
		}
	}
	for _, tier := range r.Tiers {
		n, err := r.Tokens(ctx, tier)
		if err != nil {
			return fmt.Errorf("counting the dead letters of tier %s: %w", tier, err)
		}
		if n <= dead[tier] {
			continue
		}
		if _, err := r.redriven(ctx, tier, collectLook, func(fanout.Task) bool { return true }, n-dead[tier]); err != nil {
			return err
		}
	}
	return nil
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

// tokens shows a tier's dead-letter queue to look, batch by batch, until it has
// seen enough, and removes what it names; the others are given back at the end, so
// that each is seen once. Of a very long queue it shows a part.
func (r *Runs) tokens(ctx context.Context, tier string, longest time.Duration, look tokenLook) error {
	q := r.Dead(tier)
	var keep []fanout.Hide
	giveBack := func(ds []fanout.Delivery, over ...fanout.Receipt) {
		gone := map[fanout.Receipt]bool{}
		for _, o := range over {
			gone[o] = true
		}
		for _, d := range ds {
			if !gone[d.Receipt] {
				keep = append(keep, fanout.Hide{Receipt: d.Receipt})
			}
		}
	}
	defer func() {
		if len(keep) > 0 {
			_ = q.Hide(context.WithoutCancel(ctx), keep) // or they show when their visibility ends
		}
	}()
	began := time.Now()
	for empty, enough := 0, false; empty < 2 && !enough && time.Since(began) < longest; { // SQS asks only a sample of its hosts
		batch, err := q.Receive(ctx, 100, 0, tokensHidden)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			empty++
			continue
		}
		var over []fanout.Receipt
		over, enough, err = r.shown(ctx, batch, look)
		if err == nil {
			err = q.Delete(ctx, over)
		}
		if err != nil {
			giveBack(batch)
			return err
		}
		giveBack(batch, over...)
	}
	return nil
}

// A tokenLook is shown tokens and where their tasks stand.
type tokenLook func([]fanout.Delivery, []fanout.Standing) (over []fanout.Receipt, enough bool, err error)

func (r *Runs) shown(ctx context.Context, batch []fanout.Delivery, look tokenLook) (over []fanout.Receipt, enough bool, err error) {
	tasks := make([]fanout.Task, len(batch))
	for i, d := range batch {
		tasks[i] = d.Task
	}
	stands, err := r.Ledger.Look(ctx, tasks)
	if err != nil {
		return nil, false, err
	}
	return look(batch, stands)
}
