package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// What operators did about a dead task lies beside its failed attempts, at a
// chunk that no list has: it is part of the same history, and the attempts are
// counted by chunk.
const decided = -1

// DeadTasks implements run.Store.
func (s runs) DeadTasks(ctx context.Context, id string, f func(run.DeadTask) error) error {
	return each(ctx, s.h.readers, func(scan func(...any) error) error {
		var d run.DeadTask
		var task, reason string
		var at int64
		var life int
		if err := scan(&task, &life, &reason, &d.Attempts, &at); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(task), &d.Task); err != nil {
			return err
		}
		if reason != "" {
			if err := json.Unmarshal([]byte(reason), &d.Reason); err != nil {
				return err
			}
		}
		d.Task.Life, d.At = life, instant(at)
		return f(d)
	}, `SELECT task, life, reason, attempts, at FROM tasks WHERE run = ? AND outcome = 'dead' ORDER BY at`, id)
}

// Reopened implements run.Store.
func (s runs) Reopened(ctx context.Context, id string, f func(fanout.Task) error) error {
	return each(ctx, s.h.readers, func(scan func(...any) error) error {
		var t fanout.Task
		var doc string
		if err := scan(&doc, &t.Life); err != nil {
			return err
		}
		life := t.Life
		err := json.Unmarshal([]byte(doc), &t)
		if t.Life = life; err != nil {
			return err
		}
		return f(t)
	}, `SELECT task, life FROM tasks WHERE run = ? AND outcome = ''`, id)
}

// Reopen implements run.Store, in one transaction.
func (s runs) Reopen(ctx context.Context, id string, letters []run.Letter, note run.Note) (open []fanout.Task, err error) {
	err = inTx(ctx, s.h.db, func(tx *sql.Tx) (err error) {
		open, err = reopen(ctx, tx, id, letters, note)
		return err
	})
	return open, wrap(err, "reopening %d tasks of run %s", len(letters), id)
}

// reopen reopens tasks that are dead in the lives of their letters.
func reopen(ctx context.Context, tx *sql.Tx, id string, letters []run.Letter, note run.Note) (open []fanout.Task, err error) {
	fewer := map[string]int{}
	for _, l := range letters {
		r, err := letterOf(tx, id, l.Task)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		} else if err != nil {
			return nil, err
		}
		if r.outcome == fanout.Dead && r.task.Life == l.Life {
			if err := r.reopen(tx, note); err != nil {
				return nil, err
			}
			fewer[r.task.Tier]--
		}
		if r.outcome == "" {
			open = append(open, r.task)
		}
	}
	return open, countAll(ctx, tx, id, string(fanout.Dead), fewer)
}

// Discard implements run.Store, in one transaction.
func (s runs) Discard(ctx context.Context, id string, letters []run.Letter, note run.Note) (n int, err error) {
	err = inTx(ctx, s.h.db, func(tx *sql.Tx) error {
		n = 0
		more, fewer := map[string]int{}, map[string]int{}
		for _, l := range letters {
			r, err := letterOf(tx, id, l.Task)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			} else if err != nil {
				return err
			}
			if r.task.Life != l.Life {
				continue
			}
			if r.outcome == fanout.Dead {
				if _, err := tx.Exec(`UPDATE tasks SET outcome = ? WHERE run = ? AND id = ?`, string(fanout.Discarded), id, l.Task); err != nil {
					return err
				}
				if err := r.note(tx, run.Attempt{At: note.At, Life: r.task.Life, What: run.Discarded, Note: &note}); err != nil {
					return err
				}
				r.outcome = fanout.Discarded
				more[r.task.Tier]++
				fewer[r.task.Tier]--
			}
			if r.outcome == fanout.Discarded {
				n++
			}
		}
		if len(more) > 0 { // a verdict from before does not know of it
			if err := change(tx, id, func(r *run.Run) { r.Rev++ }); err != nil {
				return err
			}
		}
		return errors.Join(countAll(ctx, tx, id, string(fanout.Dead), fewer), countAll(ctx, tx, id, string(fanout.Discarded), more))
	})
	return n, wrap(err, "discarding %d tasks of run %s", len(letters), id)
}

