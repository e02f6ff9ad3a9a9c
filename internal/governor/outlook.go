package governor

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Outlook implements fanout.Governor. It reads the store only if the latest
// read is older than Poll. A store that cannot be read is no error but Blind.
func (g *Governor) Outlook(ctx context.Context, within time.Duration) (fanout.Outlook, error) {
	if err := g.refresh(ctx); err != nil && ctx.Err() != nil {
		return fanout.Outlook{}, err
	}
	g.mu.Lock()
	over := g.haltDue(g.instant())
	g.mu.Unlock()
	if over {
		if err := g.halt(ctx); err != nil && ctx.Err() != nil {
			return fanout.Outlook{}, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.instant()
	var o fanout.Outlook
	if o.Hold, o.Next, o.Why = g.hold(now); o.Hold != fanout.Free {
		g.away = now.mono
	}
	switch o.Hold {
	case fanout.Stopped, fanout.Blind, fanout.Outage:
		return o, nil
	case fanout.Free:
		o.Next, o.Why = g.nextSlot(now), g.kept(now)
	}
	o.Calls = max(0, g.expect(now, o.Next, within)-len(g.waiters))
	return o, nil
}

// expect is how many permits this process gets from the given instant until
// within from now. g.mu is held.
func (g *Governor) expect(now instant, from time.Time, within time.Duration) int {
	r, b := g.ruling(now.wall), g.view.item.Budget
	if most := b.left(); most < math.MaxInt {
		return min(g.expectRate(now, r, from, within), most+len(g.slots)+g.funds())
	}
	return g.expectRate(now, r, from, within)
}

// expectRate is expect without a budget of calls. g.mu is held.
func (g *Governor) expectRate(now instant, r ruling, from time.Time, within time.Duration) int {
	if r.inFlight > 0 && (r.every == 0 || g.flight.short(now.mono)) {
		return g.fairShare(now, r.inFlight)*g.flight.turns(within) - g.flight.inUse
	}
	if r.every == 0 {
		return ownInFlight - g.flight.inUse
	}
	end := now.wall.Add(within)
	if g.view.item.Budget.ended(end) {
		end = g.view.item.Budget.Until
	}
	left := end.Sub(from)
	if left < 0 {
		return 0
	}
	live := time.Duration(g.view.item.live(now.wall, g.cfg.Member))
	share := max(1, int(left/r.every/live))
	return max(share, len(g.slots))
}

// nextSlot is the earliest instant that could be had now. g.mu is held.
func (g *Governor) nextSlot(now instant) time.Time {
	if len(g.slots) > 0 {
		return g.slots[0].at
	}
	return g.nextBooking(now)
}

// nextBooking is the earliest instant that could be booked now. g.mu is held.
func (g *Governor) nextBooking(now instant) time.Time {
	floor := latest(now.wall, g.obey, g.view.item.Brake.Until)
	if !g.paced() || len(g.view.segs) == 0 {
		return floor
	}
	at, _ := next(g.view.segs, g.view.item.last(g.blindFor()), latest(now.wall.Add(lead), floor))
	return at
}

// hold is what keeps this process from calling now, until when, and why, in one
// line. g.mu is held.
func (g *Governor) hold(now instant) (fanout.Hold, time.Time, string) {
	it := &g.view.item
	stop := g.stopped(now)
	switch {
	case g.clock.off != "":
		return fanout.Blind, time.Time{}, g.clock.off
	case !g.clock.trusted(now) || !g.seen(now, g.cfg.Stale):
		return fanout.Blind, time.Time{}, g.blindWhy(now)
	case stop.Kind != "":
		return fanout.Stopped, time.Time{}, stop.text()
	case it.Breaker.Open():
		return fanout.Outage, probeAt(it.Breaker, now.wall), fmt.Sprintf("down since %s: %s",
			it.Breaker.Since.Format(time.TimeOnly), it.Breaker.Why)
	}
	if until := latest(it.Brake.Until, g.obey); until.After(now.wall) {
		return fanout.Braked, until, fmt.Sprintf("braked for %v more: %s",
			until.Sub(now.wall).Round(100*time.Millisecond), it.Brake.Why)
	}
	return fanout.Free, time.Time{}, ""
}

// text says in one line why the vendor is stopped.
func (s Stop) text() string {
	switch s.Kind {
	case ByOperator:
		return fmt.Sprintf("paused by %s: %s", s.By, s.Why)
	case ByCredentials:
		return "credentials refused: " + s.Why
	case ByDrift:
		return "the vendor's tree has changed: " + s.Why
	}
	return s.Why
}

func (g *Governor) blindWhy(now instant) string {
	if g.view.failed != nil {
		return fmt.Sprintf("the governor's store cannot be read: %v", g.view.failed)
	}
	if g.clock.checked.mono != 0 && g.clock.stepped(now) {
		return "this machine's clock was set: checking it"
	}
	return "the governor's store has not answered yet"
}
