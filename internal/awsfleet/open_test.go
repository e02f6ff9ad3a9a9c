package awsfleet_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/run"
)

// nth lets a fault happen to the n-th request.
func nth(n int, f awstest.Fault, hit *bool) func(int, awstest.Request) awstest.Fault {
	return func(i int, _ awstest.Request) awstest.Fault {
		if i != n {
			return awstest.Fault{}
		}
		*hit = true
		return f
	}
}

// TestCreateDies: whoever creates a run dies at every request in turn, before
// and after it took effect; somebody else's Create then finds it all in order.
func TestCreateDies(t *testing.T) {
	for name, fault := range map[string]awstest.Fault{"before": awstest.Before, "after": awstest.After} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, again %v", name, again), func(t *testing.T) {
				t.Parallel()
				s, v := open(t, "a")
				other := s.Open(t, "AKIAOTHER").Use(v.Stack())
				for n := 0; createDies(t, s, v, other, n, again, fault); n++ {
				}
			})
		}
	}
}

func createDies(t *testing.T, s *awstest.Servers, v, other *awsfleet.Vendor, n int, again bool, fault awstest.Fault) (hit bool) {
	ctx := t.Context()
	id := func(what string) string { return fmt.Sprintf("%s%02d", what, n) }
	if again {
		_, err := v.Runs().Create(ctx, newRun(id("old"), n, "a"), false)
		ok(t, err)
	}
	s.ResetRecord()
	s.Inject(nth(n, fault, &hit))
	_, died := v.Runs().Create(ctx, newRun(id("mine"), n, "a"), again)
	s.Inject(nil)
	if hit == (died == nil) {
		t.Fatalf("request %d failed: %v; the error is %v", n, hit, died)
	}
	got, err := other.Runs().Create(ctx, newRun(id("theirs"), n, "a"), false)
	ok(t, err)
	want := []string{id("mine"), id("theirs")} // by whether the window's row was written
	if again {
		want[1] = id("old")
	}
	if got.State != run.Open || !slices.Contains(want, got.ID) {
		t.Errorf("request %d: the window has run %s, %s; want one of %v, open", n, got.ID, got.State, want)
	}
	if again && got.ID == id("mine") {
		if old, err := other.Runs().Get(ctx, id("old")); err != nil || old.State != run.Superseded {
			t.Errorf("request %d: the run that was replaced is %s, %v", n, old.State, err)
		}
	}
	all, err := other.Runs().List(ctx, vendor)
	ok(t, err)
	if !slices.ContainsFunc(all, func(r run.Run) bool { return r.ID == got.ID }) {
		t.Errorf("request %d: run %s is not listed", n, got.ID)
	}
	open, err := other.OpenRuns(ctx)
	if err != nil || len(open) != 1 || open[0].ID != got.ID {
		t.Errorf("request %d: open runs %v, %v; want %s", n, open, err, got.ID)
	}
	ok(t, other.Runs().Finish(ctx, got.ID, got.Rev, run.Verdict{At: time.Now()}))
	unopened(t, other)
	return hit
}

// unopened says that no run is open or named as open.
func unopened(t *testing.T, v *awsfleet.Vendor) {
	t.Helper()
	if open, err := v.Ledger(vendor).AnyOpen(t.Context()); err != nil || open {
		t.Errorf("an open run: %v, %v", open, err)
	}
	if open, _, err := v.Peek(t.Context(), "a", 1); err != nil || open {
		t.Errorf("a name is left among the runs that may be open: %v, %v", open, err)
	}
}

// TestOpenDies: the same for who opens and closes a run. After each death the
// run is as it was or as it was to be, and named while it is open.
func TestOpenDies(t *testing.T) {
	t.Parallel()
	s, v, r := opened(t, "a")
	ctx := t.Context()
	state := func() run.Run {
		got, err := v.Runs().Get(ctx, r.ID)
		ok(t, err)
		return got
	}
	closeIt := func() error {
		now, err := v.Runs().Get(ctx, r.ID)
		if err != nil {
			return err
		}
		return v.Runs().Finish(ctx, r.ID, now.Rev, run.Verdict{At: time.Now()})
	}
	for _, fault := range []awstest.Fault{awstest.Before, awstest.After} {
		for _, do := range []func() error{closeIt, func() error { return v.Runs().Open(ctx, r.ID) }} {
			for n, hit := 0, true; hit; n++ {
				hit = false
				s.ResetRecord()
				s.Inject(nth(n, fault, &hit))
				if err := do(); hit == (err == nil) {
					t.Fatalf("request %d failed: %v; the error is %v", n, hit, err)
				}
				s.Inject(nil)
				open, err := v.Ledger(vendor).AnyOpen(ctx)
				if is := state().State == run.Open; err != nil || open != is {
					t.Errorf("request %d: the run is open: %v; AnyOpen says %v, %v", n, is, open, err)
				}
			}
		}
		ok(t, closeIt())
		unopened(t, v)
		ok(t, v.Runs().Open(ctx, r.ID))
	}
}

