package governor

import (
	"slices"
	"time"
)

// rules are a vendor's limits as this process knows them.
type rules struct {
	limits []Limit
	spread time.Duration
}

// A ruling is what all limits together say.
type ruling struct {
	every    time.Duration // distance of slots; 0: no rate
	late     time.Duration // how late after its slot a call may start
	inFlight int           // 0: no limit
}

// A segment is a ruling from an instant until the next segment's.
type segment struct {
	from time.Time
	ruling
}

// effective is the limits with the overrides that hold at t.
func (r rules) effective(it *Item, t time.Time) []Limit {
	out := slices.Clone(r.limits)
	for i := range out {
		o, ok := it.Overrides[out[i].Name]
		if !ok || !o.Until.IsZero() && !t.Before(o.Until) {
			continue
		}
		out[i] = o.apply(out[i])
	}
	return out
}

func (o Override) apply(l Limit) Limit {
	if o.Count > 0 && l.Kind != Unpaced {
		l.Count, l.Per = o.Count, o.Per
	}
	if o.Burst > 0 {
		l.Burst = o.Burst
	}
	if o.InFlight > 0 {
		l.InFlight = o.InFlight
	}
	return l
}

// at is the ruling at t: the widest interval, the least lateness at it, the
// fewest in flight.
func (r rules) at(it *Item, t time.Time) ruling {
	var out ruling
	var paces []pace
	for _, l := range r.effective(it, t) {
		if l.InFlight > 0 && (out.inFlight == 0 || l.InFlight < out.inFlight) {
			out.inFlight = l.InFlight
		}
		if l.Kind != Unpaced {
			p := l.pace(r.spread)
			paces = append(paces, p)
			out.every = max(out.every, p.interval())
		}
	}
	out.late = mostLate
	for _, p := range paces {
		out.late = min(out.late, p.lateness(out.every))
	}
	return out
}

// segments are the rulings from now on: one, and one more for each override
// that ends.
func (r rules) segments(it *Item, now time.Time) []segment {
	ends := []time.Time{now}
	for _, o := range it.Overrides {
		if o.Until.After(now) {
			ends = append(ends, o.Until)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	out := make([]segment, len(ends))
	for i, t := range ends {
		out[i] = segment{t, r.at(it, t)}
	}
	return out
}

// next is the first instant from floor on that every ruling allows after last,
// and the lateness there.
func next(segs []segment, last, floor time.Time) (time.Time, time.Duration) {
	for i, s := range segs {
		t := latest(floor, s.from, last.Add(s.every))
		if i == len(segs)-1 || t.Before(segs[i+1].from) {
			return t, s.late
		}
	}
	return time.Time{}, 0 // not reached: there is a last segment
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
