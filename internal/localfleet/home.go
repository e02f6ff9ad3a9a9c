// Package localfleet is the fleet's ports on one machine: a SQLite file for
// queues, ledger and runs, another for the governor's item, and a directory for
// the landing. It is durable, and several processes may share it.
//
//	HOME/fleet.db       queues, ledger, runs
//	HOME/governor.db    the governor's item: apart, so that booking a permit never waits for a big commit
//	HOME/landing/...    landed objects, written aside and renamed
//	HOME/presence/ID    a lock held by each living process: what a dead one held is visible at once
//	HOME/secrets/...    the operator's
//
// Writes use WAL with synchronous=NORMAL: what was acknowledged survives the
// death of any process. A loss of power may cost the last moments, in both
// databases and in the order written; landed objects are synced before the
// ledger names them.
package localfleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// schemaVersion is written into the databases; another version's home is
// refused rather than misread.
const schemaVersion = 1

// Home is an open home directory. It is safe for concurrent use.
type Home struct {
	dir                      string
	db                       *sql.DB // one writing connection
	readers                  *sql.DB
	governor, governorReader *sql.DB
	presence                 *presence
	stop                     context.CancelFunc
	reaper                   sync.WaitGroup
}

// Open opens a home, and makes it if it is not there.
func Open(ctx context.Context, dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("home %s: %w", dir, err)
	}
	for _, d := range []string{"", "landing", "presence"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("making the home: %w (choose another with --home)", plain(err))
		}
	}
	h := &Home{dir: dir}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Home) open(ctx context.Context) (err error) {
	// SQLite does not wait where two processes make one file a WAL file.
	unlock, err := lockFile(filepath.Join(h.dir, "opening.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if h.db, err = openDB(ctx, filepath.Join(h.dir, "fleet.db"), 1, fleetSchema); err != nil {
		return err
	}
	if h.readers, err = openDB(ctx, filepath.Join(h.dir, "fleet.db"), 4, ""); err != nil {
		return err
	}
	if h.governor, err = openDB(ctx, filepath.Join(h.dir, "governor.db"), 1, governorSchema); err != nil {
		return err
	}
	if h.governorReader, err = openDB(ctx, filepath.Join(h.dir, "governor.db"), 1, ""); err != nil {
		return err
	}
	if h.presence, err = announce(filepath.Join(h.dir, "presence")); err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.reaper.Go(func() { h.reap(ctx) })
	return nil
}

func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, plain(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// Close ends the use of a home. What this process still holds becomes visible
// to others.
func (h *Home) Close() error {
	if h.stop != nil {
		h.stop()
		h.reaper.Wait()
	}
	var errs []error
	if h.presence != nil {
		err := h.release(context.Background(), h.presence.id)
		// If it could not be released, the unlocked file tells the next process to.
		errs = append(errs, err, h.presence.close(err == nil))
	}
	for _, db := range []*sql.DB{h.readers, h.db, h.governorReader, h.governor} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Dir is the home's directory.
func (h *Home) Dir() string { return h.dir }

func openDB(ctx context.Context, path string, conns int, schema string) (*sql.DB, error) {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if schema == "" {
		return db, nil
	}
	if err := migrate(ctx, db, path, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if _, err := db.ExecContext(ctx, additions[schema]); err != nil {
		return nil, errors.Join(fmt.Errorf("adding to the tables of %s: %w", path, err), db.Close())
	}
	return db, nil
}

// additions are tables that a home of this version may lack, because they came
// later: an older Sluice passes them over.
var additions = map[string]string{
	fleetSchema: `
CREATE TABLE IF NOT EXISTS samples ( -- what each process did in each slice of time
  vendor TEXT, at INTEGER, process TEXT, doc TEXT NOT NULL, PRIMARY KEY (vendor, at, process)
) WITHOUT ROWID;`,
	governorSchema: `
CREATE TABLE IF NOT EXISTS log ( -- the audit log, apart from the items
  vendor TEXT, at INTEGER, rev INTEGER, nth INTEGER, doc TEXT NOT NULL, PRIMARY KEY (vendor, at, rev, nth)
) WITHOUT ROWID;`,
}

// migrate makes the tables of a new database, and refuses another version's.
func migrate(ctx context.Context, db *sql.DB, path, schema string) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("opening %s: %w (is it a Sluice home? choose another with --home)", path, err)
	}
	switch version {
	case schemaVersion:
		return nil
	case 0:
	default:
		return fmt.Errorf("%s was written by another version of Sluice (layout %d, this one has %d): use that version, or another --home", path, version, schemaVersion)
	}
	err := inTx(ctx, db, func(tx *sql.Tx) error {
		if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version == schemaVersion {
			return err // another process was first
		}
		if _, err := tx.Exec(schema); err != nil {
			return err
		}
		_, err := tx.Exec(fmt.Sprint("PRAGMA user_version = ", schemaVersion))
		return err
	})
	if err != nil {
		return fmt.Errorf("making the tables of %s: %w", path, err)
	}
	return nil
}

// txSize is how many rows one transaction writes of what may be very many: the
// other writers, heartbeats among them, come in between.
const txSize = 1000

// inTx runs f in one writing transaction.
func inTx(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// plain drops the operation from a file error: "mkdir /x: no such file" reads
// well enough as "/x: no such file".
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}

// nanos is an instant as the databases keep it.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

const fleetSchema = `
CREATE TABLE runs (
  id TEXT PRIMARY KEY, vendor TEXT NOT NULL, opened INTEGER NOT NULL, state TEXT NOT NULL, doc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX runs_vendor ON runs (vendor, opened);
CREATE TABLE windows ( -- the run of each window
  vendor TEXT, start INTEGER, stop INTEGER, run TEXT NOT NULL, PRIMARY KEY (vendor, start, stop)
) WITHOUT ROWID;
CREATE TABLE messages (
  seq INTEGER PRIMARY KEY, queue TEXT NOT NULL, run TEXT NOT NULL, task TEXT NOT NULL, life INTEGER NOT NULL, body TEXT NOT NULL,
  visible INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '',
  UNIQUE (queue, task)
);
CREATE INDEX messages_visible ON messages (queue, visible, seq);
CREATE INDEX messages_owner ON messages (owner) WHERE owner <> '';
CREATE TABLE tasks ( -- settled, reopened
  run TEXT, id TEXT, tier TEXT NOT NULL, life INTEGER NOT NULL, outcome TEXT NOT NULL,
  fetch TEXT NOT NULL, object TEXT NOT NULL, chunk INTEGER NOT NULL, children INTEGER NOT NULL, nrows INTEGER NOT NULL, pages INTEGER NOT NULL,
  at INTEGER NOT NULL, task TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, id)
) WITHOUT ROWID;
CREATE INDEX tasks_dead ON tasks (run, at) WHERE outcome = 'dead';
CREATE TABLE lists (
  run TEXT, task TEXT, chunk INTEGER, tier TEXT NOT NULL, fetch TEXT NOT NULL, object TEXT NOT NULL, children INTEGER NOT NULL,
  nrows INTEGER NOT NULL, pages INTEGER NOT NULL, cursor TEXT NOT NULL, final INTEGER NOT NULL, sent INTEGER NOT NULL,
  PRIMARY KEY (run, task, chunk)
) WITHOUT ROWID;
CREATE TABLE claims (run TEXT, child TEXT, parent TEXT NOT NULL, PRIMARY KEY (run, child)) WITHOUT ROWID;
CREATE TABLE failures (
  run TEXT, task TEXT, life INTEGER, chunk INTEGER, fetch TEXT, at INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (run, task, life, chunk, fetch)
) WITHOUT ROWID;
CREATE TABLE counts (run TEXT, tier TEXT, what TEXT, n INTEGER NOT NULL, PRIMARY KEY (run, tier, what)) WITHOUT ROWID;
`

const governorSchema = `CREATE TABLE item (vendor TEXT PRIMARY KEY, rev INTEGER NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;`

// places is "?,?,?" for n values.
func places(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }
