package governor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	leastPause = time.Second    // the first brake when the vendor does not say
	mostPause  = time.Minute    // the longest when it does not say
	mostWait   = 24 * time.Hour // the longest that is believed when it does
)

// Throttled implements fanout.Governor. This process obeys before the write; if
// the write fails it still does, and the error is returned.
func (g *Governor) Throttled(ctx context.Context, sent time.Time, retryAfter time.Duration) error {
	g.mu.Lock()
	now := g.instant().wall
	mine := g.view.item.clone()
	news := g.brake(&mine, now, sent, retryAfter)
	g.obey = latest(g.obey, mine.Brake.Until)
	g.mu.Unlock()
	if !news {
		return nil // the brake that we know of covers it
	}
	return g.insist(ctx, "brake", func(it *Item, now time.Time) error {
		if !g.brake(it, now, sent, retryAfter) {
			return errUnchanged
		}
		return nil
	})
}

// brake applies one throttled answer to the item and tells whether that changed
// anything.
//
// A call sent before the last brake's end was sent before its process heard of
// it: its answer does not escalate, and prolongs only as far as the vendor said.
// Each brake that does escalate halves the rate of the limits that recover.
func (g *Governor) brake(it *Item, now, sent time.Time, retryAfter time.Duration) bool {
	g.calm(it)
	b, escalates := it.Brake, !sent.Before(it.Brake.Until)
	until := now.Add(min(retryAfter, mostWait))
	if !escalates {
		if retryAfter <= 0 || !until.After(b.Until) {
			return false
		}
	} else {
		b.Growth, b.Set = b.Growth+1, now
		if retryAfter <= 0 {
			until = now.Add(min(leastPause<<min(b.Growth-1, 10), mostPause))
		}
	}
	b.Until = latest(b.Until, until)
	b.Why = "the vendor answered 429 (too many requests)"
	if retryAfter > 0 {
		b.Why += fmt.Sprintf(", retry after %v", retryAfter)
	}
	it.Brake = b
	if escalates {
		it.ease(g.cfg.Limits, now)
		it.ramp(g.cfg.Limits, it.Brake.Until)
		it.log(Entry{At: now, By: g.cfg.Member, What: "brake", New: it.brakeText(g.cfg.Limits, now), Why: b.Why})
	} else {
		it.postpone(b.Until)
	}
	it.cut(now, now)
	return true
}

// calm ends a brake's growth if a call has succeeded after it.
func (g *Governor) calm(it *Item) {
	if alive := time.Unix(0, g.alive.Load()); alive.After(it.Brake.Until) {
		it.Brake.Growth = 0
	}
}

// Alive implements fanout.Governor.
func (g *Governor) Alive() { g.alive.Store(g.cfg.Now().UnixNano()) }

// insist writes something that the fleet must know, and tries three times.
func (g *Governor) insist(ctx context.Context, kind string, fn func(it *Item, now time.Time) error) error {
	for try := 1; ; try++ {
		_, err := g.update(ctx, kind, fn)
		if err == nil || errors.Is(err, errUnchanged) {
			return nil
		}
		if try == 3 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}
