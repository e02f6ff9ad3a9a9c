package fanout

import (
	"context"
	"errors"
	"sync"
	"time"
)

// streakLength failures in a row, in one worker, are an outage.
const streakLength = 5

// streak tells a task's own trouble from the vendor's. A call that found the
// vendor unavailable is counted against its task only once another call has
// shown the vendor to be alive; five in a row are an outage and count against
// nobody. A task that fails again after the vendor was proved alive is judged
// at once, or a few poisonous tasks left at a run's end would look like an
// outage for ever.
type streak struct {
	mu           sync.Mutex
	suspects     []Failure
	row          int             // failures since the vendor was last known to be alive
	cleared      map[string]bool // tasks let off because of an outage
	good         *Task           // answered before: what a probe repeats
	troubleSince time.Time
	troubleLast  time.Time
}

func newStreak() *streak { return &streak{cleared: make(map[string]bool)} }

// failed takes in a failure. judged: count it now. outage: it completes a
// streak.
func (s *streak) failed(f Failure) (judged, outage bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row++
	if s.cleared[f.Task.ID] {
		if s.row < streakLength {
			return true, false
		}
		s.clear() // nobody was answered meanwhile: it is down again
		return false, true
	}
	s.suspects = append(s.suspects, f)
	if len(s.suspects) < streakLength {
		return false, false
	}
	s.clear()
	return false, true
}

// alive tells that the vendor answered; it returns the failures that are
// thereby proved to be their tasks' own.
func (s *streak) alive(task string) (judged []Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	judged, s.suspects, s.row = s.suspects, nil, 0
	delete(s.cleared, task)
	return judged
}

// outage lets the present suspects off: the fleet has found the vendor down.
func (s *streak) outage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

func (s *streak) clear() {
	if len(s.cleared) > 10_000 { // bounded; whoever is forgotten is let off once more
		clear(s.cleared)
	}
	for _, f := range s.suspects {
		s.cleared[f.Task.ID] = true
	}
	s.suspects, s.row = nil, 0
}

// storeTrouble tells whether failures of our own stores are still within
// patience. A gap of several seconds between two begins a new count.
func (s *streak) storeTrouble(began time.Time, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if began.Sub(s.troubleLast) > 5*time.Second {
		s.troubleSince = began
	}
	now := time.Now()
	s.troubleLast = now
	return now.Sub(s.troubleSince) < patience
}

// watchOutage keeps an eye on the breaker and, while it is open, makes the
// probe when its time has come: a call that is known to have worked, because a
// task at hand may itself be what fails.
func (d *drain) watchOutage() {
	for pause(d.soft, 250*time.Millisecond) {
		look, err := d.Governor.Outlook(d.soft, d.Tier.Name, d.Ahead)
		if err != nil || look.Hold != Outage {
			continue
		}
		d.meter.held(look)
		d.outages.outage()
		if time.Now().Before(look.Next) {
			continue
		}
		good := d.outages.knownGood(d.Fallback)
		tried, err := d.Governor.Probe(d.hard, CallOf(good), func(ctx context.Context) error { return d.probe(ctx, good) })
		if tried {
			d.log.Info("probed for the end of the outage", "tier", d.Tier.Name, "still", err)
		}
	}
}

func (d *drain) probe(ctx context.Context, t Task) error {
	d.meter.update(func(r *Report) { r.Calls++; r.Probes++ })
	page, err := d.Vendor.Call(ctx, t, "")
	if err == nil && page.Release != nil {
		page.Release()
	}
	var ce *CallError
	if errors.As(err, &ce) {
		d.meter.update(func(r *Report) { r.Failed[ce.Class]++ })
	}
	return err
}

// succeeded notes a first page that the vendor answered.
func (s *streak) succeeded(t Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good = &t
}

// knownGood is a call that worked before.
func (s *streak) knownGood(fallback Task) Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good != nil {
		return *s.good
	}
	return fallback
}