func countAll(ctx context.Context, tx *sql.Tx, id, what string, byTier map[string]int) error {
	for tier, n := range byTier {
		if err := count(ctx, tx, id, tier, what, n); err != nil {
			return err
		}
	}
	return nil
}

// letter is the row of a task that is or was dead.
type letter struct {
	task    fanout.Task
	outcome fanout.Outcome
	reason  *fanout.Reason
}

func letterOf(tx *sql.Tx, id, task string) (r letter, err error) {
	var doc, reason string
	var life int
	err = tx.QueryRow(`SELECT task, outcome, life, reason FROM tasks WHERE run = ? AND id = ?`, id, task).Scan(&doc, &r.outcome, &life, &reason)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(doc), &r.task); err != nil {
		return r, err
	}
	r.task.Life = life
	if reason != "" {
		r.reason = new(fanout.Reason)
		err = json.Unmarshal([]byte(reason), r.reason)
	}
	return r, err
}

// reopen begins the next life.
func (r *letter) reopen(tx *sql.Tx, note run.Note) error {
	r.task.Life++
	r.task.Replay, r.outcome = note.Tag, ""
	doc, err := json.Marshal(r.task)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE tasks SET life = ?, task = ?, outcome = '', at = 0, attempts = 0 WHERE run = ? AND id = ?`,
		r.task.Life, string(doc), r.task.Run, r.task.ID)
	if err != nil {
		return err
	}
	a := run.Attempt{At: note.At, Life: r.task.Life, What: run.Replayed, Note: &note}
	if r.reason != nil && r.reason.Class == fanout.Redriven { // it is no failed attempt: nothing else would tell of it
		a.Reason = r.reason
	}
	return r.note(tx, a)
}

func (r *letter) note(tx *sql.Tx, a run.Attempt) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO failures (run, task, life, chunk, fetch, at, reason) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		r.task.Run, r.task.ID, a.Life, decided, string(a.What), nanos(a.At), string(doc))
	return err
}

// History implements run.Store.
func (s runs) History(ctx context.Context, id, task string) (out []run.Attempt, err error) {
	err = each(ctx, s.h.readers, func(scan func(...any) error) error {
		var life, chunk int
		var at int64
		var doc string
		if err := scan(&life, &chunk, &at, &doc); err != nil {
			return err
		}
		a := run.Attempt{At: instant(at), Life: life, What: run.Failed}
		if chunk == decided {
			if err := json.Unmarshal([]byte(doc), &a); err != nil {
				return err
			}
		} else {
			a.Reason = new(fanout.Reason)
			if err := json.Unmarshal([]byte(doc), a.Reason); err != nil {
				return err
			}
		}
		out = append(out, a)
		return nil
	}, `SELECT life, chunk, at, reason FROM failures WHERE run = ? AND task = ? ORDER BY at`, id, task)
	return out, wrap(err, "reading the history of task %s", task)
}

// Reopen implements fanout.Ledger: the tasks of a run are reopened and the run is
// opened in one transaction.
func (l *ledger) Reopen(ctx context.Context, tasks []fanout.Task) (open []fanout.Task, err error) {
	byRun := map[string][]run.Letter{}
	lives := map[string]int{}
	for _, t := range tasks {
		byRun[t.Run], lives[t.ID] = append(byRun[t.Run], run.Letter{Task: t.ID, Life: t.Life}), t.Life
	}
	for id, letters := range byRun {
		var mine []fanout.Task
		err := inTx(ctx, l.h.db, func(tx *sql.Tx) error {
			mine = mine[:0]
			if r, err := get(tx, id); err != nil || r.State == run.Superseded {
				return err
			}
			got, err := reopen(ctx, tx, id, letters, run.Redriven())
			if err != nil {
				return err
			}
			for _, t := range got {
				if t.Replay == fanout.Redrive && t.Life == lives[t.ID]+1 {
					mine = append(mine, t)
				}
			}
			if len(mine) == 0 {
				return nil
			}
			return change(tx, id, opened)
		})
		if err != nil {
			return nil, wrap(err, "reopening %d tasks of run %s", len(letters), id)
		}
		open = append(open, mine...)
	}
	return open, nil
}
