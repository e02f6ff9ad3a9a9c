package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// tidy removes what is of no use any more: work under way, staged files of runs
// that are whole, notes, and files whose grace is over.
func (c *change) tidy(ctx context.Context, now time.Time) error {
	l := c.l
	for _, p := range c.all {
		if err := l.clear(ctx, l.workPrefix(p.run.ID)); err != nil {
			return err
		}
		if err := l.Store.Delete(ctx, l.refusedName(p.run.ID)); err != nil {
			return fmt.Errorf("removing %s: %w", l.refusedName(p.run.ID), err)
		}
		if p.run.Verdict.Dead > 0 || len(p.left) > 0 {
			continue // it may be opened again: what is staged is used then
		}
		if err := l.unstage(ctx, p); err != nil {
			return err
		}
	}
	return l.sweep(ctx, c.x, now)
}

// tidyAgain does what a publication that was switched may not have come to.
func (l *Lake) tidyAgain(ctx context.Context, r run.Run, whole bool) error {
	prefixes := []string{l.workPrefix(r.ID)}
	if whole {
		for _, tier := range l.tiers() {
			prefixes = append(prefixes, l.markers(r.ID, tier))
		}
		for _, t := range l.Plan.Lake.Tables {
			prefixes = append(prefixes, l.partPrefix(t.Name, r))
		}
	}
	for _, p := range prefixes {
		if err := l.clear(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// unstage removes the staged files of a run, the markers first: without its
// marker an object is converted anew.
func (l *Lake) unstage(ctx context.Context, p *publishing) error {
	var names []string
	for _, o := range p.sel.objects {
		names = append(names, o.marker)
	}
	for _, o := range p.sel.objects {
		for _, part := range o.parts {
			names = append(names, part.Name)
		}
	}
	if err := l.Store.Delete(ctx, names...); err != nil {
		return fmt.Errorf("removing the staged files of run %s: %w", p.run.ID, err)
	}
	return nil
}

// sweep deletes files that nobody has been told to read for a while.
func (l *Lake) sweep(ctx context.Context, x *index, now time.Time) error {
	grace := l.Grace
	if grace == 0 {
		grace = 24 * time.Hour
	}
	live := map[string]bool{}
	for _, line := range x.Lines {
		live[line.Generation] = true
	}
	var kept []drop
	for _, d := range x.Drops {
		if now.Sub(d.At) < grace && !live[d.Generation] {
			kept = append(kept, d)
			continue
		}
		if live[d.Generation] {
			continue
		}
		names, err := l.names(ctx, d.Prefix)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !ofGeneration(n, d.Prefix, d.Generation) })
		if err := l.Store.Delete(ctx, names...); err != nil {
			return fmt.Errorf("deleting files that have been replaced: %w", err)
		}
	}
	if len(kept) == len(x.Drops) {
		return nil
	}
	x.Drops = kept
	if err := l.swap(ctx, x); err != nil && !errors.Is(err, landing.ErrSwapped) { // the next one sweeps
		return err
	}
	return nil
}
