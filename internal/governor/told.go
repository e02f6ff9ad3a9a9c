package governor

import (
	"fmt"
	"math"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Some vendors say with every answer how many calls are left until when. That is
// of an instant in the middle of other processes' calls: of what is left, all that
// may have been booked since then is taken, and the rest is a count that every
// booking lowers, until the reset. It never allows more than the limit itself.

// Told is what a vendor has said to be left of a limit.
type Told struct {
	Left  int64     `json:"left"`  // that may be booked
	Until time.Time `json:"until"` // then there is no such bound any more
	At    time.Time `json:"at"`    // when it was written
}

const toldPause = time.Second // between two writes that are of little news

// tells is one limit's word as this process has heard it.
type tells struct {
	limit int    // of rules.limits
	key   string // in Item.Told: the limit, or its lane for a value
	lane  string // whose slots count in it
	units int    // that a call counts at most
	left  int64  // said to be left
	until time.Time
	sent  time.Time // when the call that was answered may have begun
}

// told is what an answer says is left of the limits that bind its call.
func (r rules) told(c *class, sent, now time.Time, said map[string]fanout.Said) (out []tells) {
	for i, l := range r.limits {
		s, ok := said[l.Name]
		if !ok || !s.Counted || s.Left < 0 || l.Kind == Unpaced {
			continue
		}
		t := tells{limit: i, key: l.Name, units: l.heaviest(), left: int64(s.Left), until: s.Reset}
		bound := l.Kind != Calendar && !l.apart()
		for _, lane := range c.lanes {
			if lane.limit == i {
				t.key, t.lane, bound = lane.key, lane.key, true
			}
		}
		for _, q := range c.calendars {
			if q.limit == i {
				t.key, bound = q.key, true
			}
		}
		if !bound {
			continue // it is not about this call
		}
		if t.until.IsZero() {
			if t.until = now.Add(l.Per); l.Kind == Calendar {
				t.until = l.period(now).to
			}
		}
		if t.until.Sub(now) > mostWait+time.Hour || !t.until.After(now) {
			continue
		}
		t.until = t.until.Add(l.margin(0, r.spread))
		t.sent = sent.Add(-l.margin(mostLate, r.spread))
		out = append(out, t)
	}
	return out
}

// since is how many units may have been booked in a lane between two instants.
func (r rules) since(it *Item, t tells, all rulings, live int, to time.Time, blind time.Duration) int64 {
	every := time.Duration(math.MaxInt64)
	of := shared
	if t.lane != "" {
		of = t.limit
	}
	for _, s := range all.of(of) {
		every = min(every, s.every)
	}
	if every <= 0 || every == math.MaxInt64 { // slots are not what its calls have
		return int64(live * (creditBlock + ownInFlight))
	}
	if of != shared { // it may have been faster before it was lowered
		every = min(every, bound{Limit: r.limits[of], share: whole, drift: r.drift(of)}.every(r.spread))
	} else if least := r.ownEvery(); least > 0 {
		every = min(every, least)
	}
	last := earliest(it.lane(t.lane, blind).Last, to)
	return int64(max(last.Sub(t.sent), 0)/every) + int64(t.units)
}

// ownEvery is the distance of slots by the shared limits as the spec has them.
func (r rules) ownEvery() (every time.Duration) {
	for _, l := range r.limits {
		if l.paced() && !l.apart() {
			every = max(every, bound{Limit: l, share: whole}.every(r.spread))
		}
	}
	return every
}

// believe takes t into the item if it is news, and tells whether it was. The bound
// on what is booked is set at once; it is eased after a while.
func (r rules) believe(it *Item, t tells, all rulings, now time.Time, live int, blind time.Duration) bool {
	booked := r.since(it, t, all, live, now.Add(100*mostWait), blind)
	allowed := max(t.left-booked, 0)
	could := int64(math.MaxInt64)
	of := shared
	if t.lane != "" {
		of = t.limit
	}
	if every := all.of(of).at(now).every; every > 0 {
		could = int64(t.until.Sub(now) / every)
	}
	old, had := it.Told[t.key]
	slack := max(old.Left/32, 1)
	switch {
	case !had && allowed >= could:
		return false
	case had && now.Sub(old.At) < toldPause && allowed > old.Left-slack:
		return false
	case had && allowed >= old.Left && now.Sub(old.At) < saidPause:
		return false
	case had && allowed == old.Left && t.until.Sub(old.Until).Abs() < 2*time.Second:
		return false
	case had && allowed >= could:
		delete(it.Told, t.key)
		return true
	}
	if t.left < booked { // some of what is booked is too much
		it.cut(now, now)
		allowed = max(t.left-r.since(it, t, all, live, now.Add(blind), blind), 0)
	}
	if it.Told == nil {
		it.Told = map[string]Told{}
	}
	it.Told[t.key] = Told{Left: allowed, Until: t.until, At: now}
	return true
}

// untold is the first instant from at on at which what vendors have said leaves
// room for a call of the class.
func (r rules) untold(it *Item, c *class, at time.Time) time.Time {
	if len(it.Told) == 0 {
		return at
	}
	r.eachTold(it, c, func(_ string, t Told, units int) {
		if at.Before(t.Until) && t.Left < int64(units) {
			at = t.Until
		}
	})
	return at
}

// countTold counts a slot in what vendors have said to be left.
func (r rules) countTold(it *Item, c *class, at time.Time) {
	if len(it.Told) == 0 {
		return
	}
	r.eachTold(it, c, func(key string, t Told, units int) {
		if at.Before(t.Until) {
			t.Left = max(t.Left-int64(units), 0)
			it.Told[key] = t
		}
	})
}

// eachTold calls do with what is told of each limit that binds a class.
func (r rules) eachTold(it *Item, c *class, do func(key string, t Told, units int)) {
	one := func(key string, units int) {
		if t, ok := it.Told[key]; ok {
			do(key, t, units)
		}
	}
	for _, l := range c.lanes {
		if l.limit != shared {
			one(l.key, l.units)
			continue
		}
		for _, lim := range r.limits {
			if lim.paced() && !lim.apart() {
				one(lim.Name, 1)
			}
		}
	}
	for _, q := range c.calendars {
		one(q.key, q.units)
	}
}

// text says what is told, for people.
func (t Told) text(zone *time.Location) string {
	return fmt.Sprintf("%d left until %s", t.Left, t.Until.In(zone).Format("15:04:05"))
}
