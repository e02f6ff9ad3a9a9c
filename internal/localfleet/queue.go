package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Queue is the queue of one tier of a vendor.
func (h *Home) Queue(vendor, tier string) fanout.Queue {
	return &queue{h: h, name: queueName(vendor, tier)}
}

// DeadQueue is the dead-letter queue of one tier of a vendor.
func (h *Home) DeadQueue(vendor, tier string) fanout.Queue {
	return &queue{h: h, name: queueName(vendor, tier) + deadSuffix, dead: true}
}

const deadSuffix = ".dead"

func queueName(vendor, tier string) string { return vendor + "/" + tier }

// queue implements fanout.Queue on the table messages. A receipt is a message
// and how often it had been received, so that a stale one is inert. A task that
// is on the queue already is not put there twice.
type queue struct {
	h    *Home
	name string
	dead bool
}

// pollEvery is how often an empty queue is looked at during a long poll.
const pollEvery = 25 * time.Millisecond

// Send implements fanout.Queue.
func (q *queue) Send(ctx context.Context, tasks []fanout.Task) error {
	for some := range slices.Chunk(tasks, txSize) {
		if err := q.send(ctx, some); err != nil {
			return wrap(err, "sending %d tasks to queue %s", len(tasks), q.name)
		}
	}
	return nil
}

func (q *queue) send(ctx context.Context, tasks []fanout.Task) error {
	return inTx(ctx, q.h.db, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `INSERT INTO messages (queue, run, task, life, body, visible) VALUES (?, ?, ?, ?, ?, 0)
			ON CONFLICT (queue, task) DO UPDATE SET life = excluded.life, body = excluded.body, visible = 0, receives = receives + 1, owner = ''
			WHERE excluded.life > messages.life`)
		if err != nil {
			return err
		}
		defer st.Close()
		known := map[[2]string]int{}
		for _, t := range tasks {
			body, err := json.Marshal(t)
			if err != nil {
				return fmt.Errorf("packing task %s: %w", t.ID, err)
			}
			res, err := st.ExecContext(ctx, q.name, t.Run, t.ID, t.Life, string(body))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err == nil && n == 1 && t.Life == 1 && !q.dead {
				known[[2]string{t.Run, t.Tier}]++
			}
		}
		for k, n := range known {
			if err := count(ctx, tx, k[0], k[1], "sent", n); err != nil {
				return err
			}
		}
		return nil
	})
}

// Receive implements fanout.Queue.
func (q *queue) Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]fanout.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		// Not cancelled half-way: what was taken would be hidden and held by nobody.
		out, err := q.take(context.WithoutCancel(ctx), max, visibility)
		if err != nil {
			return nil, wrap(err, "receiving from queue %s", q.name)
		}
		left := time.Until(deadline)
		if len(out) > 0 || left <= 0 {
			return out, nil
		}
		t := time.NewTimer(min(left, pollEvery))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		case <-t.C:
		}
	}
}

func (q *queue) take(ctx context.Context, max int, visibility time.Duration) (out []fanout.Delivery, err error) {
	now := time.Now()
	// Looking does not take the write lock: an empty queue costs other writers nothing.
	var any int
	err = q.h.readers.QueryRowContext(ctx, `SELECT 1 FROM messages WHERE queue = ? AND visible <= ? LIMIT 1`, q.name, nanos(now)).Scan(&any)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	rows, err := q.h.db.QueryContext(ctx, `UPDATE messages SET visible = ?, receives = receives + 1, owner = ?
		WHERE seq IN (SELECT seq FROM messages WHERE queue = ? AND visible <= ? ORDER BY visible, seq LIMIT ?)
		RETURNING seq, receives, body`, nanos(now.Add(visibility)), q.h.presence.id, q.name, nanos(now), max)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq, receives int64
		var body string
		if err := rows.Scan(&seq, &receives, &body); err != nil {
			return nil, err
		}
		d := fanout.Delivery{Receipt: fanout.Receipt(fmt.Sprint(seq, ".", receives))}
		if err := json.Unmarshal([]byte(body), &d.Task); err != nil {
			return nil, fmt.Errorf("message %d cannot be read: %w", seq, err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// Hide implements fanout.Queue.
func (q *queue) Hide(ctx context.Context, hides []fanout.Hide) error {
	var lost []fanout.Receipt
	err := inTx(ctx, q.h.db, func(tx *sql.Tx) error {
		lost = nil
		st, err := tx.PrepareContext(ctx, `UPDATE messages SET visible = ?, owner = iif(?, owner, '') WHERE seq = ? AND receives = ? AND queue = ? AND visible > ?`)
		if err != nil {
			return err
		}
		defer st.Close()
		now := time.Now()
		for _, hide := range hides {
			seq, receives := parse(hide.Receipt)
			res, err := st.ExecContext(ctx, nanos(now.Add(hide.For)), hide.Keep, seq, receives, q.name, nanos(now))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				lost = append(lost, hide.Receipt)
			}
		}
		return nil
	})
	if err != nil {
		return wrap(err, "hiding %d deliveries of queue %s", len(hides), q.name)
	}
	if lost != nil {
		return &fanout.LostError{Receipts: lost}
	}
	return nil
}

// Delete implements fanout.Queue.
func (q *queue) Delete(ctx context.Context, receipts []fanout.Receipt) error {
	if len(receipts) == 0 {
		return nil
	}
	err := inTx(ctx, q.h.db, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `DELETE FROM messages WHERE seq = ? AND receives = ? AND queue = ?`)
		if err != nil {
			return err
		}
		defer st.Close()
		for _, r := range receipts {
			seq, receives := parse(r)
			if _, err := st.ExecContext(ctx, seq, receives, q.name); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "deleting %d messages of queue %s", len(receipts), q.name)
}

// parse takes a receipt apart; a foreign one matches nothing.
func parse(r fanout.Receipt) (seq, receives int64) {
	a, b, _ := strings.Cut(string(r), ".")
	seq, errA := strconv.ParseInt(a, 10, 64)
	receives, errB := strconv.ParseInt(b, 10, 64)
	if errA != nil || errB != nil {
		return -1, -1
	}
	return seq, receives
}

// wrap adds what was being done to what.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
