package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestOperatorsDay is what an operator does from a run in progress: the rate
// halved live, a pause, a poisoned tier found by its cause, mended at the vendor
// and replayed. Nothing else is fetched again, by the vendor's own count.
func TestOperatorsDay(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 4, Devices: 20, Datagroups: 400, Points: 3}
	w := newWorld(t, tree)
	const fast, slow, burst = 60, 30, 5
	w.sluice("limits", "set", "sim", "calls", "--rate", "60/s", "--burst", "5").want(t, 0)
	poison := "/devices/" + deadDevice + "/"
	if err := w.sim.Misbehave(vendorsim.Trouble{Poison: poison}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan result, 1)
	go func() { ended <- w.run("--no-progress") }()
	w.reach(60)

	w.sluice("limits", "set", "sim", "calls", "--rate", "30/s", "--dry-run").want(t, 0, "what is left of run", "with the change", "Nothing was changed")
	w.sluice("limits", "set", "sim", "calls", "--rate", "30/s", "--burst", "5", "--why", "they asked us to").want(t, 0, "bucket 30 per second", "they asked us to")
	changed := time.Now()
	time.Sleep(2 * time.Second)
	from := time.Now()
	time.Sleep(3 * time.Second)
	if n, most := w.between(from, from.Add(3*time.Second)), 3*slow+burst; n > most || n == 0 {
		t.Errorf("%d calls in 3 s at the new rate: at most %d", n, most)
	}
	if n, most := w.between(changed, from), 2*fast+burst; n > most {
		t.Errorf("%d calls in the 2 s after the change", n)
	}

	w.sluice("pause", "sim", "--why", "their maintenance").want(t, 0)
	time.Sleep(time.Second)
	paused := w.sim.Stats().Calls
	time.Sleep(1500 * time.Millisecond)
	if n := w.sim.Stats().Calls - paused; n > 0 {
		t.Errorf("%d calls while paused", n)
	}
	w.sluice("status", "sim").want(t, 0, "paused by", "their maintenance", "left")
	w.sluice("resume", "sim").want(t, 0)

	id := (<-ended).want(t, 1, "1 dead task").runID()
	found := w.sluice("dead", "sim").want(t, 0, "422", "this cannot be processed", deadName)
	cause := causeShown.FindStringSubmatch(found.out)
	if cause == nil {
		t.Fatalf("no cause is named:\n%s", found.out)
	}
	if err := w.sim.Misbehave(vendorsim.Trouble{}); err != nil {
		t.Fatal(err)
	}
	before := w.sim.Stats().Calls
	w.sluice("replay", "sim", "--cause", cause[1], "--why", "they have mended it", "--wait").want(t, 0, "complete")
	st := w.sim.Stats()
	hidden := 1 + tree.Datagroups/tree.Devices // the device's list, and its leaves
	if n := st.Calls - before; n != hidden || st.Repeated != 0 {
		t.Errorf("the replay made %d calls, want %d; %d answers were repeated", n, hidden, st.Repeated)
	}
	w.sluice("status", "sim").want(t, 0, "425 done + 0 gone + 0 dead = 1 seed(s) + 424 distinct children", "closed")
	w.sluice("limits", "sim").want(t, 0, "they asked us to", "their maintenance", "replay", "they have mended it", "hour")
	w.documents(id)
}

// documents makes sure that what is meant for scripts is one JSON text each.
func (w *world) documents(id string) {
	w.t.Helper()
	for _, c := range []string{"status --json", "limits sim --json", "plan sim --json", "dead sim --json", "limits set sim calls --rate 20/s --dry-run --json"} {
		r := w.sluice(strings.Fields(c)...).want(w.t, 0)
		var v any
		if err := json.Unmarshal([]byte(r.out), &v); err != nil {
			w.t.Errorf("%s: %v:\n%s", c, err, r.out)
		}
	}
	var limits struct {
		Calls   map[string]int
		Went    map[string]map[string]float64 `json:"went_seconds"`
		Limits  []struct{ Used map[string]float64 }
		Changes []struct{ By, What, Why string }
	}
	if err := json.Unmarshal([]byte(w.sluice("limits", "sim", "--json").out), &limits); err != nil {
		w.t.Fatal(err)
	}
	if calls := w.sim.Stats().Calls; limits.Calls["hour"] > calls || limits.Calls["hour"] < calls*9/10 || limits.Limits[0].Used["hour"] <= 0 {
		w.t.Errorf("%d calls in the last hour, the vendor counted %d: %+v", limits.Calls["hour"], calls, limits)
	}
	if went := limits.Went["hour"]; went["limit calls"] < 3 || went["pause"] <= 0 { // how much of a pause a loaded machine notices, nobody knows
		w.t.Errorf("the limit held for seconds, and a pause for some time: %v", limits.Went)
	}
	for _, e := range limits.Changes {
		if e.By == "" || e.What == "" {
			w.t.Errorf("a change without who or what: %+v", e)
		}
	}
}

