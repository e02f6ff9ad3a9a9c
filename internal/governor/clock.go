package governor

import (
	"context"
	"fmt"
	"time"
)

// Slots are wall-clock instants that all machines share, so a machine whose
// clock is off must not call: its slots would fall on other machines' slots.

const (
	clockEvery = time.Minute           // how often a good clock is checked
	clockAgain = 3 * time.Second       // how often a bad one is
	clockStep  = 10 * time.Millisecond // wall and monotonic time may differ by this much since the last check
	clockSlack = 50 * time.Millisecond // what a reading of the store's clock may be wrong by
)

// An instant is a moment by both clocks of the machine: wall for what is shared
// with other processes, mono (time since New, never 0) for how old something is.
type instant struct {
	wall time.Time
	mono time.Duration
}

func (g *Governor) instant() instant {
	return instant{utc(g.cfg.Now()), time.Since(g.start) + 1}
}

// clockState is what is known of this machine's clock.
type clockState struct {
	checked instant // mono 0: never
	off     string  // what is wrong with it; empty: nothing
}

// due tells whether the clock must be checked before it may be trusted.
func (c clockState) due(now instant) bool {
	age := now.mono - c.checked.mono
	return c.checked.mono == 0 || c.stepped(now) || age >= clockEvery || c.off != "" && age >= clockAgain
}

// stepped tells whether somebody has set the wall clock since the last check.
func (c clockState) stepped(now instant) bool {
	d := now.wall.Sub(c.checked.wall) - (now.mono - c.checked.mono)
	return d.Abs() > clockStep
}

// trusted tells whether slots may be used by this clock.
func (c clockState) trusted(now instant) bool {
	return c.checked.mono != 0 && c.off == "" && !c.stepped(now)
}

// checkClock compares this machine's clock with the store's.
func (g *Governor) checkClock(ctx context.Context) error {
	before := g.instant()
	theirs, resolution, err := g.cfg.Store.Clock(ctx)
	after := g.instant()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Reads++
	if err != nil {
		g.failed(err)
		return fmt.Errorf("governor of %s: reading the store's clock: %w", g.cfg.Vendor, err)
	}
	was := g.clock.off
	g.clock = clockState{checked: after, off: clockOff(before.wall, after.wall, theirs, resolution+g.cfg.Spread+clockSlack)}
	if was != g.clock.off && g.clock.off != "" {
		g.cfg.Log.Warn(g.clock.off, "vendor", g.cfg.Vendor)
	}
	return nil
}

// clockOff says in words what is wrong with a machine's clock that went from
// before to after while the store read theirs; empty if that is within allowed.
func clockOff(before, after, theirs time.Time, allowed time.Duration) string {
	ahead, behind := before.Sub(theirs), theirs.Sub(after)
	const end = "the store's; no calls until it is right"
	switch {
	case ahead > allowed:
		return fmt.Sprintf("this machine's clock is %.1f s ahead of %s", ahead.Seconds(), end)
	case behind > allowed:
		return fmt.Sprintf("this machine's clock is %.1f s behind %s", behind.Seconds(), end)
	}
	return ""
}
