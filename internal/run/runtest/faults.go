package runtest

import (
	"context"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
	"github.com/sluicehq/sluice/internal/run"
)

// Faulty puts a fault injector before a store.
func Faulty(f *fanouttest.Faults, s run.Store) run.Store { return faulty{s, f} }

// faulty leaves out what seeds: Create and List.
type faulty struct {
	run.Store
	f *fanouttest.Faults
}

func (s faulty) Get(ctx context.Context, id string) (r run.Run, err error) {
	err = s.f.Do("store.Get", func() (err error) { r, err = s.Store.Get(ctx, id); return err })
	return r, err
}

func (s faulty) Finish(ctx context.Context, id string, rev int, v run.Verdict) error {
	return s.f.Do("store.Finish", func() error { return s.Store.Finish(ctx, id, rev, v) })
}

func (s faulty) Open(ctx context.Context, id string) error {
	return s.f.Do("store.Open", func() error { return s.Store.Open(ctx, id) })
}

func (s faulty) Ends(ctx context.Context, id string, each func(fanout.Settlement) error) error {
	return s.f.Do("store.Ends", func() error { return s.Store.Ends(ctx, id, each) })
}

func (s faulty) Lists(ctx context.Context, id string, each func(fanout.Listed) error) error {
	return s.f.Do("store.Lists", func() error { return s.Store.Lists(ctx, id, each) })
}

func (s faulty) DeadTasks(ctx context.Context, id string, each func(run.DeadTask) error) error {
	return s.f.Do("store.DeadTasks", func() error { return s.Store.DeadTasks(ctx, id, each) })
}

func (s faulty) Reopened(ctx context.Context, id string, each func(fanout.Task) error) error {
	return s.f.Do("store.Reopened", func() error { return s.Store.Reopened(ctx, id, each) })
}

func (s faulty) Reopen(ctx context.Context, id string, letters []run.Letter, n run.Note) (out []fanout.Task, err error) {
	err = s.f.Do("store.Reopen", func() (err error) { out, err = s.Store.Reopen(ctx, id, letters, n); return err })
	return out, err
}

func (s faulty) Discard(ctx context.Context, id string, letters []run.Letter, note run.Note) (n int, err error) {
	err = s.f.Do("store.Discard", func() (err error) { n, err = s.Store.Discard(ctx, id, letters, note); return err })
	return n, err
}

func (s faulty) Counts(ctx context.Context, id string) (out map[string]run.Count, err error) {
	err = s.f.Do("store.Counts", func() (err error) { out, err = s.Store.Counts(ctx, id); return err })
	return out, err
}