// reach waits until the vendor has seen so many calls.
func (w *world) reach(calls int) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); w.sim.Stats().Calls < calls; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d calls only", w.sim.Stats().Calls)
		}
	}
}

// between is how many calls arrived from an instant on and before another.
func (w *world) between(from, to time.Time) (n int) {
	for _, at := range w.sim.Arrivals() {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// TestPlanForPeople: before the first run it takes what it is told, after it the
// tree; what is wrong is one line.
func TestPlanForPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("plan", "sim").want(t, 2, "--tasks devices=N").line(t)
	w.sluice("plan", "sim", "--tasks", "nothing=4").want(t, 2, "there is no tier nothing").line(t)
	w.sluice("plan", "sim", "--tasks", "data").want(t, 2, "TIER=N").line(t)
	w.sluice("plan", "nosuch").want(t, 2, "there is no spec").line(t)
	first := []string{"plan", "sim", "--tasks", "devices=4", "--tasks", "datagroups=20", "--tasks", "data=60", "--latency", "1ms"}
	w.sluice(first...).want(t, 0, "85 calls", "limit calls doubled", "workers doubled", "SQS", "list prices of us-east-1")
	w.run("--no-progress").want(t, 0, "complete")
	w.sluice("plan", "sim").want(t, 0, "by the tree of run sim-20260102", "85 calls", "last run")
}

// TestBackfill reads windows one after the other, and what it has read not again.
func TestBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vendorsim.Tree{Groups: 2, Devices: 3, Datagroups: 4, Points: 1})
	args := []string{"backfill", "sim", "--set", "base=" + w.sim.URL, "--from", "2026-01-01", "--to", "2026-01-04", "--no-progress"}
	w.run("--no-progress").want(t, 0) // 2026-01-02
	w.sluice(append(args, "--dry-run")...).want(t, 0, "2026-01-02 UTC has been read", "would read 2026-01-01 UTC", "would read 2026-01-03 UTC")
	before := w.sim.Stats().Calls
	w.sluice(args...).want(t, 0, "window 2 of 2", "complete")
	if n := w.sim.Stats().Calls - before; n != 20 {
		t.Errorf("%d calls for two windows of 10", n)
	}
	w.sluice(args...).want(t, 0, "Nothing is left to read")
	w.sluice("backfill", "sim", "--from", "2026-01-01", "--to", "2026-01-04", "--step", "x").want(t, 2, "--step").line(t)
	w.sluice("backfill", "sim", "--from", "2000-01-01", "--to", "2026-01-04", "--step", "1h").want(t, 2, "1,000 windows").line(t)
	w.sluice("backfill", "sim").want(t, 2, "--from and --to").line(t)
	w.sluice("limits", "sim").want(t, 0, "backfill", "2 windows")
}

// TestBudgetByHand: a run stops within its calls, says how to go on, and does.
func TestBudgetByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.run("--no-progress", "--max-calls", "40").want(t, 3, "40 calls are used up", "sluice resume sim")
	if n := w.sim.Stats().Calls; n > 40 { // a busy machine may stop short of it: that it does not is shown in virtual time
		t.Errorf("%d calls of a budget of 40", n)
	}
	w.sluice("status", "sim").want(t, 0, "40 calls", "open")
	w.sluice("resume", "sim").want(t, 0)
	w.run("--no-progress").want(t, 0, "complete")
	if n := w.sim.Stats().Calls; n != 85 {
		t.Errorf("%d calls in all, want 85", n)
	}
	w.run("--stop-at", "25:00", "--again").want(t, 2, "time of day").line(t)
	w.run("--max-calls", "-1", "--again").want(t, 2, "--max-calls").line(t)
}

// TestResumeOfABudgetNobodyStopped: the time of a budget has come while nobody
// worked; a resume ends that as well.
func TestResumeOfABudgetNobodyStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.run("--no-progress", "--max-calls", "40").want(t, 3)
	w.sluice("resume", "sim").want(t, 0, "may be called again")
	w.sluice("resume", "sim").want(t, 0, "was not stopped")
	w.run("--no-progress", "--max-calls", "3").want(t, 3, "3 calls are used up")
	w.sluice("pause", "sim").want(t, 0)
	w.sluice("status", "sim").want(t, 0, "budget of run")
}
