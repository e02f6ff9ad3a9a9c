package governor

import (
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// SetStall makes every goroutine of g call stall where a scheduler could delay
// it. Call it before g is used.
func (g *Governor) SetStall(stall func()) { g.stall = stall }

// Plan is what the governor makes of a limit.
func Plan(l Limit, spread time.Duration) (every, late time.Duration) {
	p := l.pace(spread)
	every = p.interval()
	return every, p.lateness(every)
}

// Pause before the next probe.
var PauseAfter = pause

// BrakeItem is what an answer of 429 does to an item.
func (g *Governor) BrakeItem(it *Item, now, sent time.Time, retryAfter time.Duration) bool {
	return g.brake(it, now, sent, retryAfter)
}

// RulingAt is what limits say at t.
func RulingAt(limits []Limit, spread time.Duration, it *Item, t time.Time) (every, late time.Duration) {
	r := rules{limits, spread}.at(it, t)
	return r.every, r.late
}

// Segments are the instants from now on at which that changes, with what it
// changes to.
func Segments(limits []Limit, spread time.Duration, it *Item, now time.Time) (from []time.Time, every []time.Duration) {
	for _, s := range (rules{limits, spread}).segments(it, now) {
		from, every = append(from, s.from), append(every, s.every)
	}
	return from, every
}

// Clone copies an item deeply.
func (it *Item) Clone() Item { return it.clone() }

// Prune forgets what has ended.
func (it *Item) Prune(now time.Time) { it.prune(now) }

// ShareAt is what brakes have left of a limit, in 64ths.
func (it *Item) ShareAt(limit string, t time.Time) int { return it.share(limit, t) }

// Period is the one of a calendar limit that t is in.
func Period(l Limit, t time.Time) (from, to time.Time) {
	p := l.period(t)
	return p.from, p.to
}

// BookItem books slots for a call in an item, as a process does.
func (g *Governor) BookItem(it *Item, now time.Time, call fanout.Call, want int) (at []time.Time) {
	g.mu.Lock()
	c := g.class(call)
	g.mu.Unlock()
	all := g.rules.rulings(it, now)
	it.pruneLanes(g.rules, all, now)
	for _, s := range g.slotsOf(it, now, all, c, want, purse{}, nil) {
		at = append(at, s.at)
	}
	return at
}
