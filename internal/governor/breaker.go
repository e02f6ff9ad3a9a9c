package governor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

const (
	probeSpare = 5 * time.Second  // a prober is given up this long after its call must have ended
	probeDays  = 10 * time.Minute // after this long probes are a minute apart
)

// pause before the next probe when so many have failed since the outage began.
func pause(failed int, since time.Duration) time.Duration {
	switch {
	case failed < 4:
		return time.Second << failed
	case since < probeDays:
		return 10 * time.Second
	}
	return time.Minute
}

// probeAt is when the next probe may be made.
func probeAt(b Breaker, now time.Time) time.Time {
	if b.Owner != "" && b.Lease.After(now) {
		return b.Lease
	}
	return b.Next
}

// Outage implements fanout.Governor. It does nothing if the outage is known.
func (g *Governor) Outage(ctx context.Context, why string) error {
	return g.insist(ctx, "outage", func(it *Item, now time.Time) error {
		if it.Breaker.Open() {
			return errUnchanged
		}
		it.Breaker = Breaker{Since: now, Why: why, Next: now.Add(pause(0, 0))}
		it.cut(now, now)
		it.log(Entry{At: now, By: g.cfg.Member, What: "outage", New: "down", Why: why})
		return nil
	})
}

// Stop implements fanout.Governor: the credentials were refused.
func (g *Governor) Stop(ctx context.Context, why string) error {
	return g.insist(ctx, "stop", func(it *Item, now time.Time) error {
		return it.stop(Stop{ByCredentials, g.cfg.Member, why, now}, now)
	})
}

// Probe implements fanout.Governor.
//
// probe due -> claimed and its slot booked in one write -> its instant came ->
// call -> verdict written. A prober that crashes is given up when its lease
// ends; a call that ends without a verdict on the vendor hands the probe on.
func (g *Governor) Probe(ctx context.Context, of fanout.Call, call func(context.Context) error) (tried bool, err error) {
	if err := g.refresh(ctx); err != nil {
		return false, err
	}
	s, err := g.claim(ctx, of)
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	release, err := g.await(ctx, s)
	if err != nil {
		return false, errors.Join(err, g.probed(ctx, s, unknown, nil))
	}
	failure := call(fanout.WithSendBy(ctx, g.by(s)))
	release()
	return true, errors.Join(failure, g.probed(ctx, s, judgeProbe(failure), failure))
}

// claim takes the probe for this process, if it is due and nobody else's.
func (g *Governor) claim(ctx context.Context, of fanout.Call) (slot, error) {
	g.mu.Lock()
	c := g.class(of)
	due := g.probeDue(&g.view.item, g.instant().wall)
	g.mu.Unlock()
	if !due {
		return slot{}, errUnchanged
	}
	var s slot
	_, err := g.member(ctx, "probe", 1, func(it *Item, now time.Time) (time.Time, error) {
		if !g.probeDue(it, now) {
			return time.Time{}, errUnchanged
		}
		got := g.probeSlot(it, c, now)
		if len(got) == 0 {
			return time.Time{}, errUnchanged
		}
		s = got[0]
		s.probe = true
		it.Breaker.Owner, it.Breaker.Slot = g.cfg.Member, s.at
		it.Breaker.Lease = s.at.Add(g.cfg.CallTimeout + probeSpare)
		return s.at, nil
	})
	return s, err
}

// probeSlot books one slot, for a class that needs none as well.
func (g *Governor) probeSlot(it *Item, c *class, now time.Time) []slot {
	got := g.slotsOf(it, now, g.rules.rulings(it, now), c, 1, purse{}, nil)
	for i := range got {
		got[i].paid = nil // it stays counted, whatever becomes of it
	}
	return got
}

// probeDue tells whether a probe may be claimed now.
func (g *Governor) probeDue(it *Item, now time.Time) bool {
	b := it.Breaker
	return b.Open() && it.Stop.Kind == "" && !now.Before(probeAt(b, now)) && !it.Brake.Until.After(now)
}

// await waits for the probe's instant and takes a place in flight for it.
func (g *Governor) await(ctx context.Context, s slot) (release func(), err error) {
	timer := time.NewTimer(s.at.Sub(g.instant().wall))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, noPermit(ctx.Err().Error())
	case <-timer.C:
	}
	if err := g.refresh(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.instant()
	b := g.view.item.Breaker
	switch {
	case g.closed:
		return nil, noPermit("the governor was closed")
	case b.Owner != g.cfg.Member || !b.Slot.Equal(s.at):
		return nil, noPermit("somebody else probes")
	case g.ruling(now.wall).inFlight > 0 && g.free(now) == 0:
		return nil, noPermit("no place in flight is free for a probe")
	}
	v := g.judge(s, now)
	g.stats.Booked++
	g.count(s, v)
	if v != good {
		return nil, noPermit("the probe's instant has passed")
	}
	g.flight.inUse++
	return g.releaser(), nil
}

// A probe's verdict on the vendor.
type probeVerdict int

const (
	unknown probeVerdict = iota // the call was not made, or its failure is our own
	down
	up
)

func judgeProbe(err error) probeVerdict {
	var ce *fanout.CallError
	switch {
	case err == nil || errors.Is(err, fanout.ErrAnswered):
		return up
	case !errors.As(err, &ce):
		return unknown
	case ce.Class == fanout.Unavailable:
		return down
	}
	return up
}

// probed writes what the probe found.
func (g *Governor) probed(ctx context.Context, s slot, v probeVerdict, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*g.cfg.Stale)
	defer cancel()
	return g.insist(ctx, "probe", func(it *Item, now time.Time) error {
		b := &it.Breaker
		if !b.Open() || v != up && (b.Owner != g.cfg.Member || !b.Slot.Equal(s.at)) {
			return errUnchanged // somebody else has found out meanwhile
		}
		b.Owner, b.Slot, b.Lease = "", time.Time{}, time.Time{}
		switch v {
		case unknown:
			b.Next = now.Add(time.Second)
		case down:
			b.Probes++
			b.Next = now.Add(pause(b.Probes, now.Sub(b.Since)))
		case up:
			it.log(Entry{At: now, By: g.cfg.Member, What: "outage", Old: "down", New: "up",
				Why: fmt.Sprintf("back after %v", now.Sub(b.Since).Round(time.Second))})
			it.Breaker = Breaker{}
			g.probeBrake(it, now, s, failure)
		}
		return nil
	})
}

// probeBrake brakes if the vendor is alive but says slow down.
func (g *Governor) probeBrake(it *Item, now time.Time, s slot, failure error) {
	var ce *fanout.CallError
	if errors.As(failure, &ce) && ce.Class == fanout.Throttled {
		g.brake(it, now, s.at, ce.RetryAfter)
	}
}
