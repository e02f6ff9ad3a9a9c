package governor

import (
	"maps"
	"slices"
	"time"
)

// An Item is all that the fleet shares about one vendor. The zero Item is a
// vendor that nobody has called yet. Times are wall-clock instants in UTC.
type Item struct {
	Rev       int64               `json:"rev,omitempty"`       // one more with every write
	Booked    time.Time           `json:"booked,omitzero"`     // the latest slot handed out, of all lanes
	Epoch     int64               `json:"epoch,omitempty"`     // one more with every cut
	Cuts      []Cut               `json:"cuts,omitempty"`      // the latest cuts, oldest first
	Brake     Brake               `json:"brake,omitzero"`      // the last answer to a 429
	Probe     time.Time           `json:"probe,omitzero"`      // the slot after its end that stands alone; before its end: none yet
	Breaker   Breaker             `json:"breaker,omitzero"`    // zero: closed
	Stop      Stop                `json:"stop,omitzero"`       // zero: not stopped
	Members   map[string]Member   `json:"members,omitempty"`   // by process
	Overrides map[string]Override `json:"overrides,omitempty"` // by limit
	Eases     map[string]Ease     `json:"eases,omitempty"`     // by limit: what brakes have left of its rate
	Lowered   map[string]Lowered  `json:"lowered,omitempty"`   // by limit: what the vendor's headers say
	Told      map[string]Told     `json:"told,omitempty"`      // by limit, and value: what the vendor's headers leave of it until its reset
	Budget    *Budget             `json:"budget,omitempty"`    // nil: none
	Quotas    map[string][]Quota  `json:"quotas,omitempty"`    // by calendar limit, and value: periods that are not over
	Lanes     *Lanes              `json:"lanes,omitempty"`     // nil: Booked is all there is
	Log       []Entry             `json:"log,omitempty"`       // the latest changes, oldest first

	later later // fields of a later version of Sluice
}

// A Cut withdraws booked slots: those of an epoch before Epoch that start at At
// or later are void.
type Cut struct {
	Epoch int64     `json:"epoch"`
	At    time.Time `json:"at"`
	Made  time.Time `json:"made"` // when it was written
	Last  time.Time `json:"last"` // the latest slot that it withdrew
}

// A Brake is a pause of the fleet after a 429.
type Brake struct {
	Until  time.Time `json:"until"`
	Set    time.Time `json:"set"`             // when it was last escalated
	Growth int       `json:"growth,omitzero"` // brakes in a row without a success between them
	Why    string    `json:"why,omitempty"`
}

// A Breaker is open while the vendor is down.
type Breaker struct {
	Since  time.Time `json:"since,omitzero"` // zero: closed
	Why    string    `json:"why,omitempty"`
	Next   time.Time `json:"next,omitzero"`   // no probe before this
	Probes int       `json:"probes,omitzero"` // probes that failed
	Owner  string    `json:"owner,omitempty"` // who is at it
	Slot   time.Time `json:"slot,omitzero"`   // the instant booked for its probe
	Lease  time.Time `json:"lease,omitzero"`  // until when the owner is believed alive
}

// Open tells whether the vendor is held to be down.
func (b Breaker) Open() bool { return !b.Since.IsZero() }

// StopKind says who stopped a vendor.
type StopKind string

// The kinds of stop.
const (
	ByOperator    StopKind = "operator"    // paused by hand
	ByCredentials StopKind = "credentials" // the vendor did not accept our credentials
	ByBudget      StopKind = "budget"      // the run's calls are used up, or its time is over
	ByDrift       StopKind = "drift"       // the vendor's answers have changed
)

// A Stop holds a vendor until an operator resumes it.
type Stop struct {
	Kind StopKind  `json:"kind,omitempty"` // empty: not stopped
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// A Member is one process of the fleet.
type Member struct {
	Expires time.Time `json:"expires"`         // counts as live until then
	Booked  time.Time `json:"booked,omitzero"` // its latest slot
	Want    int       `json:"want,omitzero"`   // places in flight it could use
	Units   int       `json:"units,omitzero"`  // places in flight it holds
	Lease   time.Time `json:"lease,omitzero"`  // until when it holds them
	Turn    time.Time `json:"turn,omitzero"`   // since when it holds any
	Waits   time.Time `json:"waits,omitzero"`  // since when it wants some and holds none
}

// An Override replaces what the spec says about one limit. Zero fields leave
// the spec's value.
type Override struct {
	Count    int           `json:"count,omitzero"` // Count per Per
	Per      time.Duration `json:"per,omitzero"`
	Burst    int           `json:"burst,omitzero"`
	InFlight int           `json:"in_flight,omitzero"`
	Until    time.Time     `json:"until,omitzero"` // zero: until it is taken back
	By       string        `json:"by,omitempty"`
	Why      string        `json:"why,omitempty"`
	At       time.Time     `json:"at"`
	Then     *Override     `json:"then,omitempty"` // what holds after Until; nil: the spec
}

// An Entry is one line of the vendor's audit log.
type Entry struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	What string    `json:"what"`
	Old  string    `json:"old,omitempty"`
	New  string    `json:"new,omitempty"`
	Why  string    `json:"why,omitempty"`
}

