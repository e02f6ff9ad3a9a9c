package localfleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
)

// TestFirstOpen: several processes make one home at the same moment.
func TestFirstOpen(t *testing.T) {
	const homes = 15
	if dir := os.Getenv("SLUICE_TEST_FIRST_OPEN"); dir != "" {
		at, err := time.Parse(time.RFC3339Nano, os.Getenv("SLUICE_TEST_AT"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range homes {
			time.Sleep(time.Until(at.Add(time.Duration(i) * 100 * time.Millisecond)))
			h, err := localfleet.Open(context.Background(), filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				t.Fatal(i, err)
			}
			if err := h.Close(); err != nil {
				t.Fatal(i, err)
			}
		}
		return
	}
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^TestFirstOpen$")
			c.Env = append(os.Environ(), "SLUICE_TEST_FIRST_OPEN="+dir, "SLUICE_TEST_AT="+time.Now().Add(time.Second).Format(time.RFC3339Nano))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
}

// runsOf is the life of runs with one tier.
func runsOf(h *localfleet.Home) *run.Runs {
	return &run.Runs{
		Vendor: "v", Zone: time.UTC, Tiers: []string{"a"},
		Roots: func(id string, w fanout.Window) []fanout.Task {
			return []fanout.Task{{ID: fanout.TaskID(id, "a", nil), Run: id, Tier: "a", Life: 1, Window: w}}
		},
		Store: h.Runs(), Ledger: h.Ledger("v"), Landing: h.Landing("v"),
		Queue: func(t string) fanout.Queue { return h.Queue("v", t) },
		Dead:  func(t string) fanout.Queue { return h.DeadQueue("v", t) },
	}
}

var window = fanout.Window{From: time.Unix(1767225600, 0).UTC(), To: time.Unix(1767312000, 0).UTC()}

// seeded is a fresh home with one seeded run.
func seeded(t *testing.T) (*localfleet.Home, *run.Runs, run.Run) {
	t.Helper()
	h := open(t, t.TempDir())
	rs := runsOf(h)
	r, err := rs.Seed(t.Context(), window, false)
	if err != nil {
		t.Fatal(err)
	}
	return h, rs, r
}

// TestRowsOfAReadInParts: the verdict counts the rows of every part that counts,
// and of none that does not.
func TestRowsOfAReadInParts(t *testing.T) {
	_, rs, r := seeded(t)
	task := r.Seeds[0]
	_, err := rs.Ledger.List(t.Context(), []fanout.Listed{
		{Run: r.ID, Tier: "a", Task: task.ID, Fetch: "f0", Rows: 3, Pages: 1, Cursor: "1"},
		{Run: r.ID, Tier: "a", Task: task.ID, Chunk: 1, Fetch: "late", Rows: 100, Pages: 1, Cursor: "2"},
	})
	err = errors.Join(err, rs.Ledger.Settle(t.Context(), []fanout.Settlement{{Task: task, Outcome: fanout.Done, Fetch: "f1", Chunk: 1, Rows: 2, Pages: 1, At: time.Now()}}))
	if err != nil {
		t.Fatal(err)
	}
	v, err := rs.Judge(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if v.Rows != 5 {
		t.Errorf("%d rows, want 5", v.Rows)
	}
}

// between lets a test act between a verdict's computation and its recording.
type between struct {
	run.Store
	once *sync.Once
	act  func()
}

func (s between) Finish(ctx context.Context, id string, rev int, v run.Verdict) error {
	s.once.Do(s.act)
	return s.Store.Finish(ctx, id, rev, v)
}

// TestReplayWhileJudged: a verdict that is older than a replay does not close
// the run over the reopened task.
func TestReplayWhileJudged(t *testing.T) {
	h, rs, r := seeded(t)
	task := r.Seeds[0]
	ds, err := rs.Queue("a").Receive(t.Context(), 1, 0, time.Minute)
	if err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	err = errors.Join(
		rs.Ledger.Settle(t.Context(), []fanout.Settlement{{Task: task, Outcome: fanout.Dead, At: time.Now(), Reason: &fanout.Reason{Message: "x"}}}),
		rs.Queue("a").Delete(t.Context(), []fanout.Receipt{ds[0].Receipt}))
	if err != nil {
		t.Fatal(err)
	}
	judging := runsOf(h)
	judging.Store = between{h.Runs(), new(sync.Once), func() {
		letters, err := rs.Pick(t.Context(), r.ID, func(run.DeadTask) bool { return true })
		if err != nil {
			t.Error(err)
		}
		if sent, err := rs.Replay(t.Context(), r.ID, letters, run.Note{Tag: run.NewTag(), At: time.Now()}); sent != 1 || err != nil {
			t.Error(sent, err)
		}
	}}
	v, err := judging.Judge(t.Context(), r.ID)
	if err != nil || v.Settled() || v.Missing != 1 {
		t.Errorf("verdict %+v, %v: want the reopened task missing", v, err)
	}
	now, err := h.Runs().Get(t.Context(), r.ID)
	if err != nil || now.State != run.Open {
		t.Errorf("the run is %s, %v; its reopened task would be dropped", now.State, err)
	}
}

// TestPresence: what a process held is visible as soon as it is gone, and what
// it had given back to wait is not.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first, err := localfleet.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		q := first.Queue("v", "a")
		var tasks []fanout.Task
		for _, k := range []string{"held", "pausing"} {
			tasks = append(tasks, fanout.Task{ID: k, Run: "r", Tier: "a", Life: 1})
		}
		if err := q.Send(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
		ds, err := q.Receive(t.Context(), 2, 0, time.Hour)
		if err != nil || len(ds) != 2 {
			t.Fatal(ds, err)
		}
		if err := q.Hide(t.Context(), []fanout.Hide{{Receipt: ds[0].Receipt, For: time.Hour, Keep: true}, {Receipt: ds[1].Receipt, For: time.Minute}}); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second := open(t, dir)
		got, err := second.Queue("v", "a").Receive(t.Context(), 2, 5*time.Second, time.Hour)
		if err != nil || len(got) != 1 || got[0].Task.ID != "held" {
			t.Errorf("after the first process: %+v, %v; want what it held, and not what pauses", got, err)
		}
		time.Sleep(time.Minute)
		if got, err := second.Queue("v", "a").Receive(t.Context(), 2, 0, time.Hour); err != nil || len(got) != 1 {
			t.Errorf("after the pause: %+v, %v", got, err)
		}
	})
}

// TestAnotherVersionsHome is refused in one clear line.
func TestAnotherVersionsHome(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.db"), []byte("this is no database, but a file that is long enough to be taken for one at first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if h, err := localfleet.Open(t.Context(), dir); err == nil {
		h.Close()
		t.Error("opened what is no home")
	}
}
