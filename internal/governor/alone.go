package governor

import "time"

// After a brake nobody knows whether the vendor has had enough of a pause. So the
// first slot after its end stands alone: for a second there is no other in the
// whole fleet, in no lane. If it is refused as well, the next brake has cost one
// call; else what follows begins at a quarter of the rate, and has all of it four
// seconds later (where the spec says `recover`, as that says). A second is what
// can be shown to be safe without another write: whoever is refused brakes the
// fleet within its poll.

const (
	alone     = time.Second
	rampShare = whole / 4
	rampTime  = 4 * time.Second // from a quarter to the whole
	rampOver  = rampTime * stepsToTwice * easeStep / (whole - rampShare)
)

// unproved tells whether no slot has been booked after the last brake's end.
func (it *Item) unproved() bool {
	return !it.Brake.Until.IsZero() && it.Probe.Before(it.Brake.Until)
}

// apart is the first instant from at on that is not beside the slot that stands
// alone. One that is well before it takes its place.
func (it *Item) apart(at time.Time) time.Time {
	if it.unproved() || it.Probe.IsZero() || !at.Add(alone).After(it.Probe) {
		return at
	}
	return latest(at, it.Probe.Add(alone))
}

// prove notes a booked slot, and tells whether it is the one that stands alone:
// then the rate rises after it.
func (it *Item) prove(limits []Limit, at time.Time) bool {
	if !it.unproved() && !at.Before(it.Probe) || it.Brake.Until.IsZero() || at.Before(it.Brake.Until) {
		return false
	}
	it.Probe = at
	it.ramp(limits, at)
	return true
}

// ramp lets limits without a recovery of their own rise after the slot that stands
// alone, which is at the given instant or later.
func (it *Item) ramp(limits []Limit, from time.Time) {
	for _, l := range limits {
		if l.Recover > 0 || !l.paced() {
			continue
		}
		e := Ease{Share: rampShare, From: from.Add(alone), Over: rampOver}
		if old := it.Eases[l.Name]; old.at(from) < whole { // of a brake before
			e.Share, e.From, e.Over = min(e.Share, old.at(from)), latest(e.From, old.From), max(e.Over, old.Over)
		}
		if it.Eases == nil {
			it.Eases = map[string]Ease{}
		}
		it.Eases[l.Name] = e
	}
}
