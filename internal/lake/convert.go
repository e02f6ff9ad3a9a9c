package lake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// A marker says that a landed object has been converted, and into what. It is
// written last: without it there is nothing.
type marker struct {
	Object  string   `json:"object"`
	Records []record `json:"records"`
	Parts   []part   `json:"parts"`
}

// A record is what is known of a landed page: whether it counts, the ledger says.
type record struct {
	Task  string         `json:"task"`
	Fetch string         `json:"fetch"`
	Chunk int            `json:"chunk,omitempty"`
	Made  map[string]int `json:"made,omitempty"` // rows, by table
}

// A part is a staged file of one table.
type part struct {
	Table  string `json:"table"`
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	columns.Staged
}

// mostPage bounds a landed page, unless the spec's own bound is larger.
var mostPage = 64 << 20

const (
	// mostStaged is how many bytes of rows are held before a part is written.
	mostStaged = 24 << 20
	// mostObject bounds what a landed object may hold, decompressed: an honest one
	// has some 8 MiB packed.
	mostObject = 4 << 30
)

// Convert makes staged files of a landed object, unless there are any already.
// It uses memory for one record and mostStaged bytes of rows. ErrCorrupt: no
// repeat can mend it.
func (l *Lake) Convert(ctx context.Context, object string) error {
	id, tier, name, err := landed(object)
	if err != nil {
		return err
	}
	if len(l.tablesOf(tier)) == 0 {
		return nil
	}
	there, err := l.readIf(ctx, l.markerName(id, tier, name), &marker{})
	if there || err != nil {
		return err
	}
	r, err := l.Runs.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("converting %s: %w", object, err)
	}
	if r.State == run.Closed { // a message that came late: nobody needs the object any more
		x, err := l.readIndex(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(x.Lines, func(line Line) bool { return line.Run == id && line.Rev == r.Rev }) {
			return nil
		}
	}
	return l.convert(ctx, r, object)
}

func (l *Lake) convert(ctx context.Context, r run.Run, object string) error {
	_, tier, name, err := landed(object)
	if err != nil {
		return err
	}
	c := &conversion{l: l, run: r, tier: tier, id: name, staging: map[string]*staging{}, m: marker{Object: object}}
	// A page's line has its body and what it is about; a body is bounded by the
	// spec, also by that of the day when it was fetched.
	most := landing.Bound{Record: max(l.Plan.Bounds.Bytes, mostPage) + 4<<20, Object: mostObject}
	err = l.Landing.Pages(ctx, object, most, func(n int, rec *fanout.Record) error { return c.page(ctx, n, rec) })
	if err == nil {
		err = c.finish(ctx)
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, landing.ErrCorrupt) || errors.Is(err, errRows):
		if bad := l.bury(ctx, r.ID, name, object, err); bad != nil {
			return errors.Join(bad, err)
		}
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("converting %s: %w", object, err)
}

// errRows says that the spec finds no rows in what was landed.
var errRows = errors.New("its rows cannot be made")

// A conversion is one landed object on its way.
type conversion struct {
	l        *Lake
	run      run.Run
	tier, id string
	staging  map[string]*staging
	m        marker
}

// staging collects one table's rows.
type staging struct {
	*columns.Staging
	paths []string
	parts int
	begun int // the record that its rows are of
}

func (c *conversion) page(ctx context.Context, n int, rec *fanout.Record) error {
	if rec.Task.Run != c.run.ID || rec.Task.Tier != c.tier {
		return fmt.Errorf("record %d: %w: it is of run %s, tier %s", n, landing.ErrCorrupt, rec.Task.Run, rec.Task.Tier)
	}
	c.m.Records = append(c.m.Records, record{Task: rec.Task.ID, Fetch: rec.Fetch, Chunk: rec.Chunk})
	made := map[string]int{}
	err := c.l.Plan.LakeRows(ctx, rec.Task, rec.Cursor, rec.Body, func(table string, row []byte) error {
		made[table]++
		return c.row(table, n, rec, row)
	})
	if err != nil {
		return c.ofRecord(ctx, n, rec, err)
	}
	if len(made) > 0 {
		c.m.Records[n].Made = made
	}
	return c.spill(ctx)
}

func (c *conversion) ofRecord(ctx context.Context, n int, rec *fanout.Record, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("record %d, %s: %w: %w", n, run.Name(rec.Task), errRows, err)
}

