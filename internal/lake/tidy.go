package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
)

// tidy removes what is of no use any more: notes, work under way, staged files,
// and files whose grace is over.
func (c *change) tidy(ctx context.Context, all []Publication, now time.Time) error {
	for _, pub := range all {
		if err := c.l.tidied(ctx, pub); err != nil {
			return err
		}
	}
	return c.l.sweep(ctx, c.x, now)
}

// tidied removes what was needed to make a publication, and is done again for
// one that may not have come to it.
func (l *Lake) tidied(ctx context.Context, pub Publication) error {
	id := pub.Run.ID
	if err := l.clear(ctx, l.workPrefix(id)); err != nil {
		return err
	}
	if err := l.Store.Delete(ctx, l.refusedName(id)); err != nil {
		return fmt.Errorf("removing %s: %w", l.refusedName(id), err)
	}
	if pub.Run.Verdict.Dead > 0 || len(pub.Left) > 0 {
		return nil // it may be opened again: what is staged is used then
	}
	return l.unstage(ctx, id)
}

// unstage removes the staged files of a run, by whatever spec, the markers first:
// without its marker an object is converted anew.
func (l *Lake) unstage(ctx context.Context, id string) error {
	var markers, parts []string
	err := l.Store.List(ctx, "staged/"+l.Plan.Name+"/", func(name string) error {
		switch {
		case !strings.Contains(name, "/run="+id+"/"):
		case strings.HasSuffix(name, ".json"):
			markers = append(markers, name)
		default:
			parts = append(parts, name)
		}
		return nil
	})
	if err == nil {
		err = l.Store.Delete(ctx, append(markers, parts...)...)
	}
	if err != nil {
		return fmt.Errorf("removing the staged files of run %s: %w", id, err)
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
