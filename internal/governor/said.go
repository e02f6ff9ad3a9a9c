package governor

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// What a vendor says about its limits in its headers may be less than its
// documents promise: a smaller plan, a bad day. It holds at once for the whole
// fleet, and for some time after it was last said.

const (
	saidLife  = 5 * time.Minute  // what headers say holds at least this long, and two periods of the limit
	saidPause = 10 * time.Second // between two writes that do not lower a limit
)

// Lowered is a limit of which the vendor's headers allow only Count per Per.
type Lowered struct {
	Count int           `json:"count"`
	Per   time.Duration `json:"per"`
	Until time.Time     `json:"until"`          // unless it is said again
	Said  string        `json:"said,omitempty"` // for people
	At    time.Time     `json:"at"`             // when it was last written
}

// leastSaid is the part of a limit's rate that no header takes away: one
// misread number must not bring a fleet to a standstill for minutes.
const leastSaid = 100 // 1/leastSaid of it

// heard is what is made of a header that allows count calls per per: a word of
// the limit's own time, unless it has named another.
func (l Limit) heard(said fanout.Said) Lowered {
	w := Lowered{Count: said.Count, Per: said.Per}
	if w.Count <= 0 {
		return Lowered{} // nothing said
	}
	if w.Per <= 0 || w.Per > mostPer || l.Kind == Calendar {
		w.Per = l.Per
	}
	least := math.Ceil(float64(l.Count) * float64(w.Per) / float64(l.Per) / leastSaid)
	w.Count = max(w.Count, int(min(least, math.MaxInt32)))
	return w
}

// less tells whether w is a lower rate than o.
func (w Lowered) less(o Lowered) bool {
	return float64(w.Count)*float64(o.Per) < float64(o.Count)*float64(w.Per)*(1-1e-9)
}

// below tells whether that is less than l's rate.
func (w Lowered) below(l Limit) bool {
	return w.Count > 0 && w.less(Lowered{Count: l.Count, Per: l.Per})
}

// holds is how long what is said of l holds.
func holds(l Limit) time.Duration { return max(2*l.Per, saidLife) }

// What is to be done about a header.
type hearing int

const (
	heardNothing hearing = iota
	heardLess
	heardSame // and the old word ends soon
	heardMore
)

// hear says what it means that the vendor allows only so much.
func (it *Item) hear(l Limit, word Lowered, now time.Time) hearing {
	if word.Count <= 0 || l.Kind == Unpaced {
		return heardNothing
	}
	old, had := it.Lowered[l.Name]
	switch {
	case (!had || word.less(old)) && word.below(it.Overrides[l.Name].apply(l)):
		return heardLess
	case !had || now.Sub(old.At) < saidPause:
		return heardNothing
	case old.less(word):
		return heardMore
	case !word.less(old) && old.Until.Sub(now) < holds(l)/2:
		return heardSame
	}
	return heardNothing
}

// limit is the spec's limit of that name.
func (r rules) limit(name string) Limit {
	for _, l := range r.limits {
		if l.Name == name {
			return l
		}
	}
	return Limit{}
}

// Said takes what an answer to a call, sent at the given instant, says of limits.
// How many calls one allows, if that is less than is known of, lowers the limit at
// once, in one write, to a hundredth of the spec's rate at least; more raises it
// again, never above the spec. How many are left bounds what is booked until the
// reset. What is known costs nothing. It may be called after every call.
func (g *Governor) Said(ctx context.Context, call fanout.Call, sent time.Time, limits map[string]fanout.Said) error {
	g.mu.Lock()
	words, told := g.saying(call, sent, limits)
	g.mu.Unlock()
	if len(words)+len(told) == 0 {
		return nil
	}
	defer func() {
		g.mu.Lock()
		g.hearing = false
		g.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*g.cfg.Stale)
	defer cancel()
	_, err := g.update(ctx, "said", func(it *Item, now time.Time) error {
		changed := false
		for name, word := range words {
			changed = g.rules.lower(it, name, word, now, g.cfg.Member) || changed
		}
		all, live := g.rules.rulings(it, now), it.live(now, g.cfg.Member)
		for _, t := range told {
			changed = g.rules.believe(it, t, all, now, live, g.blindFor()) || changed
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// saying is what of limits is worth a write, by the latest view. One write at a
// time: what is said now is said again by the next answer. g.mu is held.
func (g *Governor) saying(call fanout.Call, sent time.Time, limits map[string]fanout.Said) (words map[string]Lowered, told []tells) {
	now := g.instant()
	if g.closed || g.hearing || now.mono < g.retry {
		return nil, nil
	}
	for name, said := range limits {
		l := g.rules.limit(name)
		word := l.heard(said)
		if old, had := g.view.item.Lowered[name]; had && word.Count > 0 && !old.less(word) {
			g.lows[name] = now.mono
		}
		what := g.view.item.hear(l, word, now.wall)
		if what == heardMore && g.lows[name] != 0 && now.mono-g.lows[name] < saidPause {
			continue // other requests of the vendor are still told the smaller number
		}
		if what == heardNothing {
			continue
		}
		if words == nil {
			words = map[string]Lowered{}
		}
		words[name] = word
	}
	if len(g.view.all.shared) > 0 {
		live := g.view.item.live(now.wall, g.cfg.Member)
		for _, t := range g.rules.told(g.class(call), utc(sent), now.wall, limits) {
			mine := g.view.item.clone()
			if g.rules.believe(&mine, t, g.view.all, now.wall, live, g.blindFor()) {
				told = append(told, t)
			}
		}
	}
	g.hearing = len(words)+len(told) > 0
	return words, told
}

// lower writes what the vendor's headers say of one limit into the item and
// tells whether that changed anything.
func (r rules) lower(it *Item, name string, word Lowered, now time.Time, by string) bool {
	l := r.limit(name)
	what := it.hear(l, word, now)
	if what == heardNothing {
		return false
	}
	old, had := it.Lowered[name]
	fresh := Lowered{Count: word.Count, Per: word.Per, Until: now.Add(holds(l)), Said: rateText(word.Count, word.Per), At: now}
	before := it.Overrides[name].apply(l)
	e := Entry{At: now, By: by, What: "limit " + name, Old: rateText(before.Count, before.Per), New: fresh.Said, Why: "the vendor's headers say so"}
	if had {
		e.Old = old.Said
	}
	if it.Lowered == nil {
		it.Lowered = map[string]Lowered{}
	}
	it.Lowered[name] = fresh
	switch {
	case what == heardLess:
		it.cut(now, now.Add(settle))
	case what == heardSame:
		return true // known to the log
	case !fresh.below(before):
		delete(it.Lowered, name)
		e.New = "as before"
	}
	it.log(e)
	return true
}
