// Package fleet wires a vendor's plan to a backend: it makes the engine of each
// tier, the governor that they share, and the run that they work on. It knows
// no backend and no command line; a main hands in the one and is told by the
// other.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// Backend is where a fleet keeps its things: one machine or AWS.
type Backend interface {
	Queue(vendor, tier string) fanout.Queue
	DeadQueue(vendor, tier string) fanout.Queue
	Ledger(vendor string) fanout.Ledger
	Landing(vendor string) *landing.Landing
	Runs() run.Store
	Governor() governor.Store
	Series() series.Store // nil: what is done over time is not kept
}

// Options are what differs between a backend's fleets. The zero value is right
// for one machine.
type Options struct {
	Engine    fanout.Config
	Poll      time.Duration     // of the governor's item (50 ms)
	Spread    time.Duration     // of clocks between machines (0: one machine)
	Slow      time.Duration     // how long a write of the governor's item may take to take effect (0: no time)
	Idle      time.Duration     // between two looks at an empty queue, or for the end of a run (200 ms)
	Tick      time.Duration     // how often somebody looks whether a tier has work (0: always)
	Lag       time.Duration     // by how much the queues' counts may be behind (0: they are exact)
	Transport http.RoundTripper // nil: the network
	Now       func() time.Time  // the governor's clock (time.Now)
	Log       *slog.Logger
}

// A Fleet is all that works for one vendor, from this process. It is safe for
// concurrent use.
type Fleet struct {
	Plan    *vendorapi.Plan
	Runs    *run.Runs
	backend Backend
	opt     Options
	limits  []governor.Limit
	guard   guard
}

// New wires a plan to a backend. It touches neither the vendor nor the store.
func New(plan *vendorapi.Plan, backend Backend, opt Options) (*Fleet, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Idle == 0 {
		opt.Idle = 200 * time.Millisecond // what the scheduler does every minute on AWS
	}
	tiers := make([]string, len(plan.Tiers))
	for i, t := range plan.Tiers {
		tiers[i] = t.Name
	}
	f := &Fleet{Plan: plan, backend: backend, opt: opt, limits: limitsOf(plan)}
	f.guard.before, f.guard.off, f.guard.said = map[string]earlier{}, map[string]time.Time{}, map[string]bool{}
	if _, err := governor.Check(f.limits, opt.Spread); err != nil {
		return nil, fmt.Errorf("the limits of vendor %s: %w", plan.Name, err)
	}
	f.Runs = &run.Runs{
		Vendor: plan.Name, Zone: plan.Zone, Tiers: tiers, Roots: plan.Root,
		Store: backend.Runs(), Ledger: backend.Ledger(plan.Name), Landing: backend.Landing(plan.Name),
		Queue: func(tier string) fanout.Queue { return backend.Queue(plan.Name, tier) },
		Dead:  func(tier string) fanout.Queue { return backend.DeadQueue(plan.Name, tier) },
	}
	f.Runs.Publish = Publisher(backend)
	f.Runs.Ended = func(ctx context.Context, id string) error { return FreeBudget(ctx, backend.Governor(), plan.Name, id) }
	return f, nil
}

// Publisher is where a backend puts the verdicts of closed runs, and asks for
// their data to be published; nil: it keeps them with the runs only.
func Publisher(backend Backend) func(ctx context.Context, r run.Run) error {
	p, ok := backend.(interface {
		PutVerdict(ctx context.Context, run string, doc []byte) error
	})
	if !ok {
		return nil
	}
	return func(ctx context.Context, r run.Run) error {
		doc, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("packing the verdict of run %s: %w", r.ID, err)
		}
		if err := p.PutVerdict(ctx, r.ID, doc); err != nil {
			return err
		}
		if lake, ok := backend.(interface {
			AskPublish(ctx context.Context, run string, rev int) error
		}); ok {
			return lake.AskPublish(ctx, r.ID, r.Rev)
		}
		return nil
	}
}

// Limits are the vendor's limits as the governor has them, and what there is to
// say about them.
func (f *Fleet) Limits() (limits []governor.Limit, notes []string) {
	notes, _ = governor.Check(f.limits, f.opt.Spread) // New has looked at the error
	return f.limits, notes
}

// GovernorStatus tells which limits hold now. It leaves out the audit log.
func (f *Fleet) GovernorStatus(ctx context.Context) (governor.Report, error) {
	return governor.Look(ctx, f.backend.Governor(), f.Plan.Name, f.limits, f.opt.Spread)
}

// Series is where what is done over time is kept; nil: nowhere.
func (f *Fleet) Series() series.Store { return f.backend.Series() }

// GovernorStore is where the limits are kept, for operators' changes.
func (f *Fleet) GovernorStore() governor.Store { return f.backend.Governor() }

