package governor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// settle is how far ahead a changed limit takes effect: by then every process
// has heard of it.
const settle = 100 * time.Millisecond

// ErrAboveCeiling says that a change asked for more than the spec allows.
var ErrAboveCeiling = errors.New("more than the spec allows")

// A Note says who changes something and why; both go to the audit log.
type Note struct{ By, Why string }

// Pause stops the vendor for the whole fleet until Resume. It does nothing to a
// vendor that is stopped already.
func Pause(ctx context.Context, s Store, vendor string, n Note) error {
	return Halt(ctx, s, vendor, ByOperator, n.Why, n)
}

// Halt stops the vendor as Pause does, for a reason of any kind; why is what
// people read while it is stopped.
func Halt(ctx context.Context, s Store, vendor string, kind StopKind, why string, n Note) error {
	if kind == "" {
		return fmt.Errorf("stopping %s: a stop has a kind", vendor)
	}
	return operate(ctx, s, vendor, "stopping", func(it *Item, now time.Time) error {
		return it.stop(Stop{kind, n.By, why, now}, now)
	})
}

// stop writes a stop into the item, unless there is one.
func (it *Item) stop(s Stop, now time.Time) error {
	if it.Stop.Kind != "" {
		return errUnchanged
	}
	it.log(Entry{At: now, By: s.By, What: "stop", New: string(s.Kind), Why: s.Why})
	it.Stop = s
	it.cut(now, now)
	return nil
}

// Resume lets the vendor go on, whoever stopped it. It does nothing to a vendor
// that is not Stopped. A budget that has stopped it, written down or not, is
// taken away.
func Resume(ctx context.Context, s Store, vendor string, n Note) error {
	return operate(ctx, s, vendor, "resuming", func(it *Item, now time.Time) error {
		kind := it.stopped(now).Kind
		if kind == "" {
			return errUnchanged
		}
		it.log(Entry{At: now, By: n.By, What: "resume", Old: string(kind), Why: n.Why})
		it.Stop = Stop{}
		if kind == ByBudget {
			it.Budget = nil
		}
		return nil
	})
}

// Record writes an entry into the vendor's audit log, for what is done
// elsewhere. Without a time it is of now.
func Record(ctx context.Context, s Store, vendor string, e Entry) error {
	if e.What == "" {
		return fmt.Errorf("recording for %s: an entry says what was done", vendor)
	}
	return operate(ctx, s, vendor, "recording for", func(it *Item, now time.Time) error {
		e := e
		if e.At.IsZero() {
			e.At = now
		}
		e.At = utc(e.At)
		it.log(e)
		return nil
	})
}

// A Change of one limit. Zero fields leave what the spec says; a Change with
// nothing but the limit's name takes an earlier one back.
type Change struct {
	Limit    string
	Count    int // Count calls per Per
	Per      time.Duration
	Burst    int
	InFlight int
	For      time.Duration // how long it holds; 0: until it is taken back
}

// SetLimit changes one limit for the whole fleet. spec is the limit as the spec
// has it: a change above it is ErrAboveCeiling, unless spec is the zero Limit;
// one that makes no sense is refused all the same. A rate holds from a tenth of a second on. A brake stays in force, and so does what
// brakes have left of the rate.
func SetLimit(ctx context.Context, s Store, vendor string, c Change, spec Limit, n Note) error {
	if err := c.check(spec); err != nil {
		return fmt.Errorf("limit %q of %s: %w", c.Limit, vendor, err)
	}
	return operate(ctx, s, vendor, fmt.Sprintf("changing limit %q of", c.Limit), func(it *Item, now time.Time) error {
		return it.change(c, now, n)
	})
}

// change makes a change that has been checked.
func (it *Item) change(c Change, now time.Time, n Note) error {
	old, had := it.Overrides[c.Limit]
	if it.Overrides == nil {
		it.Overrides = map[string]Override{}
	}
	o := c.override()
	o.By, o.Why, o.At = n.By, n.Why, now
	e := Entry{At: now, By: n.By, What: "limit " + c.Limit, Old: "as in the spec", New: o.String(), Why: n.Why}
	if had {
		e.Old = old.String()
	}
	switch {
	case c == Change{Limit: c.Limit} || c == Change{Limit: c.Limit, For: c.For}:
		if !had {
			return errUnchanged
		}
		e.New = "as in the spec"
		delete(it.Overrides, c.Limit)
	default:
		if c.For > 0 {
			o.Until = now.Add(c.For)
			e.New += fmt.Sprintf(" for %v", c.For)
			switch { // what stands comes back afterwards
			case had && old.Until.IsZero():
				o.Then = &old
			case had:
				o.Then = old.Then
			}
		}
		it.Overrides[c.Limit] = o
	}
	it.log(e)
	it.cut(now, now.Add(settle))
	return nil
}

