// Package report makes the one file that tells a run's whole story: what became
// of it and how that is proved, how its queues filled and emptied, how fast the
// vendor was called and what held that back, and what it cost. The file is an
// HTML page that needs nothing but itself: no script, no network.
//
// Gather takes the figures together, Write makes the page of them.
package report

import (
	"time"

	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// A Doc is the figures of a report. Times are UTC, durations seconds.
type Doc struct {
	Vendor  string       `json:"vendor"`
	Run     string       `json:"run"`
	Window  string       `json:"window"`
	State   run.State    `json:"state"`
	Opened  time.Time    `json:"opened"`
	End     time.Time    `json:"end"` // when it was closed, or the report made
	Made    time.Time    `json:"made"`
	Seconds float64      `json:"seconds"`
	Verdict *run.Verdict `json:"verdict,omitempty"` // of a run that has ended
	Again   string       `json:"recompute"`         // the command that computes the verdict anew
	Tiers   []Tier       `json:"tiers"`

	Calls     int     `json:"calls"`
	Throttled int     `json:"throttled"`
	Failed    int     `json:"failed"`
	Limits    []Limit `json:"limits"` // the one that binds most first

	Step    float64            `json:"step_seconds"` // between points
	Points  []Point            `json:"points"`
	Bands   []Band             `json:"held"`
	Changes []Change           `json:"changes"`
	Went    map[string]float64 `json:"went_seconds"`
	Last    string             `json:"last_run,omitempty"`
	Trees   []Tree             `json:"trees,omitempty"`
	Causes  []run.Cause        `json:"causes,omitempty"`
	Cost    Cost               `json:"cost"`
	Notes   []string           `json:"notes,omitempty"` // what a reader has to know about the figures
}

// A Tier is one tier of the run.
type Tier struct {
	Name      string    `json:"tier"`
	Known     int       `json:"known"`
	Done      int       `json:"done"`
	Gone      int       `json:"gone"`
	Dead      int       `json:"dead"`
	Discarded int       `json:"discarded"`
	Missing   int       `json:"missing"` // of an open run: still to end
	Rows      int       `json:"rows"`
	Peak      int       `json:"peak_depth"`
	PeakAt    time.Time `json:"peak_at,omitzero"`
	Calls     int       `json:"calls"`
	Failed    int       `json:"failed_calls"`
	P50       float64   `json:"p50_seconds"`
	P90       float64   `json:"p90_seconds"`
	P99       float64   `json:"p99_seconds"`
}

// A Limit is what one limit with a rate would have allowed while the fleet was
// at work, and the part of that which was used.
type Limit struct {
	Name    string  `json:"limit"`
	Allowed float64 `json:"allowed_calls"`
	Share   float64 `json:"share"`
}

// A Point is what happened from At until the next point.
type Point struct {
	At        time.Time          `json:"at"`
	Until     time.Time          `json:"until"`
	Depth     []int              `json:"depth,omitempty"` // at its end, by tier; nil: not known yet
	Calls     []int              `json:"calls"`           // by tier
	Throttled int                `json:"throttled,omitempty"`
	Failed    int                `json:"failed,omitempty"`
	Allowed   float64            `json:"allowed_per_second,omitempty"` // by the tightest limit; 0: not known
	P50       float64            `json:"p50_seconds,omitempty"`
	P90       float64            `json:"p90_seconds,omitempty"`
	P99       float64            `json:"p99_seconds,omitempty"`
	Went      map[string]float64 `json:"went_seconds,omitempty"`
}

// rate is what was counted in a point, a second. A point that the run's begin or
// end cuts short is not made a spike of.
func (p Point) rate(n int) float64 {
	return float64(n) / max(p.Until.Sub(p.At).Seconds(), 2.5)
}

// The kinds of Band.
const (
	Brake  = series.Braked
	Outage = series.Outage
	Pause  = series.Paused // or any other stop
)

// A Band is a time in which nobody called.
type Band struct {
	Kind string    `json:"kind"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Why  string    `json:"why,omitempty"`
}

// A Change is what somebody did to the vendor's limits while the run was open.
type Change struct {
	N    int       `json:"n"` // its number in the charts
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	What string    `json:"what"`
	Old  string    `json:"old,omitempty"`
	New  string    `json:"new,omitempty"`
	Why  string    `json:"why,omitempty"`
}

// A Tree is how large a tier was in the last run and in this.
type Tree struct {
	Tier string `json:"tier"`
	Last int    `json:"last"`
	Now  int    `json:"now"`
}

// Cost is what the run took on AWS at list price, or would have taken there.
type Cost struct {
	Real     bool       `json:"on_aws"`
	USD      float64    `json:"usd"`
	Lines    []CostLine `json:"lines"`
	Prices   string     `json:"prices"`
	MemoryMB int        `json:"memory_mb"`
}

// A CostLine is one line of it.
type CostLine struct {
	Service string  `json:"service"`
	What    string  `json:"what"`
	Amount  float64 `json:"amount"`
	Unit    string  `json:"unit"`
	USD     float64 `json:"usd"`
}

// Rows is how many rows the run has.
func (d *Doc) Rows() (n int) {
	for _, t := range d.Tiers {
		n += t.Rows
	}
	return n
}

// charted tells whether there is anything to draw.
func (d *Doc) charted() bool { return d.Calls > 0 }
