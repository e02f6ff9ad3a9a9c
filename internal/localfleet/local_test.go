package localfleet_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/run/runtest"
	"github.com/sluicehq/sluice/internal/series/seriestest"
)

func open(t *testing.T, dir string) *localfleet.Home {
	t.Helper()
	h, err := localfleet.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestQueue(t *testing.T) {
	s := fanouttest.Settings{Short: time.Second, Dedupes: true, Virtual: true}
	fanouttest.TestQueue(t, s, func(t *testing.T) fanout.Queue { return open(t, t.TempDir()).Queue("v", "t") })
}

func TestLedger(t *testing.T) {
	fanouttest.TestLedger(t, fanouttest.Settings{Virtual: true}, func(t *testing.T) (fanout.Ledger, string, func(fanout.Task) fanout.Task) {
		h := open(t, t.TempDir())
		runs := h.Runs()
		now := time.Now()
		r, err := runs.Create(t.Context(), run.Run{ID: "r1", Vendor: "v", Tiers: []string{"a"}, State: run.Open, Opened: now, Window: fanout.Window{From: now, To: now.Add(1)}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return h.Ledger("v"), r.ID, func(ts fanout.Task) fanout.Task {
			next, err := runs.Reopen(t.Context(), ts.Run, []run.Letter{{Task: ts.ID, Life: ts.Life}}, run.Note{Tag: "r-test", At: time.Now()})
			if err != nil || len(next) != 1 {
				t.Fatal(next, err)
			}
			return next[0]
		}
	})
}

func TestRuns(t *testing.T) {
	runtest.TestStore(t, runtest.Settings{Parallel: true}, func(t *testing.T) runtest.Place {
		h := open(t, t.TempDir())
		return runtest.Place{Store: h.Runs(), Ledger: h.Ledger("v"), Vendor: "v", Queue: func(tier string) fanout.Queue { return h.Queue("v", tier) }}
	})
}

func TestLanding(t *testing.T) {
	fanouttest.TestLanding(t, func(t *testing.T) fanout.Landing { return open(t, t.TempDir()).Landing("v") },
		func(t *testing.T, l fanout.Landing, object string, each func(*fanout.Record)) {
			err := l.(*landing.Landing).Object(t.Context(), object, func(r *fanout.Record) error { each(r); return nil })
			if err != nil {
				t.Fatal(err)
			}
		})
}

// TestGovernorStore: the handles that one test opens are processes that share a
// home.
func TestGovernorStore(t *testing.T) {
	homes := map[*testing.T]string{}
	governortest.TestStore(t, func(t *testing.T) governor.Store {
		if homes[t] == "" {
			homes[t] = t.TempDir()
		}
		return open(t, homes[t]).Governor()
	})
}

func TestSeries(t *testing.T) { seriestest.Store(t, open(t, t.TempDir()).Series(), "v") }
