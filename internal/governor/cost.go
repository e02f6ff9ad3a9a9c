package governor

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Where only the answer tells how much a call counts, it is booked as what the
// tier's last answer said, and at first as the most. What it counted beyond that
// is a debt, which the next booking pays first.

// costs is what hears how much the call on s has counted; nil: no limit asks.
func (g *Governor) costs(call fanout.Call, s slot) func(string, int) {
	if !slices.ContainsFunc(g.cfg.Limits, func(l Limit) bool { return l.scope().AtMost > 1 }) || s.class == nil {
		return nil
	}
	return func(limit string, units int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		i := slices.IndexFunc(g.cfg.Limits, func(l Limit) bool { return l.Name == limit })
		if i < 0 || units < 1 || g.cfg.Limits[i].scope().AtMost < 2 {
			return
		}
		g.expected[limit+"/"+call.Tier] = min(units, g.cfg.Limits[i].scope().AtMost)
		for _, t := range s.class.lanes {
			if t.limit == i && units > t.units {
				g.debts[t.key] += units - t.units
			}
		}
		for n, ch := range s.class.calendars {
			switch {
			case ch.limit != i:
			case units > ch.units:
				g.debts[ch.key] += units - ch.units
			case len(s.paid) > 0: // it has cost less: the rest is for another call
				of := s.paid[len(s.paid)-len(s.class.calendars)+n].account
				g.purse[of] += ch.units - units
			}
		}
	}
}

// owed takes what this process owes, for a write.
func (g *Governor) owed() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.debts
	g.debts = map[string]int{}
	return d
}

// stillOwed puts back what was not written.
func (g *Governor) stillOwed(debts map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, n := range debts {
		g.debts[key] += n
	}
}

// owe books debts: no slot of the lane comes before they are paid.
func (r rules) owe(it *Item, all rulings, debts map[string]int, now time.Time, blind time.Duration) {
	for i, l := range r.limits {
		for key, n := range debts {
			if key != l.Name && !hasName(key, l.Name) {
				continue
			}
			if l.Kind == Calendar {
				it.spend(charge{account: account{key, l.period(now).to}}, n)
				continue
			}
			if all.own == nil || all.own[i] == nil {
				continue
			}
			lane := it.lane(key, blind)
			from := latest(lane.Last, now)
			it.keepLane(key, Lane{Last: from.Add(times(all.own[i].at(from).every, int64(n)))}, blind)
		}
	}
}
