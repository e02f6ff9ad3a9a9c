package localfleet

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// Governor is the store of the governor's items. An update is one writing
// transaction on a database of its own.
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
		doc, err := json.Marshal(it)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO item (vendor, rev, doc) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rev = excluded.rev, doc = excluded.doc`, vendor, it.Rev, string(doc))
		return err
	})
	return wrap(err, "changing the governor's item of %s", vendor)
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
	return it, json.Unmarshal([]byte(doc), &it)
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
