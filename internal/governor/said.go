package governor

import (
	"context"
	"errors"
	"fmt"
	"time"
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

// heard is what is made of a header that allows count calls per l.Per.
func (l Limit) heard(count int) int {
	if count <= 0 {
		return count // nothing said
	}
	return max(count, (l.Count-1)/leastSaid+1)
}

// below tells whether that is less than l's rate.
func (w Lowered) below(l Limit) bool {
	return w.Count > 0 && float64(w.Count)*float64(l.Per) < float64(l.Count)*float64(w.Per)*(1-1e-9)
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

// hear says what it means that the vendor allows only count calls per l.Per.
func (it *Item) hear(l Limit, count int, now time.Time) hearing {
	if count <= 0 || l.Kind == Unpaced {
		return heardNothing
	}
	old, had := it.Lowered[l.Name]
	switch {
	case (!had || count < old.Count) && (Lowered{Count: count, Per: l.Per}).below(it.Overrides[l.Name].apply(l)):
		return heardLess
	case !had || now.Sub(old.At) < saidPause:
		return heardNothing
	case count > old.Count:
		return heardMore
	case count == old.Count && old.Until.Sub(now) < holds(l)/2:
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

// Said takes what the vendor's headers say: of each limit named, how many calls
// it allows per the limit's own Per. Less than is known of lowers the limit at
// once, in one write, to a hundredth of the spec's rate at least; more raises it again, never above the spec; what is known
// costs nothing. It may be called after every call.
func (g *Governor) Said(ctx context.Context, limits map[string]int) error {
	g.mu.Lock()
	news := g.saying(limits)
	g.mu.Unlock()
	if len(news) == 0 {
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
		for name, count := range news {
			changed = g.rules.lower(it, name, count, now, g.cfg.Member) || changed
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
func (g *Governor) saying(limits map[string]int) map[string]int {
	now := g.instant()
	if g.closed || g.hearing || now.mono < g.retry {
		return nil
	}
	var news map[string]int
	for name, count := range limits {
		l := g.rules.limit(name)
		count = l.heard(count)
		if old, had := g.view.item.Lowered[name]; had && count <= old.Count {
			g.lows[name] = now.mono
		}
		what := g.view.item.hear(l, count, now.wall)
		if what == heardMore && g.lows[name] != 0 && now.mono-g.lows[name] < saidPause {
			continue // other requests of the vendor are still told the smaller number
		}
		if what == heardNothing {
			continue
		}
		if news == nil {
			news = map[string]int{}
		}
		news[name] = count
	}
	g.hearing = len(news) > 0
	return news
}

// lower writes what the vendor's headers say of one limit into the item and
// tells whether that changed anything.
func (r rules) lower(it *Item, name string, count int, now time.Time, by string) bool {
	l := r.limit(name)
	what := it.hear(l, count, now)
	if what == heardNothing {
		return false
	}
	old, had := it.Lowered[name]
	fresh := Lowered{Count: count, Per: l.Per, Until: now.Add(holds(l)), Said: fmt.Sprintf("%d per %v", count, l.Per), At: now}
	e := Entry{At: now, By: by, What: "limit " + name, Old: "more", New: fresh.Said, Why: "the vendor's headers say so"}
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
	case !fresh.below(it.Overrides[name].apply(l)):
		delete(it.Lowered, name)
		e.New = "as before"
	}
	it.log(e)
	return true
}
