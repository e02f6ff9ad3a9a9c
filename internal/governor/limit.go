package governor

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Kind says how a vendor counts.
type Kind string

// The kinds of limit.
const (
	Unpaced Kind = ""        // no rate: InFlight only
	Bucket  Kind = "bucket"  // Count per Per on average, Burst at once (a token or leaky bucket that holds Burst)
	Window  Kind = "window"  // at most Count in any window of length Per
	Spacing Kind = "spacing" // no two closer than Per / Count

	// Calendar: at most Count in each day or hour of a zone. It has no rate: how many
	// are left until the reset is kept in the item.
	Calendar Kind = "calendar"
)

// A Limit is one rule of a vendor. Every call of the vendor counts in all of
// its limits, but for those that say whose calls count.
type Limit struct {
	Name     string
	Kind     Kind
	Count    int            // Count calls per Per
	Per      time.Duration  // Calendar: an Hour or a Day
	Zone     *time.Location // Calendar: where the day or the hour begins; nil: UTC
	Burst    int            // Bucket: how many may arrive at once; 0 is 1
	InFlight int            // calls at once in the whole fleet; 0: no such limit
	Jitter   time.Duration  // how much the way to the vendor varies; 0: DefaultJitter, or less where a small burst leaves less
	Recover  time.Duration  // after a brake the rate is halved and is back, from half, after this long; 0: it stays as it is

	Of *Scope // whose calls count, and how much; nil: all, each once
}

// A Scope says whose calls a limit counts, and how much each.
type Scope struct {
	Tiers  []string       // "" stands for calls of no tier, such as a login; nil: all
	Each   string         // there is one such limit for each value of this key or carried field; empty: one for all
	Weight map[string]int // by tier: how much a call counts; else 1
	AtMost int            // only the answer tells how much a call counted, which is this at most; 0: Weight does
}

// DefaultJitter is the transport jitter that a limit without one is given.
const DefaultJitter = 20 * time.Millisecond

const (
	leastJitter = 5 * time.Millisecond // what an unsaid jitter may shrink to
	leastLate   = 5 * time.Millisecond // a process cannot promise to be more punctual
	mostLate    = time.Second          // a call that late is better booked anew
	mostPer     = 400 * 24 * time.Hour // no time of a limit is longer: the arithmetic on slots holds up to there
)

// paced tells whether l is a rate.
func (l Limit) paced() bool { return l.Kind != Unpaced && l.Kind != Calendar }

// A pace is a limit as arithmetic on slots. Calls start late by at most L,
// travel J longer or shorter, and clocks differ by 2S, so slots in a span of
// time arrive in one shorter by L + J + 2S. All kinds come out as one rule:
// each count slots in a row must span more than fixed + L.
//
//	bucket   Burst slots: Per/Count + J + 2S + L  (and no slots closer than Per/Count)
//	window   Count slots: Per + J + 2S + L
//	spacing  1 slot: Per/Count + J + 2S + L
//
// For the bucket: with slots i apart, a bucket of size B that refills every d
// takes j+1 calls arriving within j*i - (L+J+2S) if j+1 <= B + that/d. The
// tightest is j = B: B*i >= d + L + J + 2S.
//
// A call may count w units, which arrive at once. It has its slot w intervals
// after the one before, so calls in a row that count u, the first of them w, span
// (u - w) intervals. A window's Count and a bucket's Burst are therefore less by
// the heaviest weight less one: N + 1 units span at least N - (w - 1) intervals,
// whatever w the first of them has.
type pace struct {
	count int64
	fixed time.Duration
	late  time.Duration // the L it is planned with
	floor time.Duration // no interval is shorter
}

// pace of a limit that has a rate.
func (l Limit) pace(spread time.Duration) pace {
	d := ceilDiv(l.Per, int64(l.Count))
	jitter := l.Jitter
	if jitter == 0 {
		jitter = DefaultJitter
	}
	heavy := int64(l.heaviest() - 1)
	switch l.Kind {
	case Window:
		return pace{max(int64(l.Count)-heavy, 1), sum(l.Per, jitter, 2*spread), min(max(l.Per/1000, 10*time.Millisecond), 100*time.Millisecond), 0}
	case Spacing:
		return pace{1, sum(d, jitter, 2*spread), min(max(d/100, leastLate), 50*time.Millisecond), 0}
	}
	burst := max(int64(max(l.Burst, 1))-heavy, 1)
	if l.Jitter == 0 && burst > 1 { // half of what the burst leaves, rather than a lower rate
		room := times(d, burst-1) - 2*spread
		jitter = min(max(room/2, leastJitter), DefaultJitter)
	}
	return pace{burst, sum(d, jitter, 2*spread), leastLate, d}
}

// interval is the shortest distance of slots that keeps p.
func (p pace) interval() time.Duration {
	return max(sum(ceilDiv(sum(p.fixed, p.late), p.count), 1), p.floor)
}

// drifting is p for slots that are so much later than they are taken for.
func (p pace) drifting(d time.Duration) pace {
	p.fixed = sum(p.fixed, d)
	return p
}

// lateness is how late calls may start when slots are every apart.
func (p pace) lateness(every time.Duration) time.Duration {
	return min(times(every, p.count)-p.fixed, mostLate)
}

// What overflows would be a very short time, and the limit none. So the longest
// time there is stands for all that is longer. None of it is negative.

