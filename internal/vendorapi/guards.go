package vendorapi

import (
	"time"
)

// Drift says how much a run's tree may differ from the last one's before
// somebody should look.
type Drift struct {
	Percent int  // of a tier's tasks; 0: nobody looks
	Stop    bool // the vendor is stopped, not only a warning given
}

// Budget bounds a run.
type Budget struct {
	Calls int           // that the run makes at most; 0: no bound
	Until time.Duration // after midnight, in the vendor's zone; < 0: no bound
}

// End is the instant at which a run that begins at some time must stop; zero:
// never.
func (b Budget) End(begins time.Time, zone *time.Location) time.Time {
	if b.Until < 0 {
		return time.Time{}
	}
	y, m, d := begins.In(zone).Date()
	clock := func(day int) time.Time {
		return time.Date(y, m, day, int(b.Until/time.Hour), int(b.Until/time.Minute)%60, 0, 0, zone)
	}
	if end := clock(d); end.After(begins) {
		return end
	}
	return clock(d + 1)
}

// ClockTime reads a time of day, as 06:00.
func ClockTime(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// usualDrift is when the operator is warned unless the spec says otherwise.
const usualDrift = 4

func (d *decoder) drift(f *driftField) Drift {
	if f == nil {
		return Drift{Percent: usualDrift}
	}
	out := Drift{Percent: f.Percent.n}
	if f.Percent.at == (place{}) {
		out.Percent = usualDrift
	} else if out.Percent < 1 || out.Percent > 100 {
		d.errorf(f.Percent.at, "drift.percent is from 1 to 100, not %d", f.Percent.n)
	}
	switch f.Then.s {
	case "stop":
		out.Stop = true
	case "warn", "":
	case "ignore":
		out.Percent = 0
	default:
		d.errorf(f.Then.at, "drift.then is warn, stop or ignore, not %q", f.Then.s)
	}
	return out
}

func (d *decoder) budget(f *budgetField) Budget {
	out := Budget{Until: -1}
	if f == nil {
		return out
	}
	if f.Calls.at == (place{}) && !f.Until.given() {
		d.errorf(f.At, "budget needs calls, until, or both")
	}
	if out.Calls = f.Calls.n; f.Calls.at != (place{}) && out.Calls < 1 {
		d.errorf(f.Calls.at, "budget.calls is at least 1, not %d", f.Calls.n)
	}
	if f.Until.given() {
		at, err := ClockTime(f.Until.s)
		if err != nil {
			d.errorf(f.Until.at, "budget.until is a time of day in the vendor's zone such as \"06:00\", not %q", f.Until.s)
		}
		out.Until = at
	}
	return out
}
