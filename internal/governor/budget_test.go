package governor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

func setBudget(t *testing.T, f *fleet, b governor.Budget) {
	t.Helper()
	if err := governor.SetBudget(t.Context(), f.store, "v", b, me); err != nil {
		t.Fatal(err)
	}
}

// stopped is the stop that is written in the item.
func stopped(t *testing.T, f *fleet) governor.Stop {
	t.Helper()
	it, err := f.store.Load(t.Context(), "v")
	if err != nil {
		t.Fatal(err)
	}
	return it.Stop
}

// The vendors of the budget's tests: with a rate, and with places in flight only.
func budgetLimits() map[string][]governor.Limit {
	return map[string][]governor.Limit{
		"rate":      {bucket(50, 5)},
		"slow":      {{Name: "s", Kind: governor.Spacing, Count: 1, Per: 700 * time.Millisecond}},
		"in flight": {{Name: "f", InFlight: 8}},
	}
}

// A budget of calls is used up to the last one and never passed, by several
// processes; then everybody is told why there are no more, once in the log.
func TestBudgetOfCalls(t *testing.T) {
	t.Parallel()
	for name, limits := range budgetLimits() {
		for _, calls := range []int64{1, 7, 150} {
			if name == "slow" && calls > 7 {
				continue
			}
			t.Run(fmt.Sprint(name, calls), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, limits...)
					setBudget(t, f, governor.Budget{Run: "r1", Calls: calls})
					for range 3 {
						f.add(20)
					}
					time.Sleep(12 * time.Second)
					checkUsedUp(t, f, calls)
					if err := governor.Resume(t.Context(), f.store, "v", me); err != nil {
						t.Fatal(err)
					}
					time.Sleep(6 * time.Second)
					if r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0); err != nil || r.Budget != nil {
						t.Errorf("a resume leaves the budget %v (%v)", r.Budget, err)
					}
					if n := len(f.close()); n <= int(calls)+5 {
						t.Errorf("%d calls after the resume", n-int(calls))
					}
				})
			})
		}
	}
}

func checkUsedUp(t *testing.T, f *fleet, calls int64) {
	t.Helper()
	n := int64(len(f.vendor.Arrivals()))
	if n > calls {
		t.Errorf("%d calls of a budget of %d", n, calls)
	}
	if n < calls-calls/20 {
		t.Errorf("only %d calls of a budget of %d%s", n, calls, f.figures())
	}
	why := fmt.Sprintf("the budget of run r1: %d calls are used up", calls)
	if s := stopped(t, f); s.Kind != governor.ByBudget || s.Why != why {
		t.Errorf("stopped: %+v", s)
	}
	if _, err := f.members[0].Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) || !strings.Contains(err.Error(), why) {
		t.Errorf("Take: %v", err)
	}
	if o, err := f.members[1].Outlook(t.Context(), "", time.Second); err != nil || o.Hold != fanout.Stopped || o.Why != why || o.Calls != 0 {
		t.Errorf("outlook: %+v, %v", o, err)
	}
	r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
	if err != nil || len(r.Log) != 2 || r.Log[0].What != "budget" || r.Log[0].New != fmt.Sprintf("run r1: %d calls", calls) || r.Log[1].New != "budget" {
		t.Errorf("log %+v, %v", r.Log, err)
	}
}

// No call at or after the end, whether anything is left or not.
func TestBudgetsEnd(t *testing.T) {
	t.Parallel()
	for name, limits := range budgetLimits() {
		for _, calls := range []int64{0, 10_000} {
			t.Run(fmt.Sprint(name, calls), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, limits...)
					f.jitter = 0
					end := time.Now().Add(10 * time.Second)
					setBudget(t, f, governor.Budget{Run: "r1", Calls: calls, Until: end})
					for range 3 {
						f.add(20)
					}
					time.Sleep(20 * time.Second)
					if s := stopped(t, f); s.Kind != governor.ByBudget || s.Why != "the budget of run r1 ended at "+end.UTC().Format("2006-01-02 15:04 UTC") {
						t.Errorf("stopped: %+v", s)
					}
					all := f.close()
					if n := f.vendor.Between(end, end.Add(time.Hour)); n > 0 || len(all) < 10 {
						t.Errorf("%d calls, %d of them at or after the end", len(all), n)
					}
					if name != "slow" && f.vendor.Between(end.Add(-500*time.Millisecond), end) == 0 {
						t.Error("no call in the last half second")
					}
				})
			})
		}
	}
}

