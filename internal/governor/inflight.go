package governor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A limit on calls at once is leased to the processes in blocks, so that no call
// costs a write: the units of all unexpired leases never add up to more than the
// limit. A lease is renewed while it is held, and ends leaseLife and one call's
// total timeout after the last renewal; a call starts only if it must end before.

const (
	turn      = time.Second             // how long a process keeps its only place when others wait
	renewed   = 6 * time.Second         // renew a lease this old
	announced = time.Second             // say again that places are wanted
	handBack  = 200 * time.Millisecond  // between two writes that give places to others
	shortage  = 2 * time.Second         // places are held to be short this long after they were
	idle      = time.Second             // give all back after this long without a caller
	holdsLive = renewed + 2*time.Second // a holder counts as live this long
)

// flight is what this process has under way and may have.
type flight struct {
	inUse  int
	held   int           // places leased
	keep   int           // while writing: how many of them the write will not give back
	saving bool          // a write that may give places back is under way
	until  time.Time     // the lease's end
	asked  time.Duration // monotonic: when the lease was last written; 0: never
	lacked time.Duration // monotonic: when a permit was last forfeited for want of a place; 0: never
	second time.Duration // monotonic: when the current second of starts began
	unused time.Duration // monotonic: when a permit was last forfeited for want of a caller; 0: never
	took   time.Duration // how long calls take, smoothed
	starts [2]int        // calls started in the second before, and in the current one
}

// short tells whether places, not the rate, are what calls wait for.
func (f *flight) short(now time.Duration) bool { return f.lacked > 0 && now-f.lacked < shortage }

// started counts a start at the given monotonic time.
func (f *flight) started(now time.Duration) {
	f.roll(now)
	f.starts[1]++
}

// ended gives a call's place back.
func (f *flight) ended(took time.Duration) {
	f.inUse--
	if f.took == 0 {
		f.took = took
	}
	f.took += (took - f.took) / 8
}

func (f *flight) roll(now time.Duration) {
	switch age := now - f.second; {
	case age >= 2*time.Second:
		f.starts, f.second = [2]int{}, now
	case age >= time.Second:
		f.starts, f.second = [2]int{f.starts[1], 0}, now
	}
}

// recent is about how many calls started in the last second or two.
func (f *flight) recent(now time.Duration) int {
	f.roll(now)
	return f.starts[0] + f.starts[1]
}

// ruling is what holds now, as far as known. g.mu is held.
func (g *Governor) ruling(now time.Time) ruling {
	return g.view.all.shared.at(now)
}

// paced tells whether any limit has a rate. g.mu is held.
func (g *Governor) paced() bool { return slices.ContainsFunc(g.cfg.Limits, Limit.paced) }

// free is how many calls may start now as far as calls at once go. g.mu is held.
func (g *Governor) free(now instant) int {
	f := &g.flight
	if g.ruling(now.wall).inFlight == 0 {
		return max(ownInFlight-f.inUse, 0)
	}
	if f.until.Before(now.wall.Add(g.cfg.CallTimeout)) {
		return 0
	}
	limit := f.held
	if f.saving {
		limit = min(limit, f.keep)
	}
	return max(limit-f.inUse, 0)
}

// fair shares n places among the live members that want any: as evenly as their
// wants allow. When there are more members than places, they take turns: who has
// one keeps it for a turn, then who has waited longest is next.
func (it *Item) fair(n int, now time.Time) map[string]int {
	var ids []string
	for id, m := range it.Members {
		if m.Want > 0 && m.Expires.After(now) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	out := make(map[string]int, len(ids))
	if len(ids) > n {
		slices.SortStableFunc(ids, func(a, b string) int { return compareTurns(it.Members[a], it.Members[b], now) })
		for _, id := range ids[:n] {
			out[id] = 1
		}
		return out
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(it.Members[a].Want, it.Members[b].Want) })
	for i, id := range ids {
		left := len(ids) - i
		out[id] = min(it.Members[id].Want, (n+left-1)/left)
		n -= out[id]
	}
	return out
}

