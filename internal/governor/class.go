package governor

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A class is what calls have in common that the same limits bind in the same way:
// they may use each other's slots.
type class struct {
	key       string // tells it from others
	base      string // the same without the values of limits that are kept for each
	lanes     []tied
	calendars []calendar
	snaps     bool // its slots in the shared lane are whole intervals from the others
	each      bool // a limit that is kept for each value of something binds it
}

// A tied is a lane that a call has its slot in.
type tied struct {
	limit int    // of rules.limits; shared: those that bind every call alike
	key   string // in Item.Lanes
	units int    // that a call takes
}

// shared stands for the limits that bind every call, with one unit: they are one
// lane.
const shared = -1

func (l Limit) scope() Scope {
	if l.Of == nil {
		return Scope{}
	}
	return *l.Of
}

// some tells whether l binds some calls only, or some more than others.
func (l Limit) some() bool {
	of := l.scope()
	return of.Tiers != nil || of.Each != "" || of.weighted()
}

// apart tells whether l has lanes of its own.
func (l Limit) apart() bool { return l.paced() && l.some() }

// weighted tells whether calls may count more than once.
func (s Scope) weighted() bool { return s.AtMost > 1 || len(s.Weight) > 0 }

// binds tells whether the calls of a tier count.
func (s Scope) binds(tier string) bool { return s.Tiers == nil || slices.Contains(s.Tiers, tier) }

// units is how much a call of the tier counts in l; what only the answer tells is
// as expected.
func (l Limit) units(tier string, expected map[string]int) int {
	of := l.scope()
	if of.AtMost > 1 {
		if n, ok := expected[l.Name+"/"+tier]; ok {
			return n
		}
		return of.AtMost
	}
	return max(of.Weight[tier], 1)
}

// heaviest is the largest weight of a call in l.
func (l Limit) heaviest() int {
	most := max(l.scope().AtMost, 1)
	for _, w := range l.scope().Weight {
		most = max(most, w)
	}
	return most
}

// plain tells whether all calls are of one class.
func (r rules) plain() bool {
	return !slices.ContainsFunc(r.limits, Limit.some)
}

// class is that of a call. value says what a limit that is kept for each value of
// something is kept for.
func (r rules) class(c fanout.Call, expected map[string]int, value func(string, fanout.Call) string) *class {
	out := &class{}
	if slices.ContainsFunc(r.limits, func(l Limit) bool { return l.paced() && !l.apart() }) {
		out.lanes = append(out.lanes, tied{shared, "", 1})
	}
	for i, l := range r.limits {
		s := l.scope()
		if l.Kind == Unpaced || !s.binds(c.Tier) {
			continue
		}
		key, units := l.Name, l.units(c.Tier, expected)
		of := fmt.Sprint(units)
		if s.AtMost > 1 {
			of = c.Tier
		}
		if l.some() {
			out.base += l.Name + "*" + of + " "
		}
		if s.Each != "" {
			v := short(value(s.Each, c))
			if v == "" && c.Node.Path == nil {
				continue // of no call in particular: an outlook
			}
			key += "=" + v
			out.each = true
		}
		switch {
		case l.Kind == Calendar:
			out.calendars = append(out.calendars, calendar{i, key, units})
		case l.apart():
			out.lanes = append(out.lanes, tied{i, key, units})
			out.snaps = out.snaps || r.drift(i) > 0
		default:
			continue
		}
		if !l.some() {
			continue // it binds every class alike
		}
		out.key += key + "*" + of + " "
	}
	return out
}

// short is a value as part of a key.
func short(v string) string {
	if len(v) <= 64 {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	return hex.EncodeToString(sum[:16])
}

// every is the distance of the class's slots at the segments' instant, as far as
// its own calls go; 0: it has no rate.
func (c *class) every(all rulings, now time.Time) time.Duration {
	var every time.Duration
	for _, t := range c.lanes {
		every = max(every, times(all.of(t.limit).at(now).every, int64(t.units)))
	}
	return every
}

// paced tells whether calls of the class need slots.
func (c *class) paced() bool { return len(c.lanes) > 0 }

// rulings are what limits say from now on: those that are shared, and each of the
// others by itself.
type rulings struct {
	shared segments
	own    []segments // by limit; nil: it is shared
}

func (r rulings) of(limit int) segments {
	if limit == shared {
		return r.shared
	}
	return r.own[limit]
}

// rulings of an item from now on.
func (r rules) rulings(it *Item, now time.Time) rulings {
	out := rulings{shared: r.segments(it, now)}
	for i, l := range r.limits {
		if !l.apart() {
			continue
		}
		if out.own == nil {
			out.own = make([]segments, len(r.limits))
		}
		out.own[i] = r.segmentsOf(it, now, i)
	}
	return out
}

// find is the first instant from floor on at which a call of the class may have
// its slot, and how late it may start then.
func (r rules) find(it *Item, c *class, all rulings, own purse, blind time.Duration, floor time.Time) (at time.Time, late time.Duration) {
	at = floor
	for try := 0; ; try++ {
		t := at
		late = mostLate
		for _, l := range c.lanes {
			segs := all.of(l.limit)
			t = it.lane(l.key, blind).fit(segs, l.units, t, try < mostTries, c.snaps && l.limit == shared)
			late = min(late, segs.at(t).late)
		}
		for _, q := range c.calendars {
			t = r.open(it, q, own, t, late)
		}
		t = it.apart(r.untold(it, c, t))
		if t.Equal(at) || try > 2*mostTries {
			return t, late // nothing has moved it
		}
		at = t
	}
}

// mostTries is after how many rounds holes are not looked at any more. Then each
// round moves a slot past what keeps it away, and there are few of those.
const mostTries = 200

// waitsFor is the calendar limit that keeps calls of the class from t; empty:
// none does.
func (r rules) waitsFor(it *Item, c *class, own purse, t time.Time) (name string, until time.Time) {
	for _, q := range c.calendars {
		at := r.open(it, q, own, t, mostLate)
		l := r.limits[q.limit]
		if _, p := l.clear(t, l.margin(mostLate, r.spread)); at.After(until) && !at.Before(p.to) {
			name, until = l.Name, at
		}
	}
	return name, until
}

func compareLines(a, b *line) int {
	first := func(l *line) time.Time {
		if len(l.slots) == 0 {
			return time.Time{}
		}
		return l.slots[0].at
	}
	return cmp.Or(first(a).Compare(first(b)), cmp.Compare(a.key, b.key))
}
