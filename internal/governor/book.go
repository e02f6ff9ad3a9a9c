package governor

import (
	"context"
	"errors"
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

// bookable is how many slots to book now, and if none, how long it will stay so
// by itself. g.mu is held.
func (g *Governor) bookable(now instant) (k int, wait time.Duration) {
	it := &g.view.item
	need := g.wanted(now) - len(g.slots)
	if need <= 0 || len(g.waiters) == 0 || it.Stop.Kind != "" || it.Breaker.Open() || it.Budget.left() == 0 && g.funds() == 0 {
		return 0, time.Hour
	}
	if !g.paced() {
		if g.counted() && g.funds() == 0 && g.free(now) > 0 {
			return 1, 0
		}
		return 0, time.Hour
	}
	if it.Budget.ended(g.nextBooking(now)) {
		return 0, time.Hour
	}
	r := g.ruling(now.wall)
	if d := latest(now.wall, it.Brake.Until, g.obey).Sub(now.wall); d > rebook {
		return 0, d - rebook
	}
	if len(g.slots) > 0 {
		left := g.slots[len(g.slots)-1].at.Sub(now.wall)
		full := share(r.every, it.live(now.wall, g.cfg.Member))
		if left > rebook {
			return 0, left - rebook
		}
		if left > hurry && need < full {
			return 0, left - hurry
		}
		if d := now.mono - g.lastBook; d < pauseBook && need < full {
			return 0, pauseBook - d
		}
	}
	if r.inFlight > 0 && g.flight.held == 0 {
		return 0, time.Hour // leaseDue sees to that
	}
	if g.flight.short(now.mono) {
		need = min(need, g.usable(now, r, it.live(now.wall, g.cfg.Member)))
	}
	if need == 0 {
		return 0, time.Hour // a release wakes the keeper
	}
	return need, 0
}

// usable is how many permits can be used while places in flight, not the rate,
// are what is missing; none while no place is free. Alone, a process books all
// that the rate gives while it makes as many calls as in the last second. Others
// wait while a process's permits pass unused, so then it books so few that all
// of them together take half a call's time.
func (g *Governor) usable(now instant, r ruling, live int) int {
	free, f := g.free(now), &g.flight
	if free == 0 {
		return 0
	}
	k := free + f.recent(now.mono)
	if live > 1 {
		k = min(k, int(f.took/2/(r.every*time.Duration(live))))
	}
	return max(k, 1)
}

// wanted is how many slots this process could use now: one for each waiter, and
// when it is fast some for those who will be back before a slot booked later
// could be theirs, unless such were in vain lately. g.mu is held.
func (g *Governor) wanted(now instant) int {
	f := &g.flight
	if f.unused > 0 && now.mono-f.unused < shortage {
		return len(g.waiters)
	}
	return len(g.waiters) + f.recent(now.mono)/25
}

// book books up to want slots in one write.
//
//	booked' = booked + k * every: the k slots that end at booked' are ours alone
//
// No slot is nearer than every to the one before, whoever has that, and whatever
// was cut in between; none is before the end of a brake.
func (g *Governor) book(ctx context.Context, want int) error {
	var got []slot
	own := g.allCredit()
	paid := 0 // with credit of our own
	_, err := g.member(ctx, "book", 0, func(it *Item, now time.Time) (time.Time, error) {
		got = got[:0]
		if it.Stop.Kind != "" || it.Breaker.Open() {
			return time.Time{}, errUnchanged
		}
		usable := 0
		if it.Budget != nil && it.Budget.Since.Equal(own.of) {
			usable = own.n
		}
		got = g.slotsOf(it, now, want, usable, got)
		if len(got) == 0 {
			return time.Time{}, errUnchanged
		}
		g.calm(it)
		paid = min(len(got), usable)
		it.Budget.spend(len(got) - paid)
		it.Booked = got[len(got)-1].at
		return it.Booked, nil
	})
	if errors.Is(err, errUnchanged) {
		g.giveBack(own, own.n)
		return nil
	}
	if err != nil {
		g.giveBack(own, 0)
		return err // it may have been written: what it paid with is not paid with again
	}
	g.giveBack(own, own.n-paid)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots = append(g.slots, got...)
	slices.SortFunc(g.slots, func(a, b slot) int { return a.at.Compare(b.at) })
	g.stats.Booked += len(got)
	g.lastBook = g.instant().mono
	wake(g.pacing)
	return nil
}

// slotsOf appends the next slots of the vendor to got: at most want, this
// process's share of the horizon, as many as the budget and own credit pay for,
// and none further away than is worth waiting.
func (g *Governor) slotsOf(it *Item, now time.Time, want, own int, got []slot) []slot {
	segs := g.rules.segments(it, now)
	live := it.live(now, g.cfg.Member)
	every := segs[0].every
	want = min(want, share(every, live))
	if left := it.Budget.left(); left < want-own {
		want = left + own
	}
	last, floor := it.last(g.blindFor()), latest(now.Add(lead), it.Brake.Until)
	far := now.Add(g.cfg.Patience)
	for range want {
		at, late := next(segs, last, floor)
		if at.After(far) || it.Budget.ended(at) {
			break
		}
		late = it.Budget.within(at, late)
		got = append(got, slot{at: at, late: late, epoch: it.Epoch, of: it.Budget.since()})
		last = at
	}
	return got
}

// blindFor is how long after a cut a process that has not heard of it may still
// use its slots. A cut bears the instant at which it was made, by the clock of
// whoever made it; it takes effect later, by as long as the write takes.
func (g *Governor) blindFor() time.Duration { return g.cfg.Stale + 2*g.cfg.Spread + g.cfg.Slow }
