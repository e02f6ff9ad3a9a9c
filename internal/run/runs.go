package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/landing"
)

// Runs does what is done to whole runs of one vendor. It is safe for concurrent
// use, also by several processes: each step is idempotent.
type Runs struct {
	Vendor  string
	Zone    *time.Location
	Tiers   []string // top first
	Origin  Origin   // of runs that are seeded
	Roots   func(run string, w fanout.Window) []fanout.Task
	Store   Store
	Ledger  fanout.Ledger
	Landing *landing.Landing
	Queue   func(tier string) fanout.Queue
	Dead    func(tier string) fanout.Queue
	// Tokens tells how many messages a tier's dead-letter queue shows, where the
	// queue itself moves messages there; nil: it moves none.
	Tokens func(ctx context.Context, tier string) (int, error)
	// Publish puts the verdict of a run that is about to be closed where others
	// read it. It may be called again for the same run; nil: nowhere.
	Publish func(ctx context.Context, r Run) error
	// Begin is called for an open run before its first tasks are sent, and again
	// whenever it is seeded; nil: nothing is to be done.
	Begin func(ctx context.Context, r Run) error
	// Ended is called when a run has been closed. It may be called again, or, where
	// a process dies, never; nil: nothing is to be done.
	Ended func(ctx context.Context, id string) error
	// Tail makes the ID of a run that is seeded again: whoever repeats a request
	// gives the same one, and gets the same run; empty: random.
	Tail string
}

// mostSeeds bounds what a run begins with: its record holds them all, and is one
// item of a store.
const mostSeeds = 1000

// Seed starts the run of a window, or resumes it: the run is durable before its
// first task is sent, and the first tasks are sent again if they may be
// missing. A run that is closed is returned as it is; again starts a new one.
func (r *Runs) Seed(ctx context.Context, w fanout.Window, again bool) (Run, error) {
	if !w.From.Before(w.To) {
		return Run{}, fmt.Errorf("the window from %s to %s is empty: --to must be after --from", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
	}
	id := newID(r.Vendor, w, r.Zone, r.Tail)
	seeds := r.Roots(id, w)
	if len(seeds) > mostSeeds {
		return Run{}, fmt.Errorf("the window from %s to %s makes %d tasks in tier %s: a run begins with at most %d: take longer slices, or a shorter window", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339), len(seeds), r.Tiers[0], mostSeeds)
	}
	got, err := r.Store.Create(ctx, Run{
		ID: id, Vendor: r.Vendor, Window: w, Tiers: r.Tiers, Seeds: seeds,
		Opened: time.Now().UTC(), State: Open, Origin: r.Origin,
	}, again)
	if err != nil {
		return Run{}, fmt.Errorf("opening a run of %s: %w", r.Vendor, err)
	}
	if got.State != Open {
		return got, nil
	}
	if !slices.Equal(got.Tiers, r.Tiers) {
		return Run{}, fmt.Errorf("run %s was seeded with the tiers %v, the spec now has %v: give the run its spec back, or start a new one with --again", got.ID, got.Tiers, r.Tiers)
	}
	if r.Begin != nil {
		if err := r.Begin(ctx, got); err != nil {
			return got, err
		}
	}
	stands, err := r.Ledger.Look(ctx, got.Seeds)
	if err != nil {
		return Run{}, fmt.Errorf("looking at the seeds of run %s: %w", got.ID, err)
	}
	var send []fanout.Task
	for i, st := range stands {
		if st.Outcome == "" {
			t := got.Seeds[i]
			t.Life, t.Replay = st.Life, st.Replay
			send = append(send, t)
		}
	}
	if len(send) > 0 {
		if err := r.Queue(r.Tiers[0]).Send(ctx, send); err != nil {
			return Run{}, fmt.Errorf("seeding run %s: %w", got.ID, err)
		}
	}
	return got, nil
}

// Judge computes a run's verdict, records it, and closes the run when every
// task has ended.
func (r *Runs) Judge(ctx context.Context, id string) (v Verdict, err error) {
	for {
		if v, err = r.judgeOnce(ctx, id); !errors.Is(err, ErrChanged) {
			return v, err
		}
	}
}

func (r *Runs) judgeOnce(ctx context.Context, id string) (Verdict, error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return Verdict{}, err
	}
	j := judge{store: r.Store, landing: r.Landing, run: run}
	v, err := j.verdict(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if v.Dead > 0 && run.Previous != "" {
		if v.Hidden, err = r.hidden(ctx, run); err != nil {
			return Verdict{}, err
		}
	}
	// Published first: a run is closed once, and nobody looks at it after that. Of
	// a run that is opened meanwhile another verdict takes this one's place.
	if v.Settled() && run.State != Superseded && r.Publish != nil {
		shown := run
		shown.State, shown.Closed, shown.Verdict = Closed, v.At, &v
		if err := r.Publish(ctx, shown); err != nil {
			return Verdict{}, fmt.Errorf("publishing the verdict of run %s: %w", id, err)
		}
	}
	if err := r.Store.Finish(ctx, id, run.Rev, v); err != nil {
		return Verdict{}, fmt.Errorf("recording the verdict of run %s: %w", id, err)
	}
	if v.Settled() && r.Ended != nil {
		if err := r.Ended(ctx, id); err != nil {
			return Verdict{}, fmt.Errorf("after the end of run %s: %w", id, err)
		}
	}
	return v, nil
}

