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
		what, orders, wait := g.plan(now)
		if what == leaving {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if what != nothing {
			g.do(ctx, what, orders)
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
func (g *Governor) do(ctx context.Context, what job, orders []order) {
	owner := ctx
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
		if orders[0].class.paced() || orders[0].slot {
			err = g.book(ctx, orders)
		} else {
			err = g.borrow(ctx, orders[0].class)
		}
	case halt:
		err = g.halt(ctx)
	}
	if what != look && owner.Err() == nil {
		g.wrote(err)
	}
	if err != nil && ctx.Err() == nil {
		g.cfg.Log.Debug("the governor's store did not answer", "vendor", g.cfg.Vendor, "err", err)
	}
}

// plan decides what to do now, and if nothing, for how long. Waiters who cannot
// be served in time are sent away. g.mu is held.
func (g *Governor) plan(now instant) (what job, orders []order, wait time.Duration) {
	again := g.mute.last + g.cfg.Poll - now.mono // the next write, after one that failed
	if g.mute.failed == nil {
		again = 0
	}
	if g.waiting() > 0 && g.haltDue(now) && again <= 0 {
		return halt, nil, 0
	}
	g.turnAway(now)
	want, ahead := g.waiting(), g.ahead()
	if want+g.flight.inUse > 0 {
		g.busy = now.mono
	}
	if g.flight.until.Before(now.wall) {
		g.flight.held = 0
	}
	if want == 0 && ahead == 0 && g.flight.held == 0 {
		return leaving, nil, 0
	}
	if d := g.retry - now.mono; d > 0 {
		return nothing, nil, d
	}
	if g.clock.due(now) || g.view.got.mono == 0 || g.view.failed != nil { // a read first: a write may fail for ever
		return look, nil, 0
	}
	if g.clock.off != "" {
		return nothing, nil, clockAgain
	}
	if again > 0 { // reading goes on meanwhile
		return nothing, nil, again
	}
	if g.leaseDue(now) {
		return lease, nil, 0
	}
	if orders, wait = g.orders(now); len(orders) > 0 {
		return book, orders, 0
	}
	if want == 0 && ahead == 0 {
		return nothing, nil, min(wait, handBack)
	}
	if !g.seen(now, g.cfg.Poll) {
		return look, nil, 0
	}
	return nothing, nil, min(wait, g.cfg.Poll-(now.mono-g.view.asked.mono))
}

// turnAway sends those away whose permit is out of reach. g.mu is held.
func (g *Governor) turnAway(now instant) {
	if g.waiting() == 0 {
		return
	}
	if g.clock.off == "" && g.view.failed == nil && !g.seen(now, g.cfg.Poll) {
		return // what we know may be over: look first
	}
	hold, next, why := g.hold(now)
	switch hold {
	case fanout.Stopped:
		g.refuse(why)
	case fanout.Blind:
		if g.clock.off != "" && !g.clock.due(now) || g.blindSince(now) > g.cfg.Patience {
			g.refuse(why)
		}
	case fanout.Braked, fanout.Outage:
		if next.Sub(now.wall) > g.cfg.Patience {
			g.refuse(why)
		}
	default:
		for _, l := range g.lines {
			g.turnAwayFrom(l, now)
		}
	}
}

// turnAwayFrom is turnAway of a line, when nothing but limits keeps it.
func (g *Governor) turnAwayFrom(l *line, now instant) {
	if len(l.waiters) == 0 {
		return
	}
	at := g.nextSlot(now, l)
	away := at.Sub(now.wall)
	switch name, until := g.rules.waitsFor(&g.view.item, l.class, g.purse, now.wall); {
	case away > g.cfg.Patience && name != "":
		g.refuseIn(l, len(l.slots), fmt.Sprintf("limit %s is used up until %s", name, g.rules.limit(name).ResetText(until)))
	case away > g.cfg.Patience:
		g.refuseIn(l, len(l.slots), fmt.Sprintf("the next permit is %v away", away.Round(time.Second)))
	case g.view.item.Budget.ended(at):
		g.refuseIn(l, len(l.slots), "the budget ends before the next permit")
	case l.each: // others are to go on with what waits for those here
		if every := l.every(g.view.all, now.wall); every > 0 {
			g.refuseIn(l, max(int(g.cfg.Patience/every), 1), "others wait for the same")
		}
	}
}

// orders are the slots to book now, in one write, and if there are none, for how
// long. g.mu is held.
func (g *Governor) orders(now instant) (orders []order, wait time.Duration) {
	wait = time.Hour
	for _, l := range g.lines {
		k, d := g.bookable(l, now)
		if k == 0 {
			wait = min(wait, d)
			continue
		}
		o := order{class: l.class, want: k, slot: !l.paced() && g.view.item.unproved()}
		if !l.paced() {
			return []order{o}, 0
		}
		orders = append(orders, o)
	}
	return orders, wait
}

// blindSince is how long somebody has been waiting for the store.
// g.mu is held.
func (g *Governor) blindSince(now instant) time.Duration {
	if g.muted(now) != nil {
		return now.mono - max(g.mute.since, g.since)
	}
	return now.mono - max(g.view.asked.mono, g.since)
}
