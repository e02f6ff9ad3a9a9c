package fanouttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Governor is a plain model of a fanout.Governor for tests of the engine: one
// rate, one brake, one breaker, exact and without a store.
type Governor struct {
	Interval time.Duration // between permits

	mu      sync.Mutex
	next    time.Time
	brake   time.Time
	down    bool
	probeAt time.Time
	pause   time.Duration
	stopped string
	blind   string
	waiting int

	Taken int // permits handed out
	Opens int // times the breaker opened
}

// Outlook implements fanout.Governor.
func (g *Governor) Outlook(ctx context.Context, _ string, within time.Duration) (fanout.Outlook, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case g.stopped != "":
		return fanout.Outlook{Hold: fanout.Stopped, Why: g.stopped}, nil
	case g.blind != "":
		return fanout.Outlook{Hold: fanout.Blind, Why: g.blind}, nil
	case g.down:
		return fanout.Outlook{Hold: fanout.Outage, Next: g.probeAt}, nil
	case g.brake.After(now):
		return fanout.Outlook{Hold: fanout.Braked, Next: g.brake}, nil
	}
	calls := 1000
	if g.Interval > 0 {
		calls = max(0, int((within-max(0, g.next.Sub(now)))/g.Interval)-g.waiting)
	}
	return fanout.Outlook{Calls: calls, Next: g.next}, ctx.Err()
}

// Take implements fanout.Governor.
func (g *Governor) Take(ctx context.Context, _ fanout.Call) (fanout.Permit, error) {
	g.await(1)
	defer g.await(-1)
	for {
		g.mu.Lock()
		now := time.Now()
		if g.stopped != "" {
			g.mu.Unlock()
			return fanout.Permit{}, fmt.Errorf("%w: %s", fanout.ErrNoPermit, g.stopped)
		}
		at := g.next
		switch {
		case g.down:
			at = now.Add(100 * time.Millisecond)
		case g.brake.After(now):
			at = g.brake
		case !at.After(now):
			g.next = now.Add(g.Interval)
			g.Taken++
			g.mu.Unlock()
			return fanout.Permit{Release: func() {}}, nil
		}
		g.mu.Unlock()
		t := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			t.Stop()
			return fanout.Permit{}, fanout.ErrNoPermit
		case <-t.C:
		}
	}
}

// Throttled implements fanout.Governor.
func (g *Governor) Throttled(_ context.Context, sent time.Time, retryAfter time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := sent.Add(max(retryAfter, time.Second)); until.After(g.brake) {
		g.brake = until
	}
	return nil
}

// Outage implements fanout.Governor.
func (g *Governor) Outage(context.Context, string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.down {
		g.down, g.pause, g.probeAt = true, time.Second, time.Now().Add(time.Second)
		g.Opens++
	}
	return nil
}

// Probe implements fanout.Governor.
func (g *Governor) Probe(ctx context.Context, _ fanout.Call, call func(context.Context) error) (bool, error) {
	g.mu.Lock()
	if !g.down || time.Now().Before(g.probeAt) {
		g.mu.Unlock()
		return false, nil
	}
	g.probeAt = time.Now().Add(time.Hour) // ours
	g.Taken++
	g.mu.Unlock()
	err := call(ctx)
	var ce *fanout.CallError
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.As(err, &ce) && ce.Class == fanout.Unavailable {
		g.pause = min(2*g.pause, 10*time.Second)
		g.probeAt = time.Now().Add(g.pause)
		return true, err
	}
	g.down = false
	return true, nil
}

// Alive implements fanout.Governor.
func (g *Governor) Alive() {}

// Stop implements fanout.Governor.
func (g *Governor) Stop(_ context.Context, why string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = why
	return nil
}

// Resume ends a stop.
func (g *Governor) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = ""
}

// Blind makes the governor's store unreadable; "" ends that.
func (g *Governor) Blind(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blind = why
}

func (g *Governor) await(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting += delta
}
