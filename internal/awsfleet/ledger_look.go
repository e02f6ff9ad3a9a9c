package awsfleet

import (
	"context"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// Look implements fanout.Ledger: one batch read of the tasks and their runs,
// for up to some hundred. Only a list in chunks that goes on needs another.
func (l *ledger) Look(ctx context.Context, tasks []fanout.Task) ([]fanout.Standing, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	var keys []key
	asked := map[key]bool{}
	ask := func(k key) {
		if !asked[k] {
			asked[k] = true
			keys = append(keys, k)
		}
	}
	for _, t := range tasks {
		ask(runKey(t.Run))
		ask(taskKey(t.Run, t.ID))
	}
	rows, err := l.v.table.getAll(ctx, keys)
	if err != nil {
		return nil, wrap(err, "asking the ledger about %d tasks", len(tasks))
	}
	out := make([]fanout.Standing, len(tasks))
	err = each(ctx, len(tasks), func(i int) (err error) {
		t := tasks[i]
		l.v.tiers.remember(t.ID, t.Tier)
		out[i], err = l.stand(ctx, t, rows[taskKey(t.Run, t.ID)])
		out[i].RunOpen = run.State(rows[runKey(t.Run)].str("state")) == run.Open
		return wrap(err, "asking the ledger about task %s", t.ID)
	})
	return out, err
}

// stand is where a task stands by its row, which may be none.
func (l *ledger) stand(ctx context.Context, t fanout.Task, r row) (fanout.Standing, error) {
	st := fanout.Standing{Life: r.life(), Outcome: fanout.Outcome(r.str("out")), Replay: r.str("replay")}
	next := 0
	if r.has("l") {
		last := unpackListed(r, t.Run)
		if !last.Final {
			if err := l.lastChunk(ctx, &last); err != nil {
				return st, err
			}
		}
		st.Last, next = &last, last.Chunk+1
	}
	st.Attempts = r.attempts(st.Life, next)
	var err error
	if st.Outcome == "" {
		st.Reason, err = r.lastReason(st.Life, next)
	} else if st.Outcome == fanout.Dead || st.Outcome == fanout.Discarded {
		st.Reason, err = r.reason()
	}
	return st, err
}

// lastChunk finds the last recorded chunk of a list that has a first.
func (l *ledger) lastChunk(ctx context.Context, last *fanout.Listed) error {
	k := taskKey(last.Run, last.Task)
	return l.v.table.query(ctx, scan{pk: k.pk, prefix: k.sk + chunkMark, last: true, limit: 1}, func(r row) error {
		*last = unpackListed(r, last.Run)
		return nil
	})
}

// AnyOpen implements fanout.Ledger.
func (l *ledger) AnyOpen(ctx context.Context) (bool, error) {
	open, err := l.v.openRows(ctx)
	return len(open) > 0, wrap(err, "looking for open runs of %s", l.v.stack.Vendor)
}
