// Package series is what a vendor's fleet did over time: each process writes,
// every ten seconds in which it did something, one sample of what it did, what
// it waited for and how far the open runs are. Forecasts learn from them, the
// status and a run's report show them. They prove nothing: that is the ledger's
// part. A process that is killed takes its last slice with it.
package series

import (
	"context"
	"maps"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Slice is how long a sample lasts. Slices begin at multiples of it, so that
// those of several processes fall together.
const Slice = 10 * time.Second

// A Sample is what one process did for a vendor in one slice.
type Sample struct {
	At      time.Time                  `json:"at"` // when the slice began
	Process string                     `json:"process"`
	Worked  time.Duration              `json:"worked"` // how much of the slice it was at work
	Tiers   map[string]Tier            `json:"tiers,omitempty"`
	Lost    map[string]time.Duration   `json:"lost,omitempty"`  // where the process's time went: to what bound it, "vendor", "us"
	Rates   map[string]float64         `json:"rates,omitempty"` // calls a second that each limit left, at the slice's end
	Brake   *Brake                     `json:"brake,omitempty"` // the last that began in it
	Down    string                     `json:"down,omitempty"`  // why the vendor was held to be down, at the slice's end
	Said    map[string]string          `json:"said,omitempty"`  // the vendor's last headers about limits
	Runs    map[string]map[string]Left `json:"runs,omitempty"`  // open runs, by tier, at the slice's end
	Used    map[string]float64         `json:"used,omitempty"`  // of what the backend bills
}

// A Tier is what a sample counts of one tier.
type Tier struct {
	Calls     int              `json:"calls,omitempty"`
	Throttled int              `json:"throttled,omitempty"`
	Failed    int              `json:"failed,omitempty"`  // any other failure
	Fetched   int              `json:"fetched,omitempty"` // tasks that came to an end, committed or not
	Done      int              `json:"done,omitempty"`
	Gone      int              `json:"gone,omitempty"`
	Dead      int              `json:"dead,omitempty"`
	Rows      int              `json:"rows,omitempty"`
	Children  int              `json:"children,omitempty"`
	Took      fanout.Latencies `json:"took,omitempty"`
	Vendor    time.Duration    `json:"vendor,omitempty"` // summed over calls
	Limited   time.Duration    `json:"limited,omitempty"`
	Called    time.Duration    `json:"called,omitempty"`
	Ours      time.Duration    `json:"ours,omitempty"`
}

// A Brake is one that the fleet was under.
type Brake struct {
	Set   time.Time `json:"set"`
	Until time.Time `json:"until"`
	Why   string    `json:"why,omitempty"`
}

// Left is how far a run's tier is, by the counters.
type Left struct {
	Known int `json:"known"`
	Ended int `json:"ended,omitempty"`
	Dead  int `json:"dead,omitempty"`
}

// Store keeps the samples of vendors. It is safe for concurrent use.
type Store interface {
	// Add keeps a sample, instead of one of the same process and slice.
	Add(ctx context.Context, vendor string, s Sample) error
	// Read calls each for the samples whose slices began at from or later and
	// before to, oldest first.
	Read(ctx context.Context, vendor string, from, to time.Time, each func(Sample) error) error
}

// TierOf is what a report counts, as a sample has it.
func TierOf(r fanout.Report) Tier {
	t := Tier{
		Calls: r.Calls, Throttled: r.Failed[fanout.Throttled], Fetched: r.Fetched, Done: r.Outcomes[fanout.Done], Gone: r.Outcomes[fanout.Gone],
		Dead: r.Outcomes[fanout.Dead], Rows: r.Rows, Children: r.Children, Took: maps.Clone(r.Took), Vendor: r.Vendor,
		Limited: r.Limited, Called: r.Called, Ours: r.Ours,
	}
	for class, n := range r.Failed {
		if class != fanout.Throttled {
			t.Failed += n
		}
	}
	return t
}

// Since is what has been counted after before.
func (t Tier) Since(before Tier) Tier {
	d := Tier{
		Calls: t.Calls - before.Calls, Throttled: t.Throttled - before.Throttled, Failed: t.Failed - before.Failed, Fetched: t.Fetched - before.Fetched,
		Done: t.Done - before.Done, Gone: t.Gone - before.Gone, Dead: t.Dead - before.Dead, Rows: t.Rows - before.Rows,
		Children: t.Children - before.Children, Vendor: t.Vendor - before.Vendor, Limited: t.Limited - before.Limited,
		Called: t.Called - before.Called, Ours: t.Ours - before.Ours,
	}
	for class, n := range t.Took {
		if n -= before.Took[class]; n != 0 {
			if d.Took == nil {
				d.Took = fanout.Latencies{}
			}
			d.Took[class] = n
		}
	}
	return d
}

// Add adds what another counted.
func (t *Tier) Add(o Tier) {
	t.Calls += o.Calls
	t.Throttled += o.Throttled
	t.Failed += o.Failed
	t.Fetched += o.Fetched
	t.Done += o.Done
	t.Gone += o.Gone
	t.Dead += o.Dead
	t.Rows += o.Rows
	t.Children += o.Children
	t.Vendor += o.Vendor
	t.Limited += o.Limited
	t.Called += o.Called
	t.Ours += o.Ours
	if t.Took == nil {
		t.Took = fanout.Latencies{}
	}
	t.Took.Merge(o.Took)
}

// Settled is how many tasks it ended.
func (t Tier) Settled() int { return t.Done + t.Gone + t.Dead }

// Idle tells whether nothing happened and nothing was waited for.
func (t Tier) Idle() bool {
	return t.Calls == 0 && t.Settled() == 0 && t.Limited == 0 && t.Called == 0 && t.Ours == 0
}
