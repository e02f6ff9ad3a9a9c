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
	Override Override      // zero: none
	Share    float64       // the part of Now's rate that the governor can use
	Ease     float64       // the part of that which brakes have left for now; 1: all
	Lowered  Lowered       // what the vendor's headers say; zero: nothing
	Rate     float64       // calls a second that it allows now, all in all; 0: it has no rate
	Every    time.Duration // between calls that count once; 0: it has no rate
	Binds    bool          // no other limit with a rate allows fewer
	Told     string        // what the vendor's headers say is left; empty: nothing that binds
	Quota    *QuotaStatus  // of a calendar limit; else nil
}

// A QuotaStatus is where a calendar limit stands in the period that has begun; one
// that is kept for each value of something, for the value with the most.
type QuotaStatus struct {
	Used, Left int64
	Reset      time.Time
	Values     int // for how many values anything is counted; 0: it is not kept for each
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

// Look reads a vendor's item and says what holds, without the log. spread is the
// fleet's.
func Look(ctx context.Context, s Store, vendor string, limits []Limit, spread time.Duration) (Report, error) {
	it, err := s.Load(ctx, vendor)
	if err != nil {
		return Report{}, fmt.Errorf("reading the governor's item of %s: %w", vendor, err)
	}
	now := utc(time.Now())
	it.prune(now)
	rep := rules{limits, spread}.report(&it, now)
	rep.Log = slices.Clone(it.Log)
	if _, apart := s.(Historian); apart {
		rep.Log = nil
	}
	return rep, nil
}

// Status is Look with the audit log, which may be long.
func Status(ctx context.Context, s Store, vendor string, limits []Limit, spread time.Duration) (Report, error) {
	rep, err := Look(ctx, s, vendor, limits, spread)
	if h, ok := s.(Historian); ok && err == nil {
		if rep.Log, err = h.History(ctx, vendor); err != nil {
			return Report{}, fmt.Errorf("reading the history of %s: %w", vendor, err)
		}
	}
	return rep, err
}

// A Hold is a time in which a vendor was stopped.
type Hold struct {
	Kind     string // as Now.Binds has it
	From, To time.Time
	Why      string
}

// Holds are the stops in an audit log, of which one may last until end.
func Holds(log []Entry, end time.Time) (holds []Hold) {
	var open *Hold
	for _, e := range log {
		switch {
		case e.What == "stop" && open == nil:
			open = &Hold{StopKind(e.New).text(), e.At.UTC(), end.UTC(), e.Why}
		case e.What == "resume" && open != nil:
			open.To = e.At.UTC()
			holds, open = append(holds, *open), nil
		}
	}
	if open != nil {
		holds = append(holds, *open)
	}
	return holds
}

// text is what a stop of the kind is called.
func (k StopKind) text() string {
	if k == ByOperator {
		return "pause"
	}
	return string(k)
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
	return rules{limits, spread}.report(&it, now), nil
}

// quotaOf is where a calendar limit stands.
func (it *Item) quotaOf(l Limit, now time.Time) *QuotaStatus {
	end := l.period(now).to
	q := &QuotaStatus{Used: it.used(l.Name, end), Reset: end}
	for key := range it.Quotas {
		if n := it.used(key, end); hasName(key, l.Name) && n > 0 {
			q.Values++
			q.Used = max(q.Used, n)
		}
	}
	q.Left = max(int64(l.Count)-q.Used, 0)
	return q
}

func (r rules) report(it *Item, now time.Time) Report {
	at := r.at(it, now)
	rep := Report{Interval: at.every, InFlight: at.inFlight, Brake: it.Brake, Breaker: it.Breaker,
		Stop: it.stopped(now), Budget: it.clone().Budget, Members: it.Members}
	for i, b := range r.bounds(it, now) {
		l := LimitStatus{Spec: r.limits[i], Now: b.lowest(), Override: it.Overrides[b.Name], Lowered: it.Lowered[b.Name],
			Ease: float64(b.share) / whole}
		l.Share = l.Now.Share(r.spread)
		if every := b.every(r.spread); every > 0 {
			l.Rate, l.Binds, l.Every = rate(every), every == at.every, every
		}
		if told, ok := it.Told[b.Name]; ok {
			l.Told = told.text(time.UTC)
		}
		if b.Kind == Calendar {
			l.Quota = it.quotaOf(l.Now, now)
		}
		rep.Limits = append(rep.Limits, l)
	}
	return rep
}
