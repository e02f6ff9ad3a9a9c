package governor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A limit that binds some calls only, or counts them by weight, has a sequence of
// slots of its own, a lane; limits that are kept for each value of something have
// one for each. What binds every call alike is one lane more. A call has its slot
// in all lanes that bind it, at one instant:
//
//	calls of the lane        |....a.......a.......a          each at least an interval
//	calls of the shared lane |.b..a..b..b.a..b..b.a..b       after the one before
//
// A slow lane's slots are booked further ahead than a fast one's. Between them the
// shared lane has holes, and keeps a list of them, in which others book: first fit.
// Forgetting a hole wastes a slot and does no harm. A call of weight w keeps w
// intervals from the slot before it. So any calls in a row, the first of which
// counts w, and all of which count u, span (u - w) intervals at least.
//
// Slots of the slow lane anywhere in the fast one would leave gaps that nothing
// fits in. So they keep whole intervals of the shared lane from their neighbours
// there. What that delays one does not delay the next in its own lane: there a
// slot stands for an instant up to a drift earlier, and the limit is planned with
// that much more lateness.

// Lanes are the slots that limits apart have taken.
type Lanes struct {
	Of    time.Time       `json:"of"`             // Item.Booked when this was written: else somebody who knows no lanes has booked since
	Floor time.Time       `json:"floor,omitzero"` // no lane's last slot is before
	By    map[string]Lane `json:"by,omitempty"`   // by limit, and value; "" is shared
}

// A Lane is one sequence of slots.
type Lane struct {
	Last  time.Time `json:"last,omitzero"`
	Holes []Hole    `json:"holes,omitempty"` // oldest first
}

// A Hole is a time in which a lane has room for slots: as far after From as they
// need, and no later than To. In the item it is short: there may be dozens.
type Hole struct{ From, To time.Time }

// MarshalJSON writes it as the Unix time in nanoseconds at which it begins, and how
// many it is long.
func (h Hole) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]int64{h.From.UnixNano(), int64(h.To.Sub(h.From))})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (h *Hole) UnmarshalJSON(doc []byte) error {
	var n [2]int64
	if err := json.Unmarshal(doc, &n); err != nil {
		return err
	}
	if n[1] < 0 || n[1] > int64(mostPer) {
		return fmt.Errorf("a hole between slots is not %v long", time.Duration(n[1]))
	}
	h.From = time.Unix(0, n[0]).UTC()
	h.To = h.From.Add(time.Duration(n[1]))
	return nil
}

const mostHoles = 48

// lane is what is known of a lane. An item that nobody who knows lanes has booked
// in has one sequence of slots.
func (it *Item) lane(key string, blind time.Duration) Lane {
	ls := it.Lanes
	if ls == nil || !ls.Of.Equal(it.Booked) {
		return Lane{Last: it.last(blind)}
	}
	l := ls.By[key]
	l.Last = latest(l.Last, ls.Floor, it.withdrawn(blind))
	return l
}

// keepLane writes a lane down.
func (it *Item) keepLane(key string, l Lane, blind time.Duration) {
	if it.Lanes == nil || !it.Lanes.Of.Equal(it.Booked) {
		it.Lanes = &Lanes{Of: it.Booked, Floor: it.last(blind)}
	}
	if it.Lanes.By == nil {
		it.Lanes.By = map[string]Lane{}
	}
	it.Lanes.By[key] = l
}

// fit is the first instant from floor on at which a call of so many units has room
// in l, in a hole too if holes says so.
func (l Lane) fit(segs segments, units int, floor time.Time, holes, snaps bool) time.Time {
	next := func(from time.Time) time.Time {
		t := segs.next(from, floor, units)
		if every := segs.at(t).every; snaps && every > 0 && !from.IsZero() {
			if off := t.Sub(from) % every; off > 0 {
				return segs.next(from, t.Add(every-off), units)
			}
		}
		return t
	}
	if holes {
		for _, h := range l.Holes {
			if h.To.Before(floor) {
				continue
			}
			if t := next(h.From); !t.After(h.To) {
				return t
			}
		}
	}
	return next(l.Last)
}