// The budget is kept through brakes, outages with their probes, crashes, slow
// and failing writes, and budgets that follow each other.
func TestBudgetUnderFaults(t *testing.T) {
	t.Parallel()
	for name, limits := range budgetLimits() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, limits...)
				rnd := rand.New(rand.NewPCG(1, 2))
				made := 0
				for round := range 4 {
					const calls = 60
					setBudget(t, f, governor.Budget{Run: fmt.Sprint("r", round), Calls: calls})
					before := len(f.vendor.Arrivals())
					for range 3 {
						f.add(15)
					}
					for range 12 {
						trouble(t, f, f.members[len(f.members)-1-rnd.IntN(3)], rnd)
						time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
					}
					time.Sleep(20 * time.Second)
					n := len(f.vendor.Arrivals()) - before
					if made += n; n > calls {
						t.Errorf("round %d: %d calls of a budget of %d", round, n, calls)
					}
					for _, m := range f.members {
						m.crash()
					}
					time.Sleep(45 * time.Second) // until nobody has leased a place
				}
				if f.close(); made < 90 {
					t.Errorf("%d calls in all: the test shows little", made)
				}
			})
		})
	}
}

// trouble makes some for a process.
func trouble(t *testing.T, f *fleet, m *member, rnd *rand.Rand) {
	switch rnd.IntN(5) {
	case 0:
		_ = m.Throttled(t.Context(), time.Now(), time.Second)
	case 1:
		_ = m.Outage(t.Context(), "down")
		for range 4 {
			time.Sleep(500 * time.Millisecond)
			_, _ = m.Probe(t.Context(), fanout.Call{}, func(context.Context) error { f.vendor.Begin()(); return nil })
		}
	case 2:
		if rnd.IntN(3) == 0 {
			m.crash()
		}
	case 3: // writes that count, and whose answer is lost
		m.lost.Store(int64(rnd.IntN(4)))
	default:
		m.slow.Store(int64(time.Duration(rnd.IntN(400)) * time.Millisecond))
	}
}

// What the same run has used stays used; another run begins anew, and one that
// stopped the vendor does not stop the next.
func TestBudgetOfTheSameRun(t *testing.T) {
	t.Parallel()
	for name, limits := range budgetLimits() {
		if name == "slow" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, limits...)
				f.add(20)
				want := 0
				for _, b := range []struct {
					run   string
					calls int64
					more  int
				}{{"a", 40, 40}, {"a", 60, 20}, {"a", 50, 0}, {"b", 30, 30}} {
					setBudget(t, f, governor.Budget{Run: b.run, Calls: b.calls})
					if s := stopped(t, f); s.Kind != "" {
						t.Errorf("another budget leaves the stop %+v", s)
					}
					want += b.more
					time.Sleep(10 * time.Second)
					// Those of the process that has not heard yet come on top of a change.
					if n := len(f.vendor.Arrivals()); n != want {
						t.Errorf("run %s, %d calls: %d in all, want %d", b.run, b.calls, n, want)
					}
				}
				setBudget(t, f, governor.Budget{})
				time.Sleep(5 * time.Second)
				if n := len(f.close()); n < want+100 {
					t.Errorf("%d calls after the budget was taken away", n-want)
				}
			})
		})
	}
}

// Where nothing is booked a budget costs a write for each block of calls, and
// nothing when there is none.
func TestBudgetsWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, governor.Limit{Name: "f", InFlight: 8})
		m := f.add(20)
		time.Sleep(5 * time.Second)
		if w := m.Stats().Writes["book"]; w != 0 {
			t.Errorf("%d bookings without a budget", w)
		}
		setBudget(t, f, governor.Budget{Run: "r", Calls: 1_000_000})
		time.Sleep(30 * time.Second)
		s := m.Stats()
		if calls, w := s.Used, s.Writes["book"]; w == 0 || w > calls/30 {
			t.Errorf("%d bookings for some %d calls", w, calls)
		}
		f.close()
		it, _ := f.store.Load(t.Context(), "v")
		made := int64(len(f.vendor.Arrivals()))
		if it.Budget.Used > made {
			t.Errorf("after the end %d are counted, of %d calls in all", it.Budget.Used, made)
		}
	})
}

func TestSetBudgetRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(1, 1))
		if err := governor.SetBudget(t.Context(), f.store, "v", governor.Budget{Calls: -1}, me); err == nil {
			t.Error("a negative budget is taken")
		}
		setBudget(t, f, governor.Budget{}) // there is none: nothing to write
		if w, _ := f.store.Counts(); w != 0 {
			t.Errorf("%d writes", w)
		}
		f.close()
	})
}

// Calls that were booked under one budget are not made under another.
func TestBudgetsAreApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, governor.Limit{Name: "f", InFlight: 8})
		setBudget(t, f, governor.Budget{Run: "a", Calls: 1000})
		m := f.add(0)
		permit, err := m.Take(t.Context(), fanout.Call{})
		if err != nil {
			t.Fatal(err)
		}
		m.call(permit.Release)
		if it, _ := f.store.Load(t.Context(), "v"); it.Budget.Used < 20 {
			t.Fatalf("%d calls are booked: the test shows nothing", it.Budget.Used)
		}
		setBudget(t, f, governor.Budget{Run: "b", Calls: 10})
		time.Sleep(1100 * time.Millisecond) // longer than it trusts what it knows
		for range 20 {
			m.wg.Go(m.callAlways)
		}
		time.Sleep(10 * time.Second)
		if n := len(f.close()) - 1; n != 10 {
			t.Errorf("%d calls of a budget of 10", n)
		}
	})
}
