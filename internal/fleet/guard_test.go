package fleet_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const fifty = "  - {name: calls, bucket: 50/s, burst: 5}\n"

func sim(tree vendorsim.Tree) *vendorsim.Sim {
	return vendorsim.New(vendorsim.Config{Tree: tree, Token: "s3cret", Latency: 50 * time.Millisecond})
}

func day(n int) fanout.Window {
	from := time.Date(1999, 12, n, 0, 0, 0, 0, time.UTC)
	return fanout.Window{From: from, To: from.AddDate(0, 0, 1)}
}

// start seeds a day and works it, for as long as given at most.
func start(t *testing.T, f *fleet.Fleet, n int, budget *vendorapi.Budget, longest time.Duration) (run.Run, run.Verdict, error) {
	t.Helper()
	r, err := f.Seed(t.Context(), day(n), false, budget, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	soft, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	v, err := w.Run(soft, context.WithoutCancel(t.Context()), r.ID)
	if closing := w.Close(); closing != nil {
		t.Error(closing)
	}
	return r, v, err
}

// TestSamples: what was done in each slice, added up, is what the vendor saw and
// the verdict says.
func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Scaled(40)
		vendor := sim(tree)
		f := simVirtual(t, fifty, vendor)
		if err := vendor.Misbehave(vendorsim.Trouble{Errors: 0.05}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r, v, err := start(t, f, 1, nil, time.Hour)
		if err != nil || !v.Settled() {
			t.Fatalf("%+v, %v", v, err)
		}
		sum, err := f.DoneIn(t.Context(), r.Opened, v.At)
		if err != nil {
			t.Fatal(err)
		}
		st, all := vendor.Stats(), sum.All()
		if all.Calls != st.Calls || all.Failed != st.Failed || all.Done != v.Done || all.Rows != v.Rows {
			t.Errorf("samples say %+v, the vendor %+v, the verdict %+v", all, st, v)
		}
		if got, want := sum.Slices, int(time.Since(began)/series.Slice); got < want || got > want+2 {
			t.Errorf("%d slices in %v", got, time.Since(began))
		}
		shown := 0
		err = f.Series().Read(t.Context(), "sim", r.Opened.Add(-time.Minute), time.Now(), func(s series.Sample) error {
			if left := s.Runs[r.ID]; left["data"].Known > 0 {
				shown = max(shown, left["data"].Ended)
			}
			return nil
		})
		if err != nil || shown < v.Known/4 {
			t.Errorf("at most %d data tasks had ended by the samples: %v", shown, err)
		}
		if d := all.Took.Quantile(0.5); d < 45*time.Millisecond || d > 56*time.Millisecond {
			t.Errorf("the median call took %v", d)
		}
		limit, whole := sum.Went["limit calls"], time.Duration(0)
		for _, d := range sum.Went {
			whole += d
		}
		if float64(limit) < 0.8*float64(whole) {
			t.Errorf("the limit binds, and the time went to %v", sum.Went)
		}
		uses, err := f.Uses(t.Context(), map[string]float64{"calls": 50}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if u := uses.Spans[0]; u.Calls < 300 || math.Abs(u.Share["calls"]-float64(u.Calls)/3000) > 0.001 {
			t.Errorf("used in the last minute: %+v", u)
		}
	})
}

// TestDrift: a tree that has changed is flagged before its leaves are paid for,
// once; a stop holds until an operator accepts it, and then for good.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Tree{Groups: 40, Devices: 80, Datagroups: 160, Points: 2}
		vendor := sim(tree)
		f := simVirtual(t, fifty+"drift: {percent: 4, then: stop}\n", vendor)
		if _, v, err := start(t, f, 1, nil, time.Hour); err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		before := vendor.Stats().Calls
		tree.Groups, tree.Devices, tree.Datagroups = 38, 76, 152
		vendor.Grow(tree)
		r, v, err := start(t, f, 2, nil, time.Hour)
		if err == nil || !strings.Contains(err.Error(), "38 tasks, 40 in the last run") {
			t.Fatalf("%+v, %v", v, err)
		}
		if calls := vendor.Stats().Calls - before; calls > 60 {
			t.Errorf("%d calls before it stopped", calls)
		}
		if flags := flagsOf(t, f, r.ID); len(flags) != 1 {
			t.Errorf("flags %q", flags)
		}
		if err := governor.Resume(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me", Why: "they have closed two sites"}); err != nil {
			t.Fatal(err)
		}
		// The tiers below are smaller as well: that is noted, and stops nobody.
		if _, v, err = start(t, f, 2, nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		if !v.Complete() {
			t.Errorf("%+v", v)
		}
		if flags := flagsOf(t, f, r.ID); len(flags) != 3 {
			t.Errorf("%d flags: %q", len(flags), flags)
		}
	})
}

