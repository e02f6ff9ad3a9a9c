package governor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A LimitStatus is one limit as it holds now.
type LimitStatus struct {
	Spec     Limit
	Now      Limit
	Override Override // zero: none
	Share    float64  // the part of Now's rate that the governor can use
	Ease     float64  // the part of that which brakes have left for now; 1: all
	Lowered  Lowered  // what the vendor's headers say; zero: nothing
	Rate     float64  // calls a second that it allows now, all in all; 0: it has no rate
	Binds    bool     // no other limit with a rate allows fewer
}

// A Report is a vendor's item for people.
type Report struct {
	Limits   []LimitStatus
	Interval time.Duration // between permits of the whole fleet; 0: no rate
	InFlight int           // calls at once; 0: no limit
	Brake    Brake         // in force if Until is to come
	Breaker  Breaker
	Stop     Stop
	Budget   *Budget           // nil: none
	Members  map[string]Member // live processes
	Log      []Entry           // oldest first
}

// Status reads a vendor's item and says what holds. spread is the fleet's.
func Status(ctx context.Context, s Store, vendor string, limits []Limit, spread time.Duration) (Report, error) {
	it, err := s.Load(ctx, vendor)
	if err != nil {
		return Report{}, fmt.Errorf("reading the governor's item of %s: %w", vendor, err)
	}
	now := utc(time.Now())
	it.prune(now)
	rep := rules{limits, spread}.report(&it, now)
	if h, ok := s.(Historian); ok {
		if rep.Log, err = h.History(ctx, vendor); err != nil {
			return Report{}, fmt.Errorf("reading the history of %s: %w", vendor, err)
		}
	}
	return rep, nil
}

// Try is the Status that SetLimit would bring about. It changes nothing; what
// SetLimit would refuse is the same error.
func Try(ctx context.Context, s Store, vendor string, limits []Limit, spread time.Duration, c Change, spec Limit) (Report, error) {
	if err := c.check(spec); err != nil {
		return Report{}, fmt.Errorf("limit %q of %s: %w", c.Limit, vendor, err)
	}
	it, err := s.Load(ctx, vendor)
	if err != nil {
		return Report{}, fmt.Errorf("reading the governor's item of %s: %w", vendor, err)
	}
	now := utc(time.Now())
	it.prune(now)
	if err := it.change(c, now, Note{}); err != nil && !errors.Is(err, errUnchanged) {
		return Report{}, err
	}
	rep := rules{limits, spread}.report(&it, now)
	rep.Log = nil
	return rep, nil
}

// Effective is what limits come to, with one change if c is not nil: how far
// apart permits are, and how many calls may be under way. It does not ask
// whether the change is above the spec.
func Effective(limits []Limit, spread time.Duration, c *Change) (interval time.Duration, inFlight int, err error) {
	var it Item
	if c != nil {
		i := slices.IndexFunc(limits, func(l Limit) bool { return l.Name == c.Limit })
		if i < 0 {
			return 0, 0, fmt.Errorf("there is no limit %q", c.Limit)
		}
		if err := c.sane(limits[i]); err != nil {
			return 0, 0, fmt.Errorf("limit %q: %w", c.Limit, err)
		}
		_ = it.change(*c, time.Time{}, Note{}) // nothing to take back is no error here
	}
	r := rules{limits, spread}.at(&it, time.Time{})
	return r.every, r.inFlight, nil
}

func (r rules) report(it *Item, now time.Time) Report {
	at := r.at(it, now)
	rep := Report{Interval: at.every, InFlight: at.inFlight, Brake: it.Brake, Breaker: it.Breaker,
		Stop: it.stopped(now), Budget: it.clone().Budget, Members: it.Members, Log: slices.Clone(it.Log)}
	for i, b := range r.bounds(it, now) {
		l := LimitStatus{Spec: r.limits[i], Now: b.lowest(), Override: it.Overrides[b.Name], Lowered: it.Lowered[b.Name],
			Ease: float64(b.share) / whole}
		l.Share = l.Now.Share(r.spread)
		if every := b.every(r.spread); every > 0 {
			l.Rate, l.Binds = rate(every), every == at.every
		}
		rep.Limits = append(rep.Limits, l)
	}
	return rep
}
