package governor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A slot is the right to start one call at an instant, or up to late after it.
type slot struct {
	at    time.Time
	late  time.Duration
	epoch int64
	probe bool      // for the one call that an open breaker lets through
	of    time.Time // the Since of the budget that it counts in; zero: none
}

// A waiter is one call of Take. It is in g.waiters until something is sent on
// ready; whoever sends takes it out first.
type waiter struct {
	ready chan grant // capacity 1
}

// A grant is a slot whose instant has come, with a place in flight, or an error.
type grant struct {
	slot slot
	err  error
}

// verdict on a slot at the instant of use.
type verdict int

const (
	good verdict = iota
	late
	void
	blind
	early
)

// Take implements fanout.Governor.
//
// booked -> its instant came -> place in flight taken -> judged again by the
// caller's own goroutine -> used. A slot that fails the last judgement is gone,
// and its caller goes back to the front of the queue.
func (g *Governor) Take(ctx context.Context) (_ fanout.Permit, err error) {
	began := time.Now()
	defer func() {
		g.mu.Lock()
		g.stats.Waited += time.Since(began)
		g.mu.Unlock()
	}()
	w := &waiter{ready: make(chan grant, 1)}
	for front := false; ; front = true {
		if err := g.enqueue(ctx, w, front); err != nil {
			return fanout.Permit{}, err
		}
		select {
		case gr := <-w.ready:
			if gr.err != nil {
				return fanout.Permit{}, gr.err
			}
			if g.use(gr.slot) {
				return fanout.Permit{Release: g.releaser(), By: g.by(gr.slot), Unused: g.unused(gr.slot)}, nil
			}
		case <-ctx.Done():
			g.abandon(w)
			return fanout.Permit{}, noPermit(ctx.Err().Error())
		}
	}
}

// by is until when a request on s may be written, by this process's own clock.
func (g *Governor) by(s slot) time.Time {
	return time.Now().Add(s.at.Add(s.late).Sub(g.cfg.Now()))
}

// unused keeps what a permit cost with which nothing was sent.
func (g *Governor) unused(s slot) func() {
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.wasted(s)
	})
}

func noPermit(why string) error { return fmt.Errorf("%w: %s", fanout.ErrNoPermit, why) }

func (g *Governor) enqueue(ctx context.Context, w *waiter, front bool) error {
	if err := ctx.Err(); err != nil {
		return noPermit(err.Error())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return noPermit("the governor was closed")
	}
	if front {
		g.waiters = slices.Insert(g.waiters, 0, w)
	} else {
		g.waiters = append(g.waiters, w)
	}
	g.run()
	wake(g.pacing)
	wake(g.keeping)
	return nil
}

// abandon takes w out of the queue. What it was granted meanwhile goes to the
// next.
func (g *Governor) abandon(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiters, w); i >= 0 {
		g.waiters = slices.Delete(g.waiters, i, i+1)
		return
	}
	if gr := <-w.ready; gr.err == nil {
		g.flight.inUse--
		if g.paced() {
			g.slots = slices.Insert(g.slots, 0, gr.slot)
		}
		g.run()
		wake(g.pacing)
	}
}

// refuse sends away all waiters but the first keep. g.mu is held.
func (g *Governor) refuse(keep int, why string) {
	if len(g.waiters) <= keep {
		return
	}
	g.away = g.instant().mono
	for _, w := range g.waiters[keep:] {
		w.ready <- grant{err: noPermit(why)}
	}
	g.waiters = slices.Delete(g.waiters, keep, len(g.waiters))
}

// use judges a slot for the last time and counts it.
func (g *Governor) use(s slot) bool {
	g.stall()
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.judge(s, g.instant())
	g.count(s, v)
	if v != good {
		g.flight.inUse--
		return false
	}
	g.flight.started(g.instant().mono)
	return true
}

// releaser returns what gives the place of a call that starts now back, once.
func (g *Governor) releaser() func() {
	began := time.Now()
	return sync.OnceFunc(func() {
		took := time.Since(began)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flight.ended(took)
		wake(g.pacing)
		wake(g.keeping)
	})
}

