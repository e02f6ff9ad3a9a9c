package governor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// share is how many slots one of so many processes books at once: the process's
// part of the rate for so long that writes are rare (0.016 per call at 50/s per
// process, 0.05 at 10/s, 0.33 below 1.5/s), and no longer than a crash may waste.
func share(every time.Duration, live int) int {
	own := every * time.Duration(live)
	if own > time.Second/25 {
		return max(3, int(2*time.Second/own)) // a slow limit: what the patience allows
	}
	return max(1, int(1250*time.Millisecond/max(own, 1)))
}

// bookable is how many slots to book now for a line, and if none, how long it
// will stay so by itself. g.mu is held.
func (g *Governor) bookable(l *line, now instant) (k int, wait time.Duration) {
	it := &g.view.item
	need := g.wanted(l, now) - len(l.slots)
	if need <= 0 || len(l.waiters) == 0 || it.Stop.Kind != "" || it.Breaker.Open() || it.Budget.left() == 0 && g.funds() == 0 {
		return 0, time.Hour
	}
	at := g.nextBooking(now, l.class)
	if !l.paced() {
		if d := at.Sub(now.wall); d > 0 {
			return 0, d
		}
		if it.unproved() && len(l.slots) == 0 && g.free(now) > 0 {
			return 1, 0
		}
		if g.counted(l.class) && !g.covered(l.class, now.wall) && g.free(now) > 0 {
			return 1, 0
		}
		return 0, time.Hour
	}
	if it.Budget.ended(at) {
		return 0, time.Hour
	}
	if d := at.Sub(now.wall); d > g.cfg.Patience {
		return 0, d - g.cfg.Patience
	}
	r := g.ruling(now.wall)
	every := l.every(g.view.all, now.wall)
	if d := latest(now.wall, it.Brake.Until, g.obey).Sub(now.wall); d > rebook {
		return 0, d - rebook
	}
	if len(l.slots) > 0 {
		left := l.slots[len(l.slots)-1].at.Sub(now.wall)
		full := share(every, it.live(now.wall, g.cfg.Member))
		if left > rebook {
			return 0, left - rebook
		}
		if left > hurry && need < full {
			return 0, left - hurry
		}
		if d := now.mono - l.lastBook; d < pauseBook && need < full {
			return 0, pauseBook - d
		}
	}
	if r.inFlight > 0 && g.flight.held == 0 {
		return 0, time.Hour // leaseDue sees to that
	}
	if g.flight.short(now.mono) {
		need = min(need, g.usable(now, every, it.live(now.wall, g.cfg.Member)))
	}
	if need == 0 {
		return 0, time.Hour // a release wakes the keeper
	}
	return need, 0
}

// covered tells whether the purse has credit for a call of the class. g.mu is held.
func (g *Governor) covered(c *class, now time.Time) bool {
	for _, ch := range g.rules.charges(&g.view.item, c, now) {
		if g.purse[ch.account] < ch.units {
			return false
		}
	}
	return true
}

// usable is how many permits can be used while places in flight, not the rate,
// are what is missing; none while no place is free. Alone, a process books all
// that the rate gives while it makes as many calls as in the last second. Others
// wait while a process's permits pass unused, so then it books so few that all
// of them together take half a call's time.
func (g *Governor) usable(now instant, every time.Duration, live int) int {
	free, f := g.free(now), &g.flight
	if free == 0 {
		return 0
	}
	k := free + f.recent(now.mono)
	if live > 1 {
		k = min(k, int(f.took/2/(max(every, 1)*time.Duration(live))))
	}
	return max(k, 1)
}

// wanted is how many slots this process could use now: one for each waiter, and
// when it is fast some for those who will be back before a slot booked later
// could be theirs, unless such were in vain lately. g.mu is held.
func (g *Governor) wanted(l *line, now instant) int {
	f := &g.flight
	if len(g.lines) > 1 || f.unused > 0 && now.mono-f.unused < shortage {
		return len(l.waiters)
	}
	return len(l.waiters) + f.recent(now.mono)/25
}

