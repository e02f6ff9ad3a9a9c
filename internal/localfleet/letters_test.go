package localfleet_test

import (
	"database/sql"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/run"
)

// bury makes dead tasks of a run, each with its token.
func bury(t *testing.T, dir, id string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "fleet.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, stmt := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
		INSERT INTO tasks (run, id, tier, life, outcome, fetch, object, chunk, children, nrows, pages, at, task, reason, attempts)
		SELECT ?1, 'task' || i, 'a', 1, 'dead', 'f', '', 0, 0, 0, 0, 1767225600000000000 + ((i * 7919) % ?2) * 1000000,
			json_object('id', 'task' || i, 'run', ?1, 'tier', 'a', 'life', 1, 'path', json_array('key ' || i)),
			json_object('class', 'bad-answer', 'status', 500 + i % 4, 'message', 'item ' || i || ' is no object', 'excerpt', '{"error":"no"}'), 5 FROM n`,
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
		INSERT INTO messages (queue, run, task, life, body, visible)
		SELECT 'v/a.dead', ?1, 'task' || i, 1, json_object('id', 'task' || i, 'run', ?1, 'tier', 'a', 'life', 1, 'path', json_array('key ' || i), 'dead', json('true')), 0 FROM n`,
		`INSERT INTO counts (run, tier, what, n) VALUES (?1, 'a', 'dead', ?2)`,
	} {
		if _, err := db.Exec(stmt, id, many); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyLetters: very many dead tasks are grouped without being held, a replay
// of ten does not go through them, and a replay of all leaves no token.
func TestManyLetters(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	rs := runsOf(h)
	r, err := rs.Seed(t.Context(), window, false)
	if err != nil {
		t.Fatal(err)
	}
	bury(t, dir, r.ID)

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	var causes run.Causes
	var most uint64
	n := 0
	err = h.Runs().DeadTasks(t.Context(), r.ID, func(d run.DeadTask) error {
		causes.Add(d)
		if n++; n%(many/5) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listing := time.Since(began)
	if found := causes.List(); len(found) != 4 || found[0].Count != many/4 {
		t.Errorf("%d causes, the first %+v; want 4 of %d each", len(found), found[0], many/4)
	}
	if most > 2<<20 {
		t.Errorf("%d bytes were held while listing", most)
	}

	began = time.Now()
	letters, err := rs.Pick(t.Context(), r.ID, func(d run.DeadTask) bool { return len(d.Task.ID) == len("task0") })
	if err != nil || len(letters) != 10 {
		t.Fatal(len(letters), err)
	}
	sent, err := rs.Replay(t.Context(), r.ID, letters, run.Note{Tag: "r-few", At: time.Now()})
	if err != nil || sent != 10 {
		t.Errorf("replayed %d, %v", sent, err)
	}
	few := time.Since(began)

	began = time.Now()
	letters, err = rs.Pick(t.Context(), r.ID, func(run.DeadTask) bool { return true })
	if err != nil || len(letters) != many-10 {
		t.Fatal(len(letters), err)
	}
	sent, err = rs.Replay(t.Context(), r.ID, letters, run.Note{Tag: "r-all", At: time.Now()})
	if err != nil || sent != many-10 {
		t.Errorf("replayed %d, %v", sent, err)
	}
	if left, err := rs.Dead("a").Receive(t.Context(), 1, 0, time.Minute); err != nil || len(left) > 0 {
		t.Errorf("%d tokens are left, %v", len(left), err)
	}
	t.Logf("%d dead tasks: listed in %v holding %d KB; 10 of them replayed in %v, the others in %v", many,
		listing.Round(time.Millisecond), most>>10, few.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}
