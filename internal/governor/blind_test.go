package governor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

// Without the store there are no calls once the last read is a second old, and
// all of the limit again soon after it is back.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(100)
		}
		time.Sleep(5 * time.Second)
		at := time.Now()
		for _, m := range f.members {
			m.blind.Store(true)
		}
		time.Sleep(3 * time.Second)
		o, err := f.members[0].Outlook(t.Context(), "", time.Second)
		if err != nil || o.Hold != fanout.Blind || !strings.Contains(o.Why, errFault.Error()) {
			t.Errorf("outlook without a store: %+v, %v", o, err)
		}
		for _, m := range f.members {
			m.blind.Store(false)
		}
		time.Sleep(10 * time.Second)
		f.fits(f.close())
		if n := f.vendor.Between(at.Add(time.Second+f.jitter+1), at.Add(3*time.Second)); n > 0 {
			t.Errorf("%d calls while blind", n)
		}
		if s := f.share(l, 8200*time.Millisecond, 18*time.Second); s < 0.99 {
			t.Errorf("used %.4f of the limit afterwards", s)
		}
	})
}

// A store that can be read and not written, as for who lacks a right: nobody
// waits in silence, and all of the limit is used again once it takes writes.
func TestStoreTakesNoWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		m := f.add(0)
		m.mute.Store(true)
		began := time.Now()
		if _, err := m.Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) || !strings.Contains(err.Error(), "cannot be written") {
			t.Errorf("Take without a right to write: %v", err)
		}
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("Take waited %v for writes that fail", d)
		}
		o, err := m.Outlook(t.Context(), "", time.Second)
		if err != nil || o.Hold != fanout.Blind || !strings.Contains(o.Why, "cannot be written") || !strings.Contains(o.Why, errFault.Error()) {
			t.Errorf("outlook without a right to write: %+v, %v", o, err)
		}
		m.mute.Store(false)
		time.Sleep(15 * time.Second)
		permit, err := m.Take(t.Context(), fanout.Call{})
		if err != nil {
			t.Fatalf("Take once writes are taken again: %v", err)
		}
		permit.Release()
		if o, _ := m.Outlook(t.Context(), "", time.Second); o.Hold != fanout.Free {
			t.Errorf("outlook once writes are taken again: %+v", o)
		}
		f.fits(f.close())
	})
}

// One process without its store; the others use what it leaves.
func TestOneStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(100)
		}
		time.Sleep(5 * time.Second)
		f.members[0].blind.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := f.members[0].Take(ctx, fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) {
			t.Errorf("Take without a store: %v", err)
		}
		if d := time.Since(began); d > 22*time.Second {
			t.Errorf("Take waited %v for a store that does not come back", d)
		}
		time.Sleep(10 * time.Second)
		f.members[0].blind.Store(false)
		f.fits(f.close())
		if s := f.share(l, 8*time.Second, 30*time.Second); s < 0.99 {
			t.Errorf("the others used %.4f of the limit", s)
		}
	})
}

// A process whose clock is off books nothing; the others keep the whole limit.
// When its clock is set right it takes part again, and when it is set wrong it
// stops at once.
func TestClockOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{2 * time.Second, -2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := bucket(200, 5)
			f := newFleet(t, l)
			for range 3 {
				f.add(100)
			}
			var skew atomic.Int64
			skew.Store(int64(off))
			m := f.add(100, func(c *governor.Config) {
				c.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
			})
			time.Sleep(20 * time.Second)
			if s := m.Stats(); s.Booked+s.Used+len(s.Writes) > 0 {
				t.Errorf("clock off by %v: %+v", off, s)
			}
			o, err := m.Outlook(t.Context(), "", time.Second)
			want := "this machine's clock is 2.0 s ahead of the store's; no calls until it is right"
			if off < 0 {
				want = strings.Replace(want, "ahead of", "behind", 1)
			}
			if err != nil || o.Hold != fanout.Blind || o.Why != want {
				t.Errorf("outlook %+v, %v; want why %q", o, err, want)
			}
			skew.Store(0)
			time.Sleep(10 * time.Second)
			right := m.calls.Load()
			if right == 0 {
				t.Error("no calls after the clock was set right")
			}
			skew.Store(int64(off))
			time.Sleep(f.jitter + 1) // what was under way arrives
			right = m.calls.Load()
			time.Sleep(20 * time.Second)
			if wrong := m.calls.Load() - right; wrong > 0 {
				t.Errorf("%d calls after the clock was set wrong", wrong)
			}
			f.fits(f.close())
			if s := f.share(l, time.Second, 20*time.Second); s < 0.99 {
				t.Errorf("the others used %.4f of the limit", s)
			}
			if s := f.share(l, 35*time.Second, 50*time.Second); s < 0.97 {
				t.Errorf("the others used %.4f of the limit in the end", s)
			}
		})
	}
}

// Every store operation, one after the other, fails before or after it took
// effect, while a brake and a new rate happen: no window is ever over.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for i, more := 0, true; more; i += 3 { // five in a row fail: each in two runs at least
			synctest.Test(t, func(t *testing.T) { more = oneFault(t, i, after) })
			if !more {
				t.Logf("after effect %v: %d operations", after, i)
			}
		}
	}
}

// oneFault runs a little story in which the n-th operation of the fleet fails,
// and the four that follow it. It tells whether there was an n-th.
func oneFault(t *testing.T, n int, after bool) bool {
	l := bucket(50, 4)
	l.InFlight = 6
	f := newFleet(t, l)
	f.latency = 70 * time.Millisecond
	var ops atomic.Int64
	fault := func(string) error {
		if i := int(ops.Add(1)) - 1; i >= n && i < n+5 {
			return fmt.Errorf("operation %d: %w", i, errFault)
		}
		return nil
	}
	for range 2 {
		m := f.add(0)
		if after {
			m.model.After = fault
		} else {
			m.model.Before = fault
		}
		for range 12 {
			m.wg.Go(m.callAlways)
		}
	}
	time.Sleep(700 * time.Millisecond)
	_ = f.members[0].Throttled(t.Context(), time.Now(), 300*time.Millisecond)
	time.Sleep(600 * time.Millisecond)
	_ = f.members[1].Outage(t.Context(), "down")
	for range 12 { // the first probe is due after a second
		time.Sleep(100 * time.Millisecond)
		_, _ = f.members[0].Probe(t.Context(), fanout.Call{}, func(context.Context) error { return nil })
	}
	if err := governor.SetLimit(t.Context(), f.store, "v", halved(l), l, me); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	for _, m := range f.members {
		m.crashed.Store(true) // Close may fail
	}
	f.fits(f.close())
	return int(ops.Load()) > n
}

// A fifth of all operations fails, for minutes.
func TestManyFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(100, 4)
		f := newFleet(t, l, window(900, 10*time.Second))
		for range 4 {
			m := f.add(0)
			m.model.Before = func(string) error { return rarely() }
			m.model.After = func(string) error { return rarely() }
			for range 60 {
				m.wg.Go(m.callAlways)
			}
		}
		for range 12 {
			time.Sleep(10 * time.Second)
			_ = f.members[rand.IntN(4)].Throttled(t.Context(), time.Now(), time.Second)
		}
		for _, m := range f.members {
			m.crashed.Store(true)
		}
		f.fits(f.close())
		if s := f.share(l, 0, 2*time.Minute); s < 0.4 {
			t.Errorf("used %.4f of the limit", s)
		}
	})
}

func rarely() error {
	if rand.IntN(10) == 0 {
		return errFault
	}
	return nil
}
