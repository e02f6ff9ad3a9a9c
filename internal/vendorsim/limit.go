package vendorsim

import (
	"slices"
	"sync"
	"time"
)

// Kind is how a limit counts.
type Kind string

const (
	Bucket  Kind = "bucket"  // leaky or token bucket: N per Per, Burst at once
	Sliding Kind = "sliding" // at most N in any window of Per
	Fixed   Kind = "fixed"   // at most N in each window of Per that begins at a multiple of Per
)

// Limit is one rule that the vendor enforces.
type Limit struct {
	Kind  Kind
	N     int
	Per   time.Duration
	Burst int
}

// judge decides about arrivals under one limit. Refused calls do not count, as
// with most vendors.
type judge struct {
	Limit
	tokens float64
	last   time.Time
	recent []time.Time // Sliding
	window int64       // Fixed: which window
	used   int
}

// admit says whether a call arriving now is allowed, and else how long to wait.
func (j *judge) admit(now time.Time) (ok bool, wait time.Duration) {
	each := j.Per / time.Duration(j.N)
	switch j.Kind {
	case Sliding:
		for len(j.recent) > 0 && now.Sub(j.recent[0]) >= j.Per {
			j.recent = j.recent[1:]
		}
		if len(j.recent) >= j.N {
			return false, j.Per - now.Sub(j.recent[0])
		}
		j.recent = append(j.recent, now)
	case Fixed:
		w := now.UnixNano() / int64(j.Per)
		if w != j.window {
			j.window, j.used = w, 0
		}
		if j.used >= j.N {
			return false, time.Duration((w+1)*int64(j.Per) - now.UnixNano())
		}
		j.used++
	default:
		full := float64(max(j.Burst, 1))
		if j.last.IsZero() {
			j.tokens = full
		} else {
			j.tokens = min(full, j.tokens+now.Sub(j.last).Seconds()/each.Seconds())
		}
		j.last = now
		if j.tokens < 1 {
			return false, time.Duration((1 - j.tokens) * float64(each))
		}
		j.tokens--
	}
	return true, 0
}

// A Count is what the vendor saw.
type Count struct {
	mu           sync.Mutex
	arrivals     []time.Time
	refused      int
	firstRefused time.Time
	flying       int
	peak         int
	byPath       map[string]int // answered with data, by path and query
	failed       int            // answered badly on purpose
}

// Stats is a Count at one moment.
type Stats struct {
	Calls    int            `json:"calls"`    // arrivals, refused ones included
	Refused  int            `json:"refused"`  // by the limits
	Failed   int            `json:"failed"`   // by misbehaviour
	Repeated int            `json:"repeated"` // answers with data for a request that had been answered before
	Peak     int            `json:"peak"`     // in flight at once
	Worst    map[string]int `json:"worst"`    // most arrivals in any window of that length
	First    time.Time      `json:"first"`
	Last     time.Time      `json:"last"`
}

// Worst is the most arrivals in any window of the given length.
func Worst(arrivals []time.Time, window time.Duration) int {
	worst, from := 0, 0
	for i, at := range arrivals {
		for at.Sub(arrivals[from]) >= window {
			from++
		}
		worst = max(worst, i-from+1)
	}
	return worst
}

// Arrivals are the instants of all calls so far, in order.
func (c *Count) Arrivals() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.arrivals)
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// FirstRefused is when the first call was refused; zero: none was.
func (c *Count) FirstRefused() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.firstRefused
}

// Stats sums up.
func (c *Count) Stats() Stats {
	arrivals := c.Arrivals()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Calls: len(arrivals), Refused: c.refused, Failed: c.failed, Peak: c.peak, Worst: map[string]int{}}
	for _, n := range c.byPath {
		s.Repeated += n - 1
	}
	for _, w := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		s.Worst[w.String()] = Worst(arrivals, w)
	}
	if len(arrivals) > 0 {
		s.First, s.Last = arrivals[0], arrivals[len(arrivals)-1]
	}
	return s
}