// Repair sends again what is known and neither settled nor dead, and opens the
// run for it. It is always safe: whatever is on a queue, too, is done once.
func (r *Runs) Repair(ctx context.Context, id string) (sent int, err error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	if err := r.Store.Open(ctx, id); err != nil {
		return 0, fmt.Errorf("opening run %s: %w", id, err)
	}
	batch := map[string][]fanout.Task{}
	flush := func(tier string) error {
		tasks := batch[tier]
		delete(batch, tier)
		stands, err := r.Ledger.Look(ctx, tasks)
		if err != nil {
			return fmt.Errorf("repairing run %s: %w", id, err)
		}
		for i := range tasks {
			tasks[i].Life, tasks[i].Replay = stands[i].Life, stands[i].Replay
		}
		if err := r.Queue(tier).Send(ctx, tasks); err != nil {
			return fmt.Errorf("repairing run %s: sending to tier %s: %w", id, tier, err)
		}
		sent += len(tasks)
		return nil
	}
	j := judge{store: r.Store, landing: r.Landing, run: run, missing: func(t fanout.Task) error {
		if batch[t.Tier] = append(batch[t.Tier], t); len(batch[t.Tier]) < 100 {
			return nil
		}
		return flush(t.Tier)
	}}
	if _, err := j.verdict(ctx); err != nil {
		return sent, err
	}
	for _, tier := range run.Tiers {
		if len(batch[tier]) > 0 {
			if err := flush(tier); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

// hidden counts the tasks that the last run had below those that are dead now.
// A child that several parents share is counted though another parent may have
// brought it: it is an upper bound.
func (r *Runs) hidden(ctx context.Context, run Run) (int, error) {
	below := map[string]bool{} // IDs, in the last run, of the dead tasks and what lay below them
	err := r.Store.DeadTasks(ctx, run.ID, func(d DeadTask) error {
		below[fanout.TaskID(run.Previous, d.Task.Tier, d.Task.Path)] = true
		return nil
	})
	if err != nil {
		return -1, fmt.Errorf("reading the dead letters of run %s: %w", run.ID, err)
	}
	dead := len(below)
	for i, tier := range run.Tiers[:len(run.Tiers)-1] {
		err := r.Landing.Records(ctx, run.Previous, tier, func(rec *fanout.Record) error {
			if rec.Kind == "list" && below[rec.Task.ID] {
				for _, n := range rec.Children {
					below[fanout.TaskID(run.Previous, run.Tiers[i+1], n.Path)] = true
				}
			}
			return nil
		})
		if err != nil {
			return -1, fmt.Errorf("reading the last run's lists: %w", err)
		}
	}
	return len(below) - dead, nil
}

// ReadBack calls each for every landed page that counts: the records whose
// fetch the ledger names. waste is how many landed pages do not count.
func (r *Runs) ReadBack(ctx context.Context, id, tier string, each func(*fanout.Record) error) (waste int, err error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	if tier != "" && !slices.Contains(run.Tiers, tier) {
		return 0, fmt.Errorf("run %s has no tier %s (it has %v)", id, tier, run.Tiers)
	}
	for _, name := range run.Tiers {
		if tier != "" && tier != name {
			continue
		}
		n, err := r.readTier(ctx, id, name, each)
		waste += n
		if err != nil {
			return waste, err
		}
	}
	return waste, nil
}

func (r *Runs) readTier(ctx context.Context, id, tier string, each func(*fanout.Record) error) (waste int, err error) {
	counts := map[mark]bool{}
	from := map[string]int{} // task -> chunks that precede its last part
	err = errors.Join(
		r.Store.Ends(ctx, id, func(e fanout.Settlement) error {
			if e.Task.Tier == tier {
				from[e.Task.ID] = e.Chunk
				if e.Outcome == fanout.Done {
					counts[markOf(e.Task.ID, e.Fetch, e.Chunk)] = true
				}
			}
			return nil
		}),
		r.Store.Lists(ctx, id, func(l fanout.Listed) error {
			if n, ended := from[l.Task]; ended && l.Chunk < n {
				counts[markOf(l.Task, l.Fetch, l.Chunk)] = true
			}
			return nil
		}))
	if err != nil {
		return 0, fmt.Errorf("reading the ledger of run %s: %w", id, err)
	}
	err = r.Landing.Records(ctx, id, tier, func(rec *fanout.Record) error {
		if rec.Kind != "page" {
			return nil
		}
		if !counts[markOf(rec.Task.ID, rec.Fetch, rec.Chunk)] {
			waste++
			return nil
		}
		return each(rec)
	})
	return waste, err
}
