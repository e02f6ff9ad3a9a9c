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
	probe bool     // for the one call that an open breaker lets through
	paid  []charge // what it counts, and in what
	class *class   // it was booked for
}

// A waiter is one call of Take. It is among its line's waiters until something is
// sent on ready; whoever sends takes it out first.
type waiter struct {
	ready chan grant // capacity 1
	line  *line
}

// A line is whose calls are of one class, and the slots that were booked for them.
type line struct {
	*class
	waiters  []*waiter     // who wants a permit, in order
	slots    []slot        // what was booked, in order
	lastBook time.Duration // monotonic
}

// line is that of a class, which may be new. g.mu is held.
func (g *Governor) line(c *class) *line {
	for _, l := range g.lines {
		if l.key == c.key {
			l.class = c // what an answer tells about the weight of calls may have changed
			return l
		}
	}
	if len(g.lines) >= mostLines {
		g.lines = slices.DeleteFunc(g.lines, func(l *line) bool { return len(l.waiters)+len(l.slots) == 0 })
	}
	l := &line{class: c}
	g.lines = append(g.lines, l)
	return l
}

// mostLines is how many lines are kept that nobody stands in.
const mostLines = 64

// waiting is how many want a permit. g.mu is held.
func (g *Governor) waiting() (n int) {
	for _, l := range g.lines {
		n += len(l.waiters)
	}
	return n
}

// ahead is how many slots are booked. g.mu is held.
func (g *Governor) ahead() (n int) {
	for _, l := range g.lines {
		n += len(l.slots)
	}
	return n
}

// class is that of a call. g.mu is held.
func (g *Governor) class(c fanout.Call) *class {
	if g.plain != nil {
		return g.plain
	}
	return g.rules.class(c, g.expected, g.cfg.Value)
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
func (g *Governor) Take(ctx context.Context, call fanout.Call) (_ fanout.Permit, err error) {
	began := time.Now()
	defer func() {
		g.mu.Lock()
		g.stats.Waited += time.Since(began)
		g.mu.Unlock()
	}()
	w := &waiter{ready: make(chan grant, 1)}
	for front := false; ; front = true {
		if err := g.enqueue(ctx, w, call, front); err != nil {
			return fanout.Permit{}, err
		}
		select {
		case gr := <-w.ready:
			if gr.err != nil {
				return fanout.Permit{}, gr.err
			}
			if g.use(gr.slot) {
				return fanout.Permit{Release: g.releaser(), By: g.by(gr.slot), Unused: g.unused(gr.slot), Cost: g.costs(call, gr.slot)}, nil
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

func (g *Governor) enqueue(ctx context.Context, w *waiter, call fanout.Call, front bool) error {
	if err := ctx.Err(); err != nil {
		return noPermit(err.Error())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return noPermit("the governor was closed")
	}
	l := g.line(g.class(call))
	if w.line = l; front {
		l.waiters = slices.Insert(l.waiters, 0, w)
	} else {
		l.waiters = append(l.waiters, w)
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
	l := w.line
	if i := slices.Index(l.waiters, w); i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
		return
	}
	if gr := <-w.ready; gr.err == nil {
		g.flight.inUse--
		if l = g.line(l.class); l.paced() || !gr.slot.at.After(g.view.item.Probe) && !gr.slot.at.Before(g.view.item.Probe) {
			l.slots = slices.Insert(l.slots, 0, gr.slot)
		} else {
			g.wasted(gr.slot)
		}
		g.run()
		wake(g.pacing)
	}
}

// refuse sends all waiters away. g.mu is held.
func (g *Governor) refuse(why string) {
	for _, l := range g.lines {
		g.refuseIn(l, 0, why)
	}
}

// refuseIn sends away all waiters of a line but the first keep. g.mu is held.
func (g *Governor) refuseIn(l *line, keep int, why string) {
	if len(l.waiters) <= keep {
		return
	}
	g.away, g.awayOf = g.instant().mono, l.class
	for _, w := range l.waiters[keep:] {
		w.ready <- grant{err: noPermit(why)}
	}
	l.waiters = slices.Delete(l.waiters, keep, len(l.waiters))
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
	for _, l := range g.lines {
		l.slots = slices.DeleteFunc(l.slots, func(s slot) bool {
			gone := g.view.item.void(s.at, s.epoch)
			if gone {
				g.stats.Voided++
				g.wasted(s)
			}
			return gone
		})
	}
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
	wait := time.Hour
	for _, l := range g.inTurn() {
		wait = min(wait, g.handOutIn(l, now)) // one that stands alone, too
		if !l.paced() {
			g.handOutUnpaced(l, now)
		}
	}
	return wait
}

// inTurn are the lines, those first whose slots are. g.mu is held.
func (g *Governor) inTurn() []*line {
	if len(g.lines) < 2 {
		return g.lines
	}
	lines := slices.Clone(g.lines)
	slices.SortStableFunc(lines, compareLines)
	return lines
}

// handOutIn is handOut of a line with slots. g.mu is held.
func (g *Governor) handOutIn(l *line, now instant) time.Duration {
	for len(l.slots) > 0 {
		s := l.slots[0]
		if d := s.at.Sub(now.wall); d > 0 {
			return d
		}
		free := g.free(now)
		if v := g.judge(s, now); v != good {
			switch {
			case v == late && free == 0:
				g.flight.lacked = now.mono
			case v == late && len(l.waiters) == 0:
				g.flight.unused = now.mono
			}
			g.count(s, v)
			l.slots = l.slots[1:]
			continue
		}
		if free == 0 || len(l.waiters) == 0 {
			return s.at.Add(s.late + 1).Sub(now.wall) // until then somebody may come
		}
		l.slots = l.slots[1:]
		g.grant(l, s)
	}
	return time.Hour
}

// handOutUnpaced serves calls of which nothing is limited but how many there are
// at once, or in a day.
func (g *Governor) handOutUnpaced(l *line, now instant) {
	it := &g.view.item
	s := slot{at: now.wall, late: it.Budget.within(now.wall, mostLate), epoch: it.Epoch, class: l.class}
	for len(l.waiters) > 0 && len(l.slots) == 0 && !it.unproved() && g.free(now) > 0 && g.judge(s, now) == good && !g.nextBooking(now, l.class).After(now.wall) {
		var ok bool
		if s.paid, ok = g.credit(l.class, now.wall); !ok {
			return
		}
		g.stats.Booked++
		g.grant(l, s)
	}
}

// grant gives s and a place in flight to the line's first waiter. g.mu is held.
func (g *Governor) grant(l *line, s slot) {
	w := l.waiters[0]
	l.waiters = slices.Delete(l.waiters, 0, 1)
	g.flight.inUse++
	w.ready <- grant{slot: s}
}
