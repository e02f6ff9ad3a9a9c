package governor

import "time"

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