func limitsOf(plan *vendorapi.Plan) []governor.Limit {
	var out []governor.Limit
	for _, l := range plan.Limits {
		g := governor.Limit{Name: l.Name, Count: l.N, Per: l.Per, Burst: l.Burst, InFlight: l.InFlight, Jitter: l.Jitter, Recover: l.Recover}
		switch l.Kind {
		case vendorapi.Bucket:
			g.Kind = governor.Bucket
		case vendorapi.Sliding:
			g.Kind = governor.Window
		case vendorapi.Spacing:
			g.Kind, g.Count, g.Per = governor.Spacing, 1, l.Spacing
		case vendorapi.Calendar:
			g.Kind, g.Zone = governor.Calendar, l.Zone
		}
		if l.Tiers != nil || l.Each != "" || len(l.Weight) > 0 || l.AtMost > 0 {
			g.Of = &governor.Scope{Tiers: l.Tiers, Each: l.Each, Weight: l.Weight, AtMost: l.AtMost}
		}
		out = append(out, g)
	}
	return out
}

// inFlight is how many calls this process may make at once.
func (f *Fleet) inFlight() int {
	n := 0
	for _, l := range f.limits {
		if l.InFlight > 0 && (n == 0 || l.InFlight < n) {
			n = l.InFlight
		}
	}
	if n == 0 {
		return 32
	}
	return n
}

// Workers are the engines of some tiers in this process, over one client and
// one governor. Close them.
type Workers struct {
	fleet    *Fleet
	client   *vendorapi.Client
	governor *governor.Governor
	tiers    []worker
}

type worker struct {
	engine *fanout.Engine
	meter  *fanout.Meter
}

// Workers makes the engines of the named tiers, or of all. It reads the
// secrets, and fails if one is missing. root is a task that the vendor answers
// when it is alive.
func (f *Fleet) Workers(secrets vendorapi.Secrets, root fanout.Task, tiers ...string) (*Workers, error) {
	client, err := vendorapi.NewClient(f.Plan, secrets, vendorapi.Options{RoundTripper: f.opt.Transport, InFlight: f.inFlight()})
	if err != nil {
		return nil, err
	}
	g, err := governor.New(governor.Config{
		Vendor: f.Plan.Name, Limits: f.limits, Store: f.backend.Governor(), Poll: f.opt.Poll, Spread: f.opt.Spread, Slow: f.opt.Slow,
		CallTimeout: f.Plan.Timeouts.Total, Now: f.opt.Now, Log: f.opt.Log, Value: f.Plan.Value,
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	w := &Workers{fleet: f, client: client, governor: g}
	for i, t := range f.Plan.Tiers {
		if len(tiers) > 0 && !slices.Contains(tiers, t.Name) {
			continue
		}
		below, next := f.Plan.Below(t.Name), fanout.Queue(nil)
		if below != "" {
			next = f.Runs.Queue(below)
		}
		wk := worker{meter: new(fanout.Meter)}
		wk.engine = &fanout.Engine{
			Tier:  fanout.Tier{Name: t.Name, Below: below, Unique: f.Plan.Tiers[i].Unique, Rows: len(t.Tables) > 0 || i+1 < len(f.Plan.Tiers) && f.Plan.Tiers[i+1].Batch},
			Queue: f.Runs.Queue(t.Name), Next: next, Dead: f.Runs.Dead(t.Name),
			Ledger: f.Runs.Ledger, Landing: f.Runs.Landing, Governor: g, Vendor: client,
			Fallback: root, Config: f.opt.Engine, Meter: wk.meter, Log: f.opt.Log,
		}
		w.tiers = append(w.tiers, wk)
	}
	if len(w.tiers) == 0 {
		return nil, errors.Join(fmt.Errorf("vendor %s has no tier %v (it has %v)", f.Plan.Name, tiers, f.Runs.Tiers), w.Close())
	}
	return w, nil
}

// Close gives back what the workers hold in the governor.
func (w *Workers) Close() error {
	w.client.Close()
	return w.governor.Close()
}

// Governor is the governor that the workers share.
func (w *Workers) Governor() *governor.Governor { return w.governor }

// Client is the vendor's client that the workers share.
func (w *Workers) Client() *vendorapi.Client { return w.client }

// Report adds up what the workers did.
func (w *Workers) Report() fanout.Report {
	var sum fanout.Report
	for _, t := range w.tiers {
		sum.Add(t.meter.Report())
	}
	return sum
}

// Waiting tells, for a tier, how many tasks are in hand and what they wait for.
func (w *Workers) Waiting(tier string) (inHand int, hold fanout.Outlook, trouble string) {
	for _, t := range w.tiers {
		if t.engine.Tier.Name == tier {
			return t.meter.Now()
		}
	}
	return 0, fanout.Outlook{}, ""
}
