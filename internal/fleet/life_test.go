package fleet_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

func newSim(t *testing.T, tree vendorsim.Tree) *vendorsim.Server {
	t.Helper()
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: tree, Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	return sim
}

// poison answers requests for one path with what is no JSON, while it is on.
type poison struct {
	path string
	on   atomic.Bool
}

func (p *poison) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.on.Load() && strings.Contains(r.URL.Path, p.path) {
		return &http.Response{StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<oops>")), ContentLength: -1}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// work works a run to its verdict.
func work(t *testing.T, f *fleet.Fleet, r run.Run) run.Verdict {
	t.Helper()
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	v, err := w.Run(t.Context(), context.WithoutCancel(t.Context()), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var someWindow = fanout.Window{From: time.Unix(1767225600, 0).UTC(), To: time.Unix(1767312000, 0).UTC()}

// TestDeadHiddenReplayed: a dead device hides its subtree, whose size the last
// run tells; a replay makes the run complete.
func TestDeadHiddenReplayed(t *testing.T) {
	tree := vendorsim.Tree{Groups: 3, Devices: 12, Datagroups: 60, Points: 2}
	sim := newSim(t, tree)
	bad := &poison{path: "/devices/9007199254740999/datagroups"}
	f := simFleet(t, sim, t.TempDir(), func(o *fleet.Options) { o.Transport, o.Engine.MaxAttempts = bad, 2 })
	first, err := f.Runs.Seed(t.Context(), someWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	if v := work(t, f, first); !v.Complete() {
		t.Fatalf("first run: %+v", v)
	}
	same, err := f.Runs.Seed(t.Context(), someWindow, false)
	if err != nil || same.ID != first.ID || same.State != run.Closed || same.Verdict == nil {
		t.Fatalf("the same window again: %+v, %v; want the closed run %s", same, err, first.ID)
	}

	bad.on.Store(true)
	second, err := f.Runs.Seed(t.Context(), someWindow, true)
	if err != nil || second.ID == first.ID || second.Previous != first.ID {
		t.Fatalf("a new run of the window: %+v, %v", second, err)
	}
	v := work(t, f, second)
	if v.Complete() || !v.Settled() || v.Dead != 1 || v.Hidden != 5 {
		t.Errorf("verdict %+v: want 1 dead task that hides 5", v)
	}
	if want := "datagroups 9007199254740999"; len(v.DeadNames) != 1 || v.DeadNames[0] != want {
		t.Errorf("dead: %q, want %q", v.DeadNames, want)
	}
	err = f.Runs.Store.DeadTasks(t.Context(), second.ID, func(d run.DeadTask) error {
		if d.Attempts != 2 || d.Reason.Class != fanout.Bad || !strings.Contains(d.Reason.Request, "/datagroups") || !strings.Contains(d.Reason.Excerpt, "oops") {
			t.Errorf("dead letter %+v", d)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	bad.on.Store(false)
	letters, err := f.Runs.Pick(t.Context(), second.ID, func(run.DeadTask) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	sent, err := f.Runs.Replay(t.Context(), second.ID, letters, run.Note{Tag: run.NewTag(), At: time.Now()})
	if err != nil || sent != 1 {
		t.Fatalf("replayed %d, %v", sent, err)
	}
	tokens, err := f.Runs.Dead("datagroups").Receive(t.Context(), 10, 0, time.Second)
	if err != nil || len(tokens) != 0 {
		t.Errorf("%d tokens are left in the dead-letter queue, %v", len(tokens), err)
	}
	if v := work(t, f, second); !v.Complete() || v.Known != tree.Calls() {
		t.Errorf("after the replay: %+v", v)
	}
	checkRows(t, f, second, tree)
	// Another fetch happened for nothing but the replayed task and what it hid.
	if st := sim.Stats(); st.Calls != 2*tree.Calls() {
		t.Errorf("%d calls for two runs of %d", st.Calls, tree.Calls())
	}
}

// TestLostMessages: what vanished from a queue is named by the verdict and sent
// again by repair, without another call for what is settled.
func TestLostMessages(t *testing.T) {
	tree := vendorsim.Tree{Groups: 3, Devices: 12, Datagroups: 60, Points: 2}
	sim := newSim(t, tree)
	f := simFleet(t, sim, t.TempDir())
	r, err := f.Runs.Seed(t.Context(), someWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0], "groups", "devices")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Drain(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	q := f.Runs.Queue("datagroups")
	lost, err := q.Receive(t.Context(), 5, 0, time.Minute)
	if err != nil || len(lost) != 5 {
		t.Fatalf("%d, %v", len(lost), err)
	}
	for _, d := range lost {
		if err := q.Delete(t.Context(), []fanout.Receipt{d.Receipt}); err != nil {
			t.Fatal(err)
		}
	}
	v, err := f.Runs.Judge(t.Context(), r.ID)
	if err != nil || v.Settled() || v.Missing != 12 || len(v.MissingNames) != 12 {
		t.Fatalf("verdict %+v, %v: want 12 missing", v, err)
	}
	if sent, err := f.Runs.Repair(t.Context(), r.ID); err != nil || sent != 12 {
		t.Errorf("repair sent %d, %v; want all 12 that are known and not settled", sent, err)
	}
	if _, err := q.Receive(t.Context(), 3, 0, time.Millisecond); err != nil { // and the run itself repairs, too
		t.Fatal(err)
	}
	if v := work(t, f, r); !v.Complete() || v.Known != tree.Calls() {
		t.Errorf("verdict %+v", v)
	}
	checkRows(t, f, r, tree)
	if st := sim.Stats(); st.Calls != tree.Calls() {
		t.Errorf("%d calls, want %d", st.Calls, tree.Calls())
	}
}

// TestSeedingTwice: of two that seed one window, both get the same run.
func TestSeedingTwice(t *testing.T) {
	sim := newSim(t, vendorsim.Scaled(100))
	home := t.TempDir()
	ids := make(chan string, 8)
	for range 4 {
		f := simFleet(t, sim, home)
		for range 2 {
			go func() {
				r, err := f.Runs.Seed(t.Context(), someWindow, false)
				if err != nil {
					t.Error(err)
				}
				ids <- r.ID
			}()
		}
	}
	seen := map[string]bool{}
	for range 8 {
		seen[<-ids] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d runs of one window", len(seen))
	}
}

// TestSupersededRun: a run that a newer one of its window has replaced is not
// revived by whoever still works it, and working it comes to an end.
func TestSupersededRun(t *testing.T) {
	tree := vendorsim.Tree{Groups: 2, Devices: 4, Datagroups: 8, Points: 2}
	sim := newSim(t, tree)
	f := simFleet(t, sim, t.TempDir())
	old, err := f.Runs.Seed(t.Context(), someWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	// Its one message pauses while the new run is seeded and closed.
	if ds, err := f.Runs.Queue("groups").Receive(t.Context(), 1, 0, 8*time.Second); err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	next, err := f.Runs.Seed(t.Context(), someWindow, true)
	if err != nil {
		t.Fatal(err)
	}
	if v := work(t, f, next); !v.Complete() {
		t.Fatalf("%+v", v)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, old.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := w.Run(ctx, t.Context(), old.ID); !errors.Is(err, run.ErrSuperseded) {
		t.Errorf("working a replaced run: %v, want that a newer one has its place", err)
	}
	if r, err := f.Runs.Store.Get(t.Context(), old.ID); err != nil || r.State != run.Superseded {
		t.Errorf("the replaced run is %s, %v", r.State, err)
	}
	if _, err := f.Runs.Repair(t.Context(), old.ID); !errors.Is(err, run.ErrSuperseded) {
		t.Errorf("repairing a replaced run: %v", err)
	}
	if st := sim.Stats(); st.Calls != tree.Calls() {
		t.Errorf("%d calls, one run has %d", st.Calls, tree.Calls())
	}
}
