package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
)

// tidy removes what is of no use any more: notes, work under way, staged files,
// and files whose grace is over. before are the index's lines before the switch.
func (c *change) tidy(ctx context.Context, all []Publication, before []Line, now time.Time) error {
	for _, pub := range all {
		var gone []string
		for _, line := range before {
			if line.Run != pub.Run.ID && line.ofWindow(pub.Run) && !slices.Contains(gone, line.Run) {
				gone = append(gone, line.Run)
			}
		}
		if err := c.l.tidied(ctx, pub, gone); err != nil {
			return err
		}
	}
	return c.l.sweep(ctx, c.x, now)
}

// tidied removes what was needed to make a publication, and what is left of runs
// whose place it has taken: gone, and those of its window that were refused. It is
// done again for a publication that may not have come to it.
func (l *Lake) tidied(ctx context.Context, pub Publication, gone []string) error {
	id := pub.Run.ID
	notes, err := l.names(ctx, "refused/"+l.Plan.Name+"/")
	if err != nil {
		return err
	}
	for _, note := range notes {
		var r Refusal
		if _, err := l.readIf(ctx, note, &r); err != nil {
			return err
		}
		if r.Run != id && (!r.From.Equal(pub.Run.Window.From) || !r.To.Equal(pub.Run.Window.To)) {
			continue
		}
		if err := l.Store.Delete(ctx, note); err != nil {
			return fmt.Errorf("removing %s: %w", note, err)
		}
		if r.Run != id && !slices.Contains(gone, r.Run) {
			gone = append(gone, r.Run)
		}
	}
	if pub.Run.Verdict.Dead == 0 && len(pub.Left) == 0 {
		gone = append(gone, id) // otherwise it may be opened again: what is staged is used then
	}
	if err := l.clear(ctx, l.workPrefix(id)); err != nil {
		return err
	}
	for _, run := range gone {
		if err := errors.Join(l.clear(ctx, l.workPrefix(run)), l.unstage(ctx, run)); err != nil {
			return err
		}
	}
	return nil
}

// unstage removes the staged files of a run, by whatever spec.
func (l *Lake) unstage(ctx context.Context, id string) error {
	var names []string
	err := l.Store.List(ctx, "staged/"+l.Plan.Name+"/", func(name string) error {
		if strings.Contains(name, "/run="+id+"/") {
			names = append(names, name)
		}
		return nil
	})
	if err == nil {
		err = l.remove(ctx, names)
	}
	if err != nil {
		return fmt.Errorf("removing the staged files of run %s: %w", id, err)
	}
	return nil
}

// clear removes all objects below a prefix.
func (l *Lake) clear(ctx context.Context, prefix string) error {
	names, err := l.names(ctx, prefix)
	if err != nil {
		return err
	}
	if err := l.remove(ctx, names); err != nil {
		return fmt.Errorf("removing what is below %s: %w", prefix, err)
	}
	return nil
}

// remove removes objects, markers first: what has no marker is made anew.
func (l *Lake) remove(ctx context.Context, names []string) error {
	var markers, files []string
	for _, n := range names {
		if strings.HasSuffix(n, ".json") {
			markers = append(markers, n)
		} else {
			files = append(files, n)
		}
	}
	return l.Store.Delete(ctx, append(markers, files...)...)
}

func (l *Lake) grace() time.Duration { return cmp.Or(l.Grace, 24*time.Hour) }

// sweep deletes files that nobody has been told to read for a while. First the
// index says that they are being deleted: from then on no publication uses their
// names, and one that was about to finds the index changed.
func (l *Lake) sweep(ctx context.Context, x *index, now time.Time) error {
	some, fresh := false, false
	for i, d := range x.Drops {
		if d.Deleting || now.Sub(d.At) >= l.grace() {
			some, fresh = true, fresh || !d.Deleting
			x.Drops[i].Deleting = true
		}
	}
	if !some {
		return nil
	}
	if fresh {
		if err := l.swap(ctx, x); err != nil {
			return others(err)
		}
	}
	var kept []drop
	for _, d := range x.Drops {
		if !d.Deleting {
			kept = append(kept, d)
			continue
		}
		names := []string{d.Manifest}
		if d.Manifest == "" {
			var err error
			if names, err = l.names(ctx, d.Prefix); err != nil {
				return err
			}
			names = slices.DeleteFunc(names, func(n string) bool { return !ofGeneration(n, d.Prefix, d.Generation) })
		} else if slices.ContainsFunc(x.Lines, func(line Line) bool { return line.Manifest == d.Manifest }) {
			continue // it has come back under its old name
		}
		if err := l.Store.Delete(ctx, names...); err != nil {
			return fmt.Errorf("deleting what has been replaced: %w", err)
		}
	}
	x.Drops = kept
	return others(l.swap(ctx, x))
}

// others leaves a sweep to whoever has changed the index meanwhile.
func others(err error) error {
	if errors.Is(err, landing.ErrSwapped) {
		return nil
	}
	return err
}
