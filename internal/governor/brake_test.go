package governor_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

var me = governor.Note{By: "me", Why: "because"}

func halved(l governor.Limit) governor.Change {
	return governor.Change{Limit: l.Name, Count: l.Count / 2, Per: l.Per}
}

// A brake from outside reaches everybody within a poll.
func TestOutsideBrake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(100)
		}
		outside := f.add(0)
		time.Sleep(10 * time.Second)
		at := time.Now()
		if err := outside.Throttled(t.Context(), at, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		f.fits(f.close())
		after := f.vendor.Between(at, at.Add(3*time.Second))
		t.Logf("calls after the brake: %d", after)
		if most := 200*100/1000 + 4; after > most {
			t.Errorf("%d calls after the brake, allowed are %d", after, most)
		}
		if n := f.vendor.Between(at.Add(100*time.Millisecond+f.jitter), at.Add(3*time.Second)); n > 0 {
			t.Errorf("%d calls later in the brake", n)
		}
		if s := f.share(l, 18500*time.Millisecond, 35*time.Second); s < 0.99 {
			t.Errorf("used %.4f of the limit after the brake", s)
		}
	})
}

// After a brake one call stands alone for a second, in the whole fleet; then the
// rate rises from a quarter to all of it in four seconds, unless that one call is
// refused, too.
func TestProbeAndRamp(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string][]governor.Limit{
		"a rate": {bucket(40, 5)}, "two": {window(400, 10*time.Second), bucket(100, 5)}, "in flight": {{Name: "f", InFlight: 8}},
		"scopes": {bucket(40, 5), tiers(named("s", bucket(5, 2)), "")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, limits...)
				f.jitter = 0
				var refuse atomic.Bool
				f.answer = func() error {
					if refuse.Load() {
						return &fanout.CallError{Class: fanout.Throttled, RetryAfter: 2 * time.Second}
					}
					return nil
				}
				for range 4 {
					f.add(40)
				}
				time.Sleep(5 * time.Second)
				if err := f.members[0].Throttled(t.Context(), time.Now(), 5*time.Second); err != nil {
					t.Fatal(err)
				}
				brakeEnd := func() time.Time {
					it, _ := f.store.Load(t.Context(), "v")
					return it.Brake.Until
				}
				refuse.Store(true)
				var ends []time.Time
				for range 3 { // each brake is followed by one call, which is refused
					ends = append(ends, brakeEnd())
					time.Sleep(time.Until(ends[len(ends)-1].Add(1900 * time.Millisecond)))
				}
				for _, end := range ends {
					if n := f.vendor.Between(end, end.Add(1900*time.Millisecond)); n != 1 {
						t.Errorf("%d calls after a brake whose probe is refused", n)
					}
				}
				refuse.Store(false)
				end := brakeEnd()
				time.Sleep(time.Until(end.Add(12 * time.Second)))
				f.close()
				checkRamp(t, f, end, map[string]float64{"a rate": 40, "two": 40, "scopes": 5}[name])
			})
		})
	}
}

// checkRamp looks at the calls after a brake's end whose probe succeeded, where the
// limits allow so many a second; 0: they have no rate.
func checkRamp(t *testing.T, f *fleet, end time.Time, rate float64) {
	t.Helper()
	first := f.vendor.Arrivals()[len(f.vendor.Arrivals())-f.vendor.Between(end, end.Add(time.Hour))]
	between := func(from, to float64) int {
		s := float64(time.Second)
		return f.vendor.Between(first.Add(time.Duration(from*s)), first.Add(time.Duration(to*s)))
	}
	if n := between(0, 0.999); n != 1 || first.Sub(end) > time.Second {
		t.Errorf("%d calls in the first second, %v after the brake", n, first.Sub(end))
	}
	if rate == 0 {
		if n := between(1, 3); n < 100 {
			t.Errorf("%d calls in two seconds after the probe", n)
		}
		return
	}
	for from, share := range map[float64]float64{1: 0.34, 2: 0.53, 3: 0.72, 4: 0.91, 5: 1, 6: 1} {
		if n, want := float64(between(from, from+1)), rate*share; n > want+3 || n < want*0.7-2 {
			t.Errorf("%v calls in the second %v s after the probe, want %.0f", n, from, want)
		}
	}
}

// Who is throttled obeys at once, even if the store does not answer.
func TestOwnBrake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(200, 5))
		m := f.add(100)
		time.Sleep(5 * time.Second)
		m.blind.Store(true)
		at := time.Now()
		if err := m.Throttled(t.Context(), at, 3*time.Second); err == nil {
			t.Error("the store failed and nobody says so")
		}
		m.blind.Store(false)
		time.Sleep(10 * time.Second)
		f.close()
		if n := f.vendor.Between(at.Add(f.jitter+1), at.Add(3*time.Second)); n > 0 {
			t.Errorf("%d calls after its own brake", n)
		}
		if n := f.vendor.Between(at.Add(3*time.Second), at.Add(4*time.Second)); n < 150 {
			t.Errorf("%d calls in the second after the brake", n)
		}
	})
}

// Pauses grow while the vendor keeps refusing, however many of the calls under
// way are refused at once, and start anew after a success.
func TestBrakeGrowth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 5))
		var refuse atomic.Bool
		refuse.Store(true)
		f.answer = func() error {
			if refuse.Load() {
				return &fanout.CallError{Class: fanout.Throttled}
			}
			return nil
		}
		for range 3 {
			f.add(20)
		}
		var pauses []time.Duration
		var last time.Time
		watch := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				it, _ := f.store.Load(t.Context(), "v")
				if it.Brake.Set.After(last) {
					last = it.Brake.Set
					pauses = append(pauses, it.Brake.Until.Sub(it.Brake.Set).Round(time.Second))
				}
			}
		}
		watch(140 * time.Second)
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
		for i, w := range want {
			if i >= len(pauses) || pauses[i] != w*time.Second {
				t.Fatalf("pauses %v, want %v s", pauses, want)
			}
		}
		refuse.Store(false)
		watch(70 * time.Second)
		refuse.Store(true)
		pauses = nil
		watch(2 * time.Second)
		if len(pauses) == 0 || pauses[0] != time.Second {
			t.Errorf("after a success the pauses are %v", pauses)
		}
		f.fits(f.close())
	})
}

