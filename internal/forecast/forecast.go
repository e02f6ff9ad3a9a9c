// Package forecast tells beforehand how long a run takes and what it costs. It
// walks the tree in time steps, as a flow: permits come at the limits' pace, a
// call takes the vendor's time, results wait for their commit batch, and what a
// batch finds is the next tier's work. Its cost does not depend on the size of
// the tree. It leaves brakes and outages out.
package forecast

import (
	"time"
)

// A Tier is one level of the tree, as it is known or assumed.
type Tier struct {
	Name    string
	Tasks   int           // in all
	Known   int           // of these, sent already; the first tier's seeds at least
	Ended   int           // of those
	Calls   float64       // per task: its pages, and what is called again
	Latency time.Duration // of one call
}

// A Fleet is what the tree is walked with.
type Fleet struct {
	Every    time.Duration // between permits; 0: no rate
	InFlight int           // calls at once that the vendor allows; 0: no limit
	Own      int           // calls at once that one process makes at most
	Workers  int           // processes for each tier, or for all
	Apart    bool          // each tier has its own processes (AWS)
	Yield    float64       // the part of the permits that is used, 0 to 1
	Bounds   []Bound       // what else limits calls

	Flush     time.Duration // the longest that a result waits for its commit batch
	FlushSize int           // and how many results make one
	Settle    time.Duration // how long a commit takes
	Wake      time.Duration // until a tier that gets its first work begins
	Start     time.Duration // until the first call
	End       time.Duration // from the last task's end to the verdict
}

// idleFlush is how long a batch waits for more when nothing is being fetched.
const idleFlush = 300 * time.Millisecond

// What binds. A limit's name is the caller's business.
const (
	Rate     = "rate"     // the rate of permits
	InFlight = "inflight" // the calls at once that the vendor allows
	Own      = "own"      // the calls at once that the processes make
	Vendor   = "vendor"   // the time that calls take
	Us       = "us"       // batches, wake-ups, the verdict
)

// A Result is a forecast.
type Result struct {
	Duration time.Duration
	Calls    float64 // still to be made
	Tiers    []TierResult
	Bound    map[string]time.Duration // where the time goes, by what binds
	Depth    []Point                  // queued over time: about a hundred points
	Pauses   []Pause                  // for counts that are used up, by when they begin
}

// A TierResult is the forecast of one tier.
type TierResult struct {
	Name       string
	Tasks      int
	Calls      float64       // still to be made
	From, To   time.Duration // it has work between these
	Bound      string        // what binds it for most of that time
	boundTimes map[string]time.Duration
}

// A Point is how many tasks of each tier wait at a time.
type Point struct {
	At     time.Duration
	Queued []int
}

// points is how many points of the depth are kept, about.
const points = 100

// mostSteps bounds the effort whatever is asked; a run that is not over then is
// longer than anybody can plan for.
const mostSteps = 400_000

// longest is when a forecast gives up: no run is as long.
const longest = 10 * 365 * 24 * time.Hour

// Of forecasts a run.
func Of(tiers []Tier, f Fleet) Result {
	s := newFlow(tiers, f)
	for !s.over() && s.now < longest && s.steps < mostSteps {
		if len(s.pots) == 0 || !s.jump() {
			s.step()
		}
	}
	return s.result()
}
