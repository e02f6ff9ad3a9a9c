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
func (g *Governor) Outlook(ctx context.Context, tier string, within time.Duration) (fanout.Outlook, error) {
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
	c := g.class(fanout.Call{Tier: tier})
	if o.Hold, o.Next, o.Why = g.hold(now); o.Hold != fanout.Free {
		g.away = now.mono
	}
	switch o.Hold {
	case fanout.Stopped, fanout.Blind, fanout.Outage:
		return o, nil
	case fanout.Free:
		o.Next, o.Why = g.nextOf(now, c), g.kept(now)
		if name, until := g.rules.waitsFor(&g.view.item, c, g.purse, now.wall); name != "" && o.Next.Sub(now.wall) > time.Second {
			o.Why = fmt.Sprintf("limit %s is used up until %s", name, g.rules.limit(name).ResetText(until))
			if o.Next.Sub(now.wall) > g.cfg.Patience {
				g.away, g.awayOf = now.mono, c
			}
		}
	}
	waiting, _ := g.queued(c)
	o.Calls = max(0, g.expect(now, c, o.Next, within)-waiting)
	return o, nil
}

// queued is how many of a class's calls wait, and how many slots they have; of all
// values, where limits are kept for each. g.mu is held.
func (g *Governor) queued(c *class) (waiting, slots int) {
	for _, l := range g.lines {
		if l.base == c.base {
			waiting, slots = waiting+len(l.waiters), slots+len(l.slots)
		}
	}
	return waiting, slots
}

// expect is how many permits this process gets for a class from the given instant
// until within from now. g.mu is held.
func (g *Governor) expect(now instant, c *class, from time.Time, within time.Duration) int {
	_, slots := g.queued(c)
	if from.Sub(now.wall) > within {
		return 0
	}
	n := g.expectRate(now, c, slots, from, within)
	if most := g.rules.left(&g.view.item, c, g.purse, from); most < math.MaxInt {
		return min(n, most+slots)
	}
	return n
}

// expectRate is expect as far as nothing is counted. g.mu is held.
func (g *Governor) expectRate(now instant, c *class, slots int, from time.Time, within time.Duration) int {
	r, every := g.ruling(now.wall), c.every(g.view.all, now.wall)
	if r.inFlight > 0 && (every == 0 || g.flight.short(now.mono)) {
		return g.fairShare(now, r.inFlight)*g.flight.turns(within) - g.flight.inUse
	}
	if every == 0 {
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
	share := max(1, int(left/every/live))
	return max(share, slots)
}

// nextSlot is the earliest instant that a line could have now. g.mu is held.
func (g *Governor) nextSlot(now instant, l *line) time.Time {
	if len(l.slots) > 0 {
		return l.slots[0].at
	}
	return g.nextBooking(now, l.class)
}

// nextOf is the same of a class. g.mu is held.
func (g *Governor) nextOf(now instant, c *class) time.Time {
	next := g.nextBooking(now, c)
	for _, l := range g.lines {
		if l.base == c.base && len(l.slots) > 0 && l.slots[0].at.Before(next) {
			next = l.slots[0].at
		}
	}
	return next
}

// nextBooking is the earliest instant that could be booked now for a class. g.mu
// is held.
func (g *Governor) nextBooking(now instant, c *class) time.Time {
	floor := latest(now.wall, g.obey, g.view.item.Brake.Until)
	if len(g.view.all.shared) == 0 {
		return floor
	}
	if c.paced() {
		floor = latest(now.wall.Add(lead), floor)
	}
	at, _ := g.rules.find(&g.view.item, c, g.view.all, g.purse, g.blindFor(), floor)
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
	case g.muted(now) != nil:
		return fanout.Blind, time.Time{}, fmt.Sprintf("the governor's store cannot be written: %v", g.muted(now))
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
