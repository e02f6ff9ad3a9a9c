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

// A bound is one limit as it holds at an instant.
type bound struct {
	Limit     // as the operator has it
	said  int // Count per sper that the vendor's headers allow, if that is less; 0: they do not say
	sper  time.Duration
	share int           // what brakes have left of the rate, in 64ths
	drift time.Duration // as rules.drift has it
}

// bounds are the limits as they hold at t.
func (r rules) bounds(it *Item, t time.Time) []bound {
	out := make([]bound, len(r.limits))
	for i, l := range r.limits {
		b := bound{Limit: l, share: whole, drift: r.drift(i)}
		if o, ok := it.Overrides[l.Name]; ok {
			b.Limit = o.at(t).apply(l)
		}
		if l.paced() {
			b.share = it.share(l.Name, t)
			if said, ok := it.Lowered[l.Name]; ok && t.Before(said.Until) && said.below(b.Limit) {
				b.said, b.sper = said.Count, said.Per
			}
		}
		out[i] = b
	}
	return out
}

// paces appends the rules on slots that b is: the operator's, and the vendor's
// own if that is stricter. A share of the rate changes neither.
func (b bound) paces(to []pace, spread time.Duration) []pace {
	if !b.paced() {
		return to
	}
	to = append(to, b.Limit.pace(spread).drifting(b.drift))
	if b.said > 0 {
		to = append(to, b.lowest().pace(spread).drifting(b.drift))
	}
	return to
}

// lowest is b with what the vendor's headers say.
func (b bound) lowest() Limit {
	l := b.Limit
	if b.said > 0 {
		l.Count, l.Per = b.said, b.sper
	}
	return l
}

// every is the distance of slots that b alone demands; 0: none.
func (b bound) every(spread time.Duration) time.Duration {
	every, _ := together(b.paces(nil, spread))
	if b.share < whole {
		every = ceilDiv(times(every, whole), int64(b.share))
	}
	return every
}

// at is what holds at t: o, what was before it, or nothing.
func (o Override) at(t time.Time) Override {
	switch {
	case o.Until.IsZero() || t.Before(o.Until):
		return o
	case o.Then != nil:
		return *o.Then
	}
	return Override{}
}

func (o Override) apply(l Limit) Limit {
	if o.Count > 0 && l.Kind == Calendar {
		l.Count = o.Count
	} else if o.Count > 0 && l.paced() {
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

// at is the ruling at t of the limits that bind every call alike: the widest interval, the least lateness at it, the
// fewest in flight. Calls are never let start later than the whole rate allows:
// slots of a slower time may be followed by those of a faster one.
func (r rules) at(it *Item, t time.Time) ruling { return r.rule(it, t, shared) }

// rule is the ruling of a limit that is apart, or of all that are shared.
func (r rules) rule(it *Item, t time.Time, of int) ruling {
	var out ruling
	var now, spec []pace
	for i, b := range r.bounds(it, t) {
		if of == shared && b.apart() || of != shared && of != i {
			continue
		}
		if b.InFlight > 0 && (out.inFlight == 0 || b.InFlight < out.inFlight) {
			out.inFlight = b.InFlight
		}
		out.every = max(out.every, b.every(r.spread))
		now = b.paces(now, r.spread)
		spec = bound{Limit: r.limits[i], drift: b.drift}.paces(spec, r.spread)
	}
	_, out.late = together(now)
	_, late := together(spec)
	out.late = min(out.late, late)
	return out
}

// together is the widest interval of paces, and how late calls may start at it.
func together(paces []pace) (every, late time.Duration) {
	for _, p := range paces {
		every = max(every, p.interval())
	}
	late = mostLate
	for _, p := range paces {
		late = min(late, p.lateness(every))
	}
	return every, late
}

// segments are the rulings from now on: one, and one more for each instant at
// which something ends or a limit recovers by a step.
func (r rules) segments(it *Item, now time.Time) segments { return r.segmentsOf(it, now, shared) }

// segmentsOf are those of a limit that is apart, or of all that are shared.
func (r rules) segmentsOf(it *Item, now time.Time, of int) segments {
	ends := []time.Time{now}
	end := func(t time.Time) {
		if t.After(now) {
			ends = append(ends, t)
		}
	}
	for _, o := range it.Overrides {
		end(o.Until)
	}
	for _, l := range it.Lowered {
		end(l.Until)
	}
	for _, e := range it.Eases {
		e.steps(now, end)
	}
	slices.SortFunc(ends, time.Time.Compare)
	ends = slices.CompactFunc(ends, time.Time.Equal)
	out := make(segments, len(ends))
	for i, t := range ends {
		out[i] = segment{t, r.rule(it, t, of)}
	}
	return out
}

// segments follow each other; the last has no end.
type segments []segment

// next is the first instant from floor on that every ruling allows a call of so
// many units after last.
func (segs segments) next(last, floor time.Time, units int) time.Time {
	for i, s := range segs {
		t := latest(floor, s.from, last.Add(times(s.every, int64(units))))
		if i == len(segs)-1 || t.Before(segs[i+1].from) {
			return t
		}
	}
	return time.Time{} // not reached: there is a last segment
}

// at is the ruling at t.
func (segs segments) at(t time.Time) ruling {
	var out ruling
	for i, s := range segs {
		if i > 0 && s.from.After(t) {
			break
		}
		out = s.ruling
	}
	return out
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
