package governor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Budget bounds what a run may call: Calls permits may be booked, none for
// Until or later. A permit counts when it is booked, used or not, so the calls
// made are never more.
type Budget struct {
	Run   string    `json:"run,omitempty"`
	Calls int64     `json:"calls,omitempty"` // 0: no such bound
	Until time.Time `json:"until,omitzero"`  // zero: no such bound
	Used  int64     `json:"used,omitempty"`  // permits booked
	Since time.Time `json:"since,omitzero"`  // when it was first set: tells it from others
	At    time.Time `json:"at,omitzero"`     // when it was last set
	By    string    `json:"by,omitempty"`
}

// creditBlock is how many calls one write accounts for where nothing is booked:
// a vendor that limits nothing but calls at once.
const creditBlock = 32

// left is how many permits may still be booked.
func (b *Budget) left() int {
	if b == nil || b.Calls == 0 {
		return math.MaxInt
	}
	return int(max(b.Calls-b.Used, 0))
}

// ended tells whether the budget allows no call at t.
func (b *Budget) ended(t time.Time) bool {
	return b != nil && !b.Until.IsZero() && !t.Before(b.Until)
}

// within is how late after at a call may start that may be late by so much.
func (b *Budget) within(at time.Time, late time.Duration) time.Duration {
	if b == nil || b.Until.IsZero() {
		return late
	}
	return min(late, max(b.Until.Sub(at)-1, 0))
}

// since tells the budget from others; zero: there is none that counts.
func (b *Budget) since() time.Time {
	if b == nil || b.Calls == 0 {
		return time.Time{}
	}
	return b.Since
}

// spend counts n permits that are being booked.
func (b *Budget) spend(n int) {
	if b != nil {
		b.Used += int64(n)
	}
}

// String says what is allowed.
func (b *Budget) String() string {
	if b == nil {
		return "none"
	}
	s := "run " + b.Run + ":"
	if b.Calls > 0 {
		s += fmt.Sprintf(" %d calls", b.Calls)
	}
	if !b.Until.IsZero() {
		s += " until " + clockText(b.Until)
	}
	return s
}

func clockText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// spent is the stop by a budget that is over at now, written down or not; zero:
// it is not. Used up, it is so only when the last permits have had their time. It
// holds since the last of them, or the budget's end, and not from before it was
// set.
func (it *Item) spent(now time.Time) Stop {
	b, s := it.Budget, Stop{Kind: ByBudget}
	switch {
	case b.left() == 0 && now.After(it.Booked.Add(mostLate)):
		s.Why, s.At = fmt.Sprintf("the budget of run %s: %d calls are used up", b.Run, b.Calls), it.Booked
	case b.ended(now):
		s.Why, s.At = fmt.Sprintf("the budget of run %s ended at %s", b.Run, clockText(b.Until)), b.Until
	default:
		return Stop{}
	}
	s.At = latest(s.At, b.At)
	return s
}

