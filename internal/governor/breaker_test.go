package governor_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

// An outage is a vendor that is down for a while, probed by every process of a
// fleet as an engine would.
type outage struct {
	mu    sync.Mutex
	up    bool
	now   int
	most  int
	ended []time.Time // of the probes
	began []time.Time
	takes time.Duration
}

func (o *outage) probe(context.Context) error {
	o.mu.Lock()
	o.now++
	o.most = max(o.most, o.now)
	o.began = append(o.began, time.Now())
	up := o.up
	o.mu.Unlock()
	time.Sleep(o.takes)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now--
	o.ended = append(o.ended, time.Now())
	if up {
		return nil
	}
	return &fanout.CallError{Class: fanout.Unavailable, Err: errors.New("down")}
}

func (m *member) probeAlways(call func(context.Context) error) {
	for m.ctx.Err() == nil {
		o, err := m.Outlook(m.ctx, "", time.Second)
		if err == nil && o.Hold == fanout.Outage {
			_, _ = m.Probe(m.ctx, fanout.Call{}, call)
		}
		select {
		case <-m.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// During an outage there is one probe at a time, with pauses of 1, 2, 4, 8, then
// 10 s, a minute after ten; then work goes on by itself.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(50, 4)
		f := newFleet(t, l)
		down := &outage{takes: 300 * time.Millisecond}
		for range 4 {
			m := f.add(12, func(c *governor.Config) { c.Poll = 200 * time.Millisecond })
			m.wg.Go(func() { m.probeAlways(down.probe) })
		}
		time.Sleep(3 * time.Second)
		at := time.Now()
		for _, m := range f.members { // everybody finds out
			if err := m.Outage(t.Context(), "refused"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(12 * time.Minute)
		down.mu.Lock()
		down.up = true
		down.mu.Unlock()
		time.Sleep(70 * time.Second)
		f.fits(f.close())
		if n := f.vendor.Between(at.Add(100*time.Millisecond), down.ended[len(down.ended)-1]); n > 0 {
			t.Errorf("%d calls while the breaker was open", n)
		}
		if n := f.vendor.Between(f.begin.Add(12*time.Minute+65*time.Second), f.begin.Add(12*time.Minute+70*time.Second)); n < 240 {
			t.Errorf("%d calls in 5 s after the outage", n)
		}
		if down.most != 1 {
			t.Errorf("%d probes at once", down.most)
		}
		checkPauses(t, down, at)
	})
}

func checkPauses(t *testing.T, down *outage, at time.Time) {
	t.Helper()
	last := at
	for i, b := range down.began {
		want := governor.PauseAfter(i, last.Sub(at))
		if d := b.Sub(last); d < want || d > want+300*time.Millisecond {
			t.Errorf("probe %d after %v, want %v", i, d, want)
		}
		last = down.ended[i]
	}
	if n := len(down.began); n < 60 || n > 70 {
		t.Errorf("%d probes in 12 minutes", n)
	}
}

// A prober that crashes is given up; another takes over.
func TestProberCrashes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 4))
		a, b := f.add(0, quick), f.add(0, quick)
		if err := a.Outage(t.Context(), "down"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		tried, err := a.Probe(t.Context(), fanout.Call{}, func(context.Context) error { a.crash(); return errCrashed })
		if !tried || err == nil {
			t.Fatalf("tried %v, %v", tried, err)
		}
		at := time.Now()
		var took time.Duration
		b.wg.Go(func() {
			b.probeAlways(func(context.Context) error { took = time.Since(at); return nil })
		})
		time.Sleep(20 * time.Second)
		if o, err := b.Outlook(t.Context(), "", time.Second); err != nil || o.Hold != fanout.Free {
			t.Errorf("outlook %+v, %v", o, err)
		}
		f.close()
		if took < 7*time.Second || took > 9*time.Second {
			t.Errorf("the next probe came %v after the crash, want the call's timeout + 5 s", took)
		}
	})
}

// What a probe's answer means.
func TestProbeVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		hold fanout.Hold
	}{
		{"success", nil, fanout.Free},
		{"unavailable", &fanout.CallError{Class: fanout.Unavailable}, fanout.Outage},
		{"missing", &fanout.CallError{Class: fanout.Missing}, fanout.Free},
		{"breaks the spec", &fanout.CallError{Class: fanout.Broken}, fanout.Free},
		{"throttled", &fanout.CallError{Class: fanout.Throttled, RetryAfter: 5 * time.Second}, fanout.Braked},
		{"our own trouble", errors.New("disk full"), fanout.Outage},
		{"shutdown", context.Canceled, fanout.Outage},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, bucket(50, 4))
				m := f.add(0)
				if err := m.Outage(t.Context(), "down"); err != nil {
					t.Fatal(err)
				}
				if tried, err := m.Probe(t.Context(), fanout.Call{}, nil); tried || err != nil {
					t.Errorf("a probe before its time: %v, %v", tried, err)
				}
				time.Sleep(time.Second)
				tried, err := m.Probe(t.Context(), fanout.Call{}, func(context.Context) error { return c.err })
				if !tried || !errors.Is(err, c.err) {
					t.Errorf("tried %v, %v", tried, err)
				}
				if o, err := m.Outlook(t.Context(), "", time.Second); err != nil || o.Hold != c.hold {
					t.Errorf("outlook %+v, %v; want %q", o, err, c.hold)
				}
				f.close()
			})
		})
	}
}

// A vendor that hangs holds all places in flight; the probe waits for one.
func TestProbeNeedsAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(50, 4)
		l.InFlight = 2
		f := newFleet(t, l)
		f.latency = 8 * time.Second
		m := f.add(4)
		var probed atomic.Int64
		m.wg.Go(func() {
			m.probeAlways(func(context.Context) error { defer f.vendor.Begin()(); probed.Add(1); return nil })
		})
		time.Sleep(3 * time.Second)
		if err := m.Outage(t.Context(), "hangs"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		if probed.Load() != 1 {
			t.Errorf("%d probes", probed.Load())
		}
		f.fits(f.close())
	})
}

// With the next probe far away Take does not wait.
func TestTakeDuringOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 4))
		m := f.add(0)
		err := f.store.Update(t.Context(), "v", func(it *governor.Item) error {
			now := time.Now()
			it.Rev++
			it.Breaker = governor.Breaker{Since: now, Why: "down", Next: now.Add(time.Minute), Probes: 99}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := m.Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) || time.Since(began) > time.Second {
			t.Errorf("Take: %v after %v", err, time.Since(began))
		}
		f.close()
	})
}