func sum(ds ...time.Duration) time.Duration {
	var out time.Duration
	for _, d := range ds {
		if out += d; out < d {
			return math.MaxInt64
		}
	}
	return out
}

func times(d time.Duration, n int64) time.Duration {
	if n > 0 && d > math.MaxInt64/time.Duration(n) {
		return math.MaxInt64
	}
	return d * time.Duration(n)
}

func ceilDiv(d time.Duration, n int64) time.Duration {
	q := d / time.Duration(n)
	if d%time.Duration(n) > 0 {
		q++
	}
	return q
}

// Share is the part of l's rate that the governor can use: 1 for a bucket with
// room in its burst, less for what has to be kept apart from late arrivals.
// Spread is how far the fleet's clocks differ. Without a rate it is 1.
func (l Limit) Share(spread time.Duration) float64 {
	if !l.paced() {
		return 1
	}
	return float64(l.Per) / float64(l.Count) / float64(l.pace(spread).interval())
}

// Check says whether limits make sense, and what there is to know about them:
// one line per limit that uses less than its rate, with the reason.
func Check(limits []Limit, spread time.Duration) (notes []string, err error) {
	if len(limits) == 0 {
		return nil, errors.New("no limits: a vendor has at least one")
	}
	seen := map[string]bool{}
	for _, l := range limits {
		if seen[l.Name] {
			return nil, fmt.Errorf("limit %q: defined twice", l.Name)
		}
		seen[l.Name] = true
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("limit %q: %w", l.Name, err)
		}
		if n := l.note(spread); n != "" {
			notes = append(notes, n)
		}
	}
	return notes, nil
}

func (l Limit) check() error {
	if l.Recover != 0 && !l.paced() {
		return errors.New("what recovers after a brake is a rate, and it has none")
	}
	switch l.Kind {
	case Unpaced:
		if l.InFlight <= 0 {
			return errors.New("neither a rate nor calls in flight are limited")
		}
	case Calendar:
		if l.Count <= 0 || l.Per != Day && l.Per != Hour {
			return errors.New("a calendar needs so many calls per day or hour")
		}
	case Bucket, Window, Spacing:
		if l.Count <= 0 || l.Per <= 0 {
			return fmt.Errorf("a %s needs a rate: so many calls per so much time", l.Kind)
		}
		if l.Per/time.Microsecond < time.Duration(l.Count) {
			return fmt.Errorf("%d per %v is more than 1,000,000/s", l.Count, l.Per)
		}
	default:
		return fmt.Errorf("unknown kind %q (bucket, window, spacing, calendar)", l.Kind)
	}
	if err := l.checkScope(); err != nil {
		return err
	}
	if l.Burst < 0 || l.InFlight < 0 || l.Jitter < 0 {
		return errors.New("burst, in flight and jitter are not negative")
	}
	if d := max(l.Per, l.Jitter, l.Recover); d > mostPer {
		return fmt.Errorf("%v is longer than any time of a limit: at most 400 days (%v)", d, mostPer)
	}
	if l.Recover < 0 || l.Recover > 0 && l.Recover < leastRecover {
		return fmt.Errorf("a rate recovers in %v at least, not %v", leastRecover, l.Recover)
	}
	return nil
}

// checkScope looks at whose calls count, and how much.
func (l Limit) checkScope() error {
	of, heavy := l.scope(), l.heaviest()
	some := l.some()
	switch {
	case some && l.InFlight > 0:
		return errors.New("places in flight are limited for all calls alike: in a limit of their own, without tiers, values or weights")
	case some && l.Kind == Unpaced:
		return errors.New("neither a rate nor a calendar is limited")
	case of.AtMost < 0 || slices.ContainsFunc(slices.Collect(maps.Values(of.Weight)), func(w int) bool { return w < 1 }):
		return errors.New("a call counts 1 at least")
	case of.AtMost > 0 && len(of.Weight) > 0:
		return errors.New("a call's weight is constant or told by its answer, not both")
	case heavy > 1 && l.Kind == Spacing:
		return errors.New("calls that count several times go with a bucket, a window or a calendar")
	case heavy > max(l.Burst, 1) && l.Kind == Bucket:
		return fmt.Errorf("a call that counts %d never fits a burst of %d", heavy, max(l.Burst, 1))
	case heavy > l.Count && l.Kind != Bucket && l.Kind != Unpaced:
		return fmt.Errorf("a call that counts %d never fits %d per %v", heavy, l.Count, l.Per)
	}
	return nil
}

func (l Limit) note(spread time.Duration) string {
	if !l.paced() {
		return ""
	}
	p, share := l.pace(spread), l.Share(spread)
	every := p.interval()
	s := fmt.Sprintf("limit %q: one call every %v, %.1f %% of %d per %v", l.Name, every.Round(time.Microsecond), 100*share, l.Count, l.Per)
	if l.Kind != Bucket {
		return s + fmt.Sprintf(": a call may start %v late", p.lateness(every).Round(time.Millisecond))
	}
	jitter := p.fixed - p.floor - 2*spread
	if share < 0.9999 {
		return s + fmt.Sprintf(": a burst of %d is too small for calls that arrive up to %v apart from plan", max(l.Burst, 1), jitter+leastLate+2*spread)
	}
	if l.Jitter == 0 && jitter < DefaultJitter {
		return s + fmt.Sprintf(": its burst leaves room for %v of jitter on the way to the vendor; say `jitter` if there is more", jitter.Round(time.Millisecond))
	}
	return ""
}