// A report of a call sent before the brake prolongs it only as far as the
// vendor says.
func TestLateReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 5))
		m := f.add(0)
		sent := time.Now()
		time.Sleep(100 * time.Millisecond)
		until := func(retry time.Duration) time.Duration {
			if err := m.Throttled(t.Context(), sent, retry); err != nil {
				t.Fatal(err)
			}
			it, _ := f.store.Load(t.Context(), "v")
			return time.Until(it.Brake.Until)
		}
		for _, c := range []struct{ retry, want time.Duration }{
			{0, time.Second}, {0, time.Second}, {500 * time.Millisecond, time.Second}, {5 * time.Second, 5 * time.Second}, {0, 5 * time.Second},
		} {
			if got := until(c.retry); got != c.want {
				t.Errorf("retry after %v: braked for %v, want %v", c.retry, got, c.want)
			}
		}
		if w := m.Stats().Writes["brake"]; w != 2 {
			t.Errorf("%d writes, want 2", w)
		}
		f.close()
	})
}

func checkHalved(t *testing.T, f *fleet, l governor.Limit, from time.Time, span time.Duration) {
	t.Helper()
	half := l
	half.Count /= 2
	if n, most := f.vendor.Between(from, from.Add(span)), int(span.Seconds()*float64(half.Count))+l.Burst; n > most {
		t.Errorf("%d calls in %v at the new rate, allowed are %d", n, span, most)
	}
}

// The rate halved in the middle holds within 0.2 s; taken back, all of it is
// used again.
func TestRateChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(150)
		}
		time.Sleep(10 * time.Second)
		at := time.Now()
		if err := governor.SetLimit(t.Context(), f.store, "v", halved(l), l, me); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: "b"}, l, me); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		f.fits(f.close())
		checkHalved(t, f, l, at.Add(200*time.Millisecond), 9900*time.Millisecond)
		for _, c := range []struct{ from, want float64 }{{12, 0.5}, {22, 1}} {
			from := time.Duration(c.from * float64(time.Second))
			if s := f.share(l, from, from+8*time.Second); s < c.want*0.99 || s > c.want*1.01 {
				t.Errorf("share %.4f from %v on, want %.2f", s, from, c.want)
			}
		}
	})
}

// An override that ends by itself: no permit is booked past its end at its rate.
func TestOverrideEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(100, 5)
		f := newFleet(t, l)
		for range 3 {
			f.add(100)
		}
		time.Sleep(2 * time.Second)
		double := governor.Change{Limit: "b", Count: 200, Per: time.Second, For: 5 * time.Second}
		at := time.Now()
		if err := governor.SetLimit(t.Context(), f.store, "v", double, governor.Limit{}, me); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		f.close()
		end := at.Add(5 * time.Second)
		if n := f.vendor.Between(at.Add(time.Second), end); n < 750 {
			t.Errorf("%d calls in 4 s at 200/s", n)
		}
		if n := f.vendor.Between(end, end.Add(8*time.Second)); n > 805 || n < 790 {
			t.Errorf("%d calls in 8 s at 100/s after the override's end", n)
		}
	})
}

// A rate change during a brake leaves the brake, and a brake during a rate
// change leaves the rate.
func TestRateChangeAndBrake(t *testing.T) {
	t.Parallel()
	for _, brakeFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := bucket(200, 5)
			f := newFleet(t, l)
			for range 4 {
				f.add(100)
			}
			time.Sleep(5 * time.Second)
			at := time.Now()
			do := []func() error{
				func() error { return f.members[2].Throttled(t.Context(), time.Now(), 3*time.Second) },
				func() error { return governor.SetLimit(t.Context(), f.store, "v", halved(l), l, me) },
			}
			if !brakeFirst {
				do[0], do[1] = do[1], do[0]
			}
			for _, d := range do {
				if err := d(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Millisecond) // less than a poll: some hear of both at once
			}
			time.Sleep(20 * time.Second)
			f.fits(f.close())
			if n := f.vendor.Between(at, at.Add(3*time.Second)); n > 200*130/1000+4 {
				t.Errorf("brake first %v: %d calls while braked", brakeFirst, n)
			}
			checkHalved(t, f, l, at.Add(3*time.Second), 10*time.Second)
			if n := f.vendor.Between(at.Add(9*time.Second), at.Add(19*time.Second)); n < 980 {
				t.Errorf("brake first %v: %d calls in 10 s afterwards", brakeFirst, n)
			}
		})
	}
}

// Changes reach a process whose reads hang for almost as long as it trusts the
// last one: nobody books on top of the slots it may still use.
func TestSlowReaderDuringChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(150)
		}
		for i := range 20 {
			time.Sleep(2*time.Second + time.Duration(i)*13*time.Millisecond)
			slow := f.members[i%4]
			slow.slow.Store(int64(900 * time.Millisecond))
			time.Sleep(time.Duration(i%5) * 20 * time.Millisecond)
			c := halved(l)
			c.Count += i // always a change
			if err := governor.SetLimit(t.Context(), f.store, "v", c, l, me); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			slow.slow.Store(0)
		}
		f.fits(f.close())
	})
}