// drift is how much later than it counts for a slot of a limit apart may be.
func (r rules) drift(limit int) time.Duration {
	l := r.limits[limit]
	if !l.apart() {
		return 0
	}
	p, every := l.pace(r.spread), r.ownEvery()
	if own := p.interval(); 2*every <= own && p.drifting(every).interval() <= own+own/50 {
		return every
	}
	return 0 // it would cost more than the gaps do
}

// take is l with a call of so many units at t, where it fits, and counts as up to
// drift earlier. soonest is where the next one could be.
func (l Lane) take(segs segments, units int, t, soonest time.Time, drift time.Duration) Lane {
	need := times(segs.at(t).every, int64(units))
	if drift > 0 {
		from := l.Last
		for _, h := range l.Holes {
			if !t.After(l.Last) && !t.Before(h.From) && !t.After(h.To) {
				from = h.From
				break
			}
		}
		t = latest(t.Add(-drift), earliest(t, from.Add(need)))
	}
	before := t.Add(-need) // whatever comes before t ends here
	holes := make([]Hole, 0, len(l.Holes)+1)
	add := func(h Hole) {
		h.From = latest(h.From, soonest.Add(-need)) // what is longer ago, or never was, keeps nothing away
		if !h.To.Before(soonest) && !segs.next(h.From, soonest, 1).After(h.To) {
			holes = append(holes, h)
		}
	}
	last := latest(l.Last, t)
	placed := t.After(l.Last)
	for _, h := range l.Holes {
		if !placed && !t.Before(h.From) && !t.After(h.To) {
			add(Hole{h.From, before})
			add(Hole{t, h.To})
			placed = true
			continue
		}
		add(h)
	}
	if t.After(l.Last) {
		add(Hole{l.Last, before})
	}
	for len(holes) > mostHoles { // the smallest
		i, least := 0, holes[0].To.Sub(holes[0].From)
		for j, h := range holes {
			if d := h.To.Sub(h.From); d < least {
				i, least = j, d
			}
		}
		holes = slices.Delete(holes, i, i+1)
	}
	if len(holes) == 0 {
		holes = nil
	}
	return Lane{last, holes}
}

// pruneLanes forgets lanes in which nothing keeps a new slot away any more.
func (it *Item) pruneLanes(r rules, all rulings, now time.Time) {
	if it.Lanes == nil {
		return
	}
	soonest := now.Add(lead)
	maps.DeleteFunc(it.Lanes.By, func(key string, l Lane) bool {
		if key == "" {
			return false
		}
		for i, lim := range r.limits {
			if lim.apart() && (key == lim.Name || lim.scope().Each != "" && hasName(key, lim.Name)) {
				return len(l.Holes) == 0 && !all.own[i].next(l.Last, soonest, lim.heaviest()).After(soonest)
			}
		}
		return !l.Last.After(now) // of a limit that there is no more
	})
}

func hasName(key, limit string) bool {
	return len(key) > len(limit) && key[:len(limit)] == limit && key[len(limit)] == '='
}

// cutLanes ends all lanes' slots from at on, as cut does.
func (it *Item) cutLanes(was, at time.Time) {
	ls := it.Lanes
	if ls == nil {
		return
	}
	if !ls.Of.Equal(was) {
		it.Lanes = nil // out of date already
		return
	}
	fresh := &Lanes{Of: it.Booked, Floor: earliest(ls.Floor, at), By: make(map[string]Lane, len(ls.By))}
	for key, l := range ls.By {
		fresh.By[key] = Lane{Last: earliest(l.Last, at)}
	}
	it.Lanes = fresh
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (ls *Lanes) clone() *Lanes {
	if ls == nil {
		return nil
	}
	c := *ls
	c.By = maps.Clone(ls.By) // holes are replaced, never changed
	return &c
}