// compareTurns orders members that want a place: those within their turn, those
// who wait, longest first, and those whose turn is over.
func compareTurns(a, b Member, now time.Time) int {
	rank := func(m Member) int {
		switch {
		case m.Units == 0:
			return 1
		case now.Sub(m.Turn) < turn:
			return 0
		}
		return 2
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	if rank(a) == 1 {
		return a.Waits.Compare(b.Waits)
	}
	return b.Turn.Compare(a.Turn)
}

// others is how many places the other members hold.
func (it *Item) others(now time.Time, self string) int {
	n := 0
	for id, m := range it.Members {
		if id != self && m.Lease.After(now) {
			n += m.Units
		}
	}
	return n
}

// An ask is what a process says about itself when it writes.
type ask struct {
	want int // places in flight it could use
	keep int // places it holds and does not give back
}

// join writes a process's own entry: it is live, it wants so many places of the
// n that there are, and holds what is fair and free. booked is its latest slot.
func (it *Item) join(id string, a ask, n int, now, booked time.Time, life time.Duration) Member {
	m := it.Members[id]
	m.Booked = latest(m.Booked, booked)
	m.Expires = latest(m.Booked, now).Add(memberLife)
	m.Want = a.want
	held := m.Units
	if !m.Lease.After(now) {
		held = 0 // expired: others may have them
	}
	if it.Members == nil {
		it.Members = map[string]Member{}
	}
	m.Units = held
	it.Members[id] = m // fair looks at it
	if n == 0 {
		m.Units = 0
	} else {
		sure := min(a.keep, held)
		m.Units = max(sure, min(it.fair(n, now)[id], n-it.others(now, id)))
	}
	m.Lease = now.Add(life)
	switch {
	case m.Units > 0:
		if held == 0 {
			m.Turn = now
		}
		m.Waits, m.Expires = time.Time{}, latest(m.Expires, now.Add(holdsLive))
	case m.Want > 0:
		m.Turn, m.Lease = time.Time{}, time.Time{}
		if m.Waits.IsZero() {
			m.Waits = now
		}
	default:
		m.Turn, m.Lease, m.Waits = time.Time{}, time.Time{}, time.Time{}
	}
	it.Members[id] = m
	return m
}

// member writes the item together with this process's own entry. fn returns the
// latest slot that it booked. extra is how many places are wanted beside those
// of the waiters.
func (g *Governor) member(ctx context.Context, kind string, extra int, fn func(it *Item, now time.Time) (time.Time, error)) (Item, error) {
	select {
	case g.mine <- struct{}{}:
		defer func() { <-g.mine }()
	case <-ctx.Done():
		return Item{}, ctx.Err()
	}
	a := g.ask(extra)
	var m Member
	it, err := g.update(ctx, kind, func(it *Item, now time.Time) error {
		booked, err := fn(it, now)
		if err != nil {
			return err
		}
		m = it.join(g.cfg.Member, a, g.rules.at(it, now).inFlight, now, booked, g.cfg.CallTimeout+leaseLife)
		return nil
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	f := &g.flight
	f.saving = false
	switch {
	case err == nil:
		f.held, f.until, f.asked = m.Units, m.Lease, g.instant().mono
	case !errors.Is(err, errUnchanged):
		f.held = min(f.held, a.keep) // it may have been given back
	}
	wake(g.pacing)
	return it, err
}

// ask settles what the next write says, and holds back the places that it may
// give away.
func (g *Governor) ask(extra int) ask {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.instant()
	f := &g.flight
	a := ask{want: max(g.wants(now), f.inUse+extra), keep: f.held}
	if fair := g.fairShare(now, a.want); fair < f.held {
		a.keep = max(f.inUse, fair)
	}
	f.keep, f.saving = a.keep, true
	return a
}

// wants is how many places this process could use. Where a rate binds that is
// not as many as there are callers, but what that rate times the length of a
// call comes to, twice, and some to begin with: what a process that dies has
// leased is out of use until the lease ends, and others are to go on. g.mu is
// held.
func (g *Governor) wants(now instant) int {
	f := &g.flight
	want := g.waiting() + f.inUse
	if !g.paced() || f.short(now.mono) {
		return want
	}
	need := 8 + int(2*f.took.Seconds()*float64(f.recent(now.mono)))
	if f.inUse >= f.held {
		need = max(need, 2*f.held)
	}
	return min(want, max(need, f.inUse))
}

// kept says, when this process holds no place, which ones are out of use
// because their processes have ended without giving them back. g.mu is held.
func (g *Governor) kept(now instant) string {
	if g.ruling(now.wall).inFlight == 0 || g.flight.held > 0 {
		return ""
	}
	var n int
	var until time.Time
	for id, m := range g.view.item.Members {
		if id != g.cfg.Member && m.Units > 0 && m.Lease.After(now.wall) && !m.Expires.After(now.wall) {
			n += m.Units
			until = latest(until, m.Lease)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d places in flight are kept until %s for a process that ended in the middle of its calls", n, until.Local().Format(time.TimeOnly))
}

// fairShare is this process's fair share of the places by the latest view if it
// wants so many. g.mu is held.
func (g *Governor) fairShare(now instant, want int) int {
	n := g.ruling(now.wall).inFlight
	if n == 0 {
		return 0
	}
	it := g.view.item.clone()
	if it.Members == nil {
		it.Members = map[string]Member{}
	}
	m := it.Members[g.cfg.Member]
	m.Want, m.Expires = want, now.wall.Add(time.Second)
	it.Members[g.cfg.Member] = m
	return it.fair(n, now.wall)[g.cfg.Member]
}

// leaseDue tells whether the lease alone is worth a write. g.mu is held.
func (g *Governor) leaseDue(now instant) bool {
	n, f := g.ruling(now.wall).inFlight, &g.flight
	if n == 0 {
		return false
	}
	want, age := g.wants(now), now.mono-f.asked
	if f.asked == 0 {
		age = time.Hour
	}
	if want == 0 {
		return f.held > 0 && now.mono-g.busy >= idle && age >= handBack
	}
	if f.held > 0 && f.until.Sub(now.wall) < g.cfg.CallTimeout+leaseLife-renewed {
		return age >= g.cfg.Poll
	}
	fair := g.fairShare(now, want)
	if g.waiting() > 0 && f.inUse >= f.held {
		room := n - g.view.item.others(now.wall, g.cfg.Member)
		return min(fair, room) > f.held && age >= g.cfg.Poll || f.held == 0 && age >= announced
	}
	return fair < f.held && f.inUse < f.held && age >= handBack
}

// turns is how often a place is taken within a time: by as many calls as are
// over by then, and one more.
func (f *flight) turns(within time.Duration) int {
	if f.took <= 0 {
		return 1
	}
	return 1 + int(within/f.took)
}