// An order is so many slots for a class, and what was got.
type order struct {
	class *class
	want  int
	slot  bool // of a class that needs none otherwise
	got   []slot
}

// book books slots in one write.
//
// In each lane that binds a call its slot is as far as the lane's interval, times
// what the call counts, after the one before, and as far before the one behind,
// whoever has those, and whatever was cut in between; none is before the end of a
// brake.
func (g *Governor) book(ctx context.Context, orders []order) error {
	own, debts := g.emptied(), g.owed()
	var left purse
	_, err := g.member(ctx, "book", 0, func(it *Item, now time.Time) (last time.Time, _ error) {
		left = maps.Clone(own)
		if it.Stop.Kind != "" || it.Breaker.Open() {
			return time.Time{}, errUnchanged
		}
		all := g.rules.rulings(it, now)
		it.pruneLanes(g.rules, all, now)
		g.rules.owe(it, all, debts, now, g.blindFor())
		for i := range orders {
			o := &orders[i]
			o.got = g.slotsOf(it, now, all, o.class, o.want, left, o.got[:0])
			if n := len(o.got); n > 0 {
				last = latest(last, o.got[n-1].at)
			}
		}
		if last.IsZero() {
			return time.Time{}, errUnchanged
		}
		g.calm(it)
		return last, nil
	})
	if err != nil {
		g.stillOwed(debts)
	}
	if errors.Is(err, errUnchanged) {
		g.refill(own)
		return nil
	}
	if err != nil {
		g.refill(nil)
		return err // it may have been written: what it paid with is not paid with again
	}
	g.refill(left)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range orders {
		l := g.line(o.class)
		l.slots = append(l.slots, o.got...)
		slices.SortFunc(l.slots, func(a, b slot) int { return a.at.Compare(b.at) })
		g.stats.Booked += len(o.got)
		l.lastBook = g.instant().mono
	}
	wake(g.pacing)
	return nil
}

// slotsOf books the next slots of a class in it and appends them to got: at most
// want, this process's share of the horizon, as many as there is room for in what
// is counted and as its own purse pays for, and none further away than is worth
// waiting.
func (g *Governor) slotsOf(it *Item, now time.Time, all rulings, c *class, want int, own purse, got []slot) []slot {
	floor := latest(now.Add(lead), it.Brake.Until)
	far, blind := now.Add(g.cfg.Patience), g.blindFor()
	want = min(want, share(c.every(all, now), it.live(now, g.cfg.Member)))
	for range want {
		at, late := g.rules.find(it, c, all, own, blind, floor)
		if at.After(far) || it.Budget.ended(at) || g.rules.left(it, c, own, at) == 0 {
			break
		}
		charges := g.rules.charges(it, c, at)
		it.pay(charges, own)
		late = it.Budget.within(at, late)
		g.rules.keep(it, c, all, at, floor, blind)
		if it.prove(g.cfg.Limits, at) {
			all = g.rules.rulings(it, now)
		}
		got = append(got, slot{at: at, late: late, epoch: it.Epoch, paid: charges, class: c})
	}
	return got
}

// keep writes a slot of a class at an instant into its lanes.
func (r rules) keep(it *Item, c *class, all rulings, at, floor time.Time, blind time.Duration) {
	r.countTold(it, c, at)
	if r.plain() {
		it.Booked = latest(it.Booked, at)
		return
	}
	for _, t := range c.lanes {
		drift := time.Duration(0)
		if t.limit != shared {
			drift = r.drift(t.limit)
		}
		l := it.lane(t.key, blind).take(all.of(t.limit), t.units, at, floor, drift)
		it.keepLane(t.key, l, blind)
	}
	if it.Lanes != nil && it.Lanes.Of.Equal(it.Booked) {
		it.Lanes.Of = latest(it.Booked, at)
	}
	it.Booked = latest(it.Booked, at)
}

// blindFor is how long after a cut a process that has not heard of it may still
// use its slots. A cut bears the instant at which it was made, by the clock of
// whoever made it; it takes effect later, by as long as the write takes.
func (g *Governor) blindFor() time.Duration { return g.cfg.Stale + 2*g.cfg.Spread + g.cfg.Slow }
