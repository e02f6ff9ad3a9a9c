// Package runtest is the conformance suite of run.Store.
package runtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// Settings tell the suite what a backend is like.
type Settings struct {
	Parallel bool // its tests run beside each other
	Rough    bool // the backend's count of what is queued may lag
}

// A Place is a fresh backend: the store with the ledger and the queues that
// belong to it, of one vendor with the tiers "a" and "b".
type Place struct {
	Store  run.Store
	Ledger fanout.Ledger
	Queue  func(tier string) fanout.Queue
	Vendor string
}

// TestStore is the contract of run.Store as tests. open returns a fresh place.
func TestStore(t *testing.T, s Settings, open func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, p place)
	}{
		{"a window has one run", oneRun},
		{"another run takes the place of the first", again},
		{"of many creators one wins", manyCreators},
		{"newest first", newestFirst},
		{"a verdict closes what is settled", closing},
		{"a verdict older than an opening is refused", oldVerdict},
		{"a long verdict is kept", longVerdict},
		{"what is closed is opened", opening},
		{"any open run", anyOpen},
		{"marks", marks},
		{"the whole ledger", wholeLedger},
		{"dead letters", deadLetters},
		{"the next life", nextLife},
		{"many lives at once", manyLives},
		{"discarded for good", discarding},
		{"a verdict older than a discarding is refused", oldDead},
		{"what a redrive reopens opens its run", redriving},
		{"the history of a task", history},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s.Parallel {
				t.Parallel()
			}
			c.test(t, place{open(t)})
		})
	}
	t.Run("counts", func(t *testing.T) {
		if s.Parallel {
			t.Parallel()
		}
		counts(t, s, place{open(t)})
	})
}

type place struct{ Place }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// run is a new run of the n-th day.
func (p place) run(id string, n int) run.Run {
	w := fanout.Window{From: day0.AddDate(0, 0, n), To: day0.AddDate(0, 0, n+1)}
	seed := fanout.Task{ID: fanout.TaskID(id, "a", nil), Run: id, Tier: "a", Life: 1, Window: w}
	return run.Run{
		ID: id, Vendor: p.Vendor, Window: w, Tiers: []string{"a", "b"}, Seeds: []fanout.Task{seed},
		Opened: time.Now().UTC(), State: run.Open, Origin: run.Origin{Spec: "v.yaml", Settings: []string{"base=http://x"}},
	}
}

// create makes a run that is newer than those before it.
func (p place) create(t *testing.T, id string, n int, again bool) run.Run {
	t.Helper()
	time.Sleep(time.Millisecond)
	r, err := p.Store.Create(t.Context(), p.run(id, n), again)
	ok(t, err)
	return r
}

func (p place) get(t *testing.T, id string) run.Run {
	t.Helper()
	r, err := p.Store.Get(t.Context(), id)
	ok(t, err)
	return r
}

func (p place) open(t *testing.T, want bool) {
	t.Helper()
	if open, err := p.Ledger.AnyOpen(t.Context()); err != nil || open != want {
		t.Errorf("an open run: %v, %v; want %v", open, err, want)
	}
}

// settled is a verdict that closes a run, unsettled one that does not.
func settled() run.Verdict {
	return run.Verdict{At: time.Now().UTC().Round(time.Microsecond), Seeds: 1, Known: 1, Done: 1, Hidden: -1, Tiers: []run.TierSum{{Tier: "a", Known: 1, Done: 1}}}
}