// TestOpenRace: two processes create, open and finish runs, and die in the
// middle of it. A run that is open is never missing from the open runs.
func TestOpenRace(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor, "a")
	one, two := s.Open(t, "AKIAONE").Use(stack), s.Open(t, "AKIATWO").Use(stack)
	watch := s.Open(t, "AKIAWATCH").Use(stack)
	s.Inject(func(_ int, r awstest.Request) awstest.Fault {
		switch {
		case r.Key == "AKIAWATCH" || rand.N(8) > 0:
			return awstest.Fault{}
		case rand.N(2) == 0:
			return awstest.Before
		}
		return awstest.After
	})
	var wg sync.WaitGroup
	end := time.Now().Add(20 * time.Second)
	var done atomic.Bool
	for i, v := range []*awsfleet.Vendor{one, two, one, two} {
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				tamper(t, v, fmt.Sprintf("r%d-%03d", i, n))
			}
		})
	}
	seen := 0
	for seen < 200 && time.Now().Before(end) {
		seen += watchOpen(t, watch)
	}
	done.Store(true)
	wg.Wait()
	s.Inject(nil)
	t.Logf("%d looks at open runs, %d requests", seen, len(s.Record()))
	if seen < 10 {
		t.Error("hardly an open run was seen")
	}
	for w := range windows {
		_, err := watch.Runs().Create(t.Context(), newRun(fmt.Sprint("last", w), w, "a"), false)
		ok(t, err)
	}
	all, err := watch.Runs().List(t.Context(), vendor)
	ok(t, err)
	for _, r := range all {
		ok(t, watch.Runs().Finish(t.Context(), r.ID, r.Rev, run.Verdict{At: time.Now()}))
	}
	unopened(t, watch)
}

const windows = 3

// tamper does one thing to the runs. It may fail at any request.
func tamper(t *testing.T, v *awsfleet.Vendor, id string) {
	ctx := t.Context()
	all, err := v.Runs().List(ctx, vendor)
	if err != nil {
		return
	}
	what := rand.N(10)
	if len(all) < windows || what == 0 {
		_, _ = v.Runs().Create(ctx, newRun(id, rand.N(windows), "a"), rand.N(2) == 0)
		return
	}
	r := all[rand.N(min(len(all), 6))]
	switch {
	case what < 4:
		err = v.Runs().Open(ctx, r.ID)
	case what < 8:
		err = v.Runs().Finish(ctx, r.ID, r.Rev, run.Verdict{At: time.Now()})
	default:
		_, err = v.Ledger(vendor).AnyOpen(ctx)
	}
	if errors.Is(err, run.ErrNoRun) {
		t.Errorf("a listed run is not there: %v", err)
	}
}

// watchOpen looks at the open runs. A run that was open before and after, at
// one revision, was open all the time.
func watchOpen(t *testing.T, v *awsfleet.Vendor) (seen int) {
	ctx := t.Context()
	before, err := v.Runs().List(ctx, vendor)
	ok(t, err)
	maybe, _, err := v.Peek(ctx, "a", 1)
	ok(t, err)
	open, err := v.OpenRuns(ctx)
	ok(t, err)
	after, err := v.Runs().List(ctx, vendor)
	ok(t, err)
	for _, r := range before {
		same := func(o run.Run) bool { return o.ID == r.ID && o.State == run.Open && o.Rev == r.Rev }
		if r.State != run.Open || !slices.ContainsFunc(after, same) {
			continue
		}
		seen++
		if !maybe || !slices.ContainsFunc(open, same) {
			t.Errorf("run %s is open at revision %d and missing from the open runs", r.ID, r.Rev)
		}
	}
	return seen
}
