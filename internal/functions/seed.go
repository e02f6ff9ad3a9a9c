package functions

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// A SeedEvent says which window is to be read. The schedule sends At, its own
// instant, so that firing twice means the same window twice; people send From
// and To.
type SeedEvent struct {
	At    time.Time `json:"at,omitzero"`   // the window is the day before, in the vendor's zone
	From  time.Time `json:"from,omitzero"` // the window's first instant
	To    time.Time `json:"to,omitzero"`   // the instant after its last
	Again bool      `json:"again"`         // a new run, even if the window has one
}

// A Seeded says what came of it.
type Seeded struct {
	Run    string        `json:"run,omitempty"`
	Window fanout.Window `json:"window"`
	State  string        `json:"state"` // open, closed, or queued behind another run
	Tick
}

// Seed starts the run of a window, or goes on with it, and drains the first
// tier, so that the nodes of the second are on their queue when it ends. While
// another run is open the window is queued, or refused.
func (f *Function) Seed(ctx context.Context, ev SeedEvent) (Seeded, error) {
	fl, err := f.fleet()
	if err != nil {
		return Seeded{}, err
	}
	w, err := ev.window(fl.Plan.Zone)
	if err != nil {
		return Seeded{}, err
	}
	out := Seeded{Window: w}
	busy, err := f.busy(ctx, w)
	if err != nil {
		return out, err
	}
	if busy != "" {
		return f.later(ctx, out, ev.Again, busy)
	}
	if ev.Again { // Lambda may repeat an event: the same one is to make the same run
		if call, ok := lambdacontext.FromContext(ctx); ok {
			fl.Runs.Tail = call.AwsRequestID
		}
	}
	r, err := fl.Seed(ctx, w, ev.Again, nil, "the schedule")
	if err != nil {
		return out, err
	}
	out.Run, out.State = r.ID, string(r.State)
	if r.State != run.Open {
		f.log.InfoContext(ctx, "the window has been read", "run", r.ID, "state", r.State)
		return out, nil
	}
	f.log.InfoContext(ctx, "seeded", "run", r.ID, "seeds", len(r.Seeds))
	out.Tick, err = f.drain(ctx, fl, r.Tiers[0], 0, false)
	return out, err
}

func (ev SeedEvent) window(zone *time.Location) (fanout.Window, error) {
	switch {
	case !ev.From.IsZero() && !ev.To.IsZero():
		if !ev.From.Before(ev.To) {
			return fanout.Window{}, fmt.Errorf("the window from %s to %s is empty: to must be after from", ev.From.Format(time.RFC3339), ev.To.Format(time.RFC3339))
		}
		return fanout.Window{From: ev.From, To: ev.To}, nil
	case !ev.From.IsZero() || !ev.To.IsZero():
		return fanout.Window{}, fmt.Errorf(`the event names only one end of the window: it needs {"from": ..., "to": ...}, or {"at": ...}, whose window is the day before`)
	case ev.At.IsZero():
		return run.Yesterday(time.Now(), zone), nil
	}
	return run.Yesterday(ev.At, zone), nil
}

// busy names an open run of another window.
func (f *Function) busy(ctx context.Context, w fanout.Window) (string, error) {
	runs, err := f.vendor.OpenRuns(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		if !r.Window.From.Equal(w.From) || !r.Window.To.Equal(w.To) {
			return r.ID, nil
		}
	}
	return "", nil
}

// later queues a window behind the open run, or refuses it.
func (f *Function) later(ctx context.Context, out Seeded, again bool, busy string) (Seeded, error) {
	if f.env("SLUICE_WHEN_OPEN") == "refuse" {
		return out, fmt.Errorf("run %s is still open: the window from %s to %s is not begun (SLUICE_WHEN_OPEN is refuse)",
			busy, out.Window.From.Format(time.RFC3339), out.Window.To.Format(time.RFC3339))
	}
	if err := f.vendor.Await(ctx, awsfleet.Waiting{Window: out.Window, Again: again, Noted: time.Now().UTC()}); err != nil {
		return out, fmt.Errorf("queueing a window behind run %s: %w", busy, err)
	}
	f.log.WarnContext(ctx, "a run is still open: the next window waits for its end", "open", busy, "from", out.Window.From, "to", out.Window.To)
	out.State = "queued"
	return out, nil
}
