package governor

import (
	"maps"
	"math"
	"time"
)

// What is counted when it is booked, a run's budget and the periods of calendar
// limits, is never exceeded: a permit that its process does not use stays counted
// until the process has paid for another one with it, or has left.

// An account is what permits are counted in.
type account struct {
	quota string    // in Item.Quotas; empty: the budget
	of    time.Time // the period's end; the budget's Since
}

// A charge is what a permit counts in an account.
type charge struct {
	account
	units int
}

// A purse is what this process has booked in accounts and not used: bought ahead,
// or booked with a slot that went to waste.
type purse map[account]int

// A Quota is what has been booked of one period of a calendar limit.
type Quota struct {
	End  time.Time `json:"end"` // of the period
	Used int64     `json:"used"`
}

// used is what has been booked of the period that ends at end.
func (it *Item) used(key string, end time.Time) int64 {
	for _, q := range it.Quotas[key] {
		if q.End.Equal(end) {
			return q.Used
		}
	}
	return 0
}

// spend counts units of a charge that nobody has booked yet.
func (it *Item) spend(c charge, units int) {
	if c.quota == "" {
		it.Budget.spend(units)
		return
	}
	if it.Quotas == nil {
		it.Quotas = map[string][]Quota{}
	}
	list := append([]Quota(nil), it.Quotas[c.quota]...)
	for i := range list {
		if list[i].End.Equal(c.of) {
			list[i].Used = max(list[i].Used+int64(units), 0)
			it.Quotas[c.quota] = list
			return
		}
	}
	it.Quotas[c.quota] = append(list, Quota{c.of, int64(max(units, 0))})
}

// pay counts a permit's charges, first with what is in the purse.
func (it *Item) pay(charges []charge, own purse) {
	for _, c := range charges {
		mine := min(own[c.account], c.units)
		if mine > 0 {
			own[c.account] -= mine
		}
		if mine < c.units {
			it.spend(c, c.units-mine)
		}
	}
}

// pruneQuotas forgets periods that are over.
func (it *Item) pruneQuotas(now time.Time) {
	for key, list := range it.Quotas {
		var left []Quota
		for _, q := range list {
			if q.End.After(now) {
				left = append(left, q)
			}
		}
		if len(left) == len(list) {
			continue
		}
		if it.Quotas[key] = left; len(left) == 0 {
			delete(it.Quotas, key)
		}
	}
}

// wasted keeps what a slot cost that nobody has used. g.mu is held.
func (g *Governor) wasted(s slot) {
	for _, c := range s.paid {
		g.purse[c.account] += c.units
	}
}

// emptied takes all that is in the purse, for a write that is to pay with it.
func (g *Governor) emptied() purse {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.purse
	g.purse, g.paying = purse{}, len(p) > 0
	return p
}

// refill puts back what of it the write did not need, but for what is counted in
// nothing any more.
func (g *Governor) refill(p purse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paying = false
	for a, n := range p {
		if n > 0 {
			g.purse[a] += n
		}
	}
	now, budget := g.instant().wall, g.view.item.Budget.since()
	maps.DeleteFunc(g.purse, func(a account, n int) bool {
		return n == 0 || a.quota != "" && !a.of.After(now) || a.quota == "" && !a.of.Equal(budget)
	})
}

// refund gives all that is in a purse back to the item, and tells whether that
// changed anything.
func (it *Item) refund(p purse) bool {
	changed := false
	for a, n := range p {
		switch {
		case n == 0:
		case a.quota != "":
			if it.used(a.quota, a.of) > 0 {
				it.spend(charge{account: a}, -n)
				changed = true
			}
		case it.Budget != nil && it.Budget.Since.Equal(a.of):
			it.Budget.Used -= int64(n)
			changed = true
		}
	}
	return changed
}

// A calendar is a calendar limit that binds a class of calls, as far as booking
// goes.
type calendar struct {
	limit int    // of rules.limits
	key   string // in Item.Quotas
	units int    // that a call counts
}

// count is how much of a calendar limit there is in the period of t, and until
// when that holds.
func (r rules) count(it *Item, c calendar, t time.Time) (n int64, until time.Time) {
	l := r.limits[c.limit]
	o := it.Overrides[l.Name]
	l = o.at(t).apply(l)
	n, until = int64(l.Count), o.Until
	if w, ok := it.Lowered[l.Name]; ok && t.Before(w.Until) && w.below(l) {
		n, until = int64(w.Count), w.Until
	}
	return max(n, int64(c.units)), until // one call at least: else it would never be made
}

// open is the first instant from at on at which a calendar has room for a call,
// for who has so much in the purse.
func (r rules) open(it *Item, c calendar, own purse, at time.Time, late time.Duration) time.Time {
	l := r.limits[c.limit]
	margin := l.margin(late, r.spread)
	for range 4 { // this period, a changed count in it, the next one, and that one's
		var p period
		at, p = l.clear(at, margin)
		n, until := r.count(it, c, at)
		switch left := n - it.used(c.key, p.to) + int64(own[account{c.key, p.to}]); {
		case left >= int64(c.units):
			return at
		case until.After(at) && until.Before(p.to):
			at = until
		default:
			at = p.to
		}
	}
	return at
}

// charges are what a call of the class counts at that instant.
func (r rules) charges(it *Item, c *class, at time.Time) []charge {
	var out []charge
	if since := it.Budget.since(); !since.IsZero() {
		out = append(out, charge{account{of: since}, 1})
	}
	for _, q := range c.calendars {
		out = append(out, charge{account{q.key, r.limits[q.limit].period(at).to}, q.units})
	}
	return out
}

// left is how many calls of the class the accounts of that instant have room for.
func (r rules) left(it *Item, c *class, own purse, at time.Time) int {
	left := it.Budget.left()
	if left < math.MaxInt {
		left += own[account{of: it.Budget.since()}]
	}
	for _, q := range c.calendars {
		end := r.limits[q.limit].period(at).to
		n, _ := r.count(it, q, at)
		n = n - it.used(q.key, end) + int64(own[account{q.key, end}])
		left = min(left, int(max(n, 0))/q.units)
	}
	return left
}
