package fanout_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// rare gives a permit every minute, and sends away whoever would wait for longer than 20 s, as the governor does.
type rare struct {
	mu   sync.Mutex
	next time.Time
}

func (g *rare) Outlook(context.Context, string, time.Duration) (fanout.Outlook, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fanout.Outlook{Hold: fanout.Free, Next: g.next}, nil
}
func (g *rare) Take(ctx context.Context, c fanout.Call) (fanout.Permit, error) {
	g.mu.Lock()
	at := g.next
	if time.Until(at) > 20*time.Second {
		g.mu.Unlock()
		return fanout.Permit{}, fanout.ErrNoPermit
	}
	if at.IsZero() {
		at = time.Now()
	}
	g.next = at.Add(time.Minute)
	g.mu.Unlock()
	time.Sleep(time.Until(at))
	return fanout.Permit{Release: func() {}, By: time.Now().Add(time.Second)}, nil
}
func (*rare) Throttled(context.Context, time.Time, time.Duration) error { return nil }
func (*rare) Outage(context.Context, string) error                      { return nil }
func (*rare) Probe(context.Context, fanout.Call, func(context.Context) error) (bool, error) {
	return false, nil
}
func (*rare) Alive()                             {}
func (*rare) Stop(context.Context, string) error { return nil }

type counting struct {
	fanout.Queue
	receives, hides *atomic.Int64
}

func (q counting) Receive(ctx context.Context, max int, wait, v time.Duration) ([]fanout.Delivery, error) {
	q.receives.Add(1)
	return q.Queue.Receive(ctx, max, wait, v)
}
func (q counting) Hide(ctx context.Context, hs []fanout.Hide) error {
	q.hides.Add(1)
	return q.Queue.Hide(ctx, hs)
}

// TestRareLimit: a long-lived worker whose next permit is a minute away does not
// take messages only to give them back.
func TestRareLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 30, 3)
		w.Governor = &rare{}
		w.Config.Wait, w.Config.LongPoll = true, 20*time.Second
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		_, _ = w.Engine(0).Drain(ctx, ctx)
		e := w.Engine(1)
		var rec, hides atomic.Int64
		e.Queue = counting{e.Queue, &rec, &hides}
		began := time.Now()
		rep, err := e.Drain(ctx, ctx)
		if err != nil || rep.Outcomes[fanout.Done] != 30 || rec.Load() > 4*30 || hides.Load() > 30 {
			t.Errorf("%v: %v, %d calls, %d receives, %d hides in %v", err, rep.Outcomes, rep.Calls, rec.Load(), hides.Load(), time.Since(began))
		}
	})
}