func (g *Governor) count(s slot, v verdict) {
	if v != good {
		g.wasted(s)
	}
	switch v {
	case good:
		g.stats.Used++
	case late:
		g.stats.Forfeited++
	case void:
		g.stats.Voided++
	default:
		g.stats.Blind++
	}
}

// judge says whether a call may start on s now. g.mu is held.
func (g *Governor) judge(s slot, now instant) verdict {
	it := &g.view.item
	switch {
	case !g.clock.trusted(now) || !g.seen(now, g.cfg.Stale):
		return blind
	case now.wall.Before(s.at):
		return early // the wall clock was set back meanwhile
	case now.wall.Sub(s.at) > s.late:
		return late
	case it.Budget.ended(now.wall):
		return void
	case it.void(s.at, s.epoch) || it.Stop.Kind != "" || it.Breaker.Open() && !s.probe || now.wall.Before(g.obey):
		return void
	}
	return good
}

// dropVoid forgets slots that were withdrawn. g.mu is held.
func (g *Governor) dropVoid() {
	g.slots = slices.DeleteFunc(g.slots, func(s slot) bool {
		gone := g.view.item.void(s.at, s.epoch)
		if gone {
			g.stats.Voided++
			g.wasted(s)
		}
		return gone
	})
}

// paced tells whether a limit has a rate. g.mu is held.
func (g *Governor) paced() bool {
	return slices.ContainsFunc(g.cfg.Limits, func(l Limit) bool { return l.Kind != Unpaced })
}

// run starts the pacer and the keeper unless they are at work. The keeper ends
// both when there is nothing left to do. g.mu is held.
func (g *Governor) run() {
	if g.running || g.closed {
		return
	}
	g.running, g.since = true, g.instant().mono
	ctx, cancel := context.WithCancel(g.base)
	g.wg.Go(func() { g.pace(ctx) })
	g.wg.Go(func() { defer cancel(); g.keep(ctx) })
}

// pace hands out slots as their instants come, until ctx ends.
func (g *Governor) pace(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g.stall()
		g.mu.Lock()
		wait := g.handOut(g.instant())
		g.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			wake(g.pacing) // it may have been meant for the next pacer
			return
		case <-timer.C:
		case <-g.pacing:
		}
	}
}

// handOut gives what is due to the first waiters and says how long nothing else
// will be due by itself. g.mu is held.
func (g *Governor) handOut(now instant) time.Duration {
	if !g.paced() {
		g.handOutUnpaced(now)
		return time.Hour
	}
	for len(g.slots) > 0 {
		s := g.slots[0]
		if d := s.at.Sub(now.wall); d > 0 {
			return d
		}
		free := g.free(now)
		if v := g.judge(s, now); v != good {
			switch {
			case v == late && free == 0:
				g.flight.lacked = now.mono
			case v == late && len(g.waiters) == 0:
				g.flight.unused = now.mono
			}
			g.count(s, v)
			g.slots = g.slots[1:]
			continue
		}
		if free == 0 || len(g.waiters) == 0 {
			return s.at.Add(s.late + 1).Sub(now.wall) // until then somebody may come
		}
		g.slots = g.slots[1:]
		g.grant(s)
	}
	return time.Hour
}

// handOutUnpaced serves vendors that limit nothing but calls at once.
func (g *Governor) handOutUnpaced(now instant) {
	it := &g.view.item
	s := slot{at: now.wall, late: it.Budget.within(now.wall, mostLate), epoch: it.Epoch}
	for len(g.waiters) > 0 && g.free(now) > 0 && g.judge(s, now) == good && g.credit() {
		g.stats.Booked++
		g.grant(s)
	}
}

// grant gives s and a place in flight to the first waiter. g.mu is held.
func (g *Governor) grant(s slot) {
	w := g.waiters[0]
	g.waiters = slices.Delete(g.waiters, 0, 1)
	g.flight.inUse++
	w.ready <- grant{slot: s}
}
