package governor

import (
	"slices"
	"time"
)

// Now is what a process knows of its vendor at this moment.
type Now struct {
	// Binds is what keeps callers of this process waiting: "" (nobody waits),
	// "limit NAME" (the rate of that limit), "in flight NAME" (places of that
	// limit; without a name this process's own), "brake", "outage", "pause",
	// "credentials", "budget", "drift", or "store" (it cannot be read, or the
	// clock is off). All but the first three are also said for some seconds
	// after callers were sent away for them.
	Binds    string
	Rates    map[string]float64 // calls a second that each limit with a rate allows the fleet, if it binds all alike
	Brake    Brake
	Breaker  Breaker
	Stop     Stop
	Every    time.Duration // between permits of the whole fleet; 0: no rate
	InFlight int           // calls at once of the whole fleet; 0: no limit
}

// Now says what holds by the latest view. It asks nobody.
func (g *Governor) Now() Now {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.instant()
	it := &g.view.item
	r := g.ruling(now.wall)
	bounds := g.rules.bounds(it, now.wall)
	n := Now{Binds: g.binds(now, bounds), Rates: map[string]float64{},
		Brake: it.Brake, Breaker: it.Breaker, Stop: g.stopped(now), Every: r.every, InFlight: r.inFlight}
	for _, b := range bounds {
		if b.apart() {
			continue // what it allows is not to be compared with all calls
		}
		if every := b.every(g.rules.spread); every > 0 {
			n.Rates[b.Name] = rate(every)
		}
	}
	return n
}

func rate(every time.Duration) float64 { return float64(time.Second) / float64(every) }

// Stopped is the stop that holds at now, also one by a budget that is over and
// that nobody has written down yet. The zero Stop: the vendor is not stopped.
func Stopped(it Item, now time.Time) Stop { return it.stopped(now) }

func (it *Item) stopped(now time.Time) Stop {
	if it.Stop.Kind == "" {
		return it.spent(now)
	}
	return it.Stop
}

// remembered is how long those who were sent away count as waiting.
const remembered = 15 * time.Second

// binds is Now.Binds. g.mu is held.
func (g *Governor) binds(now instant, bounds []bound) string {
	it := &g.view.item
	waits := g.waiting() > 0
	if !waits && (g.away == 0 || now.mono-g.away > remembered) {
		return ""
	}
	switch stop := g.stopped(now); {
	case g.clock.off != "" || g.view.failed != nil || waits && (!g.clock.trusted(now) || !g.seen(now, g.cfg.Stale)):
		return "store"
	case stop.Kind != "":
		return stop.Kind.text()
	case it.Breaker.Open():
		return "outage"
	case latest(it.Brake.Until, g.obey).After(now.wall):
		return "brake"
	}
	l := g.longest()
	c := g.awayOf
	if waits {
		c = l.class
	}
	if c != nil && g.nextOf(now, c).Sub(now.wall) > time.Second {
		if name, _ := g.rules.waitsFor(it, c, g.purse, now.wall); name != "" {
			return "limit " + name
		}
	}
	if !waits {
		return ""
	}
	if it.Budget.left() == 0 && g.ahead() == 0 && g.funds() == 0 {
		return string(ByBudget)
	}
	due := len(l.slots) > 0 && !l.slots[0].at.After(now.wall)
	if !c.paced() || g.flight.short(now.mono) || g.free(now) == 0 && (due || g.flight.held == 0) {
		return fewest(bounds)
	}
	return "limit " + g.rules.widest(c, bounds)
}

// longest is the line in which most wait; nil: there is none. g.mu is held.
func (g *Governor) longest() (most *line) {
	for _, l := range g.lines {
		if most == nil || len(l.waiters) > len(most.waiters) {
			most = l
		}
	}
	return most
}

// fewest names what bounds calls at once.
func fewest(bounds []bound) string {
	bounds = slices.DeleteFunc(slices.Clone(bounds), func(b bound) bool { return b.InFlight == 0 })
	if len(bounds) == 0 {
		return "in flight"
	}
	return "in flight " + slices.MinFunc(bounds, func(a, b bound) int { return a.InFlight - b.InFlight }).Name
}

// widest names the limit that keeps slots of the class furthest apart; empty: none
// has a rate.
func (r rules) widest(c *class, bounds []bound) string {
	name, most := "", time.Duration(0)
	for i, b := range bounds {
		units := 0
		for _, t := range c.lanes {
			if t.limit == i || t.limit == shared && !b.apart() {
				units = max(units, t.units)
			}
		}
		if every := times(b.every(r.spread), int64(units)); every > most {
			name, most = b.Name, every
		}
	}
	return name
}
