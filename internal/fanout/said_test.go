package fanout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// listening is a governor that wants to know what headers say, and cannot keep it.
type listening struct {
	*fanouttest.Governor
	mu    sync.Mutex
	heard map[int]int
	cost  map[int]int
}

// Take gives permits that hear how much their calls have counted.
func (l *listening) Take(ctx context.Context, c fanout.Call) (fanout.Permit, error) {
	p, err := l.Governor.Take(ctx, c)
	p.Cost = func(limit string, units int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if limit == "b" && c.Tier != "" {
			l.cost[units]++
		}
	}
	return p, err
}

func (l *listening) Said(_ context.Context, _ fanout.Call, _ time.Time, limits map[string]fanout.Said) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[limits["b"].Count]++
	return errors.New("the store does not answer")
}

// saying is a vendor with headers: one that every second call is refused by.
type saying struct {
	fanout.Vendor
	mu    sync.Mutex
	calls int
}

func (s *saying) Call(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.calls%2 == 0 {
		return fanout.Page{}, &fanout.CallError{Class: fanout.Throttled, RetryAfter: time.Second, Err: errors.New("slow down"), Limits: map[string]fanout.Said{"b": {Count: 7, Cost: 2}}}
	}
	p, err := s.Vendor.Call(ctx, t, cursor)
	p.Limits = map[string]fanout.Said{"b": {Count: 9, Cost: 3}}
	return p, err
}

// TestSaid: what the headers of answers say reaches a governor that wants it,
// those of refused calls too; that it cannot keep it fails no call.
func TestSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 20)
		g := &listening{Governor: &fanouttest.Governor{Interval: 10 * time.Millisecond}, heard: map[int]int{}, cost: map[int]int{}}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			e := w.Engine(i)
			e.Governor, e.Vendor = g, &saying{Vendor: e.Vendor}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			for range 30 {
				if _, err := e.Drain(ctx, ctx); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second)
			}
			cancel()
		}
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if g.cost[3] != 21 || g.cost[2] != g.heard[7] || len(g.cost) != 2 {
			t.Errorf("costs %v of calls that were heard %v", g.cost, g.heard)
		}
		if g.heard[9] != 21 || g.heard[7] == 0 || len(g.heard) != 2 {
			t.Errorf("heard %v, want 21 answers and some refusals", g.heard)
		}
	})
}
