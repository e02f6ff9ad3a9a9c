package governor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// A strict vendor counts units per limit and value, as it would.
type strict struct {
	mu    sync.Mutex
	units map[string][]unit // by limit, and value
}

type unit struct {
	at time.Time
	n  int
}

func (s *strict) count(key string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.units == nil {
		s.units = map[string][]unit{}
	}
	s.units[key] = append(s.units[key], unit{time.Now(), n})
}

// total is what was counted between two instants.
func (s *strict) total(key string, from, to time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.units[key] {
		if !u.at.Before(from) && u.at.Before(to) {
			n += u.n
		}
	}
	return n
}

// fits tells whether the units of a key kept a limit in every window.
func (s *strict) fits(t *testing.T, key string, l governor.Limit) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var each []time.Time
	for _, u := range s.units[key] {
		for range u.n {
			each = append(each, u.at)
		}
	}
	slices.SortFunc(each, time.Time.Compare)
	var err error
	switch l.Kind {
	case governor.Window:
		err = governortest.CheckWindow(each, l.Count, l.Per)
	case governor.Bucket:
		err = governortest.CheckBucket(each, l.Count, l.Per, max(l.Burst, 1))
	case governor.Spacing:
		err = governortest.CheckSpacing(each, l.Per/time.Duration(l.Count))
	}
	if err != nil {
		t.Errorf("limit %s: %v", key, err)
	}
}

// scoped starts callers of a tier, about a value each in turn, in a process.
func (f *fleet) scoped(m *member, v *strict, tier string, callers int, cost func() int, values ...string) {
	if len(values) == 0 {
		values = []string{""}
	}
	for i := range callers {
		m.wg.Go(func() {
			value := values[i%len(values)]
			c := fanout.Call{Tier: tier, Node: fanout.Node{Path: []string{value}}}
			for m.ctx.Err() == nil {
				permit, err := m.Take(m.ctx, c)
				if err != nil {
					select {
					case <-m.ctx.Done():
					case <-time.After(200 * time.Millisecond):
					}
					continue
				}
				if f.jitter > 0 && rand.IntN(2) == 0 {
					time.Sleep(f.jitter)
				}
				n := cost()
				for _, l := range f.limits {
					key, units, ok := f.bindsIn(l, tier, value)
					if l.Of != nil && l.Of.AtMost > 1 {
						units = n
					}
					if ok {
						v.count(key, units)
					}
				}
				time.Sleep(f.latency)
				if permit.Cost != nil {
					for _, l := range f.limits {
						if l.Of != nil && l.Of.AtMost > 1 {
							permit.Cost(l.Name, n)
						}
					}
				}
				permit.Release()
			}
		})
	}
}

// bindsIn is what a call counts in a limit, and under which key the vendor does.
func (f *fleet) bindsIn(l governor.Limit, tier, value string) (key string, units int, ok bool) {
	if l.Of == nil {
		return l.Name, 1, true
	}
	if key = l.Name; l.Of.Each != "" {
		key += "=" + value
	}
	return key, max(l.Of.Weight[tier], 1), l.Of.Tiers == nil || slices.Contains(l.Of.Tiers, tier)
}

func once() int { return 1 }

func valued(cfg *governor.Config) {
	cfg.Value = func(name string, c fanout.Call) string {
		if name == "accounts" && len(c.Node.Path) > 0 {
			return c.Node.Path[0]
		}
		return ""
	}
}

func tiers(l governor.Limit, names ...string) governor.Limit {
	l.Of = &governor.Scope{Tiers: names}
	return l
}

func named(name string, l governor.Limit) governor.Limit {
	l.Name = name
	return l
}

// A slow tier's limit binds its calls alone: the others use what is left of the
// shared one, and all of it is used.
func TestScopes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shared, slow governor.Limit
		all, some    float64 // calls a second
		least        float64 // share of the shared one
	}{
		"a bucket and a window":  {bucket(20, 5), window(120, time.Minute), 20, 2, 0.99},
		"a window and a bucket":  {window(600, time.Minute), named("s", bucket(1, 1)), 10, 1, 0.96},
		"windows":                {window(1000, 10*time.Second), named("s", window(30, time.Second)), 100, 29, 0.98},
		"a bucket and a spacing": {bucket(10, 3), governor.Limit{Name: "s", Kind: governor.Spacing, Count: 1, Per: 700 * time.Millisecond}, 10, 1.35, 0.94},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := tiers(c.slow, "devices")
				f := newFleet(t, c.shared, slow)
				f.latency = 10 * time.Millisecond
				v := &strict{}
				for range 3 {
					m := f.add(0)
					f.scoped(m, v, "devices", 40, once)
					f.scoped(m, v, "groups", 40, once)
				}
				time.Sleep(90 * time.Second)
				f.close()
				v.fits(t, c.shared.Name, c.shared)
				v.fits(t, slow.Name, c.slow)
				from, to := f.begin.Add(10*time.Second), f.begin.Add(90*time.Second)
				all := float64(v.total(c.shared.Name, from, to)) / 80 / c.all
				some := float64(v.total(slow.Name, from, to)) / 80 / c.some
				t.Logf("shared %.4f, slow %.4f, %.4f writes per call", all, some, f.writesPerCall())
				if all < c.least*c.shared.Share(0) || some < 0.95*c.slow.Share(0) {
					t.Errorf("used %.4f of the shared limit and %.4f of the slow one", all, some)
				}
			})
		})
	}
}

