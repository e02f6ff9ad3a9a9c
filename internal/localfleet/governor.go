package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// Governor is the store of the governor's items. An update is one writing
// transaction on a database of its own. It moves what the change has logged out
// of the item, which every poll reads, into a table.
func (h *Home) Governor() governor.Store { return governorStore{h} }

type governorStore struct{ h *Home }

// Update implements governor.Store.
func (s governorStore) Update(ctx context.Context, vendor string, fn func(*governor.Item) error) error {
	err := inTx(ctx, s.h.governor, func(tx *sql.Tx) error {
		it, err := scanItem(tx.QueryRow(`SELECT doc FROM item WHERE vendor = ?`, vendor))
		if err != nil {
			return err
		}
		if err := fn(&it); err != nil {
			return err
		}
		if err := keepLog(tx, vendor, it); err != nil {
			return err
		}
		it.Log = nil
		doc, err := json.Marshal(it)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO item (vendor, rev, doc) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rev = excluded.rev, doc = excluded.doc`, vendor, it.Rev, string(doc))
		return err
	})
	return wrap(err, "changing the governor's item of %s", vendor)
}

const (
	keptFor   = 400 * 24 * time.Hour // how long the audit log is kept
	keptShown = 200                  // how many of the latest entries are shown
)

// keepLog moves the item's entries to the table.
func keepLog(tx *sql.Tx, vendor string, it governor.Item) error {
	for i, e := range it.Log {
		doc, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT OR REPLACE INTO log (vendor, at, rev, nth, doc) VALUES (?, ?, ?, ?, ?)`, vendor, e.At.UnixNano(), it.Rev, i, string(doc)); err != nil {
			return err
		}
	}
	if len(it.Log) == 0 {
		return nil
	}
	_, err := tx.Exec(`DELETE FROM log WHERE vendor = ? AND at < ?`, vendor, time.Now().Add(-keptFor).UnixNano())
	return err
}

// History implements governor.Historian. An item that an older Sluice wrote has
// its entries with it until the next change.
func (s governorStore) History(ctx context.Context, vendor string) ([]governor.Entry, error) {
	entries, err := s.history(ctx, vendor)
	if err != nil {
		return nil, wrap(err, "reading the audit log of %s", vendor)
	}
	slices.Reverse(entries)
	slices.SortStableFunc(entries, func(a, b governor.Entry) int { return a.At.Compare(b.At) })
	return entries[max(len(entries)-keptShown, 0):], nil
}

// history returns the latest entries, the newest first.
func (s governorStore) history(ctx context.Context, vendor string) (out []governor.Entry, err error) {
	tx, err := s.h.governorReader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	it, err := scanItem(tx.QueryRow(`SELECT doc FROM item WHERE vendor = ?`, vendor))
	if err != nil {
		return nil, err
	}
	slices.Reverse(it.Log)
	out = it.Log
	rows, err := tx.Query(`SELECT doc FROM log WHERE vendor = ? ORDER BY at DESC, rev DESC, nth DESC LIMIT ?`, vendor, keptShown)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var doc string
		var e governor.Entry
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(doc), &e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// Load implements governor.Store.
func (s governorStore) Load(ctx context.Context, vendor string) (governor.Item, error) {
	it, err := scanItem(s.h.governorReader.QueryRowContext(ctx, `SELECT doc FROM item WHERE vendor = ?`, vendor))
	return it, wrap(err, "reading the governor's item of %s", vendor)
}

func scanItem(row *sql.Row) (it governor.Item, err error) {
	var doc string
	if err := row.Scan(&doc); errors.Is(err, sql.ErrNoRows) {
		return it, nil
	} else if err != nil {
		return it, err
	}
	return it, it.UnmarshalJSON([]byte(doc))
}

// clockResolution is more than the coarsest tick of a kernel's file times (10 ms).
const clockResolution = 20 * time.Millisecond

// Clock implements governor.Store. The one clock that all processes sharing a
// home have in common is the file system's: it stamps a file that is written.
func (s governorStore) Clock(ctx context.Context) (time.Time, time.Duration, error) {
	path := filepath.Join(s.h.dir, "presence", s.h.presence.id)
	if err := ctx.Err(); err != nil {
		return time.Time{}, 0, err
	}
	if err := os.WriteFile(path, []byte("."), 0o644); err != nil {
		return time.Time{}, 0, fmt.Errorf("reading the file system's clock: %w", plain(err))
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("reading the file system's clock: %w", plain(err))
	}
	return info.ModTime(), clockResolution, nil
}
