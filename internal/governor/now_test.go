package governor_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// What binds, in every situation that there is.
func TestNow(t *testing.T) {
	t.Parallel()
	halt := func(kind governor.StopKind) func(*testing.T, *fleet) {
		return func(t *testing.T, f *fleet) {
			if err := governor.Halt(t.Context(), f.store, "v", kind, "so", me); err != nil {
				t.Fatal(err)
			}
		}
	}
	rates := []governor.Limit{bucket(20, 5), window(3000, time.Minute), {Name: "f", InFlight: 30}}
	for name, c := range map[string]struct {
		limits  []governor.Limit
		callers int
		do      func(t *testing.T, f *fleet)
		want    string
	}{
		"nobody waits": {rates, 0, nil, ""},
		"a rate":       {rates, 60, nil, "limit b"},
		"another rate, eased": {rates, 60, func(t *testing.T, f *fleet) {
			err := governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: "w", Count: 600, Per: time.Minute}, rates[1], me)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}, "limit w"},
		"places":         {[]governor.Limit{bucket(200, 5), {Name: "f", InFlight: 2}}, 60, nil, "in flight f"},
		"places only":    {[]governor.Limit{{Name: "f", InFlight: 2}, {Name: "g", InFlight: 1}}, 60, nil, "in flight g"},
		"own places":     {[]governor.Limit{bucket(2000, 50)}, 90, func(_ *testing.T, f *fleet) { time.Sleep(3 * time.Second) }, "in flight"},
		"a brake":        {rates, 60, func(t *testing.T, f *fleet) { _ = f.members[0].Throttled(t.Context(), time.Now(), 9*time.Second) }, "brake"},
		"an outage":      {rates, 60, func(t *testing.T, f *fleet) { _ = f.members[0].Outage(t.Context(), "down") }, "outage"},
		"a pause":        {rates, 60, halt(governor.ByOperator), "pause"},
		"credentials":    {rates, 60, halt(governor.ByCredentials), "credentials"},
		"a budget":       {rates, 60, halt(governor.ByBudget), "budget"},
		"drift":          {rates, 60, halt(governor.ByDrift), "drift"},
		"a budget's end": {rates, 60, func(t *testing.T, f *fleet) { setBudget(t, f, governor.Budget{Run: "r", Until: time.Now()}) }, "budget"},
		"a blind store":  {rates, 60, func(_ *testing.T, f *fleet) { f.members[0].blind.Store(true); time.Sleep(2 * time.Second) }, "store"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, c.limits...)
				if strings.HasPrefix(c.want, "in flight") {
					f.latency = 500 * time.Millisecond
				}
				m := f.add(c.callers)
				time.Sleep(5 * time.Second)
				if c.do != nil {
					c.do(t, f)
				}
				checkBinds(t, m, c.want)
				m.blind.Store(false)
				f.close()
			})
		})
	}
}

// checkBinds looks for a second: those who are sent away come back.
func checkBinds(t *testing.T, m *member, want string) {
	t.Helper()
	seen := map[string]int{}
	for range 200 {
		synctest.Wait() // others read it at this instant as well
		_, reads := m.f.store.Counts()
		n := m.Now()
		if _, again := m.f.store.Counts(); again != reads {
			t.Error("it asks the store")
		}
		seen[n.Binds]++
		time.Sleep(5 * time.Millisecond)
	}
	if want == "" && seen[""] != 200 || want != "" && seen[want] == 0 || len(seen) > 2 {
		t.Errorf("what binds: %v, want %q", seen, want)
	}
}

