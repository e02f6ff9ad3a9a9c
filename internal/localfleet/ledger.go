package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Ledger is the ledger of one vendor.
func (h *Home) Ledger(vendor string) fanout.Ledger { return &ledger{h: h, vendor: vendor} }

// ledger implements fanout.Ledger. Run IDs tell vendors apart, so only the
// question for open runs needs the vendor.
type ledger struct {
	h      *Home
	vendor string
}

// AnyOpen implements fanout.Ledger.
func (l *ledger) AnyOpen(ctx context.Context) (bool, error) {
	var n int
	err := l.h.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM runs WHERE vendor = ? AND state = 'open')`, l.vendor).Scan(&n)
	return n == 1, wrap(err, "looking for open runs of %s", l.vendor)
}

// Look implements fanout.Ledger with one read per table for all tasks.
func (l *ledger) Look(ctx context.Context, tasks []fanout.Task) ([]fanout.Standing, error) {
	out := make([]fanout.Standing, len(tasks))
	byRun := map[string]map[string]int{}
	for i, t := range tasks {
		if byRun[t.Run] == nil {
			byRun[t.Run] = map[string]int{}
		}
		byRun[t.Run][t.ID] = i
		out[i].Life = 1
	}
	for run, at := range byRun {
		if err := l.lookRun(ctx, run, at, out); err != nil {
			return nil, wrap(err, "asking the ledger about %d tasks of run %s", len(at), run)
		}
	}
	for i, t := range tasks { // a task that was asked about twice
		out[i] = out[byRun[t.Run][t.ID]]
	}
	return out, nil
}

func (l *ledger) lookRun(ctx context.Context, run string, at map[string]int, out []fanout.Standing) error {
	tx, err := l.h.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var state string
	if err := tx.QueryRow(`SELECT state FROM runs WHERE id = ?`, run).Scan(&state); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	ids := make([]string, 0, len(at))
	for id, i := range at {
		out[i].RunOpen = state == "open"
		ids = append(ids, id)
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	asked := string(list)
	err = each(ctx, tx, func(scan func(...any) error) error {
		var id, reason string
		var st fanout.Standing
		if err := scan(&id, &st.Life, &st.Outcome, &st.Replay, &reason); err != nil {
			return err
		}
		st.RunOpen = state == "open"
		out[at[id]] = st
		return unpackReason(reason, &out[at[id]])
	}, `SELECT id, life, outcome, iif(life > 1, coalesce(json_extract(task, '$.replay'), ''), ''), iif(outcome IN ('dead', 'discarded'), reason, '')
		FROM tasks WHERE run = ? AND id IN (SELECT value FROM json_each(?))`, run, asked)
	if err != nil {
		return err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var row fanout.Listed
		if err := scanListed(scan, &row); err != nil {
			return err
		}
		if st := &out[at[row.Task]]; st.Last == nil || row.Chunk > st.Last.Chunk {
			st.Last = &row
		}
		return nil
	}, `SELECT `+listedColumns+` FROM lists WHERE run = ? AND task IN (SELECT value FROM json_each(?))`, run, asked)
	if err != nil {
		return err
	}
	return each(ctx, tx, func(scan func(...any) error) error {
		var id, reason string
		var life, chunk int
		if err := scan(&id, &life, &chunk, &reason); err != nil {
			return err
		}
		st := &out[at[id]]
		next := 0
		if st.Last != nil {
			next = st.Last.Chunk + 1
		}
		if life != st.Life || chunk != next {
			return nil
		}
		if st.Attempts++; st.Outcome != "" {
			return nil // why it is dead is known, or it is not
		}
		return unpackReason(reason, st)
	}, `SELECT task, life, chunk, reason FROM failures WHERE run = ? AND task IN (SELECT value FROM json_each(?)) ORDER BY at`, run, asked)
}

func unpackReason(doc string, st *fanout.Standing) error {
	if doc == "" {
		return nil
	}
	st.Reason = new(fanout.Reason)
	return json.Unmarshal([]byte(doc), st.Reason)
}

const listedColumns = `run, tier, task, chunk, fetch, object, children, nrows, pages, cursor, final, sent`

func scanListed(scan func(...any) error, r *fanout.Listed) error {
	return scan(&r.Run, &r.Tier, &r.Task, &r.Chunk, &r.Fetch, &r.Object, &r.Children, &r.Rows, &r.Pages, &r.Cursor, &r.Final, &r.Sent)
}

// List implements fanout.Ledger.
func (l *ledger) List(ctx context.Context, rows []fanout.Listed) (won []fanout.Listed, err error) {
	err = inTx(ctx, l.h.db, func(tx *sql.Tx) error {
		won = won[:0]
		insert, err := tx.PrepareContext(ctx, `INSERT INTO lists (`+listedColumns+`) VALUES (`+places(12)+`) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, r := range rows {
			res, err := insert.ExecContext(ctx, r.Run, r.Tier, r.Task, r.Chunk, r.Fetch, r.Object, r.Children, r.Rows, r.Pages, r.Cursor, r.Final, r.Sent)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				held := tx.QueryRowContext(ctx, `SELECT `+listedColumns+` FROM lists WHERE run = ? AND task = ? AND chunk = ?`, r.Run, r.Task, r.Chunk)
				if err := scanListed(held.Scan, &r); err != nil {
					return err
				}
			}
			won = append(won, r)
		}
		return nil
	})
	return won, wrap(err, "recording %d lists", len(rows))
}