const (
	keepCuts    = 16 // a slot older than all kept cuts is void
	keepEntries = 50
)

// clone copies it deeply.
func (it *Item) clone() Item {
	c := *it
	c.Cuts, c.Log = slices.Clone(it.Cuts), slices.Clone(it.Log)
	c.Members, c.Overrides = maps.Clone(it.Members), maps.Clone(it.Overrides)
	c.Eases, c.Lowered, c.Told = maps.Clone(it.Eases), maps.Clone(it.Lowered), maps.Clone(it.Told)
	if it.Budget != nil {
		b := *it.Budget
		c.Budget = &b
	}
	c.Quotas, c.Lanes = maps.Clone(it.Quotas), it.Lanes.clone() // lists of quotas are replaced, never changed
	return c
}

// cut starts an epoch: slots booked before it and starting at at or later are
// void. What becomes of them in processes that have not heard of it yet is in
// last.
func (it *Item) cut(now, at time.Time) {
	it.Epoch++
	it.Cuts = append(it.Cuts, Cut{Epoch: it.Epoch, At: at, Made: now, Last: it.Booked})
	if drop := len(it.Cuts) - keepCuts; drop > 0 {
		it.Cuts = slices.Delete(it.Cuts, 0, drop)
	}
	was := it.Booked
	if it.Booked.After(at) {
		it.Booked = at
	}
	it.cutLanes(was, at)
}

// void tells whether a slot of the given epoch has been withdrawn. A slot that
// is older than what is remembered of the cuts is void to be safe.
func (it *Item) void(at time.Time, epoch int64) bool {
	if epoch > it.Epoch {
		return true // the item was reset: nothing is known of the slot
	}
	if known := it.Epoch - int64(len(it.Cuts)); epoch < known {
		return true
	}
	for _, c := range it.Cuts {
		if c.Epoch > epoch && !at.Before(c.At) {
			return true
		}
	}
	return false
}

// last is the latest slot that anybody may still use. A withdrawn slot can be
// used for as long as its owner may not know: until the last read that it trusts
// is blind old. So new slots keep clear of those as well.
func (it *Item) last(blind time.Duration) time.Time {
	return latest(it.Booked, it.withdrawn(blind))
}

// withdrawn is the latest slot of those that were withdrawn that may still be used.
func (it *Item) withdrawn(blind time.Duration) (last time.Time) {
	for _, c := range it.Cuts {
		end := c.Made.Add(blind)
		if c.Last.Before(end) {
			end = c.Last
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// log appends to the audit log.
func (it *Item) log(e Entry) {
	it.Log = append(it.Log, e)
	if drop := len(it.Log) - keepEntries; drop > 0 {
		it.Log = slices.Delete(it.Log, 0, drop)
	}
}

// prune forgets members, overrides, eases, lowered limits and periods that have
// ended.
func (it *Item) prune(now time.Time) {
	maps.DeleteFunc(it.Members, func(_ string, m Member) bool {
		return !m.Expires.After(now) && (m.Units == 0 || !m.Lease.After(now))
	})
	for name, o := range it.Overrides {
		if o.Until.IsZero() || o.Until.After(now) {
			continue
		}
		e := Entry{At: o.Until, By: o.By, What: "limit " + name, Old: o.String(), New: "as in the spec", Why: "its time is over"}
		if delete(it.Overrides, name); o.Then != nil {
			it.Overrides[name], e.New = *o.Then, o.Then.String()
		}
		it.log(e)
	}
	maps.DeleteFunc(it.Eases, func(_ string, e Ease) bool { return e.at(now) == whole })
	maps.DeleteFunc(it.Lowered, func(_ string, l Lowered) bool { return !l.Until.After(now) })
	maps.DeleteFunc(it.Told, func(_ string, t Told) bool { return !t.Until.After(now) })
	it.pruneQuotas(now)
}

// live counts the processes that book, self included.
func (it *Item) live(now time.Time, self string) int {
	n := 1
	for id, m := range it.Members {
		if id != self && !m.Booked.IsZero() && m.Expires.After(now) {
			n++
		}
	}
	return n
}