// The rates are those that hold: share, ease and what the vendor says included.
func TestNowRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(100, 5)
		l.Recover = 10 * time.Second
		f := newFleet(t, l, window(1200, time.Minute), governor.Limit{Name: "f", InFlight: 8})
		m := f.add(0)
		near := func(what string, limit string, want float64) {
			t.Helper()
			if _, err := m.Outlook(t.Context(), "", time.Second); err != nil {
				t.Fatal(err)
			}
			n := m.Now()
			if math.Abs(n.Rates[limit]/want-1) > 0.005 || n.InFlight != 8 || len(n.Rates) != 2 {
				t.Errorf("%s: %+v, want %.1f", what, n, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
		near("as it is", "b", 100)
		near("as it is", "w", 20)
		hears(t, f, 50)
		near("as the vendor says", "b", 50)
		if err := m.Throttled(t.Context(), time.Now(), time.Second); err != nil {
			t.Fatal(err)
		}
		near("eased", "b", 25)
		near("a quarter of what does not recover by itself", "w", 5)
		if n := m.Now(); math.Abs(n.Every.Seconds()*5-1) > 0.005 || !n.Brake.Until.After(time.Now()) {
			t.Errorf("%+v", n)
		}
		time.Sleep(20 * time.Second)
		near("whole again", "b", 50)
		f.close()
	})
}

// Try is what SetLimit does, without doing it.
func TestTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l, governor.Limit{Name: "f", InFlight: 8})
		for _, c := range []governor.Change{
			{Limit: "b", Count: 50, Per: time.Second},
			{Limit: "b", Count: 50, Per: time.Second, Burst: 2, For: time.Hour},
			{Limit: "b"},
			{Limit: "f", InFlight: 3},
			{Limit: "b", Count: 500, Per: time.Second},
			{Limit: "b", Count: -1},
		} {
			spec := l
			if c.Limit == "f" {
				spec = f.limits[1]
			}
			writes, _ := f.store.Counts()
			tried, err := governor.Try(t.Context(), f.store, "v", f.limits, 0, c, spec)
			if w, _ := f.store.Counts(); w != writes {
				t.Errorf("%+v: a write", c)
			}
			setErr := governor.SetLimit(t.Context(), f.store, "v", c, spec, me)
			if (err == nil) != (setErr == nil) || errors.Is(err, governor.ErrAboveCeiling) != errors.Is(setErr, governor.ErrAboveCeiling) {
				t.Errorf("%+v: %v, set: %v", c, err, setErr)
			}
			if err != nil {
				continue
			}
			r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
			if err != nil || r.Interval != tried.Interval || r.InFlight != tried.InFlight || r.Limits[0].Rate != tried.Limits[0].Rate || r.Limits[0].Now != tried.Limits[0].Now {
				t.Errorf("%+v: tried %+v, is %+v, %v", c, tried, r, err)
			}
		}
		f.close()
	})
}

// What the limits come to after a change, also over the spec.
func TestTryRuling(t *testing.T) {
	t.Parallel()
	limits := []governor.Limit{bucket(100, 5), {Name: "f", InFlight: 8}}
	for _, c := range []struct {
		change   governor.Change
		every    time.Duration
		inFlight int
		ok       bool
	}{
		{governor.Change{Limit: "b"}, 10 * time.Millisecond, 8, true},
		{governor.Change{Limit: "b", Count: 50, Per: time.Second}, 20 * time.Millisecond, 8, true},
		{governor.Change{Limit: "b", Count: 200, Per: time.Second, For: time.Hour}, 5 * time.Millisecond, 8, true},
		{governor.Change{Limit: "f", InFlight: 4}, 10 * time.Millisecond, 4, true},
		{governor.Change{Limit: "f", Count: 4, Per: time.Second}, 0, 0, false},
	} {
		store := governortest.NewModel()
		spec := governor.Limit{} // over the spec
		if !c.ok {
			spec = limits[1]
		}
		rep, err := governor.Try(t.Context(), store, "v", limits, 0, c.change, spec)
		if rep.Interval != c.every || rep.InFlight != c.inFlight || (err == nil) != c.ok {
			t.Errorf("%+v: every %v, %d in flight, %v", c.change, rep.Interval, rep.InFlight, err)
		}
		if writes, _ := store.Counts(); writes > 0 {
			t.Errorf("%+v: trying it has written something", c.change)
		}
	}
}

