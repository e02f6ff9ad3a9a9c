package governortest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func contextEnded(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// A Vendor notes when calls arrive and counts them as strictly as any vendor
// could. It is safe for concurrent use.
type Vendor struct {
	mu       sync.Mutex
	arrived  []time.Time
	inFlight int
	most     int
}

// Begin notes a call that arrives now; end that its answer was read.
func (v *Vendor) Begin() (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.arrived = append(v.arrived, time.Now())
	v.inFlight++
	v.most = max(v.most, v.inFlight)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.inFlight--
	}
}

// Arrivals returns when calls arrived, in order.
func (v *Vendor) Arrivals() []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := slices.Clone(v.arrived)
	slices.SortFunc(a, time.Time.Compare)
	return a
}

// MostInFlight is how many calls were under way at once at most.
func (v *Vendor) MostInFlight() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.most
}

// Between counts the calls that arrived in [from, to).
func (v *Vendor) Between(from, to time.Time) int {
	n := 0
	for _, t := range v.Arrivals() {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

// CheckWindow says whether any window of the given length, both ends included,
// holds more than n arrivals.
func CheckWindow(arrivals []time.Time, n int, length time.Duration) error {
	for i := n; i < len(arrivals); i++ {
		if d := arrivals[i].Sub(arrivals[i-n]); d <= length {
			return fmt.Errorf("%d calls within %v, the %d-th at %v: allowed are %d in %v", n+1, d, i, arrivals[i], n, length)
		}
	}
	return nil
}

// CheckBucket says whether a token bucket that holds burst and gains count per
// per would have refused an arrival. This is every window of every width at
// once.
func CheckBucket(arrivals []time.Time, count int, per time.Duration, burst int) error {
	every := float64(per) / float64(count)
	tokens, last := float64(burst), time.Time{}
	for i, t := range arrivals {
		if i > 0 {
			tokens = min(float64(burst), tokens+float64(t.Sub(last))/every)
		}
		last = t
		if tokens--; tokens < -1e-6 {
			return fmt.Errorf("the bucket is %.3f short at call %d, %v", -tokens, i, t)
		}
	}
	return nil
}

// CheckSpacing says whether two arrivals were closer than d.
func CheckSpacing(arrivals []time.Time, d time.Duration) error { return CheckWindow(arrivals, 1, d-1) }
