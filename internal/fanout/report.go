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
	Rows     int
	Children int           // sent to the tier below
	Objects  int           // landing objects
	Permits  time.Duration // summed over tasks: waiting for a permit
	Vendor   time.Duration // summed over tasks: waiting for the vendor
}

// Settled is how many tasks the drain ended.
func (r Report) Settled() int { return r.Outcomes[Done] + r.Outcomes[Gone] + r.Outcomes[Dead] }

// A Meter counts as drains go, and tells what they are waiting for. Several
// drains may share one. It is safe for concurrent use.
type Meter struct {
	mu       sync.Mutex
	r        Report
	fetching int
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
	r := m.r
	r.Outcomes, r.Failed = maps.Clone(r.Outcomes), maps.Clone(r.Failed)
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
	if m.r.Outcomes == nil {
		m.r.Outcomes, m.r.Failed = map[Outcome]int{}, map[Class]int{}
	}
	f(&m.r)
}

func (m *Meter) outcome(o Outcome, n int) { m.update(func(r *Report) { r.Outcomes[o] += n }) }

func (m *Meter) inHand(delta int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fetching += delta
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

// Add adds what another report counts.
func (r *Report) Add(o Report) {
	if r.Outcomes == nil {
		r.Outcomes, r.Failed = map[Outcome]int{}, map[Class]int{}
	}
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
	r.Rows += o.Rows
	r.Children += o.Children
	r.Objects += o.Objects
	r.Permits += o.Permits
	r.Vendor += o.Vendor
}
