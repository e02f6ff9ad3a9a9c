package governor

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A job is one thing that the keeper does with the store.
type job int

const (
	nothing job = iota
	look        // read the item, check the clock if due
	lease       // adjust the places in flight
	book        // book permits
	halt        // stop the vendor: its budget is over
	leaving     // nothing left to do: end
)

// keep does all background work with the store, one operation at a time, for as
// long as somebody waits, a booked slot is ahead, or places in flight are held.
func (g *Governor) keep(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		g.stall()
		g.mu.Lock()
		now := g.instant()
		what, k, wait := g.plan(now)
		if what == leaving {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if what != nothing {
			g.do(ctx, what, k)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-g.keeping:
		}
	}
}

// do does one job. A failure shows in the view; plan tries again after Poll.
func (g *Governor) do(ctx context.Context, what job, k int) {
	ctx, cancel := context.WithTimeout(ctx, 2*g.cfg.Stale)
	defer cancel()
	var err error
	switch what {
	case look:
		err = g.refresh(ctx)
	case lease:
		_, err = g.member(ctx, "lease", 0, func(it *Item, _ time.Time) (time.Time, error) {
			g.calm(it)
			return time.Time{}, nil
		})
	case book:
		if g.paced() {
			err = g.book(ctx, k)
		} else {
			err = g.borrow(ctx)
		}
	case halt:
		err = g.halt(ctx)
	}
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Debug("the governor's store did not answer", "vendor", g.cfg.Vendor, "err", err)
	}
}

// plan decides what to do now, and if nothing, for how long. Waiters who cannot
// be served in time are sent away. g.mu is held.
func (g *Governor) plan(now instant) (what job, k int, wait time.Duration) {
	if len(g.waiters) > 0 && g.haltDue(now) {
		return halt, 0, 0
	}
	g.turnAway(now)
	want := len(g.waiters)
	if want+g.flight.inUse > 0 {
		g.busy = now.mono
	}
	if g.flight.until.Before(now.wall) {
		g.flight.held = 0
	}
	if want == 0 && len(g.slots) == 0 && g.flight.held == 0 {
		return leaving, 0, 0
	}
	if d := g.retry - now.mono; d > 0 {
		return nothing, 0, d
	}
	if g.clock.due(now) || g.view.got.mono == 0 || g.view.failed != nil { // a read first: a write may fail for ever
		return look, 0, 0
	}
	if g.clock.off != "" {
		return nothing, 0, clockAgain
	}
	if g.leaseDue(now) {
		return lease, 0, 0
	}
	k, wait = g.bookable(now)
	if k > 0 {
		return book, k, 0
	}
	if want == 0 && len(g.slots) == 0 {
		return nothing, 0, min(wait, handBack)
	}
	if !g.seen(now, g.cfg.Poll) {
		return look, 0, 0
	}
	return nothing, 0, min(wait, g.cfg.Poll-(now.mono-g.view.asked.mono))
}

// turnAway sends those away whose permit is out of reach. g.mu is held.
func (g *Governor) turnAway(now instant) {
	if len(g.waiters) == 0 {
		return
	}
	if g.clock.off == "" && g.view.failed == nil && !g.seen(now, g.cfg.Poll) {
		return // what we know may be over: look first
	}
	hold, next, why := g.hold(now)
	switch hold {
	case fanout.Stopped:
		g.refuse(0, why)
	case fanout.Blind:
		if g.clock.off != "" && !g.clock.due(now) || g.blindSince(now) > g.cfg.Patience {
			g.refuse(0, why)
		}
	case fanout.Braked, fanout.Outage:
		if next.Sub(now.wall) > g.cfg.Patience {
			g.refuse(0, why)
		}
	default:
		switch at := g.nextSlot(now); {
		case at.Sub(now.wall) > g.cfg.Patience:
			g.refuse(len(g.slots), fmt.Sprintf("the next permit is %v away", at.Sub(now.wall).Round(time.Second)))
		case g.view.item.Budget.ended(at):
			g.refuse(len(g.slots), "the budget ends before the next permit")
		}
	}
}

// blindSince is how long somebody has been waiting for the store.
// g.mu is held.
func (g *Governor) blindSince(now instant) time.Duration {
	return now.mono - max(g.view.asked.mono, g.since)
}
