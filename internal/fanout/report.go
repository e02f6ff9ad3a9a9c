package fanout

import (
	"cmp"
	"maps"
	"sync"
	"time"
)

// A Report counts what a drain did.
type Report struct {
	Outcomes map[Outcome]int
	Calls    int // requests sent to the vendor, probes included
	Probes   int
	TooLate  int // permits that ended before the request could be written
	Failed   map[Class]int
	Pages    int // answers landed
	Fetched  int // tasks that have come to an end, which may yet wait for its commit
	Rows     int
	Children int           // sent to the tier below
	Objects  int           // landing objects
	Permits  time.Duration // summed over tasks: waiting for a permit
	Vendor   time.Duration // summed over tasks: waiting for the vendor
	Took     Latencies     // calls by how long the vendor took

	// Where the time went in which any task was in hand: a task waited for a
	// permit; else a call was under way; else it was ours. They overlap nothing.
	Limited, Called, Ours time.Duration
}

// Settled is how many tasks the drain ended.
func (r Report) Settled() int { return r.Outcomes[Done] + r.Outcomes[Gone] + r.Outcomes[Dead] }

// A Meter counts as drains go, and tells what they are waiting for. Several
// drains may share one. It is safe for concurrent use.
type Meter struct {
	mu       sync.Mutex
	r        Report
	fetching int
	waiting  int // of these, how many wait for a permit
	calling  int // and for the vendor
	since    time.Time
	hold     Outlook
	trouble  [2]string // of reads, of writes
}

// What a store may have trouble with.
const (
	reading = iota
	writing
)

// Report returns the counts so far.
func (m *Meter) Report() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spend()
	r := m.r
	r.Outcomes, r.Failed, r.Took = maps.Clone(r.Outcomes), maps.Clone(r.Failed), maps.Clone(r.Took)
	return r
}

// Now tells how many tasks are in hand and, if nothing can go on, why.
func (m *Meter) Now() (inHand int, hold Outlook, trouble string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fetching, m.hold, cmp.Or(m.trouble[writing], m.trouble[reading])
}

func (m *Meter) update(f func(r *Report)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.r.init()
	f(&m.r)
}

func (m *Meter) outcome(o Outcome, n int) { m.update(func(r *Report) { r.Outcomes[o] += n }) }

// phase notes that tasks in hand, or what they wait for, have changed.
func (m *Meter) phase(inHand, waiting, calling int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spend()
	m.fetching += inHand
	m.waiting += waiting
	m.calling += calling
}

// spend books the time since the last change. m.mu is held.
func (m *Meter) spend() {
	now := time.Now()
	spent := now.Sub(m.since)
	m.since = now
	switch {
	case m.waiting > 0:
		m.r.Limited += spent
	case m.calling > 0:
		m.r.Called += spent
	case m.fetching > 0:
		m.r.Ours += spent
	}
}

func (m *Meter) held(o Outlook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = o
}

func (m *Meter) setTrouble(with int, s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble[with] = s
}

func (r *Report) init() {
	if r.Outcomes == nil {
		r.Outcomes, r.Failed, r.Took = map[Outcome]int{}, map[Class]int{}, Latencies{}
	}
}

// Add adds what another report counts.
func (r *Report) Add(o Report) {
	r.init()
	for k, n := range o.Outcomes {
		r.Outcomes[k] += n
	}
	for k, n := range o.Failed {
		r.Failed[k] += n
	}
	r.Calls += o.Calls
	r.Probes += o.Probes
	r.TooLate += o.TooLate
	r.Pages += o.Pages
	r.Fetched += o.Fetched
	r.Rows += o.Rows
	r.Children += o.Children
	r.Objects += o.Objects
	r.Permits += o.Permits
	r.Vendor += o.Vendor
	r.Took.Merge(o.Took)
	r.Limited += o.Limited
	r.Called += o.Called
	r.Ours += o.Ours
}
