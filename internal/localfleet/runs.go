package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// Runs keeps the runs of every vendor in this home.
func (h *Home) Runs() run.Store { return runs{h} }

// runs implements run.Store.
type runs struct{ h *Home }

// Create implements run.Store.
func (s runs) Create(ctx context.Context, r run.Run, again bool) (got run.Run, err error) {
	err = inTx(ctx, s.h.db, func(tx *sql.Tx) error {
		from, to := nanos(r.Window.From), nanos(r.Window.To)
		var current string
		err := tx.QueryRow(`SELECT run FROM windows WHERE vendor = ? AND start = ? AND stop = ?`, r.Vendor, from, to).Scan(&current)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if current != "" && (!again || current == r.ID) {
			got, err = get(tx, current)
			return err
		}
		if current != "" {
			if err := change(tx, current, func(old *run.Run) {
				if old.State == run.Open {
					old.State = run.Superseded
				}
			}); err != nil {
				return err
			}
		}
		err = tx.QueryRow(`SELECT id FROM runs WHERE vendor = ? ORDER BY opened DESC LIMIT 1`, r.Vendor).Scan(&r.Previous)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO runs (id, vendor, opened, state, doc) VALUES (?, ?, ?, ?, ?)`, r.ID, r.Vendor, nanos(r.Opened), string(r.State), string(doc)); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO windows (vendor, start, stop, run) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET run = excluded.run`, r.Vendor, from, to, r.ID)
		got = r
		return err
	})
	return got, err
}

func get(tx *sql.Tx, id string) (r run.Run, err error) {
	var doc string
	if err := tx.QueryRow(`SELECT doc FROM runs WHERE id = ?`, id).Scan(&doc); errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("%w: %s", run.ErrNoRun, id)
	} else if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(doc), &r)
}

func change(tx *sql.Tx, id string, f func(*run.Run)) error {
	r, err := get(tx, id)
	if err != nil {
		return err
	}
	f(&r)
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE runs SET state = ?, doc = ? WHERE id = ?`, string(r.State), string(doc), id)
	return err
}

// Get implements run.Store.
func (s runs) Get(ctx context.Context, id string) (r run.Run, err error) {
	tx, err := s.h.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return r, err
	}
	defer tx.Rollback()
	return get(tx, id)
}

// List implements run.Store.
func (s runs) List(ctx context.Context, vendor string) (out []run.Run, err error) {
	err = each(ctx, s.h.readers, func(scan func(...any) error) error {
		var doc string
		if err := scan(&doc); err != nil {
			return err
		}
		var r run.Run
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return err
		}
		out = append(out, r)
		return nil
	}, `SELECT doc FROM runs WHERE vendor = ?1 OR ?1 = '' ORDER BY opened DESC`, vendor)
	return out, wrap(err, "listing runs")
}

// Finish implements run.Store.
func (s runs) Finish(ctx context.Context, id string, rev int, v run.Verdict) error {
	return inTx(ctx, s.h.db, func(tx *sql.Tx) error {
		if r, err := get(tx, id); err != nil {
			return err
		} else if r.Rev != rev {
			return run.ErrChanged
		}
		return change(tx, id, func(r *run.Run) {
			r.Verdict = &v
			if v.Settled() && r.State == run.Open {
				r.State, r.Closed = run.Closed, v.At
			}
		})
	})
}

// Open implements run.Store.
func (s runs) Open(ctx context.Context, id string) error {
	return inTx(ctx, s.h.db, func(tx *sql.Tx) error {
		if r, err := get(tx, id); err != nil {
			return err
		} else if r.State == run.Superseded {
			return fmt.Errorf("run %s: %w", id, run.ErrSuperseded)
		}
		return change(tx, id, opened)
	})
}

func opened(r *run.Run) { r.State, r.Rev = run.Open, r.Rev+1 }

// Ends implements run.Store.
func (s runs) Ends(ctx context.Context, id string, f func(fanout.Settlement) error) error {
	return each(ctx, s.h.readers, func(scan func(...any) error) error {
		var e fanout.Settlement
		var task string
		var at int64
		if err := scan(&task, &e.Outcome, &e.Fetch, &e.Object, &e.Chunk, &e.Children, &e.Rows, &e.Pages, &at); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(task), &e.Task); err != nil {
			return err
		}
		e.At = instant(at)
		return f(e)
	}, `SELECT task, outcome, fetch, object, chunk, children, nrows, pages, at FROM tasks WHERE run = ? AND outcome <> ''`, id)
}

// Lists implements run.Store.
func (s runs) Lists(ctx context.Context, id string, f func(fanout.Listed) error) error {
	return each(ctx, s.h.readers, func(scan func(...any) error) error {
		var r fanout.Listed
		if err := scanListed(scan, &r); err != nil {
			return err
		}
		return f(r)
	}, `SELECT `+listedColumns+` FROM lists WHERE run = ?`, id)
}

// Counts implements run.Store.
func (s runs) Counts(ctx context.Context, id string) (map[string]run.Count, error) {
	out := map[string]run.Count{}
	err := each(ctx, s.h.readers, func(scan func(...any) error) error {
		var tier, what string
		var n int
		if err := scan(&tier, &what, &n); err != nil {
			return err
		}
		c := out[tier]
		switch what {
		case "sent":
			c.Known = n
		case "done":
			c.Done = n
		case "gone":
			c.Gone = n
		case "dead":
			c.Dead = n
		case "discarded":
			c.Discarded = n
		case "rows":
			c.Rows = n
		}
		out[tier] = c
		return nil
	}, `SELECT tier, what, n FROM counts WHERE run = ?`, id)
	if err != nil {
		return nil, wrap(err, "counting run %s", id)
	}
	err = each(ctx, s.h.readers, func(scan func(...any) error) error {
		var queue string
		var n, held int
		if err := scan(&queue, &n, &held); err != nil {
			return err
		}
		tier := queue[strings.LastIndex(queue, "/")+1:]
		c := out[tier]
		c.Queued, c.InHand = n, held
		out[tier] = c
		return nil
	}, `SELECT queue, count(*), count(CASE WHEN owner <> '' THEN 1 END) FROM messages WHERE run = ? AND queue NOT LIKE '%.dead' GROUP BY queue`, id)
	return out, wrap(err, "counting run %s", id)
}
