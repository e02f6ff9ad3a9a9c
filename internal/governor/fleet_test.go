package governor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

var errCrashed = errors.New("this process has crashed")
var errFault = errors.New("the store does not answer")

// A fleet is several processes that share a store and a vendor, in one bubble.
type fleet struct {
	t       *testing.T
	store   *governortest.Model
	vendor  governortest.Vendor
	limits  []governor.Limit
	jitter  time.Duration // of the way to the vendor: 0 or all of it, at random
	late    time.Duration // of our own goroutines, at random up to this
	latency time.Duration // of the vendor
	hang    time.Duration // of calls whose process has crashed
	answer  func() error  // what the vendor says; nil: all is well
	members []*member
	begin   time.Time
	end     context.Context
	stop    context.CancelFunc
}

// A member is one process.
type member struct {
	*governor.Governor
	f       *fleet
	model   *governortest.Model
	ctx     context.Context
	kill    context.CancelFunc
	crashed atomic.Bool
	blind   atomic.Bool  // its store fails
	mute    atomic.Bool  // its writes fail
	lost    atomic.Int64 // so many of its writes count, and have no answer
	slow    atomic.Int64 // how long its store operations take, ns
	frozen  atomic.Int64 // nothing of it runs before, Unix nanoseconds
	wg      sync.WaitGroup
	calls   atomic.Int64
}

func newFleet(t *testing.T, limits ...governor.Limit) *fleet {
	f := &fleet{t: t, store: governortest.NewModel(), limits: limits, latency: 30 * time.Millisecond, begin: time.Now()}
	f.end, f.stop = context.WithCancel(t.Context())
	f.jitter = time.Hour
	for _, l := range limits {
		if l.Kind == governor.Unpaced {
			continue
		}
		j := governor.DefaultJitter
		if l.Kind == governor.Bucket && l.Burst > 1 { // half of what the burst leaves
			j = min(j, time.Duration(l.Burst-1)*l.Per/time.Duration(2*l.Count))
		}
		f.jitter = min(f.jitter, j)
	}
	if f.jitter == time.Hour {
		f.jitter = 0
	}
	return f
}

// add starts a process with so many callers that always want to call.
func (f *fleet) add(callers int, change ...func(*governor.Config)) *member {
	f.t.Helper()
	m := &member{f: f, model: f.store.Handle()}
	m.ctx, m.kill = context.WithCancel(f.end)
	m.model.Before = func(op string) error {
		m.freeze()
		time.Sleep(time.Duration(m.slow.Load()))
		switch {
		case m.crashed.Load():
			return errCrashed
		case m.blind.Load() || m.mute.Load() && op == "update":
			return errFault
		}
		return nil
	}
	m.model.After = func(op string) error {
		m.freeze()
		if op == "update" && m.lost.Load() > 0 && m.lost.Add(-1) >= 0 {
			return errFault
		}
		return nil
	}
	cfg := governor.Config{Vendor: "v", Member: fmt.Sprintf("m%d", len(f.members)), Limits: f.limits, Store: m.model}
	for _, c := range change {
		c(&cfg)
	}
	g, err := governor.New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	g.SetStall(func() {
		if f.late > 0 && rand.IntN(4) == 0 {
			time.Sleep(rand.N(f.late))
		}
		m.freeze()
	})
	m.Governor = g
	f.members = append(f.members, m)
	for range callers {
		m.wg.Go(m.callAlways)
	}
	return m
}

func (m *member) freeze() {
	if d := time.Until(time.Unix(0, m.frozen.Load())); d > 0 {
		time.Sleep(d)
	}
}

// freezeFor stops the process as SIGSTOP does.
func (m *member) freezeFor(d time.Duration) { m.frozen.Store(time.Now().Add(d).UnixNano()) }

// crash stops the process: nothing of it calls, releases or writes any more.
func (m *member) crash() { m.crashed.Store(true); m.kill() }

func (m *member) callAlways() {
	for m.ctx.Err() == nil {
		permit, err := m.Take(m.ctx, fanout.Call{})
		if err != nil {
			select {
			case <-m.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		m.call(permit.Release)
	}
}

func (m *member) call(release func()) {
	sent := time.Now()
	if m.f.jitter > 0 && rand.IntN(2) == 0 {
		time.Sleep(m.f.jitter)
	}
	m.calls.Add(1)
	end := m.f.vendor.Begin()
	var failure error
	if m.f.answer != nil {
		failure = m.f.answer()
	}
	time.Sleep(m.f.latency)
	if m.crashed.Load() && m.f.hang > 0 {
		time.Sleep(time.Until(sent.Add(m.f.hang))) // the vendor goes on with it
	}
	end()
	var ce *fanout.CallError
	switch {
	case m.crashed.Load():
		return
	case failure == nil:
		m.Alive()
	case errors.As(failure, &ce) && ce.Class == fanout.Throttled:
		if err := m.Throttled(m.ctx, sent, ce.RetryAfter); err != nil && m.ctx.Err() == nil {
			m.f.t.Error(err)
		}
	}
	release()
}

// close ends everything and returns the arrivals.
func (f *fleet) close() []time.Time {
	f.t.Helper()
	f.stop()
	for _, m := range f.members {
		m.wg.Wait()
		if err := m.Close(); err != nil && !m.crashed.Load() {
			f.t.Errorf("closing %v", err)
		}
	}
	return f.vendor.Arrivals()
}

// fits fails the test if any window of any limit is over.
func (f *fleet) fits(arrivals []time.Time) {
	f.t.Helper()
	for _, l := range f.limits {
		var err error
		switch l.Kind {
		case governor.Bucket:
			err = governortest.CheckBucket(arrivals, l.Count, l.Per, max(l.Burst, 1))
		case governor.Window:
			err = governortest.CheckWindow(arrivals, l.Count, l.Per)
		case governor.Spacing:
			err = governortest.CheckSpacing(arrivals, l.Per/time.Duration(l.Count))
		}
		if err != nil {
			f.t.Errorf("limit %s: %v", l.Name, err)
		}
	}
	for _, l := range f.limits {
		if most := f.vendor.MostInFlight(); l.InFlight > 0 && most > l.InFlight {
			f.t.Errorf("limit %s: %d calls at once, allowed are %d", l.Name, most, l.InFlight)
		}
	}
}

// share is the part of a rate that was used between two instants since begin.
func (f *fleet) share(l governor.Limit, from, to time.Duration) float64 {
	n := f.vendor.Between(f.begin.Add(from), f.begin.Add(to))
	return float64(n) * float64(l.Per) / float64(l.Count) / float64(to-from)
}

// writesPerCall is what the fleet's governors wrote for each permit used.
func (f *fleet) writesPerCall() float64 {
	writes, used := 0, 0
	for _, m := range f.members {
		s := m.Stats()
		used += s.Used
		for _, n := range s.Writes {
			writes += n
		}
	}
	return float64(writes) / float64(max(used, 1))
}

func (f *fleet) figures() string {
	s := ""
	for _, m := range f.members {
		st := m.Stats()
		s += fmt.Sprintf("\n   used %d booked %d forfeited %d voided %d blind %d writes %v reads %d", st.Used, st.Booked, st.Forfeited, st.Voided, st.Blind, st.Writes, st.Reads)
	}
	return s
}

func bucket(count, burst int) governor.Limit {
	return governor.Limit{Name: "b", Kind: governor.Bucket, Count: count, Per: time.Second, Burst: burst}
}

func window(count int, per time.Duration) governor.Limit {
	return governor.Limit{Name: "w", Kind: governor.Window, Count: count, Per: per}
}