func (c Change) check(spec Limit) error {
	switch {
	case c.Limit == "":
		return errors.New("which limit?")
	case spec.Name == "" && spec.Kind == Unpaced && spec.InFlight == 0:
		return c.complete()
	}
	if err := c.sane(spec); err != nil {
		return err
	}
	if c.Count > 0 && float64(c.Count)*float64(spec.Per) > float64(spec.Count)*float64(c.Per)*(1+1e-9) {
		return fmt.Errorf("%d per %v is %w (%d per %v)", c.Count, c.Per, ErrAboveCeiling, spec.Count, spec.Per)
	}
	if c.Burst > max(spec.Burst, 1) {
		return fmt.Errorf("a burst of %d is %w (%d)", c.Burst, ErrAboveCeiling, max(spec.Burst, 1))
	}
	if spec.InFlight > 0 && c.InFlight > spec.InFlight {
		return fmt.Errorf("%d in flight is %w (%d)", c.InFlight, ErrAboveCeiling, spec.InFlight)
	}
	return nil
}

// complete tells whether a change makes sense by itself.
func (c Change) complete() error {
	if (c.Count == 0) != (c.Per == 0) || c.Count < 0 || c.Per < 0 || c.Burst < 0 || c.InFlight < 0 || c.For < 0 {
		return errors.New("a rate is so many calls per so much time, both above zero; nothing is negative")
	}
	return c.override().apply(Limit{Kind: Spacing, Count: 1, Per: time.Second}).check() // of any limit with a rate
}

func (c Change) override() Override {
	return Override{Count: c.Count, Per: c.Per, Burst: c.Burst, InFlight: c.InFlight}
}

// sane tells whether a change makes sense for a limit.
func (c Change) sane(spec Limit) error {
	if err := c.complete(); err != nil {
		return err
	}
	if c.Count > 0 && spec.Kind == Unpaced {
		return errors.New("it has no rate")
	}
	if c.Count > 0 && spec.Kind == Calendar && c.Per != spec.Per {
		return fmt.Errorf("it counts by the %s: so many calls per %s are to be given", spec.called(), spec.called())
	}
	return c.override().apply(spec).check()
}

// String says what the override changes.
func (o Override) String() string {
	s := ""
	add := func(format string, args ...any) {
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf(format, args...)
	}
	if o.Count > 0 {
		add("%s", rateText(o.Count, o.Per))
	}
	if o.Burst > 0 {
		add("burst %d", o.Burst)
	}
	if o.InFlight > 0 {
		add("%d in flight", o.InFlight)
	}
	return s
}

// rateText is a rate as specs and operators write it: 5/s, 300/m, 10/5s, 1000/day.
func rateText(count int, per time.Duration) string {
	unit := per.String()
	if short, ok := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h", Day: "day"}[per]; ok {
		unit = short
	}
	unit = strings.Replace(strings.Replace(unit, "m0s", "m", 1), "h0m", "h", 1)
	return fmt.Sprintf("%d/%s", count, unit)
}

// operate writes an operator's change, by a clock that the store agrees with:
// a cut by a wrong one would free slots that are in use.
func operate(ctx context.Context, s Store, vendor, what string, fn func(it *Item, now time.Time) error) error {
	before := utc(time.Now())
	theirs, resolution, err := s.Clock(ctx)
	if err != nil {
		return fmt.Errorf("%s %s: reading the store's clock: %w", what, vendor, err)
	}
	if off := clockOff(before, utc(time.Now()), theirs, resolution+clockSlack); off != "" {
		return fmt.Errorf("%s %s: %s", what, vendor, off)
	}
	err = s.Update(ctx, vendor, func(it *Item) error {
		now := utc(time.Now())
		it.prune(now)
		it.Rev++
		return fn(it, now)
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("%s %s: %w", what, vendor, err)
	}
	return nil
}