func flagsOf(t *testing.T, f *fleet.Fleet, id string) []string {
	t.Helper()
	r, err := f.Runs.Store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Flags(r)
}

// TestDriftIsOfTheRunBefore: an old run that is replayed is not compared with
// runs that came after it.
func TestDriftIsOfTheRunBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Tree{Groups: 40, Devices: 40, Datagroups: 40, Points: 1}
		vendor := sim(tree)
		f := simVirtual(t, fifty+"drift: {percent: 4, then: stop}\n", vendor)
		if _, v, err := start(t, f, 1, nil, time.Hour); err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		if err := vendor.Misbehave(vendorsim.Trouble{Poison: "/datagroups/dg"}); err != nil {
			t.Fatal(err)
		}
		old, v, err := start(t, f, 2, nil, time.Hour)
		if err != nil || v.Dead == 0 {
			t.Fatalf("%+v, %v", v, err)
		}
		if err := vendor.Misbehave(vendorsim.Trouble{}); err != nil {
			t.Fatal(err)
		}
		tree.Groups, tree.Devices, tree.Datagroups = 44, 44, 44
		vendor.Grow(tree)
		newer, _, err := start(t, f, 3, nil, time.Hour)
		if err == nil || len(flagsOf(t, f, newer.ID)) == 0 {
			t.Fatalf("the run after it has grown: %v", err)
		}
		if err := governor.Resume(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me"}); err != nil {
			t.Fatal(err)
		}
		if _, v, err = start(t, f, 3, nil, time.Hour); err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		letters, err := f.Runs.Pick(t.Context(), old.ID, func(run.DeadTask) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Runs.Replay(t.Context(), old.ID, letters, run.Note{Tag: run.NewTag(), By: "me"}); err != nil {
			t.Fatal(err)
		}
		if _, v, err := start(t, f, 2, nil, time.Hour); err != nil || !v.Complete() || len(flagsOf(t, f, old.ID)) != 0 {
			t.Errorf("the replay of an old run: %+v, %v, flags %q", v, err, flagsOf(t, f, old.ID))
		}
	})
}

// TestDriftDuringAPause: what is found while somebody else has stopped the vendor
// stops it when that is over.
func TestDriftDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Tree{Groups: 40, Devices: 40, Datagroups: 40, Points: 1}
		vendor := sim(tree)
		f := simVirtual(t, fifty+"drift: {then: stop}\n", vendor)
		if _, v, err := start(t, f, 1, nil, time.Hour); err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		tree.Groups = 20
		vendor.Grow(tree)
		r, err := f.Seed(t.Context(), day(2), false, nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		small := map[string]run.Count{"groups": {Known: 1, Done: 1}, "devices": {Known: 20}}
		if err := governor.Pause(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me", Why: "tea"}); err != nil {
			t.Fatal(err)
		}
		if err := f.Guard(t.Context(), r, small); err != nil || len(flagsOf(t, f, r.ID)) > 0 {
			t.Errorf("while paused: %v, flags %q", err, flagsOf(t, f, r.ID))
		}
		if err := governor.Resume(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me"}); err != nil {
			t.Fatal(err)
		}
		if err := f.Guard(t.Context(), r, small); err != nil || len(flagsOf(t, f, r.ID)) != 1 {
			t.Errorf("afterwards: %v, flags %q", err, flagsOf(t, f, r.ID))
		}
		rep, err := f.GovernorStatus(t.Context())
		if err != nil || rep.Stop.Kind != governor.ByDrift {
			t.Errorf("the vendor is stopped by %q: %v", rep.Stop.Kind, err)
		}
	})
}

// TestDriftIsConfirmed: where counters lag, a tier that was off at two looks far
// apart and right in between has not drifted; one that stays off has.
func TestDriftIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Tree{Groups: 40, Devices: 40, Datagroups: 40, Points: 1}
		f := simVirtual(t, fifty+"drift: {percent: 4}\n", sim(tree), func(o *fleet.Options) { o.Lag = time.Minute })
		if _, v, err := start(t, f, 1, nil, time.Hour); err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		r, err := f.Seed(t.Context(), day(2), false, nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		look := func(devices, dead, flags int) {
			t.Helper()
			counts := map[string]run.Count{"groups": {Known: 1, Done: 1 - dead, Dead: dead}, "devices": {Known: devices}}
			if err := f.Guard(t.Context(), r, counts); err != nil {
				t.Fatal(err)
			}
			if got := flagsOf(t, f, r.ID); len(got) != flags {
				t.Errorf("with %d devices: flags %q, want %d", devices, got, flags)
			}
			time.Sleep(10 * time.Second)
		}
		look(50, 0, 0)
		look(40, 0, 0)
		look(50, 0, 0)
		look(50, 1, 0) // what there is below a dead task says nothing
		look(50, 0, 0)
		look(50, 0, 1)
	})
}