func (c *conversion) row(table string, n int, rec *fanout.Record, row []byte) error {
	s := c.staging[table]
	if s == nil {
		paths := c.l.paths(table)
		s = &staging{Staging: columns.NewStaging(c.l.Plan.Name, c.run.ID, c.id, paths), paths: paths, begun: -1}
		c.staging[table] = s
	}
	if s.begun != n {
		s.begun = n
		s.Begin(n, columns.Record{
			Path: c.l.aligned(table, c.tier, s.paths, rec.Task.Path), Task: rec.Task.ID, Fetch: rec.Fetch, Chunk: rec.Chunk, Page: rec.Page, At: rec.At,
		})
	}
	return s.Add(row)
}

// spill writes parts when many rows are held. A record's rows may be in several
// parts.
func (c *conversion) spill(ctx context.Context) error {
	size := 0
	for _, s := range c.staging {
		size += s.Size()
	}
	if size < mostStaged {
		return nil
	}
	return c.flush(ctx)
}

// flush writes what is held: one part for each table, in the order of their names.
func (c *conversion) flush(ctx context.Context) error {
	for _, table := range sortedKeys(c.staging) {
		s := c.staging[table]
		if s.Rows() == 0 {
			continue
		}
		var file bytes.Buffer
		staged, err := s.Write(&file)
		if err != nil {
			return fmt.Errorf("making a staged file of table %s: %w", table, err)
		}
		sum := sha256.Sum256(file.Bytes())
		p := part{Table: table, Name: c.l.partName(table, c.run, c.id, s.parts), Bytes: file.Len(), SHA256: hex.EncodeToString(sum[:]), Staged: staged}
		if err := c.l.Store.Put(ctx, p.Name, file.Bytes()); err != nil {
			return fmt.Errorf("writing %s: %w", p.Name, err)
		}
		c.m.Parts = append(c.m.Parts, p)
		s.parts++
		s.begun = -1
	}
	return nil
}

// finish writes the last parts, and then the marker.
func (c *conversion) finish(ctx context.Context) error {
	if err := c.flush(ctx); err != nil {
		return err
	}
	return c.l.write(ctx, c.l.markerName(c.run.ID, c.tier, c.id), c.m)
}

// missing are a run's landed objects that have no marker, and the markers that
// there are, tier by tier.
func (l *Lake) missing(ctx context.Context, id string) (missing, markers []string, err error) {
	for _, tier := range l.tiers() {
		have, err := l.names(ctx, l.markers(id, tier))
		if err != nil {
			return nil, nil, err
		}
		markers = append(markers, have...)
		err = l.Landing.Objects(ctx, id, tier, func(object string) error {
			_, _, name, err := landed(object)
			if err != nil {
				return err
			}
			if _, found := slices.BinarySearch(have, l.markerName(id, tier, name)); !found {
				missing = append(missing, object)
			}
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("listing the landed objects of run %s: %w", id, err)
		}
	}
	return missing, markers, nil
}

// Follow converts what a run lands until ctx ends, looking again after each
// pause. What cannot be converted is noted, and logged once; trouble with the
// store is logged and left to whoever publishes.
func (l *Lake) Follow(ctx context.Context, id string, every time.Duration) {
	seen := map[string]bool{}
	for ctx.Err() == nil {
		missing, _, err := l.missing(ctx, id)
		for _, object := range missing {
			if seen[object] {
				continue
			}
			if err = l.Convert(ctx, object); err != nil && !errors.Is(err, ErrCorrupt) {
				break
			}
			if seen[object] = true; err != nil {
				l.log().Warn("a landed object cannot be converted", "object", object, "err", err)
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrCorrupt) {
			l.log().Warn("converting what has landed", "run", id, "err", err)
		}
		if pause(ctx, every) != nil {
			return
		}
	}
}

// convertAll converts objects, two at a time, until soft.
func (l *Lake) convertAll(ctx context.Context, r run.Run, objects []string, soft time.Time) error {
	return each(ctx, 2, objects, func(ctx context.Context, object string) error {
		if l.late(soft) {
			return ErrUnfinished
		}
		if err := l.convert(ctx, r, object); err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		return nil
	})
}

// late tells whether nothing more is to be started; a zero soft is never.
func (l *Lake) late(soft time.Time) bool { return !soft.IsZero() && l.clock().After(soft) }

// each calls do for all of them, so many at a time, and waits. The first error
// ends it.
func each[T any](ctx context.Context, atOnce int, all []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan T)
	for range min(atOnce, len(all)) {
		wg.Go(func() {
			for item := range next {
				if err := calm(ctx, item, do); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range all {
		if ctx.Err() != nil {
			break
		}
		next <- item
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// calm makes an error of a panic: nobody else could, on this goroutine.
func calm[T any](ctx context.Context, item T, do func(context.Context, T) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake in Sluice: %v", p)
		}
	}()
	return do(ctx, item)
}