// halt writes down that the budget is over, so that everybody sees it.
func (g *Governor) halt(ctx context.Context) error {
	_, err := g.update(ctx, "stop", func(it *Item, now time.Time) error {
		s := it.spent(now)
		if s.Kind == "" {
			return errUnchanged
		}
		s.By = g.cfg.Member
		return it.stop(s, now)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// haltDue tells whether the budget is over and nobody has written it down.
// g.mu is held.
func (g *Governor) haltDue(now instant) bool {
	it := &g.view.item
	return it.Stop.Kind == "" && it.Budget != nil && g.clock.trusted(now) && g.retry <= now.mono && it.spent(now.wall).Kind != "" &&
		(it.Budget.ended(now.wall) || g.funds() == 0)
}

// counted tells whether calls of a class without slots are counted: they need
// credit. g.mu is held.
func (g *Governor) counted(c *class) bool {
	b := g.view.item.Budget
	return !c.paced() && (b != nil && b.Calls > 0 || len(c.calendars) > 0)
}

// credit takes the credit for one call of a class without slots at now, or tells
// that there is none. g.mu is held.
func (g *Governor) credit(c *class, now time.Time) ([]charge, bool) {
	if !g.counted(c) {
		return nil, true
	}
	charges := g.rules.charges(&g.view.item, c, now)
	for _, ch := range charges {
		if g.purse[ch.account] < ch.units {
			wake(g.keeping)
			return nil, false
		}
	}
	for _, ch := range charges {
		g.purse[ch.account] -= ch.units
	}
	return charges, true
}

// funds is how much of the present budget is in the purse. g.mu is held.
func (g *Governor) funds() int { return g.purse[account{of: g.view.item.Budget.since()}] }

// borrow books credit for calls of a class without slots in one write: a block,
// and near the end so little that other processes find some too.
func (g *Governor) borrow(ctx context.Context, c *class) error {
	got := purse{}
	_, err := g.member(ctx, "book", 0, func(it *Item, now time.Time) (time.Time, error) {
		clear(got)
		charges := g.rules.charges(it, c, now)
		left := g.rules.left(it, c, nil, now)
		if len(charges) == 0 || left == 0 || it.Stop.Kind != "" || it.Breaker.Open() || it.Budget.ended(now) {
			return time.Time{}, errUnchanged
		}
		n := min(creditBlock, max(left/(2*it.live(now, g.cfg.Member)), 1))
		for _, ch := range charges {
			it.spend(ch, n*ch.units)
			got[ch.account] = n * ch.units
		}
		for range n {
			g.rules.countTold(it, c, now)
		}
		it.Booked = latest(it.Booked, now)
		return now, nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	if err == nil {
		g.refill(got)
	}
	wake(g.pacing)
	return nil
}

// SetBudget gives the vendor a budget in place of the one that it has; one with
// neither Calls nor Until takes it away. What the same run has used stays used,
// that of another run starts at b.Used. A stop by the old budget ends.
//
// Permits booked before are withdrawn unless they have been counted. As with a
// pause, a process that has not heard of it uses them for as long as it trusts
// its last read.
func SetBudget(ctx context.Context, s Store, vendor string, b Budget, n Note) error {
	if b.Calls < 0 || b.Used < 0 {
		return fmt.Errorf("budget of %s: neither calls nor what is used are negative", vendor)
	}
	return operate(ctx, s, vendor, "setting the budget of", func(it *Item, now time.Time) error {
		old := it.Budget
		none := b.Calls == 0 && b.Until.IsZero()
		if none && old == nil {
			return errUnchanged
		}
		e := Entry{At: now, By: n.By, What: "budget", Old: old.String(), New: "none", Why: n.Why}
		it.Budget = nil
		if !none {
			fresh := Budget{Run: b.Run, Calls: b.Calls, Until: b.Until.UTC(), Used: b.Used, Since: now, At: now, By: n.By}
			if b.Until.IsZero() {
				fresh.Until = time.Time{}
			}
			if old != nil && old.Run == b.Run && b.Run != "" {
				fresh.Used, fresh.Since = old.Used, old.Since
			}
			it.Budget, e.New = &fresh, fresh.String()
			if fresh.Since.Equal(now) {
				it.cut(now, now)
			}
		}
		it.log(e)
		if it.Stop.Kind == ByBudget {
			it.log(Entry{At: now, By: n.By, What: "resume", Old: string(ByBudget), Why: "another budget"})
			it.Stop = Stop{}
		}
		return nil
	})
}

// stopped is the stop that holds now, written down or not. A budget that is used
// up does not stop a process that has credit of it left. g.mu is held.
func (g *Governor) stopped(now instant) Stop {
	it := &g.view.item
	s := it.stopped(now.wall)
	if s.Kind == ByBudget && it.Stop.Kind == "" && !it.Budget.ended(now.wall) && (g.funds() > 0 || g.paying) {
		return Stop{}
	}
	return s
}