func unsettled() run.Verdict {
	return run.Verdict{At: time.Now().UTC(), Seeds: 1, Known: 1, Missing: 1, Hidden: -1, MissingNames: []string{"a (root)"}}
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func oneRun(t *testing.T, p place) {
	want := p.run("r1", 0)
	got, err := p.Store.Create(t.Context(), want, false)
	ok(t, err)
	if !same(got, want) || got.Previous != "" {
		t.Errorf("created %+v, want %+v", got, want)
	}
	if got := p.get(t, "r1"); !same(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	if got := p.create(t, "r2", 0, false); got.ID != "r1" {
		t.Errorf("the same window has run %s, want r1", got.ID)
	}
	for _, id := range []string{"r2", "", "r1/x"} {
		if _, err := p.Store.Get(t.Context(), id); !errors.Is(err, run.ErrNoRun) {
			t.Errorf("run %q: %v, want ErrNoRun", id, err)
		}
	}
	if got := p.create(t, "r3", 1, false); got.ID != "r3" || got.Previous != "r1" {
		t.Errorf("the next window has run %s after %q, want r3 after r1", got.ID, got.Previous)
	}
}

func again(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	got := p.create(t, "r2", 0, true)
	if got.ID != "r2" || got.State != run.Open || got.Previous != "r1" {
		t.Errorf("%+v, want r2, open, after r1", got)
	}
	if old := p.get(t, "r1"); old.State != run.Superseded {
		t.Errorf("the first run is %s", old.State)
	}
	if got := p.create(t, "r9", 0, false); got.ID != "r2" {
		t.Errorf("the window has run %s, want r2", got.ID)
	}
	ok(t, p.Store.Finish(t.Context(), "r2", 0, settled()))
	p.create(t, "r3", 0, true)
	if old := p.get(t, "r2"); old.State != run.Closed {
		t.Errorf("a closed run that was replaced is %s", old.State)
	}
	if err := p.Store.Open(t.Context(), "r1"); !errors.Is(err, run.ErrSuperseded) {
		t.Errorf("opening a superseded run: %v", err)
	}
	// Its late verdict is recorded, and opens or closes nothing.
	ok(t, p.Store.Finish(t.Context(), "r1", 0, settled()))
	if old := p.get(t, "r1"); old.State != run.Superseded || old.Verdict == nil {
		t.Errorf("after its verdict the superseded run is %s, verdict %v", old.State, old.Verdict)
	}
}

func manyCreators(t *testing.T, p place) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for i := range 6 {
		wg.Go(func() {
			r, err := p.Store.Create(t.Context(), p.run(fmt.Sprint("r", i), 0), false)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			ids[r.ID] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	all, err := p.Store.List(t.Context(), p.Vendor)
	if err != nil || len(ids) != 1 || len(all) != 1 {
		t.Errorf("creators got %v, listed are %d, %v; want one run", ids, len(all), err)
	}
}

func newestFirst(t *testing.T, p place) {
	for i := range 5 {
		p.create(t, fmt.Sprint("r", i), (i*3)%5, false)
	}
	for _, vendor := range []string{p.Vendor, ""} {
		all, err := p.Store.List(t.Context(), vendor)
		ok(t, err)
		var ids []string
		for _, r := range all {
			ids = append(ids, r.ID)
		}
		if want := []string{"r4", "r3", "r2", "r1", "r0"}; !slices.Equal(ids, want) {
			t.Errorf("vendor %q: %v, want %v", vendor, ids, want)
		}
	}
	if all, err := p.Store.List(t.Context(), "another"); err != nil || len(all) > 0 {
		t.Errorf("another vendor has %d runs, %v", len(all), err)
	}
}

func closing(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	v := unsettled()
	ok(t, p.Store.Finish(t.Context(), "r1", 0, v))
	if r := p.get(t, "r1"); r.State != run.Open || r.Verdict == nil || !same(*r.Verdict, v) || !r.Closed.IsZero() {
		t.Errorf("after an unsettled verdict: %+v", r)
	}
	p.open(t, true)
	v = settled()
	for range 2 { // the second time as after an error that was none
		ok(t, p.Store.Finish(t.Context(), "r1", 0, v))
		if r := p.get(t, "r1"); r.State != run.Closed || !same(*r.Verdict, v) || !r.Closed.Equal(v.At) {
			t.Errorf("after a settled verdict: %+v", r)
		}
		p.open(t, false)
	}
	if st := p.look(t, task("r1", "a")); st.RunOpen {
		t.Error("the ledger says that the closed run is open")
	}
	if err := p.Store.Finish(t.Context(), "r9", 0, v); !errors.Is(err, run.ErrNoRun) {
		t.Errorf("a verdict of no run: %v", err)
	}
}

func oldVerdict(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	ok(t, p.Store.Open(t.Context(), "r1"))
	rev := p.get(t, "r1").Rev
	for _, v := range []run.Verdict{settled(), unsettled()} {
		if err := p.Store.Finish(t.Context(), "r1", rev-1, v); !errors.Is(err, run.ErrChanged) {
			t.Errorf("a verdict older than the opening: %v, want ErrChanged", err)
		}
	}
	if r := p.get(t, "r1"); r.State != run.Open || r.Verdict != nil {
		t.Errorf("%+v, want it open and without a verdict", r)
	}
	ok(t, p.Store.Finish(t.Context(), "r1", rev, settled()))
}

func longVerdict(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	v := settled()
	for i := range 100 {
		v.GoneNames = append(v.GoneNames, fmt.Sprintf("b %01000d", i))
		v.DeadNames = append(v.DeadNames, fmt.Sprintf("b %09000d", i))
		v.DiscardedNames = append(v.DiscardedNames, fmt.Sprintf("b %09000d", i))
	}
	ok(t, p.Store.Finish(t.Context(), "r1", 0, v))
	r := p.get(t, "r1")
	if r.Verdict == nil || r.Verdict.Known != v.Known || len(r.Verdict.GoneNames) == 0 || len(r.Verdict.DeadNames) == 0 || len(r.Verdict.DiscardedNames) == 0 {
		t.Error("the verdict has not come back")
	}
}

func opening(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	before := p.get(t, "r1").Rev
	ok(t, p.Store.Finish(t.Context(), "r1", before, settled()))
	ok(t, p.Store.Open(t.Context(), "r1"))
	r := p.get(t, "r1")
	if r.State != run.Open || r.Rev <= before || r.Verdict == nil {
		t.Errorf("%+v, want it open, at a later revision than %d, with its last verdict", r, before)
	}
	p.open(t, true)
	if st := p.look(t, task("r1", "a")); !st.RunOpen {
		t.Error("the ledger says that the run is not open")
	}
	if err := p.Store.Open(t.Context(), "r9"); !errors.Is(err, run.ErrNoRun) {
		t.Errorf("opening no run: %v", err)
	}
}

func anyOpen(t *testing.T, p place) {
	p.open(t, false)
	p.create(t, "r1", 0, false)
	p.create(t, "r2", 1, false)
	p.open(t, true)
	ok(t, p.Store.Finish(t.Context(), "r1", 0, settled()))
	p.open(t, true)
	p.create(t, "r3", 1, true)
	p.open(t, true)
	ok(t, p.Store.Finish(t.Context(), "r3", 0, settled()))
	p.open(t, false)
	ok(t, p.Store.Open(t.Context(), "r1"))
	p.open(t, true)
	ok(t, p.Store.Finish(t.Context(), "r1", p.get(t, "r1").Rev, settled()))
	p.open(t, false)
}

// marks: each is noted once, and outlives closing and opening.
func marks(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	for i, want := range []bool{true, false, true} {
		first, err := p.Store.Mark(t.Context(), "r1", []string{"drift a", "drift a", "budget"}[i])
		if ok(t, err); first != want {
			t.Errorf("mark %d is the first: %v", i, first)
		}
	}
	ok(t, p.Store.Finish(t.Context(), "r1", 0, settled()))
	ok(t, p.Store.Open(t.Context(), "r1"))
	got := slices.Clone(p.get(t, "r1").Marks)
	slices.Sort(got)
	if !slices.Equal(got, []string{"budget", "drift a"}) {
		t.Errorf("marks %q", got)
	}
	if _, err := p.Store.Mark(t.Context(), "nobody", "x"); !errors.Is(err, run.ErrNoRun) {
		t.Errorf("marking a run that is not there: %v", err)
	}
}