// Tiers whose calls nothing binds but their own limits do not wait for others.
func TestScopesApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := tiers(named("a", bucket(10, 3)), "a"), tiers(named("b", bucket(1, 1)), "b")
		f := newFleet(t, a, b, governor.Limit{Name: "f", InFlight: 30})
		v := &strict{}
		for range 2 {
			m := f.add(0)
			f.scoped(m, v, "a", 10, once)
			f.scoped(m, v, "b", 10, once)
			f.scoped(m, v, "free", 1, once)
		}
		time.Sleep(30 * time.Second)
		f.close()
		v.fits(t, "a", a)
		v.fits(t, "b", b)
		if n, m, free := len(v.units["a"]), len(v.units["b"]), len(v.units["f"])-len(v.units["a"])-len(v.units["b"]); n < 290 || m < 25 || free < 600 {
			t.Errorf("%d calls of a, %d of b, %d of neither", n, m, free)
		}
	})
}

// A lane in which nobody has called for long, or ever, and whose next slot is far
// ahead: what it keeps of the time before is no room behind that slot.
func TestScopeAfterPause(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]governor.Limit{"beside a rate": bucket(50, 5), "alone": {Name: "f", InFlight: 40}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := tiers(window(60, time.Minute), "data")
				f := newFleet(t, shared, l, perHour(100, nil))
				v := &strict{}
				time.Sleep(59 * time.Minute)
				f.scoped(f.add(0), v, "data", 40, once)
				f.scoped(f.add(0), v, "groups", 1, once)
				time.Sleep(4 * time.Minute)
				f.close()
				v.fits(t, "w", l)
				if n := len(v.units["hour"]); n < 180 || n > 200 {
					t.Errorf("%d calls in two hours of 100", n)
				}
			})
		})
	}
}

// Each account has a limit of its own below the one that all share; accounts that
// nobody calls any more are forgotten.
func TestEachValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		each := named("each", window(30, time.Minute))
		each.Of = &governor.Scope{Tiers: []string{"apps"}, Each: "accounts"}
		f := newFleet(t, bucket(10, 3), each)
		v := &strict{}
		var values []string
		for i := range 12 {
			values = append(values, fmt.Sprintf("account %d with a rather long name that has to be shortened: it is longer than a key may be", i))
		}
		for range 2 {
			f.scoped(f.add(0, valued), v, "apps", 36, once, values...)
		}
		time.Sleep(4 * time.Minute)
		for _, a := range values {
			v.fits(t, "each="+a, each)
			if n := v.total("each="+a, f.begin.Add(time.Minute), f.begin.Add(4*time.Minute)); n < 85 {
				t.Errorf("%d calls of %s in three minutes", n, a)
			}
		}
		v.fits(t, "b", f.limits[0])
		it, _ := f.store.Load(t.Context(), "v")
		if it.Lanes == nil || len(it.Lanes.By) != 13 {
			t.Errorf("lanes: %+v", it.Lanes)
		}
		f.members[0].kill()
		f.members[1].kill()
		time.Sleep(time.Minute)
		m := f.add(0, valued)
		if _, err := m.Take(t.Context(), fanout.Call{Tier: "apps", Node: fanout.Node{Path: []string{"new"}}}); err != nil {
			t.Error(err)
		}
		if it, _ = f.store.Load(t.Context(), "v"); len(it.Lanes.By) != 2 {
			t.Errorf("%d lanes are kept of accounts that nobody calls", len(it.Lanes.By))
		}
		f.close()
	})
}

