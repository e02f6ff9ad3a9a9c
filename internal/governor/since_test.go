package governor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

// A budget stops the vendor when it is over, not when somebody looks or writes
// it down; and a resume ends such a stop, too.
func TestSinceWhenABudgetStops(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calls int64
		until time.Duration
		works bool          // somebody is there to use the budget up
		since time.Duration // after it was set
	}{
		"its end":                {until: time.Minute, since: time.Minute},
		"its end was before":     {until: -time.Minute},
		"used up":                {calls: 50, works: true, since: time.Second},
		"used up before its end": {calls: 50, until: time.Hour, works: true, since: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, bucket(50, 5))
				at := time.Now()
				b := governor.Budget{Run: "r1", Calls: c.calls}
				if c.until != 0 {
					b.Until = at.Add(c.until)
				}
				setBudget(t, f, b)
				if c.works {
					m := f.add(20)
					time.Sleep(1500 * time.Millisecond)
					m.crash() // before it could write anything down
				}
				for _, look := range []time.Duration{2 * time.Minute, 3 * time.Hour} {
					time.Sleep(time.Until(at.Add(look)))
					checkSince(t, f, at.Add(c.since))
				}
				m := f.add(0) // somebody comes, and writes it down
				_, _ = m.Take(t.Context(), fanout.Call{})
				time.Sleep(3 * time.Second)
				if s := stopped(t, f); s.Kind != governor.ByBudget {
					t.Errorf("nobody writes it down: %+v", s)
				}
				checkSince(t, f, at.Add(c.since))
				f.close()
				checkOrder(t, f)
			})
		})
	}
}

func checkSince(t *testing.T, f *fleet, want time.Time) {
	t.Helper()
	it, err := f.store.Load(t.Context(), "v")
	if err != nil {
		t.Fatal(err)
	}
	s := governor.Stopped(it, time.Now())
	if d := s.At.Sub(want).Abs(); s.Kind != governor.ByBudget || s.Why == "" || d > 200*time.Millisecond {
		t.Errorf("%v later: %+v, want since %v", time.Since(want), s, want)
	}
	r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
	if err != nil || !r.Stop.At.Equal(s.At) || r.Stop.Why != s.Why {
		t.Errorf("the status says %+v (%v), want %+v", r.Stop, err, s)
	}
}

// checkOrder: the log is in the order in which things were written.
func checkOrder(t *testing.T, f *fleet) {
	t.Helper()
	r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
	if err != nil || len(r.Log) != 2 || r.Log[1].What != "stop" || time.Since(r.Log[1].At) > time.Minute {
		t.Errorf("log %+v, %v", r.Log, err)
	}
}

func TestResumeOfAnUnwrittenStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 5))
		setBudget(t, f, governor.Budget{Run: "r1", Until: time.Now().Add(time.Second)})
		state := func() (governor.Item, governor.Stop) {
			it, err := f.store.Load(t.Context(), "v")
			if err != nil {
				t.Fatal(err)
			}
			return it, governor.Stopped(it, time.Now())
		}
		if _, s := state(); s != (governor.Stop{}) {
			t.Errorf("stopped before the end: %+v", s)
		}
		time.Sleep(time.Hour)
		if it, s := state(); it.Stop.Kind != "" || s.Kind != governor.ByBudget {
			t.Fatalf("%+v, written %+v: the test shows nothing", s, it.Stop)
		}
		for range 2 { // the second does nothing
			if err := governor.Resume(t.Context(), f.store, "v", me); err != nil {
				t.Fatal(err)
			}
			it, s := state()
			if s != (governor.Stop{}) || it.Budget != nil || len(it.Log) != 2 || it.Log[1].What != "resume" || it.Log[1].Old != "budget" || it.Log[1].By != "me" {
				t.Errorf("stop %+v, budget %v, log %+v", s, it.Budget, it.Log)
			}
		}
		f.close()
	})
}
