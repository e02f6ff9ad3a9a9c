package functions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
)

// How drains hand over to each other.
const (
	leaseLife    = 30 * time.Second       // a lease that is not renewed is free after this
	renewEvery   = 10 * time.Second       // so two renewals may fail
	standbyFrom  = 75 * time.Second       // before a drain's end: a tick that comes then waits to go on
	standbyLooks = 500 * time.Millisecond // how often it looks whether its turn has come
	overlap      = 3 * time.Second        // before its end a drain hands over: permits are booked up to 2 s ahead, and what it leaves of its own is lost
)

// A Tick says what an invocation did.
type Tick struct {
	Left string `json:"left"` // why it ended
	Took string `json:"took,omitempty"`
}

// A TickEvent says nothing: the clock has struck.
type TickEvent struct{}

// Tier is one tick of a tier worker: it drains the tier's queue until that is
// empty, no permit is within reach, or the deadline is near. An empty queue is
// left after two short polls.
func (f *Function) Tier(ctx context.Context, _ TickEvent) (Tick, error) {
	open, leases, err := f.vendor.Peek(ctx, f.tier, f.workers)
	if err != nil {
		return Tick{}, err
	}
	if !open {
		return Tick{Left: "no run is open"}, nil
	}
	own, _ := ctx.Deadline()
	slot, standby := choose(leases, time.Now(), own)
	if slot < 0 {
		return Tick{Left: "a drain is at work"}, nil
	}
	fl, err := f.fleet()
	if err != nil {
		return Tick{}, err
	}
	return f.drain(ctx, fl, f.tier, slot, standby)
}

// choose picks the slot of a drain that is not there, or, to stand by, one
// whose drain is about to end, while at least half of this one's time, until
// own, is left for itself; -1: every drain is at work.
func choose(leases []awsfleet.Lease, now, own time.Time) (slot int, standby bool) {
	slot = -1
	near := min(standbyFrom, own.Sub(now)/2)
	for i, l := range leases {
		switch {
		case free(l, now):
			return i, false
		case l.Soft.Sub(now) < near:
			slot, standby = i, true
		}
	}
	return slot, standby
}

func free(l awsfleet.Lease, now time.Time) bool {
	return l.Owner == "" || l.HandingOver || !l.Expires.After(now)
}

// drain takes a slot's lease and drains a tier. With standby it waits for the
// lease while its drain is about to end.
func (f *Function) drain(ctx context.Context, fl *fleet.Fleet, tier string, slot int, standby bool) (Tick, error) {
	soft, hard, err := f.bounds(ctx, fl.Plan.Timeouts.Total)
	if err != nil {
		return Tick{}, err
	}
	h := &holder{f: f, tier: tier, slot: slot, lease: awsfleet.Lease{Owner: rand.Text()[:12], Soft: soft}}
	softly, stop := context.WithDeadline(ctx, soft) // SIGTERM ends ctx, and so soft
	defer stop()
	if ok, err := h.take(softly, standby); err != nil || !ok {
		return Tick{Left: "a drain is at work"}, err
	}
	hardly, cut := context.WithDeadline(context.WithoutCancel(ctx), hard)
	defer cut()
	rep := &drainReport{f: f, fleet: fl, tier: tier, began: time.Now(), before: f.cloud.Usage()}
	drained := make(chan struct{})
	kept := make(chan struct{})
	handing, handed := context.WithDeadline(softly, soft.Add(-overlap))
	defer handed()
	go func() {
		defer close(kept)
		h.keep(handing, hardly, drained)
	}()
	err = rep.work(softly, hardly)
	over := softly.Err() != nil
	close(drained)
	<-kept
	if rep.idle() && err == nil {
		return Tick{Left: "the queue is empty, or no permit is within reach"}, nil
	}
	rep.emit(hardly, over, err)
	tick := Tick{Left: left(over, err), Took: time.Since(rep.began).Round(time.Millisecond).String()}
	if errors.Is(err, fanout.ErrStopped) {
		err = nil // by an operator or for refused credentials: known, said, and no fault of this function
	}
	return tick, err
}

// left is why a drain ended.
func left(over bool, err error) string {
	switch {
	case errors.Is(err, fanout.ErrStopped):
		return "the vendor is stopped"
	case err != nil:
		return "an error"
	case over:
		return "its time was over"
	}
	return "the queue is empty, or no permit is within reach"
}

// work makes the tier's engine and drains its queue.
func (r *drainReport) work(soft, hard context.Context) (err error) {
	root := r.fleet.Plan.Root("probe", run.Yesterday(r.began, r.fleet.Plan.Zone))[0]
	r.workers, err = r.fleet.Workers(fresh{r.f, map[string]bool{}}, root, r.tier)
	if err != nil {
		return err
	}
	err = r.workers.Drain(soft, hard)
	if closing := r.workers.Close(); closing != nil {
		r.f.log.Warn("giving back what this drain held in the governor", "tier", r.tier, "err", closing)
	}
	return err
}

// holder holds the lease of one slot of a tier.
type holder struct {
	f     *Function
	tier  string
	slot  int
	lease awsfleet.Lease
}

// take takes the lease. With standby it waits until whoever has it ends, or
// somebody else goes on.
func (h *holder) take(soft context.Context, standby bool) (bool, error) {
	for {
		now := time.Now()
		h.lease.Expires = now.Add(leaseLife)
		ok, err := h.f.vendor.Acquire(soft, h.tier, h.slot, h.lease, now)
		if err != nil || ok || !standby {
			return ok, err
		}
		if ok, err := h.turn(soft); err != nil || !ok {
			return false, err
		}
	}
}

// turn waits until the lease is free; false: there is nobody left to relieve.
func (h *holder) turn(soft context.Context) (bool, error) {
	for pause(soft, standbyLooks) {
		open, leases, err := h.f.vendor.Peek(soft, h.tier, h.slot+1)
		if err != nil {
			return false, fmt.Errorf("standing by for tier %s: %w", h.tier, err)
		}
		now := time.Now()
		switch l := leases[h.slot]; {
		case !open:
			return false, nil
		case free(l, now):
			return true, nil
		case l.Soft.Sub(now) >= standbyFrom:
			return false, nil // another tick has gone on
		}
	}
	return false, nil
}

// keep renews the lease until the tier is drained, and gives it back then. If
// mine ends first it lets the next drain begin at once, while this one still
// works off the permits that it has, and finishes calls under way.
func (h *holder) keep(mine, hard context.Context, drained <-chan struct{}) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.renew(hard, false)
		case <-mine.Done():
			h.renew(hard, true)
			return
		case <-drained:
			if err := h.f.vendor.Release(hard, h.tier, h.slot, h.lease.Owner); err != nil {
				h.f.log.Warn("giving back the lease of a drain; it ends by itself", "tier", h.tier, "err", err)
			}
			return
		}
	}
}

func (h *holder) renew(ctx context.Context, handing bool) {
	h.lease.Expires, h.lease.HandingOver = time.Now().Add(leaseLife), handing
	if _, err := h.f.vendor.Renew(ctx, h.tier, h.slot, h.lease); err != nil {
		h.f.log.Warn("renewing the lease of a drain; it ends by itself", "tier", h.tier, "err", err)
	}
}

// pause sleeps; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