// Stops in the log are told with their kinds, from the first of those that overlap
// until the resume, and one that lasts until now.
func TestHolds(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	got := governor.Holds([]governor.Entry{
		{At: at(1), What: "resume"}, {At: at(2), What: "stop", New: "operator", Why: "tea"}, {At: at(3), What: "limit b"}, {At: at(5), What: "resume", Old: "operator"},
		{At: at(7), What: "stop", New: "drift", Why: "38 of 40"},
	}, at(9))
	want := []governor.Hold{{Kind: "pause", From: at(2), To: at(5), Why: "tea"}, {Kind: "drift", From: at(7), To: at(9), Why: "38 of 40"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What is done elsewhere is in the log; a halt of any kind is one, and a second
// one is none.
func TestRecordAndHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(10, 1))
		ctx, old := t.Context(), time.Now().Add(-time.Hour)
		for _, err := range []error{
			governor.Record(ctx, f.store, "v", governor.Entry{By: "me", What: "replay", New: "12 tasks"}),
			governor.Record(ctx, f.store, "v", governor.Entry{At: old, By: "me", What: "backfill"}),
			governor.Halt(ctx, f.store, "v", governor.ByDrift, "40 % of the keys are gone", me),
			governor.Pause(ctx, f.store, "v", me),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		for _, err := range []error{
			governor.Record(ctx, f.store, "v", governor.Entry{By: "me"}),
			governor.Halt(ctx, f.store, "v", "", "why", me),
		} {
			if err == nil {
				t.Error("nonsense is taken")
			}
		}
		r, err := governor.Status(ctx, f.store, "v", f.limits, 0)
		if err != nil || len(r.Log) != 3 || r.Stop.Kind != governor.ByDrift || r.Stop.Why != "40 % of the keys are gone" || r.Stop.By != "me" {
			t.Fatalf("%+v, %v", r, err)
		}
		if !r.Log[0].At.Equal(time.Now()) || !r.Log[1].At.Equal(old) || r.Log[2].New != "drift" {
			t.Errorf("%+v", r.Log)
		}
		m := f.add(0)
		if o, err := m.Outlook(ctx, "", time.Second); err != nil || o.Why != "the vendor's tree has changed: 40 % of the keys are gone" {
			t.Errorf("%+v, %v", o, err)
		}
		f.close()
	})
}

// What an operator says is obeyed by every process within two seconds, on AWS
// as well, however the processes' polls fall: no window from then on holds more
// than the new limit, and after a pause or a budget of nothing there is no call.
func TestObeyedWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	const allowed = 2 * time.Second
	for _, config := range []func(*governor.Config){aws, func(*governor.Config) {}} {
		for _, what := range []string{"limit", "pause", "budget"} {
			for i := range 5 {
				synctest.Test(t, func(t *testing.T) {
					l := bucket(40, 5)
					f := newFleet(t, l)
					for range 4 {
						f.add(25, config).slow.Store(int64(time.Duration(i%4) * 50 * time.Millisecond))
						time.Sleep(37 * time.Millisecond)
					}
					time.Sleep(5*time.Second + time.Duration(i)*103*time.Millisecond)
					operate(t.Context(), t, f, what)
					at := time.Now()
					time.Sleep(9 * time.Second)
					all := f.close()
					if what == "limit" {
						fits(t, f, at.Add(allowed), at.Add(9*time.Second), 20)
						f.fits(all)
						if n := f.vendor.Between(at.Add(3*time.Second), at.Add(9*time.Second)); n < 116 {
							t.Errorf("%d calls in 6 s at the new rate", n)
						}
						return
					}
					if n := f.vendor.Between(at.Add(allowed), at.Add(time.Hour)); n > 0 {
						t.Errorf("%s: %d calls later than %v", what, n, allowed)
					}
				})
			}
		}
	}
}

func operate(ctx context.Context, t *testing.T, f *fleet, what string) {
	t.Helper()
	var err error
	switch what {
	case "limit":
		err = governor.SetLimit(ctx, f.store, "v", halved(f.limits[0]), f.limits[0], me)
	case "pause":
		err = governor.Pause(ctx, f.store, "v", me)
	case "budget":
		err = governor.SetBudget(ctx, f.store, "v", governor.Budget{Run: "r", Until: time.Now()}, me)
	}
	if err != nil {
		t.Fatal(err)
	}
}
