package vendorapi

import (
	"regexp"
	"slices"
	"time"
)

// Kind says how a limit counts calls.
type Kind string

const (
	NoRate  Kind = ""        // only places in flight
	Bucket  Kind = "bucket"  // N per Per on average, Burst at once
	Sliding Kind = "window"  // at most N in any Per
	Spacing Kind = "spacing" // no two closer than Spacing

	Calendar Kind = "calendar" // at most N in each day or hour (Per) of Zone
)

// A Limit is one rule of a vendor. It binds every call of the fleet, unless it
// says whose.
type Limit struct {
	Name     string
	Kind     Kind
	N        int            // Bucket, Sliding: calls in Per
	Per      time.Duration  // Bucket, Sliding; Calendar: an hour, or 24 for a day, however long it is
	Burst    int            // Bucket: at least 1
	Spacing  time.Duration  // Spacing
	InFlight int            // calls under way at once; 0: no such bound
	Jitter   time.Duration  // how much the way to the vendor varies; 0: the governor's default
	Recover  time.Duration  // how long the rate, halved by a brake, takes to come back; 0: brakes leave it
	Zone     *time.Location // Calendar
	Said     SaidIn         // the answer's headers that speak of it

	Tiers    []string       // whose calls count, "" for those of no tier, such as a login; nil: all
	Each     string         // it is kept for each value of this key or carried field; empty: for all together
	Weight   map[string]int // by tier: how much a call counts; else 1
	AtMost   int            // the answer tells how much its call counted, this at most; 0: Weight does
	costIn   string         // the header that tells
	costFrom *query         // or the query over its body
}

// unknownLimits is what a vendor gets whose limits nobody knows.
var unknownLimits = []Limit{{Name: "unknown", Kind: Spacing, Spacing: time.Second, InFlight: 1}}

// mostPer is the longest time that a limit may speak of.
const mostPer = 400 * 24 * time.Hour

var limitName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// limits reads the spec's limits. A vendor without any is a mistake: nobody
// would notice until the vendor does.
func (d *decoder) limits(doc *document, zone *time.Location) []Limit {
	const how = "say what the vendor allows, or limits: unknown for one call a second"
	f := doc.Limits
	switch {
	case f == nil:
		d.errorf(doc.At, "limits are missing: %s", how)
		return nil
	case f.unknown:
		return unknownLimits
	case len(f.list) == 0:
		d.errorf(f.at, "no limit is given: %s", how)
	}
	var out []Limit
	for _, l := range f.list {
		lim := d.limit(l, zone)
		d.scopeOf(doc, l, &lim)
		if slices.ContainsFunc(out, func(o Limit) bool { return o.Name == lim.Name }) {
			d.errorf(l.Name.at, "a limit named %q is already given", lim.Name)
		}
		out = append(out, lim)
	}
	return out
}

func (d *decoder) limit(l limitField, zone *time.Location) Limit {
	if !limitName.MatchString(l.Name.s) {
		d.errorf(l.At, "a limit needs a name like get or per-minute (%s), not %q", limitName, l.Name.s)
	}
	out := Limit{Name: l.Name.s, InFlight: l.InFlight.n, Jitter: l.Jitter.d}
	kinds := 0
	if l.Bucket.given() {
		kinds++
		out.Kind, out.N, out.Per, out.Burst = Bucket, l.Bucket.n, l.Bucket.per, l.Burst.or(1)
	} else if l.Burst.n > 0 {
		d.errorf(l.Burst.at, "burst goes with bucket only")
	}
	if l.Window.given() {
		kinds++
		out.Kind, out.N, out.Per = Sliding, l.Window.n, l.Window.per
	}
	if l.Spacing.d > 0 {
		kinds++
		out.Kind, out.Spacing = Spacing, l.Spacing.d
	}
	if l.Calendar.given() {
		kinds++
		out.Kind, out.N, out.Per = Calendar, l.Calendar.n, l.Calendar.per
	}
	out.Zone = d.limitZone(l, zone)
	for _, f := range []duration{l.Spacing, l.Jitter, l.Recover} {
		if f.d > mostPer {
			d.errorf(f.at, "%v is longer than any time of a limit: at most 400 days (%v)", f.d, mostPer)
		}
	}
	out.Recover, out.Said = d.recovers(l.Recover, out), d.saidIn(l, out)
	switch {
	case kinds > 1:
		d.errorf(l.At, "one of bucket, window and spacing (or calendar): a second rule is a second entry of limits")
	case kinds == 0 && l.InFlight.n == 0:
		d.errorf(l.At, "limit %q says nothing: give bucket, window, spacing, calendar or in_flight", l.Name.s)
	}
	return out
}

func (d *decoder) recovers(f duration, l Limit) time.Duration {
	switch {
	case f.d == 0:
	case l.Kind == NoRate || l.Kind == Calendar:
		d.errorf(f.at, "recover goes with a rate: bucket, window or spacing")
	case f.d < time.Second:
		d.errorf(f.at, "a rate recovers in a second at least")
	}
	return f.d
}