// MarkSent implements fanout.Ledger.
func (l *ledger) MarkSent(ctx context.Context, rows []fanout.Listed) error {
	err := inTx(ctx, l.h.db, func(tx *sql.Tx) error {
		for _, r := range rows {
			_, err := tx.ExecContext(ctx, `UPDATE lists SET sent = 1 WHERE run = ? AND task = ? AND chunk = ? AND fetch = ?`, r.Run, r.Task, r.Chunk, r.Fetch)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "noting %d chunks as sent", len(rows))
}

// Claim implements fanout.Ledger.
func (l *ledger) Claim(ctx context.Context, claims []fanout.Claim) (mine []bool, err error) {
	for some := range slices.Chunk(claims, txSize) {
		got, err := l.claim(ctx, some)
		if err != nil {
			return nil, wrap(err, "claiming %d children", len(claims))
		}
		mine = append(mine, got...)
	}
	return mine, nil
}

func (l *ledger) claim(ctx context.Context, claims []fanout.Claim) (mine []bool, err error) {
	err = inTx(ctx, l.h.db, func(tx *sql.Tx) error {
		mine = mine[:0]
		st, err := tx.PrepareContext(ctx, `INSERT INTO claims (run, child, parent) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET parent = parent RETURNING parent`)
		if err != nil {
			return err
		}
		defer st.Close()
		for _, c := range claims {
			var owner string
			if err := st.QueryRowContext(ctx, c.Run, c.Child, c.Parent).Scan(&owner); err != nil {
				return err
			}
			mine = append(mine, owner == c.Parent)
		}
		return nil
	})
	return mine, err
}

// Fail implements fanout.Ledger.
func (l *ledger) Fail(ctx context.Context, fs []fanout.Failure) (attempts []int, err error) {
	err = inTx(ctx, l.h.db, func(tx *sql.Tx) error {
		attempts = attempts[:0]
		for _, f := range fs {
			reason, err := json.Marshal(f.Reason)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO failures (run, task, life, chunk, fetch, at, reason) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				f.Task.Run, f.Task.ID, f.Task.Life, f.Chunk, f.Fetch, nanos(f.Reason.At), string(reason))
			if err != nil {
				return err
			}
			var n int
			err = tx.QueryRowContext(ctx, `SELECT count(*) FROM failures WHERE run = ? AND task = ? AND life = ? AND chunk = ?`, f.Task.Run, f.Task.ID, f.Task.Life, f.Chunk).Scan(&n)
			if err != nil {
				return err
			}
			attempts = append(attempts, n)
		}
		return nil
	})
	return attempts, wrap(err, "recording %d failed attempts", len(fs))
}

// Settle implements fanout.Ledger. A row is written once per life: where a
// replay has opened the task again, only a worker of the new life may end it.
func (l *ledger) Settle(ctx context.Context, ends []fanout.Settlement) error {
	err := inTx(ctx, l.h.db, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `INSERT INTO tasks (run, id, tier, life, outcome, fetch, object, chunk, children, nrows, pages, at, task, reason, attempts)
			VALUES (`+places(14)+`, (SELECT count(*) FROM failures WHERE run = ?1 AND task = ?2 AND life = ?4 AND chunk >= 0))
			ON CONFLICT DO UPDATE SET outcome = excluded.outcome, fetch = excluded.fetch, object = excluded.object, chunk = excluded.chunk,
				children = excluded.children, nrows = excluded.nrows, pages = excluded.pages, at = excluded.at, reason = excluded.reason, attempts = excluded.attempts
			WHERE tasks.outcome = '' AND tasks.life = excluded.life`)
		if err != nil {
			return err
		}
		defer st.Close()
		counts := map[[3]string]int{}
		for _, e := range ends {
			task, err := json.Marshal(e.Task)
			if err != nil {
				return err
			}
			reason := []byte{}
			if e.Reason != nil {
				if reason, err = json.Marshal(e.Reason); err != nil {
					return err
				}
			}
			t := e.Task
			res, err := st.ExecContext(ctx, t.Run, t.ID, t.Tier, t.Life, string(e.Outcome), e.Fetch, e.Object, e.Chunk, e.Children, e.Rows, e.Pages, nanos(e.At), string(task), string(reason))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 1 {
				counts[[3]string{t.Run, t.Tier, string(e.Outcome)}]++
				counts[[3]string{t.Run, t.Tier, "rows"}] += e.Rows
			}
		}
		for k, n := range counts {
			if err := count(ctx, tx, k[0], k[1], k[2], n); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "settling %d tasks", len(ends))
}

func count(ctx context.Context, tx *sql.Tx, run, tier, what string, n int) error {
	if n == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO counts (run, tier, what, n) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n`, run, tier, what, n)
	return err
}

// each runs a query and calls f for every row.
func each(ctx context.Context, q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, f func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