// Crashes, brakes, cuts, operators and lost writes: every scope keeps its limit.
func TestScopesUnderFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(cases(1, 3)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				each := named("each", window(120, time.Minute))
				each.Of = &governor.Scope{Tiers: []string{"apps"}, Each: "accounts"}
				cost := named("cost", bucket(40, 12))
				cost.Of = &governor.Scope{Weight: map[string]int{"apps": 3}}
				f := newFleet(t, window(100, 5*time.Second), tiers(named("slow", bucket(2, 2)), "devices"), each, cost)
				f.jitter, f.late = 10*time.Millisecond, 2*time.Millisecond
				rnd := rand.New(rand.NewPCG(7, seed))
				v := &strict{}
				add := func() {
					m := f.add(0, valued)
					m.wg.Go(func() {
						m.probeAlways(func(context.Context) error { v.count("w", 1); v.count("cost", 1); return nil })
					})
					f.scoped(m, v, "devices", 10, once)
					f.scoped(m, v, "apps", 12, once, "a", "b", "c")
					f.scoped(m, v, "groups", 20, once)
				}
				for range 3 {
					add()
				}
				for range 20 {
					time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
					if m := f.members[len(f.members)-1-rnd.IntN(3)]; rnd.IntN(3) == 0 {
						l := f.limits[0]
						_ = governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: l.Name, Count: 1 + rnd.IntN(l.Count), Per: l.Per, For: time.Minute}, l, me)
					} else if trouble(t, f, m, rnd); m.crashed.Load() {
						add()
					}
				}
				for _, m := range f.members {
					m.lost.Store(0)
				}
				f.close()
				for _, l := range f.limits {
					v.fits(t, l.Name, l)
				}
				for _, a := range []string{"a", "b", "c"} {
					v.fits(t, "each="+a, each)
				}
				if n := len(v.units["w"]); n < 100 {
					t.Errorf("%d calls: the test shows little", n)
				}
			})
		})
	}
}

// An item that an older Sluice has written, or writes beside us, has one sequence
// of slots: no lane begins before its end.
func TestLanesBesideOlder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := tiers(named("slow", bucket(2, 2)), "devices")
		f := newFleet(t, bucket(10, 3), l)
		m := f.add(0)
		for i := range 3 {
			last := time.Now().Add(3 * time.Second)
			err := f.store.Update(t.Context(), "v", func(it *governor.Item) error { it.Rev++; it.Booked = last.UTC(); return nil })
			if err != nil {
				t.Fatal(err)
			}
			for _, tier := range []string{"groups", "devices"} {
				permit, err := m.Take(t.Context(), fanout.Call{Tier: tier})
				if err != nil {
					t.Fatal(err)
				}
				if time.Now().Before(last) {
					t.Errorf("round %d: a call of %s %v before the other's last slot", i, tier, time.Until(last))
				}
				permit.Release()
			}
		}
		f.close()
	})
}

// What makes no sense is refused.
func TestScopesRefused(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]governor.Limit{
		"places in flight":         {Name: "a", InFlight: 3, Of: &governor.Scope{Tiers: []string{"x"}}},
		"never fits a burst of 4":  {Name: "a", Kind: governor.Bucket, Count: 100, Per: time.Second, Burst: 4, Of: &governor.Scope{AtMost: 5}},
		"never fits 3 per 1m0s":    {Name: "a", Kind: governor.Window, Count: 3, Per: time.Minute, Of: &governor.Scope{Weight: map[string]int{"x": 4}}},
		"go with a bucket":         {Name: "a", Kind: governor.Spacing, Count: 3, Per: time.Minute, Of: &governor.Scope{Weight: map[string]int{"x": 2}}},
		"counts 1 at least":        {Name: "a", Kind: governor.Window, Count: 3, Per: time.Minute, Of: &governor.Scope{Weight: map[string]int{"x": 0}}},
		"constant or told":         {Name: "a", Kind: governor.Window, Count: 9, Per: time.Minute, Of: &governor.Scope{Weight: map[string]int{"x": 2}, AtMost: 3}},
		"so many calls per day":    {Name: "a", Kind: governor.Calendar, Count: 9, Per: time.Minute},
		"what recovers after a br": {Name: "a", Kind: governor.Calendar, Count: 9, Per: governor.Day, Recover: time.Minute},
	} {
		if _, err := governor.Check([]governor.Limit{l}, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
	each := window(3, time.Minute)
	each.Of = &governor.Scope{Each: "accounts"}
	if _, err := governor.New(governor.Config{Vendor: "v", Store: governortest.NewModel(), Limits: []governor.Limit{each}}); err == nil {
		t.Error("nobody tells the values, and it is made")
	}
}
