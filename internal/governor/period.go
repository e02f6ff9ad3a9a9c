package governor

import (
	"fmt"
	"sort"
	"time"
)

// Hour and Day are the periods of a calendar limit, by the clocks of its zone: a
// day may have 23 or 25 hours. An hour is one that the clock shows, so that which
// is shown twice in a row when summer time ends is one period of two hours: a
// vendor that counts by what the clock shows counts both as one, and who counts
// each anew has allowed more.
const (
	Hour = time.Hour
	Day  = 24 * time.Hour
)

// A period is a time in which a calendar limit counts.
type period struct {
	from, to time.Time // half-open
}

// period is the one of l that t is in.
func (l Limit) period(t time.Time) period {
	zone := l.Zone
	if zone == nil {
		zone = time.UTC
	}
	t = t.In(zone)
	name := func(t time.Time) int64 { // grows from period to period
		y, m, d := t.In(zone).Date()
		n := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
		if l.Per == Day {
			return n
		}
		return n*24 + int64(t.In(zone).Hour())
	}
	this := name(t)
	// Clocks are set by whole seconds and by less than a day, so both ends are
	// within two days, and there is one second at which the name changes.
	const most = 2 * 86400
	base := t.Truncate(time.Second)
	back := sort.Search(most, func(i int) bool { return name(base.Add(-time.Duration(i)*time.Second)) < this })
	on := sort.Search(most, func(i int) bool { return name(base.Add(time.Duration(i)*time.Second)) > this })
	return period{utc(base.Add(-time.Duration(back-1) * time.Second)), utc(base.Add(time.Duration(on) * time.Second))}
}

// clear keeps at out of the time around a reset in which a vendor could count a
// call in the one period or in the other: it may start late, travel longer, and
// clocks differ.
func (l Limit) clear(at time.Time, margin time.Duration) (time.Time, period) {
	p := l.period(at)
	if !at.Before(p.to.Add(-margin)) {
		p = l.period(p.to)
	}
	return latest(at, p.from.Add(margin)), p
}

// margin is how long around its reset l is left alone, by calls that may start so
// late.
func (l Limit) margin(late, spread time.Duration) time.Duration {
	jitter := l.Jitter
	if jitter == 0 {
		jitter = DefaultJitter
	}
	return sum(late, jitter, 2*spread, time.Second)
}

// where is the zone's name.
func (l Limit) where() string {
	if l.Zone == nil {
		return time.UTC.String()
	}
	return l.Zone.String()
}

// every is what the period is called.
func (l Limit) called() string {
	if l.Per == Day {
		return "day"
	}
	return "hour"
}

// NextReset is when the period of a calendar limit ends that t is in, and calls are
// made again.
func (l Limit) NextReset(t time.Time) time.Time { return l.period(t).to }

// ResetText says when the count of a calendar limit begins anew.
func (l Limit) ResetText(at time.Time) string {
	zone := l.Zone
	if zone == nil {
		zone = time.UTC
	}
	return fmt.Sprintf("%s (%s)", at.In(zone).Format("2006-01-02 15:04 MST"), l.where())
}