// TestBudgetFirst: a run whose budget could not be set has sent nothing; a run
// that takes another's place, or comes after it, is not bound by its budget.
func TestBudgetFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Scaled(80)
		vendor := sim(tree)
		f := simVirtual(t, fifty+"budget: {calls: 100}\n", vendor)
		store := f.GovernorStore().(*governortest.Model)
		store.Before = func(op string) error {
			if op == "update" {
				return errors.New("no")
			}
			return nil
		}
		if _, err := f.Seed(t.Context(), day(1), false, nil, "test"); err == nil {
			t.Error("a run begins without its budget")
		}
		store.Before = nil
		open, err := f.OpenRuns(t.Context())
		if err != nil || len(open) != 1 {
			t.Fatal(open, err)
		}
		counts, err := f.Progress(t.Context(), open[0].ID)
		if err != nil || counts["groups"].Queued != 0 {
			t.Errorf("something was sent: %+v, %v", counts, err)
		}
		if _, _, err := start(t, f, 1, nil, time.Hour); err == nil || vendor.Stats().Calls > 100 {
			t.Errorf("%d calls of a budget of 100: %v", vendor.Stats().Calls, err)
		}
		if _, err := f.Seed(t.Context(), day(2), false, &vendorapi.Budget{Calls: 10, Until: -1}, "me"); err == nil || !strings.Contains(err.Error(), "only one holds") {
			t.Errorf("a second budget beside one that is in force: %v", err)
		}
		first, err := f.Seed(t.Context(), day(1), true, nil, "test") // in the place of the one that is stopped
		if err != nil {
			t.Fatal(err)
		}
		it, err := f.GovernorStore().Load(t.Context(), "sim")
		if err != nil || it.Budget == nil || it.Budget.Run != first.ID || it.Budget.Used != 0 || it.Stop.Kind != "" {
			t.Errorf("the budget of the run that took its place: %+v, stop %q, %v", it.Budget, it.Stop.Kind, err)
		}
	})
}

// TestBudget: a run stops within its calls, and goes on when it is resumed.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := vendorsim.Scaled(40)
		vendor := sim(tree)
		f := simVirtual(t, fifty+"budget: {calls: 350}\n", vendor)
		r, v, err := start(t, f, 1, nil, time.Hour)
		if err == nil || !strings.Contains(err.Error(), "budget") {
			t.Fatalf("%+v, %v", v, err)
		}
		if calls := vendor.Stats().Calls; calls > 350 || calls < 340 {
			t.Errorf("%d calls of a budget of 350", calls)
		}
		if _, _, err := start(t, f, 1, nil, time.Hour); err == nil {
			t.Error("it goes on though nobody has resumed it")
		}
		if err := governor.Resume(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me"}); err != nil {
			t.Fatal(err)
		}
		r2, v, err := start(t, f, 1, nil, time.Hour)
		if err != nil || !v.Complete() || r2.ID != r.ID {
			t.Errorf("%+v, %v", v, err)
		}
		if calls := vendor.Stats().Calls; calls != tree.Calls() {
			t.Errorf("%d calls in all, want %d", calls, tree.Calls())
		}
		// A time of day, asked for by hand some seconds before it.
		at := time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
		time.Sleep(time.Until(at) - 8*time.Second)
		until := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
		_, v, err = start(t, f, 2, &vendorapi.Budget{Until: until}, time.Hour)
		if err == nil || !strings.Contains(err.Error(), "budget") {
			t.Errorf("%+v, %v", v, err)
		}
		if last := vendor.Stats().Last; last.After(at) || last.Before(at.Add(-2*time.Second)) {
			t.Errorf("the last call at %v, the budget ended at %v", last, at)
		}
	})
}

// TestPauseIsTime: the time in which nobody may call is told as such, and not as
// one in which nobody was at work.
func TestPauseIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simVirtual(t, fifty, sim(vendorsim.Scaled(40)))
		time.AfterFunc(5*time.Second, func() {
			if err := governor.Pause(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me", Why: "tea"}); err != nil {
				t.Error(err)
			}
		})
		time.AfterFunc(65*time.Second, func() {
			if err := governor.Resume(t.Context(), f.GovernorStore(), "sim", governor.Note{By: "me"}); err != nil {
				t.Error(err)
			}
		})
		r, v, err := start(t, f, 1, nil, time.Hour)
		if err != nil || !v.Complete() {
			t.Fatalf("%+v, %v", v, err)
		}
		sum, err := f.DoneIn(t.Context(), r.Opened, v.At)
		if err != nil {
			t.Fatal(err)
		}
		took, whole := v.At.Sub(r.Opened), time.Duration(0)
		for _, d := range sum.Went {
			whole += d
		}
		if p := sum.Went["pause"]; p < 57*time.Second || p > 61*time.Second || whole > took+time.Second || whole < took*9/10 {
			t.Errorf("of %v, %v are told: %v", took, whole, sum.Went)
		}
	})
}
